"""The keys of pseudonyms, which stand for users in traces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from tracemw.config.environment import read
from tracemw.config.parsers import wrong_secret

_VARIABLE: Final = "TRACEMW_PSEUDONYM_KEY"
_SHORTEST: Final = 32
"""Characters of a key. Whoever guesses a key can try all e-mail addresses that there are."""

_is_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}").fullmatch


@dataclass(frozen=True, kw_only=True)
class PseudonymKey:
    """One key, with the id that the pseudonyms made with it carry."""

    id: str
    secret: bytes = field(repr=False)


def pseudonym_keys() -> tuple[PseudonymKey, ...]:
    """Return the keys of `TRACEMW_PSEUDONYM_KEY`; none when it is unset. New pseudonyms are made with the first.

    Raises:
        ValueError: for a value that is not accepted. The error shows no part of the value.
    """
    return read(_VARIABLE, _parsed) or ()


@lru_cache(maxsize=1)
def _parsed(name: str, text: str) -> tuple[PseudonymKey, ...]:
    keys: dict[str, PseudonymKey] = {}
    for item in text.split(","):
        key_id, colon, secret = (part.strip() for part in item.partition(":"))
        if not colon or not _is_id(key_id):
            raise wrong_secret(
                name,
                "ID:KEY, and for more keys ID:KEY,ID:KEY with the new one first, where an id is made of letters, "
                "digits, ., _ and -, such as 2026a:$(openssl rand -base64 32)",
            )
        if len(secret) < _SHORTEST:
            raise wrong_secret(
                name, f"keys of at least {_SHORTEST} characters, such as 2026a:$(openssl rand -base64 32)"
            )
        if key_id in keys:
            raise wrong_secret(name, "a different id for each key")
        keys[key_id] = PseudonymKey(id=key_id, secret=secret.encode("utf-8", "surrogateescape"))
    return tuple(keys.values())
