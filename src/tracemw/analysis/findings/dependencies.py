"""A service that often fails its callers: `failing-dependency`. Many traces tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from typing import Final

from tracemw.analysis.conventions import answers_the_caller, http_status, is_cancelled, peer, whole
from tracemw.analysis.findings.error_source import failure_of
from tracemw.analysis.findings.finding import Finding, quoted
from tracemw.analysis.model import Span, Trace, milliseconds

CALLS: Final = 5
SHARE: Final = 0.05
_TRACES: Final = 2
_MOST: Final = 10_000


class _Calls:
    """The calls from one service to another."""

    def __init__(self) -> None:
        self.count = self.failed = self.traces = 0
        self.failing_traces = self.failed_time = self.longest = 0
        self.weight = self.failed_weight = self.traces_weight = 0.0
        self.last_trace = self.last_failing = ""
        self.trace_id = self.span_id = self.failure = self.condition = ""

    def add_failure(self, span: Span, weight: float) -> None:
        """Count a failed call. The longest one stands for all."""
        self.failed += 1
        self.failed_weight += weight
        self.failed_time += span.duration
        if self.last_failing != span.trace_id:
            self.last_failing = span.trace_id
            self.failing_traces += 1
            self.traces_weight += weight
        if not self.trace_id or span.duration > self.longest:
            self.longest = span.duration
            self.trace_id, self.span_id, self.failure = span.trace_id, span.span_id, failure_of(span)
            self.condition = _condition(span)

    def take_in(self, others: _Calls) -> None:
        """Add the calls of another address of the same service."""
        self.count += others.count
        self.failed += others.failed
        self.traces += others.traces
        self.weight += others.weight
        self.failed_weight += others.failed_weight
        self.failed_time += others.failed_time
        self.failing_traces += others.failing_traces
        self.traces_weight += others.traces_weight
        if others.failed and (not self.trace_id or others.longest > self.longest):
            self.longest, self.condition = others.longest, others.condition
            self.trace_id, self.span_id, self.failure = others.trace_id, others.span_id, others.failure


class Dependencies:
    """Counts calls between services over many traces. The spans themselves are not kept."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._names: dict[str, str] = {}
        """Services by the address at which they are called."""

    def add(self, trace: Trace, weight: float) -> None:
        """Count the calls of a trace. Weight 0 is for traces that are no sample of the traffic, which are left out."""
        if not weight:
            return
        for span in trace.spans:
            if not span.is_call:
                continue
            key = (span.service, self._callee(span))
            calls = self._calls.get(key)
            if calls is None:
                if not key[1] or len(self._calls) >= _MOST:
                    continue
                calls = self._calls[key] = _Calls()
            calls.count += 1
            calls.weight += weight
            if calls.last_trace != trace.trace_id:
                calls.last_trace = trace.trace_id
                calls.traces += 1
            if span.failed and _is_outage(span):
                calls.add_failure(span, weight)

    def findings(self) -> Iterator[Finding]:
        """Give a finding for each pair of services with five calls and more, of which 5 % and more failed."""
        for (caller, callee), calls in self._by_service().items():
            if calls.count < CALLS or calls.traces < _TRACES or not calls.failed:
                continue
            share = calls.failed_weight / calls.weight
            if share < SHARE:
                continue
            yield Finding(
                code="failing-dependency",
                severity="warning",
                title=f"{callee} fails {share:.0%} of the {calls.count} calls of {caller}, such as by {calls.failure}",
                trace_id=calls.trace_id,
                span_ids=(calls.span_id,),
                service=callee,
                remedy=f"look at the health of {callee}; give its callers a timeout, a fallback and a circuit breaker",
                query=(
                    f"{{ resource.service.name = {quoted(caller)} && kind = client && status = error"
                    f" && {calls.condition} }}"
                ),
                numbers={
                    "calls": calls.count,
                    "failed": calls.failed,
                    "share": round(share, 4),
                    "caller": caller,
                    "failed_ms": milliseconds(calls.failed_time),
                    "failing_traces": calls.failing_traces,
                    "failing_requests": calls.traces_weight,
                },
                cost_ms=milliseconds(calls.longest),
            )

    def _callee(self, span: Span) -> str:
        """Return whom a call is for: an address, else the service that served it."""
        address = str(span.attributes.get("peer.service") or peer(span.attributes))
        for child in span.children:
            if child.service != span.service:
                if address and len(self._names) < _MOST:
                    self._names[address] = child.service
                return address or child.service
        return address

    def _by_service(self) -> dict[tuple[str, str], _Calls]:
        """Return the calls by the names of services, so far as an answered call has told them."""
        merged: dict[tuple[str, str], _Calls] = {}
        for (caller, address), calls in self._calls.items():
            key = (caller, self._names.get(address, address))
            if key in merged:
                merged[key].take_in(calls)
            else:
                merged[key] = copy(calls)
        return merged


def _condition(span: Span) -> str:
    """Return the TraceQL condition of calls for the same callee, in the names of both generations of conventions."""
    attributes = span.attributes
    host, full = attributes.get("server.address"), str(attributes.get("url.full") or "")
    if peer_service := attributes.get("peer.service"):
        return f"span.peer.service = {quoted(str(peer_service))}"
    if host:
        names = ("server.address", "net.peer.name", "http.host")
        conditions = [f"span.{name} = {quoted(str(host))}" for name in names]
        if port := whole(attributes.get("server.port")):
            conditions[0] = f"({conditions[0]} && span.server.port = {port})"
            conditions[1] = f"({conditions[1]} && span.net.peer.port = {port})"
        return f"({' || '.join(conditions)})"
    if full:
        pattern = quoted(f".*://([^/]*@)?{re.escape(peer(attributes))}([/?].*)?")
        return f"(span.url.full =~ {pattern} || span.http.url =~ {pattern})"
    if service := attributes.get("rpc.service"):
        return f"span.rpc.service = {quoted(str(service))}"
    return f"name = {quoted(span.name)}"


def _is_outage(span: Span) -> bool:
    """Return whether a call failed by a 5xx, a timeout or a broken connection."""
    status = http_status(span.attributes)
    if status is not None:
        return status >= 500
    return not answers_the_caller(span.attributes) and not is_cancelled(span.error_type)
