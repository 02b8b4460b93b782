"""River's transformers as steps from one frame to the next, by type."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import reduce
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from river import anomaly, base, compose, feature_extraction, feature_selection, preprocessing

from learners.export import encoders
from learners.export.frame import Frame, NotExportable, Numbers, refuse_categories
from learners.zoo import Categories


def transform(step: Any, frame: Frame) -> Frame:
    """The frame after a River transformer. Raises NotExportable."""
    emit = _TRANSFORMERS.get(type(step))
    if emit is None:
        raise NotExportable(type(step).__name__, f"known transformers are {', '.join(supported())}")
    return emit(step, frame)


def supported() -> tuple[str, ...]:
    """Names of the transformers that have an exact equivalent."""
    return tuple(sorted(kind.__name__ for kind, emit in _TRANSFORMERS.items() if emit not in (_imputer, _inclusion)))


def _pipeline(pipeline: Any, frame: Frame) -> Frame:
    *steps, last = pipeline.steps.values()
    for step in steps:
        frame = transform(step, frame)
    # River passes over a last step that is none of its plain transformers: SelectKBest is supervised.
    return transform(last, frame) if isinstance(last, base.Transformer) else frame


def _union(union: Any, frame: Frame) -> Frame:
    parts = [transform(part, frame) for part in union.transformers.values()]
    numbers = tuple(block for part in parts for block in part.numbers)
    texts = tuple(name for part in parts for name in part.texts)
    hot = tuple(block for part in parts for block in part.hot)
    names = [name for block in numbers for name in block.names]
    names += [*texts, *(name for block in hot for name in block.names)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NotExportable("TransformerUnion", f'two of its branches give the feature "{twice}"')
    return replace(frame, numbers=numbers, texts=texts, hot=hot, has_gaps=any(part.has_gaps for part in parts))


def _select(select: Any, frame: Frame) -> Frame:
    optional = next((name for name in sorted(select.keys) if frame.may_miss(name)), None)
    if optional is not None:
        raise NotExportable("Select", f'River raises when "{optional}" is missing, and the schema lets it be')
    return frame.only(lambda name, _: name in select.keys)


def _discard(discard: Any, frame: Frame) -> Frame:
    return frame.only(lambda name, _: name not in discard.keys)


def _select_type(select: Any, frame: Frame) -> Frame:
    if frame.hot:
        raise NotExportable("SelectType", "it follows a one-hot encoder; put it before")
    return frame.only(lambda _, kind: issubclass(kind, select.types))


def _standard(scaler: Any, frame: Frame) -> Frame:
    def spread(name: Hashable) -> float:
        variance = _learned(scaler.vars, name) if scaler.with_std else 1.0
        if variance < 0:
            raise NotExportable("StandardScaler", f'rounding made the rolling variance of "{name}" negative')
        return float(variance**0.5)

    return _scaled(scaler, frame, lambda name: _learned(scaler.means, name), spread)


def _min_max(scaler: Any, frame: Frame) -> Frame:
    def low(name: Hashable) -> float:
        return _learned(scaler.min, name)

    return _scaled(scaler, frame, low, lambda name: _learned(scaler.max, name) - low(name))


def _max_abs(scaler: Any, frame: Frame) -> Frame:
    return _scaled(scaler, frame, None, lambda name: _learned(scaler.abs_max, name))


def _robust(scaler: Any, frame: Frame) -> Frame:
    shift = (lambda name: _learned(scaler.median, name)) if scaler.with_centering else None
    return _scaled(scaler, frame, shift, lambda name: _learned(scaler.iqr, name) if scaler.with_scaling else 1.0)


def _polynomial(extender: Any, frame: Frame) -> Frame:
    """Products of up to `degree` features: missing where one of them is."""
    refuse_categories(extender, frame)
    if not frame.numbers and not extender.include_bias:
        return frame
    graph, block = frame.graph, frame.joined()
    combine = combinations if extender.interaction_only else combinations_with_replacement
    parts: list[str] = []
    names: list[Hashable] = []
    for size in range(1, extender.degree + 1):
        at = list(combine(range(len(block.names)), size))
        if not at:
            break
        names += ["*".join(sorted(str(block.names[i]) for i in combination)) for combination in at]
        columns = [
            graph.add("Gather", block.tensor, graph.constant(column, np.int64), axis=1)
            for column in zip(*at, strict=True)
        ]
        parts.append(reduce(lambda left, right: graph.add("Mul", left, right), columns))
    if extender.include_bias:
        names.append(extender.bias_name)
        parts.append(graph.repeated(graph.constant([1.0]), 1))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NotExportable("PolynomialExtender", f'two of its products are called "{twice}"')
    products = Numbers(graph.add("Concat", *parts, axis=1), tuple(names), (float,) * len(names))
    return replace(frame, numbers=(products,))


def _adaptive(scaler: Any, frame: Frame) -> Frame:
    def spread(name: Hashable) -> float:
        return float(max(_learned(scaler.vars, name), 0.0) ** 0.5)

    return _scaled(scaler, frame, lambda name: _learned(scaler.means, name), spread)


def _imputer(imputer: Any, frame: Frame) -> Frame:
    raise NotExportable(
        type(imputer).__name__, "River's imputers fill in None, and here a missing feature is absent; leave it out"
    )


def _scaled(
    scaler: Any, frame: Frame, shift: Callable[[Hashable], float] | None, spread: Callable[[Hashable], float]
) -> Frame:
    """Features less `shift`, over `spread`, and 0 where that is 0: as River, which leaves missing ones out."""
    refuse_categories(scaler, frame)
    blocks = []
    for block in frame.numbers:
        tensor = frame.divided(block)
        if shift is not None:
            tensor = frame.graph.add("Sub", tensor, frame.graph.weight("shift", [shift(name) for name in block.names]))
        divisor = np.array([spread(name) or np.inf for name in block.names])
        blocks.append(Numbers(tensor, block.names, (float,) * len(block.names), divisor))
    return replace(frame, numbers=tuple(blocks))


def _learned(statistics: Any, name: Hashable) -> float:
    """A feature's statistic, or 0 before it was ever seen; reading must not grow River's default dicts."""
    value = statistics.get(name, 0.0)
    value = float(value if isinstance(value, int | float) else value.get() or 0.0)  # a quantile of nothing is None
    return value if np.isfinite(value) else 0.0


def _variance(selector: Any, frame: Frame) -> Frame:
    return _selected(selector, frame, selector.check_feature)


def _k_best(selector: Any, frame: Frame) -> Frame:
    best = {name for name, _ in selector.leaderboard.most_common(selector.k)}
    return _selected(selector, frame, lambda name: not selector.leaderboard or name in best)


def _selected(selector: Any, frame: Frame, keep: Callable[[Hashable], bool]) -> Frame:
    """The others as missing: what is kept is a weight, and models go on knowing what they once learned."""
    refuse_categories(selector, frame)
    graph, blocks = frame.graph, []
    for block in frame.numbers:
        kept = graph.weight("kept", [float(keep(name)) for name in block.names])
        is_kept = graph.add("Greater", kept, graph.constant(0.0))
        blocks.append(replace(block, tensor=graph.add("Where", is_kept, block.tensor, graph.constant(np.nan))))
    return replace(frame, numbers=tuple(blocks), has_gaps=True)


def _filter(filtering: Any, frame: Frame) -> Frame:
    """It keeps later steps from learning what is strange, and lets every question pass."""
    return frame


def _inclusion(selector: Any, frame: Frame) -> Frame:
    raise NotExportable("PoissonInclusion", "it draws at random whenever it is asked; VarianceThreshold does not")


_TRANSFORMERS: dict[type, Callable[[Any, Frame], Frame]] = {
    compose.Pipeline: _pipeline,
    compose.TransformerUnion: _union,
    compose.Select: _select,
    compose.Discard: _discard,
    compose.SelectType: _select_type,
    preprocessing.StandardScaler: _standard,
    preprocessing.AdaptiveStandardScaler: _adaptive,
    preprocessing.MinMaxScaler: _min_max,
    preprocessing.MaxAbsScaler: _max_abs,
    preprocessing.RobustScaler: _robust,
    preprocessing.StatImputer: _imputer,
    preprocessing.PreviousImputer: _imputer,
    feature_extraction.PolynomialExtender: _polynomial,
    preprocessing.OneHotEncoder: encoders.one_hot,
    preprocessing.OrdinalEncoder: encoders.ordinal,
    Categories: encoders.categories,
    feature_selection.VarianceThreshold: _variance,
    feature_selection.SelectKBest: _k_best,
    feature_selection.PoissonInclusion: _inclusion,
    anomaly.ThresholdFilter: _filter,
    anomaly.QuantileFilter: _filter,
}
