"""What lets the values of a key pass that is not allowed, in the words of the log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tracemw.redaction.allowed_keys import OF_HEADERS
from tracemw.redaction.pairs import is_telling

if TYPE_CHECKING:
    from tracemw.redaction.policy import KeyRule

_UNNAMEABLE: Final = re.compile(r"[\s,*?\[\]]")
"""What a list of keys takes for the end of a key, or for a sign of a glob."""


def remedy_for(rule: KeyRule) -> str:
    """Return what lets the values pass, as a main clause."""
    key = rule.key
    if rule.shown != key:
        return "use a name of the key without a secret in it"
    for namespace in OF_HEADERS:
        if key.startswith(namespace):
            return f"init(redaction=Redaction(headers=({key[len(namespace) :]!r},))) lets them pass as they are"
    name = _UNNAMEABLE.sub("?", key)
    if name != key and is_telling(key):  # a glob lets no such key pass
        return "use a name of the key without spaces, commas and brackets"
    return f"init(allow={{{name!r}}}), or TRACEMW_ALLOW={name}, lets them pass, but for secrets in them"
