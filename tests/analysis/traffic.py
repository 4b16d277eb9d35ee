"""Made-up traffic of a shop: requests that call a profile service, which asks a database. Seeded, in files of OTLP."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EPOCH = 1_795_000_000 * 10**9


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How the requests of one side are. Times are milliseconds."""

    seed: int
    count: int = 300
    version: str = "1.0"
    query: float = 6.0
    """Of `SELECT orders`, on average."""
    addresses: int = 1
    """How often `SELECT addresses` runs in a request."""
    prices: int = 0
    """How often `SELECT prices` runs in a request, fast, in time that was `shop`'s own."""
    route: str = "/orders"
    failing: int = 0
    """How many requests fail."""
    bare: bool = False
    """Whether requests have no spans beneath them."""
    wrapped: bool = False
    """Whether a new span is around all others."""
    threshold: Callable[[int], str] = lambda number: ""
    """The trace state of a request."""
    kept: Callable[[int], bool] = lambda number: False

    def documents(self) -> Iterator[dict[str, Any]]:
        """Give one document for each trace."""
        chance = random.Random(self.seed)
        failing = set(chance.sample(range(self.count), self.failing))
        for number in range(self.count):
            yield _Request(self, chance, number, failed=number in failing).document()

    def write(self, file: Path) -> Path:
        """Write a file as the collector does: one document a line."""
        with file.open("w") as lines:
            for document in self.documents():
                lines.write(json.dumps(document) + "\n")
        return file


class _Request:
    """One request: `GET /orders` of shop, `GET /profiles/{id}` of profile beneath, and three kinds of queries."""

    def __init__(self, traffic: Traffic, chance: random.Random, number: int, *, failed: bool) -> None:
        self._traffic, self._chance, self._number, self._failed = traffic, chance, number, failed
        self._trace_id = f"{chance.getrandbits(128):032x}"
        self._spans: dict[str, list[dict[str, Any]]] = {"shop": [], "profile": []}
        self._ids = 0

    def document(self) -> dict[str, Any]:
        start = EPOCH / 1e6 + self._number * 100
        path = self._traffic.route
        root = self._span("shop", "", f"GET {path}", 2, {"http.request.method": "GET", "http.route": path})
        above = root
        if self._traffic.bare:
            _last(root, start, start + self._takes(10.0))
            return self._finished(root)
        if self._traffic.wrapped:
            above = self._span("shop", root["spanId"], "middleware", 1, {})
        at = start + self._takes(1.0)
        at = self._query("shop", above, "orders", at, self._takes(self._traffic.query), line=31)
        call = self._span(
            "shop", above["spanId"], "GET", 3, {"http.request.method": "GET", "server.address": "profile"}
        )
        route = {"http.request.method": "GET", "http.route": "/profiles/{id}"}
        served = self._span("profile", call["spanId"], "GET /profiles/{id}", 2, route)
        begun = at
        at += self._takes(0.8)
        for _ in range(self._traffic.addresses):
            at = self._query("profile", served, "addresses", at, self._takes(4.0), line=57)
        at += self._takes(0.5)
        for span in (call, served):
            _last(span, begun, at)
        idle = at + self._takes(1.0)
        for number in range(self._traffic.prices):
            self._query("shop", above, "prices", at + number * 0.01, 0.01, line=77)
        at = idle
        if above is not root:
            _last(above, start, at)
        _last(root, start, at)
        return self._finished(root)

    def _finished(self, root: dict[str, Any]) -> dict[str, Any]:
        if self._failed:
            root["status"] = {"code": 2}
        state = self._traffic.threshold(self._number)
        if state:
            root["traceState"] = state
        if self._traffic.kept(self._number):
            root["attributes"] += _attributes({"tracemw.kept": "error"})
        return {
            "resourceSpans": [
                {
                    "resource": {
                        "attributes": _attributes({"service.name": service, "service.version": self._traffic.version})
                    },
                    "scopeSpans": [{"spans": spans}],
                }
                for service, spans in self._spans.items()
            ]
        }

    def _takes(self, median: float) -> float:
        return median * self._chance.lognormvariate(0.0, 0.4)

    def _query(self, service: str, above: dict[str, Any], table: str, at: float, takes: float, *, line: int) -> float:
        text = {"db.system.name": "postgresql", "db.query.text": f"SELECT * FROM {table} WHERE id = $1"}
        code = {"code.file.path": "/srv/app.py", "code.line.number": line, "code.function.name": f"app.{table}_of"}
        _last(self._span(service, above["spanId"], f"SELECT {table}", 3, {**text, **code}), at, at + takes)
        return at + takes

    def _span(self, service: str, parent: str, name: str, kind: int, attributes: dict[str, Any]) -> dict[str, Any]:
        self._ids += 1
        span = {
            "traceId": self._trace_id,
            "spanId": f"{self._ids:016x}",
            "parentSpanId": parent,
            "name": name,
            "kind": kind,
            "attributes": _attributes(attributes),
        }
        self._spans[service].append(span)
        return span


def _last(span: dict[str, Any], start: float, end: float) -> None:
    span["startTimeUnixNano"], span["endTimeUnixNano"] = str(round(start * 1e6)), str(round(end * 1e6))


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
