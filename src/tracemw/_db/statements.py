"""A statement as spans tell it: its text without literals, and its summary. What comes again is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tracemw._db.sanitizing import sanitized
from tracemw._db.summarizing import is_trivial, summary_of
from tracemw._db.systems import Grammar

_MOST_KEPT: Final = 512
_LONGEST_KEPT: Final = 16_384
"""Statements that are remembered, and the characters that such a statement may have."""


class Parameterised(str):
    """The text of a statement that has no literals. It may leave the process as it is."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as spans tell it."""

    text: str
    """The text without literals and comments (`db.query.text`)."""
    summary: str
    """Operations and tables (`db.query.summary`), the name of the span; empty when the text has no words."""
    operation: str | None
    """The operation, if there is but one (`db.operation.name`)."""
    table: str | None
    """The table, if there is but one (`db.collection.name`)."""
    parameterised: Parameterised
    """The text once more, marked."""
    is_trivial: bool
    """Whether the statement only steers a transaction, or only asks whether anybody is there."""

    @classmethod
    def of(cls, text: str) -> Statement:
        """Return the statement of a text that is sanitized already."""
        summary = summary_of(text)
        return cls(text, summary.text, summary.operation, summary.table, Parameterised(text), is_trivial(text))

    @classmethod
    def read(cls, text: str, grammar: Grammar) -> Statement:
        """Read the text of a statement."""
        return cls.of(sanitized(text, grammar))


class Statements(dict[str, Statement]):
    """The texts of one system's statements -> the statements. When there are too many, all are forgotten.

    Texts with literals come by the thousand, and each but once. Without the literals they are few.
    """

    def __init__(self, grammar: Grammar) -> None:
        super().__init__()
        self._grammar = grammar
        self._sanitized: dict[str, Statement] = {}

    def __missing__(self, text: str) -> Statement:
        without_literals = sanitized(text, self._grammar)
        statement = self._sanitized.get(without_literals)
        if statement is None:
            statement = Statement.of(without_literals)
            _keep(self._sanitized, without_literals, statement)
        if len(text) <= _LONGEST_KEPT:
            _keep(self, text, statement)
        return statement


def _keep(statements: dict[str, Statement], text: str, statement: Statement) -> None:
    if len(statements) >= _MOST_KEPT:
        statements.clear()
    statements[text] = statement
