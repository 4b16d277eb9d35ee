"""TraceQL, as far as the viewer knows it: one spanset filter becomes a condition on spans."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracemw.viewer.querying import regex
from tracemw.viewer.querying.conditions import MAX_CONDITIONS, OPERATORS, AllOf, AnyOf, Comparison, Condition
from tracemw.viewer.querying.fields import INTRINSICS, Attribute, Field, Value
from tracemw.viewer.querying.literals import QueryError, parse_duration, parse_number, unquote

# Quantifiers are possessive: none gives back what it took. So a text is read once.
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
_DEEPEST = 50  # nested parentheses
_ALIASES = {
    "span:name": "name",
    "span:kind": "kind",
    "span:status": "status",
    "span:statusMessage": "statusMessage",
    "span:duration": "duration",
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "trace:duration": "traceDuration",
}


def parse_traceql(text: str) -> Condition | None:
    """Return the condition of one filter. None stands for ``{}``, which every span matches.

    Raises:
        QueryError: when the text is no such filter, or has too many conditions, or nests them too deep.
    """
    return _Parser(text).parse()


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each token."""
    text = text.rstrip()
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise QueryError(f"TraceQL: {text[position:].strip()[:64]!r} is not understood; {_SUPPORTED}")
        yield token.lastgroup, token[token.lastgroup]
        position = token.end()


class _Parser:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0
        self._comparisons = 0

    def parse(self) -> Condition | None:
        self._expect("{")
        condition = None if self._peek() == ("symbol", "}") else self._parse_any()
        self._expect("}")
        if self._next < len(self._tokens):
            raise self._unsupported()
        return condition

    def _parse_any(self) -> Condition:
        conditions = [self._parse_all()]
        while self._take("||"):
            conditions.append(self._parse_all())
        return conditions[0] if len(conditions) == 1 else AnyOf(tuple(conditions))

    def _parse_all(self) -> Condition:
        conditions = [self._parse_one()]
        while self._take("&&"):
            conditions.append(self._parse_one())
        return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))

    def _parse_one(self) -> Condition:
        if not self._take("("):
            return self._parse_comparison()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryError(f"TraceQL: more than {_DEEPEST} nested parentheses")
        condition = self._parse_any()
        self._expect(")")
        self._depth -= 1
        return condition

    def _parse_comparison(self) -> Condition:
        self._comparisons += 1
        if self._comparisons > MAX_CONDITIONS:
            raise QueryError(f"TraceQL: more than {MAX_CONDITIONS} comparisons")
        field = self._parse_field()
        kind, operator = self._peek()
        if kind != "symbol" or operator not in OPERATORS:
            raise self._unsupported()
        self._next += 1
        value = self._parse_value(field)
        if value is None and operator not in ("=", "!="):
            raise QueryError(f"TraceQL: {operator} nil is not accepted; use = nil or != nil")
        if operator in ("=~", "!~"):
            regex.check(value)
        return Comparison(field, operator, value)

    def _parse_field(self) -> Field:
        kind, text = self._peek()
        if kind == "attribute":
            scope, _, key = text.partition(".")
            if scope in ("", "span", "resource"):
                self._next += 1
                return Attribute(scope, unquote(key) if key.startswith('"') else key)
        if kind == "word" and (name := _ALIASES.get(text, text)) in INTRINSICS:
            self._next += 1
            return INTRINSICS[name]
        raise self._unsupported()

    def _parse_value(self, field: Field) -> Value:
        kind, text = self._peek()
        self._next += 1
        if kind == "string":
            return unquote(text) if text.startswith('"') else text[1:-1]
        if kind == "duration":
            return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)
        if kind == "number":
            return parse_number(text)
        if kind == "word" and text in field.words:
            return field.words[text]
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
