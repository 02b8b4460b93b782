"""The table [models.NAME.retrain]: when batch learners are fitted, what they are fitted on, and what that may cost."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from contracts.quantities import ConfigError, Count, Fraction, Share

When = Literal["schedule", "drift", "labels", "benefit"]
Window = Literal["last", "all", "drift", "reservoir"]


class Retrain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When and on what batch learners are fitted. `schedules.retrain` says how often it is asked whether they are."""

    when: tuple[When, ...] = ("schedule",)
    """What makes a fit due at a scheduled run: that run itself, an alarm of drift since the last fit, `every_labels`,
    or that the loss a fresh fit is expected to have saved since the last one has reached what it costs."""
    every_labels: Count | None = None
    """With "labels": so many labelled predictions since the last fit."""
    price: Annotated[float, Meta(gt=0)] | None = None
    """With "benefit": what a second of training (CPU time) costs, in `gate.loss` summed over predictions. With the loss
    zero_one that is wrong answers: at 5, a fit of 20 seconds must be worth 100 of them. With absolute, label units."""
    max_share: Share = 0.28
    """With "benefit": about this share of the seconds that a fit at every scheduled run would take, at most. With 1
    only the price decides."""
    windows: Annotated[tuple[Window, ...], Meta(min_length=1)] = ("last",)
    """Candidates to fit on: the newest `window_rows` labelled predictions, all there are, those since the last alarm
    of drift, or `window_rows` drawn from all of them. Of several, each is tried on the newest `holdout` of the last
    window, and the learner is then fitted on everything in the best."""
    window_rows: Count = 50_000
    min_rows: Count = 500
    holdout: Fraction = 0.2
    """Newest share of the window, never fitted on: metrics and parity come from it."""


def refuse_contradictions(at: str, rules: Retrain, loss: str) -> None:
    """Rules that cannot be followed together, or with this loss. `at` is the table's name. Raises ConfigError."""
    if not rules.when:
        raise ConfigError(f'{at}.when: is empty; to fit only when asked, set schedules.retrain = "off"')
    for key, values in (("when", rules.when), ("windows", rules.windows)):
        if len(set(values)) < len(values):
            raise ConfigError(f"{at}.{key}: names one of them twice")
    if "schedule" in rules.when and len(rules.when) > 1:
        raise ConfigError(f'{at}.when: "schedule" fits at every scheduled run, so the others never decide; drop it')
    for key, value, reason in (("every_labels", rules.every_labels, "labels"), ("price", rules.price, "benefit")):
        if (value is None) == (reason in rules.when):
            told = "needs" if value is None else "is only asked for with"
            raise ConfigError(f'{at}.{key}: {"must be set, since when has" if value is None else told} "{reason}"')
    if "benefit" in rules.when and loss == "auc":
        raise ConfigError(f'{at}.when: "benefit" needs a loss of single predictions, which "auc" is not')
