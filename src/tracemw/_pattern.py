"""Requests named by method and path: what sampling rules and spikes apply to."""

from __future__ import annotations

import fnmatch
import re
from typing import Final

# A path may contain spaces, so that a first word that cannot be a method belongs to it.
_PATTERN: Final = re.compile(r"(?:(?P<method>\*|[A-Za-z][A-Za-z0-9_-]*) +)?(?P<path>[/*].*)")


class RequestPattern:
    """Requests of a method, or of any, whose path matches a glob.

    Args:
        text: `"POST /checkout/*"`, or `"/checkout/*"` and `"* /checkout/*"` for every method. In globs, `*` crosses
            slashes; a path without any also matches with one trailing slash.

    Raises:
        ValueError: for a text that is no such pattern.
        TypeError: for anything but a string.
    """

    __slots__ = ("_matches_path", "_method", "_paths")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a request pattern is a string such as 'POST /checkout/*', not {type(text).__name__}")
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is not accepted: a method and a path such as 'POST /checkout/*', "
                "or a path alone such as '/checkout/*'"
            )
        method, path = match.groups()
        self._method = None if method in (None, "*") else method.upper()
        self._paths = frozenset((path, f"{path}/"))
        is_glob = any(character in path for character in "*?[")
        self._matches_path = re.compile(fnmatch.translate(path)).match if is_glob else None

    def matches(self, method: object, path: object) -> bool:
        """Tell whether a request is meant; one without a path, such as a root that is no request, never is."""
        if not isinstance(path, str) or (self._method is not None and method != self._method):
            return False
        return path in self._paths if self._matches_path is None else self._matches_path(path) is not None
