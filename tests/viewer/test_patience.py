"""How long a connection waits for its peer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from .running import Viewer, connect, head, with_allowance
from .running import viewer as start_viewer


@pytest.fixture(name="impatient")
def impatient_viewer() -> Iterator[Viewer]:
    with start_viewer(command=with_allowance(head_seconds=1.0, body_seconds=1.0, response_seconds=1.0)) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET /ready HTTP/1.1\r\n", b"x: y\r\n"),
        (b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n"),
        (b"GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (head(1_000_000), b"x"),
    ],
    ids=["nothing", "a head", "the next head", "a body that nobody reads", "a body"],
)
def test_a_connection_that_only_trickles_is_closed(impatient: Viewer, sent: bytes, trickle: bytes) -> None:
    with contextlib.closing(connect(impatient, sent)) as connection:
        connection.settimeout(0.05)
        received = b"?"
        while received:
            try:
                connection.sendall(trickle)
                received = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
