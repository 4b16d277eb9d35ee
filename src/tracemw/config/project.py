"""`[tool.tracemw]` of the project's `pyproject.toml`: one reading for run time and for tools that read source code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tracemw.config.parsers import wrong

KEYS: Final = "keys such as payment.amount, and globs such as order.*, separated by commas and without spaces"
"""What is accepted as the names of attributes that may leave."""

_FILE: Final = "pyproject.toml"
_KNOWN: Final = ("allow", "lint")
"""Names in `[tool.tracemw]`."""


class Project(NamedTuple):
    """What the file says."""

    path: Path | None
    """The file; None without one."""
    allow: list[str]
    """Keys of attributes whose values may leave."""
    lint: dict[str, Any]
    """`[tool.tracemw.lint]`, as it stands there."""


def read_project(start: Path | None = None) -> Project:
    """Read the first `pyproject.toml` from a file or directory upwards, by default the working directory.

    A file that this process may not read counts as none.

    Raises:
        ValueError: for a file that is no TOML, an unknown name in `[tool.tracemw]`, or a key that is not accepted. The
            error says where.
    """
    path, text = _found(start)
    if path is None:
        return Project(None, [], {})
    try:
        told: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} cannot be read: {error}; use TOML, with [tool.tracemw] for {_names()}") from None
    tool = told.get("tool", {})
    if not isinstance(tool, dict):
        raise wrong(f"tool in {path}", tool, "a table")
    ours = tool.get("tracemw", {})
    if not isinstance(ours, dict):
        raise wrong(f"[tool.tracemw] in {path}", ours, f"a table with {_names()}")
    for name in ours:
        if name not in _KNOWN:
            raise ValueError(f"[tool.tracemw] in {path} has {name!r}, which is not accepted; use {_names()}")
    keys, lint = ours.get("allow", []), ours.get("lint", {})
    where = f"[tool.tracemw] allow in {path}"
    if not isinstance(keys, list):
        raise wrong(where, keys, f"a list of {KEYS}")
    if not isinstance(lint, dict):
        raise wrong(f"[tool.tracemw] lint in {path}", lint, "a table")
    return Project(path, checked_keys(where, keys), lint)


def checked_keys(where: str, keys: Iterable[object]) -> list[str]:
    """Return keys of attributes.

    Raises:
        ValueError: for an empty key, and one with a space. The error says `where`.
    """
    checked: list[str] = []
    for key in keys:
        if not isinstance(key, str) or len(key.split()) != 1:
            raise wrong(where, key, KEYS)
        checked.append(key.strip())
    return checked


def _found(start: Path | None) -> tuple[Path | None, str]:
    path = Path(_FILE)
    try:
        place = Path.cwd() if start is None else start.resolve()
        for path in (each / _FILE for each in (place, *place.parents)):
            if path.is_file():
                return path, path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: {error}; use TOML in UTF-8") from None
    except OSError:
        return None, ""
    return None, ""


def _names() -> str:
    return " and ".join(_KNOWN)
