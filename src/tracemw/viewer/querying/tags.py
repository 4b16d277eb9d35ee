"""The names and values of tags: what the newest spans have, for whoever completes a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tracemw.viewer.budget import Budget, BudgetError
from tracemw.viewer.querying.conditions import TAG_FIELDS, type_of
from tracemw.viewer.querying.fields import INTRINSICS, KEYWORDS, Attribute, Field, value_text
from tracemw.viewer.querying.literals import QueryError
from tracemw.viewer.querying.pipelines import QueryPipeline
from tracemw.viewer.querying.relations import QueriedTrace
from tracemw.viewer.querying.traceql import parse_search_query
from tracemw.viewer.storing.candidates import StoredSpan
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.store import Store

INTRINSIC_TAGS = (
    *("duration", "event:name", "event:timeSinceStart", "instrumentation:name", "instrumentation:version", "kind"),
    *("link:spanID", "link:traceID", "name", "rootName", "rootServiceName", "span:duration", "span:id", "span:kind"),
    *("span:name", "span:parentID", "span:status", "span:statusMessage", "status", "statusMessage", "trace:duration"),
    *("trace:id", "trace:rootName", "trace:rootService", "traceDuration"),
)
"""The intrinsics that Tempo lists."""

_SAMPLE = 500  # the newest traces, which are looked into
_CHARACTERS = 1_000_000  # of all names, or of all values
_TAGGED = ("event", "link", "resource", "instrumentation", "span")
_UNLISTED = ("duration", "id", "traceID", "spanID", "parentID", "timeSinceStart")  # of which no two spans have the same


def tag_names(store: Store, scope: str, text: str, limit: int | None, budget: Budget) -> dict[str, list[str]]:
    """Return the names of tags by scope, sorted.

    Args:
        store: Where the spans are.
        scope: One scope, ``intrinsic``, or for all scopes: ``none`` or nothing.
        text: A query that the spans must match. One that cannot be understood is no condition, as in Tempo.
        limit: How many names of attributes to return at most. None stands for all.
        budget: What the answer may cost.

    Raises:
        QueryError: for an unknown scope.
    """
    if scope not in ("", "none", "intrinsic", *_TAGGED):
        raise QueryError(f"invalid scope: {scope[:64]}")
    found: dict[str, list[str]] = {}
    if scope in ("", "none", "intrinsic"):
        found["intrinsic"] = list(INTRINSIC_TAGS)
    wanted = _TAGGED if scope in ("", "none") else (scope,) if scope != "intrinsic" else ()
    names = {each: set[str]() for each in wanted}
    room = _CHARACTERS
    for each, name in _names(_spans(store, text, budget), wanted) if wanted else ():
        if name not in names[each]:
            room -= len(name)
            if room < 0:
                break
            names[each].add(name)
    left = limit
    for each in wanted:
        listed = sorted(names[each])[:left]
        left = None if left is None else left - len(listed)
        if listed:
            found[each] = listed
    return found


def tag_values(store: Store, field: Field, text: str, limit: int | None, budget: Budget) -> list[tuple[str, str]]:
    """Return the values of a field, each with its type, sorted.

    Args:
        store: Where the spans are.
        field: The field.
        text: A query that the spans must match; see `tag_names`.
        limit: How many values to return at most. None stands for all.
        budget: What the answer may cost.
    """
    if field.type in ("status", "kind"):
        return [("keyword", word.word) for word in KEYWORDS.values() if word.of == field.type][:limit]
    if field.name.partition(":")[2] in _UNLISTED or field.name in ("duration", "traceDuration"):
        return []
    found: set[tuple[str, str]] = set()
    room = _CHARACTERS
    for trace, span in _spans(store, text, budget):
        for value in field.read(trace, span):
            typed = (type_of(value), value_text(value))
            if typed not in found:
                room -= len(typed[1])
                found.add(typed)
        if room < 0 or (limit is not None and len(found) >= limit):
            break
    return sorted(found)[:limit]


def parse_old_tag(name: str) -> Field:
    """Return the field of a name in Tempo's older API, which knows attributes without scope, and a few words."""
    word = {**TAG_FIELDS, "rootName": "rootName", "rootServiceName": "rootServiceName"}.get(name)
    return Attribute("", name) if word is None or name in ("status", "error") else INTRINSICS[word]


def _spans(store: Store, text: str, budget: Budget) -> Iterator[tuple[QueriedTrace, StoredSpan]]:
    """Yield the spans of the newest traces that match a query. As in Tempo, they end where time runs out."""
    query = _lenient(text)
    only = tuple(query.filters()) if query is not None else ()
    prefilter = SqlCondition.any_of(each.expression.prefilter() for each in only)
    newest = islice(store.summaries(SqlCondition(), budget), _SAMPLE)
    try:
        for summaries, spans in store.candidates(newest, prefilter, budget):
            traces = {summary.trace_id: QueriedTrace(store, summary, budget) for summary in summaries}
            for span in spans:
                trace = traces[span.trace_id]
                if not only or any(each.matches(trace, span) for each in only):
                    yield trace, span
    except BudgetError:
        return


def _lenient(text: str) -> QueryPipeline | None:
    try:
        return parse_search_query(text) if text else None
    except QueryError:
        return None


def _names(spans: Iterable[tuple[QueriedTrace, StoredSpan]], scopes: Iterable[str]) -> Iterator[tuple[str, str]]:
    for _, span in spans:
        for scope in scopes:
            for attribute in _attributes(span, scope):
                yield scope, attribute.key


def _attributes(span: StoredSpan, scope: str) -> Iterator[KeyValue]:
    match scope:
        case "span":
            yield from span.span.attributes
        case "resource":
            yield from span.resource.attributes
        case "instrumentation":
            yield from span.scope.attributes
        case "event":
            for event in span.span.events:
                yield from event.attributes
        case _:
            for link in span.span.links:
                yield from link.attributes
