"""What tiltyard.toml may ask for, and what it hears when it asks for something else."""

import subprocess
import sys
from typing import Any

import pytest

from contracts.config import Learner, parse
from contracts.quantities import ConfigError
from contracts.schema import Feature, Label, Schema
from learners.catalogue import RECIPES, build_batch, build_online, check

SCHEMA = Schema((Feature("x", "float"),), Label("binary", (False, True)))


def model(**learner: Any) -> Any:
    """A model with one learner called mine."""
    lines = "\n".join(f"{key} = {value}" for key, value in learner.items())
    return parse(
        f"""
        [models.m]
        features = {{ x = "float" }}
        label = {{ task = "binary", classes = [false, true] }}
        [models.m.learners.mine]
        {lines}
        """
    ).models["m"]


def test_everything_in_the_catalogue_is_accepted() -> None:
    """For each kind that fits, without params."""
    for kind, names in RECIPES.items():
        for name, recipes in names.items():
            if "binary" in recipes:
                check(model(algorithm=f'"{name}"', kind=f'"{kind}"'))


REFUSED = [
    ({"algorithm": '"linaer"'}, 'learners.mine.algorithm: there is no online "linaer"; did you mean "linear"'),
    ({"algorithm": '"zzz"', "kind": '"batch"'}, "known are hist_gradient_boosting, linear"),
    ({"algorithm": '"hist_gradient_boosting"'}, 'does not learn online; set kind = "batch"'),
    ({"algorithm": '"hoeffding_tree"', "kind": '"batch"'}, 'does not learn batch; set kind = "online"'),
    (
        {"algorithm": '"linear"', "params": "{ learning_rat = 1 }"},
        'params: "linear" has no "learning_rat"; did you',
    ),
    ({"algorithm": '"linear"', "params": "{ learning_rate = -1.0 }"}, "learners.mine.params.learning_rate: Expected"),
    ({"algorithm": '"hoeffding_tree"', "params": '{ split_criterion = "x" }'}, "params.split_criterion: Invalid enum"),
    ({"algorithm": '"hoeffding_tree"', "params": '{ grace_period = "x" }'}, "params.grace_period: Expected `int`"),
    (
        {"algorithm": '"hoeffding_tree"', "mini_batch": "100"},
        'mini_batch: "hoeffding_tree" has no learn_many for a binary label; known are linear and naive_bayes',
    ),
]


@pytest.mark.parametrize(("learner", "message"), REFUSED)
def test_what_cannot_be_built_is_refused_at_configuration_time(learner: dict[str, str], message: str) -> None:
    """The error names the key, and what would do."""
    with pytest.raises(ConfigError) as refused:
        check(model(**learner))
    assert message in str(refused.value)


def test_the_configuration_is_checked_without_heavy_imports() -> None:
    """River and scikit-learn cost seconds, which the command line should not pay to read a file."""
    code = "import sys, learners.catalogue; sys.exit('river' in sys.modules or 'sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_learner_of_numbers_refuses_categories() -> None:
    """At configuration time and when built, with what reads both."""
    schema = Schema((Feature("x", "float"), Feature("c", "category")), Label("binary", (False, True)))
    with pytest.raises(
        ConfigError, match='"naive_bayes" reads numbers only, and "c" is a category; a "hoeffding_tree"'
    ):
        build_online(Learner(algorithm="naive_bayes"), schema)


def test_params_reach_the_estimator() -> None:
    """Online and batch, and the learner's seed."""
    online = build_online(Learner(algorithm="hoeffding_tree", params={"grace_period": 7}), SCHEMA, "mine")
    assert (online.name, online.model.grace_period) == ("mine", 7)
    batch = build_batch(
        Learner(algorithm="hist_gradient_boosting", kind="batch", params={"max_iter": 3}, seed=5), SCHEMA
    )
    assert (batch[-1].max_iter, batch[-1].random_state) == (3, 5)


def test_a_learner_of_the_other_kind_is_refused() -> None:
    """Online is not built in batch, nor batch online."""
    with pytest.raises(ConfigError, match="configured as batch, not online"):
        build_online(Learner(algorithm="linear", kind="batch"), SCHEMA)
    with pytest.raises(ConfigError, match="configured as online, not batch"):
        build_batch(Learner(algorithm="linear"), SCHEMA)


@pytest.mark.parametrize("feature", [Feature("y", "float", optional=True), Feature("c", "category")])
def test_a_mini_batch_of_what_may_be_missing_or_is_no_number_is_refused(feature: Feature) -> None:
    """River's scaler would make NaN of it."""
    schema = Schema((Feature("x", "float"), feature), Label("binary", (False, True)))
    with pytest.raises(ConfigError, match=f'mini_batch: needs numbers that are always there, which "{feature.name}"'):
        build_online(Learner(algorithm="linear", mini_batch=100), schema)
