"""Conditions in SQL, with their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass

from tracemw.viewer.storing.vocabulary import Needs


@dataclass(frozen=True, slots=True)
class SqlCondition:
    """A condition on rows, by default true for every row. Columns are named with their table.

    Attributes:
        needs: The words that spans must have for the condition to hold. None if any span may do.
    """

    sql: str = "1"
    parameters: tuple[str | int | float | bytes, ...] = ()
    needs: Needs | None = None

    def needing(self, word: int) -> SqlCondition:
        """Return the condition on spans of which each needs a word, too."""
        needs = Needs((word,) if self.needs is None else (self.needs, word), all=True)
        return SqlCondition(self.sql, self.parameters, needs)

    @classmethod
    def all_of(cls, conditions: Iterable[SqlCondition]) -> SqlCondition:
        """Return the condition that every one of these holds."""
        joined = list(conditions)
        needs = tuple(each.needs for each in joined if each.needs is not None)
        return cls._joined(" AND ", joined, Needs(needs, all=True) if needs else None)

    @classmethod
    def any_of(cls, conditions: Iterable[SqlCondition]) -> SqlCondition:
        """Return the condition that at least one of these holds."""
        joined = list(conditions)
        needs = tuple(each.needs for each in joined if each.needs is not None)
        return cls._joined(" OR ", joined, Needs(needs, all=False) if len(needs) == len(joined) else None)

    @classmethod
    def _joined(cls, word: str, conditions: list[SqlCondition], needs: Needs | None) -> SqlCondition:
        if not conditions:
            return cls()
        sql = word.join(f"({condition.sql})" for condition in conditions)
        parameters = tuple(parameter for condition in conditions for parameter in condition.parameters)
        return cls(sql, parameters, needs)


def marks(values: Sized) -> str:
    """Return a question mark for each value, separated by commas."""
    return ",".join("?" * len(values))
