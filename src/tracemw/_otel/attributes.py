"""Attributes of a span that are made only when somebody wants them: most spans are never sampled.

A span that is sampled needs its attributes only as bytes. Most of these bytes are those of the span before. So a door
gives its attributes in parts: a template stands for all that one value tells, such as the method, the host and the user
agent of a request. The encoder remembers the bytes of all those attributes by that value, and makes none of them again.
Whoever looks at the attributes has them made whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

AttributeValue = str | bool | int | float | Sequence[str]


class Template:
    """Makes attributes of one value.

    Args:
        make: Returns the attributes of a value, at least one. Equal values have equal attributes.
        keys: The keys that attributes of this template may have.
    """

    __slots__ = ("make",)

    def __init__(self, make: Callable[[Any], Mapping[str, AttributeValue]], keys: Collection[str]) -> None:
        self.make = make
        TEMPLATED.update(keys)


TEMPLATED: Final[set[str]] = set()
"""The keys that attributes of any template may have."""

Parts = dict[Any, Any]
"""Attributes by their keys, and values by the `Template`s that make attributes of them."""


def make_whole(parts: Parts) -> None:
    """Put the attributes in place of the templates that make them. Attributes under their keys win.

    The dictionary stays: another thread may be about to write to it, or does the same.
    """
    for template in [key for key in list(parts) if type(key) is Template]:
        value = parts.get(template)
        if value is not None:
            for key, each in template.make(value).items():
                parts.setdefault(key, each)
            parts.pop(template, None)


def whole(parts: Parts) -> dict[str, Any]:
    """Return the attributes in a new dictionary, with those that templates make. Attributes under their keys win."""
    made = parts.copy()
    make_whole(made)
    return made


class LazyAttributes:
    """A door gives this to our own tracers and spans in place of a dictionary; see `tracemw._otel.recorder`.

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

    def parts(self) -> Parts:
        """Return the attributes in parts, in a dictionary that nobody else writes to."""
        return {**self.made()}
