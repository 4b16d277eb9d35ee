"""User names, passwords and signatures are taken out of URLs, also of URLs within a text.

The rules are those of the OpenTelemetry semantic conventions v1.44 for `url.full` and `url.query`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_plus

from tracemw.redaction.database_errors import redact_values

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
