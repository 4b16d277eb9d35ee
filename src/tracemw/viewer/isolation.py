"""Isolation from other people's web pages: who may ask, and what a browser may do with a response."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Strangers write span names and attributes. The page shows them as text. Should that ever fail, the browser still runs
# no foreign script and sends nothing to another host.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_LOCAL_NAMES = ("localhost", "host.docker.internal")  # the second leads from Docker Desktop's containers to their host
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::[0-9]+)?")
_PAGES = re.compile(r"/(?:trace/[^/]*|compare/[^/]*/[^/]*|findings|routes|map)?")  # where links on other sites may lead
_OWN_SITES = ("same-origin", "none")  # Sec-Fetch-Site of the page itself, and of an address that somebody types


class IsolationMiddleware:
    """Adds the security headers, and refuses requests that somebody else's web page makes.

    Any page can make the browser on this machine send requests here: by an image, a form or a script. The page cannot
    read the responses, but it can cause work and send spans. Browsers mark such requests with Sec-Fetch-Site (Fetch
    Metadata Request Headers), or at least with Origin. Only links may lead from elsewhere to the page here.

    A page can also point its own name at this machine (DNS rebinding), and then it is same-origin. It cannot forge the
    Host header. So names are refused, but for local ones and those in ``names``. Addresses need no DNS, and are taken.

    Args:
        app: The application that answers the others.
        names: The names in lower case by which the viewer may be called, beside those of this machine for itself.
    """

    def __init__(self, app: ASGIApp, *, names: Collection[str]) -> None:
        self.app = app
        self._names = frozenset((*_LOCAL_NAMES, *names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = _CONTENT_SECURITY_POLICY
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        reason = self._reason_to_refuse(scope, Headers(scope=scope))
        if reason:
            refusal = PlainTextResponse(f"{reason}\n", status_code=403, headers={"connection": "close"})
            await refusal(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _reason_to_refuse(self, scope: Scope, headers: Headers) -> str:
        host = headers.get("host", "")
        if not is_called(host, self._names):
            return (
                f"host {host[:200]!r} is refused: call the viewer by an address or by localhost, or start it with "
                "--allowed-host and that name"
            )
        if _is_cross_origin(headers) and not follows_a_link(scope, headers):
            return "a web page of another origin is refused: open the viewer's own page, or ask without a browser"
        return ""


def _is_cross_origin(headers: Headers) -> bool:
    """Tell whether, by the browser's word, a page of another origin makes the request."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN_SITES
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True


def follows_a_link(scope: Scope, headers: Headers) -> bool:
    """Tell whether, by the browser's word, somebody opens the page, and no page, frame or script asks by itself."""
    return (
        scope["method"] in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and is_page(scope["path"])
    )


def is_page(path: str) -> bool:
    """Tell whether a path is one of the page's addresses."""
    return _PAGES.fullmatch(path) is not None


def is_called(host: str, names: Collection[str]) -> bool:
    """Tell whether a Host header holds one of some names, or an address. No DNS server is asked."""
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    name = parts["name"].lower().rstrip(".")
    if name in names:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
