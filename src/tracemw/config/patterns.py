"""Patterns of requests, by path or by method and path. Users write them to skip requests, and in rules and spikes."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Final

from tracemw.config.methods import known_methods

# A path may contain spaces. So a first word that cannot be a method belongs to the path.
_PATTERN: Final = re.compile(r"(?:(?P<method>\*|[A-Za-z][A-Za-z0-9_-]*) +)?(?P<path>[/*].*)")


class PathPatterns:
    """Paths and globs. In a glob, `*` crosses slashes. A path also matches with one trailing slash."""

    __slots__ = ("_globs", "_paths", "match")

    match: Callable[[str], bool]
    """Tells whether any of them matches a path."""

    def __init__(self, patterns: Iterable[str]) -> None:
        patterns = set(patterns)
        globs = [pattern for pattern in patterns if any(character in pattern for character in "*?[")]
        paths = patterns.difference(globs)
        self._paths = frozenset(paths | {f"{path}/" for path in paths if not path.endswith("/")})
        self._globs = re.compile("|".join(map(fnmatch.translate, globs)))
        # Every request is matched: without globs, by one call into C.
        self.match = self._match if globs else self._paths.__contains__

    def _match(self, path: str) -> bool:
        return path in self._paths or self._globs.match(path) is not None


class RequestPattern:
    """Requests of a method, or of any, whose path matches a glob.

    Args:
        text: `"POST /checkout/*"`, or `"/checkout/*"` and `"* /checkout/*"` for every method; see `PathPatterns`.

    Raises:
        ValueError: for a text that is no such pattern, and for a method that no recorded request has.
        TypeError: for anything but a string.
    """

    __slots__ = ("_method", "_paths")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a request pattern is a string such as 'POST /checkout/*', not {type(text).__name__}")
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise ValueError(
                f"{text!r} is not accepted; use a method and a path such as 'POST /checkout/*', "
                "or a path alone such as '/checkout/*'"
            )
        method, path = match.groups()
        self._method = None if method in (None, "*") else method.upper()
        if self._method is not None and self._method not in (known := known_methods()):
            raise ValueError(
                f"{text!r} is not accepted; use one of the methods {', '.join(sorted(known))}, or name {method} and "
                "all others in OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS, here and in the services"
            )
        self._paths = PathPatterns((path,))

    def matches(self, method: object, path: object) -> bool:
        """Tell whether the pattern matches a request. A root span without a path is no request, and never matches."""
        if not isinstance(path, str) or (self._method is not None and method != self._method):
            return False
        return self._paths.match(path)
