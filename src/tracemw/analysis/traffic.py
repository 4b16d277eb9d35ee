"""Who calls whom in many traces, and how long it takes: the routes of services, and the calls between them."""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from tracemw.analysis.conventions import peer
from tracemw.analysis.latencies import Latencies
from tracemw.analysis.model import CLIENT, CONSUMER, PRODUCER, SERVER, Span, Trace
from tracemw.analysis.sampling_weight import weight

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


class Place(NamedTuple):
    """A place on the map of services."""

    kind: str
    """`service`, `database`, or `elsewhere` for one that sends no spans."""
    name: str


class Way(NamedTuple):
    """A way on the map, from a caller to whom it calls."""

    caller: Place
    called: Place


class Traffic:
    """The routes and the map of many traces."""

    def __init__(self) -> None:
        self.routes: dict[Route, Latencies] = {}
        self.ways: dict[Way, Latencies] = {}

    def add(self, trace: Trace) -> None:
        """Count the requests and calls of a trace. A trace that was kept is no sample, and counts nothing."""
        stands_for = weight(trace)
        for span in trace.spans:
            if span.kind in (SERVER, CONSUMER) or span.parent is None:
                _count(self.routes, Route(span.service, span.name), span, stands_for, failed=span.failed)
            way = _way(span)
            if way is not None:
                _count(self.ways, way, span, stands_for * span.folded, failed=span.failed_hard)


def _count(counted: dict[_Key, Latencies], key: _Key, span: Span, stands_for: float, *, failed: bool) -> None:
    latencies = counted.get(key)
    if latencies is None:
        if len(counted) >= _MOST:
            return
        latencies = counted[key] = Latencies()
    latencies.add(span, stands_for, failed=failed)


def _way(span: Span) -> Way | None:
    """Return the way that a span is on: of a call that is seen from both ends, only the caller's span."""
    if span.is_database:
        system, database = str(span.attributes["db.system.name"]), str(span.attributes.get("db.namespace") or "")
        name = " ".join(filter(None, (system, database or peer(span.attributes))))
        return None if any(child.is_database for child in span.children) else _from(span, Place(DATABASE, name))
    if span.kind in (CLIENT, PRODUCER):
        served = next((child for child in span.children if child.service != span.service), None)
        return _from(span, Place(SERVICE, served.service) if served else Place(ELSEWHERE, peer(span.attributes)))
    parent = span.parent
    if parent is not None and parent.service != span.service and parent.kind not in (CLIENT, PRODUCER):
        return Way(Place(SERVICE, parent.service), Place(SERVICE, span.service))
    return None


def _from(span: Span, called: Place) -> Way | None:
    return Way(Place(SERVICE, span.service), called) if called.name else None
