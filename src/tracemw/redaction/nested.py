"""Sequences, mappings and bytes under an allowed key: each text within is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tracemw.redaction.detectors import is_plain
from tracemw.redaction.numbers import is_card
from tracemw.redaction.pairs import is_telling
from tracemw.redaction.places import MASK

if TYPE_CHECKING:
    from tracemw.redaction.policy import KeyRule, RedactionPolicy
    from tracemw.redaction.users_rule import Where

_MOST_ITEMS: Final = 100_000
"""Items of a value that are looked at, with all within. The rest is masked."""
_DEEPEST: Final = 30
_SMALLEST_CARD: Final = 10**12


class NestedValues:
    """Cleans one value that is no text, with all within.

    Args:
        policy: Says what is a secret.
        rule: What may leave under the value's key.
        where: Where the value stands.
    """

    __slots__ = ("_left", "_policy", "_rule", "_where")

    def __init__(self, policy: RedactionPolicy, rule: KeyRule, where: Where) -> None:
        self._policy = policy
        self._rule = rule
        self._where = where
        self._left = _MOST_ITEMS

    def cleaned(self, value: Any, depth: int) -> Any:
        """Return a value without what looks like a secret. `depth` sequences and mappings are around it."""
        self._left -= 1
        if self._left < 0:
            return MASK
        if isinstance(value, str):
            return value if self._rule.is_calm(value) else self._policy.masked(value, self._rule, self._where)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, int):
            return (
                self._policy.stand_in(value, "card", self._rule, self._where)
                if value >= _SMALLEST_CARD and is_card(str(value))
                else value
            )
        if isinstance(value, bytes):
            text = bytes.decode(value, "latin-1")
            shown = text if is_plain(text) else self._policy.masked(text, self._rule, self._where)
            return value if shown == text else shown.encode("latin-1", "backslashreplace")
        if depth > _DEEPEST:
            return MASK
        if isinstance(value, Sequence):
            return self._items(value, depth)
        if isinstance(value, Mapping):
            return {self._name(key): self._under(key, item, depth) for key, item in value.items()}
        return value

    def _items(self, value: Sequence[Any], depth: int) -> tuple[Any, ...]:
        """Clean a sequence. What follows a telling name is a secret, as in `["--password", "x"]`."""
        items: list[Any] = []
        is_announced = False
        for item in value:
            items.append(self._secret(item) if is_announced else self.cleaned(item, depth + 1))
            is_announced = isinstance(item, str) and len(item) <= 64 and is_telling(item) and item.find("=") < 0
        return tuple(items)

    def _name(self, key: Any) -> Any:
        return self._policy.of(key).shown if type(key) is str else key

    def _under(self, key: Any, item: Any, depth: int) -> Any:
        if isinstance(key, str) and is_telling(key) and key not in self._policy.exact:
            return self._secret(item)
        return self.cleaned(item, depth + 1)

    def _secret(self, item: Any) -> Any:
        if item is None or isinstance(item, bool) or (isinstance(item, str) and item in ("", MASK)):
            return item
        return self._policy.stand_in(item, "pair", self._rule, self._where)
