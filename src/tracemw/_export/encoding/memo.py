"""The memory of the encoder: the bytes of attributes and of names.

Most spans repeat what others have said: the same keys, nearly the same values. So the encoder remembers the bytes of
each attribute, and to encode a span is mostly to look up.

Many threads encode at once, and so do signal handlers in between. Each look-up is one step of the interpreter. One
thread at a time writes. The others do not wait, and go without remembering.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes

from tracemw._export.encoding.any_value import any_value, key_value
from tracemw._export.encoding.protobuf import integer, text_field, utf8
from tracemw._process.log import log
from tracemw._process.native import make_lock

_LONGEST_KEPT: Final = 512
"""Bytes. A longer value seldom comes back, and takes much memory."""

_NAMES_KEPT: Final = 1024

_RESTS: Final = 7
"""How long a key rests: so many values are encoded anew for each value that it had kept."""


class AttributeMemo:
    """Attributes -> sized `KeyValue`s, remembered by type, key and value: 1, True and 1.0 are equal, but not the same.

    Each key has a share of the memo. A key that fills its share gives it back and rests: few of its values come back,
    and to look up and keep one costs more than to encode it. After a while, the key gets another try. The values of
    other keys stay. Only when new keys come without end is everything forgotten.

    Args:
        size: How many entries are remembered, of all keys together.
        longest: How many bytes the value of an attribute may take.
    """

    def __init__(self, size: int, longest: int) -> None:
        self._size = size
        self.longest = longest
        self._share = max(size // 16, 1)
        self._kept = 0
        self._tables: dict[type, dict[str, AnyValues | KeptValues]] = {}
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
        if type(attributes) is not dict:  # item by item, BoundedAttributes cost as much as all else in a span
            attributes = attributes._dict if isinstance(attributes, BoundedAttributes) else dict(attributes or ())  # noqa: SLF001
        tables = self._tables
        try:
            return [tables[type(value)][key][value] for key, value in attributes.items()]
        except Exception:  # a key not seen before, a dict that grew meanwhile, a value without a form
            key_values = self._one_by_one(dict(attributes))
        return list(key_values)

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

    def resume(self, anew: SimpleValues) -> None:
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

    def _one_by_one(self, attributes: dict[str, Any]) -> Iterator[bytes]:
        for key, value in attributes.items():
            try:
                yield self._table(type(value), key)[value]
            except Exception as error:
                if not self._logged:
                    self._logged = True
                    said = "tracemw leaves out attribute %r, which it cannot encode; further ones are not logged"
                    log(logging.ERROR, said, key, error=error)

    def _table(self, kind: type, key: str) -> AnyValues | KeptValues:
        """Return the table for the values of one key and type. A long key gets a new table each time."""
        table = self._tables.get(kind, {}).get(key)
        if table is not None:
            return table
        if len(key) > _LONGEST_KEPT or not self._writes.acquire(blocking=False):
            self._forgotten_misses += 1
            return AnyValues(self, key)
        try:
            table = KeptValues(self, SimpleValues(self, kind, key)) if kind in _OCTETS else AnyValues(self, key)
            if not self._reserve():
                self._kept = 1
            return self._tables.setdefault(kind, {}).setdefault(key, table)
        finally:
            self._writes.release()


class AnyValues:
    """The values of one key and one type, each encoded anew."""

    __slots__ = ("_memo", "_tag_and_key", "misses")

    def __init__(self, memo: AttributeMemo, key: str) -> None:
        self._memo = memo
        self._tag_and_key = text_field(b"\x0a", key)
        self.misses = 0

    def __getitem__(self, value: object) -> bytes:
        self.misses += 1
        return key_value(self._tag_and_key, any_value(value, [self._memo.longest]))


class SimpleValues(AnyValues):
    """The texts or integers of one key, each encoded anew. They end their `KeyValue`, whose head depends on their size.

    While a key rests, these values stand in the place of its table; else they encode what the table does not hold.
    """

    __slots__ = ("_heads", "_octets", "_resumes", "key", "kind")

    def __init__(self, memo: AttributeMemo, kind: type, key: str) -> None:
        super().__init__(memo, key)
        self.kind = kind
        self.key = key
        self._octets = _OCTETS[kind]
        self._heads: dict[int, bytes] = {}
        self._resumes = math.inf

    def rest(self, values: float) -> None:
        """Rest for so many values. Then the memo remembers values again."""
        self._resumes = self.misses + values

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
        encoded = key_value(self._tag_and_key, any_value(value, [self._memo.longest]))
        if self.kind is str and len(value) > _LONGEST_KEPT:
            return encoded
        size = len(utf8(value) if self.kind is str else integer(value))
        if size <= min(_LONGEST_KEPT, self._memo.longest):
            self._memo.keep_head(self._heads, size, encoded[: len(encoded) - size])
        return encoded


class KeptValues(dict[Any, bytes]):
    """The values of one key and one type, remembered unless they are long."""

    __slots__ = ("_memo", "anew")

    def __init__(self, memo: AttributeMemo, anew: SimpleValues) -> None:
        super().__init__()
        self._memo = memo
        self.anew = anew

    @property
    def misses(self) -> int:
        """How many values were not remembered, and had to be encoded."""
        return self.anew.misses

    def __missing__(self, value: Any) -> bytes:
        encoded = self.anew[value]
        if len(encoded) <= _LONGEST_KEPT:
            self._memo.keep(self, value, encoded)
        return encoded


class Names(dict[str, bytes]):
    """Span names -> their fields in `Span`, remembered unless they are long."""

    def __missing__(self, name: str) -> bytes:
        field = text_field(b"\x2a", name)
        if len(field) <= _LONGEST_KEPT:
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[name] = field
        return field


# The types whose values are kept. Not float: 0.0 equals -0.0. A list is no key of a dict.
_OCTETS: Final[dict[type, Callable[[Any], bytes]]] = {str: str.encode, int: integer, bool: integer}
