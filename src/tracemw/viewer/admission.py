"""Admission by a token, where other machines may connect: without the token, nobody reads traces and nobody sends any.

Whoever sends a header is admitted by `Authorization: Bearer ...`. A browser opens the page's address with the token
once, and has it in a cookie from then on. `IsolationMiddleware` stands before this, so that no other site's page makes
use of the cookie.
"""

from __future__ import annotations

import hmac
import html
import re
from urllib.parse import urlencode

from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tracemw.viewer.isolation import follows_a_link, is_page

_OPEN = "/ready"  # for those who only want to know whether the viewer runs
_TOKEN = re.compile(r"[\w.~-]{16,}", re.ASCII)
_PORT = re.compile(r":([0-9]+)$")

_REFUSAL = (
    "this viewer asks for its token: in a browser, open the address with ?token= that it printed when it started; "
    "elsewhere, have OTEL_EXPORTER_OTLP_HEADERS name the header 'Authorization: Bearer <token>'"
)
# The cookie does not come along when a link on another site is followed. The page asks again, by itself, and it comes.
_ASK_AGAIN = (
    f'<!doctype html><meta http-equiv="refresh" content="0"><title>tracemw</title><p>{html.escape(_REFUSAL)}</p>\n'
)


class TokenError(ValueError):
    """A token is not accepted. The message does not show the token, and says which ones are."""


def check_token(token: str) -> str:
    """Return a token that fits into a header, a cookie and an address.

    Raises:
        TokenError: for any other text.
    """
    if not _TOKEN.fullmatch(token):
        raise TokenError(
            "the token is not accepted; use at least 16 letters, digits, or characters of -._~, such as those that "
            "'openssl rand -hex 16' prints"
        )
    return token


class AdmissionMiddleware:
    """Answers 401 to every request that does not show the token.

    Args:
        app: The application that answers those who are admitted.
        token: The token; see `check_token`.
    """

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self.app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        answer = self._answer(scope) if scope["type"] == "http" and scope["path"] != _OPEN else None
        await (answer or self.app)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response | None:
        """Return what keeps the request from the application; None for nothing."""
        headers, query = Headers(scope=scope), QueryParams(scope["query_string"])
        cookie = _cookie_name(headers)
        if scope["method"] == "GET" and is_page(scope["path"]) and self._is_right(query.get("token", "")):
            rest = urlencode([(name, value) for name, value in query.multi_items() if name != "token"])
            redirect = RedirectResponse(f"{scope['raw_path'].decode()}{rest and '?'}{rest}", status_code=303)
            redirect.set_cookie(cookie, query["token"], httponly=True, samesite="strict")
            return redirect
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        in_cookie = cookie_parser(headers.get("cookie", "")).get(cookie, "")
        if self._is_right(in_cookie) or (scheme.lower() == "bearer" and self._is_right(shown.strip())):
            return None
        return _refuse(scope, headers)

    def _is_right(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self._token)


def _refuse(scope: Scope, headers: Headers) -> Response:
    more = {"www-authenticate": 'Bearer realm="tracemw view"', "cache-control": "no-store", "connection": "close"}
    if headers.get("sec-fetch-site") == "cross-site" and follows_a_link(scope, headers):
        return HTMLResponse(_ASK_AGAIN, 401, more)
    return PlainTextResponse(f"{_REFUSAL}\n", 401, more)


def _cookie_name(headers: Headers) -> str:
    """Name the cookie for the port: a browser keeps no cookies of several viewers on one machine apart."""
    port = _PORT.search(headers.get("host", ""))
    return f"tracemw_token_{port[1] if port else 80}"
