"""What stands in front of every route: who may ask, and what a browser may do with the answer."""

from __future__ import annotations

import ipaddress
import re

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


class Guard:
    """Adds the security headers and, when ``local_only``, refuses requests that a rebound DNS name brought here.

    A web page can point its own name at 127.0.0.1 and then read this server as its own origin. It cannot forge the Host
    header, though: names that are not local are refused, and addresses need no DNS.
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

        host = Headers(scope=scope).get("host", "")
        if self.local_only and not is_local(host):
            refusal = PlainTextResponse(
                f"host {host[:200]!r} is refused: this viewer listens on the loopback interface only; "
                "call it by 127.0.0.1 or localhost, or start it with --host 0.0.0.0\n",
                status_code=403,
            )
            await refusal(scope, receive, send_guarded)
            return
        await self.app(scope, receive, send_guarded)


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
