"""Prometheus text (exposition format 0.0.4) of this process."""

from collections.abc import Iterable

from serving.live import Live
from serving.state import State

_HELP = {
    "predictions_total": ("counter", "Questions answered."),
    "predictions_unlogged_total": ("counter", "Answers without an entry in the stream (prediction_id null)."),
    "predictions_refused_total": ("counter", "Questions that got an error, by status."),
    "feedback_total": ("counter", "Labels by what became of them at the door."),
    "reloads_total": ("counter", "Releases swapped in."),
    "releases_refused_total": ("counter", "Releases that were not fit to serve."),
    "release_refused": ("gauge", "1 while the release that the board asks for is refused."),
    "ready": ("gauge", "1 when the model can answer."),
    "served_version": ("gauge", "Version that answers."),
    "served_revision": ("gauge", "Revision of the version that answers."),
    "served_info": ("gauge", "What answers, in labels."),
}


def text(state: State) -> str:
    """All metrics, each after its HELP and TYPE."""
    lives = state.models.values()
    lines = _block("redis_connected", "gauge", "1 while predictions can be logged.", [f" {int(state.wire.connected)}"])
    for name, (kind, about) in _HELP.items():
        lines += _block(name, kind, about, [sample for live in lives for sample in _samples(name, live)])
    lines += [
        "# HELP tiltyard_prediction_seconds From a question's last byte to its answer.",
        "# TYPE tiltyard_prediction_seconds histogram",
    ]
    for live in lives:
        lines += live.counts.latency(_labels(model=live.name))
    return "\n".join(lines) + "\n"


def _block(name: str, kind: str, about: str, samples: Iterable[str]) -> list[str]:
    return [
        f"# HELP tiltyard_{name} {about}",
        f"# TYPE tiltyard_{name} {kind}",
        *(f"tiltyard_{name}{s}" for s in samples),
    ]


def _samples(name: str, live: Live) -> list[str]:
    """`{labels} value` of one metric of one model."""
    counts, served, model = live.counts, live.served, live.name
    by_label = {
        "predictions_refused_total": {("status", str(k)): v for k, v in counts.refusals.items()},
        "feedback_total": {("status", k): v for k, v in counts.feedback.items()},
    }
    if name in by_label:
        return [f"{{{_labels(model=model, **{key: value})}}} {n}" for (key, value), n in sorted(by_label[name].items())]
    if name == "served_info":
        if served is None:
            return []
        info = {"version": served.version, "revision": served.revision, "provider": served.provider}
        labels = _labels(model=model, learner=served.manifest.learner, kind=served.manifest.kind, **info)
        return [f"{{{labels}}} 1"]
    value = {
        "predictions_total": counts.answered,
        "predictions_unlogged_total": counts.unlogged,
        "reloads_total": counts.reloads,
        "releases_refused_total": counts.releases_refused,
        "release_refused": int(live.refused is not None),
        "ready": int(served is not None),
        "served_version": served.version if served else None,
        "served_revision": served.revision if served else None,
    }[name]
    return [] if value is None else [f"{{{_labels(model=model)}}} {value}"]


def _labels(**labels: object) -> str:
    return ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
