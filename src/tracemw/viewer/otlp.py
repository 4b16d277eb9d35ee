"""OTLP/HTTP trace requests: bytes in, validated spans out (opentelemetry-proto, ``docs/specification.md``).

Everything here is free of I/O. What is wrong with a request is raised as `OtlpError`, whose status is the HTTP status
to answer with; spans that are wrong one by one do not fail it but are counted, as OTLP's partial success wants it.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tracemw.viewer.bounds import (
    MAX_FIELDS,
    MAX_SPAN_BYTES,
    MAX_SPAN_FIELDS,
    MAX_SPANS,
    MAX_VALUES,
    has_more_fields,
    has_more_values,
)

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ENCODINGS = ("identity", "gzip", "deflate")

TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8

_GZIP_MEMBERS = 1024  # a body has one as a rule; each costs time, and an empty one has 20 bytes
_PIECE_BYTES = 64 * 1024  # what is inflated at a time: what follows a gzip member is copied for each member

# google.rpc.Code, by the HTTP status that it goes with.
_RPC_CODES = {400: 3, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}


class OtlpError(Exception):
    """A request that cannot be taken.

    Attributes:
        status: the HTTP status to answer with
        message: what is wrong and what would be accepted, for the sender's log
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Origin:
    """Where spans come from: one resource and one instrumentation scope, each with its schema URL."""

    resource: Resource
    resource_schema_url: str
    scope: InstrumentationScope
    scope_schema_url: str


@dataclass(slots=True)
class Batch:
    """The spans of one request that can be kept, and how many cannot.

    Attributes:
        spans: each valid span with its origin, in the order of the request
        rejected: how many spans were refused
        reason: why the first of them was refused, empty if none was
    """

    spans: list[tuple[Origin, Span]] = field(default_factory=list)
    rejected: int = 0
    reason: str = ""

    def reject(self, count: int, reason: str) -> None:
        """Count spans as refused; the first reason is the one that is told."""
        self.rejected += count
        self.reason = self.reason or reason


def media_type(content_type: str | None) -> str:
    """The media type of a trace request without its parameters, or `OtlpError` 415 for one that OTLP does not know."""
    name = (content_type or "").partition(";")[0].strip().lower()
    if name not in (PROTOBUF, JSON):
        raise OtlpError(415, f"content-type {name[:64] or '(none)'!r} is not OTLP: send {PROTOBUF} or {JSON}")
    return name


def content_encoding(value: str | None) -> str:
    """The content-encoding in lower case, identity for none, or `OtlpError` 415 for one that is not known."""
    encoding = (value or "").strip().lower() or "identity"
    if encoding not in ENCODINGS:
        raise OtlpError(415, f"content-encoding {encoding[:64]!r} is not known: send {', '.join(ENCODINGS)}")
    return encoding


def parse_request(body: bytes, *, content_type: str, content_encoding: str, limit: int) -> Batch:
    """Read one ``ExportTraceServiceRequest``.

    Args:
        body: the body as it came, still compressed
        content_type: one of the two that `media_type` returns
        content_encoding: the header's value; empty means identity
        limit: how many bytes the body may inflate to

    Raises:
        OtlpError: 400 for a body that is not what its headers say, 413 beyond the limit or for more than `bounds` has
            room for, 415 for an unknown encoding
    """
    plain = decompress(body, content_encoding, limit)
    request = _from_json(plain) if content_type == JSON else _from_protobuf(plain)
    spans = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if spans > MAX_SPANS:
        raise OtlpError(413, f"body has more than {MAX_SPANS} spans: send smaller batches")
    # A span can only be too large where the whole body is: a string of JSON is never shorter than its protobuf.
    return _validated(request, any_size=len(plain) <= min(MAX_SPAN_BYTES, 2 * MAX_SPAN_FIELDS))


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo the content-encoding, giving up as soon as the result passes ``limit`` bytes (a zip bomb stays small)."""
    encoding = content_encoding(encoding)
    plain = body if encoding == "identity" else _inflate(body, encoding, limit)
    if len(plain) > limit:
        raise too_large(limit)
    return plain


def too_large(limit: int) -> OtlpError:
    """The refusal of a body beyond ``limit`` bytes."""
    return OtlpError(413, f"body is larger than {limit} bytes: send smaller batches")


def response(batch: Batch, content_type: str) -> bytes:
    """The ``ExportTraceServiceResponse`` for what became of a request, in the request's own content type."""
    message = ExportTraceServiceResponse()
    if batch.rejected:
        message.partial_success.rejected_spans = batch.rejected
        message.partial_success.error_message = f"{batch.rejected} spans were not kept: {batch.reason}"
    return _encode(message, content_type)


def failure(error: OtlpError, content_type: str) -> bytes:
    """The ``google.rpc.Status`` that OTLP wants as the body of an error, in the request's own content type."""
    message = error.message.encode(errors="backslashreplace").decode()  # it may tell of a lone surrogate in JSON
    return _encode(Status(code=_RPC_CODES.get(error.status, 2), message=message), content_type)


def _encode(message: Message, content_type: str) -> bytes:
    if content_type == JSON:
        return json.dumps(json_format.MessageToDict(message)).encode()
    encoded: bytes = message.SerializeToString()
    return encoded


def _inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Inflate all gzip members (RFC 1952 allows several), or the one zlib stream of ``deflate`` (RFC 9110, 8.4.1.2)."""
    wbits = 31 if encoding == "gzip" else 15
    parts: list[bytes] = []
    room = limit + 1
    members = 1
    inflater = zlib.decompressobj(wbits)
    for start in range(0, len(body), _PIECE_BYTES):
        piece = body[start : start + _PIECE_BYTES]
        while piece:
            if inflater.eof:
                members += 1
                if members > _GZIP_MEMBERS:
                    raise OtlpError(413, f"body has more than {_GZIP_MEMBERS} gzip members: send one")
                inflater = zlib.decompressobj(wbits)
            try:
                parts.append(inflater.decompress(piece, room))
            except zlib.error as error:
                raise OtlpError(400, f"body is not {encoding}: {error}") from None
            room -= len(parts[-1])
            if room <= 0:
                raise too_large(limit)
            piece = inflater.unused_data
    if not inflater.eof:
        raise OtlpError(400, f"body is cut off: its {encoding} stream does not end")
    return b"".join(parts)


def _from_protobuf(body: bytes) -> ExportTraceServiceRequest:
    if has_more_fields(body, ExportTraceServiceRequest.DESCRIPTOR, MAX_FIELDS):
        raise OtlpError(413, f"body has more than {MAX_FIELDS} fields: send smaller batches")
    try:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
    except DecodeError as error:
        raise OtlpError(400, f"body is not an ExportTraceServiceRequest: {error}") from None
    return request


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    """Read OTLP's JSON, which is protobuf's own but for the ids: those are hex (base64 is taken as well)."""
    if has_more_values(body, MAX_VALUES):
        raise OtlpError(413, f"body has more than {MAX_VALUES} values: send smaller batches")
    request = ExportTraceServiceRequest()
    try:
        document = json.loads(body.decode("utf-8-sig"))  # JSON is UTF-8 (RFC 8259, 8.1), and what was counted is
        if not isinstance(document, dict):
            raise OtlpError(400, "body is JSON but not an object with resourceSpans")
        for holder in _holders_of_ids(document):
            for name in ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id"):
                if name in holder:
                    holder[name] = _base64_id(holder[name], name)
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # ParseDict wraps most complaints about a wrong shape in ParseError, not all; none of them is our failure.
        raise OtlpError(400, f"body is not OTLP JSON: {error}") from None
    return request


def _holders_of_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every span and link of an OTLP JSON document, in either spelling of the field names."""
    for resource_spans in _objects(document, "resourceSpans", "resource_spans"):
        for scope_spans in _objects(resource_spans, "scopeSpans", "scope_spans"):
            for span in _objects(scope_spans, "spans"):
                yield span
                yield from _objects(span, "links")


def _objects(parent: dict[str, Any], *names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        children = parent.get(name)
        if isinstance(children, list):
            yield from (child for child in children if isinstance(child, dict))


def _base64_id(value: object, name: str) -> object:
    """Give an id as protobuf's JSON wants it.

    Hex and base64 of 8 and of 16 bytes differ in length. An id of any other length is invalid, which is for
    `_validated` to find; only one that is neither makes the document unreadable.
    """
    if not isinstance(value, str):
        return value
    likely_base64 = len(value) in (12, 24)
    decoders = (_from_base64, bytes.fromhex) if likely_base64 else (bytes.fromhex, _from_base64)
    decoded = _decoded(value, *decoders)
    if decoded is None:
        raise OtlpError(400, f"{name} {value[:64]!r} is neither hex nor base64")
    return base64.b64encode(decoded).decode()


def _decoded(value: str, *decoders: Callable[[str], bytes]) -> bytes | None:
    for decode in decoders:
        try:
            return decode(value)
        except ValueError:
            continue
    return None


def _from_base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def _validated(request: ExportTraceServiceRequest, *, any_size: bool) -> Batch:
    batch = Batch()
    for resource_spans in request.resource_spans:
        resource = resource_spans.resource
        excess_of_resource = "" if any_size else _excess(resource)
        for scope_spans in resource_spans.scope_spans:
            if not scope_spans.spans:
                continue
            excess = excess_of_resource or ("" if any_size else _excess(scope_spans.scope))
            if excess:
                batch.reject(len(scope_spans.spans), f"their resource or scope has {excess}")
                continue
            origin = Origin(resource, resource_spans.schema_url, scope_spans.scope, scope_spans.schema_url)
            for span in scope_spans.spans:
                complaint = _complaint(span)
                if not (any_size or complaint) and (excess := _excess(span)):
                    complaint = f"it has {excess}"
                if complaint:
                    batch.reject(1, f"{complaint} (span {span.name[:64]!r})")
                else:
                    batch.spans.append((origin, span))
    return batch


def _excess(message: Message) -> str:
    """What a span, resource or scope has too much of, or an empty string."""
    if message.ByteSize() > MAX_SPAN_BYTES:
        return f"more than {MAX_SPAN_BYTES} bytes"
    if message.ByteSize() > 2 * MAX_SPAN_FIELDS and has_more_fields(
        message.SerializeToString(), message.DESCRIPTOR, MAX_SPAN_FIELDS
    ):
        return f"more than {MAX_SPAN_FIELDS} attributes, values and other fields"
    return ""


def _complaint(span: Span) -> str:
    """What makes a span impossible to keep, or an empty string."""
    if len(span.trace_id) != TRACE_ID_BYTES or not any(span.trace_id):
        return f"trace_id must be {TRACE_ID_BYTES} bytes and not all zero"
    if len(span.span_id) != SPAN_ID_BYTES or not any(span.span_id):
        return f"span_id must be {SPAN_ID_BYTES} bytes and not all zero"
    if len(span.parent_span_id) not in (0, SPAN_ID_BYTES):
        return f"parent_span_id must be empty or {SPAN_ID_BYTES} bytes"
    return ""
