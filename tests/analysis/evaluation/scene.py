"""One trace, told as what happens in it, one thing after the other."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from analysis.evaluation.stacks import Attributes, Stack

EPOCH = 1_795_000_000_000.0
"""Milliseconds since 1970 of the beginning of every trace."""

TABLES = ("users", "orders", "prices", "stock", "carts", "coupons", "regions", "taxes", "reviews", "shipments")
HOSTS = ("stock", "billing", "search", "mail", "pricing", "geo", "profile", "media")


@dataclass
class Told:
    """One span. Times are milliseconds from the trace's beginning."""

    span_id: str
    parent_id: str
    name: str
    kind: int
    service: str
    start: float
    end: float
    attributes: Attributes
    failed: bool = False
    message: str = ""
    events: list[tuple[str, float, Attributes]] = field(default_factory=list)
    depth: int = 0


INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5


class Scene:
    """One trace that grows as its time goes on.

    Args:
        rng: Where everything that varies comes from.
        stack: How its spans look.
        mesh: Whether each service has a sidecar that records its calls once more.
    """

    def __init__(self, rng: random.Random, stack: Stack, *, mesh: bool = False) -> None:
        self.rng = rng
        self.stack = stack
        self.mesh = mesh
        self.t = 0.0
        self.spans: list[Told] = []
        self.trace_id = f"{rng.getrandbits(128):032x}"
        self._open: list[Told] = []
        self._steps = 0

    # Spans.

    def begin(self, name: str, kind: int, attributes: Attributes | None = None, *, service: str = "") -> Told:
        """Begin a span beneath the one that is open."""
        above = self._open[-1] if self._open else None
        span = Told(
            span_id=f"{self.rng.getrandbits(64) or 1:016x}",
            parent_id=above.span_id if above else "",
            name=name,
            kind=kind,
            service=service or (above.service if above else "shop"),
            start=self.t,
            end=self.t,
            attributes=dict(attributes or {}),
            depth=len(self._open),
        )
        self.spans.append(span)
        self._open.append(span)
        return span

    def finish(self) -> Told:
        """End the span that is open."""
        span = self._open.pop()
        span.end = self.t
        return span

    @contextmanager
    def inside(
        self, name: str, kind: int = INTERNAL, attributes: Attributes | None = None, **more: Any
    ) -> Iterator[Told]:
        """Have what follows happen in a span of its own."""
        span = self.begin(name, kind, attributes, **more)
        self.work(self.rng.uniform(0.1, 0.5))
        yield span
        self.work(self.rng.uniform(0.1, 0.5))
        self.finish()

    def work(self, ms: float) -> None:
        """Let time pass in the span that is open."""
        self.t += ms

    @contextmanager
    def serving(
        self,
        route: str = "/orders/{id}",
        *,
        service: str = "shop",
        method: str = "GET",
        status: int = 200,
        error: tuple[str, str] | None = None,
        path: str = "",
    ) -> Iterator[Told]:
        """Have what follows happen in a request that a service serves."""
        path = path or route.replace("{id}", str(self.rng.randrange(1, 99999)))
        name, told = self.stack.served(method, route, path, status, service)
        span = self.begin(name, SERVER, told, service=service)
        self.work(self.rng.uniform(0.1, 1.0))
        wrapper = None
        if self.stack.language == "python" and self.stack.old and self.rng.random() < 0.6:
            with self.inside(f"{name} http receive", INTERNAL, {"asgi.event.type": "http.request"}):
                pass
        if self.stack.language == "node":
            for layer in ("query", "expressInit", "jsonParser"):
                with self.inside(
                    f"middleware - {layer}", INTERNAL, {"express.name": layer, "express.type": "middleware"}
                ):
                    pass
        if self.stack.language == "java":
            told = {"code.function": "show", "code.namespace": "com.shop.OrderController"}
            wrapper = self.begin("OrderController.show", INTERNAL, told)
        yield span
        if wrapper is not None:
            self.finish()
            if error and self.rng.random() < 0.7:
                wrapper.failed = True
                wrapper.events.append(("exception", self.t, self.stack.failed(*error)))
        self.work(self.rng.uniform(0.1, 1.0))
        if self.stack.language == "python" and self.stack.old:
            for _ in range(2):
                send = self.begin(f"{name} http send", INTERNAL, {"asgi.event.type": "http.response.body"})
                self.work(0.1)
                send.failed = status >= 500
                self.finish()
        if error:
            span.events.append(("exception", self.t, self.stack.failed(*error)))
            if not self.stack.old:
                span.attributes["error.type"] = error[0]
        span.failed = status >= 500 or error is not None
        self.finish()

    @contextmanager
    def calling(
        self,
        host: str,
        path: str,
        *,
        method: str = "GET",
        status: int = 200,
        error: tuple[str, str] | None = None,
    ) -> Iterator[Told]:
        """Have what follows happen during a call of another service."""
        name, told = self.stack.called(method, host, path, status)
        span = self.begin(name, CLIENT, told)
        self.work(self.rng.uniform(0.2, 1.0))
        sidecars = []
        if self.mesh:
            for kind, side in ((CLIENT, f"{span.service}.prod"), (SERVER, f"{host}.prod")):
                proxied = {
                    "component": "proxy",
                    "http.method": method,
                    "http.url": f"http://{host}:8080{path}",
                    "http.status_code": str(status),
                    "upstream_cluster": f"outbound|8080||{host}.prod.svc.cluster.local",
                    "istio.canonical_service": side.split(".")[0],
                }
                sidecars.append(self.begin(f"{host}.prod.svc.cluster.local:8080/*", kind, proxied, service=side))
                self.work(0.3)
        yield span
        for sidecar in sidecars:
            self.work(0.2)
            sidecar.failed = status >= 500
            self.finish()
        self.work(self.rng.uniform(0.2, 1.0))
        if error:
            span.events.append(("exception", self.t, self.stack.failed(*error)))
            span.attributes["error.type"] = error[0]
        span.failed = status >= 400 or error is not None
        self.finish()

    def call(self, ms: float, host: str = "", path: str = "/items/7", *, serve: bool = True, **more: Any) -> Told:
        """Call another service. The call takes exactly so many milliseconds."""
        host = host or self.rng.choice(HOSTS)
        began = self.t
        failing = {key: more[key] for key in ("error",) if key in more}
        status = more.get("status", 200)
        with self.calling(host, path, **more) as span:
            if serve:
                with self.serving(route_of(path), service=host, status=status or 200, path=path) as served:
                    self.work(max(ms - (self.t - began) - 3.5, 0.1))
                served.failed = status >= 500 and not failing
            else:
                self.work(max(ms - 2.0, 0.1))
        span.end = self.t = began + ms
        for each in self.spans[self.spans.index(span) + 1 :]:
            each.end = min(each.end, span.end)
        return span

    def query(
        self,
        ms: float,
        text: str = "",
        *,
        table: str = "",
        system: str = "postgresql",
        error: tuple[str, str] | None = None,
        **more: Any,
    ) -> Told:
        """Run one statement, which takes so many milliseconds."""
        table = table or self.rng.choice(TABLES)
        text = text or f"SELECT * FROM {table} WHERE id = {self.rng.choice(('%s', '$1', '?'))}"
        name, told = self.stack.queried(system, text, table)
        span = self.begin(name, CLIENT, {**told, **more})
        self.work(ms)
        if error:
            span.failed = True
            span.events.append(("exception", self.t, self.stack.failed(*error)))
        return self.finish()

    def redis(self, ms: float, command: str) -> Told:
        """Run one command of Redis."""
        key = "db.statement" if self.stack.old else "db.query.text"
        system = "db.system" if self.stack.old else "db.system.name"
        span = self.begin(command.split()[0], CLIENT, {system: "redis", key: command, "server.address": "cache"})
        self.work(ms)
        self.finish()
        return span

    @contextmanager
    def calling_rpc(self, service: str, method: str, *, status: int = 0) -> Iterator[Told]:
        """Have what follows happen during a call over gRPC."""
        name = f"shop.{service.title()}/{method}"
        told = {"rpc.system": "grpc", "rpc.service": f"shop.{service.title()}", "rpc.method": method}
        both = {**told, "rpc.grpc.status_code": status}
        span = self.begin(name, CLIENT, {**both, "server.address": service, "server.port": 50051})
        self.work(0.5)
        served = self.begin(name, SERVER, both, service=service)
        self.work(0.3)
        yield span
        self.work(0.3)
        self.finish()
        self.work(0.4)
        self.finish()
        span.failed = served.failed = status != 0
        served.failed = status in (2, 4, 12, 13, 14, 15)

    def chat(self, ms: float, *, operation: str = "chat") -> Told:
        """Ask a language model."""
        name = f"{operation} gpt-5"
        told = {"gen_ai.operation.name": operation, "gen_ai.request.model": "gpt-5", "gen_ai.system": "openai"}
        span = self.begin(name, CLIENT, {**told, "server.address": "api.openai.com", "gen_ai.usage.input_tokens": 812})
        self.work(ms)
        self.finish()
        return span

    def together(self, happenings: Sequence[Callable[[], Any]]) -> list[Any]:
        """Have several things happen at the same time."""
        began = latest = self.t
        made = []
        for number, happening in enumerate(happenings):
            self.t = began + number * 0.05
            made.append(happening())
            latest = max(latest, self.t)
        self.t = latest
        return made

    # What makes a trace look like one of real life.

    def ordinary(self, ms: float) -> None:
        """Do ordinary things for about so long: different queries, calls and work, none of which stands out."""
        last = self.t + ms
        steps = max(4, round(ms / 150) if ms < 1200 else round(ms / 300))
        each = ms / steps
        for _ in range(steps):
            self._steps += 1
            word = "".join("abcdefghij"[int(digit)] for digit in str(self._steps))  # no two steps are alike
            how = self.rng.random()
            took = max(min(each * self.rng.uniform(0.7, 0.9), last - self.t), 0.2)
            if how < 0.45:
                self.query(took, table=f"{self.rng.choice(TABLES)}_{word}")
            elif how < 0.6 and took < 95:
                self.call(took, self.rng.choice(HOSTS), f"/{word}/status", serve=took > 12)
            else:
                began = self.t
                with self.inside(f"step {word}"):
                    self.query(took * 0.5, table=f"{self.rng.choice(TABLES)}_{word}")
                    self.work(max(took * 0.95 - (self.t - began), 0.0))
            self.work(max(min(each * 0.1, last - self.t), 0.0))
        self.work(max(last - self.t, 0.0))

    # The document.

    @property
    def root(self) -> Told:
        """The first span."""
        return self.spans[0]

    @property
    def innermost(self) -> Told:
        """The span that is open."""
        return self._open[-1]

    @contextmanager
    def after(self, span: Told, ms: float) -> Iterator[None]:
        """Have what follows happen beneath a span that has ended, so much later; it holds up nobody."""
        began, self.t = self.t, self.t + ms
        self._open.append(span)
        yield
        self._open.remove(span)
        self.t = began


def route_of(path: str) -> str:
    """Return the route that a path belongs to."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9]+", "{id}", path.split("?")[0])


def document(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Return traces as one document of OTLP in JSON."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for scene in scenes:
        for span in scene.spans:
            groups.setdefault(span.service, []).append(_span(scene.trace_id, span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes({"service.name": service} if service else {})},
                "scopeSpans": [{"scope": {"name": "evaluation"}, "spans": spans}],
            }
            for service, spans in groups.items()
        ]
    }


def _span(trace_id: str, span: Told) -> dict[str, Any]:
    written: dict[str, Any] = {
        "traceId": trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _time(span.start),
        "endTimeUnixNano": _time(span.end),
        "attributes": _attributes(span.attributes),
    }
    if span.parent_id:
        written["parentSpanId"] = span.parent_id
    if span.failed:
        written["status"] = {"code": 2, "message": span.message}
    if span.events:
        written["events"] = [
            {"name": name, "timeUnixNano": _time(at), "attributes": _attributes(told)} for name, at, told in span.events
        ]
    return written


def _time(ms: float) -> str:
    return str(round((EPOCH + ms) * 1000) * 1000)


def _attributes(told: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in told.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"stringValue": str(value)}
