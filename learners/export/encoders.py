"""River's encoders of categories as steps from one frame to the next."""

import math
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any

import numpy as np

from learners.export.frame import Frame, NotExportable, Numbers, OneHot


def one_hot(encoder: Any, frame: Frame) -> Frame:
    """The frame after OneHotEncoder."""
    if encoder.drop_first:
        raise NotExportable("OneHotEncoder", "drop_first drops another category in each row")

    def sources(key: Hashable) -> list[tuple[str, str]]:
        text = str(key)
        return [(name, text[len(name) + 1 :]) for name in frame.texts if text.startswith(f"{name}_")]

    return _hot(encoder, frame, sources)


def categories(encoder: Any, frame: Frame) -> Frame:
    """The frame after `zoo.Categories`."""

    def sources(key: Hashable) -> list[tuple[str, str]]:
        return [key] if isinstance(key, tuple) else []

    return _hot(encoder, frame.only(lambda _, kind: kind is str), sources)


def _hot(encoder: Any, frame: Frame, sources: Callable[[Hashable], list[tuple[str, str]]]) -> Frame:
    _refuse_numbers(encoder, frame)
    return replace(frame, texts=(), hot=(OneHot(frame.texts, type(encoder), sources),))


def ordinal(encoder: Any, frame: Frame) -> Frame:
    """The frame after OrdinalEncoder: a number for each value of a feature, and one for all that were never seen."""
    _refuse_numbers(encoder, frame)
    if encoder.unknown_value is None:
        raise NotExportable("OrdinalEncoder", "with unknown_value=None it answers None; give it a number")
    if not frame.texts:
        return frame
    graph, columns = frame.graph, frame.graph.schema.categorical_names
    stranger = next((name for name in frame.texts if encoder.categories is not None and name not in encoder.values), "")
    if stranger:
        raise NotExportable("OrdinalEncoder", f'River raises, since its categories lack the feature "{stranger}"')
    codes = {
        (name, value): float(code)
        for name in frame.texts
        for value, code in encoder.values.get(name, {}).items()
        if isinstance(value, str)
    }
    codes |= {(name, ""): math.nan for name in frame.texts}
    tensor = graph.codes_by_feature(codes, float(encoder.unknown_value))
    at = [columns.index(name) for name in frame.texts]
    tensor = graph.add("Gather", tensor, graph.constant(at, np.int64), axis=1)
    return replace(frame, texts=(), numbers=(Numbers(tensor, frame.texts, (int,) * len(at)),))


def _refuse_numbers(encoder: Any, frame: Frame) -> None:
    if frame.numbers or frame.hot:
        raise NotExportable(type(encoder).__name__, "numbers would reach it; select the texts first")
