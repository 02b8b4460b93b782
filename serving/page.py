"""The page: what a person sees of every model, rendered on the server from the facts that processes publish."""

import jinja2
from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from redis.asyncio import Redis

from contracts.config import Config
from contracts.settings import Settings


def router_for(config: Config, settings: Settings, redis: Redis) -> APIRouter:
    """Routes of the page. `redis` speaks bytes and belongs to the caller, who closes it."""
    templates = jinja2.Environment(loader=jinja2.PackageLoader("serving"), autoescape=True)
    router = APIRouter(include_in_schema=False)

    @router.get("/", response_class=HTMLResponse)
    async def page() -> str:
        return templates.get_template("page.html").render(models=config.models)

    return router
