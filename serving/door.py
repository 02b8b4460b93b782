"""The HTTP protocol: uvicorn's own, except that it answers plain predict requests itself.

A predict request that has a length, is small, and expects nothing special never meets the ASGI app. Every other
request, an unusual predict request included, goes to the app, which answers predict too. Answers leave in the order of
their requests.
"""

from collections import deque
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.desk import Desk
from serving.live import Live
from serving.question import BODY_LIMIT
from serving.refusal import Refusal

_MOST_WAITING = 256  # answers that one connection may owe before it is read no further


class _Question:
    """A predict request on one connection. It stands where uvicorn keeps a request's cycle, hence some of the names."""

    __slots__ = ("_door", "answer", "body", "keep_alive", "live", "response_complete", "status")

    def __init__(self, door: "Door", live: Live | None, keep_alive: bool):
        self._door, self.live, self.keep_alive = door, live, keep_alive
        self.body: bytes | bytearray = b""
        self.response_complete = False
        self.status = 0
        self.answer = b""

    def settle(self, status: int, answer: bytes) -> None:
        self.status, self.answer = status, answer
        self._door.send_settled()


class Door(HttpToolsProtocol):
    """uvicorn's `http=` class. The app's lifespan state holds the `desk`, and `doors`: a model by predict URL."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._desk: Desk = self.app_state["desk"]
        self._doors: dict[bytes, Live] = self.app_state["doors"]
        self._owed: deque[_Question] = deque()
        self._incoming: _Question | None = None
        self._length: int | None = None
        self._head: tuple[Any, bytes] = (None, b"")

    def on_message_begin(self) -> None:
        # The scope is made for those requests only that the app answers.
        self.url, self.headers, self.expect_100_continue, self._length = b"", [], False, None

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self.headers[-1][0] == b"content-length":
            self._length = int(value)

    def on_headers_complete(self) -> None:
        live = self._doors.get(self.url)
        if live is None or not self._is_plain():
            self._to_app()
            return
        question = _Question(self, live, self.parser.should_keep_alive())
        self._incoming = question
        self._owe(question)
        if len(self._owed) >= _MOST_WAITING:
            self.flow.pause_reading()

    def _is_plain(self) -> bool:
        """Whether this predict request can be answered here, behind no unfinished request of the app."""
        return (
            self._length is not None
            and self._length <= BODY_LIMIT
            and not self.expect_100_continue
            and (self.cycle is None or self.cycle.response_complete or isinstance(self.cycle, _Question))
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
        )

    def _to_app(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _owe(self, question: _Question) -> None:
        self._owed.append(question)
        self.cycle = cast(Any, question)

    def on_body(self, body: bytes) -> None:
        if self._incoming is None:
            super().on_body(body)
        elif not self._incoming.body:
            self._incoming.body = body
        else:
            if isinstance(self._incoming.body, bytes):
                self._incoming.body = bytearray(self._incoming.body)
            self._incoming.body += body

    def on_message_complete(self) -> None:
        question, self._incoming = self._incoming, None
        if question is None:
            super().on_message_complete()
        else:
            self._desk.ask(cast(Live, question.live), question.body, question.settle)

    def send_settled(self) -> None:
        """Writes what is answered, up to the first question that is not."""
        owed, ready = self._owed, []
        while owed and owed[0].status:
            question = owed.popleft()
            question.response_complete = True
            ready.append(self._response(question))
            if not question.keep_alive:
                self._write(ready)
                self.transport.close()
                return
        if ready:
            self._write(ready)
            if owed:
                self._read_on()
            else:
                self.on_response_complete()

    def _write(self, ready: list[bytes]) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"".join(ready))

    def _response(self, question: _Question) -> bytes:
        defaults = self.server_state.default_headers  # a new list every second, for its date
        if self._head[0] is not defaults:
            lines = [name + b": " + value + b"\r\n" for name, value in defaults]
            self._head = (defaults, b"".join([*lines, b"content-type: application/json\r\ncontent-length: "]))
        end = b"\r\n\r\n" if question.keep_alive else b"\r\nconnection: close\r\n\r\n"
        return b"%b%b%d%b%b" % (STATUS_LINE[question.status], self._head[1], len(question.answer), end, question.answer)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.flow.write_paused:
            self.flow.pause_reading()

    def pause_writing(self) -> None:
        # A client that asks and does not read is read no further.
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.pipeline:
            self._read_on()

    def _read_on(self) -> None:
        """Reads again once nothing is owed but the answer to a question whose end is still to come."""
        if not self.flow.write_paused and (not self._owed or self._owed[0] is self._incoming):
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed is refused after the answers that are still owed."""
        if self.cycle is not None and not self.cycle.response_complete and not self._owed:
            super().send_400_response(msg)
            return
        self.flow.pause_reading()
        self._incoming = None
        question = _Question(self, None, keep_alive=False)
        self._owe(question)
        question.settle(400, Refusal(400, msg).body)

    def connection_lost(self, exc: Exception | None) -> None:
        # Questions that are on their way are still logged; there is nobody left to answer.
        self._owed.clear()
        if isinstance(self.cycle, _Question):
            self.cycle = cast(Any, None)
        super().connection_lost(exc)
