"""Conditions in SQL, with their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition on rows, by default true for every row. Columns are named with their table."""

    sql: str = "1"
    parameters: tuple[str | int | float | bytes, ...] = ()

    @classmethod
    def all_of(cls, conditions: Iterable[SqlCondition]) -> SqlCondition:
        """Return the condition that every one of these holds."""
        return cls._joined(" AND ", list(conditions))

    @classmethod
    def any_of(cls, conditions: Iterable[SqlCondition]) -> SqlCondition:
        """Return the condition that at least one of these holds."""
        return cls._joined(" OR ", list(conditions))

    @classmethod
    def _joined(cls, word: str, conditions: list[SqlCondition]) -> SqlCondition:
        if not conditions:
            return cls()
        sql = word.join(f"({condition.sql})" for condition in conditions)
        return cls(sql, tuple(parameter for condition in conditions for parameter in condition.parameters))


def marks(values: Sized) -> str:
    """Return a question mark for each value, separated by commas."""
    return ",".join("?" * len(values))
