"""The proxy that an export goes through."""

from __future__ import annotations

import os
import re
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from tracemw.config.values import address, get, wrong_secret


def proxy_to(url: str, argument: str | None) -> str | None:
    """Return the proxy to a URL: the argument, else `HTTP_PROXY` or `HTTPS_PROXY` unless `NO_PROXY` names the host.

    Where `REQUEST_METHOD` is set, as under CGI, `HTTP_PROXY` is what a client has sent as the header `Proxy`: only
    `http_proxy` counts there (CVE-2016-5385).
    """
    parts = urlsplit(url)
    if argument is not None:
        name, value = "proxy", argument
    else:
        name = f"{parts.scheme}_proxy".upper()
        may_be_a_header = name == "HTTP_PROXY" and "REQUEST_METHOD" in os.environ
        value = get(name.lower()) or (None if may_be_a_header else get(name)) or ""
        if _passes_by_proxies(url, get("no_proxy") or get("NO_PROXY") or ""):
            value = ""
    if not value:
        return None
    if "://" not in value:
        value = f"http://{value}"
    try:
        proxy = urlsplit(value)
        valid = proxy.scheme == "http" and bool(proxy.hostname) and (proxy.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise wrong_secret(name, "an http:// URL such as http://proxy:3128")
    return value


def _passes_by_proxies(url: str, listed: str) -> bool:
    """Tell whether a list such as `.internal,*.local,tempo:4318,10.0.0.0/8,[::1]` names the host of a URL.

    A name stands for the hosts below it, too; one with a port, for that port only. `*` stands for all.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    numeric = address(host)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for entry in filter(None, (item.strip().lower() for item in listed.split(","))):
        named, only = _WITH_PORT(entry), None
        if named is not None:
            entry, only = named[1], int(named[2])
        entry = entry.strip("[]")
        if only not in (None, port):
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
"""Of addresses of IPv6, only one in brackets can have a port."""
