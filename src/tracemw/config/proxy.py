"""The proxy that exports go through."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from tracemw.config.endpoint import PORTS, Endpoint, address
from tracemw.config.environment import get
from tracemw.config.parsers import wrong_secret


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """An HTTP proxy. What may be a secret is not in its `repr`."""

    host: str
    """A name or an address, in lower case."""

    port: int
    """80 when the URL names none."""

    url: str = field(repr=False)
    """The http:// URL, with the credentials."""

    authorization: str | None = field(default=None, repr=False)
    """The value of the header `Proxy-Authorization`. None without credentials."""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Return the parts of an http:// URL, whose scheme may be left out.

        Raises:
            ValueError: for anything else.
        """
        if "://" not in url:
            url = f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("not an http:// URL")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        return cls(host=parts.hostname, port=parts.port or PORTS["http"], url=url, authorization=authorization)


def proxy_to(endpoint: Endpoint, argument: str | None) -> Proxy | None:
    """Return the proxy on the way to an endpoint.

    The argument wins. Otherwise `HTTP_PROXY` or `HTTPS_PROXY` names the proxy, by the endpoint's scheme, unless
    `NO_PROXY` names the endpoint's host. Under CGI, a client sets `HTTP_PROXY` by sending the header `Proxy`. So only
    `http_proxy` counts where `REQUEST_METHOD` is set (CVE-2016-5385).

    Raises:
        ValueError: for a value that is no http:// URL. The error does not show the value.
    """
    if argument is not None:
        name, value = "proxy", argument
    else:
        name = f"{endpoint.scheme}_proxy".upper()
        may_be_a_header = name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ
        value = get(name.lower()) or (None if may_be_a_header else get(name)) or ""
        if _needs_no_proxy(endpoint, get("no_proxy") or get("NO_PROXY") or ""):
            value = ""
    if not value:
        return None
    try:
        return Proxy.parse(value)
    except ValueError:
        raise wrong_secret(name, "an http:// URL such as http://proxy:3128") from None


def _needs_no_proxy(endpoint: Endpoint, listed: str) -> bool:
    """Tell whether a list such as `.internal,*.local,tempo:4318,10.0.0.0/8,[::1]` names an endpoint.

    A name stands for the hosts below it, too. A name with a port stands for that port only. `*` stands for all.
    """
    host, numeric = endpoint.host, address(endpoint.host)
    for entry in filter(None, (item.strip().lower() for item in listed.split(","))):
        named, only = _WITH_PORT(entry), None
        if named is not None:
            entry, only = named[1], int(named[2])
        entry = entry.strip("[]")
        if only not in (None, endpoint.port):
            continue
        name = entry.removeprefix("*.").lstrip(".")
        if entry == "*" or host == name or host.endswith(f".{name}"):
            return True
        try:
            if numeric is not None and numeric in ip_network(entry, strict=False):
                return True
        except ValueError:
            pass
    return False


_WITH_PORT: Final = re.compile(r"(\[.*\]|[^:]*):([0-9]+)").fullmatch
"""An IPv6 address can have a port only when it stands in brackets."""
