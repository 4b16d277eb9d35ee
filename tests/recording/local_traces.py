"""Local traces that tests make, and what has become of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

import tracemw
from backend import Backend
from tracemw._export.stats import Stats
from tracemw._recording import FlightRecorder

Spans = list[Span]

SECOND = 10**9


class Running:
    """What `init` has set up, and its backend."""

    def __init__(self, tracing: tracemw.Tracing, backend: Backend) -> None:
        self.tracing = tracing
        self._backend = backend

    @property
    def stats(self) -> Stats:
        return self.tracing.stats()

    @property
    def lost(self) -> dict[str, int]:
        """The spans that were dropped, by cause."""
        return {cause: number for cause, number in self.stats.dropped.items() if number}

    @property
    def recorder(self) -> FlightRecorder:
        recorder = self.tracing._recorder
        assert recorder is not None
        return recorder

    def holds_nothing(self) -> bool:
        """Tell whether no span is held, and nothing that could hold one."""
        books = self.recorder.books
        return (self.stats.held, books.held_bytes, books.fragments) == (0, 0, 0)

    @property
    def spans(self) -> Spans:
        """All that has arrived so far."""
        assert self.tracing.flush(10)
        return self._backend.spans

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.spans)

    def add(self, processor: SpanProcessor) -> None:
        """Have a span processor of somebody else's see the spans too."""
        provider: Any = self.tracing.provider
        provider.add_span_processor(processor)


Init = Callable[..., Running]


def attributes(span: Span) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in span.attributes}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def kept_for(span: Span) -> Any:
    return attributes(span).get("tracemw.kept")


def swallow(name: str = "swallowed") -> None:
    """Fail within a span, and let nobody else know."""
    try:
        with tracemw.span(name):
            raise ValueError("swallowed")
    except ValueError:
        pass


def one_that_fails(name: str = "child") -> None:
    with tracemw.span(name) as span:
        span.set_status(StatusCode.ERROR)


def open_children(number: int = 1, tracer: trace.Tracer | None = None) -> tuple[Any, list[Any]]:
    """Start a local root, and so many spans beneath it."""
    tracer = tracer or trace.get_tracer("test")
    root: Any = tracer.start_span("root", Context())
    beneath = trace.set_span_in_context(root, Context())
    return root, [tracer.start_span("child", beneath) for _ in range(number)]


async def failing(scope: Any, receive: Any, send: Any) -> None:
    """Answer 500, with a child."""
    with tracemw.span("child"):
        pass
    await answer(send, 500)


async def answer(send: Any, status: int = 200, body: bytes = b"ok") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
