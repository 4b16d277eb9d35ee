"""The words of stretches: which attributes and names stand in some thousand rows of spans that came one after another.

A search looks into those stretches only in which a span can match. A word is the hash of a key, of a key with a value,
or of a name. A stretch has its words sorted, in four bytes each. Two words may have the same hash: then a search looks
in vain, and misses nothing.

The latest rows are in no stretch yet, until there are enough of them. A search always looks into these.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from zlib import crc32

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.budget import Budget
from tracemw.viewer.storing.pool import Pool

WORDED = ("name", "status", "event:name", "instrumentation:name")
"""The intrinsics that have words. A status that is unset has none."""

_STRETCH_SPANS = 2_000  # as soon as so many rows are in no stretch, they become one
_STRETCHES_AT_ONCE = 200
_KNOWN_ATTRIBUTES = 20_000  # whose words are remembered
_KNOWN_BYTES = 200  # a longer attribute is not remembered

_LAST_ROW = 2**63 - 1

_serialize: Callable[[KeyValue], bytes] = KeyValue.SerializeToString


def key_word(key: str) -> int:
    """Return the word of an attribute's key."""
    return crc32(f"{key}\0".encode(errors="replace"))


def attribute_word(key: str, value: str | int | float | bool) -> int:
    """Return the word of an attribute with its value, or with one element of its array."""
    return crc32(f"{key}\0{_LETTERS[type(value)]}{value}".encode(errors="replace"))


def intrinsic_word(name: str, value: str | int) -> int:
    """Return the word of the value of one of `WORDED`."""
    return crc32(f"\0{name}\0{value}".encode(errors="replace"))


_LETTERS: dict[type, str] = {str: "s", int: "i", float: "f", bool: "b"}


@dataclass(frozen=True, slots=True)
class Needs:
    """The words without which no span of a stretch can match: one of ``words`` at least, or all of them."""

    words: tuple[Needs | int, ...]
    all: bool

    def are_met(self, words: array[int]) -> bool:
        """Tell whether a stretch has the words."""
        met = (need.are_met(words) if isinstance(need, Needs) else _has(words, need) for need in self.words)
        return all(met) if self.all else any(met)


class Words:
    """The words of the spans of one transaction, before they become hashes."""

    def __init__(self) -> None:
        self._attributes: set[bytes] = set()
        self._intrinsics: set[tuple[str, str | int]] = set()

    def add(self, span: Span) -> None:
        """Add what a span says."""
        self._attributes.update(map(_serialize, span.attributes))
        self._intrinsics.add(("name", span.name))
        if span.status.code:
            self._intrinsics.add(("status", span.status.code))
        for event in span.events:
            self._intrinsics.add(("event:name", event.name))
            self._attributes.update(map(_serialize, event.attributes))
        for link in span.links:
            self._attributes.update(map(_serialize, link.attributes))

    def add_scope(self, resource: Resource, scope: InstrumentationScope) -> None:
        """Add what a scope and its resource say. They belong to the words of each of their spans."""
        self._attributes.update(map(_serialize, resource.attributes), map(_serialize, scope.attributes))
        self._intrinsics.add(("instrumentation:name", scope.name))

    def hashes(self, known: dict[bytes, tuple[int, ...]]) -> Iterator[int]:
        """Yield the hashes of all words. What has been seen before is ``known``."""
        for name, value in self._intrinsics:
            yield intrinsic_word(name, value)
        for encoded in self._attributes:
            words = known.get(encoded)
            if words is None:
                words = tuple(_words_of(KeyValue.FromString(encoded)))
                if len(encoded) <= _KNOWN_BYTES:
                    if len(known) >= _KNOWN_ATTRIBUTES:
                        known.clear()
                    known[encoded] = words
            yield from words


class Vocabulary:
    """The table ``stretches``, as the one thread that writes sees it.

    Args:
        connection: The connection that writes.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._known: dict[bytes, tuple[int, ...]] = {}
        self._words: set[int] = set()  # of the rows that are in no stretch, and perhaps some more
        self._spans = 0
        self._read_rest()

    def take(self, words: Words, spans: int) -> int:
        """Take the words of new spans. Make a stretch if there are enough, and drop those whose spans have gone.

        Returns:
            By how many bytes the table has grown.
        """
        self._words.update(words.hashes(self._known))
        self._spans += spans
        if self._spans < _STRETCH_SPANS:
            return 0
        hashes = _packed(self._words)
        # Row ids only grow: each transaction leaves the spans of its latest trace, which have the highest.
        (last,) = self._execute("SELECT coalesce(max(rowid), 0) FROM spans").fetchone()
        self._execute("INSERT INTO stretches VALUES (?, ?, ?)", (last, self._end() + 1, hashes))
        self._words = set()
        self._spans = 0
        return len(hashes) - self._drop_empty()

    def stretches_of(self, trace_id: bytes) -> set[int]:
        """Return the last row of each stretch that has spans of a trace."""
        found = self._execute(
            "SELECT DISTINCT last FROM spans JOIN stretches ON spans.rowid BETWEEN first AND last WHERE trace_id = ?",
            (trace_id,),
        )
        return {last for (last,) in found}

    def rebuild(self, stretches: Iterable[int]) -> int:
        """Make the words of stretches anew, from the spans that they still have.

        Returns:
            By how many bytes the table has grown.
        """
        (before,) = self._execute("SELECT coalesce(sum(length(words)), 0) FROM stretches").fetchone()
        # New spans take the numbers after the last one that is there. A stretch beyond it would not have their words.
        self._execute("DELETE FROM stretches WHERE last > (SELECT coalesce(max(rowid), 0) FROM spans)")
        self._known = {}
        for last in stretches:
            row = self._execute("SELECT first FROM stretches WHERE last = ?", (last,)).fetchone()
            if row is not None:
                words, _ = self._read(row[0], last)
                self._execute("UPDATE stretches SET words = ? WHERE last = ?", (_packed(words), last))
        self._drop_empty()
        self._read_rest()
        (after,) = self._execute("SELECT coalesce(sum(length(words)), 0) FROM stretches").fetchone()
        return int(after - before)

    def _drop_empty(self) -> int:
        empty = "NOT EXISTS (SELECT 1 FROM spans WHERE spans.rowid BETWEEN stretches.first AND stretches.last)"
        (size,) = self._execute(
            f"SELECT coalesce(sum(length(words)), 0) FROM stretches WHERE {empty}"  # noqa: S608
        ).fetchone()
        self._execute(f"DELETE FROM stretches WHERE {empty}")  # noqa: S608
        return int(size)

    def _end(self) -> int:
        (end,) = self._execute("SELECT coalesce(max(last), 0) FROM stretches").fetchone()
        return int(end)

    def _read_rest(self) -> None:
        """Read the words of the rows that are in no stretch, as a viewer before this one has left them."""
        self._words, self._spans = self._read(self._end() + 1, _LAST_ROW)

    def _read(self, first: int, last: int) -> tuple[set[int], int]:
        """Return the words of the spans from one row to another, and how many spans there are."""
        words = Words()
        scopes: set[int] = set()
        spans = 0
        for scope, proto in self._execute("SELECT scope, proto FROM spans WHERE rowid BETWEEN ? AND ?", (first, last)):
            words.add(Span.FromString(proto))
            scopes.add(scope)
            spans += 1
        for row in scopes:
            resource, scope = self._execute(
                "SELECT resources.proto, scopes.proto FROM scopes JOIN resources ON resources.id = scopes.resource "
                "WHERE scopes.id = ?",
                (row,),
            ).fetchone()
            words.add_scope(Resource.FromString(resource), InstrumentationScope.FromString(scope))
        return set(words.hashes(self._known)), spans


def read_stretches(pool: Pool, needs: Needs, budget: Budget) -> Iterator[tuple[int, int]]:
    """Yield the first and last row of each part of the table of spans in which one can match, oldest first."""
    end = 0
    while True:
        rows = pool.read(
            "SELECT first, last, words FROM stretches WHERE last > ? ORDER BY last LIMIT ?",
            (end, _STRETCHES_AT_ONCE),
            budget,
        )
        for first, last, hashes in rows:
            words = array("I")
            words.frombytes(hashes)
            if needs.are_met(words):
                yield first, last
            end = last
        if len(rows) < _STRETCHES_AT_ONCE:
            break
    ((newest,),) = pool.read("SELECT coalesce(max(rowid), 0) FROM spans", (), budget)
    if newest > end:
        yield end + 1, newest


def _packed(words: Iterable[int]) -> bytes:
    return array("I", sorted(words)).tobytes()


def _has(words: array[int], word: int) -> bool:
    place = bisect_left(words, word)
    return place < len(words) and words[place] == word


def _words_of(attribute: KeyValue) -> Iterator[int]:
    yield key_word(attribute.key)
    for value in _scalars(attribute.value):
        yield attribute_word(attribute.key, value)


def _scalars(value: AnyValue) -> Iterable[str | int | float | bool]:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return (scalar for element in value.array_value.values for scalar in _scalars(element))
    return (getattr(value, kind),) if kind in _SCALARS else ()


_SCALARS = ("string_value", "int_value", "double_value", "bool_value")
