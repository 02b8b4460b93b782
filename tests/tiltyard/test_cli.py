"""The command line: what it says when something is wrong, and what it writes when all is well."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from contracts import config, streams
from contracts.facts import LearnerFacts, LearnFacts
from contracts.quantities import seconds
from contracts.releases import Board, Manifest, Release, Releases
from contracts.settings import Settings
from contracts.streams import Streams
from data import infer
from data import streams as sources
from tests.conftest import free_port, free_port_base
from tiltyard import demo, demo_config, doctor, instance, up
from tiltyard.cli import main
from tiltyard.instance import Instance

COMMANDS = (
    "up", "demo", "replay", "init", "status", "models", "ask-labels", "history", "live-at", "verify-ledger",
    "propose", "promote", "approve", "refuse", "rollback", "freeze", "unfreeze",
    "accept", "pardon", "erase", "check-learner", "doctor", "schema",
)  # fmt: skip
ONE_MODEL = """
[models.m]
label = {task = "binary", classes = [false, true]}
features = {x = "float"}
learners.linear = {algorithm = "linear"}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in an empty folder, with no variable of Tiltyard set."""
    for name in os.environ:
        if name.startswith("TILTYARD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiltyard(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def assert_told(result: Result, *parts: str) -> None:
    """One line on standard error, status 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def write_csv(folder: Path) -> Path:
    path = folder / "churn.csv"
    path.write_text("age,plan,churned\n" + "".join(f"{20 + i},p{i % 3},{i % 2}\n" for i in range(40)))
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """--help tells what it does in a sentence."""
    result = tiltyard(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    """The command line comes up at once."""
    program = (
        "import sys; from tiltyard.cli import main\n"
        "heavy = {'river', 'sklearn', 'mlflow', 'prefect', 'pandas', 'onnx', 'deltalake', 'aiohttp', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_init_writes_a_configuration_that_up_reads(home: Path) -> None:
    """From a CSV to a file that parses, with comments, and not over an existing one."""
    write_csv(home)
    result = tiltyard("init", "churn.csv", "--label-column", "churned")
    assert result.exit_code == 0, result.output
    model = config.load(home / "tiltyard.toml").models["churn"]
    assert dict(model.features) == {"age": "int", "plan": "category"}
    assert_told(tiltyard("init", "churn.csv", "--label-column", "churned"), "is there already", "--force")
    assert tiltyard("init", "churn.csv", "--label-column", "churned", "--force").exit_code == 0


def test_init_names_what_is_wrong(home: Path) -> None:
    """A wrong column is answered with the nearest, a missing file by its name."""
    write_csv(home)
    assert_told(tiltyard("init", "churn.csv", "--label-column", "churn"), 'did you mean "churned"')
    assert_told(tiltyard("init", "none.csv", "--label-column", "y"), "none.csv: cannot be read")
    assert_told(
        tiltyard("init", "churn.csv", "--label-column", "churned", "--model", "Bad Name"),
        '"Bad Name" cannot name a model',
    )


def test_up_without_a_configuration_says_how_to_get_one() -> None:
    """A newcomer is pointed to `init` and `demo`."""
    assert_told(tiltyard("up"), "tiltyard.toml is not there", "tiltyard init", "tiltyard demo")


def test_a_wrong_variable_is_answered_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are checked by every command."""
    monkeypatch.setenv("TILTYARD_REDIS", "redis://x")
    assert_told(tiltyard("status"), "unknown variable TILTYARD_REDIS", "TILTYARD_REDIS_URL")


def test_a_wrong_key_in_the_configuration_is_named(home: Path) -> None:
    """`up` refuses to start on a configuration with a typing error."""
    text = infer.model_table("m", sources.stream("phishing").schema)
    (home / "tiltyard.toml").write_text(text.replace("task =", "tusk ="))
    assert_told(tiltyard("up"), "models.m.label.tusk", 'did you mean "task"')


def test_replay_says_that_nobody_answers() -> None:
    """And how to start somebody."""
    result = tiltyard("replay", "phishing", "--url", f"http://127.0.0.1:{free_port()}")
    assert_told(result, "nobody answers at", "tiltyard up")


def test_replay_takes_one_delay() -> None:
    """Rows or seconds, not both."""
    assert_told(tiltyard("replay", "phishing", "--delay", "3", "--delay-seconds", "1"), "not both")


def test_an_unknown_stream_is_answered_with_the_nearest() -> None:
    """Before anything is started."""
    assert_told(tiltyard("demo", "--stream", "banana"), 'did you mean "bananas"')


def test_the_json_schema_is_printed() -> None:
    """For editors."""
    assert json.loads(tiltyard("schema").stdout)["$defs"]["Model"]


def test_a_demo_does_not_touch_the_state_of_something_else(home: Path) -> None:
    """A folder that no demo has made stays as it is."""
    state = home / "tiltyard-state"
    state.mkdir()
    (state / "precious").write_text("x")
    assert_told(tiltyard("demo"), "holds something else than a demo", "--state")


def test_a_demo_sets_the_one_before_it_aside(home: Path) -> None:
    """No row is learned twice, and nothing is thrown away."""
    state = home / "tiltyard-state"
    stream = sources.stream("phishing")
    demo.prepare(up.settings_for(None, None, 8700), stream, 10.0)
    assert config.load(state / "tiltyard.toml").models["phishing"].schema == stream.schema
    assert demo.set_aside(state) == home / "tiltyard-state.1"
    assert not state.exists()
    assert demo.set_aside(state) is None


@pytest.mark.parametrize("name", sources.names())
def test_every_stream_can_be_a_demo(name: str) -> None:
    """Its configuration parses, its labels come before they are given up, and it does not last for ever."""
    stream = sources.stream(name)
    rate = demo_config.rate_for(stream)
    model = config.parse(demo_config.text(stream, rate)).models[name]
    assert model.schema == stream.schema
    assert seconds(model.gate.maturity) > demo_config.DELAY_ROWS / rate
    assert min(demo_config.limit_for(rate), stream.length) / rate < 300


def publish(home: Path, redis_url: str) -> Streams:
    """An instance of which `status` can tell something."""
    (home / "tiltyard.toml").write_text(infer.model_table("phishing", sources.stream("phishing").schema))
    chosen = up.settings_for(None, None, 8700, {"TILTYARD_REDIS_URL": redis_url})
    chosen.state.mkdir()
    instance.write(Instance.of(chosen))
    client = streams.connect(redis_url)
    Releases(client, "phishing").set_board(Board(champion=3, challengers=(1,)))
    kept = Streams(client, "phishing")
    manifest = Manifest(
        model="phishing", version=3, kind="online", learner="linear", revision=41, schema="", onnx_sha256="",
        created_at=time.time() - 5,
    )  # fmt: skip
    Releases(client, "phishing").publish(Release(manifest, b""))
    facts = LearnFacts(
        at=time.time(), last_feedback_id="5-0", feedback=0, joined=0, orphans=2, duplicates=1, corrections=0, late=0,
        uncovered=0, pending=4, matured=9, dead_letters=0, loss="zero_one", delay_s=(1.0, 2.0, 3.0), examples=15,
        amendments=2, journal_bytes=4_100, timed_out=6,
        learners={"linear": LearnerFacts(
            learned=9, last_feedback_id="5-0", state_hash="ab" * 32, version=3, position=12, amendments=1,
            held="its answers moved", checkpoint_bytes=2_300, checkpoint_s=0.005, memory_mb=200.0,
        )},
        versions=(), comparisons=(),
    )  # fmt: skip
    kept.set_fact("learn", facts)
    kept.client.xadd(kept.key("feedback"), {"e": b"?"})
    kept.bury("predictions", "7-0", {b"x": b"y"}, "is no Prediction")
    return kept


def test_status_tells_learners_streams_and_who_answers(home: Path, redis_url: str) -> None:
    """As JSON and for people; the instance is found through its state folder."""
    publish(home, redis_url)
    told = json.loads(tiltyard("status", "--json").stdout)["models"]["phishing"]
    assert (told["champion"], told["challengers"]) == (3, [1])
    learner = told["learners"]["linear"]
    assert (learner["learned"], learner["last_feedback_id"], learner["state_hash"]) == (9, "5-0", "ab" * 32)
    assert told["streams"]["feedback"] == {"added": 1, "lag": 1, "dead_letters": 0}
    assert told["streams"]["predictions"]["dead_letters"] == 1
    assert told["labels"]["orphans"] == 2
    assert (learner["behind"], learner["published_revision"], told["labels"]["timed_out"]) == (3, 41, 6)
    assert told["warnings"] == ["The newest revision of linear is held: its answers moved."]
    shown = " ".join(CliRunner(env={"COLUMNS": "200"}).invoke(main, ["status"]).stdout.split())
    assert "version 3 answers; in shadow: 1" in shown
    assert "! The newest revision of linear is held: its answers moved." in shown
    assert re.search(r"linear held 9 3 3 revision 41, \d+ s ago 5-0", shown)
    assert "linear 2.3 kB in 5 ms – 200 of 2,048 MiB – 1 of 2 abababababab" in shown
    assert "timed out 6" in shown
    assert "journal: 15 examples (4.1 kB), 2 amended label delay: half within 1 s, 90 % within 2 s" in shown


def test_models_lists_versions_with_their_roles(home: Path, redis_url: str) -> None:
    """Champion first."""
    publish(home, redis_url)
    told = json.loads(tiltyard("models", "--json").stdout)["phishing"]
    assert [(one["version"], one["role"]) for one in told] == [(3, "champion"), (1, "challenger")]
    assert "challenger" in tiltyard("models").stdout


def test_roles_need_a_reason_and_another_version(home: Path, redis_url: str) -> None:
    """Blank reasons, a champion that answers already and a wrong model are refused, and nothing is changed."""
    kept = publish(home, redis_url)
    assert_told(tiltyard("promote", "1", "--reason", " "), "--reason is empty")
    assert_told(tiltyard("promote", "3", "--reason", "why not"), "version 3 of phishing answers already")
    assert_told(tiltyard("promote", "1", "--reason", "why not", "--model", "fishing"), 'did you mean "phishing"')
    assert Releases(kept.client, "phishing").board().champion == 3


def test_commands_say_that_redis_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what to do."""
    (home / "tiltyard.toml").write_text(infer.model_table("phishing", sources.stream("phishing").schema))
    monkeypatch.setenv("TILTYARD_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    assert_told(tiltyard("status"), "Redis does not answer", "tiltyard up")


def grades(found: list[doctor.Finding]) -> dict[str, str]:
    return {finding.what: finding.grade for finding in found if finding.grade != "ok"}


def test_doctor_finds_nothing_wrong_in_an_empty_folder(home: Path) -> None:
    """A missing configuration is a hint, not a fault."""
    result = tiltyard("doctor", "--port-base", str(free_port_base()))
    assert result.exit_code == 0, result.output
    assert "Nothing stands in the way." in result.stdout


def test_doctor_explains_what_is_not_there(home: Path, redis_url: str) -> None:
    """Redis, MLflow and Prefect that do not answer are named, each with its variable."""
    nowhere = f"127.0.0.1:{free_port()}"
    environment = {
        "TILTYARD_REDIS_URL": f"redis://:secret@{nowhere}/0",
        "TILTYARD_MLFLOW_URL": f"http://{nowhere}",
        "TILTYARD_PREFECT_URL": f"http://{nowhere}/api",
    }
    bad = [finding for finding in doctor.look(None, None, free_port_base(), environment) if finding.grade == "bad"]
    assert [finding.what.split()[0] for finding in bad] == ["Redis", "MLflow", "Prefect"]
    for finding, variable in zip(bad, environment, strict=True):
        assert variable in finding.advice
        assert "secret" not in finding.what


def test_doctor_explains_an_old_or_forgetful_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version without the counters that are needed, an eviction policy, and a missing append-only file."""
    assert "does not keep what it accepts" in doctor.redis_at(redis_url).what
    with streams.connect(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert "maxmemory-policy allkeys-lru" in doctor.redis_at(redis_url).what
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    monkeypatch.setattr(doctor, "_OLDEST_REDIS", (99, 0))
    found = doctor.redis_at(redis_url)
    assert found.grade == "bad"
    assert "too old" in found.what


def test_doctor_tells_of_a_clock_that_was_set_back(home: Path, redis_url: str, client: redis.Redis) -> None:
    """By how much, and what waits for it; a clock that is right is no finding."""
    chosen = Settings(state=home, config=home / "tiltyard.toml", redis_url=redis_url)
    assert list(doctor.clock_behind(chosen)) == []
    chosen.config.write_text(ONE_MODEL)
    assert list(doctor.clock_behind(chosen)) == []
    kept, now_ms = Streams(client, "m"), int(1000 * time.time())
    client.xadd(kept.key("predictions"), {"e": b""}, id=f"{now_ms - 5_000}-0")
    assert list(doctor.clock_behind(chosen)) == []
    client.xadd(kept.key("feedback"), {"e": b""}, id=f"{now_ms + 7_200_000}-0")
    (found,) = doctor.clock_behind(chosen)
    assert found.grade == "warn"
    assert re.match(r"Redis's clock is 7,(200|199) s behind its newest entries", found.what)
    assert "none matures before it has caught up" in found.advice


def test_doctor_explains_a_folder_that_cannot_be_written(home: Path) -> None:
    """A file in the way, or a folder of the system's."""
    (home / "file").write_text("")
    assert doctor.folder(home / "file" / "state").grade == "bad"
    assert doctor.folder(Path("/proc/tiltyard")).grade == "bad"
    assert doctor.folder(home / "new" / "state").grade == "ok"


def test_doctor_explains_a_python_that_is_not_supported() -> None:
    """Both ends of the range."""
    assert [doctor.python(version).grade for version in ((3, 10), (3, 11), (3, 13), (3, 14))] == [
        "bad",
        "ok",
        "ok",
        "bad",
    ]


def test_doctor_explains_a_bad_configuration(home: Path) -> None:
    """An unknown learner is found without starting anything."""
    text = infer.model_table("m", sources.stream("phishing").schema).replace('"hoeffding_tree"', '"hoefding_tree"')
    (home / "tiltyard.toml").write_text(text)
    found = grades(list(doctor.look(None, None, free_port_base(), {})))
    assert any("hoefding_tree" in what and grade == "bad" for what, grade in found.items())
