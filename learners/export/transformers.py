"""River's transformers as steps from one frame to the next, by type."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import reduce
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
from river import compose, feature_extraction, preprocessing

from learners.export.frame import Frame, NotExportable, Numbers, OneHot
from learners.zoo import Categories


def transform(step: Any, frame: Frame) -> Frame:
    """The frame after a River transformer. Raises NotExportable."""
    emit = _TRANSFORMERS.get(type(step))
    if emit is None:
        raise NotExportable(type(step).__name__, f"known transformers are {', '.join(supported())}")
    return emit(step, frame)


def supported() -> tuple[str, ...]:
    """Names of the transformers that have an exact equivalent."""
    return tuple(sorted(kind.__name__ for kind in _TRANSFORMERS))


def _pipeline(pipeline: Any, frame: Frame) -> Frame:
    for step in pipeline.steps.values():
        frame = transform(step, frame)
    return frame


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
    return replace(frame, numbers=numbers, texts=texts, hot=hot)


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
    _refuse_categories(extender, frame)
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


def _imputer(imputer: Any, frame: Frame) -> Frame:
    raise NotExportable(
        type(imputer).__name__, "River's imputers fill in None, and here a missing feature is absent; leave it out"
    )


def _refuse_categories(step: Any, frame: Frame) -> None:
    if frame.texts or frame.hot:
        what = "text" if frame.texts else "one-hot features"
        raise NotExportable(type(step).__name__, f"{what} would reach it; select the numbers first")


def _scaled(
    scaler: Any, frame: Frame, shift: Callable[[Hashable], float] | None, spread: Callable[[Hashable], float]
) -> Frame:
    """Features less `shift`, over `spread`, and 0 where that is 0: as River, which leaves missing ones out."""
    _refuse_categories(scaler, frame)
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


def _one_hot(encoder: Any, frame: Frame) -> Frame:
    if encoder.drop_first:
        raise NotExportable("OneHotEncoder", "drop_first drops another category in each row")

    def sources(key: Hashable) -> list[tuple[str, str]]:
        text = str(key)
        return [(name, text[len(name) + 1 :]) for name in frame.texts if text.startswith(f"{name}_")]

    return _hot(encoder, frame, sources)


def _categories(categories: Any, frame: Frame) -> Frame:
    def sources(key: Hashable) -> list[tuple[str, str]]:
        return [key] if isinstance(key, tuple) else []

    return _hot(categories, frame.only(lambda _, kind: kind is str), sources)


def _hot(encoder: Any, frame: Frame, sources: Callable[[Hashable], list[tuple[str, str]]]) -> Frame:
    if frame.numbers or frame.hot:
        raise NotExportable(type(encoder).__name__, "numbers would reach it; select the texts first")
    return replace(frame, texts=(), hot=(OneHot(frame.texts, type(encoder), sources),))


_TRANSFORMERS: dict[type, Callable[[Any, Frame], Frame]] = {
    compose.Pipeline: _pipeline,
    compose.TransformerUnion: _union,
    compose.Select: _select,
    compose.Discard: _discard,
    compose.SelectType: _select_type,
    preprocessing.StandardScaler: _standard,
    preprocessing.MinMaxScaler: _min_max,
    preprocessing.MaxAbsScaler: _max_abs,
    preprocessing.RobustScaler: _robust,
    preprocessing.StatImputer: _imputer,
    preprocessing.PreviousImputer: _imputer,
    feature_extraction.PolynomialExtender: _polynomial,
    preprocessing.OneHotEncoder: _one_hot,
    Categories: _categories,
}
