"""The parameters of the query API: Tempo's, and a few more for the list of the viewer's own page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tracemw.viewer.querying.conditions import MAX_CONDITIONS, AllOf, Condition, Tag
from tracemw.viewer.querying.literals import LARGEST_INTEGER, QueryError, parse_duration, unquote
from tracemw.viewer.querying.search import Search
from tracemw.viewer.querying.traceql import parse_traceql
from tracemw.viewer.storing.sql import SqlCondition

_DEFAULT_LIMIT = 20  # Tempo's, and so are the next three
_DEFAULT_SPANS_PER_SET = 3
_MAX_LIMIT = 262_144
_MAX_SPANS_PER_SET = 100
_MAX_LENGTH = 8 * 1024  # characters of any one parameter

_LOGFMT_PAIR = re.compile(r'\s*+([^\s="]++)(?:=("(?:[^"\\]|\\.)*+"|[^\s"]*+))?+(?=\s|$)', re.DOTALL)
_RESOURCES_OF_TRACE = (
    "SELECT 1 FROM shares JOIN scopes ON scopes.id = shares.scope JOIN resources ON resources.id = scopes.resource "
    "WHERE shares.trace_id = traces.trace_id"
)


def parse_search(parameters: Mapping[str, str]) -> Search:
    """Read the parameters of a search.

    ``q``, ``tags``, ``minDuration``, ``maxDuration``, ``start``, ``end``, ``limit`` and ``spss`` are those of Tempo's
    ``/api/search``. ``service``, ``errors`` and ``text`` are the page's.

    Raises:
        QueryError: when one of them cannot be understood.
    """
    for name, value in parameters.items():
        if len(value) > _MAX_LENGTH:
            raise QueryError(f"{name[:64]} is not accepted; use at most {_MAX_LENGTH} characters")
    if parameters.get("q") and parameters.get("tags"):
        raise QueryError("q and tags exclude each other; use one of them")
    condition = parse_traceql(parameters["q"]) if parameters.get("q") else _parse_tags(parameters.get("tags", ""))
    return Search(
        condition=condition,
        traces=SqlCondition.all_of(_conditions_on_traces(parameters)),
        limit=_parse_positive(parameters, "limit", _DEFAULT_LIMIT, _MAX_LIMIT),
        spans_per_set=_parse_positive(parameters, "spss", _DEFAULT_SPANS_PER_SET, _MAX_SPANS_PER_SET),
    )


def parse_trace_id(text: str) -> bytes:
    """Return the trace id of 1 to 32 hex digits. Leading zeros may be missing.

    Raises:
        QueryError: for anything else.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", text):
        raise QueryError(f"trace id {text[:64]!r} is not accepted; use 1 to 32 hex digits")
    return bytes.fromhex(text.zfill(32))


def parse_window(parameters: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return ``start`` and ``end``, unix seconds, in nanoseconds. None stands for one that is not given.

    Raises:
        QueryError: for a time that is no number of seconds, and for an end before the start.
    """
    start, end = (_parse_seconds(parameters, name) for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise QueryError("start must not be after end")
    return start, end


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


def _parse_tags(text: str) -> Condition | None:
    tags = [Tag(key, value) for key, value in parse_logfmt(text)]
    return AllOf(tuple(tags)) if tags else None


def _conditions_on_traces(parameters: Mapping[str, str]) -> Iterator[SqlCondition]:
    start, end = parse_window(parameters)
    if start is not None:
        yield SqlCondition('traces."end" >= ?', (start,))
    if end is not None:
        yield SqlCondition("traces.start <= ?", (end,))
    if parameters.get("minDuration"):
        yield SqlCondition("traces.duration >= ?", (parse_duration(parameters["minDuration"]),))
    if parameters.get("maxDuration"):
        yield SqlCondition("traces.duration <= ?", (parse_duration(parameters["maxDuration"]),))
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


def _parse_positive(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = parameters.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise QueryError(f"{name}={text[:64]!r} is not accepted; use a whole number from 1 to {most}")
    return int(text)


def _parse_seconds(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) * 10**9 > LARGEST_INTEGER:
        raise QueryError(f"{name}={text[:64]!r} is not accepted; use a time in unix seconds")
    return int(text) * 10**9
