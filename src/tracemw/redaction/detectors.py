"""What looks like a secret in a text.

A text is looked at in three steps, as gitleaks does it. A plain text, such as a path of words and numbers, is let go at
once. Else signs that are cheap to find (a character, the root of a word) tell which detectors run. Each detector takes
time by the length of the text, whatever the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.addresses import emails, users, users_of_curl
from tracemw.redaction.disguises import in_disguise, is_disguised, undisguised
from tracemw.redaction.known_tokens import jwts, private_keys, secret_jwks, tokens
from tracemw.redaction.numbers import cards, ibans, one_time_codes, phones, security_codes, social_security_numbers
from tracemw.redaction.pairs import ROOTS, credentials, items, pairs, parts, records
from tracemw.redaction.places import Place, merged
from tracemw.redaction.spaced import BEFORE_SPACES, spaced

is_plain: Final = re.compile(
    r"(?:[A-Z]{3,10}+)?[a-z./]*+[0-9]{0,11}+(?:(?!(?<=[0-9]{4})\.[0-9]{4}\.)[a-z./]++[0-9]{0,11}+){0,3}+"
).fullmatch
"""Tells whether a text is too plain to hold a secret: lower-case words, few numbers, neither spaces nor signs."""

is_plain_agent: Final = re.compile(
    r"(?:(?!(?<= )[0-9])[A-Za-z0-9_.:]{1,12}+(?<!:)[/;,() ]{1,3}+)*+(?!(?<= )[0-9])[A-Za-z0-9_.]{0,12}+"
).fullmatch
"""Tells the same of what a client calls itself: short words and numbers, as in `Mozilla/5.0 (X11; Linux x86_64)`."""

# Each begins with a set of characters, which is found quickly.
_DIGITS: Final = re.compile(r"[0-9][0-9]{3}(?:[0-9]{9}|(?:[ \-+._]|%20)[0-9]{4}|[0-9]{4}(?:[ \-+]|%20)[0-9]{8})").search
_ACCOUNT: Final = re.compile(r"[0-9](?<=[A-Za-z]{2}[0-9])[0-9](?:[ \-+]|%20)?[A-Za-z0-9]{4}").search
_IS_LONG: Final = re.compile(r"[^A-Za-z0-9_.-]*+(?:[A-Za-z0-9_.-]{1,13}+[^A-Za-z0-9_.-]++)*+[A-Za-z0-9_.-]{14}").match
_SIGNS: Final = ("=", ":", ">", "'", '"', "%3", "--", "|", "\u2192", " is ", " was ")
_LABELS_OF_CODES: Final = ("cv", "csc", "security", "verification")
_LABELS_OF_ONE_TIME: Final = (
    " code",
    "_code",
    "-code",
    "passcode",
    "otp",
    "one-time",
    "one time",
    "your pin",
    "verification",
)
_LABELS_OF_PHONES: Final = (
    *("phone", "mobile", "msisdn", "cel", "fax", "whatsapp", "tel", "t\u00e9l", "vil", "handy"),
    *("number", "contact", "caller", "callback", "recipient"),
)


def secrets(text: str) -> list[Place]:
    """Find what looks like a secret in a text. The places come in their order, and none overlaps another."""
    if is_plain(text):
        return []
    found = list(_found(text))
    if "+" in text or is_disguised(text):
        for plain, stands in undisguised(text):
            found += in_disguise(_found(plain), stands)
    return merged(found)


def _found(text: str) -> Iterator[Place]:
    if "@" in text or "%40" in text:
        yield from emails(text)
        if "//" in text or "@" in text:
            yield from users(text)
    if _IS_LONG(text):
        yield from tokens(text)
    if "curl" in text:
        yield from users_of_curl(text)
    if "eyJ" in text:
        yield from jwts(text)
    if "kty" in text:
        yield from secret_jwks(text)
    if "-----" in text:
        yield from private_keys(text)
    if _DIGITS(text):
        yield from cards(text)
    if _ACCOUNT(text):
        yield from ibans(text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        yield from credentials(text)
    if _has_any(_SIGNS, text) and _has_any(ROOTS, lower):
        yield from pairs(text)
        if "'," in text or '",' in text:
            yield from items(text)
        if "value" in lower:
            yield from records(text)
        if "name=" in lower:
            yield from parts(text)
    if _has_any(BEFORE_SPACES, lower):
        yield from spaced(text)
    if _has_any(_LABELS_OF_CODES, lower):
        yield from security_codes(text)
        if "social" in lower:
            yield from social_security_numbers(text)
    if _has_any(_LABELS_OF_ONE_TIME, lower):
        yield from one_time_codes(text)
    if _has_any(_LABELS_OF_PHONES, lower):
        yield from phones(text)


def _has_any(signs: tuple[str, ...], text: str) -> bool:
    for sign in signs:  # noqa: SIM110  `any` takes thrice as long
        if sign in text:
            return True
    return False
