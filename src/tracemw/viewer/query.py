"""What a search asks for: Tempo's parameters, its tag search and a part of TraceQL, as conditions on spans.

A condition says two things: an exact answer for one decoded span, and a `Sieve` that lets SQLite throw away most others
without decoding them. Attributes are not indexed; a span that has one contains its key's bytes, and that is the sieve.
"""

from __future__ import annotations

import heapq
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

import re2
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tracemw.viewer.effort import Effort
from tracemw.viewer.store import Sieve, Store, StoredSpan, Summary

Value = str | int | float | bool | None

DEFAULT_LIMIT = 20
DEFAULT_SPANS_PER_SET = 3
MAX_LIMIT = 262_144  # Tempo's
MAX_SPANS_PER_SET = 100  # Tempo's
MAX_LENGTH = 8 * 1024  # characters of any one parameter
MAX_CONDITIONS = 100

_LONGEST_NUMBER = 40  # characters of a number or a duration
_PATTERN_BYTES = 256 * 1024  # that a compiled regular expression may take, which bounds its time on each character
_MATCHED_CHARACTERS = 16 * 1024  # a longer text is matched by its start; Tempo cuts values at 2,048 bytes
_LARGEST_INTEGER = 2**63 - 1
_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]++\.?[0-9]*+|\.[0-9]++)(ns|us|µs|μs|ms|s|m|h)")
_STATUS = {"unset": Status.STATUS_CODE_UNSET, "ok": Status.STATUS_CODE_OK, "error": Status.STATUS_CODE_ERROR}
_KIND = {name.removeprefix("SPAN_KIND_").lower(): number for name, number in Span.SpanKind.items()}


class QueryError(ValueError):
    """A search that cannot be understood; the message says what can."""


class Condition(Protocol):
    """Something that is true or false of a span in its trace."""

    def sieve(self) -> Sieve:
        """SQL that holds for every span that matches."""
        ...

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Whether the span fulfils the condition."""
        ...


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of some conditions, on the same span."""

    conditions: tuple[Condition, ...]

    def sieve(self) -> Sieve:
        """All sieves together."""
        return _joined(" AND ", [condition.sieve() for condition in self.conditions])

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Whether each condition holds."""
        return all(condition.matches(trace, span) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of some conditions."""

    conditions: tuple[Condition, ...]

    def sieve(self) -> Sieve:
        """Whatever passes one of the sieves."""
        return _joined(" OR ", [condition.sieve() for condition in self.conditions])

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Whether one condition holds."""
        return any(condition.matches(trace, span) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Tag:
    """Tempo's tag search: an attribute of the span or its resource, or a well-known field, whose text is ``text``."""

    key: str
    text: str

    def sieve(self) -> Sieve:
        """The key stands in the span or its resource, unless it names a field."""
        return Sieve() if self.key in _TAG_FIELDS else _mentions("", self.key)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Whether the field or one of the attributes reads like the text."""
        field = _TAG_FIELDS.get(self.key)
        if field is not None and field(trace, span) == self.text:
            return True
        return any(_text(value) == self.text for value in _attribute_values("", self.key, span))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of TraceQL.

    Attributes:
        scope: ``span`` or ``resource`` for their attributes, empty for both, ``intrinsic`` for a field of the span
        name: the attribute's key or the field's name
        operator: one of ``= != < <= > >= =~ !~``
        value: what to compare with; None is TraceQL's ``nil``, and statuses and kinds are their numbers
    """

    scope: str
    name: str
    operator: str
    value: Value

    def sieve(self) -> Sieve:
        """The same comparison on a column, or the presence of the attribute's key (and of its value)."""
        if self.value is None:
            return Sieve()
        if self.scope == "intrinsic":
            column = _INTRINSICS[self.name].column
            known = column and self.operator in _SQL_OPERATORS
            return Sieve(f"{column} {self.operator} ?", (self.value,)) if known else Sieve()
        if self.operator == "=" and isinstance(self.value, str) and self.value:
            return _joined(" AND ", [_mentions(self.scope, self.name), _mentions(self.scope, self.value)])
        return _mentions(self.scope, self.name)

    def matches(self, trace: Summary, span: StoredSpan) -> bool:
        """Whether it holds; a span without the attribute matches nothing but ``= nil``, as in Tempo."""
        if self.scope == "intrinsic":
            values = [_INTRINSICS[self.name].value(trace, span)]
        else:
            values = list(_attribute_values(self.scope, self.name, span))
        if self.value is None:
            return bool(values) != (self.operator == "=")
        if self.operator in ("!=", "!~"):
            return bool(values) and all(self._holds(value) for value in values)
        return any(self._holds(value) for value in values)

    def _holds(self, actual: Value) -> bool:
        if not _comparable(actual, self.value):
            return False
        return _OPERATORS[self.operator](actual, self.value)


@dataclass(frozen=True, slots=True)
class Search:
    """A search over all traces.

    Attributes:
        condition: what some span of the trace has to fulfil, None for nothing
        traces: what the trace as a whole has to fulfil
        limit: how many traces to find at most
        spans_per_set: how many matching spans of each are told
    """

    condition: Condition | None
    traces: Sieve
    limit: int
    spans_per_set: int


@dataclass(frozen=True, slots=True, order=True)
class FoundSpan:
    """What is told of a span that matched. Times are nanoseconds since the epoch."""

    start: int
    span_id: bytes
    end: int
    name: str


@dataclass(frozen=True, slots=True)
class Found:
    """A trace that matched.

    Attributes:
        matched: how many of its spans fulfil the condition, 0 when there was none
        spans: the first of them, by start time
    """

    trace: Summary
    matched: int = 0
    spans: tuple[FoundSpan, ...] = ()


def find(store: Store, search: Search, effort: Effort) -> Iterator[Found]:
    """The newest traces that match, `Search.limit` of them at most.

    Raises:
        EffortError: it takes too long
    """
    return islice(_found(store, search, effort), search.limit)


def _found(store: Store, search: Search, effort: Effort) -> Iterator[Found]:
    summaries = store.summaries(search.traces, effort)
    condition = search.condition
    if condition is None:
        yield from map(Found, summaries)
        return
    for traces, candidates in store.candidates(summaries, condition.sieve(), effort):
        by_id = {trace.trace_id: trace for trace in traces}
        matched = dict.fromkeys(by_id, 0)
        first: dict[bytes, list[FoundSpan]] = {trace_id: [] for trace_id in by_id}
        for span in candidates:
            if condition.matches(by_id[span.trace_id], span):
                matched[span.trace_id] += 1
                spans = first[span.trace_id]
                spans.append(FoundSpan(span.start, span.span_id, span.end, span.span.name))
                if len(spans) >= 2 * search.spans_per_set:
                    first[span.trace_id] = heapq.nsmallest(search.spans_per_set, spans)
        for trace in traces:
            if matched[trace.trace_id]:
                spans = heapq.nsmallest(search.spans_per_set, first[trace.trace_id])
                yield Found(trace, matched[trace.trace_id], tuple(spans))


def parse_search(parameters: Mapping[str, str]) -> Search:
    """Read the parameters of Tempo's ``/api/search``, and of the page's own list, which knows a few more.

    ``q``, ``tags``, ``minDuration``, ``maxDuration``, ``start``, ``end``, ``limit`` and ``spss`` are Tempo's;
    ``service``, ``errors`` and ``text`` are the page's.

    Raises:
        QueryError: one of them does not have the form it should have
    """
    for name, value in parameters.items():
        if len(value) > MAX_LENGTH:
            raise QueryError(f"{name[:64]} is longer than {MAX_LENGTH} characters")
    if parameters.get("q") and parameters.get("tags"):
        raise QueryError("q and tags exclude each other")
    condition = parse_traceql(parameters["q"]) if parameters.get("q") else _tags(parameters.get("tags", ""))
    return Search(
        condition=condition,
        traces=_joined(" AND ", list(_trace_sieves(parameters))),
        limit=_positive(parameters, "limit", DEFAULT_LIMIT, MAX_LIMIT),
        spans_per_set=_positive(parameters, "spss", DEFAULT_SPANS_PER_SET, MAX_SPANS_PER_SET),
    )


def parse_trace_id(text: str) -> bytes:
    """A trace id from 1 to 32 hex digits; leading zeros may be missing."""
    if not re.fullmatch(r"[0-9a-fA-F]{1,32}", text):
        raise QueryError(f"trace id {text[:64]!r} is not 1 to 32 hex digits")
    return bytes.fromhex(text.zfill(32))


def parse_window(parameters: Mapping[str, str]) -> tuple[int | None, int | None]:
    """``start`` and ``end`` in nanoseconds, from unix seconds; None for one that is not given."""
    start, end = (_seconds(parameters, name) for name in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise QueryError("start must not be after end")
    return start, end


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration (``time.ParseDuration``) such as ``600ms``, ``1.5s`` or ``1m30s``, not negative."""
    total, position = Fraction(0), 0
    if len(text) > _LONGEST_NUMBER:
        raise QueryError(f"duration {text[:64]!r} is longer than {_LONGEST_NUMBER} characters")
    while part := _DURATION_PART.match(text, position):
        total += Fraction(part[1].rstrip(".")) * _NANOSECONDS[part[2]]
        position = part.end()
    if text == "0":
        return 0
    if position == 0 or position != len(text) or total > _LARGEST_INTEGER:
        raise QueryError(f"duration {text[:64]!r} is not like 600ms, 1.5s or 1m30s")
    return int(total)


_LOGFMT_PAIR = re.compile(r'\s*+([^\s="]++)(?:=("(?:[^"\\]|\\.)*+"|[^\s"]*+))?+(?=\s|$)', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def parse_logfmt(text: str) -> list[tuple[str, str]]:
    r"""Pairs of a logfmt line: ``key=value``, ``key="quoted \"value\""``; a key alone stands for ``key=true``."""
    pairs: list[tuple[str, str]] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        if len(pairs) == MAX_CONDITIONS:
            raise QueryError(f"tags are more than {MAX_CONDITIONS}")
        pair = _LOGFMT_PAIR.match(text, position)
        if pair is None:
            raise QueryError(f'tags are not key=value or key="quoted value" from {text[position:][:64]!r} on')
        value = pair[2]
        if value is None:
            value = "true"
        elif value.startswith('"'):
            value = _unquoted(value)
        pairs.append((pair[1], value))
        position = pair.end()
    return pairs


# Quantifiers are possessive: none gives back what it took, so that a text is read once.
_TOKEN = re.compile(
    r"""\s*+(?:
        (?P<string>"(?:[^"\\]|\\.)*+"|`[^`]*+`)
      | (?P<attribute>(?:[a-z]++)?+\.(?:"(?:[^"\\]|\\.)*+"|[^\s{}()=!<>&|~^,"`]++))
      | (?P<duration>-?+(?:(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:ns|us|µs|μs|ms|s|m|h))++(?![A-Za-z0-9_.]))
      | (?P<number>-?+[0-9]++(?:\.[0-9]++)?+(?![A-Za-z0-9_.]))
      | (?P<word>[A-Za-z][A-Za-z:]*+)
      | (?P<symbol>&&|\|\||=~|!~|!=|<=|>=|=|<|>|[{}()])
    )""",
    re.VERBOSE | re.DOTALL,
)
_SUPPORTED = (
    "the viewer knows one { ... } of comparisons (= != < <= > >= =~ !~) joined by && and ||, on span.*, resource.* "
    "and .* attributes and on name, kind, status, statusMessage, duration, rootName, rootServiceName and traceDuration"
)
_DEEPEST = 50  # nested parentheses, of TraceQL and of a regular expression
_GROUP = re.compile(r"\\.|[()]", re.DOTALL)


def parse_traceql(text: str) -> Condition | None:
    """The condition of one TraceQL spanset filter; None for ``{}``, which every span fulfils."""
    return _TraceQL(text).parse()


class _TraceQL:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Condition | None:
        self._expect("{")
        condition = None if self._peek() == ("symbol", "}") else self._any()
        self._expect("}")
        if self._next < len(self._tokens):
            raise self._unsupported()
        return condition

    def _any(self) -> Condition:
        conditions = [self._all()]
        while self._take("||"):
            conditions.append(self._all())
        return conditions[0] if len(conditions) == 1 else AnyOf(tuple(conditions))

    def _all(self) -> Condition:
        conditions = [self._one()]
        while self._take("&&"):
            conditions.append(self._one())
        return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))

    def _one(self) -> Condition:
        if not self._take("("):
            return self._comparison()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(f"TraceQL: more than {_DEEPEST} nested parentheses")
        condition = self._any()
        self._expect(")")
        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        self._comparisons += 1
        if self._comparisons > MAX_CONDITIONS:
            raise QueryError(f"TraceQL: more than {MAX_CONDITIONS} comparisons")
        scope, name = self._field()
        kind, symbol = self._peek()
        if kind != "symbol" or symbol not in _OPERATORS:
            raise self._unsupported()
        self._next += 1
        value = self._value(scope, name)
        if value is None and symbol not in ("=", "!="):
            raise QueryError(f"TraceQL: nil goes with = and != only, not with {symbol}")
        if symbol in ("=~", "!~"):
            _check_pattern(value)
        return Comparison(scope, name, symbol, value)

    def _field(self) -> tuple[str, str]:
        kind, text = self._peek()
        if kind == "attribute":
            scope, _, name = text.partition(".")
            if scope in ("", "span", "resource"):
                self._next += 1
                return scope, _unquoted(name) if name.startswith('"') else name
        if kind == "word" and (name := _INTRINSIC_ALIASES.get(text, text)) in _INTRINSICS:
            self._next += 1
            return "intrinsic", name
        raise self._unsupported()

    def _value(self, scope: str, name: str) -> Value:
        kind, text = self._peek()
        self._next += 1
        if kind == "string":
            return _unquoted(text) if text.startswith('"') else text[1:-1]
        if kind == "duration":
            return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)
        if kind == "number":
            return _number(text)
        words: Mapping[str, Value] = {"true": True, "false": False, "nil": None}
        if scope == "intrinsic":
            words = {"status": _STATUS, "kind": _KIND}.get(name, {})
        if kind == "word" and text in words:
            return words[text]
        self._next -= 1
        raise self._unsupported()

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "the end")

    def _take(self, symbol: str) -> bool:
        taken = self._peek() == ("symbol", symbol)
        self._next += taken
        return taken

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._unsupported()

    def _unsupported(self) -> QueryError:
        return QueryError(f"TraceQL: {self._peek()[1][:64]!r} is not understood here; {_SUPPORTED}")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    text = text.rstrip()
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise QueryError(f"TraceQL: {text[position:].strip()[:64]!r} is not understood; {_SUPPORTED}")
        yield token.lastgroup, token[token.lastgroup]
        position = token.end()


def _number(text: str) -> int | float:
    number = math.inf if len(text) > _LONGEST_NUMBER else float(text) if "." in text else int(text)
    if abs(number) > _LARGEST_INTEGER:
        raise QueryError(f"TraceQL: {text[:64]} is too large")
    return number


def _check_pattern(pattern: Value) -> None:
    if not isinstance(pattern, str):
        raise QueryError("TraceQL: =~ and !~ want a regular expression in quotes")
    depth = 0
    for bracket in _GROUP.findall(pattern):
        depth += {"(": 1, ")": -1}.get(bracket, 0)
        if depth > _DEEPEST:
            raise QueryError(f"TraceQL: regular expression {pattern[:64]!r}: more than {_DEEPEST} nested groups")
    try:
        _compiled(pattern)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise QueryError(f"TraceQL: regular expression {pattern[:64]!r}: {reason} (its syntax is RE2's)") from None


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    """The pattern for an engine like Tempo's, whose time grows with the text and no faster; ``.`` is any character."""
    options = re2.Options()
    options.max_mem = _PATTERN_BYTES
    options.log_errors = False
    options.never_capture = True
    options.dot_nl = True
    return re2.compile(pattern.encode(), options)


def _matches(actual: Value, pattern: Value) -> bool:
    text = str(actual)[:_MATCHED_CHARACTERS]
    return _compiled(str(pattern)).fullmatch(text.encode()) is not None


_SQL_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    **_SQL_OPERATORS,
    "=~": _matches,
    "!~": lambda actual, pattern: not _matches(actual, pattern),
}


@dataclass(frozen=True, slots=True)
class _Intrinsic:
    """A field of every span: the column that holds it, None where there is none, and how to read it."""

    column: str | None
    value: Callable[[Summary, StoredSpan], Value]


_INTRINSICS: Mapping[str, _Intrinsic] = {
    "name": _Intrinsic("spans.name", lambda _, span: span.span.name),
    "kind": _Intrinsic("spans.kind", lambda _, span: span.span.kind),
    "status": _Intrinsic("spans.status", lambda _, span: span.span.status.code),
    "statusMessage": _Intrinsic(None, lambda _, span: span.span.status.message),
    "duration": _Intrinsic('max(spans."end" - spans.start, 0)', lambda _, span: max(span.end - span.start, 0)),
    "rootName": _Intrinsic("traces.root_name", lambda trace, _: trace.root_name),
    "rootServiceName": _Intrinsic("traces.root_service", lambda trace, _: trace.root_service),
    "traceDuration": _Intrinsic("traces.duration", lambda trace, _: trace.duration),
}
_INTRINSIC_ALIASES = {
    "span:name": "name",
    "span:kind": "kind",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "span:duration": "duration",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "trace:duration": "traceDuration",
}
_TAG_FIELDS: Mapping[str, Callable[[Summary, StoredSpan], str | None]] = {
    "name": lambda _, span: span.span.name,
    "status": lambda _, span: _status_text(span),
    "error": lambda _, span: "true" if _status_text(span) == "error" else "false",
    "root.name": lambda trace, _: trace.root_name,
    "root.service.name": lambda trace, _: trace.root_service,
}


def attribute_text(value: AnyValue) -> Iterator[str]:
    """An attribute's value as texts to show or to compare with; one for each element of an array."""
    return (_text(item) for item in _values(value))


def _status_text(span: StoredSpan) -> str:
    # A code that OTLP does not know says no more than none.
    return next((text for text, code in _STATUS.items() if code == span.span.status.code), "unset")


def _attribute_values(scope: str, key: str, span: StoredSpan) -> Iterator[Value]:
    if scope != "resource":
        yield from _values_of(span.span.attributes, key)
    if scope != "span":
        yield from _values_of(span.resource.attributes, key)


def _values_of(attributes: Iterable[KeyValue], key: str) -> Iterator[Value]:
    for attribute in attributes:
        if attribute.key == key:
            yield from _values(attribute.value)


def _values(value: AnyValue) -> Iterator[Value]:
    """What a search can compare with: the elements of an array one by one, nothing of bytes and of nested maps."""
    match value.WhichOneof("value"):
        case "string_value":
            yield value.string_value
        case "bool_value":
            yield value.bool_value
        case "int_value":
            yield value.int_value
        case "double_value":
            yield value.double_value
        case "array_value":
            for element in value.array_value.values:
                yield from _values(element)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _comparable(actual: Value, wanted: Value) -> bool:
    if isinstance(actual, bool) or isinstance(wanted, bool):
        return isinstance(actual, bool) and isinstance(wanted, bool)
    if isinstance(actual, int | float):
        return isinstance(wanted, int | float)
    return isinstance(actual, str) and isinstance(wanted, str)


def _mentions(scope: str, text: str) -> Sieve:
    """The text's bytes stand in the encoded span or resource; where they do not, no attribute has them."""
    columns = {"span": ["spans.proto"], "resource": ["resources.proto"]}.get(scope, ["spans.proto", "resources.proto"])
    return _joined(" OR ", [Sieve(f"instr({column}, ?)", (text.encode(),)) for column in columns])


def _joined(word: str, sieves: list[Sieve]) -> Sieve:
    if not sieves:
        return Sieve()
    sql = word.join(f"({sieve.sql})" for sieve in sieves)
    return Sieve(sql, tuple(parameter for sieve in sieves for parameter in sieve.parameters))


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), text[1:-1])


def _tags(text: str) -> Condition | None:
    tags = [Tag(key, value) for key, value in parse_logfmt(text)]
    return AllOf(tuple(tags)) if tags else None


_SERVICES = (
    "SELECT 1 FROM shares JOIN origins ON origins.id = shares.origin JOIN resources ON resources.id = origins.resource "
    "WHERE shares.trace_id = traces.trace_id"
)


def _trace_sieves(parameters: Mapping[str, str]) -> Iterator[Sieve]:
    start, end = parse_window(parameters)
    if start is not None:
        yield Sieve('traces."end" >= ?', (start,))
    if end is not None:
        yield Sieve("traces.start <= ?", (end,))
    if parameters.get("minDuration"):
        yield Sieve("traces.duration >= ?", (parse_duration(parameters["minDuration"]),))
    if parameters.get("maxDuration"):
        yield Sieve("traces.duration <= ?", (parse_duration(parameters["maxDuration"]),))
    if parameters.get("service"):
        yield Sieve(f"EXISTS ({_SERVICES} AND resources.service = ?)", (parameters["service"],))
    if parameters.get("errors") == "true":
        yield Sieve("traces.errors > 0")
    if parameters.get("text"):
        text = parameters["text"].strip()
        yield Sieve(
            "instr(lower(hex(traces.trace_id)), lower(?)) "  # noqa: S608
            f"OR EXISTS ({_SERVICES} AND instr(lower(resources.service), lower(?))) "
            "OR EXISTS (SELECT 1 FROM spans WHERE spans.trace_id = traces.trace_id "
            "AND instr(lower(spans.name), lower(?)))",
            (text, text, text),
        )


def _positive(parameters: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = parameters.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise QueryError(f"{name} {text[:64]!r} is not a positive number")
    if int(text) > most:
        raise QueryError(f"{name} {text} is more than {most}")
    return int(text)


def _seconds(parameters: Mapping[str, str], name: str) -> int | None:
    text = parameters.get(name)
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) * 10**9 > _LARGEST_INTEGER:
        raise QueryError(f"{name} {text[:64]!r} is not a time in unix seconds")
    return int(text) * 10**9
