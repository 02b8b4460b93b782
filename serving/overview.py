"""What one can ask of a model besides answers: who answers, who challenges, and how ready it is."""

from typing import Any

import msgspec
import redis

from contracts.releases import Manifest, Releases
from contracts.streams import Streams
from serving.live import Live
from serving.state import State


def of(state: State, live: Live) -> dict[str, Any]:
    """A model with its champion here and, while Redis is there, its challengers and live evidence."""
    served, label = live.served, live.schema.label
    known = {
        "model": live.name,
        "title": live.model.title,
        "task": label.task,
        "classes": label.classes,
        "features": {feature.name: feature.type for feature in live.schema.features},
        "champion": {**_manifest(served.manifest), "provider": served.provider} if served else None,
        "refused": live.refused,
    }
    try:
        return {**known, "redis": True, **_published(state.client, live)}
    except redis.RedisError:
        return {**known, "redis": False}


def _published(client: redis.Redis, live: Live) -> dict[str, Any]:
    published, kept = Releases(client, live.name), Streams(client, live.name)
    board, facts = published.board(), kept.facts()
    learn = msgspec.json.decode(facts.get("learn", b"{}"))
    evidence = {each["challenger"]: _plain(each) for each in learn.get("comparisons", ())}
    losses = {each["version"]: _plain(each) for each in learn.get("versions", ())}
    challengers = []
    for version in board.challengers:
        manifest = published.manifest(version)
        shown = _manifest(manifest) if manifest else {"version": version}
        challengers.append({**shown, "evidence": evidence.get(version), "prequential": losses.get(version)})
    return {
        "board": {"champion": board.champion, "previous": board.previous},
        "prequential": losses.get(board.champion),
        "challengers": challengers,
        "learners": learn.get("learners", {}),
        "streams": {name: kept.added(name) for name in ("predictions", "shadows", "feedback")},
    }


def _manifest(manifest: Manifest) -> dict[str, Any]:
    shown = ("version", "revision", "kind", "learner", "created_at", "last_feedback_id")
    return {name: getattr(manifest, name) for name in shown}


def _plain(fact: dict[str, Any]) -> dict[str, Any]:
    """A fact without what is there for plots."""
    return {name: value for name, value in fact.items() if name != "curve"}


def readiness(state: State) -> tuple[bool, dict[str, Any]]:
    """Whether every model has a champion here, and the detail of each."""
    models = {
        name: {
            "ready": live.served is not None,
            "version": live.served.version if live.served else None,
            "revision": live.served.revision if live.served else None,
            "provider": live.served.provider if live.served else None,
            "refused": live.refused,
        }
        for name, live in state.models.items()
    }
    ready = all(model["ready"] for model in models.values())
    return ready, {"ready": ready, "redis": state.wire.connected, "models": models}
