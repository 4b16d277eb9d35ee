"""What has to be found in the trace of each path."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Spans = list[dict[str, Any]]
Chosen = Callable[[dict[str, Any]], bool]


def attribute(span: Mapping[str, Any], *names: str) -> str:
    """Return the first of these attributes that a span has, as text."""
    for each in span.get("attributes", ()):
        if each["key"] in names:
            return str(next(iter(each["value"].values())))
    return ""


def _text(part: str) -> Chosen:
    return lambda span: part in attribute(span, "db.statement", "db.query.text")


def _path(part: str) -> Chosen:
    return lambda span: part in attribute(span, "http.url", "url.full", "http.target", "url.path")


def _named(part: str) -> Chosen:
    return lambda span: part in span["name"]


def _is_root(span: dict[str, Any]) -> bool:
    return not span.get("parentSpanId")


def _is_connect(span: dict[str, Any]) -> bool:
    return span["name"] in ("connect", "pool wait")


EXPECTED: dict[str, dict[str, Chosen]] = {
    "/n-plus-one/queries": {"n-plus-one": _text("orders")},
    "/n-plus-one/calls": {"n-plus-one": _path("/items/")},
    "/n-plus-one/wrapped": {"n-plus-one": _named("load_line")},
    "/sequential-calls": {"sequential-calls": _path("/wait/")},
    "/slow-query": {"slow-query": _text("orders")},
    "/error/own": {"error-source": _is_root},
    "/error/callee": {"error-source": _named("score")},
    "/error/query": {"error-source": _text("INSERT INTO users")},
    "/error/refused": {"error-source": _path("/items/")},
    "/error/after-a-handled-one": {"error-source": _is_root},
    "/swallowed/callee": {"swallowed-error": _path("/broken")},
    "/swallowed/query": {"swallowed-error": _text("INSERT INTO users")},
    "/retry-storm/good": {"retry-storm": _path("/flaky/")},
    "/retry-storm/bad": {"retry-storm": _path("/flaky/"), "error-source": _path("/flaky/")},
    "/idle-gap": {"idle-gap": _is_root},
    "/bottleneck": {"bottleneck": _named("render")},
    "/long-trace": {"long-trace": _is_root},
    "/wide-trace": {"wide-trace": _is_root},
    "/pool-wait": {"pool-wait": _is_connect},
    "/hop/6": {"deep-trace": _path("/hop/")},
    "/killed": {"killed": _path("/die"), "error-source": _path("/die")},
}
"""Codes by path, each with the spans one of which has to be named. A path that is not here is healthy."""

ALLOWED: dict[str, frozenset[str]] = {
    "/slow-query": frozenset({"bottleneck"}),
    "/error/after-a-handled-one": frozenset({"swallowed-error"}),
    "/killed": frozenset({"broken-trace"}),
}
"""Codes that may be found or not."""

ANYWHERE = frozenset({"blocked-loop"})
"""Queries of this service block its event loop, wherever they are, and tracemw tells so."""

CAUSES: dict[str, tuple[str, ...]] = {
    "/retry-storm/bad": ("retry-storm", "error-source"),
    **{path: (*EXPECTED[path], "blocked-loop") for path in ("/slow-query", "/long-trace", "/wide-trace")},
}
"""Where another code than the first may come first."""
