"""The columns that moved most, as one small picture for a mail: the reference beside what came since."""

import io
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from contracts.schema import Feature, Schema, Value
from drift.columns import Numbers, text

_PANELS, _BINS, _BARS = 4, 30, 6
_WIDTH, _PANEL_HEIGHT, _DPI = 6.4, 1.75, 200
"""Inches; shown at 640 pixels, drawn at twice that for fine screens."""
_GROUND, _INK, _FAINT = "#fbfcfd", "#1c2430", "#55606e"
"""Opaque: it stays readable on whatever ground a mail program has."""
_REFERENCE, _CURRENT = "#9aa7b5", "#c2410c"
_LONGEST = 38


def draw(
    reference: Mapping[str, Sequence[Value]],
    current: Mapping[str, Sequence[Value]],
    schema: Schema,
    names: Sequence[str],
) -> bytes:
    """PNG of the first four of `names`: histograms of numbers, shares of categories; missing values are None."""
    features = {feature.name: feature for feature in schema.features}
    shown = [features[name] for name in names if name in features][:_PANELS]
    rows = math.ceil(len(shown) / 2) or 1
    figure = Figure(figsize=(_WIDTH, _PANEL_HEIGHT * rows + 0.35), dpi=_DPI, facecolor=_GROUND, layout="constrained")
    FigureCanvasAgg(figure)  # drawn in memory: no window, and no state shared with other threads
    panels = figure.subplots(rows, 2, squeeze=False).ravel().tolist()
    for axes, feature in zip(panels, shown, strict=False):
        _panel(axes, feature, reference[feature.name], current[feature.name])
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    marks = [_mark(colour) for colour in (_REFERENCE, _CURRENT)]
    figure.legend(marks, ["reference", "current"], loc="outside upper left", ncols=2, frameon=False, fontsize=8,
                  labelcolor=_INK)  # fmt: skip
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names in scripts that the font lacks are shown as boxes
        figure.savefig(file, format="png", facecolor=_GROUND)
    return file.getvalue()


def _mark(colour: str) -> Rectangle:
    return Rectangle((0, 0), 1, 1, color=colour)


def _panel(axes: Axes, feature: Feature, reference: Sequence[Value], current: Sequence[Value]) -> None:
    axes.set_facecolor(_GROUND)
    absent = [sum(value is None for value in side) / max(len(side), 1) for side in (reference, current)]
    lacking = "" if max(absent) < 0.005 else f" (missing {absent[0]:.0%}, now {absent[1]:.0%})"
    axes.set_title(
        _short(feature.name, _LONGEST - len(lacking)) + lacking,
        loc="left",
        fontsize=8,
        fontweight="bold",
        color=_INK,
        parse_math=False,
    )
    axes.tick_params(labelsize=7, colors=_FAINT, length=2)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_REFERENCE)
    axes.xaxis.get_offset_text().set_fontsize(7)
    if feature.type in ("category", "bool"):
        _shares(axes, reference, current)
    else:
        _histograms(axes, _numbers(reference), _numbers(current))


def _histograms(axes: Axes, reference: Numbers, current: Numbers) -> None:
    """Shares of all rows, so that missing ones lower a side; the farthest rows of each side share the outer bins."""
    axes.set_yticks([])
    both = np.concatenate([reference, current])
    present = both[np.isfinite(both)]
    if not len(present):
        axes.set_xticks([])
        axes.text(0.5, 0.5, "no values", ha="center", va="center", transform=axes.transAxes, color=_FAINT, fontsize=8)
        return
    low, high = _span(reference), _span(current)
    edges = np.linspace(min(low[0], high[0]), max(low[1], high[1]), _BINS + 1)
    if not np.all(np.diff(edges) > 0):  # one value, or values that float64 hardly tells apart
        middle = float(present[0])
        edges = np.linspace(middle - (abs(middle) or 1) / 2, middle + (abs(middle) or 1) / 2, _BINS + 1)
    axes.stairs(_heights(reference, edges), edges, color=_REFERENCE, fill=True)
    axes.stairs(_heights(current, edges), edges, color=_CURRENT, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=5)


def _heights(side: Numbers, edges: Numbers) -> Numbers:
    counts, _ = np.histogram(np.clip(side[np.isfinite(side)], edges[0], edges[-1]), edges)
    return np.asarray(counts / max(len(side), 1), np.float64)


def _span(side: Numbers) -> tuple[float, float]:
    """Between the first and the last percent of a side's values, so that one outlier leaves the rest visible."""
    present = side[np.isfinite(side)]
    if not len(present):
        return math.inf, -math.inf
    return float(np.quantile(present, 0.01)), float(np.quantile(present, 0.99))


def _shares(axes: Axes, reference: Sequence[Value], current: Sequence[Value]) -> None:
    sides = [Counter("(missing)" if value is None else text(value) for value in side) for side in (reference, current)]
    rows = [max(len(side), 1) for side in (reference, current)]
    share = {name: [side[name] / n for side, n in zip(sides, rows, strict=True)] for name in {*sides[0], *sides[1]}}
    # Those that moved most, the commonest first.
    moved = sorted(share, key=lambda name: (-abs(share[name][1] - share[name][0]), name))[:_BARS]
    names = sorted(moved, key=lambda name: (max(share[name]), name))
    at = np.arange(len(names))
    for shift, colour, side in ((0.2, _REFERENCE, 0), (-0.2, _CURRENT, 1)):
        axes.barh(at + shift, [share[name][side] for name in names], height=0.38, color=colour)
    axes.set_yticks(at, [_short(name, 18) for name in names], parse_math=False)
    axes.set_xlim(0, 1.05 * max((value for name in names for value in share[name]), default=1))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.locator_params(axis="x", nbins=4)


def _numbers(values: Sequence[Value]) -> Numbers:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _short(name: str, longest: int = _LONGEST) -> str:
    line = " ".join(name.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
