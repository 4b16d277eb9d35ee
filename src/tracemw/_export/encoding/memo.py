"""The memory of the encoder: the bytes of attributes.

Most spans repeat what others have said: the same keys, nearly the same values. So the encoder remembers the bytes of
each attribute, and to encode a span is mostly to look up.

What may not leave is taken out here, where bytes are made. The policy decides on a key once. It looks at each text that
is not remembered. A text that had a secret in it is not remembered, so that each is counted.

Many threads encode at once, and so do signal handlers in between. Each look-up is one step of the interpreter, and so
is it to write one entry. One thread at a time gives a table room for more entries. The others do not wait, and go
without remembering. Each of them may write one entry beyond the room.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes

from tracemw._db.statements import Parameterised
from tracemw._export.encoding.tables import (
    LONGEST_KEPT,
    OCTETS,
    AnyValues,
    EncodedValues,
    Heads,
    KeptValues,
    RefusedValues,
    SimpleValues,
    TemplatedValues,
)
from tracemw._otel.attributes import TEMPLATED, Template, whole
from tracemw._process.log import log
from tracemw._process.native import make_lock
from tracemw.redaction.policy import Dropped, RedactionPolicy
from tracemw.redaction.users_rule import Where

_TAGS: Final[Mapping[Where, bytes]] = {
    "attribute": b"\x4a",  # Span: 9 attributes
    "event": b"\x1a",  # Span.Event: 3 attributes
    "link": b"\x22",  # Span.Link: 4 attributes
    "resource": b"\x0a",  # Resource: 1 attributes
    "scope": b"\x1a",  # InstrumentationScope: 3 attributes
}

_RESTS: Final = 7
"""How long a key rests: so many values are encoded anew for each value that it had kept."""


class AttributeMemo:
    """Attributes -> their fields, remembered by type, key and value: 1, True and 1.0 are equal, but not the same.

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

    def __init__(self, size: int, longest: int, policy: RedactionPolicy, where: Where = "attribute") -> None:
        self._size = size
        self.longest = longest
        self.policy = policy
        self.where = where
        self.tag = _TAGS[where]
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

    def fields(self, attributes: Mapping[str, Any] | None) -> bytes:
        """Return the field of each attribute, one after the other. Values without a form in OTLP are left out."""
        fields: list[bytes] = []
        self.add_fields(fields, attributes)
        return b"".join(fields)

    def add_fields(self, fields: list[bytes], attributes: Mapping[Any, Any] | None) -> None:
        """Append the field for each attribute, or for all attributes of a template.

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

    def enlarge(self, table: KeptValues | Heads) -> bool:
        """Give a table room for more entries, and return whether there was any.

        A key whose values fill its share gives its share back and rests. Heads get a fourth of a share.
        """
        if not self._writes.acquire(blocking=False):
            return False
        try:
            share = self._share if type(table) is KeptValues else self._share // 4 + 1
            more = min(table.room // 4 + 1, share - table.room)
            if more > 0:
                table.room += more
                return self._reserve(more)
            if type(table) is KeptValues:
                anew = table.anew
                if self._tables.get(anew.kind, {}).get(anew.key) is table:
                    self._kept -= table.room
                    anew.rest(_RESTS * self._share)
                    self._tables[anew.kind][anew.key] = anew
            return False
        finally:
            self._writes.release()

    def resume(self, anew: EncodedValues) -> None:
        """Remember the values of a key that has rested."""
        if not self._writes.acquire(blocking=False):
            return  # the key's next value is another occasion
        try:
            if self._tables.get(anew.kind, {}).get(anew.key) is anew:
                anew.rest()
                self._tables[anew.kind][anew.key] = KeptValues(self, anew)
        finally:
            self._writes.release()

    def _reserve(self, entries: int) -> bool:
        """Count more entries. When there is no room, forget everything and return False."""
        if self._kept + entries <= self._size:
            self._kept += entries
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
                if self.where != "attribute" and isinstance(error, RecursionError | MemoryError):
                    raise  # that is not the value's fault, and a resource or scope is remembered for good
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
        if (not is_template and len(key) > LONGEST_KEPT) or not self._writes.acquire(blocking=False):
            self._forgotten_misses += 1
            return TemplatedValues(self, kind, key) if is_template else AnyValues(self, self.policy.of(key, self.where))
        try:
            table = self._new_table(kind, key)
            if not self._reserve(1):
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
        return KeptValues(self, SimpleValues(self, kind, key, rule)) if kind in OCTETS else AnyValues(self, rule)
