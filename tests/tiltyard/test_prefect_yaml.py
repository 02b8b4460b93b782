"""`tiltyard prefect-yaml`: what `prefect deploy` is given says what `tiltyard up` would serve."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from contracts.config import parse
from flows import deployments
from flows.learn import learn
from flows.promote import promote
from tiltyard.cli import main

CONFIG = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
[models.m.learners]
linear = {algorithm = "linear"}
[models.m.schedules]
promote = "0 3 * * *"
retrain = "off"
"""


def test_a_work_pool_gets_the_deployments_that_would_be_served(tmp_path: Path) -> None:
    """The same names, parameters, tags, places and schedules; the flows are found by module."""
    (tmp_path / "tiltyard.toml").write_text(CONFIG)
    told = CliRunner().invoke(main, ["prefect-yaml", "--work-pool", "p", "--config", str(tmp_path / "tiltyard.toml")])
    assert told.exit_code == 0, told.output
    found = {one["entrypoint"]: one for one in yaml.safe_load(told.output)["deployments"]}
    assert [*found] == [f"flows.{name}.{name}" for name in ("learn", "retrain", "watch", "promote", "approve")]
    assert {one["work_pool"]["name"] for one in found.values()} == {"p"}
    for made in deployments.of(parse(CONFIG), [learn, promote]):
        one = found[f"flows.{made.flow_name}.{made.flow_name}"]
        assert (one["name"], one["parameters"], one["tags"]) == (made.name, made.parameters, made.tags)
        assert one["concurrency_limit"]["limit"] == made.concurrency_limit
        assert one["concurrency_limit"]["collision_strategy"] == made.concurrency_options.collision_strategy.value
        (due,), (given,) = made.schedules, one["schedules"]
        if made.flow_name == "promote":
            assert given == {"cron": due.schedule.cron}
        else:
            assert given["interval"] == due.schedule.interval.total_seconds()
    assert found["flows.retrain.retrain"]["schedules"] == found["flows.approve.approve"]["schedules"] == []


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As everywhere."""
    told = CliRunner().invoke(main, ["prefect-yaml", "--work-pool", "p", "--config", str(tmp_path / "nothing.toml")])
    assert told.exit_code != 0
    assert "nothing.toml" in (told.output + str(told.exception))
