"""What pyproject.toml and comments say about the linter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Self

from tracemw.config import read_project
from tracemw.lint.codes import CODES

_NOQA: Final = re.compile(r"#\s*noqa(?P<codes>\s*:\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?(?!\w)", re.IGNORECASE)
_IGNORE: Final = re.compile(r"#\s*tracemw:\s*ignore\[(?P<codes>[^\]]*)\]")
_NO_SERVICES: Final = (
    *("tests/*", "*/tests/*", "test_*.py", "*/test_*.py", "*_test.py", "conftest.py", "*/conftest.py"),
    *("scripts/*", "*/scripts/*", "cli/*", "*/cli/*", "cli.py", "*/cli.py"),
)
_FOR_SERVICES: Final = frozenset({"TMW104", "TMW301", "TMW302", "TMW303"})
"""Codes that say nothing of tests, scripts and commands, whose clients and applications nobody traces on purpose."""


class SettingsError(ValueError):
    """A setting of the linter is not accepted."""


@dataclass(frozen=True, kw_only=True)
class LintSettings:
    """`[tool.tracemw]` of a pyproject.toml."""

    root: Path = field(default_factory=Path.cwd)
    """The directory that patterns of paths are relative to."""

    allow: frozenset[str] = frozenset()
    """Keys of attributes whose values may leave: the same list as at run time."""

    ignore: frozenset[str] = frozenset()
    """Codes that are not told."""

    exclude: tuple[str, ...] = ()
    """Patterns of paths that are not read."""

    per_path_ignores: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Codes that are not told of paths that match a pattern."""

    @classmethod
    def read(cls, start: Path) -> Self:
        """Return the settings of the nearest pyproject.toml, from a file or directory upwards.

        Raises:
            ValueError: for a setting that is not accepted. The error says what is.
        """
        project = read_project(start)
        if project.path is None:
            place = start.resolve()
            return cls(root=place if place.is_dir() else place.parent)
        file, lint = project.path, project.lint
        known = {"ignore", "exclude", "per-path-ignores"}
        if unknown := set(lint) - known:
            raise SettingsError(f"{file}: {min(unknown)!r} is not accepted; use some of {', '.join(sorted(known))}")
        per_path = lint.get("per-path-ignores", {})
        if not isinstance(per_path, dict):
            raise SettingsError(f'{file}: per-path-ignores takes a table, such as {{"jobs/*" = ["TMW303"]}}')
        return cls(
            root=file.parent,
            allow=frozenset(project.allow),
            ignore=codes_of(_strings(file, "ignore", lint.get("ignore", []))),
            exclude=tuple(_strings(file, "exclude", lint.get("exclude", []))),
            per_path_ignores={pattern: codes_of(_strings(file, pattern, codes)) for pattern, codes in per_path.items()},
        )

    def reads(self, path: Path) -> bool:
        """Return whether a file is to be read."""
        return not any(fnmatch(self._relative(path), pattern) for pattern in self.exclude)

    def tells(self, code: str, path: Path) -> bool:
        """Return whether a code is told of a file."""
        if code in self.ignore:
            return False
        relative = self._relative(path)
        if code in _FOR_SERVICES and any(fnmatch(relative, pattern) for pattern in _NO_SERVICES):
            return False
        return not any(code in codes and fnmatch(relative, pattern) for pattern, codes in self.per_path_ignores.items())

    def _relative(self, path: Path) -> str:
        full = path.resolve()
        return full.relative_to(self.root).as_posix() if full.is_relative_to(self.root) else full.as_posix()


def codes_of(names: list[str]) -> frozenset[str]:
    """Return codes.

    Raises:
        SettingsError: for one that there is not.
    """
    if unknown := set(names) - set(CODES):
        raise SettingsError(f"{min(unknown)!r} is not accepted; use some of {', '.join(CODES)}")
    return frozenset(names)


def is_silenced(line: str, code: str) -> bool:
    """Return whether a comment on a line says that a code is not told of it."""
    found = _NOQA.search(line)
    return is_ignored(line, code) or (found is not None and (found["codes"] is None or code in found["codes"].upper()))


def is_ignored(line: str, code: str) -> bool:
    """Return whether a comment such as `# tracemw: ignore[client]` says that a code is not told of a line."""
    found = _IGNORE.search(line)
    return found is not None and code in {each.strip() for each in found["codes"].split(",")}


def _strings(file: Path, name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise SettingsError(f"{file}: {name} is not accepted; use a list of strings")
    return value
