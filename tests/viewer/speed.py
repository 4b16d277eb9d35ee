"""How much CPU time the viewer takes for many spans, as they come in and as they are searched.

``python -m tests.viewer.speed 1000000`` measures the viewer as it stands, and prints what the documentation tells.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .cost import cost
from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import MILLISECOND, NOON, Spans, request, span

SPANS_OF_REQUEST = 500  # as the batches of an SDK have
SPANS_OF_TRACE = 10

LISTS = ({"limit": 50}, {"limit": 50, "errors": "true"}, {"limit": 50, "minDuration": "100ms"})
SEARCHES = (
    '{ span.order.id = "o-77" }',
    '{ .order.id = "nowhere" }',
    "{ span.http.response.status_code = 500 }",
    "{ span.http.response.status_code >= 500 }",
    "{ span.n = 77 && duration > 19ms }",
    "{ status = error }",
    "{ duration > 10s }",
    '{ span.http.route = "/orders/{id}/v3" } >> { span.db.system.name != nil } | count() > 2',
)


def viewer_for(spans: int, directory: str) -> list[str]:
    """The options of a viewer that keeps so many spans in a file."""
    return ["--db", f"{directory}/traces.db", "--max-spans", str(spans + 1), "--max-bytes", str(2_000 * spans)]


def bodies(spans: int) -> Iterator[bytes]:
    """Requests of a web service with a database: eleven attributes on a request, seven on a query, three on a step."""
    draw = random.Random(7)
    waiting: list[Span] = []
    for number in range(spans // SPANS_OF_TRACE):
        waiting += _trace(number, draw)
        if len(waiting) == SPANS_OF_REQUEST:
            yield request(Spans("shop", tuple(waiting))).SerializeToString()
            waiting = []


def load(viewer: Viewer, requests: list[bytes], senders: int = 4) -> None:
    """Send all requests, some at a time."""
    waiting = iter(requests)
    turn = threading.Lock()

    def send() -> None:
        with httpx.Client(base_url=viewer.url, trust_env=False, timeout=60) as client:
            while True:
                with turn:
                    body = next(waiting, None)
                if body is None:
                    return
                client.post("/v1/traces", content=body, headers=PROTOBUF).raise_for_status()

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _trace(number: int, draw: random.Random) -> list[Span]:
    start = NOON + number * MILLISECOND
    trace, root = draw.getrandbits(127) + 1, draw.getrandbits(63) + 1
    failed = draw.random() < 0.02
    spans = [
        span(trace, root, name="GET /orders/{id}", took=draw.random() * 200, kind=Span.SPAN_KIND_SERVER, start=start,
             error="" if failed else None, http__response__status_code=500 if failed else 200,
             http__route=f"/orders/{{id}}/v{number % 20}", url__path=f"/orders/{draw.randrange(10**6)}",
             http__request__method="GET", url__scheme="http", server__address="shop.example", server__port=443,
             network__protocol__version="1.1", user_agent__original="Mozilla/5.0 (X11; Linux x86_64)",
             client__address=f"10.0.{number % 256}.{number % 251}", order__id=f"o-{number}")
    ]  # fmt: skip
    spans += (
        span(trace, draw.getrandbits(63) + 1, root, name="SELECT orders", took=draw.random() * 20, start=start,
             kind=Span.SPAN_KIND_CLIENT, db__system__name="postgresql", db__namespace="shop", server__address="db",
             db__operation__name="SELECT", db__collection__name="orders", server__port=5432,
             db__query__text="SELECT * FROM orders JOIN items USING (order_id) WHERE orders.id = $1")
        for _ in range(6)
    )  # fmt: skip
    spans += (
        span(trace, draw.getrandbits(63) + 1, root, name="render", took=draw.random() * 20, start=start,
             template=f"t{step}.html", code__function="app.views.render", n=draw.randrange(1_000))
        for step in range(3)
    )  # fmt: skip
    return spans


def _print_all(spans: int) -> None:
    requests = list(bodies(spans))
    with tempfile.TemporaryDirectory() as directory, start_viewer(*viewer_for(spans, directory)) as viewer:
        with cost(viewer) as paid:
            load(viewer, requests)
        size = Path(directory, "traces.db").stat().st_size / spans
        sys.stdout.write(
            f"{spans / paid.seconds:,.0f} spans a second of CPU time, {size:.0f} bytes of the file for each\n"
        )
        for parameters in LISTS:
            with cost(viewer) as paid:
                viewer.get("/viewer/traces", **parameters)
            sys.stdout.write(f"{paid.seconds:.2f} s  list {parameters}\n")
        for query in SEARCHES:
            with cost(viewer) as paid:
                found = len(viewer.found(q=query))
            sys.stdout.write(f"{paid.seconds:.2f} s  {query}  ({found} found)\n")


if __name__ == "__main__":
    _print_all(int(sys.argv[1]))
