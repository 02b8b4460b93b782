"""The protocol on the wire: order, limits and odd clients, by raw sockets."""

import socket
import time

import pytest
import redis

from contracts.streams import Streams
from tests.serving.harness import GOOD, Replies, Server, request, until

URL = "/models/fruit/predict"
ASK = request("POST", URL, GOOD)


def kinds(replies: Replies, n: int) -> list[str]:
    """What n responses are: the model's name of a prediction, "error", or the field that tells another."""
    found = []
    for _ in range(n):
        _, body = replies.next()
        found.append(body.get("model") or ("error" if "error" in body else next(iter(body))))
    return found


def test_a_connection_is_kept_alive(server: Server) -> None:
    """Many questions on one connection, door and app in turn."""
    with server.connect() as line:
        replies = Replies(line)
        for _ in range(5):
            line.sendall(ASK)
            assert replies.next()[0] == 200
            line.sendall(request("GET", "/healthz"))
            assert replies.next() == (200, {"status": "ok"})


def test_connection_close_is_obeyed(server: Server) -> None:
    """The answer says so too, and then the connection ends."""
    with server.connect() as line:
        line.sendall(request("POST", URL, GOOD, b"connection: close\r\n"))
        replies = Replies(line)
        assert replies.next()[0] == 200
        assert replies.headers[b"connection"] == b"close"
        with pytest.raises(EOFError):
            replies.next()


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    """An old client gets its answer and the end of the connection."""
    with server.connect() as line:
        line.sendall(ASK.replace(b"HTTP/1.1", b"HTTP/1.0"))
        replies = Replies(line)
        assert replies.next()[0] == 200
        with pytest.raises(EOFError):
            replies.next()


def test_pipelined_questions_are_answered_in_order(server: Server, client: redis.Redis) -> None:
    """Refusals, which are known at once, wait for the answers before them; ids grow as the questions came."""
    n = 300
    with server.connect() as line:
        line.sendall((ASK + request("POST", URL, b"{}")) * n)
        replies = Replies(line)
        answers = [replies.next() for _ in range(2 * n)]
    assert [status for status, _ in answers] == [200, 422] * n
    ids = [answer["prediction_id"] for status, answer in answers if status == 200]
    assert ids == [id_ for id_, _ in Streams(client, "fruit").follow("predictions", "0-0")]


@pytest.mark.parametrize(
    "plan",
    [
        ["fruit", "status", "fruit"],
        ["status", "fruit", "status"],
        ["status", "status", "fruit", "fruit", "error", "status", "price", "fruit"],
        ["fruit", "price", "error", "status", "status", "fruit"],
    ],
    ids="-".join,
)
def test_questions_and_other_requests_keep_their_order(server: Server, plan: list[str]) -> None:
    """Door and app share a connection in any mix, however the bytes are cut."""
    price = request("POST", "/models/price/predict", b'{"features":{"rooms":1,"new":true}}')
    bad, other = request("POST", URL, b"{"), request("GET", "/healthz")
    data = b"".join({"fruit": ASK, "price": price, "error": bad, "status": other}[kind] for kind in plan)
    for cut in (len(data), 1, 7):
        with server.connect() as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(data), cut):
                line.sendall(data[at : at + cut])
            assert kinds(Replies(line), len(plan)) == plan


def test_expect_100_continue_is_honoured(server: Server) -> None:
    """The client is told to go on, sends its body, and is answered; a pipelined question before it comes first."""
    with server.connect() as line:
        replies = Replies(line)
        line.sendall(ASK + request("POST", URL, GOOD, b"expect: 100-continue\r\n")[: -len(GOOD)])
        assert replies.next()[0] == 200
        assert replies.next()[0] == 100
        line.sendall(GOOD)
        assert replies.next()[0] == 200


def test_an_announced_body_of_10_mb_is_refused_before_it_is_sent(server: Server) -> None:
    """With Expect, the refusal comes in place of 100 Continue."""
    with server.connect() as line:
        line.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000\r\n" % URL.encode())
        line.sendall(b"expect: 100-continue\r\n\r\n")
        status, answer = Replies(line).next()
    assert status == 413
    assert "larger than 1048576 bytes" in answer["error"]["reason"]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_body_of_10_mb_is_refused_without_being_held(server: Server, client: redis.Redis, chunked: bool) -> None:
    """413 for a client that sends it all before it reads; memory does not grow by it, and the connection goes on."""
    block, blocks = b"x" * 100_000, 100
    before = resident_mb(server)
    with server.connect() as line:
        if chunked:
            line.sendall(request("POST", URL, None, b"transfer-encoding: chunked\r\n"))
            for _ in range(blocks):
                line.sendall(b"%x\r\n%b\r\n" % (len(block), block))
            line.sendall(b"0\r\n\r\n")
        else:
            line.sendall(request("POST", URL, None, b"content-length: %d\r\n" % (len(block) * blocks)))
            for _ in range(blocks):
                line.sendall(block)
        replies = Replies(line)
        assert replies.next()[0] == 413
        line.sendall(ASK)
        assert replies.next()[0] == 200
    assert resident_mb(server) - before < 8
    assert Streams(client, "fruit").added("predictions") == 1


def resident_mb(server: Server) -> float:
    with open(f"/proc/{server.process.pid}/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def test_a_body_may_come_in_small_pieces(server: Server) -> None:
    """A large body in many packets is put together: here 600 kB of blanks before the JSON."""
    body = b" " * 600_000 + GOOD
    with server.connect() as line:
        head = request("POST", URL, None, b"content-length: %d\r\n" % len(body))
        line.sendall(head)
        for at in range(0, len(body), 3000):
            line.sendall(body[at : at + 3000])
        assert Replies(line).next()[0] == 200


def test_what_is_no_http_is_refused_after_the_answers_owed(server: Server) -> None:
    """Bytes that cannot be parsed get 400 and the end, but the questions before them get their answers."""
    with server.connect() as line:
        line.sendall(ASK + ASK + b"NONSENSE\r\n\r\n")
        replies = Replies(line)
        assert [replies.next()[0] for _ in range(3)] == [200, 200, 400]
        with pytest.raises(EOFError):
            replies.next()


def test_a_client_that_leaves_midway_disturbs_nobody(server: Server, client: redis.Redis) -> None:
    """Half a body is dropped unlogged; a whole question is logged though nobody waits for its answer."""
    with server.connect() as line:
        line.sendall(ASK[:-5])
    line = server.connect()
    line.sendall(ASK * 3)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
    line.close()
    assert server.predict()[0] == 200
    until(lambda: Streams(client, "fruit").added("predictions") in (1, 4))
    assert server.process.poll() is None


def test_a_client_that_does_not_read_is_read_no_further(server: Server) -> None:
    """Back-pressure: the server stops taking questions instead of piling up answers, and owes none in the end."""
    with server.connect() as line:
        line.setblocking(False)
        sent, still = 0, time.monotonic()
        ask = request("POST", URL, b" " * 400 + GOOD)  # so that few questions fill the buffers on their way
        data = ask * 1000
        while time.monotonic() - still < 0.5:
            try:
                sent += line.send(data[sent % len(data) :])
                still = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            assert sent < 100_000_000, "the server never stopped reading"
        line.setblocking(True)
        line.settimeout(10)
        replies = Replies(line)
        assert {replies.next()[0] for _ in range(sent // len(ask))} == {200}


def test_questions_that_come_together_share_a_turn(server: Server, client: redis.Redis) -> None:
    """Pipelined questions reach the stream in one go: the server's clock hardly moves between them."""
    with server.connect() as line:
        line.sendall(ASK * 50)
        replies = Replies(line)
        ids = [replies.next()[1]["prediction_id"] for _ in range(50)]
    first, last = (int(id_.split("-")[0]) for id_ in (ids[0], ids[-1]))
    assert last - first < 50
