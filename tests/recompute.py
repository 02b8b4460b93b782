"""Recomputes the figures of the gate's decisions from the Delta log, by the design's formulas, with none of our code.

    python tests/recompute.py STATE/log/MODEL no,yes

Prints each decision whose figures differ from the ledger's, and ends in status 1 then. It knows no rankings ("auc"), no
errors without a clip, and no timed-out labels. The newest label of a prediction counts.
"""

import json
import sys
from pathlib import Path

import deltalake
import numpy as np

UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
STAKES = 0.9 * 2.0 ** (-np.arange(16) / 2)
KINDS = ("verdict", "asked", "approved", "promoted", "rolled_back", "retired")
NUMBERS = ("n", "wins", "losses", "mean", "log_e", "needed", "lower", "upper")


def seconds(text):
    unit = next(unit for unit in UNITS_S if text.removesuffix(unit).replace(".", "").isdigit())
    return float(text.removesuffix(unit)) * UNITS_S[unit]


def offset(entry_id):
    milliseconds, sequence = entry_id.split("-")
    return (int(milliseconds) << 20) + int(sequence)


def rows(folder, name):
    return deltalake.DeltaTable(str(folder / name)).to_pyarrow_table().sort_by("offset").to_pylist()


def loss(scores, label, gate, classes):
    """(loss / range, answer) of one answer to a question with a label, or None where there is no label."""
    answer = int(np.argmax(scores)) if classes else None
    if label is None:
        return None, answer
    name = gate["loss"] or ("zero_one" if classes else "absolute")
    if not classes:
        error = min(abs(scores[0] - float(label)), gate["clip"]) / gate["clip"]
        return (error if name == "absolute" else error**2), answer
    truth = classes.index(label)
    if name == "zero_one":
        return float(answer != truth), answer
    if name == "cost":
        costs = np.array(gate["costs"], float)
        return costs[truth, answer] / (costs.max() - costs.min()), answer
    if name == "brier":
        return sum((p - (at == truth)) ** 2 for at, p in enumerate(scores)) / 2, answer
    return np.log(max(scores[truth], 0.01)) / np.log(0.01), answer


def differences(asked, newest, line, board, gate, classes):
    """Paired differences, (champion's loss - challenger's) / range, one list for each unit of evidence."""
    numbers, units = line["numbers"], {}
    challenger = numbers["board"]["champion"] if line["kind"] == "rolled_back" else line["version"]
    for row in asked:
        shadows = {shadow["version"]: shadow["scores"] for shadow in row["shadows"]}
        is_in = offset(board["since"]) < row["offset"] < numbers["through"] and row["version"] == board["champion"]
        if not is_in or challenger not in shadows:
            continue
        label = newest.get(row["offset"])
        mine, answer = loss(row["scores"], label, gate, classes)
        other, another = loss(shadows[challenger], label, gate, classes)
        if label is None and (answer != another or (gate["loss"] or "zero_one") not in ("zero_one", "cost")):
            continue
        unit, window = row["offset"], gate["unit_window"]
        if gate["unit"]:
            unit = (row["entity"] if gate["unit"] == "entity" else str(row["x_" + gate["unit"]])) or str(unit)
        at = (row["offset"] >> 20) / 1000
        units.setdefault((unit, at // seconds(window) if window else 0), []).append(mine - other if label else 0.0)
    return list(units.values())


def root(totals, n, alpha):
    """The delta at which log E(delta) = log(1/alpha), by halving; it falls in delta."""
    low, high = -1.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if log_e(totals, n, middle) > -np.log(alpha) else (low, middle)
    return low if n else -1.0


def log_e(totals, n, delta):
    return np.logaddexp.reduce(totals - n * delta * STAKES) - np.log(16)


def figures(units, gate):
    d = np.array([np.mean(of) for of in units])
    plus, minus = (np.log1p(sign * np.outer(d, STAKES)).sum(axis=0) for sign in (1, -1))
    found = len(d), int((d > 0).sum()), int((d < 0).sum()), d.mean() if len(d) else 0.0
    share = gate["alpha"] / gate["slots"]
    bounds = root(plus, len(d), share), -root(minus, len(d), 0.05)
    return dict(zip(NUMBERS, (*found, log_e(plus, len(d), gate["margin"]), -np.log(share), *bounds), strict=True))


def watched(units):
    """The watch on a champion: a Shiryaev-Roberts sum over starts every 100 pairs, which rings at 1,000."""
    log_r, rang = np.full(16, -np.inf), None
    for n, of in enumerate(units):
        log_r = np.logaddexp(log_r, -np.log(16)) if n % 100 == 0 else log_r
        log_r = log_r + np.log1p(STAKES * of[0])
        rang = n + 1 if rang is None and np.logaddexp.reduce(log_r) >= np.log(1000) else rang
    return {"n": len(units), "log_r": np.logaddexp.reduce(log_r), "needed": np.log(1000), "alarmed_at": rang}


def main(folder, classes):
    asked, given, lines = rows(folder, "predictions"), rows(folder, "labels"), rows(folder, "ledger")
    board, gate, wrong, checked = {}, {}, 0, 0
    for line in (json.loads(row["line"]) for row in lines):
        numbers = line["numbers"]
        gate = numbers["gate"] if line["kind"] == "policy" else gate
        if numbers.get("through", -1) >= 0 and line["kind"] in KINDS:
            span, first, newest, in_time = int(seconds(gate["maturity"]) * 1000) << 20, {}, {}, {}
            for label in given:
                of, at = label["prediction_offset"], label["offset"]
                if at <= numbers["labels"] and of >= first.setdefault(of, at) - span:
                    newest[of] = label["label"]
                    in_time |= {of: label["label"]} if of >= at - span else {}
            if "watch" in numbers:  # corrections do not move it
                told, found = numbers["watch"], watched(differences(asked, in_time, line, board, gate, classes))
            else:
                told, found = numbers, figures(differences(asked, newest, line, board, gate, classes), gate)
            off = {name: value for name, value in found.items() if abs(told[name] - value) > 1e-9}
            checked, wrong = checked + 1, wrong + bool(off)
            for name, value in off.items():
                print(
                    f"line {line['seq']}: {line['kind']} version {line['version']}: {name} is {value}, not {told[name]}"
                )
        board = numbers.get("board", board)
    print(f"{checked - wrong} of {checked} decisions have the figures that the log gives")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [name for name in sys.argv[2].split(",") if name]))
