"""The query that finds the traces of users, under every key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tracemw.config import PseudonymKey
from tracemw.redaction.pseudonyms import USER_HASH, pseudonym

ANY_KEY: Final = "[A-Za-z0-9][A-Za-z0-9._-]*"
"""The regular expression of all ids of keys."""

_SHOWN: Final = 8
"""Hex digits of a pseudonym that reports and audit lines show."""


def pseudonyms_of(identifiers: Iterable[str], keys: Sequence[PseudonymKey]) -> tuple[str, ...]:
    """Return the pseudonym of each identifier under each key.

    Raises:
        IdentifierError: for an identifier that is not accepted. The error does not show it.
    """
    made = (pseudonym(identifier, key.id, key.secret) for identifier in identifiers for key in keys)
    return tuple(dict.fromkeys(made))


def query_of(pseudonyms: Iterable[str]) -> str:
    """Return the TraceQL that finds spans with one of these pseudonyms.

    Tempo's redaction takes no other form: one filter, with comparisons by `=` that are joined.
    """
    comparisons = [f'span.{USER_HASH} = "{each}"' for each in pseudonyms]
    return f"{{ {' || '.join(comparisons)} }}"


def query_of_keys(patterns: Iterable[str]) -> str:
    """Return the TraceQL that finds spans of any user whose pseudonym is under a key with such an id.

    Args:
        patterns: Regular expressions of ids.
    """
    comparisons = [f'span.{USER_HASH} =~ "{each}:[0-9a-f]{{64}}"' for each in patterns]
    return f"{{ {' || '.join(comparisons)} }}"


def shortened(pseudonym: str) -> str:
    """Return a pseudonym as reports show it: enough to compare it with another, and too little to search for it."""
    key_id, _, digits = pseudonym.rpartition(":")
    return f"{key_id}:{digits[:_SHOWN]}"


def with_shortened(text: str, pseudonyms: Iterable[str]) -> str:
    """Return a server's words with pseudonyms as reports show them. A server may repeat the query, or its URL."""
    for each in pseudonyms:
        digits = each.rpartition(":")[2]
        text = text.replace(digits, digits[:_SHOWN])
    return text
