"""An agent's questions, asked of Tempo or of the viewer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

from tracemw.analysis.critical_path import critical_path
from tracemw.analysis.findings.finding import quoted
from tracemw.analysis.gathering.both_sides import compare_sources
from tracemw.analysis.gathering.how_long import length_of_time
from tracemw.analysis.gathering.searching import fetch
from tracemw.analysis.gathering.sources import Files, parse_side
from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.query_api import QueryApi, SearchHit
from tracemw.analysis.load.unreadable import NoTraceError, ServerError
from tracemw.analysis.model import Span, Trace, milliseconds
from tracemw.analysis.report.as_text import lines_of_many, lines_of_one
from tracemw.analysis.report.comparison_as_text import lines_of_comparison
from tracemw.analysis.shapes import call_label
from tracemw.mcp.reproducing import lines_to_reproduce
from tracemw.mcp.short_answers import answer

_LONGEST: Final = 7 * 86_400
_MOST_LISTED: Final = 20
_MOST_RANKED: Final = 500
"""Traces of which the slowest are listed."""
_MOST_SURVEYED: Final = 300
_MOST_COMPARED: Final = 500
"""Traces of one side."""
_MOST_PROOF: Final = 3
_MOST_STEPS: Final = 5
"""Spans on the critical path whose ids are told where there is no finding."""
_STACK: Final = 12
"""Lines of a stack that are shown, the innermost ones."""


class Questions:
    """What an agent may ask of one server. Each method returns an answer of at most `MOST_TOKENS`.

    Args:
        api: The server.

    Raises:
        LookupError: from each method, if there is no such trace or span.
        ValueError: from each method, if the server cannot be asked, or an argument is not accepted.
    """

    def __init__(self, api: QueryApi) -> None:
        self._api = api

    def find_traces(
        self,
        *,
        query: str | None,
        service: str | None,
        route: str | None,
        failing: bool,
        slower_than_ms: float,
        since: str,
    ) -> str:
        """Return the slowest of the traces that match, a line each, with its verdict."""
        asked = query or _filter(service=service, route=route, failing=failing, slower_than_ms=slower_than_ms)
        found = self._search(asked, since, _MOST_RANKED)
        slowest = sorted(found, key=lambda each: each.milliseconds, reverse=True)[:_MOST_LISTED]
        traces = list(fetch(self._api, [each.trace_id for each in slowest], _unheard))
        of = f"the newest {len(found)} traces" if len(found) >= _MOST_RANKED else f"{len(found)} traces"
        lines = [f"{len(traces)} slowest of {of} that match {asked}"]
        for trace in traces:
            root, spans = trace.root, len(trace.spans)
            failed = " FAILED" if root.failed else ""
            lines.append(
                f"{trace.trace_id} {call_label(root)} [{root.service}] {milliseconds(root.duration):.0f} ms, "
                f"{spans} {'span' if spans == 1 else 'spans'}{failed}: {look_at(trace)[0].sentence}"
            )
        return answer(lines, rest="narrow the search with service, route, failing or slower_than_ms")

    def findings(self, *, service: str | None, query: str | None, since: str) -> str:
        """Return what is wrong with the traces of a service, grouped and counted, worst first."""
        survey = Survey()
        for trace in self._found(query or _filter(service=service), since, _MOST_SURVEYED):
            survey.add(trace)
        groups = survey.groups()
        lines = [line.text for line in lines_of_many(survey, judge_all(survey, groups), groups)]
        return answer(lines, rest="name a service, or a query")

    def show_trace(self, trace_id: str) -> str:
        """Return the verdict on a trace, its findings, and its spans as a folded tree."""
        trace = self._api.trace(trace_id)
        verdict, findings = look_at(trace)
        first, *more = (line.text for line in lines_of_one(trace, verdict, findings))
        proof = [
            f"spans that prove {finding.code}: {', '.join(finding.span_ids[:_MOST_PROOF])}"
            for finding in findings[:_MOST_PROOF]
        ]
        return answer([first, *(proof or _steps(trace)), *more], rest="see one span with show_span")

    def show_span(self, trace_id: str, span_id: str) -> str:
        """Return one span's attributes and events."""
        trace = self._api.trace(trace_id)
        span = next((span for span in trace.spans if span.span_id == span_id.lower()), None)
        if span is None:
            raise LookupError(f"trace {trace_id} has no span {span_id}; show_trace names spans to look at")
        return answer(_lines_of_span(span), rest="the stored trace has the rest")

    def compare(self, *, before: str, after: str, service: str | None, route: str | None, since: str) -> str:
        """Return what sets two sets of traces apart: routes, spans that grew, findings that are new, attributes."""
        made = compare_sources(
            _words(before),
            _words(after),
            open_api=lambda: self._api,
            service=service,
            route=route,
            since=_seconds(since),
            limit=_MOST_COMPARED,
            report=_unheard,
        )
        return answer((line.text for line in lines_of_comparison(made)), rest="name a service or a route")

    def reproduce(self, trace_id: str) -> str:
        """Return how to send a request like the one of a trace, without values."""
        return answer(lines_to_reproduce(self._api.trace(trace_id)), rest="show_trace has the whole trace")

    def _found(self, query: str, since: str, limit: int) -> Iterator[Trace]:
        yield from fetch(self._api, [each.trace_id for each in self._search(query, since, limit)], _unheard)

    def _search(self, query: str, since: str, limit: int) -> list[SearchHit]:
        now = int(time.time())
        found = self._api.search_summaries(query, start=now - _seconds(since), end=now + 1, limit=limit)
        if not found:
            raise NoTraceError(
                f"no trace of the last {since} matches {query}; look further back with since, or ask for less"
            )
        return found


def _filter(
    *, service: str | None = None, route: str | None = None, failing: bool = False, slower_than_ms: float = 0.0
) -> str:
    """Return the TraceQL that finds the requests of a service and route."""
    conditions = []
    if service is not None:
        conditions.append(f"resource.service.name = {quoted(service)}")
    if route is not None:
        conditions.append(f"span.http.route = {quoted(route)}")
    if failing:
        conditions.append("status = error")
    if slower_than_ms > 0:
        conditions.append(f"duration > {slower_than_ms:g}ms")
    return f"{{ {' && '.join(conditions)} }}" if conditions else "{ }"


def _seconds(since: str) -> int:
    seconds = length_of_time(since.strip())
    if not 1 <= seconds <= _LONGEST:
        raise ServerError(f"since={since!r} is not accepted; use a time such as 15m, 1h or 7d, at most 7d")
    return int(seconds)


def _words(side: str) -> list[str]:
    """Return the words that name one side of a comparison. An agent names no files: they are no part of the server."""
    words = side.split() if "{" not in side else [side]
    if isinstance(parse_side(words, time.time(), service=None, route=None, since=_LONGEST), Files):
        raise ServerError(f"{side!r} is a file; name a version, times such as 2h..1h, or TraceQL")
    return words


def _unheard(_told: str) -> None:
    """Tell nobody how far the work is: an agent waits for the answer."""


def _steps(trace: Trace) -> Iterator[str]:
    """Give the spans that hold up the trace's end longest, so that an agent can look at one."""
    held = critical_path(trace.root)
    longest = sorted(held, key=lambda span: held[span], reverse=True)[:_MOST_STEPS]
    steps = (f"{span.span_id} {call_label(span)} {milliseconds(held[span]):.1f} ms" for span in longest)
    yield f"spans on the critical path: {', '.join(steps)}"


def _lines_of_span(span: Span) -> Iterator[str]:
    failed = f", FAILED {span.status_message}" if span.failed else ""
    yield f"{call_label(span)} [{span.service}] {span.kind}, {milliseconds(span.duration):.1f} ms{failed}"
    if span.parent is not None:
        yield f"beneath {call_label(span.parent)} ({span.parent.span_id})"
    yield from (f"{key} = {value!r}" for key, value in sorted(span.attributes.items()))
    for event in span.events:
        yield f"event {event.name}, {milliseconds(event.time - span.start):.1f} ms after the start"
        yield from _lines_of_event(event.attributes)


def _lines_of_event(attributes: dict[str, Any]) -> Iterator[str]:
    for key, value in sorted(attributes.items()):
        lines = str(value).splitlines() or [""]
        if len(lines) == 1:
            yield f"  {key} = {lines[0]}"
            continue
        yield f"  {key}, its last lines:"
        yield from (f"    {line}" for line in lines[-_STACK:])
