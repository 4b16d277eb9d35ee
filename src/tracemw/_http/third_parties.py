"""Third parties: calls to these hosts are traced, but carry neither trace context nor baggage."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from tracemw._http.semconv import DEFAULT_PORTS, origin_of

_PATTERN: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[\w*.\-]+))(?::(?P<port>[0-9]{1,5}))?")


class ThirdParties:
    """Tells from a call's URL whether the call goes to a third party.

    Args:
        patterns: Hosts such as `"api.stripe.com"`, in upper or lower case. `*` stands for any part of a name
            (`"*.openai.com"`). A host with a port (`"api.stripe.com:8443"`) is that port only. An IPv6 address has
            brackets.

    Raises:
        TypeError: for one string in place of several, and for a pattern that is no string.
        ValueError: for a pattern that is no host, such as a URL.
    """

    __slots__ = ("_known", "_patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        if isinstance(patterns, str):
            raise TypeError(f"third_parties takes several hosts, such as ({patterns!r},), not one string")
        if not isinstance(patterns, Iterable):
            raise TypeError(f"third_parties takes hosts such as ('api.stripe.com',), not {type(patterns).__name__}")
        self._patterns = [_compiled(pattern) for pattern in patterns]
        self._known = lru_cache(maxsize=256)(self._matches)  # a client calls few hosts, and each of them many times

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def called_by(self, url: str) -> bool:
        """Tell whether a call of this URL goes to a third party."""
        return self._known(origin_of(url))

    def _matches(self, origin: str) -> bool:
        parts = urlsplit(origin)
        host = _normal(parts.hostname or "")
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        return any(match(host) and of_port in (None, port) for match, of_port in self._patterns)


def _compiled(pattern: str) -> tuple[Callable[[str], object], int | None]:
    if not isinstance(pattern, str):
        raise TypeError(f"third_parties takes hosts such as 'api.stripe.com', not {type(pattern).__name__}")
    match = _PATTERN.fullmatch(pattern)
    port = int(match["port"]) if match is not None and match["port"] else None
    if match is None or (port is not None and not 0 < port <= 65535):
        raise ValueError(
            f"third_parties={pattern!r} is not accepted; use a host such as 'api.stripe.com', '*.openai.com' or, for "
            "one port, 'api.stripe.com:8443', without a scheme or a path"
        )
    return re.compile(fnmatch.translate(_normal(match["v6"] or match["name"]))).match, port


def _normal(host: str) -> str:
    """Return a host in the form that is compared: lower case, IDNA, without the final dot of the root."""
    host = host.lower().removesuffix(".")
    if host.isascii():
        return host
    try:
        return ".".join(label if label.isascii() else label.encode("idna").decode() for label in host.split("."))
    except UnicodeError:
        return host
