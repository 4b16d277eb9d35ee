"""``tracemw lint``: what tracing goes wrong with, seen in the source code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from tracemw.cli.command import FINDINGS, FINE, Command
from tracemw.cli.output import fail, progress, say

_FORMATS: Final = ("text", "json", "github", "sarif")
_EVERY: Final = 50


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and directories")
    parser.add_argument("--format", choices=_FORMATS, default="text", help="how to print (default: %(default)s)")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    parser.add_argument("--ignore", default="", metavar="CODES", help="codes that are not told, such as TMW302,TMW303")


def _run(options: argparse.Namespace) -> int:
    from tracemw.lint.lint_settings import LintSettings, codes_of
    from tracemw.lint.linting import lint
    from tracemw.lint.reports import FORMATS

    for path in options.paths:
        if not path.exists():
            return fail(f"tracemw lint: {path} does not exist; name files and directories that do")
    try:
        settings = LintSettings.read(options.paths[0])
        ignored = codes_of([code.strip() for code in options.ignore.split(",") if code.strip()])
        found = lint(options.paths, settings, _tell)
    except (OSError, ValueError) as problem:
        return fail(f"tracemw lint: {problem}")
    finally:
        progress("")
    found = [each for each in found if each.code not in ignored]
    if found or options.format in ("json", "sarif"):
        for line in FORMATS[options.format](found).splitlines():
            say(line)
    return FINDINGS if found else FINE


def _tell(files: int) -> None:
    if files % _EVERY == 0:
        progress(f"{files} files")


LINT: Final = Command(
    name="lint",
    summary="say what tracing goes wrong with, from the source code",
    description="Read source code, and say where traces break, leak or mislead. Nothing is imported or run.",
    example="""\
example:
  tracemw lint src
  tracemw lint src --format github          annotates lines of a pull request
  tracemw lint src --format sarif > tracemw.sarif

A comment `# noqa: TMW302` silences a line. [tool.tracemw.lint] in pyproject.toml takes ignore, exclude and
per-path-ignores, and [tool.tracemw] allow is the list of keys that init(allow=...) takes, too.
""",
    add_options=_add_options,
    run=_run,
)
