"""The exporter over gRPC, against real backends that misbehave: how each attempt ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from backend import GrpcBackend, backend_serving, grpc_backend_serving, proxy_serving, sockets_serving
from servers import free_port, within
from test_otlp_http import drip, say_nothing, spans
from tracemw._export.encoding import SpanEncoder
from tracemw._export.exporter import AttemptResult, ExportRequest, Outcome
from tracemw._export.otlp_grpc import Certificates, OtlpGrpcExporter
from tracemw.config import Arguments, Backend

ACCEPTED, REJECTED, BUSY = AttemptResult.ACCEPTED, AttemptResult.REJECTED, AttemptResult.BUSY
NOT_SENT, UNKNOWN = AttemptResult.NOT_SENT, AttemptResult.UNKNOWN


@pytest.fixture
def backend() -> Iterator[GrpcBackend]:
    with grpc_backend_serving() as serving:
        yield serving


@pytest.fixture
def made() -> Iterator[Callable[..., OtlpGrpcExporter]]:
    """Makes exporters, and closes them in the end."""
    exporters: list[OtlpGrpcExporter] = []

    def make(
        url: str, *, certificates: Certificates = (None, None, None), compression: str = "none", **arguments: Any
    ) -> OtlpGrpcExporter:
        given = Arguments(endpoint=url, protocol="grpc", compression=compression, **arguments)
        exporters.append(OtlpGrpcExporter(Backend.resolve("traces", given), certificates=certificates))
        return exporters[-1]

    yield make
    for exporter in exporters:
        exporter.close()


Made = Callable[..., OtlpGrpcExporter]


def request_of(exporter: OtlpGrpcExporter, *names: str) -> ExportRequest:
    return ExportRequest(exporter.pack(SpanEncoder().encode(spans(*names))), len(names))


def sent(exporter: OtlpGrpcExporter, *names: str, timeout: float = 5.0) -> Outcome:
    return exporter.send(request_of(exporter, *(names or ("a",))), timeout)


def test_spans_arrive_with_the_metadata_that_was_asked_for(backend: GrpcBackend, made: Made) -> None:
    exporter = made(backend.url, headers={"X-Scope-OrgID": "a"})
    assert [sent(exporter, "a", "b") for _ in range(2)] == [Outcome(ACCEPTED)] * 2
    assert backend.names == ["a", "b", "a", "b"]
    assert backend.headers[0]["x-scope-orgid"] == "a"
    assert backend.headers[0]["user-agent"].startswith("tracemw/")


@pytest.mark.parametrize("compress", [False, True])
def test_messages_are_compressed_when_that_was_asked_for(backend: GrpcBackend, made: Made, *, compress: bool) -> None:
    with proxy_serving() as proxy:
        exporter = made(backend.url, proxy=proxy.url, compression="gzip" if compress else "none")
        assert sent(exporter, "a" * 30_000).answer is ACCEPTED
        assert (proxy.passed_on < 10_000) is compress
    assert backend.names == ["a" * 30_000]


def test_rejected_spans_of_an_accepted_request_are_told(backend: GrpcBackend, made: Made) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=7, error_message="too old")
    backend.answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert sent(made(backend.url), "a", "b") == Outcome(ACCEPTED, rejected=2, error="too old")


def retry_info(seconds: float) -> tuple[tuple[str, bytes], ...]:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    detail = AnyMessage()
    detail.Pack(RetryInfo(retry_delay=delay))
    return (("grpc-status-details-bin", Status(code=8, details=[detail]).SerializeToString()),)


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("CANCELLED", UNKNOWN),
        ("DEADLINE_EXCEEDED", UNKNOWN),
        ("UNAVAILABLE", UNKNOWN),
        ("ABORTED", BUSY),
        ("OUT_OF_RANGE", BUSY),
        ("DATA_LOSS", BUSY),
        ("RESOURCE_EXHAUSTED", REJECTED),
        ("INVALID_ARGUMENT", AttemptResult.INVALID),
        ("FAILED_PRECONDITION", AttemptResult.INVALID),
        ("INTERNAL", REJECTED),
        ("UNKNOWN", REJECTED),
        ("UNAUTHENTICATED", REJECTED),
        ("PERMISSION_DENIED", REJECTED),
    ],
)
def test_a_status_means_what_the_specification_says(
    backend: GrpcBackend, made: Made, code: str, answer: AttemptResult
) -> None:
    backend.code = grpc.StatusCode[code]
    outcome = sent(made(backend.url))
    assert (outcome.answer, outcome.error) == (answer, f"{code}: as the test says")


@pytest.mark.parametrize("code", ["RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED"])
def test_a_backend_may_say_when_to_come_back(backend: GrpcBackend, made: Made, code: str) -> None:
    backend.code, backend.trailers = grpc.StatusCode[code], retry_info(2.5)
    outcome = sent(made(backend.url))
    assert (outcome.answer, outcome.retry_after) == (BUSY, 2.5)


def test_a_backend_that_is_not_there_has_got_nothing_until_it_is(made: Made) -> None:
    port = free_port()
    exporter = made(f"http://127.0.0.1:{port}")
    outcome = sent(exporter)
    assert outcome.answer is NOT_SENT
    assert "`tracemw view`" in outcome.remedy
    with grpc_backend_serving(port) as backend:
        assert sent(exporter).answer is ACCEPTED  # and does not wait for grpc's own backoff
        assert backend.names == ["a"]
    outcome = sent(exporter)
    assert outcome.answer in (NOT_SENT, UNKNOWN)
    with grpc_backend_serving(port):
        assert sent(exporter).answer is ACCEPTED


def test_a_name_that_does_not_resolve_has_got_nothing(made: Made) -> None:
    assert sent(made("http://nowhere.invalid:4317")).answer is NOT_SENT


def test_a_backend_that_speaks_http_is_told_apart(made: Made) -> None:
    with backend_serving() as backend:
        outcome = sent(made(backend.url))
    assert outcome.answer is NOT_SENT
    assert "endpoint and protocol" in outcome.remedy


@pytest.mark.parametrize("behave", [say_nothing, drip])
def test_whatever_a_backend_does_an_attempt_ends_in_time(made: Made, behave: Callable[[socket.socket], None]) -> None:
    with sockets_serving(behave) as url:
        exporter = made(url)
        assert within(1, lambda: sent(exporter, timeout=0.5)).answer in (NOT_SENT, UNKNOWN)


def test_a_backend_that_hangs_costs_no_more_than_the_timeout(backend: GrpcBackend, made: Made) -> None:
    backend.hang = 2
    exporter = made(backend.url)
    assert within(1, lambda: sent(exporter, timeout=0.5)).answer is UNKNOWN


@pytest.mark.parametrize("is_shown", [True, False])
def test_tls_goes_both_ways(tmp_path: Path, made: Made, *, is_shown: bool) -> None:
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("shop")
    credentials = grpc.ssl_server_credentials(
        [(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())],
        root_certificates=authority.cert_pem.bytes(),
        require_client_auth=True,
    )
    shown = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()) if is_shown else (None, None)
    with grpc_backend_serving(credentials=credentials) as backend:
        outcome = sent(made(backend.url, certificates=(authority.cert_pem.bytes(), *shown)))
        assert outcome.answer in ((ACCEPTED,) if is_shown else (NOT_SENT, UNKNOWN))
        assert backend.names == (["a"] if is_shown else [])


def test_a_backend_with_another_certificate_is_not_trusted(made: Made) -> None:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials([(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())])
    with grpc_backend_serving(credentials=credentials) as backend:
        outcome = sent(made(backend.url, certificates=(trustme.CA().cert_pem.bytes(), None, None)))
    assert outcome.answer is NOT_SENT
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in outcome.remedy


def test_a_proxy_tunnels(backend: GrpcBackend, made: Made) -> None:
    with proxy_serving() as proxy:
        assert sent(made(backend.url, proxy=proxy.url)).answer is ACCEPTED
        assert proxy.asked[0].startswith(f"CONNECT {backend.url.removeprefix('http://')}")


def test_a_proxy_that_refuses_is_told(made: Made) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")

    with sockets_serving(behave) as url:
        outcome = sent(made("http://tempo.test:4317", proxy=url))
    assert outcome.answer is NOT_SENT
    assert "407" in outcome.error
    assert "Does the proxy want credentials" in outcome.remedy


def test_exporters_leave_nothing_behind_for_forks(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[object] = []
    monkeypatch.setattr(os, "register_at_fork", lambda **hooks: left.append(hooks))
    made("http://127.0.0.1:1")
    assert left == []


def test_without_a_proxy_the_environment_is_not_asked(
    backend: GrpcBackend, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert sent(made(backend.url, proxy="")).answer is ACCEPTED
