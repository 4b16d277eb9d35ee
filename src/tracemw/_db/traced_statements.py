"""A statement with all that its spans have in common. The statement stands for those attributes: see `Template`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final

from tracemw._db.statements import Statement, Statements
from tracemw._db.systems import Grammar, grammar_of
from tracemw._otel.attributes import AttributeValue, LazyAttributes, Parts, Template

_MOST_KEPT: Final = 512
"""Texts, and statements, that are remembered."""


class TracedStatement(LazyAttributes):
    """A statement of one database, with the attributes that its spans start with.

    Args:
        statement: The statement.
        shared: The attributes of all calls to the database, `db.system.name` among them.
    """

    def __init__(self, statement: Statement, shared: Mapping[str, str | int]) -> None:
        self.is_trivial = statement.is_trivial
        self.name = statement.summary or str(shared["db.system.name"])
        """The span's name."""
        attributes: dict[str, str | int] = {**shared, "db.query.text": statement.parameterised}
        if statement.summary:
            attributes["db.query.summary"] = statement.summary
        if statement.operation is not None:
            attributes["db.operation.name"] = statement.operation
        if statement.table is not None:
            attributes["db.collection.name"] = statement.table
        self.attributes = attributes
        """The attributes that all spans of the statement start with. Nobody may change them."""
        self.shape = self.name, statement.text
        """What its spans have in common; see `tracemw._db.conforming.shape_of`."""
        self._batched: TracedStatement | None = None

    def batched(self) -> TracedStatement:
        """Return the same for a batch: by the conventions, its names begin with `BATCH`."""
        if self._batched is None:
            batched = copy.copy(self)
            batched.name = f"BATCH {self.name}"
            batched.attributes = {
                key: f"BATCH {value}" if key in ("db.query.summary", "db.operation.name") else value
                for key, value in self.attributes.items()
            }
            batched.shape = batched.name, self.shape[1]
            self._batched = batched
        return self._batched

    def plain(self) -> dict[str, AttributeValue]:
        """Return the attributes for a recorder of others, in a new dictionary."""
        return {**self.attributes, "db.query.text": self.shape[1]}

    # Many spans share this object, so each gets a dictionary of its own.

    def made(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        return {**self.attributes}

    def parts(self) -> Parts:
        """Return the statement, in the place of its attributes."""
        return {STATEMENT: self}


def _attributes_of(statement: TracedStatement) -> Mapping[str, AttributeValue]:
    return statement.attributes


STATEMENT: Final = Template(
    _attributes_of,
    (
        *("db.system.name", "db.namespace", "server.address", "server.port"),
        *("db.query.text", "db.query.summary", "db.operation.name", "db.collection.name"),
    ),
)
"""The template that makes attributes of a `TracedStatement`."""


class TracedStatements(dict[str, TracedStatement]):
    """The texts of a database's statements -> the statements. When there are too many, all are forgotten.

    Texts that differ in literals only lead to one statement.

    Args:
        system: `db.system.name`.
        shared: The attributes of all calls to the database.
    """

    def __init__(self, system: str, shared: Mapping[str, str | int]) -> None:
        super().__init__()
        self._shared = shared
        self._statements = Statements(grammar_of(system) or Grammar())
        self._of_sanitized: dict[str, TracedStatement] = {}

    def __missing__(self, text: str) -> TracedStatement:
        if len(self) >= _MOST_KEPT:
            self.clear()
        if len(self._of_sanitized) >= _MOST_KEPT:
            self._of_sanitized.clear()
        statement = self._statements[text]
        traced = self._of_sanitized.get(statement.text)
        if traced is None:
            traced = self._of_sanitized.setdefault(statement.text, TracedStatement(statement, self._shared))
        return self.setdefault(text, traced)
