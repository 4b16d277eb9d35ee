"""The parameters of the query API: Tempo's, and a few more for the list of the viewer's own page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from tracemw.viewer.querying.conditions import MAX_CONDITIONS, AllOf, Tag
from tracemw.viewer.querying.literals import LARGEST_INTEGER, QueryError, parse_duration, parse_number, unquote
from tracemw.viewer.querying.pipelines import QueryPipeline
from tracemw.viewer.querying.search import Search
from tracemw.viewer.querying.spansets import Filter
from tracemw.viewer.querying.timeseries import SECOND, SeriesWindow
from tracemw.viewer.querying.traceql import Query, parse_search_query, parse_traceql
from tracemw.viewer.storing.scopes import LONGEST_SERVICE, NAMELESS_SERVICE
from tracemw.viewer.storing.sql import SqlCondition
from tracemw.viewer.storing.vocabulary import attribute_word

_DEFAULT_LIMIT = 20  # Tempo's, and so are the next three
_DEFAULT_SPANS_PER_SET = 3
_MAX_LIMIT = 262_144
_MAX_SPANS_PER_SET = 100
_MAX_EXEMPLARS = 100
_STEP = 5 * SECOND  # the steps that the viewer chooses are multiples of it
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_TRACE_ID_DIGITS = 32
_MAX_LENGTH = 8 * 1024  # characters of any one parameter

_LOGFMT_PAIR = re.compile(r'\s*+([^\s="]++)(?:=("(?:[^"\\]|\\.)*+"|[^\s"]*+))?+(?=\s|$)', re.DOTALL)
_RESOURCES_OF_TRACE = (
    "SELECT 1 FROM shares JOIN scopes ON scopes.id = shares.scope JOIN resources ON resources.id = scopes.resource "
    "WHERE shares.trace_id = traces.trace_id"
)


def parse_search(parameters: Mapping[str, str]) -> Search:
    """Read the parameters of Tempo's ``/api/search``: ``q``, or else ``tags``, ``minDuration`` and ``maxDuration``.

    ``start``, ``end``, ``limit`` and ``spss`` go with both. Beside ``q``, the durations are ignored, as in Tempo.

    Raises:
        QueryError: when one of them cannot be understood, in Tempo's words where Tempo has some.
    """
    _check_lengths(parameters)
    if parameters.get("q") and parameters.get("tags"):
        raise QueryError("invalid request: can't specify tags and q in the same query")
    window = _conditions_on_window(*parse_window(parameters))
    if parameters.get("q"):
        return _search(parameters, parse_search_query(parameters["q"]), window)
    return _search(
        parameters, _parse_tags(parameters.get("tags", "")), [*window, *_conditions_on_durations(parameters)], tags=True
    )


def parse_list(parameters: Mapping[str, str]) -> Search:
    """Read the parameters of the page's list: those of Tempo's search, and ``service``, ``errors`` and ``text``.

    All of them go together. ``start`` and ``end`` may stand alone.

    Raises:
        QueryError: when one of them cannot be understood.
    """
    _check_lengths(parameters)
    if parameters.get("q") and parameters.get("tags"):
        raise QueryError("q and tags exclude each other; use one of them")
    text = parameters.get("q", "")
    query = parse_search_query(text) if text else _parse_tags(parameters.get("tags", ""))
    start, end = (_parse_seconds(parameters, name) for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise QueryError("start must not be after end")
    conditions = [
        *_conditions_on_window(start, end),
        *_conditions_on_durations(parameters),
        *_conditions_of_page(parameters),
    ]
    search = _search(parameters, query, conditions, tags=True)
    service = parameters.get("service", "")
    if service and service != NAMELESS_SERVICE and len(service) < LONGEST_SERVICE:
        holding = SqlCondition("resources.service = ?", (service,)).needing(attribute_word("service.name", service))
        return replace(search, holding=holding)
    return search


def parse_trace_id(text: str) -> bytes:
    """Return the trace id of 1 to 32 hex digits. Leading zeros may be missing.

    Raises:
        QueryError: for anything else, in Tempo's words.
    """
    for position, character in enumerate(text, 1):
        if character not in _HEX_DIGITS:
            raise QueryError(
                f"trace IDs can only contain hex characters: invalid character '{character}' at position {position}"
            )
    if len(text) > _TRACE_ID_DIGITS:
        raise QueryError("trace IDs can't be larger than 128 bits")
    return bytes.fromhex(text.zfill(_TRACE_ID_DIGITS))


def parse_window(parameters: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return ``start`` and ``end``, unix seconds, in nanoseconds. Both are None when neither is given.

    Raises:
        QueryError: for a time that is no number of seconds, for one without the other, and for an empty window.
    """
    start, end = (_parse_seconds(parameters, name) for name in ("start", "end"))
    if (start or 0) >= (end or 0) and (start is not None or end is not None):
        raise QueryError(
            f"http parameter start must be before end. received start={(start or 0) // 10**9} end={(end or 0) // 10**9}"
        )
    return start, end


def parse_metrics(parameters: Mapping[str, str], now: int, *, instant: bool) -> tuple[Query, SeriesWindow, int]:
    """Read the parameters of ``/api/metrics/query_range``, or of ``/api/metrics/query``, which has no step.

    Args:
        parameters: ``q``, ``start``, ``end``, ``since``, ``step`` and ``exemplars``.
        now: The time, in nanoseconds, at which a window without an end ends.
        instant: Whether to ask for a single value.

    Returns:
        The query, the window, and how many exemplars to give at most.

    Raises:
        QueryError: when one of them cannot be understood.
    """
    _check_lengths(parameters)
    query = parse_traceql(parameters.get("q") or parameters.get("query", ""))
    if query.metrics is None:
        raise QueryError("not a metrics query")
    end = _parse_time(parameters, "end")
    end = now if end is None else end
    start = _parse_time(parameters, "start")
    if start is None:
        start = end - parse_duration(parameters.get("since") or "1h")
    if end <= start:
        raise QueryError("end must be greater than start")
    if instant:
        return query, SeriesWindow(start, end, end - start, is_instant=True), 0
    exemplars = parameters.get("exemplars", "")
    wanted = min(int(exemplars), _MAX_EXEMPLARS) if re.fullmatch(r"[0-9]{1,9}", exemplars) else _MAX_EXEMPLARS
    return query, SeriesWindow.aligned(start, end, _parse_step(parameters, end - start)), wanted


def parse_logfmt(text: str) -> list[tuple[str, str]]:
    r"""Return the pairs of a logfmt line: ``key=value``, ``key="quoted \"value\""``. A key alone is ``key=true``."""
    pairs: list[tuple[str, str]] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        if len(pairs) == MAX_CONDITIONS:
            raise QueryError(f"tags has more than {MAX_CONDITIONS} pairs; use fewer")
        pair = _LOGFMT_PAIR.match(text, position)
        if pair is None:
            raise QueryError(
                f'tags is not accepted from {text[position:][:64]!r} on; use key=value or key="quoted value"'
            )
        value = pair[2]
        if value is None:
            value = "true"
        elif value.startswith('"'):
            value = unquote(value)
        pairs.append((pair[1], value))
        position = pair.end()
    return pairs


def _check_lengths(parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        if len(value) > _MAX_LENGTH:
            raise QueryError(f"{name[:64]} is not accepted; use at most {_MAX_LENGTH} characters")


def _search(
    parameters: Mapping[str, str], query: QueryPipeline | None, traces: Iterable[SqlCondition], *, tags: bool = False
) -> Search:
    return Search(
        query=query,
        traces=SqlCondition.all_of(traces),
        limit=parse_limit(parameters, _DEFAULT_LIMIT),
        spans_per_set=_parse_spans_per_set(parameters),
        shows_spans=not tags,
    )


def _parse_tags(text: str) -> QueryPipeline | None:
    tags = [Tag(key, value) for key, value in parse_logfmt(text)]
    return QueryPipeline(Filter(AllOf(tuple(tags)))) if tags else None


def _conditions_on_window(start: int | None, end: int | None) -> Iterator[SqlCondition]:
    if start is not None:
        yield SqlCondition('traces."end" >= ?', (start,))
    if end is not None:
        yield SqlCondition("traces.start <= ?", (end,))


def _conditions_on_durations(parameters: Mapping[str, str]) -> Iterator[SqlCondition]:
    if parameters.get("minDuration"):
        yield SqlCondition("traces.duration >= ?", (parse_duration(parameters["minDuration"]),))
    if parameters.get("maxDuration"):
        yield SqlCondition("traces.duration <= ?", (parse_duration(parameters["maxDuration"]),))


def _conditions_of_page(parameters: Mapping[str, str]) -> Iterator[SqlCondition]:
    if parameters.get("service"):
        yield SqlCondition(f"EXISTS ({_RESOURCES_OF_TRACE} AND resources.service = ?)", (parameters["service"],))
    if parameters.get("errors") == "true":
        yield SqlCondition("traces.errors > 0")
    if parameters.get("text"):
        text = parameters["text"].strip()
        yield SqlCondition(
            "instr(lower(hex(traces.trace_id)), lower(?)) "  # noqa: S608
            f"OR EXISTS ({_RESOURCES_OF_TRACE} AND instr(lower(resources.service), lower(?))) "
            "OR EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = traces.trace_id "
            "AND instr(lower(spans.name), lower(?)))",
            (text, text, text),
        )


def parse_limit(parameters: Mapping[str, str], default: int) -> int:
    """Return ``limit``.

    Raises:
        QueryError: for anything but a whole number from 1 to 262144.
    """
    text = parameters.get("limit") or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise QueryError("invalid limit: must be a positive number")
    if int(text) > _MAX_LIMIT:
        raise QueryError(f"limit {text} exceeds max limit {_MAX_LIMIT}")
    return int(text)


def parse_optional_limit(parameters: Mapping[str, str]) -> int | None:
    """Return ``limit``; None if there is none, or 0, which stands for no limit.

    Raises:
        QueryError: for anything else but a whole number.
    """
    return parse_limit(parameters, _MAX_LIMIT) if parameters.get("limit", "0") != "0" else None


def _parse_spans_per_set(parameters: Mapping[str, str]) -> int:
    text = parameters.get("spss") or str(_DEFAULT_SPANS_PER_SET)
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise QueryError("invalid spss: must be a non-negative number")
    if int(text) > _MAX_SPANS_PER_SET:
        raise QueryError(f"spans per span set exceeds {_MAX_SPANS_PER_SET}. received {int(text)}")
    return int(text) or _MAX_SPANS_PER_SET


def _parse_seconds(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) * 10**9 > LARGEST_INTEGER:
        raise QueryError(f"{name}={text[:64]!r} is not accepted; use a time in unix seconds")
    return int(text) * 10**9


def _parse_time(parameters: Mapping[str, str], name: str) -> int | None:
    """Return a time in nanoseconds, from unix seconds or, as Tempo takes them too, nanoseconds."""
    text = parameters.get(name)
    if not text:
        return None
    if re.fullmatch(r"[0-9]{11,19}", text) and int(text) <= LARGEST_INTEGER:
        return int(text)
    return _parse_seconds({name: text.partition(".")[0]}, name)


def _parse_step(parameters: Mapping[str, str], window: int) -> int:
    """Return the step in nanoseconds: a duration, or seconds. Without one, the window has about 240 steps."""
    text = parameters.get("step")
    if not text:
        step = window // 240
        return max(step // _STEP * _STEP or step // SECOND * SECOND, SECOND)
    step = int(parse_number(text) * SECOND) if re.fullmatch(r"[0-9.]{1,12}", text) else parse_duration(text)
    if step <= 0:
        raise QueryError("step must be greater than 0")
    return step
