"""The answers to a trace request, in OTLP's messages (opentelemetry-proto, ``docs/specification.md``)."""

from __future__ import annotations

import json

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tracemw.viewer.receiving.batch import Batch
from tracemw.viewer.receiving.content import JSON
from tracemw.viewer.receiving.refusals import RefusalError

# google.rpc.Code, by the HTTP status that it goes with.
_RPC_CODES = {400: 3, 403: 7, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 503: 14}
_UNKNOWN = 2


def encode_success(batch: Batch, content_type: str) -> bytes:
    """Return the ``ExportTraceServiceResponse`` for a batch, in the content type of its request."""
    message = ExportTraceServiceResponse()
    if batch.rejected:
        message.partial_success.rejected_spans = batch.rejected
        message.partial_success.error_message = f"{batch.rejected} spans were not kept: {batch.reason}"
    return _encode(message, content_type)


def encode_failure(refusal: RefusalError, content_type: str) -> bytes:
    """Return the ``google.rpc.Status``, the body that OTLP wants for an error, in the content type of the request."""
    message = refusal.message.encode(errors="backslashreplace").decode()  # the message may quote a lone surrogate
    return _encode(Status(code=_RPC_CODES.get(refusal.status, _UNKNOWN), message=message), content_type)


def _encode(message: Message, content_type: str) -> bytes:
    if content_type == JSON:
        return json.dumps(json_format.MessageToDict(message)).encode()
    encoded: bytes = message.SerializeToString()
    return encoded
