"""User names, passwords and signatures are taken out of URLs, also of URLs within a text.

The rules are those of the OpenTelemetry semantic conventions v1.44 for `url.full` and `url.query`. They hold for what
is recorded. For what leaves the process there are two more: a query tells only values whose names are allowed, and a
path tells no secret that its segments announce, as in `/reset-password/8f14e45f`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote_plus

from tracemw.redaction.database_errors import redact_values
from tracemw.redaction.places import Stretch

REDACTED: Final = "REDACTED"

_REDACTED_QUERY_KEYS: Final = frozenset(
    {
        "AWSAccessKeyId",
        "Signature",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Goog-Signature",
        "sig",
    }
)
_SIGNS_OF_REDACTED_KEYS: Final = ("ignature", "sig", "X-Amz-", "AWSAccessKeyId", "%", "+")
"""A query without any of these has no key to redact, however the query is encoded."""


def _encoded_or_not(key: str) -> str:
    return "".join(f"(?:{re.escape(character)}|%(?i:{ord(character):02x}))" for character in key)


# In a text, a pair of a query follows a separator, which HTML or JSON may have escaped, and ends where the URL must
# end. Each character is part of one match at most, so the time is linear.
_USERINFO: Final = re.compile(r"(?<=//)[^\s/?#]*@")
_PAIR: Final = re.compile(
    rf"(?:(?<=[?&;])|(?<=u0026))({'|'.join(map(_encoded_or_not, sorted(_REDACTED_QUERY_KEYS)))})=[^\s&#\"<>]+"
)


def redact_query(query: str) -> str:
    """Replace the values of the signature and credential keys that the convention for `url.query` lists."""
    for sign in _SIGNS_OF_REDACTED_KEYS:
        if sign in query:
            break
    else:
        return query
    pairs = query.split("&")
    for index, pair in enumerate(pairs):
        key, equals, _ = pair.partition("=")
        if equals and (key in _REDACTED_QUERY_KEYS or unquote_plus(key) in _REDACTED_QUERY_KEYS):
            pairs[index] = f"{key}={REDACTED}"
    return "&".join(pairs)


def redact_url(url: str) -> str:
    """Return `url` with user name, password and the values of signature keys replaced, and without its fragment."""
    before_query = url.partition("#")[0].partition("?")[0]
    scheme, slashes, rest = before_query.partition("://")
    authority, slash, path = rest.partition("/")
    if "@" in authority:
        authority = f"{REDACTED}:{REDACTED}@{authority.rpartition('@')[2]}"
    return f"{scheme}{slashes}{authority}{redact_path(slash + path + url[len(before_query) :])}"


def redact_path(path: str) -> str:
    """Do the same as `redact_url` for the part of a URL after its authority."""
    before, question, query = path.partition("#")[0].partition("?")
    return f"{before}?{redact_query(query)}" if question else before


def redact_text(text: str) -> str:
    """Do the same as `redact_url` for every URL and `/path?query` in a text, such as an exception's message.

    Values that a database's error repeats go, too.
    """
    # Pairs go first: what looks like credentials, from // to @, may contain the keys of a query.
    if "=" in text:
        text = _PAIR.sub(rf"\1={REDACTED}", text)
    if "@" in text:
        text = _USERINFO.sub(f"{REDACTED}:{REDACTED}@", text)
    return redact_values(text)


QUERY_NAMES: Final = frozenset(
    {
        *(
            "page",
            "page_size",
            "pagesize",
            "per_page",
            "perpage",
            "size",
            "limit",
            "offset",
            "skip",
            "take",
            "start",
            "end",
        ),
        *(
            "from",
            "to",
            "first",
            "last",
            "count",
            "rows",
            "top",
            "max",
            "min",
            "step",
            "n",
            "depth",
            "level",
            "version",
        ),
        *(
            "v",
            "api-version",
            "api_version",
            "sort",
            "sortby",
            "sort_by",
            "order",
            "orderby",
            "order_by",
            "direction",
            "dir",
        ),
        *(
            "asc",
            "desc",
            "lang",
            "language",
            "locale",
            "hl",
            "region",
            "country",
            "currency",
            "units",
            "tz",
            "timezone",
        ),
        *(
            "format",
            "fmt",
            "output",
            "pretty",
            "indent",
            "fields",
            "include",
            "exclude",
            "expand",
            "embed",
            "view",
            "tab",
        ),
        *(
            "group_by",
            "groupby",
            "interval",
            "period",
            "resolution",
            "width",
            "height",
            "quality",
            "dpr",
            "theme",
            "mode",
        ),
        *(
            "type",
            "kind",
            "status",
            "state_filter",
            "category",
            "since",
            "until",
            "before",
            "after",
            "date",
            "year",
            "month",
        ),
        *(
            "day",
            "week",
            "hour",
            "minutes",
            "seconds",
            "days",
            "hours",
            "timeout",
            "wait",
            "watch",
            "follow",
            "dry_run",
        ),
        *(
            "dryrun",
            "verbose",
            "debug",
            "trace",
            "explain",
            "force",
            "recursive",
            "async",
            "stream",
            "preview",
            "draft",
        ),
        *("latest", "active", "enabled", "archived", "deleted", "published", "featured", "nocache", "cache", "refresh"),
        *("method", "action", "op", "operation", "grant_type", "response_type", "response_mode", "scope", "prompt"),
        *("distinct", "unique", "total", "quantity", "qty", "columns", "aggregate", "metric"),
    }
)
"""Names in queries whose values are no secrets, in lower case."""

_PAIR_OF_QUERY: Final = re.compile(r"([^=&;]*+)(?:=([^&;]*+))?[&;]?")
_NAME_WITH_0: Final = re.compile(r"(?<![^&])[^&=0]*+0").search
_SHORT: Final = 12
"""Characters of a value that is too short to be looked at, and of a name."""
_QUERY: Final = re.compile(r"(?<=\?)[\w.%\[\]+~-]{1,64}=[^\s\"'<>#|\\`]*+")
_ANNOUNCING: Final = (
    r"token|secret|passw|pwd|reset|verif|confirm|activat|invit|magic|sess|auth|otp|unsubscribe|apikey|api[_-]key|keys?\b"
    r"|signin|login|sso|share|access|credential|recover|onetime|one-time|webhook"
)
_ANNOUNCES: Final = re.compile(f"(?i:{_ANNOUNCING})").search
_LIKE_TOKENS: Final = r"[sprw]k[_-]|gh[a-z]_|github_|gl[a-z]+-|xox|npm_|pypi|hf_|do[a-z]_|key-|whsec"
is_calm_path: Final = re.compile(
    rf"(?:/(?:(?!{_ANNOUNCING}|{_LIKE_TOKENS})[a-z]++(?:[0-9]{{0,11}}+|(?:[_-][a-z]++)*+)|[0-9]{{1,11}}+|)(?![^/]))*+"
).fullmatch
"""Tells whether a path is too plain to hold a secret: words and numbers, and none of them announces a secret."""
_IS_CALM_ORIGIN: Final = re.compile(r"[a-z]{1,8}://[a-z0-9.-]{1,80}(?::[0-9]{1,5})?").fullmatch
_SEGMENT: Final = re.compile(r"/([^/?#\s\"'<>]*+)")


def redact_simple_query(query: str, allows: Mapping[str, bool]) -> str | None:
    """Return a query with only the values of allowed names; None if an allowed one is not short and simple."""
    pairs = query.split("&")
    shown = None
    for index, pair in enumerate(pairs):
        name, equals, value = pair.partition("=")
        if allows[name]:
            if value and (len(value) > _SHORT or not value.isalnum()):
                return None
        elif not equals or len(name) > _SHORT or not name.isidentifier():
            return None
        else:
            pairs[index] = shown = f"{name}={REDACTED}"
    return query if shown is None else "&".join(pairs)


def is_calm_query(query: str, allows: Mapping[str, bool]) -> bool:
    """Tell whether a query has only allowed names, with short and simple values, and no 0 in a name."""
    return _NAME_WITH_0(query) is None and redact_simple_query(query, allows) is query


def is_calm_url(url: str, allows: Mapping[str, bool]) -> bool:
    """Tell whether a URL, or a path with its query, is too plain to hold a secret."""
    before, question, query = url.partition("?")
    if question and not is_calm_query(query, allows):
        return False
    slash = before.find("/", before.find("://") + 3) if "://" in before else 0
    origin = before if slash < 0 else before[:slash]
    if origin and _IS_CALM_ORIGIN(origin) is None:
        return False
    return slash < 0 or is_calm_path(before[slash:]) is not None


def refused_in_query(query: str, allows: Mapping[str, bool], offset: int = 0) -> Iterator[Stretch]:
    """Find the values of a query whose names are not allowed. A value without a name counts, too, if it is long."""
    for pair in _PAIR_OF_QUERY.finditer(query):
        name, value = pair[1], pair[2]
        if value is None:
            if len(name) > 16 and not allows[name]:
                yield Stretch(offset + pair.start(1), offset + pair.end(1), "query")
        elif value and value != REDACTED and not allows[unquote_plus(name).partition("[")[0]]:
            yield Stretch(offset + pair.start(2), offset + pair.end(2), "query")


def refused_in_text(text: str, allows: Mapping[str, bool]) -> Iterator[Stretch]:
    """Find the same in each query of a URL within a text."""
    if "?" in text and "=" in text:
        for query in _QUERY.finditer(text):
            yield from refused_in_query(query[0], allows, query.start())


def refused_in_path(path: str) -> Iterator[Stretch]:
    """Find segments of a path that look like secrets, and come after one that announces a secret."""
    before = ""
    for segment in _SEGMENT.finditer(path):
        text = segment[1]
        if before and _is_opaque(text) and _ANNOUNCES(before):
            yield Stretch(segment.start(1), segment.end(1), "path")
        before = text


def _is_opaque(segment: str) -> bool:
    """Tell whether a segment of a path is no word and no small number."""
    if segment == REDACTED or segment[:1] in "{<:[":
        return False
    has_digits = any(map(str.isdigit, segment))
    has_letters = any(map(str.isalpha, segment))
    if has_digits and has_letters:
        return len(segment) >= 6
    return len(segment) >= (6 if has_digits else 20)
