"""Attributes of a span that are computed when somebody looks at them: most spans are never sampled."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView

AttributeValue = str | bool | int | float | Sequence[str]


class LazyAttributes:
    """A mapping of attributes whose `make` is called once at most, by whoever reads first.

    To samplers, and to any provider, it is a `Mapping`. Our own recorder takes the dictionary as it is: its keys and
    values are of types that the specification allows, and nobody else writes to it.
    """

    __slots__ = ("_made",)

    def __init__(self) -> None:
        self._made: dict[str, AttributeValue] | None = None

    def make(self) -> dict[str, AttributeValue]:
        """Return the attributes, in a new dictionary."""
        raise NotImplementedError

    def made(self) -> dict[str, AttributeValue]:
        """Return the attributes, made now unless they have been already."""
        if self._made is None:
            self._made = self.make()
        return self._made

    def __getitem__(self, key: str) -> AttributeValue:
        return self.made()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.made())

    def __len__(self) -> int:
        return len(self.made())

    def __contains__(self, key: object) -> bool:
        return key in self.made()

    def get(self, key: str, default: AttributeValue | None = None) -> AttributeValue | None:
        """Return the value of `key`, or `default`."""
        return self.made().get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the keys."""
        return self.made().keys()

    def values(self) -> ValuesView[AttributeValue]:
        """Return the values."""
        return self.made().values()

    def items(self) -> ItemsView[str, AttributeValue]:
        """Return the pairs of key and value."""
        return self.made().items()


# Registered and not inherited: the check for a subclass of an abstract class costs more than the attributes do.
Mapping.register(LazyAttributes)
