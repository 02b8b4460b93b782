"""Learners of one's own: `learner = "package.module:build"` in tiltyard.toml.

>>> def build(schema, params, seed):                      # my_learners.py, beside tiltyard.toml
...     scaled = preprocessing.StandardScaler()
...     return scaled | linear_model.LogisticRegression(optim.SGD(params["rate"]))
"""

import difflib
import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contracts.config import Learner
from contracts.quantities import ConfigError
from contracts.schema import Schema


def build(learner: Learner, schema: Schema, seed: int) -> Any:
    """What the learner's function gives for (schema, params, seed): it can learn_one, or fit. Raises ConfigError."""
    path = str(learner.learner)
    function = _function(path)
    try:
        model = function(schema, dict(learner.params), seed)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f'learner: "{path}" raised {_where(error)}') from error
    _refuse_unfit(path, model, learner, schema)
    return model


def _function(path: str) -> Callable[..., Any]:
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(
                f'learner: there is no module "{error.name}" beside tiltyard.toml or on Python\'s path'
            ) from None
        raise ConfigError(f'learner: importing "{module_name}" raised {_where(error)}') from error
    found = getattr(module, name, None)
    if found is None:
        close = difflib.get_close_matches(name, vars(module), n=1)
        hint = f'; did you mean "{close[0]}"?' if close else ""
        raise ConfigError(f'learner: "{module_name}" has no "{name}"{hint}')
    if not callable(found) or isinstance(found, type):
        what = "is a class" if isinstance(found, type) else f"is of type {type(found).__name__}"
        raise ConfigError(f'learner: "{path}" {what}; name a function build(schema, params, seed) that gives one')
    return found  # type: ignore[no-any-return]  # it is callable


def _refuse_unfit(path: str, model: Any, learner: Learner, schema: Schema) -> None:
    answers = {"online": ("predict_one", "predict_proba_one"), "batch": ("predict", "predict_proba")}[learner.kind]
    needed = ("learn_one" if learner.kind == "online" else "fit", answers[not schema.label.is_regression])
    missing = [name for name in needed if isinstance(model, type) or not callable(getattr(model, name, None))]
    if missing:
        other = "fit" if learner.kind == "online" else "learn_one"
        hint = f'; kind = "{"batch" if other == "fit" else "online"}" takes it' if hasattr(model, other) else ""
        raise ConfigError(
            f'learner: "{path}" gave {_what(model)}, which has no {" and no ".join(missing)}; '
            f'kind = "{learner.kind}" with a {schema.label.task} label needs both {" and ".join(needed)}{hint}'
        )


def _what(model: Any) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else f"a {type(model).__name__}"


def _where(error: Exception) -> str:
    """The exception with the last line of its traceback: what a person needs to find it."""
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}, at {Path(error.filename or '?').name}:{error.lineno}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error}, at {Path(last.filename).name}:{last.lineno}: {last.line}"
