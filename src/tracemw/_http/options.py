"""What the options of all doors have in common: a door refuses what is no option, by the door's own name."""

from __future__ import annotations

from collections.abc import Iterable


def refuse_unknown(door: str, given: Iterable[str], options: type) -> None:
    """Refuse names that are no options of a door.

    Args:
        door: The class or function that the user has called.
        given: The names of the options that the user has given.
        options: The `TypedDict` of the options that the door takes.

    Raises:
        TypeError: for the first such name. The error names all options there are.
    """
    for name in given:
        if name not in options.__annotations__:
            raise TypeError(f"{door} has no option {name!r}; use one of {', '.join(options.__annotations__)}")
