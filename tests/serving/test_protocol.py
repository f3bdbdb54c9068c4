"""HTTP below the application: heads that never end, bodies that nobody reads, what is no HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.serving.running import Running
from tfhub_transfer.serving import protocol
from tfhub_transfer.serving.protocol import LONGEST_HEAD

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
PREDICT = b"POST /v1/models/reviews:predict HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"instances": ["a good film"]}'


@contextmanager
def connected(served: Running) -> Iterator[socket.socket]:
    address = ("127.0.0.1", served.server.rest_port)
    with socket.create_connection(address, timeout=10) as connection:
        yield connection


def answer(connection: socket.socket) -> tuple[int, dict[str, str], object]:
    with closing(http.client.HTTPResponse(connection)) as received:
        received.begin()
        assert received.headers["content-type"] == "application/json"
        return received.status, dict(received.headers), json.loads(received.read())


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


TOO_LONG = {
    "error": f"A request's line and headers take at most {LONGEST_HEAD} bytes. Received: more"
}


@pytest.mark.parametrize(
    "start",
    [
        *(b"GET /", b"GET /healthz HTTP/1.1\r\nX: ", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX"),
        PREDICT + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ",
    ],
    ids=["line", "value", "name", "trailer"],
)
def test_a_head_that_never_ends(served: Running, start: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(start)
        for _ in range(80):
            connection.sendall(b"a" * 2048)
            time.sleep(0.001)
            # as soon as it is refused, or the rest may reset the connection before it is read
            connection.setblocking(False)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except BlockingIOError:
                pass
            finally:
                connection.settimeout(10)
        status, headers, body = answer(connection)
        assert (status, headers["connection"], body) == (431, "close", TOO_LONG)
        assert closed(connection)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * LONGEST_HEAD),
        b"GET /healthz HTTP/1.1\r\nX: %s\r\n\r\n" % (b"a" * LONGEST_HEAD),
        b"GET /healthz HTTP/1.1\r\n%s\r\n" % (b"a: b\r\n" * (LONGEST_HEAD // 6 + 1)),
    ],
    ids=["line", "value", "many"],
)
def test_a_long_head_that_arrives_at_once(served: Running, head: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(head)
        status, _, body = answer(connection)
        assert (status, body) == (431, TOO_LONG)


def test_a_head_may_be_long(served: Running) -> None:
    with connected(served) as connection:
        for _ in range(2):
            value = b"a" * (LONGEST_HEAD - 100)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nX: %s\r\n\r\n" % value)
            assert answer(connection)[0] == 200


def test_many_requests_at_once(served: Running) -> None:
    length = b"Content-Length: %d\r\n" % len(BODY)
    with connected(served) as connection:
        connection.sendall(HEALTH * 3000 + PREDICT + length + b"\r\n")
        received = b""
        while received.count(b'"alive"') < 3000:
            received += connection.recv(2**16)
        connection.sendall(BODY)
        assert answer(connection)[0] == 200


def test_a_body_does_not_count_as_the_head_after_it(served: Running) -> None:
    padded = BODY + b" " * 300_000
    one = PREDICT + b"Content-Length: %d\r\n\r\n" % len(padded) + padded
    with connected(served) as connection:
        for part in (one + HEALTH[:20], HEALTH[20:]):
            connection.sendall(part)
            assert answer(connection)[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"\r\n", HEALTH, HEALTH + b"\r\nGE"])
def test_a_head_that_is_not_complete_in_time(
    served: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with connected(served) as connection:
        connection.sendall(sent)
        if sent.startswith(HEALTH):
            assert answer(connection)[0] == 200
            time.sleep(0.3)
            # or it would be idle, which is another matter
            connection.sendall(b"G" if sent == HEALTH else b"T")
        begun = time.monotonic()
        assert closed(connection)
        assert time.monotonic() - begun < 3


def test_requests_over_a_kept_connection_have_time_each(
    served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.4)
    with connected(served) as connection:
        for _ in range(4):
            connection.sendall(HEALTH[:9])
            time.sleep(0.15)
            connection.sendall(HEALTH[9:])
            assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01 hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_http_is_told_in_json(served: Running, sent: bytes) -> None:
    with connected(served) as connection:
        connection.sendall(sent)
        status, headers, body = answer(connection)
        assert (status, headers["connection"]) == (400, "close")
        assert body == {"error": "Invalid HTTP request received."}


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (PREDICT + b"Content-Length: 100000000\r\n", 413),
        (b"POST /v1/nope HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 400),
        (b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n", 405),
    ],
)
def test_a_body_that_is_not_asked_for_ends_the_connection(
    served: Running, head: bytes, status: int
) -> None:
    with connected(served) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        found, headers, _ = answer(connection)
        assert (found, headers["connection"]) == (status, "close")
        assert closed(connection)


def test_a_body_that_is_asked_for(served: Running) -> None:
    with connected(served) as connection:
        for _ in range(2):
            length = b"Content-Length: %d\r\n" % len(BODY)
            connection.sendall(PREDICT + length + b"Expect: 100-continue\r\n\r\n")
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY)
            status, headers, _ = answer(connection)
            assert (status, "connection" in headers) == (200, False)
