"""The page: what a person sees of every model, rendered on the server from the facts that processes publish."""

import asyncio
import base64
import hashlib
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlsplit

import jinja2
import msgspec
from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from redis import RedisError
from redis.asyncio import Redis

from contracts.config import Config
from contracts.settings import Settings
from serving import charts, page_facts, page_view, page_words
from serving.page_facts import Seen

READ_TIMEOUT_S = 1.0  # after this a reading has failed
PATIENCE_S = 0.15  # how long an answer waits for a reading, when it has an older one to show
FRESH_S = 0.5  # viewers at the same time share one reading
DECISIONS_SHOWN = 8


@dataclass
class _Latest:
    """The last reading of all models, kept so that the page has something to show while Redis is away."""

    seen: dict[str, Seen] = field(default_factory=dict)
    seen_at: float = 0.0
    """Epoch seconds; 0 before the first reading."""
    away: str = ""
    """Why the last reading failed; empty when it did not."""
    read_at: float = -FRESH_S
    """Monotonic seconds at which the last reading ended."""
    reading: asyncio.Task[None] | None = None


def router_for(config: Config, settings: Settings, redis: Redis) -> APIRouter:
    """`GET /` for all models, `GET /models/{model}/page` for one, and `/fragment` for what refreshes them.

    `redis` speaks bytes and belongs to the caller, who closes it. No route ever fails because Redis is away.
    """
    latest, render = _Latest(), _renderer(config, settings)
    router = APIRouter(include_in_schema=False)

    async def answer(template: str, model: str | None) -> HTMLResponse:
        if model is not None and model not in config.models:
            raise HTTPException(404, f'there is no model "{model}"')
        await _refresh(latest, redis, list(config.models))
        # In a thread, since the event loop that runs this also answers predictions.
        text, policy = await asyncio.to_thread(render, template, latest, model)
        return HTMLResponse(text, headers={"content-security-policy": policy, "cache-control": "no-store"})

    @router.get("/")
    async def page() -> HTMLResponse:
        return await answer("page.html", None)

    @router.get("/fragment")
    async def fragment() -> HTMLResponse:
        return await answer("fragment.html", None)

    @router.get("/models/{model}/page")
    async def model_page(model: str) -> HTMLResponse:
        return await answer("page.html", model)

    @router.get("/models/{model}/fragment")
    async def model_fragment(model: str) -> HTMLResponse:
        return await answer("fragment.html", model)

    return router


async def _refresh(latest: _Latest, client: Redis, models: list[str]) -> None:
    """Makes the latest reading fresh, unless that takes too long: a Redis that hangs must not hang the page."""
    if latest.reading is None:
        if time.monotonic() - latest.read_at < FRESH_S:
            return
        latest.reading = asyncio.create_task(_read(latest, client, models))
    is_first = not (latest.seen_at or latest.away)
    done, _ = await asyncio.wait({latest.reading}, timeout=None if is_first else PATIENCE_S)
    for reading in done:
        reading.result()  # raises what no absence of Redis explains


async def _read(latest: _Latest, client: Redis, models: list[str]) -> None:
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            latest.seen = await page_facts.read(client, models)
        latest.seen_at, latest.away = time.time(), ""
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        latest.away = str(error) or f"no answer within {READ_TIMEOUT_S:g} s"
    finally:
        latest.read_at, latest.reading = time.monotonic(), None


def _renderer(config: Config, settings: Settings) -> Callable[[str, _Latest, str | None], tuple[str, str]]:
    """A function from a template's name, what was read and a model's name to (HTML, content security policy)."""
    templates = files("serving") / "templates"
    css, script = (Markup((templates / name).read_text()) for name in ("page.css", "page.js"))
    environment = _environment()
    environment.globals |= {"css": css, "script": script, **_addresses(settings)}
    policy = _policy(css, script)

    def render(template: str, latest: _Latest, model: str | None) -> tuple[str, str]:
        # While Redis is away everything stands still: nothing else is to be called silent for that.
        now = latest.seen_at if latest.away else time.time()
        chosen = config.models if model is None else {model: config.models[model]}
        cards = [page_view.card(name, chosen[name], seen, now) for name, seen in latest.seen.items() if name in chosen]
        text = environment.get_template(template).render(
            cards=cards,
            title="Tiltyard" if model is None else f"{chosen[model].title or model} · Tiltyard",
            fragment="/fragment" if model is None else f"/models/{model}/fragment",
            shown=DECISIONS_SHOWN,
            now=now,
            seen_at=latest.seen_at,
            away=latest.away,
            unseen=[(name, one.title or name) for name, one in chosen.items()],
            zone=time.strftime("%Z"),
        )
        return text, policy

    return render


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
    environment.globals["key"] = charts.key
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


def _policy(css: str, script: str) -> str:
    """Nothing but this page's own style and script runs, and nothing is fetched from anywhere else."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
