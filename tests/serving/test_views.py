"""What can be asked of a serving process besides answers."""

import time

import msgspec
import pytest
import redis

from contracts.facts import ComparisonFacts, LearnerFacts, LearnFacts, ServingFacts, VersionFacts
from contracts.releases import Releases
from contracts.streams import Streams
from tests.serving.harness import Server, constant, crown, release, until


def facts() -> LearnFacts:
    comparison = ComparisonFacts(
        champion=1, challenger=2, learner="trees", started_at=1.0, n=50, wins=30, losses=20, gain=0.1, lower=0.0,
        upper=0.2, log_e=1.5, needed=3.0, uncovered=0, decision="wait", reason="more labels", evidence="{}",
        curve=((1, 0.1, 0.1, 0.0, 0.2),),
    )  # fmt: skip
    versions = tuple(VersionFacts(version=v, learner="linear", n=50, loss=0.3, accuracy=0.7) for v in (1, 2))
    return LearnFacts(
        at=time.time(), last_feedback_id="0-0", feedback=1, joined=1, orphans=0, duplicates=0, corrections=0,
        late=0, uncovered=0, pending=0, matured=0, dead_letters=0, loss="zero_one", delay_s=None,
        learners={"linear": LearnerFacts(learned=70, last_feedback_id="5-0", state_hash="a", frozen=True)},
        versions=versions, comparisons=(comparison,),
    )  # fmt: skip


def test_models_show_champion_challengers_and_live_evidence(server: Server, client: redis.Redis) -> None:
    """Roles come from the board, evidence from the learn loop's facts, without the points of its plots."""
    Releases(client, "fruit").publish(release(constant((0.4, 0.6)), version=2, revision=9))
    crown(client, release(constant((0.25, 0.75))), challengers=(2,))
    Streams(client, "fruit").set_fact("learn", facts())
    status, body = server.ask("GET", "/models")
    assert status == 200
    fruit = next(model for model in body["models"] if model["model"] == "fruit")
    assert server.ask("GET", "/models/fruit") == (200, fruit)
    assert fruit["champion"]["version"] == 1
    assert fruit["champion"]["provider"] == "CPUExecutionProvider"
    assert fruit["classes"] == [False, True]
    (challenger,) = fruit["challengers"]
    assert (challenger["version"], challenger["revision"], challenger["learner"]) == (2, 9, "linear")
    assert challenger["evidence"]["log_e"] == 1.5
    assert "curve" not in challenger["evidence"]
    assert challenger["prequential"]["accuracy"] == 0.7
    assert (fruit["learners"]["linear"]["learned"], fruit["learners"]["linear"]["frozen"]) == (70, True)
    assert server.ask("GET", "/models/fruits")[0] == 404


def test_health_and_readiness_are_told_apart(server: Server) -> None:
    """A living process is healthy; it is ready when every model has a champion here."""
    assert server.ask("GET", "/healthz") == (200, {"status": "ok"})
    status, body = server.ask("GET", "/readyz")
    assert (status, body["ready"], body["redis"]) == (200, True, True)
    assert body["models"]["price"] == {
        "ready": True, "version": 1, "revision": 0, "provider": "CPUExecutionProvider", "refused": None,
    }  # fmt: skip


def test_metrics_are_prometheus_text(server: Server) -> None:
    """Counters, what serves, and latencies in buckets from 100 us that end at the count."""
    server.predict()
    _, text = server.ask("GET", "/metrics")
    lines = text.splitlines()
    assert all(line.startswith(("# HELP tiltyard_", "# TYPE tiltyard_", "tiltyard_")) for line in lines)
    assert server.metric('served_version{model="fruit"}') == 1
    assert server.metric("redis_connected") == 1
    answered = server.metric('predictions_total{model="fruit"}')
    assert server.metric('prediction_seconds_bucket{model="fruit",le="+Inf"}') == answered
    buckets = [
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith('tiltyard_prediction_seconds_bucket{model="fruit"')
    ]
    assert buckets == sorted(buckets)
    assert 'le="0.0001"' in text
    assert any(line.startswith('tiltyard_served_info{model="fruit",learner="linear"') for line in lines)


def test_a_process_publishes_its_facts(server: Server, client: redis.Redis) -> None:
    """Every second, under its address."""
    name = f"serving:127.0.0.1:{server.port}"
    found = until(lambda: Streams(client, "fruit").facts().get(name))
    fact = msgspec.json.decode(found, type=ServingFacts)
    assert (fact.version, fact.provider, fact.pid) == (1, "CPUExecutionProvider", server.process.pid)
    assert abs(fact.at - time.time()) < 5


@pytest.mark.parametrize("shelf", ["reports", "dossiers"])
def test_reports_and_dossiers_are_served_and_nothing_else(server: Server, shelf: str) -> None:
    """Each by its name; no path leads out of its folder."""
    folder = server.where.state / shelf / "fruit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "drift-1.html").write_text("<p>drift</p>")
    (folder / "secret.txt").write_text("no")
    assert server.ask("GET", f"/{shelf}/fruit/drift-1.html") == (200, "<p>drift</p>")
    for path in (
        "fruit/secret.txt",
        "fruit/none.html",
        "fruit/..%2f..%2ftiltyard.toml",
        "fruit/.html",
        "nobody/x.html",
    ):
        assert server.ask("GET", f"/{shelf}/{path}")[0] == 404


def test_the_api_describes_each_model(server: Server) -> None:
    """OpenAPI has each model's own features, required ones told from optional ones, and its classes."""
    _, spec = server.ask("GET", "/openapi.json")
    question = spec["paths"]["/models/price/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    features = question["properties"]["features"]
    assert features["required"] == ["rooms", "new"]
    assert features["properties"]["size"] == {"type": ["number", "null"]}
    assert features["properties"]["town"] == {"type": ["string", "null"], "minLength": 1}
    answer = spec["paths"]["/models/fruit/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["label"] == {"enum": [False, True]}
    assert "422" in spec["paths"]["/models/fruit/feedback"]["post"]["responses"]
    assert server.ask("GET", "/docs")[0] == 200


def test_unknown_pages_have_the_form_of_every_error(server: Server) -> None:
    """404 as JSON."""
    assert server.ask("GET", "/nothing") == (404, {"error": {"reason": "Not Found"}})
