"""Stacks as the text and the attributes of an event. The application's own lines have a mark, and stay longest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from tracemw._otel.application import CodeLine
from tracemw._watch.stacks import Stack

_MOST_STACKS: Final = 4
"""Stacks of one request that are shown."""
_MOST_BENEATH: Final = 8
"""Lines of libraries that are shown of one stack, beside the innermost."""
_BETWEEN: Final = "at the same time:\n"
_PACKAGES: Final = f"{os.sep}site-packages{os.sep}"


def code_attributes(stacks: Sequence[Stack], longest: int) -> dict[str, str | int]:
    """Return what stacks tell: all of them as a text, and the innermost line of the application's.

    The names are those of OpenTelemetry's semantic conventions for code. If no line is the application's own, as where
    an application is installed as a package, the innermost line of all is told.

    Args:
        stacks: The stacks. The one that tells most comes last.
        longest: Bytes that the text may take, about.
    """
    shown = [stack for stack in stacks if stack.lines][-_MOST_STACKS:]
    if not shown:
        return {}
    told = shown[-1].lines[-1]
    for stack in reversed(shown):
        own = [line for line in stack.lines if line.is_application]
        if own:
            told = own[-1]
            break
    texts: list[str] = []
    for stack in reversed(shown):
        text = _text(stack.lines, longest)
        longest -= len(text) + len(_BETWEEN)
        texts.append(text)
    return {"code.stacktrace": _BETWEEN.join(reversed(texts)), **told.attributes()}


def _text(lines: list[CodeLine], longest: int) -> str:
    """Return the lines as a text, the outermost first. The innermost line is always there.

    Of libraries, only the last lines beneath the application's are shown: what calls an application is always the same.
    """
    own = [at for at, line in enumerate(lines) if line.is_application]
    last = len(lines) - 1
    beneath = range(max(own[-1] + 1 if own else 0, last - _MOST_BENEATH), last)
    texts = [_shown(line) for line in lines]
    kept: set[int] = set()
    for at in (last, *reversed(own), *reversed(beneath)):
        longest -= len(texts[at])
        if kept and longest < 0:
            break
        kept.add(at)
    parts: list[str] = []
    missing = 0
    for at, text in enumerate(texts):
        if at not in kept:
            missing += 1
            continue
        if missing:
            parts.append(f"  ... {missing} left out ...\n")
            missing = 0
        parts.append(text)
    return "".join(parts)


def _shown(line: CodeLine) -> str:
    path = line.path if line.is_application else line.path.rpartition(_PACKAGES)[2]
    return f'{">" if line.is_application else " "} File "{path}", line {line.number}, in {line.function}\n'
