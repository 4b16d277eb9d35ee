"""Files are found, read and checked."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from tracemw.lint.applications import Applications
from tracemw.lint.codes import Spot, Violation, problem
from tracemw.lint.lint_settings import LintSettings, is_silenced
from tracemw.lint.rules import RULES, AttributeRules, ClientRules, Rule, instrumented_by
from tracemw.lint.source import SourceModule
from tracemw.redaction.policy import RedactionPolicy

_SKIPPED: Final = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist", "venv", "_build"})
"""Directories whose code is not the project's own. So are those whose names begin with a dot."""


_NEWLINE: Final = re.compile(r"\r\n|\r|\n")
"""Where lines end for Python. For `str.splitlines`, they also end at a form feed and at others."""


class NoFilesError(ValueError):
    """There is nothing to lint."""


def lint(
    paths: Iterable[Path], settings: LintSettings, progress: Callable[[int], object] = lambda _: None
) -> list[Violation]:
    """Return what is wrong with the tracing of some files, by path and line.

    Args:
        paths: Files and directories.
        settings: What pyproject.toml says.
        progress: Called with the number of files that have been read.

    Raises:
        NoFilesError: if there are none.
    """
    files = [file for path in paths for file in _files(path) if settings.reads(file)]
    if not files:
        raise NoFilesError("there are no Python files; name files, or a directory that has some")
    sources: list[tuple[Path, SourceModule, list[str]]] = []
    found: list[Violation] = []
    for number, file in enumerate(dict.fromkeys(files), 1):
        try:
            data = file.read_bytes()
            if file.suffix == ".ipynb":
                raise ValueError("it is a notebook, and no Python file")
            sources.append((file, SourceModule.of(data), _NEWLINE.split(data.decode(errors="replace"))))
        except (OSError, SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 1
            why = getattr(error, "msg", None) or getattr(error, "strerror", None) or error
            found.append(problem(file, Spot(line, 0, "TMW001", str(why))))
        progress(number)
    allowed = settings.allow.union(*(_allowed_in(source) for _, source, _ in sources))
    policy = RedactionPolicy(allowed)
    attributes = AttributeRules(lambda key: policy.of(key).passes)
    instrumented = [
        (_root_of(file, settings.root), libraries)
        for file, source, _ in sources
        if settings.tells("TMW302", file) and (libraries := instrumented_by(source))
    ]
    applications = Applications()
    lines: dict[Path, list[str]] = {}
    for file, source, text in sources:
        lines[file] = text
        applications.add(file, source)
        libraries = frozenset[str]().union(
            *(more for root, more in instrumented if file.resolve().is_relative_to(root))
        )
        rules: tuple[Rule, ...] = (attributes, ClientRules(libraries), *RULES)
        found += (problem(file, spot) for rule in rules for spot in rule(source))
    found += applications.problems()
    return sorted(each for each in set(found) if _is_told(each, lines.get(each.path, []), settings))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        files = (Path(folder) / name for name in sorted(names) if name.endswith(".py"))
        yield from (file for file in files if file.is_file())  # else it is a link to nowhere, as editors make them


def _root_of(file: Path, project: Path) -> Path:
    """Return the directory that a file's outermost package of the project is in.

    All code of one service is beneath it. What lies above the project has no say.
    """
    place = file.resolve()
    within = [folder for folder in place.parents if folder.is_relative_to(project.resolve())]
    packages = [folder for folder in within if (folder / "__init__.py").is_file()]
    return packages[-1].parent if packages else place.parent


def _allowed_in(source: SourceModule) -> frozenset[str]:
    """Return the keys that a module's own `tracemw.init(allow=...)` names."""
    found: set[str] = set()
    for call in source.calls:
        if source.name(call.func) == "tracemw.init":
            for keyword in call.keywords:
                if keyword.arg in ("allow", "baggage"):
                    found |= {
                        node.value
                        for node in ast.walk(keyword.value)
                        if isinstance(node, ast.Constant) and isinstance(node.value, str)
                    }
    return frozenset(found)


def _is_told(found: Violation, lines: list[str], settings: LintSettings) -> bool:
    if not settings.tells(found.code, found.path):
        return False
    return not (found.line <= len(lines) and is_silenced(lines[found.line - 1], found.code))
