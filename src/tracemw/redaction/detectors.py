"""What looks like a secret in a text.

A text is looked at in three steps, as gitleaks does it. A plain text, such as a path of words and numbers, is let go at
once, and so is prose of words that have been seen to be no signs of a secret. Else signs that are cheap to find (a
character, the root of a word) tell which detectors run. Each detector takes time by the length of the text, whatever
the text is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.addresses import emails, users, users_of_curl
from tracemw.redaction.disguises import SIGNS as SIGNS_OF_DISGUISES
from tracemw.redaction.disguises import in_disguise, is_disguised, undisguised
from tracemw.redaction.known_tokens import jwts, private_keys, secret_jwks, tokens
from tracemw.redaction.numbers import cards, ibans, one_time_codes, phones, security_codes, social_security_numbers
from tracemw.redaction.pairs import ROOTS, credentials, items, pairs, parts, records
from tracemw.redaction.places import BEGIN, Stretch, merged
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


def _least(signs: set[str]) -> tuple[str, ...]:
    """Return the signs of ASCII without those that contain another."""
    return tuple(sorted(sign for sign in signs if sign.isascii() and not any(map(sign.__contains__, signs - {sign}))))


_IN_WORDS: Final = _least(
    {"@", "eyj", "kty", "-----", "curl", "bearer", "basic", *ROOTS, *_LABELS_OF_CODES, *_LABELS_OF_PHONES}
    | {max(sign.split(), key=len) for sign in (*BEFORE_SPACES, *_LABELS_OF_ONE_TIME)}
    | {"+", *SIGNS_OF_DISGUISES}
)
"""The signs of `_found` and of disguises, in lower case, of which each stands within one word. Signs that make a pair
are not among them: a pair needs a root, too."""
_BEGINS_ACCOUNT: Final = re.compile(rf"[0-9][0-9](?<={BEGIN}[A-Za-z]{{2}}[0-9]{{2}})").search
_DIGITS_OF_CARDS: Final = 13
_LONGEST_PROSE: Final = 1024
_MOST_WORDS: Final = 4096
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_harmless_words: set[bytes] = set()
"""Words, with 0 for each digit, of texts that had no sign in any word."""


def is_harmless(text: str) -> bool:
    """Tell quickly that prose holds no secret, when its words are known. It may say no to a harmless text.

    Of all secrets without a sign within a word, only the number of a card reaches over several words.
    """
    if len(text) > _LONGEST_PROSE or not text.isascii():
        return False
    shape = text.encode().translate(_ZEROS)
    words = shape.split()
    if not _harmless_words.issuperset(words):
        if _has_any(_IN_WORDS, text.lower()) or _IS_LONG(text) or _BEGINS_ACCOUNT(text):
            return False
        if len(_harmless_words) >= _MOST_WORDS:
            _harmless_words.clear()
        _harmless_words.update(words)
    return shape.count(b"0") < _DIGITS_OF_CARDS


def secrets(text: str) -> list[Stretch]:
    """Find what looks like a secret in a text. The places come in their order, and none overlaps another."""
    if is_plain(text) or is_harmless(text):
        return []
    found = list(_found(text))
    if "+" in text or is_disguised(text):
        for plain, stands in undisguised(text):
            found += in_disguise(_found(plain), stands)
    return merged(found)


def _found(text: str) -> Iterator[Stretch]:
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
