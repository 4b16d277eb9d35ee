"""The tokens of a TraceQL query, and a cursor over them that says where a query goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tracemw.viewer.querying.literals import QueryError

_SHOWN_CHARACTERS = 64

# Quantifiers are possessive: none gives back what it took. So a text is read once.
_TOKEN = re.compile(
    r"""(?:
        (?P<string>"(?:[^"\\]|\\.)*+"|`[^`]*+`)
      | (?P<duration>(?:(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:ns|us|µs|μs|ms|s|m|h|d|w|y))++(?![A-Za-z0-9_.]))
      | (?P<number>(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][-+]?+[0-9]++)?+(?![A-Za-z0-9_.]))
      | (?P<attribute>(?:[a-z]++)?+\.(?:"(?:[^"\\]|\\.)*+"|[^\s{}()=!<>&|~^,"`])++)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*+(?::[A-Za-z]++)?+)
      | (?P<symbol>!>>|!<<|&>>|&<<|!>|!<|&>|&<|&~|&&|\|\||=~|!~|!=|<=|>=|>>|<<|[=<>{}()+\-*/%^!~,|])
    )""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"\s*+")
_CLASSES = {"string": "STRING", "duration": "DURATION"}


class SyntaxQueryError(QueryError):
    """A query breaks the grammar. The message has line and column, as Tempo's has."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: ``string``, ``duration``, ``number``, ``attribute``, ``word``, ``symbol``, or ``end``.
        text: The token as it was written.
        position: Where the token begins: characters from the start of the query.
    """

    kind: str
    text: str
    position: int


class Tokens:
    """A cursor over the tokens of a query.

    Args:
        text: The query.
        keywords: The words that TraceQL knows. Any other one is an identifier.
    """

    def __init__(self, text: str, keywords: frozenset[str]) -> None:
        self._text = text
        self._keywords = keywords
        self._tokens = list(self._read())
        self._next = 0

    def peek(self) -> Token:
        """Return the next token, and stay before it."""
        return self._tokens[self._next]

    def advance(self) -> Token:
        """Return the next token, and go on. The end stays the next one for ever."""
        token = self._tokens[self._next]
        self._next += token.kind != "end"
        return token

    def is_next(self, *texts: str) -> bool:
        """Tell whether the next token is one of these symbols or words."""
        token = self.peek()
        return token.kind in ("symbol", "word") and token.text in texts

    def take(self, *texts: str) -> str:
        """Go past the next token if it is one of these symbols or words. Return the token's text, else nothing."""
        return self.advance().text if self.is_next(*texts) else ""

    def expect(self, text: str) -> None:
        """Go past a symbol or word.

        Raises:
            SyntaxQueryError: when another token comes next.
        """
        if not self.take(text):
            raise self.unexpected(expecting=text)

    def unexpected(self, *, expecting: str = "") -> SyntaxQueryError:
        """Return the error of a query in which the next token has no place."""
        token = self.peek()
        shown = {"end": "$end", "symbol": token.text, **_CLASSES}.get(token.kind, token.text)
        if token.kind == "number":
            shown = "INTEGER" if token.text.isdecimal() else "FLOAT"
        elif token.kind == "attribute":
            shown = token.text.partition(".")[0] + "."
        elif token.kind == "word" and token.text not in self._keywords:
            shown = "IDENTIFIER"
        what = f"syntax error: unexpected {shown[:_SHOWN_CHARACTERS]}"
        return self.error(token.position, f"{what}, expecting {expecting}" if expecting else what)

    def error(self, position: int, what: str) -> SyntaxQueryError:
        """Return an error with the line and column of a position."""
        line = self._text.count("\n", 0, position) + 1
        column = position - self._text.rfind("\n", 0, position)
        return SyntaxQueryError(f"parse error at line {line}, col {column}: {what}")

    def _read(self) -> Iterator[Token]:
        text = self._text
        position = _end_of_blanks(text, 0)
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None or token.lastgroup is None:
                raise self.error(position, f"syntax error: unexpected {text[position : position + 1]}")
            yield Token(token.lastgroup, token[0], position)
            position = _end_of_blanks(text, token.end())
        yield Token("end", "", len(text))


def _end_of_blanks(text: str, position: int) -> int:
    blanks = _BLANK.match(text, position)
    return position if blanks is None else blanks.end()
