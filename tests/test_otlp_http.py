"""The exporter, against a real backend that misbehaves."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backend import Backend, backend_serving
from servers import wait_until
from tracemw._export import OtlpHttpExporter

SUCCESS, FAILURE = SpanExportResult.SUCCESS, SpanExportResult.FAILURE


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def exporter_to(backend: Backend, *, timeout: float = 10.0, compress: bool = False) -> OtlpHttpExporter:
    return OtlpHttpExporter(f"{backend.url}/v1/traces", headers={"x-tenant": "a"}, timeout=timeout, compress=compress)


def spans(*names: str) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    return list(exporter.get_finished_spans())


@pytest.mark.parametrize("compress", [False, True])
def test_spans_arrive_with_the_headers_that_were_asked_for(backend: Backend, *, compress: bool) -> None:
    assert exporter_to(backend, compress=compress).export(spans("a", "b")) is SUCCESS
    assert backend.names == ["a", "b"]
    headers = backend.headers[0]
    assert (headers["content-type"], headers["x-tenant"]) == ("application/x-protobuf", "a")
    assert headers["user-agent"].startswith("tracemw/")
    assert headers.get("content-encoding") == ("gzip" if compress else None)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_be_retried_is_tried_again(backend: Backend, status: int) -> None:
    backend.status = status
    threading.Timer(0.3, setattr, (backend, "status", 200)).start()
    assert exporter_to(backend).export(spans("a")) is SUCCESS
    assert backend.names == ["a"]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 500])
def test_what_may_not_be_retried_fails_at_once(backend: Backend, status: int) -> None:
    backend.status = status
    began = time.monotonic()
    assert exporter_to(backend).export(spans("a")) is FAILURE
    assert time.monotonic() - began < 0.5
    assert backend.attempts == 1


def test_a_retry_waits_as_long_as_the_backend_asks_for(backend: Backend) -> None:
    backend.status, backend.retry_after = 503, "2"
    threading.Timer(0.3, setattr, (backend, "status", 200)).start()
    began = time.monotonic()
    assert exporter_to(backend).export(spans("a")) is SUCCESS
    assert 2 <= time.monotonic() - began < 4


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.mark.parametrize("trusted", [True, False])
def test_a_backend_is_trusted_by_its_certificate(authority: trustme.CA, tmp_path: Path, *, trusted: bool) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with backend_serving(tls=context) as backend:
        certificate = str(tmp_path / "ca.pem") if trusted else None
        exporter = OtlpHttpExporter(f"{backend.url}/v1/traces", headers={}, timeout=1, certificate=certificate)
        assert exporter.export(spans("a")) is (SUCCESS if trusted else FAILURE)
        assert backend.names == (["a"] if trusted else [])


@pytest.mark.parametrize("apart", [True, False])
def test_a_backend_that_asks_for_a_certificate_is_shown_one(
    authority: trustme.CA, tmp_path: Path, *, apart: bool
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    shown = authority.issue_cert("shop")
    together, certificate, key = (str(tmp_path / name) for name in ("both.pem", "certificate.pem", "key.pem"))
    shown.private_key_and_cert_chain_pem.write_to_path(together)
    shown.cert_chain_pems[0].write_to_path(certificate)
    shown.private_key_pem.write_to_path(key)
    with backend_serving(tls=context) as backend:
        exporter = OtlpHttpExporter(
            f"{backend.url}/v1/traces",
            headers={},
            timeout=2,
            certificate=str(tmp_path / "ca.pem"),
            client_certificate=(certificate, key) if apart else together,
        )
        assert exporter.export(spans("a")) is SUCCESS


def test_a_date_may_say_until_when_to_wait(backend: Backend) -> None:
    backend.status, backend.retry_after = 503, "Fri, 31 Dec 2100 23:59:59 GMT"
    began = time.monotonic()
    assert exporter_to(backend).export(spans("a")) is FAILURE
    assert (backend.attempts, time.monotonic() - began < 0.5) == (1, True)


def test_a_netrc_does_not_replace_the_headers_that_were_asked_for(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    exporter = OtlpHttpExporter(f"{backend.url}/v1/traces", headers={"Authorization": "Bearer token"}, timeout=5)
    assert exporter.export(spans("a")) is SUCCESS
    assert backend.headers[0]["authorization"] == "Bearer token"


def test_spans_that_cannot_be_encoded_have_not_been_exported(backend: Backend) -> None:
    (broken,) = spans("a")
    broken._context = None
    assert exporter_to(backend).export([broken]) is FAILURE
    assert backend.attempts == 0


def test_retries_end_with_the_timeout(backend: Backend) -> None:
    backend.status = 503
    began = time.monotonic()
    assert exporter_to(backend, timeout=1.5).export(spans("a")) is FAILURE
    assert time.monotonic() - began < 1.6
    assert backend.attempts == 2


def test_a_backend_that_hangs_costs_no_more_than_the_timeout(backend: Backend) -> None:
    backend.hang = 3
    began = time.monotonic()
    assert exporter_to(backend, timeout=0.5).export(spans("a")) is FAILURE
    assert time.monotonic() - began < 1


def test_a_backend_that_is_not_there_is_tried_again(backend: Backend) -> None:
    exporter = OtlpHttpExporter("http://127.0.0.1:1/v1/traces", headers={}, timeout=1.5)
    began = time.monotonic()
    assert exporter.export(spans("a")) is FAILURE
    assert 0.7 < time.monotonic() - began < 1.6


def test_a_shutdown_ends_the_wait_for_the_next_attempt(backend: Backend) -> None:
    backend.status = 503
    exporter = exporter_to(backend, timeout=30)
    results: list[SpanExportResult] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export(spans("a"))))
    thread.start()
    wait_until(lambda: backend.attempts)
    exporter.shutdown()
    thread.join(1)
    assert results == [FAILURE]
