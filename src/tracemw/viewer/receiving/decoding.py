"""The body of a trace request becomes a batch of spans.

Everything here is free of I/O. A body that cannot be read is a `RefusalError`. A single span that cannot be kept fails
nothing: the batch counts it, for OTLP's partial success.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tracemw.viewer.receiving.batch import Batch, validate
from tracemw.viewer.receiving.content import JSON, decompress
from tracemw.viewer.receiving.counting import MAX_FIELDS, MAX_SPANS, MAX_VALUES, has_more_fields, has_more_values
from tracemw.viewer.receiving.refusals import RefusalError

_BASE64_ID_CHARACTERS = (12, 24)  # of 8 and of 16 bytes; in hex they are 16 and 32


def decode(body: bytes, *, content_type: str, content_encoding: str, limit: int) -> Batch:
    """Read one ``ExportTraceServiceRequest``.

    Args:
        body: The body as it came, still compressed.
        content_type: One of the two that `parse_media_type` returns.
        content_encoding: One of `ENCODINGS`.
        limit: How many bytes the body may inflate to.

    Raises:
        RefusalError: with 400, for a body that does not fit its headers; with 413, beyond a limit.
    """
    plain = decompress(body, content_encoding, limit)
    request = _from_json(plain) if content_type == JSON else _from_protobuf(plain)
    spans = sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
    if spans > MAX_SPANS:
        raise RefusalError(413, f"body has more than {MAX_SPANS} spans: send smaller batches")
    return validate(request, len(plain))


def _from_protobuf(body: bytes) -> ExportTraceServiceRequest:
    if has_more_fields(body, ExportTraceServiceRequest.DESCRIPTOR, MAX_FIELDS):
        raise RefusalError(413, f"body has more than {MAX_FIELDS} fields: send smaller batches")
    try:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
    except DecodeError as error:
        raise RefusalError(400, f"body is not an ExportTraceServiceRequest: {error}") from None
    return request


def _from_json(body: bytes) -> ExportTraceServiceRequest:
    """Read OTLP's JSON. This is protobuf's JSON with ids in hex. Ids in base64 are taken as well."""
    if has_more_values(body, MAX_VALUES):
        raise RefusalError(413, f"body has more than {MAX_VALUES} values: send smaller batches")
    request = ExportTraceServiceRequest()
    try:
        document = json.loads(body.decode("utf-8-sig"))  # UTF-8 only (RFC 8259, 8.1): `has_more_values` counted that
        if not isinstance(document, dict):
            raise RefusalError(400, "body is JSON but not an object with resourceSpans")
        for holder in _holders_of_ids(document):
            for name in ("traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id"):
                if name in holder:
                    holder[name] = _to_base64(holder[name], name)
        json_format.ParseDict(document, request, ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # ParseDict lets some errors through as they are. All of them mean a wrong shape.
        raise RefusalError(400, f"body is not OTLP JSON: {error}") from None
    return request


def _holders_of_ids(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every span and link of an OTLP JSON document, in either spelling of the field names."""
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


def _to_base64(value: object, name: str) -> object:
    """Return an id as protobuf's JSON wants it, from hex or base64. For a valid id, their lengths differ.

    An id of another length passes here, and `validate` rejects its span. Only text that is neither hex nor base64
    makes the document unreadable.
    """
    if not isinstance(value, str):
        return value
    likely_base64 = len(value) in _BASE64_ID_CHARACTERS
    decoders = (_from_base64, bytes.fromhex) if likely_base64 else (bytes.fromhex, _from_base64)
    decoded = _first_decoded(value, *decoders)
    if decoded is None:
        raise RefusalError(400, f"{name} {value[:64]!r} is neither hex nor base64")
    return base64.b64encode(decoded).decode()


def _first_decoded(value: str, *decoders: Callable[[str], bytes]) -> bytes | None:
    for decode_text in decoders:
        try:
            return decode_text(value)
        except ValueError:
            continue
    return None


def _from_base64(value: str) -> bytes:
    return base64.b64decode(value, validate=True)
