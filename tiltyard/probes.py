"""Short questions to the processes of an instance. They never raise: what does not answer is not ready."""

import http.client
import socket
import urllib.error
import urllib.request
from collections.abc import Iterable

import msgspec
import psutil
import redis

from contracts import streams
from contracts.streams import Streams

_PATIENCE_S = 1.0


def http_ok(url: str, patience_s: float = _PATIENCE_S) -> bool:
    """Whether a GET is answered with a status below 300."""
    return http_status(url, patience_s) in range(200, 300)


def http_status(url: str, patience_s: float = _PATIENCE_S) -> int | None:
    """The status of a GET; None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=patience_s) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return None


def redis_ok(url: str) -> bool:
    """Whether Redis answers and has read its files."""
    try:
        with streams.connect(url, retry=None) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False


def has_fresh_facts(url: str, models: Iterable[str], fact: str, since: float) -> bool:
    """Whether each model has a fact that was published after an epoch second."""
    try:
        with streams.connect(url, retry=None) as client:
            return all(_fact_at(client, model, fact) >= since for model in models)
    except (redis.RedisError, OSError, ValueError):
        return False


def _fact_at(client: redis.Redis, model: str, fact: str) -> float:
    found = Streams(client, model).facts().get(fact)
    return float(msgspec.json.decode(found).get("at", 0)) if found else 0.0


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server can listen on a port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def who_listens(port: int) -> str:
    """The process on a port, as text for a message; "" when the system does not tell."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                process = psutil.Process(connection.pid)
                return f"{process.name()}, process id {process.pid}"
    except (psutil.Error, OSError):
        pass
    return ""
