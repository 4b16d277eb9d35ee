"""One of the two sets of traces that are compared."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.comparison.attribute_values import AttributeValues
from tracemw.analysis.comparison.served_requests import RouteRequests, Size
from tracemw.analysis.comparison.span_groups import MergedTree
from tracemw.analysis.grouping import Survey
from tracemw.analysis.model import CONSUMER, SERVER, Span, Trace, descendants
from tracemw.analysis.sampling_weight import weight
from tracemw.analysis.shapes import without_numbers

RouteKey = tuple[str, str]
"""A service, and the route of its requests, such as `GET /orders/{id}`."""

_MOST_ROUTES: Final = 1_000


class Side:
    """What is known of one set of traces. The traces themselves are not kept.

    Args:
        name: What the user calls the set.
        service: Only requests of this service, with what is beneath them; None for whole traces.
        route: Only requests of this route, such as `/orders/{id}` or `GET /orders/{id}`; None for all.
    """

    def __init__(self, name: str, *, service: str | None = None, route: str | None = None) -> None:
        self.name = name
        self.service = service
        self.route = route
        self.traces = 0
        """Traces that have such requests, and are a sample of the traffic."""
        self.kept = 0
        """Traces that are no sample of the traffic: kept since they failed or were slow, or there for a spike."""
        self.size = Size()
        self.weights: tuple[float, float] | None = None
        """The least and the largest number of requests that a trace stands for."""
        self.ids: set[bytes] = set()
        self.routes: dict[RouteKey, RouteRequests] = {}
        self.trees: dict[RouteKey, MergedTree] = {}
        self.attributes = AttributeValues()
        self.survey = Survey()

    def add(self, trace: Trace) -> None:
        """Look at a trace, and forget it."""
        requests = [span for span in trace.spans if self._has(span)]
        entries = self._entries(trace, requests)
        if not entries:
            return
        stands_for = weight(trace)
        if not stands_for:
            self.kept += 1
            return
        self.ids.add(bytes.fromhex(trace.trace_id))
        self.traces += 1
        self.size.add(stands_for)
        least, most = self.weights or (stands_for, stands_for)
        self.weights = min(least, stands_for), max(most, stands_for)
        self.survey.add(trace)
        for key, spans in _by_route([*requests, *(entry for entry in entries if entry.kind not in (SERVER, CONSUMER))]):
            if key in self.routes or len(self.routes) < _MOST_ROUTES:
                self.routes.setdefault(key, RouteRequests()).add(spans, stands_for)
        for key, spans in _by_route(entries):
            if key in self.routes:
                self.routes[key].is_entry = True
                self.trees.setdefault(key, MergedTree(*key)).add(spans, stands_for)
        narrowed = self.service is not None or self.route is not None
        spans = [each for entry in entries for each in (entry, *descendants(entry))] if narrowed else trace.spans
        self.attributes.add(spans, stands_for)

    def _has(self, span: Span) -> bool:
        if span.kind not in (SERVER, CONSUMER) or self.service not in (None, span.service):
            return False
        return self.route is None or self.route in (route_of(span), span.attributes.get("http.route"))

    def _entries(self, trace: Trace, requests: list[Span]) -> list[Span]:
        """Return the spans with which the requests begin: the root, or the topmost that the user asks for."""
        if self.service is None and self.route is None:
            return [trace.root]
        chosen, inside = set(requests), set()
        for span in trace.spans:  # parents come before their children
            if span.parent in chosen or span.parent in inside:
                inside.add(span)
        return [span for span in requests if span not in inside]


def route_of(span: Span) -> str:
    """Return the route of a request with its method, as spans are named by convention; else the name of the span."""
    method, route = span.attributes.get("http.request.method"), span.attributes.get("http.route")
    return f"{method} {route}" if method and route else without_numbers(span.name)


def _by_route(spans: list[Span]) -> list[tuple[RouteKey, list[Span]]]:
    found: dict[RouteKey, list[Span]] = {}
    for span in spans:
        found.setdefault((span.service, route_of(span)), []).append(span)
    return list(found.items())
