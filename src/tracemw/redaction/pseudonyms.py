"""Pseudonyms of users: hashes that only whoever holds the key can make again.

A pseudonym has the form `2026b:9f86...`: the id of the key, and HMAC-SHA256 (RFC 2104) of the identifier under that key
as 64 hex digits. No error of this module shows an identifier.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, cast
from uuid import UUID

USER_HASH: Final = "user.hash"
"""The attribute that holds a pseudonym (OpenTelemetry semantic conventions, "User")."""

_LONGEST: Final = 1000
"""Characters of an identifier. To normalise a hostile text takes more than linear time."""

_unreadable = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
"""Finds control characters, and surrogates: what Python makes of bytes that are not UTF-8. Nobody could hand such an
identifier to `tracemw forget` later."""

is_pseudonym: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}:[0-9a-f]{64}").fullmatch
"""Tells whether a text has the form of a pseudonym."""


class IdentifierError(ValueError):
    """A value is not accepted as the identifier of a user. The message does not show the value."""


def normalised(identifier: object) -> str:
    """Return the one form in which an identifier is hashed: Unicode NFC, without white space at its ends.

    The mark U+FEFF, which editors put before the first line of a file, is no part of it.

    Case counts. A whole number and a UUID are taken as their text.

    Raises:
        IdentifierError: for another type, for an empty text, for more than 1,000 characters, and for unreadable ones.
    """
    # The type itself is asked: with a proxy, such as `current_user`, `isinstance` runs code that may raise.
    kind = type(identifier)
    if issubclass(kind, str):
        text = str.__str__(cast("str", identifier))
    elif issubclass(kind, int) and kind is not bool:
        number = cast("int", identifier)
        if int.bit_length(number) > _LONGEST:
            raise IdentifierError("an identifier of a user is not accepted; use a shorter number")
        text = int.__repr__(number)
    elif kind is UUID:
        text = str(identifier)
    else:
        raise IdentifierError(
            f"an identifier of the type {kind.__name__} is not accepted; use a text, a number or a UUID"
        )
    if len(text) > _LONGEST:
        raise IdentifierError(f"an identifier of a user is not accepted; use at most {_LONGEST} characters")
    text = unicodedata.normalize("NFC", text).replace("\ufeff", "").strip()
    if not text:
        raise IdentifierError("an empty identifier is not accepted; use what names the user in your application")
    if _unreadable(text):
        raise IdentifierError(
            "an identifier with unreadable characters is not accepted; use UTF-8 without control characters"
        )
    return text


def pseudonym(identifier: object, key_id: str, key: bytes) -> str:
    """Return the pseudonym of an identifier under a key.

    Raises:
        IdentifierError: for a value that `normalised` refuses.
    """
    import hmac  # here, since few processes have users to name

    octets = normalised(identifier).encode()
    return f"{key_id}:{hmac.digest(key, octets, 'sha256').hex()}"
