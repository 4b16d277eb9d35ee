"""The request methods that are recorded by name. All others are recorded as `_OTHER`."""

from __future__ import annotations

from typing import Final

from tracemw.config.environment import get

KNOWN_METHODS: Final = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
"""The methods of RFC 9110 and RFC 5789, and QUERY; case-sensitive. `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` names
others in their place, separated by commas. All other methods are recorded as `_OTHER`."""


def known_methods() -> frozenset[str]:
    """Return the methods that `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` names, or `KNOWN_METHODS`."""
    names = get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") or ""
    return frozenset(name.strip() for name in names.split(",") if name.strip()) or KNOWN_METHODS
