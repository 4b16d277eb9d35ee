"""The keys that a user allows to leave: one list for run time and for tools that read source code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tracemw.config.environment import get
from tracemw.config.parsers import wrong

_ACCEPTED: Final = "keys such as payment.amount, and globs such as order.*, separated by commas and without spaces"
_KNOWN: Final = ("allow", "lint")
"""Names in `[tool.tracemw]`."""


def allowed_keys(given: Iterable[str]) -> frozenset[str]:
    """Return the keys that an argument, `TRACEMW_ALLOW` and `[tool.tracemw] allow` in `pyproject.toml` name together.

    Args:
        given: The argument. The file is the first one from the working directory upwards.

    Raises:
        ValueError: for an empty key, one with a space, a list of the wrong form, a file that is no TOML, or an unknown
            name in `[tool.tracemw]`. The error says where.
    """
    variable = get("TRACEMW_ALLOW") or ""
    named = [key.strip() for key in variable.split(",") if key.strip()]
    return frozenset({*_checked("allow", given), *_checked("TRACEMW_ALLOW", named), *_of_project()})


def _of_project() -> list[str]:
    """Return the keys that the project's file names; none without such a file."""
    path, text = _project()
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
    keys = ours.get("allow", [])
    where = f"[tool.tracemw] allow in {path}"
    if not isinstance(keys, list):
        raise wrong(where, keys, f"a list of {_ACCEPTED}")
    return _checked(where, keys)


def _project() -> tuple[Path, str]:
    """Return the path and the text of the first `pyproject.toml` from the working directory upwards.

    A file that this process may not read counts as none.
    """
    path = Path("pyproject.toml")
    try:
        folder = Path.cwd()
        for path in (each / path.name for each in (folder, *folder.parents)):
            if path.is_file():
                return path, path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} cannot be read: {error}; use TOML in UTF-8") from None
    except OSError:
        return path, ""
    return path, ""


def _names() -> str:
    return " and ".join(_KNOWN)


def _checked(where: str, keys: Iterable[object]) -> list[str]:
    checked: list[str] = []
    for key in keys:
        if not isinstance(key, str) or len(key.split()) != 1:
            raise wrong(where, key, _ACCEPTED)
        checked.append(key.strip())
    return checked
