"""What stands in front of every route: who may ask, and what a browser may do with the answer."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Span names and attributes are written by strangers. The page shows them as text; should that ever fail, the browser
# still runs no script that did not come from here and sends nothing anywhere else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# The second name is how Docker Desktop's containers call their host's loopback interface.
_LOCAL_NAMES = ("localhost", "host.docker.internal")
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::[0-9]+)?")
_PAGES = re.compile(r"/(?:trace/[^/]*)?")  # what a link elsewhere may lead to
_OUR_OWN = ("same-origin", "none")  # Sec-Fetch-Site of the page itself, and of what somebody has typed


class Guard:
    """Adds the security headers, and refuses what a web page of somebody else asks for.

    A page anywhere can make the browser on this machine ask this server: for an image, with a form, with a script that
    never sees the answer. It can make work, and send spans, that way. Browsers say so in Sec-Fetch-Site (Fetch Metadata
    Request Headers), or at least in Origin. Only a link may lead from elsewhere to the page here.

    A page can also point its own name at 127.0.0.1, and then is same-origin. It cannot forge the Host header: when
    ``local_only``, names that are not local are refused, and addresses need no DNS.
    """

    def __init__(self, app: ASGIApp, *, local_only: bool) -> None:
        self.app = app
        self.local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = CONTENT_SECURITY_POLICY
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-resource-policy"] = "same-origin"
            await send(message)

        reason = self._refusal(scope, Headers(scope=scope))
        if reason:
            refusal = PlainTextResponse(f"{reason}\n", status_code=403, headers={"connection": "close"})
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> str:
        host = headers.get("host", "")
        if self.local_only and not is_local(host):
            return (
                f"host {host[:200]!r} is refused: this viewer listens on the loopback interface only; "
                "call it by 127.0.0.1 or localhost, or start it with --host 0.0.0.0"
            )
        if is_foreign(headers) and not _follows_a_link(scope, headers):
            return "a web page of another origin is refused: open the viewer's own page, or ask without a browser"
        return ""


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that a page of another origin is behind a request."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OUR_OWN
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True


def _follows_a_link(scope: Scope, headers: Headers) -> bool:
    return (
        scope["method"] in ("GET", "HEAD")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and _PAGES.fullmatch(scope["path"]) is not None
    )


def is_local(host: str) -> bool:
    """Whether a Host header names this machine without the help of somebody else's DNS."""
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    name = parts["name"].lower().rstrip(".")
    if name in _LOCAL_NAMES:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
