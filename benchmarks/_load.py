"""A closed-loop HTTP load: wrk where it is installed, else a raw-socket client in a process of its own."""

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_SCRIPT = """
wrk.method = "POST"
wrk.body = [[%s]]
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %%f %%d %%d %%d %%d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
  for _, thread in ipairs(threads or {}) do
    for tail in pairs(thread:get("seen")) do io.write("ANSWER " .. tail .. "\\n") end
  end
end
"""
_REMEMBER = """
threads, seen = {}, {}
setup = function(thread) table.insert(threads, thread) end
response = function(status, headers, body) seen[body:match('"label".*') or body] = true end
"""


class Load(NamedTuple):
    """Requests per second, latencies in microseconds, and answers that were no 200."""

    per_s: float
    p50_us: float
    p99_us: float
    p999_us: float
    errors: int


def run(url: str, body: str, connections: int, seconds: float, core: int, answers: set[str] | None = None) -> Load:
    """Asks as fast as the server answers on `connections` connections, from one core.

    `answers` takes in each different answer, from its label on: what comes before is an id of its own.
    """
    make = _wrk if shutil.which("wrk") else _own
    command = make(url, body, connections, seconds, answers is not None)
    pinned = ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command
    output = subprocess.run(pinned, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\S+) (\S+) (\S+) (\S+) (\S+)", output)
    if found is None:
        raise RuntimeError(f"the load said nothing: {output}")
    if answers is not None:
        answers.update(re.findall(r"^ANSWER (.*)$", output, re.MULTILINE))
    per_s, p50, p99, p999, errors = map(float, found.groups())
    return Load(per_s, p50, p99, p999, int(errors))


def name() -> str:
    return "wrk" if shutil.which("wrk") else "own raw-socket client"


def _wrk(url: str, body: str, connections: int, seconds: float, remember: bool) -> list[str]:
    script = Path(tempfile.mkdtemp()) / "ask.lua"
    script.write_text(_SCRIPT % body + _REMEMBER * remember)
    return ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), url]


def _own(url: str, body: str, connections: int, seconds: float, remember: bool) -> list[str]:
    return [sys.executable, "-m", "benchmarks._load", url, body, str(connections), str(seconds), "remember" * remember]


class _Client(asyncio.Protocol):
    """One connection that always owes exactly one question."""

    def __init__(self, question: bytes, took: list[float], bad: list[bytes], seen: set[bytes] | None):
        self.question, self.took, self.bad, self.seen = question, took, bad, seen
        self.buffer, self.asked_at = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.asked_at = time.perf_counter()
        self.transport.write(self.question)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if not end or length is None or len(rest) < int(length[1]):
            return
        self.took.append(time.perf_counter() - self.asked_at)
        if not head.startswith(b"HTTP/1.1 200"):
            self.bad.append(head)
        if self.seen is not None:
            self.seen.add(rest[max(rest.find(b'"label"'), 0) :])
        self.buffer = b""
        self.ask()


async def _ask(url: str, body: str, connections: int, seconds: float, remember: bool) -> None:
    import numpy as np

    host, port, path = re.fullmatch(r"http://([^:]+):(\d+)(/.*)", url).groups()  # type: ignore[union-attr]
    question = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    took: list[float] = []
    bad: list[bytes] = []
    seen: set[bytes] | None = set() if remember else None
    loop = asyncio.get_running_loop()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(question, took, bad, seen), host, int(port))
    await asyncio.sleep(seconds)
    p50, p99, p999 = np.percentile(took, [50, 99, 99.9]) * 1e6
    print(f"RESULT {len(took) / seconds} {p50:.0f} {p99:.0f} {p999:.0f} {len(bad)}")
    for tail in seen or ():
        print("ANSWER", tail.decode())


if __name__ == "__main__":
    import uvloop

    uvloop.run(_ask(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), bool(sys.argv[5])))
