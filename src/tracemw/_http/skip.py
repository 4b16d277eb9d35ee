"""Which requests are not traced: health checks, metrics scrapes, and those that the user names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tracemw._http.facts import RequestFacts
from tracemw._http.request import ServerRequest
from tracemw._otel.guard import call_hook
from tracemw.config.patterns import PathPatterns

DEFAULT_PATHS: Final = frozenset(
    {
        "/favicon.ico",
        "/health",
        "/healthz",
        "/live",
        "/livez",
        "/metrics",
        "/ping",
        "/ready",
        "/readyz",
    }
)
"""The paths that probes and scrapers ask for, skipped unless `skip=None`."""


Predicate = Callable[[RequestFacts], bool]
Skip = str | Predicate | Iterable[str | Predicate] | None


class SkipRule:
    """Decides whether a request is skipped.

    Args:
        skip: Paths (`"/internal/status"`), globs (`"/static/*"`, where `*` crosses slashes), predicates on
            `RequestFacts`, or several of them, in addition to `DEFAULT_PATHS`; None skips nothing at all. A path
            matches with and without the application's mount point.

    Raises:
        ValueError: for a path or glob that does not start with `/` or `*`.
        TypeError: for anything that is neither a string nor callable.
    """

    __slots__ = ("_matches_path", "_predicates")

    def __init__(self, skip: Skip = ()) -> None:
        paths: list[str] = []
        predicates: list[Predicate] = []
        rules = () if skip is None else skip if isinstance(skip, Iterable) and not isinstance(skip, str) else (skip,)
        for rule in rules:
            if isinstance(rule, str):
                if not rule.startswith(("/", "*")):
                    raise ValueError(f"skip={rule!r} is not accepted; use a path or glob that starts with '/' or '*'")
                paths.append(rule)
            elif callable(rule):
                predicates.append(rule)
            else:
                raise TypeError(
                    f"skip takes paths, globs and predicates on the request's facts, not {type(rule).__name__}"
                )
        self._matches_path = PathPatterns(paths if skip is None else (*DEFAULT_PATHS, *paths)).match
        self._predicates = tuple(predicates)

    def matches(self, request: ServerRequest) -> bool:
        """Tell whether a request is skipped. A predicate that raises does not skip it."""
        matches_path = self._matches_path
        if matches_path(request.path):
            return True
        if request.mounts and any(map(matches_path, _other_paths(request.path, request.mounts))):
            return True
        return self._is_picked(request.facts()) if self._predicates else False

    def _is_picked(self, facts: RequestFacts) -> bool:
        return any(call_hook("skip", predicate, facts) for predicate in self._predicates)


def _other_paths(path: str, mounts: Sequence[str]) -> list[str]:
    """Return the request's path with and without its mounts, as the application or a proxy may see it."""
    others = []
    for mount in mounts:
        prefix = mount.rstrip("/")
        rest = path.removeprefix(prefix)
        is_beneath = len(rest) < len(path) and (not rest or rest.startswith("/"))
        others.append((rest or "/") if is_beneath else prefix + path)
    return others
