"""The keys that a user allows to leave: one list for run time and for tools that read source code."""

from __future__ import annotations

from collections.abc import Iterable

from tracemw.config.environment import get
from tracemw.config.project import checked_keys, read_project


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
    told = read_project().allow
    return frozenset({*checked_keys("allow", given), *checked_keys("TRACEMW_ALLOW", named), *told})
