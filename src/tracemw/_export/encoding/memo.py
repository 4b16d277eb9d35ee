"""The memory of the encoder: the bytes of attributes.

Most spans repeat what others have said: the same keys, nearly the same values. So the encoder remembers the bytes of
each attribute, and to encode a span is mostly to look up.

What may not leave is taken out here, where bytes are made. The policy decides on a key once. It looks at each text that
is not remembered. A text that had a secret in it is not remembered, so that each is counted.

Many threads encode at once, and so do signal handlers in between. Each look-up is one step of the interpreter. One
thread at a time writes. The others do not wait, and go without remembering.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes

from tracemw._db.statements import Parameterised
from tracemw._export.encoding.any_value import any_value, key_value
from tracemw._export.encoding.protobuf import integer, text_field, utf8
from tracemw._otel.attributes import TEMPLATED, Template, whole
from tracemw._process.log import log
from tracemw._process.native import make_lock
from tracemw.redaction.allowed_keys import QUERIES
from tracemw.redaction.places import MASK
from tracemw.redaction.policy import Dropped, KeyRule, Policy
from tracemw.redaction.urls import redact_simple_query
from tracemw.redaction.users_rule import Where

_LONGEST_KEPT: Final = 512
"""Bytes. A longer value seldom comes back, and takes much memory."""

_TAG: Final = b"\x4a"
"""Span: 9 attributes."""

_RESTS: Final = 7
"""How long a key rests: so many values are encoded anew for each value that it had kept."""


class AttributeMemo:
    """Attributes -> fields of `Span`, remembered by type, key and value: 1, True and 1.0 are equal, but not the same.

    The attributes that a template makes of a value are remembered as one.

    Each key has a share of the memo. A key that fills its share gives it back and rests: few of its values come back,
    and to look up and keep one costs more than to encode it. After a while, the key gets another try. The values of
    other keys stay. Only when new keys come without end is everything forgotten.

    Args:
        size: How many entries are remembered, of all keys together.
        longest: How many bytes the value of an attribute may take.
        policy: What may leave.
        where: Where the attributes stand.
    """

    def __init__(self, size: int, longest: int, policy: Policy, where: Where = "attribute") -> None:
        self._size = size
        self.longest = longest
        self.policy = policy
        self.where = where
        self._share = max(size // 16, 1)
        self._kept = 0
        self._tables: dict[type, dict[Any, EncodedValues | KeptValues]] = {}
        self._forgotten_misses = 0
        self._logged = False
        # Nobody waits for this lock: a signal handler may have interrupted the very thread that holds it.
        self._writes = make_lock()

    @property
    def misses(self) -> int:
        """How many attributes were not remembered, and had to be encoded."""
        tables = [table for of_type in self._tables.values() for table in of_type.values()]
        return self._forgotten_misses + sum(table.misses for table in tables)

    def key_values(self, attributes: Mapping[str, Any] | None) -> list[bytes]:
        """Return the sized `KeyValue` of each attribute. Values without a form in OTLP are left out."""
        fields: list[bytes] = []
        self.add_fields(fields, attributes)
        return [field[len(_TAG) :] for field in fields]

    def add_fields(self, fields: list[bytes], attributes: Mapping[Any, Any] | None) -> None:
        """Append the field of `Span` for each attribute, or for all attributes of a template.

        Values without a form in OTLP are left out.
        """
        if type(attributes) is not dict:  # item by item, BoundedAttributes cost as much as all else in a span
            attributes = attributes._dict if isinstance(attributes, BoundedAttributes) else dict(attributes or ())  # noqa: SLF001
        tables, before = self._tables, len(fields)
        try:
            for key, value in attributes.items():
                fields.append(tables[type(value)][key][value])
        except Exception:  # a key not seen before, a dict that grew meanwhile, a value without a form
            del fields[before:]
            fields += self._one_by_one(dict(attributes))

    def keep(self, table: KeptValues, value: Any, encoded: bytes) -> None:
        """Remember one more value of a key. Let the key rest when its values fill its share."""
        if not self._writes.acquire(blocking=False):
            return
        try:
            anew = table.anew
            if self._tables.get(anew.kind, {}).get(anew.key) is not table or value in table or not self._reserve():
                return
            table[value] = encoded
            if len(table) == self._share:
                self._kept -= self._share
                anew.rest(_RESTS * self._share)
                self._tables[anew.kind][anew.key] = anew
        finally:
            self._writes.release()

    def keep_head(self, heads: dict[int, bytes], size: int, head: bytes) -> None:
        """Remember the bytes that stand before values of one size."""
        if not self._writes.acquire(blocking=False):
            return
        try:
            if size not in heads and self._reserve():
                heads[size] = head
        finally:
            self._writes.release()

    def resume(self, anew: EncodedValues) -> None:
        """Remember the values of a key that has rested."""
        if not self._writes.acquire(blocking=False):
            return  # the key's next value is another occasion
        try:
            if self._tables.get(anew.kind, {}).get(anew.key) is anew:
                anew.rest(math.inf)
                self._tables[anew.kind][anew.key] = KeptValues(self, anew)
        finally:
            self._writes.release()

    def _reserve(self) -> bool:
        """Count one more entry. When there is no room, forget everything and return False."""
        if self._kept < self._size:
            self._kept += 1
            return True
        self._forgotten_misses = self.misses
        self._kept = 0
        self._tables.clear()
        return False

    def _one_by_one(self, attributes: dict[Any, Any]) -> Iterator[bytes]:
        if not TEMPLATED.isdisjoint(attributes):
            attributes = whole(attributes)  # another thread has just looked at them
        for key, value in attributes.items():
            try:
                yield self._table(type(value), key)[value]
            except Dropped:
                continue
            except Exception as error:
                if not self._logged:
                    self._logged = True
                    said = "tracemw leaves out attribute %r, which it cannot encode; further ones are not logged"
                    log(logging.ERROR, said, key, error=error)

    def _table(self, kind: type, key: Any) -> EncodedValues | KeptValues:
        """Return the table for the values of one key and type. A long key gets a new table each time."""
        table = self._tables.get(kind, {}).get(key)
        if table is not None:
            return table
        is_template = type(key) is Template
        if (not is_template and len(key) > _LONGEST_KEPT) or not self._writes.acquire(blocking=False):
            self._forgotten_misses += 1
            return TemplatedValues(self, kind, key) if is_template else AnyValues(self, self.policy.of(key, self.where))
        try:
            table = self._new_table(kind, key)
            if not self._reserve():
                self._kept = 1
            return self._tables.setdefault(kind, {}).setdefault(key, table)
        finally:
            self._writes.release()

    def _new_table(self, kind: type, key: Any) -> EncodedValues | KeptValues:
        if type(key) is Template:
            return KeptValues(self, TemplatedValues(self, kind, key))
        rule = self.policy.of(key, self.where)
        if kind is Parameterised:
            return KeptValues(self, SimpleValues(self, kind, key, rule))
        if kind is not type(None) and not self.policy.passes(rule, kind):
            return AnyValues(self, rule) if self.policy.rule is not None else RefusedValues(self, rule)
        if kind is str and rule.find is not None:
            kept = Queries if key in QUERIES else Texts
            return KeptValues(self, kept(self, kind, key, rule))
        return KeptValues(self, SimpleValues(self, kind, key, rule)) if kind in _OCTETS else AnyValues(self, rule)


class Masked(bytes):
    """An attribute that had a secret in it."""

    __slots__ = ()


class EncodedValues:
    """The values of one key and one type, each encoded anew.

    While a key rests, these values stand in the place of its table; else they encode what the table does not hold.
    """

    __slots__ = ("_memo", "_resumes", "key", "kind", "misses")

    longest_kept = _LONGEST_KEPT
    """Bytes of the longest field that is remembered."""

    def __init__(self, memo: AttributeMemo, kind: type, key: Any) -> None:
        self._memo = memo
        self.kind = kind
        self.key = key
        self.misses = 0
        self._resumes = math.inf

    def rest(self, values: float) -> None:
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
        memo = self._memo
        cleaned = memo.policy.cleaned(value, self._rule, memo.where)
        return _TAG + key_value(self._tag_and_key, any_value(cleaned, [memo.longest]))


class RefusedValues(AnyValues):
    """The values of a key that is not allowed: none is looked at, and all leave as the same bytes."""

    __slots__ = ("_bytes",)

    def __init__(self, memo: AttributeMemo, rule: KeyRule) -> None:
        super().__init__(memo, rule)
        self._bytes = Masked(_TAG + key_value(self._tag_and_key, any_value(MASK, [memo.longest])))

    def __getitem__(self, value: object) -> bytes:
        self._memo.policy.refused(value, self._rule, self._memo.where)
        return self._bytes


class SimpleValues(AnyValues):
    """The integers of one key, or texts that need no look, each encoded anew.

    They end their field, whose head depends on their size.
    """

    __slots__ = ("_heads", "_octets")

    def __init__(self, memo: AttributeMemo, kind: type, key: str, rule: KeyRule) -> None:
        super().__init__(memo, rule, kind, key)
        self._octets = _OCTETS[kind]
        self._heads: dict[int, bytes] = {}

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        if misses >= self._resumes:
            self._memo.resume(self)
        try:
            octets = self._octets(value)
            return self._heads[len(octets)] + octets
        except (KeyError, UnicodeEncodeError):
            return self._with_head(value)

    def _with_head(self, value: Any) -> bytes:
        encoded = _TAG + key_value(self._tag_and_key, any_value(value, [self._memo.longest]))
        if self.kind not in _NUMBERS and len(value) > _LONGEST_KEPT:
            return encoded
        size = len(integer(value) if self.kind in _NUMBERS else utf8(value))
        if self.kind is int and size > _SHORTER_THAN_A_CARD:
            return self._cleaned(value)
        if size <= min(_LONGEST_KEPT, self._memo.longest):
            self._memo.keep_head(self._heads, size, encoded[: len(encoded) - size])
        return encoded

    def _cleaned(self, value: Any) -> bytes:
        """Return a value that is no plain one, as it may leave."""
        memo = self._memo
        cleaned = memo.policy.cleaned(value, self._rule, memo.where)
        encoded = _TAG + key_value(self._tag_and_key, any_value(cleaned, [memo.longest]))
        return encoded if cleaned is value else Masked(encoded)


class Texts(SimpleValues):
    """The texts of one key. Each is looked at: a calm one holds no secret."""

    __slots__ = ("_is_calm", "_is_calm_up_to")

    def __init__(self, memo: AttributeMemo, kind: type, key: str, rule: KeyRule) -> None:
        super().__init__(memo, kind, key, rule)
        self._is_calm, self._is_calm_up_to = rule.is_calm, rule.is_calm_up_to

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        if misses >= self._resumes:
            self._memo.resume(self)
        if len(value) > self._is_calm_up_to and not self._is_calm(value):
            return self._cleaned(value)
        try:
            octets: bytes = value.encode()
            return self._heads[len(octets)] + octets
        except (KeyError, UnicodeEncodeError):
            return self._with_head(value)


class Queries(SimpleValues):
    """The queries of one key. Most are simple, and need but to be split."""

    __slots__ = ("_names",)

    def __init__(self, memo: AttributeMemo, kind: type, key: str, rule: KeyRule) -> None:
        super().__init__(memo, kind, key, rule)
        self._names = memo.policy.names

    def __getitem__(self, value: Any) -> bytes:
        self.misses = misses = self.misses + 1
        if misses >= self._resumes:
            self._memo.resume(self)
        shown = redact_simple_query(value, self._names)
        if shown is None or (shown is not value and self._memo.policy.rule is not None):
            return self._cleaned(value)
        try:
            octets = shown.encode()
            encoded = self._heads[len(octets)] + octets
        except (KeyError, UnicodeEncodeError):
            encoded = self._with_head(shown)
        if shown is value:
            return encoded
        self._memo.policy.report.count(self._rule.shown)
        return Masked(encoded)


class TemplatedValues(EncodedValues):
    """Values of which a template makes attributes: their fields follow one another."""

    __slots__ = ()

    longest_kept = 4 * _LONGEST_KEPT

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
    """The values of one key and one type, remembered unless they are long."""

    __slots__ = ("_memo", "anew")

    def __init__(self, memo: AttributeMemo, anew: EncodedValues) -> None:
        super().__init__()
        self._memo = memo
        self.anew = anew

    @property
    def misses(self) -> int:
        """How many values were not remembered, and had to be encoded."""
        return self.anew.misses

    def __missing__(self, value: Any) -> bytes:
        encoded = self.anew[value]
        if len(encoded) <= self.anew.longest_kept and type(encoded) is bytes:
            self._memo.keep(self, value, encoded)
        return encoded


# The types whose values are kept. Not float: 0.0 equals -0.0. A list is no key of a dict.
_OCTETS: Final[dict[type, Callable[[Any], bytes]]] = {
    str: str.encode,
    Parameterised: str.encode,
    int: integer,
    bool: integer,
}
_NUMBERS: Final = frozenset({int, bool, float})

_SHORTER_THAN_A_CARD: Final = 5
"""Bytes of a varint: 35 bits, while the number of a card has 40 and more."""
