"""The tables of the memory: the values of one key and one type, and their bytes.

Most values that are not remembered differ from earlier ones in their digits alone, as `/orders/4711` and `/orders/4712`
do. Which digits a text has never tells whether it needs a closer look. So the shape of a text, with 0 for each digit,
leads to that answer and to the bytes that stand before the text, in one look-up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tracemw._db.statements import Parameterised
from tracemw._export.encoding.any_value import any_value, key_value
from tracemw._export.encoding.protobuf import integer, sized, text_field
from tracemw.redaction.places import MASK

if TYPE_CHECKING:
    from tracemw._export.encoding.memo import AttributeMemo
    from tracemw.redaction.policy import KeyRule

LONGEST_KEPT: Final = 512
"""Bytes. A longer value seldom comes back, and takes much memory."""

_NEVER: Final = sys.maxsize

_TO_SHAPE: Final = bytes.maketrans(b"123456789", b"000000000")
_TO_SIZE: Final = bytes(256)
"""The shape of octets that need no look shows nothing but their number."""

_SHORTER_THAN_A_CARD: Final = 5
"""Bytes of a varint: 35 bits, while the number of a card has 40 and more."""


class Masked(bytes):
    """An attribute that had a secret in it."""

    __slots__ = ()


class EncodedValues:
    """The values of one key and one type, each encoded anew.

    While a key rests, these values stand in the place of its table; else they encode what the table does not hold.
    """

    __slots__ = ("_memo", "_resumes", "key", "kind", "misses")

    longest_kept = LONGEST_KEPT
    """Bytes of the longest field that is remembered."""

    def __init__(self, memo: AttributeMemo, kind: type, key: Any) -> None:
        self._memo = memo
        self.kind = kind
        self.key = key
        self.misses = 0
        self._resumes = _NEVER

    def rest(self, values: int = _NEVER) -> None:
        """Rest for so many values. Then the memo remembers values again."""
        self._resumes = self.misses + values

    def __getitem__(self, value: Any) -> bytes:
        raise NotImplementedError


class AnyValues(EncodedValues):
    """Values of any type."""

    __slots__ = ("_rule", "_tag_and_key")

    def __init__(self, memo: AttributeMemo, rule: KeyRule, kind: type = object, key: str = "") -> None:
        super().__init__(memo, kind, key)
        self._rule = rule
        self._tag_and_key = text_field(b"\x0a", rule.shown)

    def __getitem__(self, value: object) -> bytes:
        self.misses += 1
        return self._field(self._memo.policy.cleaned(value, self._rule, self._memo.where))

    def _field(self, cleaned: object) -> bytes:
        return self._memo.tag + key_value(self._tag_and_key, any_value(cleaned, [self._memo.longest]))


class RefusedValues(AnyValues):
    """The values of a key that is not allowed: none is looked at, and all leave as the same bytes."""

    __slots__ = ("_bytes",)

    def __init__(self, memo: AttributeMemo, rule: KeyRule) -> None:
        super().__init__(memo, rule)
        self._bytes = Masked(self._field(MASK))

    def __getitem__(self, value: object) -> bytes:
        self._memo.policy.refused(value, self._rule, self._memo.where)
        return self._bytes


class SimpleValues(AnyValues):
    """The texts or integers of one key, each encoded anew. They end their field."""

    __slots__ = ("_heads", "_octets", "_to_shape", "is_looked_at")

    def __init__(self, memo: AttributeMemo, kind: type, key: str, rule: KeyRule) -> None:
        super().__init__(memo, rule, kind, key)
        self.is_looked_at = kind is str and rule.find is not None
        self._octets = OCTETS[kind]
        self._to_shape = _TO_SHAPE if self.is_looked_at else _TO_SIZE
        self._heads = Heads(memo, self)

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        if misses >= self._resumes:
            self._memo.resume(self)
        try:
            octets = self._octets(value)
            head = self._heads[octets.translate(self._to_shape)]
        except UnicodeEncodeError:
            head = b""
        return head + octets if head else self._with_care(value)

    def head(self, shape: bytes) -> bytes:
        """Return what stands before octets of a shape; nothing if values of this shape need a closer look."""
        size = len(shape)
        if size > min(LONGEST_KEPT, self._memo.longest):
            return b""
        if self.kind in _NUMBERS:
            if size > _SHORTER_THAN_A_CARD:
                return b""
            value = (b"\x10" if self.kind is bool else b"\x18") + shape
        else:
            if self.is_looked_at:
                text = shape.decode()
                if len(text) > self._rule.is_calm_up_to and not self._rule.is_calm(text):
                    return b""
            value = b"\x0a" + sized(shape)
        field = self._memo.tag + key_value(self._tag_and_key, value)
        return field[: len(field) - size]

    def _with_care(self, value: Any) -> bytes:
        """Return the field of a value that is no plain one, as it may leave."""
        memo = self._memo
        if self.is_looked_at:
            cleaned = memo.policy.masked(value, self._rule, memo.where)
        elif self.kind is int:
            cleaned = memo.policy.cleaned(value, self._rule, memo.where)
        else:
            cleaned = value
        field = self._field(cleaned)
        return field if cleaned is value else Masked(field)


class Heads(dict[bytes, bytes]):
    """Shapes of values, and what stands before values of that shape."""

    __slots__ = ("_memo", "_of", "room")

    def __init__(self, memo: AttributeMemo, of: SimpleValues) -> None:
        super().__init__()
        self._memo = memo
        self._of = of
        self.room = 0

    def __missing__(self, shape: bytes) -> bytes:
        head = self._of.head(shape)
        if len(shape) <= LONGEST_KEPT:
            if len(self) >= self.room and not self._memo.enlarge(self):
                self.clear()
            self[shape] = head
        return head


class TemplatedValues(EncodedValues):
    """Values of which a template makes attributes: their fields follow one another."""

    __slots__ = ()

    longest_kept = 4 * LONGEST_KEPT

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        memo = self._memo
        if misses >= self._resumes:
            memo.resume(self)
        attributes = self.key.make(value)
        fields: list[bytes] = []
        memo.add_fields(fields, attributes)
        encoded = b"".join(fields)
        # What the policy has taken out is counted each time, and a rule of the user's is asked each time.
        is_calm = memo.policy.rule is None and len(fields) == len(attributes)
        return encoded if is_calm and all(type(field) is bytes for field in fields) else Masked(encoded)


class KeptValues(dict[Any, bytes]):
    """The values of one key and one type, remembered unless they are long, or had a secret in them."""

    __slots__ = ("_longest", "_memo", "anew", "room")

    def __init__(self, memo: AttributeMemo, anew: EncodedValues) -> None:
        super().__init__()
        self._memo = memo
        self._longest = anew.longest_kept
        self.anew = anew
        self.room = 0
        """How many entries it may hold, until the memo gives it room for more."""

    @property
    def misses(self) -> int:
        """How many values were not remembered, and had to be encoded."""
        return self.anew.misses

    def __missing__(self, value: Any) -> bytes:
        encoded = self.anew[value]
        if type(encoded) is not bytes or len(encoded) > self._longest:
            return encoded
        if len(self) < self.room or self._memo.enlarge(self):
            self[value] = encoded
        return encoded


# The types whose values are kept. Not float: 0.0 equals -0.0. A list is no key of a dict.
OCTETS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: str.encode,
    Parameterised: str.encode,
    int: integer,
    bool: integer,
}
_NUMBERS: Final = frozenset({int, bool})
