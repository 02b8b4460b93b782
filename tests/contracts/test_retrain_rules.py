"""When and on what batch learners are fitted, in tiltyard.toml."""

import pytest

from contracts.config import parse
from contracts.quantities import ConfigError

MODEL = """
[models.m]
label = {{task = "binary", classes = [false, true]}}
features = {{x = "float"}}
learners = {{one = {{algorithm = "linear", kind = "batch"}}}}
[models.m.gate]
{gate}
[models.m.retrain]
{retrain}
"""


def test_by_default_each_scheduled_run_fits_on_the_newest_rows() -> None:
    """As it always was."""
    rules = parse(MODEL.format(gate="", retrain="")).models["m"].retrain
    assert (rules.when, rules.windows) == (("schedule",), ("last",))


def test_several_reasons_may_make_a_fit_due() -> None:
    """Each with what it needs."""
    text = 'when = ["drift", "labels", "benefit"]\nevery_labels = 5000\nprice = 2.5\nwindows = ["last", "all"]'
    rules = parse(MODEL.format(gate="", retrain=text)).models["m"].retrain
    assert rules.when == ("drift", "labels", "benefit")
    assert (rules.every_labels, rules.price, rules.windows) == (5000, 2.5, ("last", "all"))


REFUSED = [
    ("when = []", "retrain.when: is empty"),
    ('when = ["nightly"]', "retrain.when"),
    ('when = ["drift", "drift"]', "retrain.when: names one of them twice"),
    ('when = ["schedule", "drift"]', '"schedule" fits at every scheduled run'),
    ('when = ["labels"]', 'retrain.every_labels: must be set, since when has "labels"'),
    ("every_labels = 100", 'retrain.every_labels: is only asked for with "labels"'),
    ('when = ["labels"]\nevery_labels = 0', "every_labels"),
    ('when = ["benefit"]', 'retrain.price: must be set, since when has "benefit"'),
    ("price = 1.0", 'retrain.price: is only asked for with "benefit"'),
    ('when = ["benefit"]\nprice = 0', "price"),
    ('when = ["benefit"]\nprice = 1.0\nmax_share = 0', "max_share"),
    ("windows = []", "windows"),
    ('windows = ["last", "last"]', "retrain.windows: names one of them twice"),
    ('windows = ["newest"]', "windows"),
]


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_rules_that_cannot_be_followed_are_refused_by_name(lines: str, message: str) -> None:
    """The error names the key, and what to do."""
    with pytest.raises(ConfigError) as refused:
        parse(MODEL.format(gate="", retrain=lines))
    assert message in str(refused.value)


def test_a_ranking_has_no_loss_of_single_predictions_to_weigh() -> None:
    """So nothing can be forecast of it."""
    with pytest.raises(ConfigError, match='"benefit" needs a loss of single predictions'):
        parse(MODEL.format(gate='loss = "auc"', retrain='when = ["benefit"]\nprice = 1.0'))
