"""The rules of single files for flake8, which finds this class by its entry point."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracemw._version import __version__
from tracemw.lint.codes import problem
from tracemw.lint.lint_settings import LintSettings, is_ignored
from tracemw.lint.rules import RULES, AttributeRules, ClientRules, Rule, instrumented_by
from tracemw.lint.source import SourceModule


class Plugin:
    """What flake8 calls with each file. It cannot say which application is never traced: that takes several files."""

    name: Final = "tracemw"
    version: Final = __version__

    def __init__(self, tree: ast.Module, filename: str, lines: list[str]) -> None:
        self._tree = tree
        self._lines = lines
        self._path = Path(filename)

    def run(self) -> Iterator[tuple[int, int, str, type]]:
        """Give line, column, text and this class for each problem."""
        source = SourceModule.of_tree(self._tree)
        settings = LintSettings.read(self._path) if self._path.exists() else LintSettings()
        rules: tuple[Rule, ...] = (AttributeRules(), ClientRules(instrumented_by(source)), *RULES)
        for rule in rules:
            for spot in rule(source):
                # The other kind of comment is one that flake8 looks at itself.
                if settings.tells(spot.code, self._path) and not is_ignored(self._lines[spot.line - 1], spot.code):
                    told = problem(self._path, spot)
                    yield spot.line, spot.column, f"{told.code} {told.sentence}; {told.remedy}", type(self)
