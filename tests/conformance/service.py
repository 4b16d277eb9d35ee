"""The one application that every server door serves, in terms of no framework."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import TracerProvider

import tracemw


class Boom(Exception):  # noqa: N818  what a test makes happen is no Error of ours
    """The application's own error."""


@dataclass(frozen=True)
class Incoming:
    """What an endpoint gets of its request."""

    params: Mapping[str, str]
    seen: str = ""
    """What the framework makes of the request's path, query and headers."""


@dataclass(frozen=True)
class Reply:
    """What an endpoint answers; each framework says it in its own way."""

    body: bytes | Iterator[bytes] | Path = b"ok"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    afterwards: Callable[[], None] | None = None
    """Work to do once the last byte is out."""


Endpoint = Callable[[Incoming], Reply]


class Stream:
    """A body that is made while it is sent, and counts how often it is closed."""

    def __init__(self, chunks: Iterator[bytes], service: Service) -> None:
        self._chunks = chunks
        self._service = service

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        self._service.closed += 1


class Service:
    """The endpoints by their templates, and what a test can see and steer of them."""

    PREFIX = "/shops/{shop}"
    """What the endpoints of a part of its own (a mount, a router, a blueprint) begin with."""

    def __init__(self, *, together: int = 1, library: TracerProvider | None = None) -> None:
        self.library = library
        self.gate = threading.Event()
        self.barrier = threading.Barrier(together, timeout=60)
        self.closed = 0
        self.context: Context | None = None
        """The OpenTelemetry context that `/child` and `/health` were last served in."""
        self.endpoints: dict[str, Endpoint] = {
            "/ok": self.ok,
            "/health": self.child,
            "/child": self.child,
            "/order/{number}": self.order,
            "/shops/{shop}/items/{item}": self.order,
            "/echo": self.echo,
            "/status/{code}": self.status,
            "/meet/{code}": self.meet,
            "/boom": self.boom,
            "/broken-stream": self.broken_stream,
            "/gated": self.gated,
            "/stream/{count}": self.stream,
            "/endless": self.endless,
            "/afterwards": self.afterwards,
            "/baggage": self.baggage,
            "/kinds": self.kinds,
            "/own-header": self.own_header,
            "/file": self.file,
        }

    def find(self, path: str, seen: str = "") -> Reply:
        """Answer for a protocol without a router."""
        for template, endpoint in self.endpoints.items():
            match = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template), path)
            if match is not None:
                return endpoint(Incoming(match.groupdict(), seen))
        return Reply(b"not found", 404)

    def ok(self, incoming: Incoming) -> Reply:
        return Reply((tracemw.current_trace_id() or "none").encode())

    def order(self, incoming: Incoming) -> Reply:
        return Reply(repr(sorted(incoming.params.values())).encode())

    def echo(self, incoming: Incoming) -> Reply:
        return Reply(incoming.seen.encode("utf-8", "surrogateescape"))

    def child(self, incoming: Incoming) -> Reply:
        self.context = otel_context.get_current()
        library = trace.get_tracer("a library", tracer_provider=self.library)
        with tracemw.span("child.ours"), library.start_as_current_span("child.theirs"):
            return Reply()

    def status(self, incoming: Incoming) -> Reply:
        code = int(incoming.params["code"])
        return Reply(b"x" * code, code)

    def meet(self, incoming: Incoming) -> Reply:
        """Answer when as many requests as the barrier waits for are being served."""
        with tracemw.span(f"meet.{incoming.params['code']}"):
            self.barrier.wait()
            return self.status(incoming)

    def boom(self, incoming: Incoming) -> Reply:
        raise Boom("boom")

    def broken_stream(self, incoming: Incoming) -> Reply:
        def chunks() -> Iterator[bytes]:
            yield b"first"
            raise Boom("boom")

        return Reply(Stream(chunks(), self))

    def gated(self, incoming: Incoming) -> Reply:
        """Send one chunk, and the other when the gate has been opened."""

        def chunks() -> Iterator[bytes]:
            yield b"first"
            self.gate.wait(60)
            with tracemw.span("child.streamed"):
                yield b"last"

        return Reply(Stream(chunks(), self))

    def stream(self, incoming: Incoming) -> Reply:
        def chunks() -> Iterator[bytes]:
            for _ in range(int(incoming.params["count"])):
                yield b"chunk"
                time.sleep(0.02)

        return Reply(Stream(chunks(), self))

    def endless(self, incoming: Incoming) -> Reply:
        def chunks() -> Iterator[bytes]:
            while True:
                yield b"chunk" * 1000
                time.sleep(0.01)

        return Reply(Stream(chunks(), self))

    def afterwards(self, incoming: Incoming) -> Reply:
        def work() -> None:
            with tracemw.span("child.afterwards"):
                pass

        return Reply(afterwards=work)

    def baggage(self, incoming: Incoming) -> Reply:
        return Reply(repr(dict(baggage.get_all())).encode())

    def kinds(self, incoming: Incoming) -> Reply:
        return Reply(headers=(("x-kind", "a"), ("x-kind", "b"), ("x-secret", "s")))

    def own_header(self, incoming: Incoming) -> Reply:
        return Reply(headers=(("x-trace-id", "mine"),))

    def file(self, incoming: Incoming) -> Reply:
        return Reply(Path(__file__))
