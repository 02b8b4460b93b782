"""Figures and commands, as people read them."""

from typing import get_args

import pytest

from registry.ledger import Kind
from serving import page_words
from serving.page_words import commands, size


@pytest.mark.parametrize(
    ("bytes_", "told"), [(0, "0 B"), (999, "999 B"), (4_310, "4.31 kB"), (3_456_000, "3.46 MB"), (2e10, "20 GB")]
)
def test_sizes_have_three_digits_and_a_unit(bytes_: float, told: str) -> None:
    """Thousands, as disks are sold."""
    assert size(bytes_) == told


def test_every_kind_of_decision_has_words_of_its_own() -> None:
    """Those that the ledger knows, and no others."""
    assert set(page_words.KINDS) == set(get_args(Kind))
    assert len(set(page_words.KINDS.values())) == len(page_words.KINDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("type `tiltyard up <now>`.", "type <code>tiltyard up &lt;now&gt;</code>."),
        ("`a` or `b`", "<code>a</code> or <code>b</code>"),
        ("a lone ` and <b>", "a lone ` and &lt;b&gt;"),
        ("", ""),
    ],
)
def test_commands_stand_out_and_nothing_is_markup(text: str, told: str) -> None:
    """What stands between backticks; whoever wrote the text cannot write HTML."""
    assert commands(text) == told
