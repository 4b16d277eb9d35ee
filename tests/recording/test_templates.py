"""Attributes in templates: whoever looks sees them whole, and what is sent is what the official exporter would send."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import calls
import tracemw.asgi
from recording.local_traces import Init

EXPECTED: dict[str, object] = {
    "http.request.method": "GET",
    "url.scheme": "http",
    "url.path": "/x",
    "url.query": "a=1&sig=REDACTED",
    "server.address": "shop.example",
    "server.port": 80,
    "network.protocol.version": "1.1",
    "network.peer.address": "192.0.2.7",
    "network.peer.port": 40000,
    "client.address": "192.0.2.7",
    "http.response.status_code": 200,
}


def served(init: Init, work: Callable[[Any], object], **options: Any) -> Span:
    """Serve one sampled request, do `work` with its span, and return what the backend got."""
    running = init(ratio=1.0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        work(trace.get_current_span())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app, **options), "/x", query=b"a=1&sig=secret"))
    (span,) = running.spans
    return span


def pairs(span: Span) -> list[tuple[str, object]]:
    """The attributes as they were sent: a key that was sent twice stands there twice."""
    return sorted((each.key, getattr(each.value, str(each.value.WhichOneof("value")))) for each in span.attributes)


def nothing(span: Any) -> None:
    pass


def look(span: Any) -> None:
    assert dict(span.attributes) == {key: EXPECTED[key] for key in EXPECTED if key != "http.response.status_code"}


def look_from_threads(span: Any) -> None:
    threads = [threading.Thread(target=look, args=[span]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("work", [nothing, look, look_from_threads])
def test_a_request_says_the_same_whether_or_not_somebody_looks_at_its_attributes(
    init: Init, work: Callable[[Any], object]
) -> None:
    assert pairs(served(init, work)) == sorted(EXPECTED.items())


@pytest.mark.parametrize("key", sorted(EXPECTED.keys() - {"http.response.status_code"}))
def test_an_attribute_that_the_application_sets_again_is_sent_once_with_the_new_value(init: Init, key: str) -> None:
    span = served(init, lambda span: span.set_attribute(key, "new"))
    assert pairs(span) == sorted({**EXPECTED, key: "new"}.items())


def test_attributes_in_templates_count_for_the_limit(init: Init) -> None:
    def fill(span: Any) -> None:
        for number in range(200):
            span.set_attribute(f"own.{number}", number)

    span = served(init, fill)
    assert (len(span.attributes), span.dropped_attributes_count) == (128, len(EXPECTED) + 200 - 128)


def test_a_hook_sees_all_attributes_of_a_request(init: Init) -> None:
    seen: list[dict[str, Any]] = []
    served(init, nothing, on_response=lambda span, facts, status: seen.append(dict(span.attributes)))
    assert seen == [EXPECTED]
