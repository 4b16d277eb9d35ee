"""The envelopes of spans in a request: `ResourceSpans` around `ScopeSpans` around spans.

A record is an encoded span that waits. It begins with the number of its group (one resource and one scope). So the
spans of many records go into few envelopes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from tracemw._export.encoding.protobuf import sized, text_field, varint

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from tracemw._export.encoding.memo import AttributeMemo

_KEPT: Final = 256
"""Resources and scopes, and pairs of them, that are remembered. A service has one resource and a dozen scopes."""

_NUMBER: Final = 4
"""Bytes of a group's number."""

_TAG: Final = b"\x12"
"""ScopeSpans: 2 spans."""

_ALONE: Final = b"\xff" * _NUMBER
"""The number of a record that has no group, and brings its own envelopes along."""


class Envelope:
    """A resource or a scope, and its bytes. Envelopes of equal ones are equal, but each keeps its own bytes."""

    __slots__ = ("_hash", "_head", "_tail", "of")

    def __init__(self, of: Resource | InstrumentationScope | None, message: bytes) -> None:
        # ResourceSpans: 1 resource, 2 scope_spans, 3 schema_url. ScopeSpans: 1 scope, 2 spans, 3 schema_url
        self.of = of
        self._head = b"\x0a" + sized(message)
        self._tail = text_field(b"\x1a", of.schema_url) if of is not None else b""
        try:
            self._hash = hash(of)  # for each hash, a Resource dumps its attributes to JSON
        except Exception:  # some values have no form in JSON, or raise
            self._hash = id(of)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        try:
            return isinstance(other, Envelope) and (self.of is other.of or bool(self.of == other.of))
        except Exception:  # some values cannot be compared
            return False

    def around(self, tag: bytes, within: list[bytes], size: int) -> tuple[list[bytes], int]:
        """Return the envelope with `within` of this size in it, and the size of all that.

        The envelope comes in pieces, so that a large batch is copied only once.
        """
        size += len(self._tail)
        head = tag + varint(len(self._head) + size) + self._head
        return [head, *within, self._tail], len(head) + size


@dataclass(frozen=True, slots=True)
class ScopeGroup:
    """Spans of one resource and one scope."""

    resource: Envelope
    scope: Envelope
    head: bytes
    """The first bytes of their records: the number of the group, and the tag of a span; empty for too many groups."""

    def record(self, sized_span: bytes) -> bytes:
        """Return the record of one span."""
        if self.head:
            return self.head + sized_span
        return _ALONE + b"".join(_resource_spans({self.resource: {self.scope: [_TAG + sized_span]}}))


class Groups:
    """Groups that have been seen, and requests made of their records.

    Args:
        resources: Encodes the attributes of resources.
        scopes: Encodes the attributes of scopes.
    """

    def __init__(self, resources: AttributeMemo, scopes: AttributeMemo) -> None:
        self._resources = resources
        self._scopes = scopes
        self._envelopes: dict[int, Envelope] = {}
        self._groups: dict[tuple[int, int], ScopeGroup] = {}
        self._numbered: dict[bytes, ScopeGroup] = {}
        self._numbers = count()

    def find(self, resource: Resource, scope: InstrumentationScope | None) -> ScopeGroup:
        """Return the group of spans with this resource and this scope."""
        # Groups are found by identity. A kept group holds its objects, so no other object gets their ids.
        ids = (id(resource), id(scope))
        group = self._groups.get(ids)
        if group is None:
            envelopes = self._envelope(resource, self._resource), self._envelope(scope, self._scope)
            if len(self._groups) >= _KEPT:
                return ScopeGroup(*envelopes, b"")
            number = next(self._numbers).to_bytes(_NUMBER, "big")
            group = self._numbered[number] = self._groups[ids] = ScopeGroup(*envelopes, number + _TAG)
        return group

    def request(self, records: Sequence[bytes]) -> bytes:
        """Return the request that carries the spans of `records`, grouped by resource, then by scope."""
        # Equal groups of different numbers share a list, so that their spans stay in the order they came.
        resources: _Grouped = {}
        alone: list[bytes] = []
        groups: dict[bytes, list[bytes]] = {_ALONE: alone}
        for record in records:
            number = record[:_NUMBER]
            fields = groups.get(number)
            if fields is None:
                group = self._numbered[number]
                fields = groups[number] = resources.setdefault(group.resource, {}).setdefault(group.scope, [])
            fields.append(record[_NUMBER:])
        return b"".join([*_resource_spans(resources), *alone])

    def _envelope(self, of: Any, message: Callable[[Any], bytes]) -> Envelope:
        envelope = self._envelopes.get(id(of))
        if envelope is None:
            envelope = Envelope(of, message(of))
            if len(self._envelopes) < _KEPT:
                self._envelopes[id(of)] = envelope
        return envelope

    def _resource(self, resource: Resource) -> bytes:
        # Resource: 1 attributes
        return self._resources.fields(resource.attributes)

    def _scope(self, scope: InstrumentationScope | None) -> bytes:
        # InstrumentationScope: 1 name, 2 version, 3 attributes
        if scope is None:
            return b""
        name = self._scopes.policy.text(scope.name, "scope") if scope.name else scope.name
        return text_field(b"\x0a", name) + text_field(b"\x12", scope.version) + self._scopes.fields(scope.attributes)


_Grouped = dict[Envelope, dict[Envelope, list[bytes]]]
"""Spans as fields of `ScopeSpans`, by resource and scope."""


def _resource_spans(grouped: _Grouped) -> list[bytes]:
    """Return the pieces of a request with these spans."""
    # ExportTraceServiceRequest: 1 resource_spans. ResourceSpans: 2 scope_spans
    pieces: list[bytes] = []
    for resource, scopes in grouped.items():
        scope_spans: list[bytes] = []
        size_of_spans = 0
        for scope, fields in scopes.items():
            spans, size = scope.around(b"\x12", fields, sum(map(len, fields)))
            scope_spans += spans
            size_of_spans += size
        pieces += resource.around(b"\x0a", scope_spans, size_of_spans)[0]
    return pieces
