"""The parser of what stands in the braces of TraceQL: comparisons, and what joins them.

It climbs by the precedence of operators, which is Tempo's: ``&&`` and ``||`` bind alike, from left to right.
"""

from __future__ import annotations

from tracemw.viewer.querying import regex
from tracemw.viewer.querying.conditions import (
    ARITHMETIC,
    COMPARISONS,
    MAX_CONDITIONS,
    NUMBERS,
    AllOf,
    AnyOf,
    BinaryComparison,
    Calculation,
    Exists,
    Expression,
    Literal,
    Not,
    Reference,
)
from tracemw.viewer.querying.fields import INTRINSICS, KEYWORDS, SCOPES, Attribute, Field
from tracemw.viewer.querying.lexemes import Tokens
from tracemw.viewer.querying.literals import Duration, QueryError, Value, parse_duration, parse_number, unquote

MAX_DEPTH = 50  # of nested parentheses

CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None, **KEYWORDS}
"""The words that stand for a value."""

_LEVELS = {
    **dict.fromkeys(("&&", "||"), 1),
    **dict.fromkeys(COMPARISONS, 2),
    **dict.fromkeys(("+", "-"), 3),
    **dict.fromkeys(("*", "/", "%"), 5),
    "^": 6,
}
_NEGATION_LEVEL, _NOT_LEVEL = 3, 4
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_VALID = {"string": set(COMPARISONS), **dict.fromkeys(NUMBERS, set(COMPARISONS) - {"=~", "!~"})}


class ExpressionParser:
    """Parses expressions on the fields of a span.

    Args:
        text: The query.
        tokens: The cursor over its tokens.
    """

    def __init__(self, text: str, tokens: Tokens) -> None:
        self._text = text
        self._tokens = tokens
        self._depth = 0
        self._conditions = 0

    def parse(self, above: int = 0) -> Expression:
        """Parse an expression, as far as its operators bind stronger than the level ``above``.

        Raises:
            QueryError: when no expression comes next, or one that cannot be answered.
        """
        start = self._tokens.peek().position
        self._descend()
        left = self._parse_one()
        while (level := self._level()) > above:
            operator = self._tokens.advance().text
            right = self.parse(level - (operator == "^"))
            left = self._join(left, operator, right, start)
        self._depth -= 1
        return left

    def parse_field(self) -> Field:
        """Parse a single field.

        Raises:
            QueryError: when no field comes next.
        """
        token = self._tokens.peek()
        if token.kind == "attribute":
            return self._parse_attribute()
        if token.kind == "word" and token.text in INTRINSICS:
            return INTRINSICS[self._tokens.advance().text]
        if token.kind == "word" and token.text not in CONSTANTS:
            raise self._tokens.error(token.position, f"unknown identifier: {token.text.partition(':')[0][:64]}")
        raise self._tokens.unexpected()

    def text_since(self, start: int) -> str:
        """Return the query from a position to the next token."""
        return self._text[start : self._tokens.peek().position].strip()

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError(f"invalid TraceQL query: more than {MAX_DEPTH} nested expressions")

    def _level(self) -> int:
        token = self._tokens.peek()
        return _LEVELS.get(token.text, 0) if token.kind == "symbol" else 0

    def _parse_one(self) -> Expression:
        token = self._tokens.peek()
        if self._tokens.take("("):
            inner = self.parse()
            self._tokens.expect(")")
            return inner
        if self._tokens.take("!"):
            return Not(self._check_boolean(self.parse(_NOT_LEVEL), token.position))
        if self._tokens.take("-"):
            return self._negate(self.parse(_NEGATION_LEVEL), token.position)
        if token.kind in ("string", "duration", "number") or (token.kind == "word" and token.text in CONSTANTS):
            return Literal(self._parse_value())
        return Reference(self.parse_field())

    def _parse_value(self) -> Value:
        token = self._tokens.advance()
        match token.kind:
            case "string":
                return unquote(token.text) if token.text.startswith('"') else token.text[1:-1]
            case "duration":
                return parse_duration(token.text)
            case "number":
                return parse_number(token.text)
            case _:
                return CONSTANTS[token.text]

    def _parse_attribute(self) -> Attribute:
        token = self._tokens.peek()
        scope, _, key = token.text.partition(".")
        of_parent = scope == "parent"
        if of_parent:
            inner, dot, rest = key.partition(".")
            scope, key = (inner, rest) if dot and inner in ("span", "resource") and rest else ("", key)
        if scope not in SCOPES:
            raise self._tokens.error(token.position, f"unknown identifier: {scope[:64]}")
        self._tokens.advance()
        return Attribute(scope, _unquote_parts(key), of_parent)

    def _negate(self, expression: Expression, start: int) -> Expression:
        if isinstance(expression, Literal) and expression.type in NUMBERS:
            value = expression.value
            assert isinstance(value, int | float)  # noqa: S101  # by its type
            return Literal(Duration(-value) if isinstance(value, Duration) else -value)
        if expression.type not in (*NUMBERS, "attribute"):
            raise QueryError(f"invalid TraceQL query: illegal operation for the given type: {self.text_since(start)}")
        return Calculation(Literal(0), "-", expression)

    def _join(self, left: Expression, operator: str, right: Expression, start: int) -> Expression:
        if operator in ("&&", "||"):
            self._check_boolean(left, start)
            self._check_boolean(right, start)
            kind = AllOf if operator == "&&" else AnyOf
            before = left.expressions if isinstance(left, kind) else (left,)
            return kind((*before, right))
        if operator in ARITHMETIC:
            if not {left.type, right.type} <= {*NUMBERS, "attribute"}:
                raise self._illegal(start)
            return Calculation(left, operator, right)
        return self._compare(left, operator, right, start)

    def _compare(self, left: Expression, operator: str, right: Expression, start: int) -> Expression:
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise QueryError(f"invalid TraceQL query: more than {MAX_CONDITIONS} comparisons")
        if isinstance(left, Literal) and not isinstance(right, Literal):
            left, operator, right = right, _MIRRORED.get(operator, operator), left
        if isinstance(right, Literal) and right.value is None:
            if operator not in ("=", "!="):
                raise self._illegal(start)
            return Exists(left, wanted=operator == "!=")
        types = left.type, right.type
        if "attribute" not in types and types[0] != types[1] and not set(types) <= set(NUMBERS):
            raise QueryError(
                f"invalid TraceQL query: binary operations must operate on the same type: {self.text_since(start)}"
            )
        if any(kind != "attribute" and operator not in _VALID.get(kind, {"=", "!="}) for kind in types):
            raise self._illegal(start)
        if operator in ("=~", "!~"):
            if not isinstance(right, Literal):
                raise self._illegal(start)
            regex.check(right.value)
        return BinaryComparison(left, operator, right)

    def _check_boolean(self, expression: Expression, start: int) -> Expression:
        if expression.type not in ("bool", "attribute"):
            raise self._illegal(start)
        return expression

    def _illegal(self, start: int) -> QueryError:
        return QueryError(f"invalid TraceQL query: illegal operation for the given types: {self.text_since(start)}")


def _unquote_parts(key: str) -> str:
    """Return a key without the quotes around some of its parts: ``"with space".id``."""
    parts: list[str] = []
    position = 0
    while position < len(key):
        if key[position] == '"':
            end = position + 1
            while key[end] != '"':
                end += 1 + (key[end] == "\\")
            parts.append(unquote(key[position : end + 1]))
            position = end + 1
        else:
            end = key.find('"', position)
            end = len(key) if end < 0 else end
            parts.append(key[position:end])
            position = end
    return "".join(parts)
