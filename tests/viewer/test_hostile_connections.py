"""Connections that stand there, trickle or make no sense: they cost little, and others are served."""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator

import pytest

from .cost import MEGABYTE, cost, descriptors, needs_proc
from .running import PATIENCE, Viewer, connect, head, with_allowance
from .running import viewer as start_viewer
from .samples import Spans, hex_id, one, span

pytestmark = needs_proc


@pytest.fixture(name="many_sockets")
def room_for_many_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /ready HTTP/1.1\r\nHost: loc", head(1000) + b"x", head(20_000_000) + bytes(100_000)],
    ids=["nothing", "half a head", "half a body", "a body that begins large"],
)
def test_idle_connections_keep_nobody_out(many_sockets: None, sent: bytes) -> None:
    with start_viewer() as attacked, contextlib.ExitStack() as open_:
        resource.prlimit(attacked.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        with cost(attacked) as paid:
            for _ in range(600):
                with contextlib.suppress(OSError):  # the viewer may have closed it already
                    open_.enter_context(contextlib.closing(connect(attacked, sent)))
            attacked.send(one()).raise_for_status()
            assert attacked.found() == [hex_id(1)]
        assert descriptors(attacked) < 256
    assert paid.seconds < 5
    assert paid.memory < 150 * MEGABYTE


def test_large_bodies_that_never_end_make_room_for_others() -> None:
    with start_viewer() as attacked, contextlib.ExitStack() as open_:
        with cost(attacked) as paid:
            stuck = [open_.enter_context(contextlib.closing(connect(attacked, head(20_000_000)))) for _ in range(8)]
            for connection in stuck:
                with contextlib.suppress(OSError):
                    connection.sendall(bytes(15_000_000))
            attacked.send(one()).raise_for_status()
            dismissed = 0
            for connection in stuck:
                connection.settimeout(0.2)
                with contextlib.suppress(OSError):
                    dismissed += connection.recv(100).startswith(b"HTTP/1.1 503")
        assert dismissed >= 4
    assert paid.seconds < 5
    assert paid.memory < 150 * MEGABYTE


@pytest.fixture(name="impatient")
def impatient_viewer() -> Iterator[Viewer]:
    with start_viewer(command=with_allowance(head_seconds=1.0, body_seconds=1.0, response_seconds=1.0)) as running:
        yield running


def test_a_peer_that_does_not_read_its_response_costs_no_memory_and_is_closed(impatient: Viewer) -> None:
    text = "x" * 1_000
    for part in range(10):
        spans = tuple(span(1, part * 4_000 + number, text=text) for number in range(1, 4_001))
        impatient.send(Spans("shop", spans)).raise_for_status()
    ask = b"GET /api/%b/1 HTTP/1.1\r\nHost: localhost\r\nAccept: %b\r\n\r\n"
    before = descriptors(impatient)
    with contextlib.ExitStack() as open_:
        with cost(impatient) as paid:
            for number in range(40):
                sent = ask % ((b"v2/traces", b"*/*") if number % 2 else (b"traces", b"application/protobuf"))
                open_.enter_context(contextlib.closing(connect(impatient, sent, room=4096)))
            while descriptors(impatient) > before + 1:
                assert impatient.http.get("/ready").status_code == 200
        assert paid.memory < 100 * MEGABYTE
    assert len(impatient.http.get("/api/v2/traces/1", timeout=PATIENCE).content) > 40_000_000


def test_peers_that_do_not_read_their_lists_cost_little_memory_together() -> None:
    name = "n" * 1_000  # shown as the root's name, and as the first span's
    with start_viewer() as attacked, contextlib.ExitStack() as open_:
        spans = tuple(span(number, 1, name=name) for number in range(1, 5_001))
        attacked.send(Spans("shop", spans)).raise_for_status()
        size = len(attacked.http.get("/viewer/traces?limit=5000").content)
        assert size > 10 * MEGABYTE
        ask = b"GET /viewer/traces?limit=5000 HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with cost(attacked) as paid:
            stuck = [open_.enter_context(contextlib.closing(connect(attacked, ask, room=4096))) for _ in range(24)]
            assert len(attacked.http.get("/viewer/traces?limit=5000", timeout=PATIENCE).content) == size
            for connection in stuck:
                with contextlib.suppress(ConnectionResetError):  # it had to make room
                    connection.recv(15)
        assert paid.memory < 10 * size, paid.memory / size  # of those that wait, and of those in the making


@pytest.mark.parametrize(
    "sent",
    [
        head(-1),
        head(10**30),
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET " + b"/" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ],
)
def test_http_that_makes_no_sense_is_refused(attacked: Viewer, sent: bytes) -> None:
    with cost(attacked) as paid, contextlib.closing(connect(attacked)) as connection:
        answer = b""
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            answer = connection.recv(65536)
        assert re.match(rb"HTTP/1.1 4\d\d |$", answer), answer
    assert paid.seconds < 1


def test_a_body_in_tiny_chunks_costs_in_proportion(attacked: Viewer) -> None:
    with cost(attacked) as paid, contextlib.closing(connect(attacked)) as connection:
        connection.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(20):
            connection.sendall(b"1\r\nx\r\n" * 5_000)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(100).startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert paid.seconds < 3, paid
