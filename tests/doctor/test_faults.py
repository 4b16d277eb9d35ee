"""The doctor names each fault of a backend, and of the way to it, over real sockets."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from time import time

import grpc
import pytest
import trustme

from backend import Refusal, backend_serving, grpc_backend_serving, nobody_serving
from chaos.misbehaving import FAULTS
from chaos.running import Backend, certificates_in
from doctor.examined import answering, diagnose, http
from servers import free_port

NO_ORG_ID = b"\x08\x0e\x12\x09no org id"
"""A `google.rpc.Status` with code 14, as Tempo sends it."""

NAMED = {
    "refused": ("port", "nobody listens on"),
    "dies": ("port", "nobody listens on"),
    "reset": ("canary", "the connection breaks in the midst of the request"),
    "reset-unanswered": ("canary", "the connection breaks in the midst of the request"),
    "hangs": ("canary", "no whole answer came within"),
    "deaf": ("canary", "no whole answer came within"),
    "tls-hangs": ("tls", "does not answer the TLS handshake"),
    "tls-expired": ("tls", "the certificate of 127.0.0.1 has expired on"),
    "drips": ("canary", "no whole answer came within"),
    "busy": ("canary", "the backend limits the rate"),
    "busy-retry-after": ("canary", "asks for a pause of 2 s"),
    "unavailable": ("canary", "the backend is not available for now"),
    "refuses": ("canary", "the backend refuses the request (HTTP 400)"),
    "garbage": ("canary", "what comes back is no HTTP"),
    "garbled": ("canary", "no answer of OTLP"),
    "partial": ("canary", "rejects the span in it: every third"),
}
SILENT = {"hangs", "deaf", "drips", "tls-hangs"}
"""Faults that cost the time there is. All others answer, if not at once on a busy machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("doctor")
    certificates_in(made)
    return made


@pytest.fixture(scope="module")
def misbehaving(folder: Path) -> Iterator[Backend]:
    with Backend(folder) as running:
        yield running


def test_there_is_a_name_for_each_fault_that_the_service_is_tested_with() -> None:
    assert NAMED.keys() == FAULTS.keys()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_the_fault(
    fault: str, misbehaving: Backend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = misbehaving.open(secure=fault.startswith("tls"))
    port.change(fault)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", port.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(folder / "ca.pem"))
    if fault in SILENT:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "500")
    diagnosed = diagnose("--timeout", "3s" if fault in SILENT else "30s")
    name, sentence = NAMED[fault]
    check = diagnosed.check(name)
    assert sentence in check["sentence"]
    assert check["remedy"]
    if fault == "garbled":  # the backend takes the spans nevertheless
        assert (check["status"], diagnosed.returncode) == ("warning", 0)
    else:
        assert (diagnosed.failures, diagnosed.returncode) == ([name], 1)


def test_an_unknown_name_fails_and_nothing_after_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://no-such-host.invalid:4318")
    diagnosed = diagnose("--timeout", "20s")
    assert diagnosed.failures == ["dns"]
    assert "no-such-host.invalid is not known here" in diagnosed.check("dns")["sentence"]
    assert diagnosed.status_of("canary") == "unknown"


def test_a_port_where_packets_are_lost_is_told_from_one_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with nobody_serving() as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        check = diagnose("--timeout", "3s").check("port")
    assert check["status"] == "failure"
    assert "does not answer at all: packets are lost" in check["sentence"]


# -- TLS.


def _context(certificate: trustme.LeafCert, **more: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    for name, value in more.items():
        setattr(context, name, value)
    return context


def test_a_certificate_of_another_host_is_named_with_the_hosts_it_holds_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with backend_serving(tls=_context(authority.issue_cert("tempo.example"))) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        diagnosed = diagnose()
    assert diagnosed.failures == ["tls"]
    assert "it holds for tempo.example, and not for 127.0.0.1" in diagnosed.check("tls")["sentence"]


def test_a_certificate_that_is_not_trusted_is_named_with_its_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA(organization_name="Acme")
    with backend_serving(tls=_context(authority.issue_cert("127.0.0.1"))) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        check = diagnose().check("tls")
    assert check["status"] == "failure"
    assert "issued by" in check["sentence"]
    assert "is not trusted here" in check["sentence"]
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in check["remedy"]


def test_a_trusted_certificate_tells_the_days_that_are_left(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(folder / "good.pem")
    with backend_serving(tls=certificate) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(folder / "ca.pem"))
        diagnosed = diagnose()
    assert "more days (until" in diagnosed.check("tls")["sentence"]
    assert diagnosed.failures == []


def test_a_backend_that_wants_a_client_certificate_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = _context(authority.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_REQUIRED)
    authority.configure_trust(context)
    with backend_serving(tls=context) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        diagnosed = diagnose()
    assert diagnosed.failures == ["canary"]
    assert "wants a client certificate" in diagnosed.check("canary")["sentence"]
    assert "client_certificate=" in diagnosed.check("canary")["remedy"]


def test_a_client_certificate_that_is_not_accepted_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    stranger.issue_cert("shop").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "shown.pem"))
    context = _context(authority.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_REQUIRED)
    authority.configure_trust(context)
    with backend_serving(tls=context) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(tmp_path / "shown.pem"))
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "does not accept the client certificate" in check["sentence"]


def test_https_to_a_port_without_tls_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url.replace("http:", "https:"))
        check = diagnose().check("tls")
    assert check["status"] == "failure"
    assert "does not speak TLS" in check["sentence"]


def test_http_to_a_port_with_tls_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "good.pem")
    with backend_serving(tls=context) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url.replace("https:", "http:"))
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "speaks TLS, and the endpoint is no https:// URL" in check["sentence"]


# -- What backends answer.


@pytest.mark.parametrize(
    ("refusal", "sentence", "remedy"),
    [
        (Refusal(401, b"who are you"), "credentials are missing or wrong", "OTEL_EXPORTER_OTLP_HEADERS"),
        (Refusal(403), "credentials are missing or wrong", "OTEL_EXPORTER_OTLP_HEADERS"),
        (Refusal(404, b"404 page not found"), "there is nothing at this path", "/v1/traces"),
        (Refusal(503, NO_ORG_ID), "the backend wants to know the tenant", "TRACEMW_TENANT"),
        (Refusal(400, b"tenant ID is too long: max 150"), "does not accept the tenant", "TRACEMW_TENANT"),
        (Refusal(429, b"RATE_LIMITED: ingestion rate limit"), "the backend limits the rate", "overrides"),
        (Refusal(413), "finds one span too large", "TRACEMW_BATCH_BYTES"),
        (Refusal(502, b"<html><title>Bad Gateway</title>"), "not available for now (HTTP 502: Bad Gateway)", "proxy"),
        (Refusal(200, b"<html><title>Sign in</title>", "text/html"), "a web page came back", "/v1/traces"),
        (Refusal(302), "the backend refuses the request (HTTP 302", "does a proxy with a login stand before"),
        (Refusal(200, b"\x0a\x02\x08\x01"), "rejects the span in it, without a word why", "is this an OTLP backend?"),
    ],
)
def test_a_refusal_is_named_with_its_remedy(
    refusal: Refusal, sentence: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with backend_serving() as backend:
        backend.judge = lambda _: refusal
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        diagnosed = diagnose()
    assert diagnosed.failures == ["canary"]
    assert sentence in diagnosed.check("canary")["sentence"]
    assert remedy in diagnosed.check("canary")["remedy"]


def test_no_header_value_is_shown_even_when_the_backend_repeats_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        backend.judge = lambda _: Refusal(401, b"Bearer hunter2-hunter2 is not known")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2-hunter2")
        monkeypatch.setenv("TRACEMW_TENANT", "team-rocket")
        diagnosed = diagnose()
    assert "hunter2" not in str(diagnosed.document)
    assert "rocket" not in str(diagnosed.document)
    (headers,) = [each for each in diagnosed.document["settings"] if each["name"] == "headers"]
    assert headers["value"] == "authorization, x-scope-orgid"
    assert headers["source"] == "OTEL_EXPORTER_OTLP_HEADERS, TRACEMW_TENANT"


def test_no_secret_in_the_words_of_a_backend_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        backend.judge = lambda _: Refusal(400, b"cannot log in with password=hunter2secret")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        diagnosed = diagnose()
    assert "HTTP 400: cannot log in with password=[REDACTED]" in diagnosed.check("canary")["sentence"]
    assert "hunter2secret" not in str(diagnosed.document)


def test_a_query_server_that_refuses_is_named_without_the_header_that_it_repeats(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with backend_serving() as backend, answering(lambda _: http("500 Oops", b"Bearer hunter2-hunter2?")) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2-hunter2")
        diagnosed = diagnose("--url", url)
    assert diagnosed.failures == ["arrival", "traces"]
    assert "hunter2" not in str(diagnosed.document)


def test_headers_of_the_export_go_to_its_own_port_alone_when_traces_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[bytes] = []

    def note(head: bytes) -> bytes:
        shown.append(head.lower())
        return http("404 Not Found")

    with answering(note) as other:

        def backend(head: bytes) -> bytes:
            if head.startswith(b"GET"):
                shown.append(head.lower())
                return http("302 Found", b"", f"Location: {other}/api/echo")
            return http("200 OK")

        with answering(backend) as url:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2-hunter2")
            assert diagnose().status_of("arrival") == "unknown"
    (asked,) = shown
    assert b"authorization: bearer hunter2-hunter2" in asked


def test_a_whole_url_without_the_path_of_otlp_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda head: http("404 Not Found") if b"/v1/traces" not in head else http("200 OK")) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
        diagnosed = diagnose()
    assert diagnosed.failures == ["canary"]
    assert diagnosed.status_of("endpoint") == "warning"
    assert "add /v1/traces" in diagnosed.check("endpoint")["remedy"]


def test_tempos_query_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def tempo(head: bytes) -> bytes:
        return (
            http("200 OK", b"echo")
            if head.startswith(b"GET /api/echo")
            else http("404 Not Found", b"404 page not found")
        )

    with answering(tempo) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "is the port of Tempo's query API" in check["sentence"]
    assert "4318" in check["remedy"]


def test_port_3200_is_warned_of_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://no-such-host.invalid:3200")
    check = diagnose().check("endpoint")
    assert check["status"] == "warning"
    assert "http://no-such-host.invalid:4318" in check["remedy"]


def test_half_an_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n\x0a") as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        check = diagnose().check("canary")
    assert check["status"] == "warning"
    assert "its answer is cut short" in check["sentence"]


def test_a_connection_that_is_closed_without_an_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: b"") as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "the connection breaks in the midst of the request" in check["sentence"]


@pytest.mark.parametrize(("apart", "which"), [(-90, "ahead of"), (90, "behind")])
def test_clocks_that_are_apart_are_warned_of(apart: float, which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: http("200 OK", b"", f"Date: {formatdate(time() + apart, usegmt=True)}")) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        diagnosed = diagnose()
    check = diagnosed.check("clock")
    assert check["status"] == "warning"
    assert f"s {which} the backend's" in check["sentence"]
    assert diagnosed.returncode == 0
    assert diagnosed.document["status"] == "warning"


# -- gRPC.


def test_http_to_a_grpc_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "speaks gRPC, and the protocol is http/protobuf" in check["sentence"]
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in check["remedy"]


def test_grpc_to_an_http_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "speaks HTTP/1.1, and the protocol is grpc" in check["sentence"]


def test_grpc_to_an_http_port_that_refuses_is_no_question_of_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: http("403 Forbidden")) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        check = diagnose().check("canary")
    assert check["status"] == "failure"
    assert "speaks HTTP/1.1, and the protocol is grpc" in check["sentence"]
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in check["remedy"]


def test_a_tenant_that_grpc_wants_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_backend_serving() as backend:
        backend.judge = lambda _: Refusal("UNAVAILABLE", "no org id")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        diagnosed = diagnose()
    assert diagnosed.failures == ["canary"]
    assert "wants to know the tenant" in diagnosed.check("canary")["sentence"]


def test_grpc_that_takes_the_span_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        diagnosed = diagnose()
        assert backend.names == ["tracemw.doctor"]
    assert diagnosed.status_of("canary") == "ok"
    assert diagnosed.status_of("arrival") == "unknown"


def test_grpc_over_tls_is_fine_with_a_certificate_that_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    leaf = authority.issue_cert("127.0.0.1")
    chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
    with grpc_backend_serving(credentials=credentials) as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(tmp_path / "ca.pem"))
        diagnosed = diagnose()
    assert diagnosed.failures == []
    assert diagnosed.status_of("tls") == diagnosed.status_of("canary") == "ok"


# -- Proxies.


def test_a_proxy_that_nobody_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo.example:4318")
    monkeypatch.setenv("HTTP_PROXY", f"http://user:hunter2@127.0.0.1:{port}")
    diagnosed = diagnose()
    assert diagnosed.failures == ["port"]
    assert f"the proxy 127.0.0.1:{port}" in diagnosed.check("port")["sentence"]
    assert "hunter2" not in str(diagnosed.document)


def test_a_proxy_that_wants_credentials_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(lambda _: http("407 Proxy Authentication Required")) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo.example:4318")
        monkeypatch.setenv("HTTP_PROXY", url)
        diagnosed = diagnose()
    assert diagnosed.failures == ["canary"]
    assert "the proxy lets nothing through (HTTP 407" in diagnosed.check("canary")["sentence"]


def test_a_proxy_before_a_backend_on_this_machine_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("HTTP_PROXY", backend.url)
        check = diagnose().check("proxy")
    assert check["status"] == "warning"
    assert "NO_PROXY" in check["remedy"]
