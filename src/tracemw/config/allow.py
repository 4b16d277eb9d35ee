"""The keys that a user allows to leave: one list for run time and for tools that read source code."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tracemw.config.environment import get
from tracemw.config.parsers import wrong

_ACCEPTED: Final = "keys such as payment.amount, and globs such as order.*"
_PROJECT: Final = Path("pyproject.toml")


def allowed_keys(given: Iterable[str]) -> frozenset[str]:
    """Return the keys that an argument, `TRACEMW_ALLOW` and `[tool.tracemw] allow` in `pyproject.toml` name together.

    Args:
        given: The argument. The file is the one of the working directory.

    Raises:
        ValueError: for an empty key, or a list of the wrong form. The error says where.
    """
    variable = get("TRACEMW_ALLOW") or ""
    named = [key.strip() for key in variable.split(",") if key.strip()]
    return frozenset({*_checked("allow", given), *named, *_of_project(_PROJECT)})


def _of_project(path: Path) -> list[str]:
    """Return the keys that a project's file names; none without such a file."""
    try:
        told: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):  # it is not for us to say what is wrong with it
        return []
    tool = told.get("tool")
    ours = tool.get("tracemw") if isinstance(tool, dict) else None
    keys = ours.get("allow", []) if isinstance(ours, dict) else []
    where = f"[tool.tracemw] allow in {path.absolute()}"
    if not isinstance(keys, list):
        raise wrong(where, keys, f"a list of {_ACCEPTED}")
    return _checked(where, keys)


def _checked(where: str, keys: Iterable[object]) -> list[str]:
    checked: list[str] = []
    for key in keys:
        if not isinstance(key, str) or not key.strip():
            raise wrong(where, key, _ACCEPTED)
        checked.append(key.strip())
    return checked
