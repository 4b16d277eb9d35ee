"""From the facts of a request to the span's name, attributes and status: pure functions.

The rules are those of the OpenTelemetry semantic conventions v1.44 for HTTP spans.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from tracemw._http.facts import Address, Encoded, Headers, RawFacts, RequestFacts, decoded_header, decoded_query
from tracemw._otel.attributes import AttributeValue, Parts, Template
from tracemw.redaction.in_use import in_use
from tracemw.redaction.places import MASK
from tracemw.redaction.urls import redact_path, redact_query, redact_url

UNKNOWN_METHOD: Final = "HTTP"
"""The word for an unknown method in a span's name."""

INCOMPLETE_RESPONSE: Final = "incomplete_response"
"""`error.type` when an application returns normally, and has not sent a complete response."""

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:/?#@\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_LONGEST_HOST: Final = 300
"""Characters: a name has at most 253, and a port with its colon 6."""
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

Attributes = dict[str, AttributeValue]


def method_attributes(method: str, known: frozenset[str]) -> Attributes:
    """Return `http.request.method`, and the original method when it is not a known one."""
    if method in known:
        return {"http.request.method": method}
    return {"http.request.method": "_OTHER", "http.request.method_original": method}


def span_name(method: str, target: str | None, known: frozenset[str]) -> str:
    """Return `{method} {target}`. The target is a route or a URL template, never a concrete path."""
    shown = method if method in known else UNKNOWN_METHOD
    return f"{shown} {target}" if target else shown


def server_attributes(facts: RawFacts, known: frozenset[str]) -> Parts:
    """Return the attributes that a SERVER span starts with, so that samplers see them, in parts."""
    method, path, query, scheme, _, http_version, server, peer, client, host, agent = facts
    parts: Parts = {_ASKED: (method, scheme, http_version, host, server, agent, known), "url.path": path}
    if query:
        parts[_QUERY] = query
    if peer is not None:
        address, port = peer
        if client is None:
            parts[_PEER] = address
        else:
            parts["network.peer.address"] = address
        if port is not None:
            parts["network.peer.port"] = port
    if client is not None:
        parts["client.address"] = client
    return parts


_Asked = tuple[str, str, str | None, Encoded, Address, Encoded, frozenset[str]]


def _asked(value: _Asked) -> Attributes:
    """Return what the requests of one client to one server have in common."""
    method, scheme, http_version, raw_host, server, raw_agent, known = value
    host, agent = decoded_header(raw_host), decoded_header(raw_agent)
    attributes = method_attributes(method, known)
    attributes["url.scheme"] = scheme
    address = (split_host(host) if host else None) or server
    if address is not None:
        attributes["server.address"], port = address
        if port is None:
            port = DEFAULT_PORTS.get(scheme)
        if port is not None:
            attributes["server.port"] = port
    if agent:
        attributes["user_agent.original"] = agent
    if http_version:
        attributes["network.protocol.version"] = http_version
    return attributes


_ASKED: Final = Template(
    _asked,
    {
        *("http.request.method", "http.request.method_original", "url.scheme", "server.address", "server.port"),
        *("user_agent.original", "network.protocol.version"),
    },
)
_QUERY: Final = Template(lambda query: {"url.query": redact_query(decoded_query(query))}, {"url.query"})
_PEER: Final = Template(
    lambda address: {"network.peer.address": address, "client.address": address},
    {"network.peer.address", "client.address"},
)


def client_attributes(method: str, url: str, known: frozenset[str]) -> Attributes:
    """Return the attributes that a CLIENT span starts with."""
    origin = origin_of(url)
    attributes, shown = _calls(method, origin, known)
    return {**attributes, "url.full": shown + redact_path(url[len(origin) :])}


def origin_of(url: str) -> str:
    """Return a URL up to its path, which is the same for all calls of a service; the whole URL without a path."""
    slash = url.find("/", url.find("://") + 3)
    origin = url[:slash] if slash > 0 else url
    return url if "?" in origin or "#" in origin else origin


@lru_cache(maxsize=256)
def _calls(method: str, url: str, known: frozenset[str]) -> tuple[Attributes, str]:
    """Return the attributes that all calls of a URL have in common, and the URL as it is shown.

    The result is remembered: a client calls few origins, and each of them many times.
    """
    attributes = method_attributes(method, known)
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:  # the port is no number: the client will refuse the URL, and its error tells more
        port = None
    if parts.hostname:
        attributes["server.address"] = parts.hostname
    port = port or DEFAULT_PORTS.get(parts.scheme)
    if port is not None:
        attributes["server.port"] = port
    return attributes, redact_url(url)


class HeaderCapture:
    """The headers that become attributes, as lists of strings under their lower-case names.

    Headers that are credentials, such as `authorization`, are masked: see `tracemw.redaction.Redaction`.

    Args:
        direction: `request` or `response`.
        names: The headers' names; none are captured by default.

    Raises:
        TypeError: for one string in place of several names.
        ValueError: for a name that is no header name.
    """

    __slots__ = ("_keys",)

    def __init__(self, direction: str, names: Iterable[str]) -> None:
        option = f"capture_{direction}_headers"
        if isinstance(names, str):
            raise TypeError(f"{option} takes several names, such as ({names!r},), not one string")
        self._keys: dict[str, str] = {}
        for name in names:
            if not is_header_name(name):
                raise ValueError(f"{option}={name!r} is not accepted; use names of HTTP headers")
            self._keys[name.lower()] = f"http.{direction}.header.{name.lower()}"

    def __bool__(self) -> bool:
        return bool(self._keys)

    def attributes(self, headers: Headers) -> Attributes:
        """Return an attribute for each captured header that is present."""
        keeps = in_use().keeps_header
        return {
            key: tuple(values) if keeps(name) else MASK
            for name, key in self._keys.items()
            if (values := headers.get(name))
        }


def server_labels(facts: RequestFacts, known: frozenset[str]) -> dict[str, str | int]:
    """Return the attributes of `http.server.active_requests`. The duration has these, and more."""
    return {"http.request.method": facts.method if facts.method in known else "_OTHER", "url.scheme": facts.scheme}


def client_labels(attributes: Attributes) -> dict[str, str | int]:
    """Return those attributes of a CLIENT span that its duration has, too: the ones of low cardinality."""
    labels: dict[str, str | int] = {}
    for name in ("http.request.method", "server.address", "server.port"):
        value = attributes.get(name)
        if isinstance(value, (str, int)):
            labels[name] = value
    return labels


_SERVER_ERRORS: Final[dict[int | None, str]] = {status: str(status) for status in range(500, 1000)}

server_error_type: Final = _SERVER_ERRORS.get
"""Returns `error.type` for the status of a served response. Only a 5xx is an error of the server."""


def client_error_type(status: int | None) -> str | None:
    """Return `error.type` for the status of a received response. 4xx and 5xx are errors of the call."""
    return str(status) if status is not None and status >= 400 else None


def is_header_name(name: str) -> bool:
    """Tell whether `name` is a token (RFC 9110, section 5.6.2)."""
    return _TOKEN.fullmatch(name) is not None


def split_host(value: str) -> tuple[str, int | None] | None:
    """Split a Host header into address and port, without the brackets of IPv6; None when the header is not valid."""
    return None if len(value) > _LONGEST_HOST else _split_host(value)


@lru_cache(maxsize=256)
def _split_host(value: str) -> tuple[str, int | None] | None:
    match = _HOST.fullmatch(value.strip())
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    return None if port is not None and port > 65535 else (match["v6"] or match["name"], port)
