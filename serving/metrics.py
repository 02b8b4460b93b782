"""Prometheus text (exposition format 0.0.4) of this process."""

from collections.abc import Callable, Iterable

from serving.counts import Tally
from serving.live import Live
from serving.state import State

_Sample = tuple[dict[str, str], int]
"""Labels beyond model and version, and the count."""

_HELP = {
    "predictions_total": ("counter", "Questions answered."),
    "predictions_unlogged_total": ("counter", "Answers without an entry in the stream (prediction_id null)."),
    "predictions_refused_total": ("counter", "Questions that got an error, by status."),
    "answers_total": ("counter", "Answers, by version and label."),
    "scoring_failures_total": ("counter", "Questions that a version gave no finite score, by what it did instead."),
    "scoring_slow_total": ("counter", "Scorings of what was asked together that took longer than gate.max_latency."),
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
        lines += live.counts.latency.lines("tiltyard_prediction_seconds", _labels(model=live.name))
    lines += [
        "# HELP tiltyard_scoring_seconds Of one version, scoring what was asked together.",
        "# TYPE tiltyard_scoring_seconds histogram",
    ]
    for live in lives:
        for version, tally in live.counts.versions.items():
            lines += tally.scoring.lines("tiltyard_scoring_seconds", _labels(model=live.name, version=version))
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
    if name in _BY_VERSION:
        return [
            f"{{{_labels(model=model, version=version, **labels)}}} {n}"
            for version, tally in counts.versions.items()
            for labels, n in _BY_VERSION[name](tally, live)
        ]
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


def _answers(tally: Tally, live: Live) -> list[_Sample]:
    if live.schema.label.is_regression:
        return [({}, tally.by_class[0])]
    return [({"label": text}, n) for text, n in zip(live.schema.label.class_texts, tally.by_class, strict=True)]


def _failures(tally: Tally, live: Live) -> list[_Sample]:
    return [({"kind": "raised"}, tally.raised), ({"kind": "not_finite"}, tally.not_finite)]


_BY_VERSION: dict[str, Callable[[Tally, Live], list[_Sample]]] = {
    "answers_total": _answers,
    "scoring_failures_total": _failures,
    "scoring_slow_total": lambda tally, _: [({}, tally.slow)],
}


def _labels(**labels: object) -> str:
    return ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
