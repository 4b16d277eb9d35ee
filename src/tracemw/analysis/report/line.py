"""A line for people, before anybody knows where it is shown."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """A line for people."""

    text: str
    style: str = ""
    """How rich shows it, such as `bold red`."""
