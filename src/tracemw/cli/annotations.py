"""What a pipeline of GitHub shows beside the code: workflow commands, and the summary of the job.

Source: docs.github.com/actions/reference/workflow-commands-for-github-actions.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tracemw._process.log import escaped

_MOST: Final = 10
"""GitHub shows no more errors of one step."""

_MOST_FILES: Final = 50_000
_LINE: Final = re.compile(r"(?P<file>[^:,]+):(?P<number>\d+)(?:, (?P<function>\w+))?")
_NOT_OURS: Final = frozenset({"node_modules", "site-packages", "venv", "__pycache__"})


class Annotation(NamedTuple):
    """Something that is wrong, for whoever looks at the code."""

    title: str
    message: str
    line: str
    """Such as `app.py:57, orders_of`; empty if it is not known."""


def annotate(annotations: Sequence[Annotation], *, verdict: str, asked: bool, as_json: bool) -> None:
    """Tell GitHub what is wrong, in its Actions or when the user asks for it.

    Args:
        annotations: What is wrong.
        verdict: The sentence for the summary of the job.
        asked: Whether the user asks for annotations, wherever this is.
        as_json: Whether the output has JSON. Then annotations go to the standard error, where GitHub reads them, too.
    """
    if not asked and os.environ.get("GITHUB_ACTIONS") != "true":
        return
    stream = sys.stderr if as_json else sys.stdout
    for each in annotations[:_MOST]:
        where = f"{_place(each.line)}title={_property(each.title)}"
        print(f"::error {where}::{_data(each.message)}", file=stream, flush=True)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        wrong = (f"- {_plain(each.title)}: {_plain(each.message)}" for each in annotations)
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write("\n".join([f"**{_plain(verdict)}**", "", *wrong, "", ""]))


def _place(line: str) -> str:
    found = _LINE.match(line)
    if found is None:
        return ""
    return f"file={_property(_file_of(found['file'], found['function']))},line={found['number']},"


def _file_of(name: str, function: str | None) -> str:
    """Return the path of a file in the repository; the name alone unless one file only can be meant."""
    root = os.environ.get("GITHUB_WORKSPACE") or "."
    candidates: list[Path] = []
    seen = 0
    for place, folders, files in os.walk(root):
        folders[:] = [folder for folder in folders if not folder.startswith(".") and folder not in _NOT_OURS]
        seen += len(files)
        if seen > _MOST_FILES:
            return name
        if name in files:
            candidates.append(Path(place, name))
    if len(candidates) > 1 and function:
        candidates = [each for each in candidates if f"def {function}(" in each.read_text(errors="replace")]
    return candidates[0].relative_to(root).as_posix() if len(candidates) == 1 else name


def _plain(text: str) -> str:
    return escaped(text).replace("<", "&lt;")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
