"""The sides of a comparison as users type them: files, versions, times, TraceQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracemw.analysis.findings.finding import quoted
from tracemw.analysis.gathering.how_long import instant
from tracemw.analysis.gathering.searching import narrowed
from tracemw.analysis.load.files import files_in

_VERSION: Final = re.compile(r"(?:service\.)?version=(.+)")
_BARE_VERSION: Final = re.compile(r"v?\d+(?:\.\d+)+(?:[-+.]?[0-9A-Za-z]+)*")
_LONGEST: Final = 7 * 24 * 3600
"""Seconds that one search of Tempo covers by default."""

_ACCEPTED: Final = (
    "use files, a directory, a version such as 1.1 or service.version=9f3e1c, times such as 2h..1h or "
    "2026-05-01T10:00..2026-05-01T11:00, or TraceQL such as '{ trace:duration > 1s }'"
)


class SideError(ValueError):
    """A side is not accepted."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Traces of files."""

    name: str
    files: tuple[Path, ...]

    def is_same(self, other: Files | ServerSearch) -> bool:
        """Return whether the other side has the same files."""
        return isinstance(other, Files) and {each.resolve() for each in self.files} == {
            each.resolve() for each in other.files
        }


@dataclass(frozen=True, kw_only=True)
class ServerSearch:
    """Traces that a server has."""

    name: str
    query: str
    """TraceQL."""
    start: int
    """Seconds since the epoch."""
    end: int

    def is_same(self, other: Files | ServerSearch) -> bool:
        """Return whether the other side asks for the same."""
        return isinstance(other, ServerSearch) and (self.query, self.start, self.end) == (
            other.query,
            other.start,
            other.end,
        )


def parse_side(
    words: Sequence[str], now: float, *, service: str | None, route: str | None, since: float
) -> Files | ServerSearch:
    """Return the side that words name. Words that are no files narrow each other.

    Args:
        words: What names the side.
        now: Seconds since the epoch.
        service: Narrows a search to a service.
        route: Narrows a search to a route, with its method or without.
        since: How many seconds a search without times goes back.

    Raises:
        SideError: for anything that is not accepted.
    """
    name = " ".join(words)
    paths = [Path(word) for word in words if Path(word).exists()]
    if paths:
        if len(paths) < len(words):
            missing = next(word for word in words if not Path(word).exists())
            raise SideError(f"{missing} is not there, and files cannot be narrowed; use files only, or none")
        files = tuple(dict.fromkeys(file for path in paths for file in files_in(path)))
        if not files:
            raise SideError(f"{name} has no files; name a directory with traces in it")
        return Files(name=name, files=files)
    query: str | None = None
    start, end = now - since, now + 1
    for word in words:
        version = _VERSION.fullmatch(word)
        if "{" in word:
            query = word if query is None else f"{word} && {query}"
        elif version is None and ".." in word:
            start, end = _window(word, now)
        elif version is not None or _BARE_VERSION.fullmatch(word):
            query = narrowed(query, f"resource.service.version = {quoted(version[1] if version else word)}")
        else:
            raise SideError(f"{word!r} is no file that is there; {_ACCEPTED}")
    if route is not None:
        query = narrowed(query, f"span.http.route = {quoted(route.rpartition(' ')[2])}")
    if service is not None:
        query = narrowed(query, f"resource.service.name = {quoted(service)}")
    return ServerSearch(name=name, query=query or "{ }", start=int(start), end=int(end))


def _window(text: str, now: float) -> tuple[float, float]:
    begin, _, end = text.partition("..")
    start, until = _instant(begin, text, now), _instant(end or "now", text, now)
    if not start < until:
        raise SideError(f"{text!r} ends before it begins; use the earlier time first, such as 2h..1h")
    if until - start > _LONGEST:
        raise SideError(f"{text!r} is longer than 7 days; use a shorter time")
    if start > now:
        raise SideError(f"{text!r} is in the future; use times that have passed")
    return start, until


def _instant(text: str, window: str, now: float) -> float:
    try:
        return instant(text, now)
    except ValueError:
        raise SideError(f"{window!r} is neither a file that is there nor a time; {_ACCEPTED}") from None
