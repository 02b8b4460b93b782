"""What a dossier says, in each state of a comparison."""

import re
import time

import msgspec
import pytest

from contracts.events import Decision
from contracts.facts import ComparisonFacts
from contracts.gate_rules import Gate
from contracts.releases import Board
from registry import dossier, dossier_page, dossier_words
from registry.dossier import Dossier, Seen
from registry.evidence import Evidence


def line(seq: int, kind: str, version: int | None, **numbers: object) -> Decision:
    told = msgspec.to_builtins(numbers)
    return Decision(seq, 1_000.0 + seq, "m", kind, version, f"Because of {seq}.", "gate", told, "", "", f"hash{seq}")


LINES = [
    line(0, "prior", 0, board=Board(0)),
    line(1, "bootstrap", 1, board=Board(1), learner="linear"),
    line(
        2, "enrolled", 2, board=Board(1, (2,)), learner="boosting", metrics={"accuracy": 0.91},
        parity={"rows": 200, "max_abs_difference": 1e-7},
        training_set={"rows": 900, "first_offset": 5, "last_offset": 77, "delta_labels": 3, "delta_predictions": 4},
    ),
]  # fmt: skip


def compared(n: int, wins: int, losses: int, **more: object) -> ComparisonFacts:
    evidence = Evidence.of_counts(n, wins, losses)
    evidence.started_at, evidence.ended_at = time.time() - 60, time.time()
    base = ComparisonFacts(
        champion=1, challenger=2, learner="boosting", started_at=time.time() - 60, n=n, wins=wins, losses=losses,
        gain=evidence.mean, needed=4.38, uncovered=0, evidence=evidence.to_json(),
    )  # fmt: skip
    return msgspec.structs.replace(base, **more)


def told(comparison: ComparisonFacts | None, rules: Gate | None = None) -> str:
    seen = Seen(comparison=comparison, delay_s=(2.0, 9.0, 30.0), late=7, scoring_s={1: 20e-6, 2: 90e-6})
    return dossier_words.text(Dossier("m", 2, LINES, None, seen, rules or Gate(), time.time()))


@pytest.mark.parametrize(
    ("counts", "rules", "headline", "change"),
    [
        ((300, 12, 8), Gate(), "is still compared with", "200 more labelled requests, before which nothing is decided"),
        ((2_000, 90, 60), Gate(), "is still compared with", "more labelled requests at this pace, and it is promoted."),
        ((2_000, 60, 60), Gate(), "is still compared with", "its advantage would have to grow"),
        ((2_000, 60, 60), Gate(season="24h"), "is still compared with", "Whole seasons of 24h"),
        ((2_000, 200, 60), Gate(), "has won against", "if it is shown better, the promotion is rolled back"),
        ((2_000, 60, 200), Gate(), "is worse than", "more requests cannot make it better"),
        ((20_000, 120, 130), Gate(), "was given up against", "would have kept it, at 0.5 points"),
        ((60_000, 6_200, 6_000), Gate(), "could not be told apart from", "More requests than 50,000 or more time"),
    ],
)
def test_what_would_change_it_is_told_in_every_state(
    counts: tuple[int, int, int], rules: Gate, headline: str, change: str
) -> None:
    """Why not is as good as why."""
    text = told(compared(*counts), rules)
    assert text.startswith(f"Version 2 (boosting) {headline} version 1 (linear)\n"), text
    assert change in text, text


def test_what_keeps_a_winner_back_is_told_with_what_to_do() -> None:
    """Coverage of disagreements, and the segment in which it is worse."""
    worse = Evidence.of_counts(500, 5, 60).to_json()
    text = told(compared(2_000, 200, 60, asked={0: (30, 100)}, segments={"kind=a": worse}))
    assert "Version 2 (boosting) has won against, and is kept back from replacing, version 1" in text
    assert "Labels for 80% of the questions on which they may differ, instead of 30%: `tiltyard ask-labels`" in text
    assert "A promotion is kept back as long as it is worse where kind=a" in text
    assert "kind=a   500       -11.00" in text


def test_where_a_version_comes_from_is_told() -> None:
    """Training set, metrics, parity, latency and label delay."""
    text = told(compared(2_000, 90, 60))
    for sentence in (
        "Version 2 (boosting) was fitted on 900 rows, offsets 5 to 77 (Delta versions: labels 3, predictions 4).",
        "On rows that it never saw: accuracy 0.91.",
        "differs from what was fitted by 1e-07 at most, on 200 rows.",
        "Version 1 (linear) takes 20 µs for a question.",
        "Labels came after 2.0 s at the median, nine of ten within 9.0 s, 99 of 100 within 30.0 s.",
        "7 labels of this model came later than that, and are no evidence.",
    ):
        assert sentence in text, text


def test_a_version_that_nobody_asked_yet_is_told_of_too() -> None:
    """Before its first pair."""
    text = told(None)
    assert "It has not been compared on any question yet." in text


def drawn(**more: object) -> str:
    """The page of a comparison with states a hundred seconds apart, from the epoch second 1,010 on."""
    curve = tuple((20 * i, 0.1 * i, 0.01, -0.04, 0.06) for i in range(1, 20))
    evidence = Evidence.of_counts(400, 24, 20)
    evidence.started_at, evidence.ended_at = 1_010.0, 3_000.0
    seen = Seen(comparison=compared(400, 24, 20, curve=curve, evidence=evidence.to_json(), **more))
    lines = [
        *LINES,
        msgspec.structs.replace(line(3, "corrected", None, moved={"2": {"pairs": 4}}), at=2_000.0),
        msgspec.structs.replace(line(4, "corrected", None, moved={"9": {"pairs": 4}}), at=2_100.0),
        msgspec.structs.replace(line(5, "policy", None, gate={}), at=2_200.0),
    ]
    return dossier_page.html(Dossier("m", 2, lines, None, seen, Gate(), 3_000.0))


def test_the_band_lies_over_time_and_marks_what_happened() -> None:
    """From the enrolment on; at a phone's width too; corrections of other challengers are left out."""
    page = drawn(curve_at=tuple(1_010.0 + 100 * i for i in range(1, 20)))
    poles = [[float(x) for x in re.findall(r'class="pole" d="M([\d.]+)', part)] for part in page.split("<svg")[1:3]]
    for width, (enrolled, *places) in zip((680, 360), poles, strict=True):
        assert enrolled == 48
        scale = (width - 48 - 14) / (3_000 - 1_002)
        assert places == pytest.approx([48 + scale * (at - 1_002) for at in (2_000, 2_200)], abs=0.06)
    told = "v2 enrolled", "corrected", "rules"
    times = [time.strftime("%d %b %H:%M:%S", time.localtime(at)) for at in (1_002, 2_000, 2_200)]
    assert f"{'; '.join(f'{at} {name}' for at, name in zip(times, told, strict=True))}." in page


def test_a_band_without_times_lies_over_labelled_requests() -> None:
    """As in a dossier that was kept before times were."""
    page = drawn()
    assert "Below: labelled requests." in page
    assert 'class="pole"' not in page
    (mean,) = set(re.findall(r'class="mean" d="M([^"]+)"', page.split("<svg")[1]))
    assert [round(float(x.split()[0]), 1) for x in mean.split("L")][-2:] == [48 + 618 * 0.95, 666.0]


def test_names_are_no_markup() -> None:
    """Whatever somebody called a segment."""
    worse = Evidence.of_counts(500, 5, 60).to_json()
    seen = Seen(comparison=compared(2_000, 90, 60, segments={"kind=<b>&": worse}))
    page = dossier_page.html(Dossier("m", 2, LINES, None, seen, Gate(), time.time()))
    assert "kind=&lt;b&gt;&amp;" in page
    assert "<b>" not in page


def test_a_move_and_the_verdict_that_led_to_it_have_one_dossier() -> None:
    """A verdict of its own has one where it ends a comparison; one that goes on has none."""
    at = {"decision": "retire", "through": 5, "at": 3.0}
    lines = [
        *LINES,
        line(3, "verdict", 2, decision="continue", through=4, at=2.0),
        line(4, "verdict", 2, **at),
        line(5, "retired", 2, board=Board(1), **at),
        line(6, "verdict", 3, decision="give_up", through=5, at=3.0),
    ]
    assert [one.seq for one in dossier.deserving(lines)] == [5, 6]
