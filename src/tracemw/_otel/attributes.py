"""Attributes of a span that are computed when somebody wants them: most spans are never sampled."""

from __future__ import annotations

from collections.abc import Sequence

AttributeValue = str | bool | int | float | Sequence[str]


class LazyAttributes:
    """What a door gives our recorder's tracers in place of a dictionary; see `tracemw._otel.recorder`.

    The recorder takes the dictionary as it is: its keys and values are of types that the specification allows, and
    nobody else writes to it.
    """

    _made: dict[str, AttributeValue] | None = None

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        raise NotImplementedError

    def made(self) -> dict[str, AttributeValue]:
        """Return the attributes, made now unless they have been already."""
        if self._made is None:
            self._made = self.make()
        return self._made
