"""The users of these tests, and their pseudonyms."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

ALICE: Final = "alice@example.com"
BOB: Final = "bob@example.com"
KEYS: Final = {"2026b": "n" * 32, "2026a": "an old key of thirty-two letters"}
VARIABLE: Final = ",".join(f"{key_id}:{key}" for key_id, key in KEYS.items())


def pseudonym(identifier: str, key_id: str = "2026b") -> str:
    return f"{key_id}:{hmac.new(KEYS[key_id].encode(), identifier.encode(), hashlib.sha256).hexdigest()}"


def query(*identifiers: str) -> str:
    comparisons = [f'span.user.hash = "{pseudonym(each, key_id)}"' for each in identifiers for key_id in KEYS]
    return f"{{ {' || '.join(comparisons)} }}"


def shows(text: str) -> bool:
    """Whether a text shows who somebody is, or a whole pseudonym."""
    secrets = [ALICE, BOB, "alice", "bob", *KEYS.values()]
    secrets += [pseudonym(each, key_id)[-64:] for each in (ALICE, BOB) for key_id in KEYS]
    return any(secret in text for secret in secrets)
