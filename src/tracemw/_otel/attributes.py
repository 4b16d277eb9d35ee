"""Attributes of a span that are made only when somebody wants them: most spans are never sampled."""

from __future__ import annotations

from collections.abc import Sequence

AttributeValue = str | bool | int | float | Sequence[str]


class LazyAttributes:
    """A door gives this to our own tracers in place of a dictionary; see `tracemw._otel.recorder`.

    The recorder takes the made dictionary without a check or a copy. So all keys and values must be of types that the
    specification allows, and nobody else may write to the dictionary.
    """

    _made: dict[str, AttributeValue] | None = None

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        raise NotImplementedError

    def defer(self) -> None:
        """Copy what the attributes are made of, where it may change before they are made."""

    def made(self) -> dict[str, AttributeValue]:
        """Return the attributes. The first call makes them."""
        if self._made is None:
            self._made = self.make()
        return self._made
