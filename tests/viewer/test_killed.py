"""A viewer with a database loses no span that it has acknowledged, killed at any moment."""

from __future__ import annotations

import contextlib
import signal
import threading
from itertools import count
from pathlib import Path

import httpx
import pytest

from .running import PATIENCE, PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import Spans, request, span

_SPANS = 20  # of each trace
_SENDERS = 4


class Sender(threading.Thread):
    """Sends one trace after the other until the viewer has gone, and notes those that were acknowledged."""

    def __init__(self, viewer: Viewer, first: int, enough: threading.Semaphore) -> None:
        super().__init__()
        self.acknowledged: list[int] = []
        self._url = viewer.url
        self._first = first
        self._enough = enough

    def run(self) -> None:
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=PATIENCE) as client:
            for trace in count(self._first, _SENDERS):
                spans = tuple(span(trace, number, name="step", text="x" * 200) for number in range(1, _SPANS + 1))
                body = request(Spans("shop", spans)).SerializeToString()
                if client.post(f"{self._url}/v1/traces", content=body, headers=PROTOBUF).status_code == 200:
                    self.acknowledged.append(trace)
                    self._enough.release()


@pytest.mark.parametrize("acknowledged", [1, 40, 300])
def test_no_acknowledged_span_is_lost_when_the_viewer_is_killed(tmp_path: Path, acknowledged: int) -> None:
    path = str(tmp_path / "traces.db")
    enough = threading.Semaphore(0)
    with start_viewer("--db", path) as killed:
        senders = [Sender(killed, first, enough) for first in range(1, _SENDERS + 1)]
        for sender in senders:
            sender.start()
        for _ in range(acknowledged):
            assert enough.acquire(timeout=PATIENCE)
        killed.process.send_signal(signal.SIGKILL)
        for sender in senders:
            sender.join(PATIENCE)
    with start_viewer("--db", path) as after:
        kept = {
            int(trace["traceId"], 16): trace["spans"] for trace in after.get("/viewer/traces", limit=100_000)["traces"]
        }
        words = after.found(q='{ name = "step" && span.text != nil }', limit=100_000)
    acknowledged_traces = {trace for sender in senders for trace in sender.acknowledged}
    assert len(acknowledged_traces) >= acknowledged
    assert {trace: kept.get(trace) for trace in acknowledged_traces} == dict.fromkeys(acknowledged_traces, _SPANS)
    assert len(words) == len(kept)
