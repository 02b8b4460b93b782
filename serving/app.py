"""The ASGI app: everything that is not hot, and predict too, for requests that the door does not answer itself."""

import asyncio
import contextlib
import difflib
import re
import time
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from contracts.config import Config
from contracts.settings import Settings
from contracts.streams import Streams
from serving import approvals, disagreements, documents, feedback, metrics, overview
from serving.desk import not_ready
from serving.live import Live
from serving.page import router_for
from serving.question import BODY_LIMIT
from serving.refusal import Refusal, redis_away
from serving.state import State

_REPORT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.html")


def build(config: Config, settings: Settings, address: str) -> FastAPI:
    """The app of one serving process, whose facts are published under `address` (host:port)."""
    state = State(config, settings, address)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        async with state.running():
            yield {"desk": state.desk, "doors": state.doors}

    app: FastAPI = FastAPIOffline(
        title="Tiltyard", lifespan=lifespan, description="Answers, and takes the labels that come later."
    )
    app.state.serving = state
    _add_errors(app)
    for live in state.models.values():
        _add_model(app, state, live)
    _add_strangers(app, state)
    _add_views(app, state)
    app.include_router(router_for(config, settings, state.redis, state.client))
    return app


def _add_model(app: FastAPI, state: State, live: Live) -> None:
    """The routes of one model, documented with its own schema."""
    at = f"/models/{live.name}"
    tags: list[str | Enum] = [live.name]

    async def predict(request: Request) -> Response:
        if live.served is None:
            live.counts.refusals[503] += 1
            raise not_ready(live)
        body = await read_body(request, BODY_LIMIT)
        future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        state.desk.ask(live, body, lambda *answer: None if future.done() else future.set_result(answer))
        status, answer = await future
        return Response(answer, status, media_type="application/json")

    async def give_feedback(request: Request) -> Response:
        body = await read_body(request, feedback.BODY_LIMIT)
        try:
            receipt = await feedback.accept(state.wire, live, body)
        except Refusal as refusal:
            live.counts.feedback[f"refused {refusal.status}"] += 1
            raise
        live.counts.feedback[receipt["status"]] += 1
        return JSONResponse(receipt, 202)

    def model() -> dict[str, Any]:
        return overview.of(state, live)

    def ask_labels(count: Annotated[int, Query(ge=1, le=1000)] = 20) -> Response:
        try:
            queue = disagreements.queue(Streams(state.client, live.name), live.model, count, time.time())
        except ValueError as error:
            raise Refusal(422, str(error)) from None
        return Response(msgspec.json.encode(queue), media_type="application/json")

    async def approve(request: Request) -> Response:
        headers = request.headers
        approvals.refuse_strangers(headers.get("content-type", ""), headers.get("sec-fetch-site", ""))
        body = await read_body(request, approvals.BODY_LIMIT)
        # In a thread, since the event loop that runs this also answers predictions.
        receipt = await asyncio.to_thread(approvals.accept, Streams(state.client, live.name), body)
        return JSONResponse(receipt, 202)

    app.post(
        f"{at}/predict",
        tags=tags,
        summary="Ask the champion",
        openapi_extra=documents.predict(live.name, live.schema),
        operation_id=f"predict_{live.name}",
    )(predict)
    app.post(
        f"{at}/feedback",
        tags=tags,
        summary="Give a prediction its label",
        status_code=202,
        openapi_extra=documents.feedback(live.schema),
        operation_id=f"feedback_{live.name}",
    )(give_feedback)
    app.get(
        f"{at}/ask-labels",
        tags=tags,
        summary="Questions whose labels would decide most",
        openapi_extra=documents.ask_labels(live.schema),
        operation_id=f"ask_labels_{live.name}",
    )(ask_labels)
    app.post(
        f"{at}/approvals",
        tags=tags,
        summary="Let a winner answer that asks for it, or refuse it",
        status_code=202,
        openapi_extra=documents.approvals(),
        operation_id=f"approve_{live.name}",
    )(approve)
    app.get(at, tags=tags, summary="Champion, challengers, live evidence", operation_id=f"model_{live.name}")(model)


def _add_strangers(app: FastAPI, state: State) -> None:
    """Unknown models get the nearest known one named."""

    async def stranger(request: Request) -> Response:
        raise _unknown(state, request.path_params["model"])

    posts = [(path, "POST") for path in ("/predict", "/feedback", "/approvals")]
    for path, method in (("", "GET"), ("/ask-labels", "GET"), *posts):
        app.add_api_route(f"/models/{{model}}{path}", stranger, methods=[method], include_in_schema=False)


def _add_views(app: FastAPI, state: State) -> None:
    @app.get("/models", summary="Every model with its champion, challengers and live evidence")
    def models() -> dict[str, Any]:
        return {"models": [overview.of(state, live) for live in state.models.values()]}

    @app.get("/feedback/{feedback_id}", summary="What became of a label")
    def receipt(feedback_id: str, model: str | None = None) -> dict[str, Any]:
        if model is not None and model not in state.models:
            raise _unknown(state, model)
        return feedback.status(state.client, [state.models[model]] if model else state.models.values(), feedback_id)

    @app.get("/healthz", summary="Whether the process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether every model can answer; 503 until then")
    async def readyz() -> Response:
        ready, detail = overview.readiness(state)
        return JSONResponse(detail, 200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        return Response(metrics.text(state), media_type="text/plain; version=0.0.4; charset=utf-8")

    def shelf(folder: Path, model: str, file: str) -> FileResponse:
        if model not in state.models:
            raise _unknown(state, model)
        path = folder / model / file
        if not _REPORT.fullmatch(file) or not path.is_file():
            raise Refusal(404, f'{model} has no report "{file}"')
        return FileResponse(path)

    @app.get("/reports/{model}/{file}", summary="A drift report", response_class=FileResponse)
    def report(model: str, file: str) -> FileResponse:
        return shelf(state.settings.report_folder, model, file)

    @app.get("/dossiers/{model}/{file}", summary="Why a decision was made", response_class=FileResponse)
    def dossier(model: str, file: str) -> FileResponse:
        return shelf(state.settings.dossier_folder, model, file)


async def read_body(request: Request, limit: int) -> bytes:
    """The body of at most `limit` bytes; a larger one is refused before it is held. Raises Refusal."""
    too_large = Refusal(413, f"the body is larger than {limit} bytes")
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _unknown(state: State, name: str) -> Refusal:
    close = difflib.get_close_matches(name, state.models, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"?' if close else f"known are {', '.join(sorted(state.models))}"
    return Refusal(404, f'there is no model "{name}"; {hint}')


def _add_errors(app: FastAPI) -> None:
    """Every error has one form: `{"error": {"field"?, "reason"}}`."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return Response(refusal.body, refusal.status, refusal.headers, "application/json")

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return Response(
            Refusal(error.status_code, error.detail).body, error.status_code, error.headers, "application/json"
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        return Response(Refusal(422, first["msg"], field).body, 422, media_type="application/json")

    @app.exception_handler(RedisError)
    async def away(_: Request, error: RedisError) -> Response:
        refusal = redis_away("nothing was read")
        return Response(refusal.body, refusal.status, refusal.headers, "application/json")

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=400)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        reason = f"internal error ({type(error).__name__}); the server's log has more"
        return Response(Refusal(500, reason).body, 500, media_type="application/json")
