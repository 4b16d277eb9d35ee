"""Tempo's redaction service: `tempopb.BackendScheduler/SubmitRedaction` over gRPC.

To import this module loads grpc. Source: grafana.com/docs/tempo, and `pkg/tempopb/backendwork.proto` of Tempo 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

import grpc
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto  # type: ignore[import-untyped]
from google.protobuf.descriptor_pool import DescriptorPool  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.protobuf.message_factory import GetMessageClass  # type: ignore[import-untyped]

from tracemw.analysis.load.unreadable import ServerError
from tracemw.config import Backend
from tracemw.erasure.windows import Window

Answer = Literal["accepted", "busy", "no-blocks"]
"""What becomes of a request: `busy` if another redaction of the tenant runs, `no-blocks` if there is nothing to redact
yet."""

_METHOD: Final = "/tempopb.BackendScheduler/SubmitRedaction"
_TIMEOUT: Final = 30.0
"""Seconds that one answer may take."""

_DRY_RUN: Final = 1
_NANOSECONDS: Final = 10**9

# In Tempo 3.0, field 1 of the request is the tenant: required, and a dry run would delete. Without that field 3.0
# refuses. So the message has no such field here, and nobody can fill it.
_FIELDS: Final = {
    "TraceQLSelector": [("query", 1, "string")],
    "SubmitRedactionRequest": [
        ("trace_ids", 2, "bytes"),
        ("query", 3, "TraceQLSelector"),
        ("mode", 4, "int32"),
        ("start_time_unix_nano", 5, "int64"),
        ("end_time_unix_nano", 6, "int64"),
    ],
    "SubmitRedactionResponse": [("batch_id", 1, "string"), ("jobs_created", 2, "int32")],
}

_of_tempo_3_0 = re.compile(r"tenant[_ ]?id\b.*\b(?:required|empty|missing)|tenant.*\brequired", re.IGNORECASE).search
_is_being_compacted = re.compile(r"being compacted", re.IGNORECASE).search


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request, and what Tempo has answered."""

    by: Literal["ids", "query"]
    answer: Answer
    traces: int = 0
    """Traces that were named by id."""
    said: str = ""
    """Tempo's words, if it has not accepted."""
    batch: str = ""
    jobs: int = 0


class RedactionService:
    """The redaction service of one tenant.

    Args:
        backend: Where it is, and how to speak to it: tenant, credentials and certificates are those of an export.
        dry_run: Whether Tempo only counts what it would erase.
    """

    def __init__(self, backend: Backend, *, dry_run: bool) -> None:
        self._name = str(backend.endpoint)
        self._metadata = tuple(backend.headers.items())
        self._mode = _DRY_RUN if dry_run else 0
        proxy = backend.proxy
        options = [("grpc.http_proxy", proxy.url) if proxy else ("grpc.enable_http_proxy", 0)]
        target = backend.endpoint.host_and_port
        if backend.endpoint.is_secure:
            self._channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*backend.tls.pem()), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._call = self._channel.unary_unary(
            _METHOD,
            request_serializer=_message("SubmitRedactionRequest").SerializeToString,
            response_deserializer=_response,
        )

    def redact_ids(self, trace_ids: Sequence[str]) -> Sent:
        """Ask for the redaction of traces by their ids in hex. It takes no window.

        Raises:
            QueryError: if the service cannot be asked, or refuses. The error says the remedy.
        """
        ids = [bytes.fromhex(each) for each in trace_ids]
        return self._submit("ids", {"trace_ids": ids}, traces=len(ids))

    def redact_query(self, query: str, window: Window | None) -> Sent:
        """Ask for the redaction of the traces that a query finds in each block.

        Args:
            query: One filter of comparisons by `=`.
            window: The times that blocks have to have; None for all blocks.

        Raises:
            QueryError: if the service cannot be asked, or refuses. The error says the remedy.
        """
        asked: dict[str, object] = {"query": {"query": query}}
        if window is not None:
            asked["start_time_unix_nano"] = window.start * _NANOSECONDS
            asked["end_time_unix_nano"] = window.end * _NANOSECONDS
        return self._submit("query", asked)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _submit(self, by: Literal["ids", "query"], asked: dict[str, object], *, traces: int = 0) -> Sent:
        request = _message("SubmitRedactionRequest")(**asked, mode=self._mode)
        try:
            answer = self._call(request, timeout=_TIMEOUT, metadata=self._metadata)
        except grpc.RpcError as error:
            said = " ".join((error.details() or "no reason given").split())[:300]
            refusal = _refused(error.code().name, said)
            if refusal is None:
                raise ServerError(self._remedy(error.code().name, said)) from None
            return Sent(by=by, answer=refusal, traces=traces, said=said)
        return Sent(by=by, answer="accepted", traces=traces, batch=answer.batch_id, jobs=answer.jobs_created)

    def _remedy(self, status: str, said: str) -> str:
        if "no org id" in said.lower():
            return f"{self._name} needs a tenant ({said}); use --tenant or TRACEMW_TENANT where this command starts"
        if status == "FAILED_PRECONDITION":
            return (
                f"{self._name} redacts nothing ({said}); have the tenant's compaction enabled in Tempo's overrides, "
                "and run this again"
            )
        if status == "UNIMPLEMENTED":
            return (
                f"{self._name} has no redaction service ({said}); name the gRPC port of the backend scheduler of Tempo "
                "3.1 or later with --scheduler: 9095 by default, or 3200 where stream_over_http_enabled is on"
            )
        if status == "INVALID_ARGUMENT" and _of_tempo_3_0(said):
            return f"{self._name} is a Tempo 3.0 ({said}), which erases nothing safely; upgrade to Tempo 3.1 or later"
        if status == "INVALID_ARGUMENT":
            return f"{self._name} refuses the request ({said}); check the tenant, and that this is Tempo 3.1 or later"
        if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return f"{self._name} answers {status} ({said}); put an authorization into OTEL_EXPORTER_OTLP_HEADERS"
        if status in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
            return (
                f"{self._name} cannot be reached ({said}); see whether it runs, and name the gRPC port of Tempo's "
                "backend scheduler with --scheduler; https:// means TLS, whose certificates the variables "
                "OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY name"
            )
        return f"{self._name} answers {status} ({said}); look into its log, and try again"


def _refused(status: str, said: str) -> Answer | None:
    """Return what a refusal means that passes by itself; None for any other."""
    if status == "ALREADY_EXISTS" or (status == "FAILED_PRECONDITION" and _is_being_compacted(said)):
        return "busy"
    return "no-blocks" if status == "NOT_FOUND" else None


def _response(octets: bytes) -> Message:
    try:
        return _message("SubmitRedactionResponse").FromString(octets)
    except DecodeError:  # grpc would hide the reason
        return _message("SubmitRedactionResponse")()


@cache
def _message(name: str) -> Any:
    """Return the class of one of the messages."""
    pool = DescriptorPool()  # of its own: the application may have Tempo's messages in the other one
    file = FileDescriptorProto(name="tempo_redaction.proto", package="tempopb", syntax="proto3")
    for message, fields in _FIELDS.items():
        made = file.message_type.add(name=message)
        for field, number, kind in fields:
            added = made.field.add(name=field, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
            if kind in _FIELDS:
                added.type, added.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".tempopb.{kind}"
            else:
                added.type = getattr(FieldDescriptorProto, f"TYPE_{kind.upper()}")
            if field == "trace_ids":
                added.label = FieldDescriptorProto.LABEL_REPEATED
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName(f"tempopb.{name}"))
