"""The page: what a person sees of every model, rendered on the server from the facts that processes publish."""

import asyncio
import base64
import hashlib
import shlex
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
import msgspec
import redis
import redis.asyncio
from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from contracts.config import Config, Model
from contracts.settings import Settings
from contracts.streams import Streams
from serving import chart_parts, disagreements, page_facts, page_view, page_words
from serving.disagreements import Lately
from serving.latest import Latest
from serving.page_facts import Seen

FRESH_S = 0.5
EXAMPLES_FRESH_S = 2.0  # a thousand questions are read for them
DECISIONS_SHOWN = 8

SPANS = {
    "1h": ("1 hour", 3_600),
    "24h": ("24 hours", 86_400),
    "7d": ("7 days", 604_800),
    "all": ("all time", float("inf")),
}

Readings = Mapping[str, Latest[Lately]]


def router_for(config: Config, settings: Settings, client: redis.asyncio.Redis, reader: redis.Redis) -> APIRouter:
    """`GET /` for all models, `GET /models/{model}/page` for one, and `/fragment` for what refreshes them.

    Both clients speak bytes and belong to the caller, who closes them. No route ever fails because Redis is away.
    """
    latest = Latest(partial(page_facts.read, client, list(config.models)), dict[str, Seen](), FRESH_S)
    lately = {name: _lately_of(reader, name, model) for name, model in config.models.items()}
    render, router = _renderer(config, settings), APIRouter(include_in_schema=False)

    async def answer(template: str, model: str | None, span: str) -> HTMLResponse:
        if model is not None and model not in config.models:
            raise HTTPException(404, f'there is no model "{model}"')
        await latest.refresh()
        # What is told of one model alone is told at length.
        alone = model or (next(iter(config.models)) if len(config.models) == 1 else None)
        if alone is not None and not latest.away:
            await lately[alone].refresh()
        # In a thread, since the event loop that runs this also answers predictions.
        told = await asyncio.to_thread(render, template, latest, lately, model, alone, span)
        return HTMLResponse(told[0], headers={"content-security-policy": told[1], "cache-control": "no-store"})

    @router.get("/")
    async def page(span: str = "all") -> HTMLResponse:
        return await answer("page.html", None, span)

    @router.get("/fragment")
    async def fragment(span: str = "all") -> HTMLResponse:
        return await answer("fragment.html", None, span)

    @router.get("/models/{model}/page")
    async def model_page(model: str, span: str = "all") -> HTMLResponse:
        return await answer("page.html", model, span)

    @router.get("/models/{model}/fragment")
    async def model_fragment(model: str, span: str = "all") -> HTMLResponse:
        return await answer("fragment.html", model, span)

    return router


def _lately_of(client: redis.Redis, name: str, model: Model) -> Latest[Lately]:
    kept = Streams(client, name)

    async def read() -> Lately:
        return await asyncio.to_thread(disagreements.lately, kept, model, time.time())

    return Latest(read, Lately(), EXAMPLES_FRESH_S)


Render = Callable[[str, Latest[dict[str, Seen]], Readings, str | None, str | None, str], tuple[str, str]]


def _renderer(config: Config, settings: Settings) -> Render:
    """A function from a template's name and what was read to (HTML, content security policy)."""
    templates = files("serving") / "templates"
    names = ("page.css", "page.js", "approve.js", "queue.js")
    css, *scripts = (Markup((templates / name).read_text()) for name in names)
    environment = _environment()
    environment.globals |= {"css": css, "scripts": scripts, **_addresses(settings)}
    policy = _policy(css, *scripts)

    def render(
        template: str,
        latest: Latest[dict[str, Seen]],
        lately: Readings,
        model: str | None,
        alone: str | None,
        span: str,
    ) -> tuple[str, str]:
        # While Redis is away everything stands still: nothing else is to be called silent for that.
        now = latest.at if latest.away else time.time()
        chosen = config.models if model is None else {model: config.models[model]}
        span = span if span in SPANS else "all"
        begin = now - SPANS[span][1]
        cards = [
            page_view.card(name, chosen[name], seen, now, lately[name].value if name == alone else Lately(), begin)
            for name, seen in latest.value.items()
            if name in chosen
        ]
        at = "" if model is None else f"/models/{model}"
        text = environment.get_template(template).render(
            cards=cards,
            title="Tiltyard" if model is None else f"{chosen[model].title or model} · Tiltyard",
            here=f"{at}/page" if at else "/",
            fragment=f"{at}/fragment?span={span}",
            alone=alone,
            asks=alone is not None and not config.models[alone].label.is_regression,
            span=span,
            shown=DECISIONS_SHOWN,
            dossiers={name: _dossiers(settings.dossier_folder / name) for name in chosen},
            now=now,
            seen_at=latest.at,
            away=latest.away,
            unseen=[(name, one.title or name) for name, one in chosen.items()],
            zone=time.strftime("%Z"),
        )
        return text, policy

    return render


def _dossiers(folder: Path) -> dict[int, str]:
    """The pages that tell why, by the number of the ledger line that they belong to."""
    return {int(page.name[:6]): page.name for page in folder.glob("[0-9]" * 6 + "-*.html")}


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("serving"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters |= {
        "clock": _clock,
        "commands": page_words.commands,
        "count": page_words.count,
        "iso": page_words.iso,
        "kind": page_words.kind,
        "second": lambda at: time.strftime("%H:%M:%S", time.localtime(at)),
        "advantage": page_words.advantage,
        "signed": page_words.signed,
    }
    environment.globals |= {"key": chart_parts.key, "spans": SPANS}
    return environment


@jinja2.pass_context
def _clock(context: jinja2.runtime.Context, at: float) -> str:
    return page_words.clock(at, context["now"])


def _addresses(settings: Settings) -> dict[str, Any]:
    """Where the page's links lead, and how its examples ask."""
    mlflow, redis_at = settings.mlflow_url.rstrip("/"), urlsplit(settings.redis_url)

    def curl(path: str, body: dict[str, Any]) -> str:
        said = shlex.quote(msgspec.json.encode(body).decode())
        url = f"{settings.serving_url.rstrip('/')}{path}"
        return f"curl -s {url} \\\n  -H 'content-type: application/json' \\\n  -d {said}"

    return {
        "curl": curl,
        "mlflow": mlflow,
        "mlflow_version": lambda model, version: f"{mlflow}/#/models/{quote(model)}/versions/{version}",
        "prefect": settings.prefect_url.rstrip("/").removesuffix("/api"),
        # Not the whole URL: it may carry a password.
        "redis_address": f"{redis_at.hostname or 'its socket'}:{redis_at.port or 6379}",
    }


def _policy(css: str, *scripts: str) -> str:
    """Nothing but this page's own style and scripts runs, and nothing is fetched from anywhere else."""
    allowed = " ".join(map(_hashed, scripts))
    return (
        f"default-src 'none'; style-src {_hashed(css)}; script-src {allowed}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
