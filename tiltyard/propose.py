"""`tiltyard propose`: a version that some other tool registered in MLflow challenges, or becomes the first champion."""

import tempfile
import time
from pathlib import Path

import msgspec

from contracts.releases import Golden, Manifest, Release, ReleaseRefused, sha256
from flows.place import Place
from learners import synthetic
from registry import foreign
from registry.foreign import Misfit
from registry.promotion import Barred, NoSlot, Stale
from registry.versions import UnknownVersion
from serving.model import Served
from tiltyard import roles
from tiltyard.person import person

_GOLDEN_ROWS = 16
_PROBABILITY_SLACK = 1e-3


def propose(version: int, state: Path | None, model: str | None, reason: str, first: bool, new_budget: bool) -> str:
    """Enrols a version, or makes it the first champion; repeated, it finishes what was begun and changes nothing else.

    Raises Misfit, NoSlot, Barred, Stale, UnknownVersion, Unavailable, ConfigError, or redis.RedisError; the ledger has
    each of the first three, once.
    """
    at = roles.place(state, model)
    told = f"{person()} proposes version {version}. {reason.strip()}".strip()
    try:
        if version in at.roles.barred():
            raise Barred(version)
        if first:
            return _crown(at, version, told)
        return _enrol(at, version, told, new_budget)
    except (Misfit, NoSlot, Barred) as error:
        key = f"refused:{version}:{error}"
        at.roles.ledger.append("refused", version, f"Not enrolled: {error}", cause=person(), key=key)
        raise


def _enrol(at: Place, version: int, reason: str, new_budget: bool) -> str:
    if version == at.releases.board().champion:
        raise Stale(f"version {version} of {at.name} answers already")
    line = at.roles.enrol(release_of(at, version), reason, cause=person(), may_open_budget=new_budget)
    done = "shadows already" if line.version != version or line.kind != "enrolled" else "shadows the champion"
    return f"Version {version} of {at.name} {done} (ledger line {line.seq})."


def _crown(at: Place, version: int, reason: str) -> str:
    champion = at.releases.board().champion
    if champion and champion != version:
        raise Stale(
            f"version {champion} of {at.name} answers already: propose without --first, and let evidence decide"
        )
    at.roles.stage.publish(release_of(at, version))
    line = at.roles.bootstrap(version, reason, cause=person())
    return f"Version {version} of {at.name} answers as its first champion (ledger line {line.seq})."


def release_of(at: Place, version: int) -> Release:
    """The release that Tiltyard made of a version, now or before. Raises Misfit, UnknownVersion or Unavailable."""
    at.registry.prepare()
    try:
        known = at.registry.load_release(version)
        if known.manifest.schema == at.schema.fingerprint or not at.registry.is_adopted(version):
            return _checked(at, known)
    except UnknownVersion:
        at.registry.tags(version)  # raises where there is no such version at all
    return _adopted(at, version)


def _adopted(at: Place, version: int) -> Release:
    """Its only graph, with a golden batch of generated rows, which hold nothing about anybody."""
    with tempfile.TemporaryDirectory() as folder:
        onnx = foreign.graph_in(version, at.registry.download(version, Path(folder)))
    foreign.require_fit(version, onnx, at.schema, at.registry.tags(version))
    manifest = Manifest(
        model=at.name,
        version=version,
        kind="batch",
        learner=f"proposed-{version}",
        revision=0,
        schema=at.schema.fingerprint,
        onnx_sha256=sha256(onnx),
        created_at=time.time(),
        since=at.streams.last_id("predictions"),
    )
    release = _checked(at, Release(manifest, onnx))
    at.registry.adopt(release)
    return release


def _checked(at: Place, release: Release) -> Release:
    """It, with a golden batch where it has none, after all that serving will ask of it. Raises Misfit."""
    version, golden = release.manifest.version, release.manifest.golden
    rows = (*synthetic.examples(at.schema, _GOLDEN_ROWS).rows, *synthetic.strangers(at.schema))
    try:
        scores = Served(release, at.schema).score(rows)
    except ReleaseRefused as error:
        raise Misfit(version, error.reason) from error
    except Exception as error:  # onnxruntime raises many types, none of them public
        raise Misfit(version, f"its graph fails on a row that the schema allows: {error}") from error
    for row, answer in zip(rows, scores, strict=True):
        if why := _no_answer(answer, bool(at.schema.label.classes)):
            raise Misfit(version, f"its scores for {at.schema.as_dict(row)} {why}")
    if golden.rows:
        return release
    manifest = msgspec.structs.replace(release.manifest, golden=Golden(rows, tuple(scores)))
    return msgspec.structs.replace(release, manifest=manifest)


def _no_answer(scores: tuple[float, ...], has_classes: bool) -> str | None:
    """Why these scores cannot be compared with anybody's."""
    told = ", ".join(f"{score:.4g}" for score in scores)
    if not all(abs(score) < float("inf") for score in scores):
        return f"are {told}: not finite"
    if has_classes and (min(scores) < -_PROBABILITY_SLACK or abs(sum(scores) - 1) > _PROBABILITY_SLACK):
        return f"are {told}: no probabilities, which add up to 1"
    return None
