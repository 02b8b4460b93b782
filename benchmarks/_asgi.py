"""What people write by hand: one ASGI handler around `session.run`, as `python -m benchmarks._asgi`."""

import argparse
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import redis.asyncio
import uvicorn


class Question(msgspec.Struct):
    """A request's body."""

    features: dict[str, float]


def build(session: onnxruntime.InferenceSession, names: list[str], redis_url: str | None) -> Any:
    """The handler; with a `redis_url` it appends each prediction before its answer, by redis-py."""
    decoder, encode = msgspec.json.Decoder(Question), msgspec.json.encode
    client = redis.asyncio.Redis.from_url(redis_url) if redis_url else None
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        features = decoder.decode(body).features
        row = [features[name] for name in names]
        scores = session.run(["scores"], {"numeric": np.array([row], np.float64)})[0][0].tolist()
        prediction_id = None
        if client is not None:
            event = msgspec.msgpack.encode((1, 0, scores, row, "abc"))
            prediction_id = (await client.xadd("raw", {"e": event})).decode()
        answer = {
            "prediction_id": prediction_id,
            "label": scores[1] > scores[0],
            "probabilities": {"false": scores[0], "true": scores[1]},
            "model": "bench",
            "version": 1,
            "revision": 0,
        }
        payload = encode(answer)
        length = (b"content-length", str(len(payload)).encode())
        await send({**head, "headers": [*head["headers"], length]})
        await send({"type": "http.response.body", "body": payload})

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--onnx", type=Path, required=True)
    parser.add_argument("--names", nargs="+", required=True)
    parser.add_argument("--redis")
    arguments = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(arguments.onnx.read_bytes(), options, providers=["CPUExecutionProvider"])
    app = build(session, arguments.names, arguments.redis)
    uvicorn.run(
        app, port=arguments.port, loop="uvloop", http="httptools", ws="none", lifespan="off", log_level="warning",
        access_log=False, server_header=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
