"""Who calls whom in many traces, and how long it takes: the routes of services, and the calls between them."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from tracemw.analysis.conventions import peer
from tracemw.analysis.latencies import Latencies
from tracemw.analysis.model import CLIENT, CONSUMER, PRODUCER, SERVER, Span, Trace
from tracemw.analysis.sampling_weight import weight
from tracemw.analysis.shapes import call_label

_MOST: Final = 1_000
"""Routes, and ways from one to another, that are kept apart."""

_Key = TypeVar("_Key")

SERVICE: Final = "service"
DATABASE: Final = "database"
ELSEWHERE: Final = "elsewhere"


class Route(NamedTuple):
    """What a service is asked for."""

    service: str
    name: str
    """Such as `GET /orders/{id}`."""


class Node(NamedTuple):
    """A place on the map of services."""

    kind: str
    """`service`, `database`, or `elsewhere` for one that sends no spans."""
    name: str


class Edge(NamedTuple):
    """A way on the map, from a caller to whom it calls."""

    caller: Node
    called: Node


class Traffic:
    """The routes and the map of many traces."""

    def __init__(self) -> None:
        self.routes: dict[Route, Latencies] = {}
        self._ways: dict[Edge, Latencies] = {}
        self._services: dict[str, str] = {}

    def add(self, trace: Trace) -> None:
        """Count the requests and calls of a trace. A trace that was kept is no sample, and counts nothing."""
        stands_for = weight(trace)
        for span in trace.spans:
            if span.kind in (SERVER, CONSUMER) or span.parent is None:
                _count(self.routes, Route(span.service, call_label(span)), span, stands_for, failed=span.failed)
            way = self._way(span)
            if way is not None:
                _count(self._ways, way, span, stands_for * span.folded, failed=span.failed_hard)

    def ways(self) -> dict[Edge, Latencies]:
        """Return the map. A call of an address, where a service was seen to answer, is a call of that service.

        The call of a service that was down, or could not be reached, has nothing beneath it that names the service.
        """
        ways: dict[Edge, Latencies] = {}
        for way, latencies in self._ways.items():
            service = self._services.get(way.called.name) if way.called.kind == ELSEWHERE else None
            named = Edge(way.caller, Node(SERVICE, service)) if service else way
            ways[named] = ways[named] + latencies if named in ways else latencies
        return ways

    def _way(self, span: Span) -> Edge | None:
        """Return the way that a span is on: of a call that is seen from both ends, only the caller's span."""
        if span.is_database:
            system, database = str(span.attributes["db.system.name"]), str(span.attributes.get("db.namespace") or "")
            name = " ".join(filter(None, (system, database or peer(span.attributes))))
            return None if any(child.is_database for child in span.children) else _from(span, Node(DATABASE, name))
        if span.kind in (CLIENT, PRODUCER):
            address = peer(span.attributes)
            served = next((child for child in span.children if child.service != span.service), None)
            if served is None:
                return _from(span, Node(ELSEWHERE, address))
            if len(self._services) < _MOST:
                self._services.setdefault(address, served.service)
            return _from(span, Node(SERVICE, served.service))
        parent = span.parent
        if parent is not None and parent.service != span.service and parent.kind not in (CLIENT, PRODUCER):
            return Edge(Node(SERVICE, parent.service), Node(SERVICE, span.service))
        return None


def _count(counted: dict[_Key, Latencies], key: _Key, span: Span, stands_for: float, *, failed: bool) -> None:
    latencies = counted.get(key)
    if latencies is None:
        if len(counted) >= _MOST:
            return
        latencies = counted[key] = Latencies()
    latencies.add(span, stands_for, failed=failed)


def _from(span: Span, called: Node) -> Edge | None:
    return Edge(Node(SERVICE, span.service), called) if called.name else None
