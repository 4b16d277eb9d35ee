"""Resources and scopes in the database. Every request repeats them. So each is kept once, known by its content."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tracemw.viewer.receiving.batch import ResourceScope
from tracemw.viewer.storing.database import Totals
from tracemw.viewer.storing.pool import Pool
from tracemw.viewer.storing.vocabulary import Words

NAMELESS_SERVICE = "unknown_service"
"""What lists call a service without a name; the specification's word."""

LONGEST_SERVICE = 200
"""Characters of a service's name in lists. The resource keeps all of them."""

_ROW_OVERHEAD = 200  # bytes that a resource or a scope costs beside its encoding


def read_scope(pool: Pool, scope: int) -> tuple[int, str, bytes]:
    """Return the row of a scope's resource, and the scope's schema URL and encoding; 0 and empty if it has gone."""
    found = pool.read("SELECT resource, schema_url, proto FROM scopes WHERE id = ?", (scope,))
    return found[0] if found else (0, "", b"")


def read_resource(pool: Pool, resource: int) -> tuple[str, bytes]:
    """Return a resource's schema URL and encoding; both empty if the resource has gone."""
    found = pool.read("SELECT schema_url, proto FROM resources WHERE id = ?", (resource,))
    return found[0] if found else ("", b"")


@dataclass(slots=True)
class _Entry:
    """A resource or a scope as its table has it. ``row`` is 0 while the table does not have it."""

    table: str
    digest: bytes
    schema_url: str
    proto: bytes
    row: int

    @property
    def size(self) -> int:
        return len(self.proto) + len(self.schema_url) + _ROW_OVERHEAD


@dataclass(frozen=True, slots=True)
class KeptScope:
    """A scope of spans in one transaction, with its resource.

    Attributes:
        message: The scope as it came. The scope is known by the identity of this message while this object lives.
        service: The name of the resource's service.
        resource: The resource's entry.
        scope: The scope's entry.
    """

    message: ResourceScope
    service: str
    resource: _Entry
    scope: _Entry

    @property
    def row(self) -> int:
        """The scope's row; 0 while the table does not have it."""
        return self.scope.row

    @property
    def size(self) -> int:
        """Bytes that the scope and its resource cost."""
        return self.resource.size + self.scope.size


class Scopes:
    """The tables ``resources`` and ``scopes`` within one transaction. ``totals`` and ``words`` are kept up to date."""

    def __init__(self, connection: sqlite3.Connection, totals: Totals, words: Words) -> None:
        self._execute: Callable[..., sqlite3.Cursor] = connection.execute
        self._totals = totals
        self._words = words
        self._by_scope: dict[int, KeptScope] = {}  # by the identity of the message
        self._by_resource: dict[int, _Entry] = {}  # by the identity of the message, too
        self._by_digest: dict[bytes, _Entry] = {}  # one request may hold equal messages many times

    def look_up(self, message: ResourceScope) -> KeptScope:
        """Return a scope. Its row is that of an equal scope in the table, or 0."""
        found = self._by_scope.get(id(message))
        if found is not None:
            return found
        resource = self._by_resource.get(id(message.resource))
        if resource is None:
            proto = message.resource.SerializeToString(deterministic=True)
            resource = self._look_up_entry("resources", proto, message.resource_schema_url)
            self._by_resource[id(message.resource)] = resource
        self._words.add_scope(message.resource, message.scope)
        proto = message.scope.SerializeToString(deterministic=True)
        scope = self._look_up_entry("scopes", proto, message.scope_schema_url, within=resource.digest)
        found = self._by_scope[id(message)] = KeptScope(message, _service_name(message.resource), resource, scope)
        return found

    def insert(self, kept: KeptScope) -> None:
        """Insert a scope, and its resource unless another scope has brought it."""
        if not kept.resource.row:
            self._insert_entry(kept.resource, kept.service)
        self._insert_entry(kept.scope, kept.resource.row)

    def size(self, scope: int) -> int:
        """Return the bytes that a scope in the table and its resource cost."""
        size: int = self._execute(
            "SELECT scopes.bytes + resources.bytes FROM scopes JOIN resources ON resources.id = scopes.resource "
            "WHERE scopes.id = ?",
            (scope,),
        ).fetchone()[0]
        return size

    def delete_unused(self, scope: int) -> None:
        """Delete a scope of which no trace has spans any more, and its resource if that was its last scope."""
        if self._execute("SELECT 1 FROM shares WHERE scope = ? LIMIT 1", (scope,)).fetchone():
            return
        resource, size = self._execute("SELECT resource, bytes FROM scopes WHERE id = ?", (scope,)).fetchone()
        self._execute("DELETE FROM scopes WHERE id = ?", (scope,))
        self._totals.size -= size
        if self._execute("SELECT 1 FROM scopes WHERE resource = ? LIMIT 1", (resource,)).fetchone():
            return
        (size,) = self._execute("SELECT bytes FROM resources WHERE id = ?", (resource,)).fetchone()
        self._execute("DELETE FROM resources WHERE id = ?", (resource,))
        self._totals.size -= size

    def _look_up_entry(self, table: str, proto: bytes, schema_url: str, within: bytes = b"") -> _Entry:
        url = schema_url.encode()
        digest = hashlib.sha256(b"%b%d:%b%b" % (within, len(url), url, proto)).digest()
        entry = self._by_digest.get(digest)
        if entry is None:
            row = self._execute(f"SELECT id FROM {table} WHERE digest = ?", (digest,)).fetchone()  # noqa: S608
            entry = self._by_digest[digest] = _Entry(table, digest, schema_url, proto, row[0] if row else 0)
        return entry

    def _insert_entry(self, entry: _Entry, belongs_to: str | int) -> None:
        """Insert a resource, which belongs to a service, or a scope, which belongs to a resource."""
        self._execute(
            f"INSERT INTO {entry.table} VALUES (NULL, ?, ?, ?, ?, ?)",  # noqa: S608
            (entry.digest, belongs_to, entry.size, entry.schema_url, entry.proto),
        )
        (entry.row,) = self._execute("SELECT last_insert_rowid()").fetchone()
        self._totals.size += entry.size


def _service_name(resource: Resource) -> str:
    """Return the resource's ``service.name`` for lists, or `NAMELESS_SERVICE`."""
    for attribute in resource.attributes:
        if attribute.key == "service.name" and attribute.value.string_value:
            return str(attribute.value.string_value)[:LONGEST_SERVICE]
    return NAMELESS_SERVICE
