"""The exporter over HTTP, against real backends that misbehave: how each attempt ends."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backend import Backend, backend_serving, bodies_from, nobody_serving, proxy_serving, sockets_serving
from servers import free_port, within
from tracemw import config
from tracemw._export import connection
from tracemw._export.encoding import SpanEncoder
from tracemw._export.exporter import AttemptResult, ExportRequest, Outcome
from tracemw._export.otlp_http import OtlpHttpExporter
from tracemw.config import Arguments

ACCEPTED, REJECTED, BUSY = AttemptResult.ACCEPTED, AttemptResult.REJECTED, AttemptResult.BUSY
NOT_SENT, UNKNOWN = AttemptResult.NOT_SENT, AttemptResult.UNKNOWN


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


@pytest.fixture
def made() -> Iterator[Callable[..., OtlpHttpExporter]]:
    """Makes exporters, and closes them in the end."""
    exporters: list[OtlpHttpExporter] = []

    def make(url: str | None, *, compression: str = "none", **arguments: Any) -> OtlpHttpExporter:
        given = Arguments(endpoint=url, compression=compression, **arguments)
        exporters.append(OtlpHttpExporter(config.Backend.resolve("traces", given)))
        return exporters[-1]

    yield make
    for exporter in exporters:
        exporter.close()


def spans(*names: str) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for name in names:
        provider.get_tracer("test").start_span(name).end()
    return list(exporter.get_finished_spans())


def request_of(exporter: OtlpHttpExporter, *names: str) -> ExportRequest:
    return ExportRequest(exporter.pack(SpanEncoder().encode(spans(*names))), len(names))


def sent(exporter: OtlpHttpExporter, *names: str, timeout: float = 5.0) -> Outcome:
    return exporter.send(request_of(exporter, *(names or ("a",))), timeout)


Made = Callable[..., OtlpHttpExporter]


@pytest.mark.parametrize("compress", [False, True])
def test_spans_arrive_with_the_headers_that_were_asked_for(backend: Backend, made: Made, *, compress: bool) -> None:
    headers, compression = {"X-Team": "a", "Content-Type": "text/plain"}, "gzip" if compress else "none"
    exporter = made(backend.url, headers=headers, compression=compression)
    assert sent(exporter, "a", "b") == Outcome(ACCEPTED)
    assert backend.names == ["a", "b"]
    headers = backend.headers[0]
    assert (headers["content-type"], headers["x-team"]) == ("application/x-protobuf", "a")
    assert headers["user-agent"].startswith("tracemw/")
    assert headers.get("content-encoding") == ("gzip" if compress else None)
    assert headers["host"] == backend.url.removeprefix("http://")


def test_one_connection_serves_all_attempts(backend: Backend, made: Made) -> None:
    exporter = made(backend.url)
    assert [sent(exporter).answer for _ in range(3)] == [ACCEPTED] * 3
    assert backend.connections == 1


def test_a_path_and_a_query_of_the_endpoint_stay(backend: Backend, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{backend.url}/otlp/traces?team=a")
    assert sent(made(None)).answer is ACCEPTED
    assert backend.paths == ["/otlp/traces?team=a"]


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_success_means_that_the_spans_are_accepted(backend: Backend, made: Made, status: int) -> None:
    backend.status = status
    assert sent(made(backend.url)) == Outcome(ACCEPTED)


@pytest.mark.parametrize(("told", "counted"), [(1, 1), (2, 2), (7, 2), (-1, 0)])
def test_rejected_spans_of_an_accepted_request_are_told_and_no_more_than_were_sent(
    backend: Backend, made: Made, told: int, counted: int
) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=told, error_message="too old")
    backend.answer = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert sent(made(backend.url), "a", "b") == Outcome(ACCEPTED, rejected=counted, error="too old")


@pytest.mark.parametrize("garbage", [b"{}", b"\xff" * 100, b"\x0a\x7f", b"<html>", b"\0" * 1_000_000])
def test_garbage_in_the_body_of_a_success_changes_nothing(backend: Backend, made: Made, garbage: bytes) -> None:
    backend.answer = garbage
    exporter = made(backend.url)
    assert [sent(exporter).answer for _ in range(2)] == [ACCEPTED, ACCEPTED]
    assert backend.names == ["a", "a"]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_the_specification_calls_retryable_is(backend: Backend, made: Made, status: int) -> None:
    backend.status = status
    assert sent(made(backend.url)) == Outcome(BUSY, error=f"HTTP {status}")


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        ("7", 7, 7),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 1e6, 1e11),
        ("Fri, 31 Dec 2100 23:59:59", 1e6, 1e11),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("-3", 0, 0),
        ("soon", 0, 0),
        ("١٢", 0, 0),
        ("9" * 400, 1e300, float("inf")),
    ],
)
def test_the_time_to_wait_is_seconds_or_a_date(made: Made, value: str, low: float, high: float) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 503 Busy\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode())
        connection.recv(65536)

    with sockets_serving(behave) as url:
        outcome = sent(made(url))
    assert outcome.answer is BUSY
    assert low <= outcome.retry_after <= high


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "credentials or a tenant"),
        (403, "tenant"),
        (404, "protocol"),
        (407, "the proxy"),
        (500, ""),
    ],
)
def test_any_other_status_is_a_rejection_with_its_remedy(
    backend: Backend, made: Made, status: int, remedy: str
) -> None:
    backend.status = status
    outcome = sent(made(backend.url, headers={"authorization": "Bearer secret"}))
    assert (outcome.answer, outcome.error) == (REJECTED, f"HTTP {status}")
    assert remedy in outcome.remedy
    assert bool(remedy) == bool(outcome.remedy)


def test_a_page_is_no_answer_to_spans(made: Made) -> None:
    page = b"<html>welcome</html>"

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(page)
            + page
        )

    with sockets_serving(behave) as url:
        outcome = sent(made(url))
    assert (outcome.answer, outcome.error) == (REJECTED, "HTTP 200 with a web page, which no trace backend sends")
    assert "endpoint and protocol" in outcome.remedy


def test_what_is_no_http_is_not_shown(made: Made) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00" * 3 + b"\r\n")  # frames of HTTP/2

    with sockets_serving(behave) as url:
        outcome = sent(made(url))
    assert outcome.error == "the answer is not HTTP/1.1"
    assert "port 4317 takes grpc" in outcome.remedy


def test_a_backend_without_tls_is_told_from_one_that_is_not_trusted(backend: Backend, made: Made) -> None:
    outcome = sent(made(backend.url.replace("http:", "https:")))
    assert outcome.answer is NOT_SENT
    assert "http:// in place of https://" in outcome.remedy


def test_a_proxy_that_is_not_there_is_named(made: Made) -> None:
    port = free_port()
    outcome = sent(made("http://tempo.invalid:4318", proxy=f"http://bob:secret@127.0.0.1:{port}"))
    assert outcome.answer is NOT_SENT
    assert f"no connection to the proxy 127.0.0.1:{port}" in outcome.error
    assert "NO_PROXY" in outcome.remedy


def test_a_redirect_is_not_followed_and_says_where_it_points(backend: Backend, made: Made) -> None:
    backend.status, backend.location = 307, f"http://bob:secret@127.0.0.1:{free_port()}/v2?token=secret"
    outcome = sent(made(backend.url))
    assert outcome.answer is REJECTED
    assert "/v2, which is not followed" in outcome.error
    assert "secret" not in outcome.error
    assert backend.attempts == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid:4318", f"http://{'a' * 70}.invalid"])
def test_a_backend_that_is_not_there_has_got_nothing(made: Made, url: str) -> None:
    outcome = sent(made(url))
    assert outcome.answer is NOT_SENT
    assert "`tracemw view` starts one" in outcome.remedy


def test_a_backend_that_takes_no_connection_has_got_nothing(made: Made) -> None:
    with nobody_serving() as url:
        exporter = made(url)
        assert within(1, lambda: sent(exporter, timeout=0.5)).answer is NOT_SENT


def test_an_address_that_takes_no_connection_leaves_time_for_the_next(
    backend: Backend, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nobody_serving() as url:
        ports = [int(each.rpartition(":")[2]) for each in (url, backend.url)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(connection, "getaddrinfo", lambda *_, **__: found)
        assert sent(made("http://tempo.test"), timeout=2).answer is ACCEPTED
    assert backend.names == ["a"]


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Give the next of these to each request, as it is."""
    rest = iter(answers)

    def behave(connection: socket.socket) -> None:
        for _ in bodies_from(connection):
            connection.sendall(next(rest))

    return behave


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints\r\nLink: </x>"])
def test_an_interim_answer_is_not_the_answer(made: Made, interim: bytes) -> None:
    first = b"HTTP/1.1 %s\r\n\r\n" % interim * 2 + b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
    with sockets_serving(answering(first, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        exporter = made(url)
        assert [sent(exporter).answer for _ in range(2)] == [BUSY, ACCEPTED]


def test_a_backend_that_changes_the_protocol_has_given_no_answer(made: Made) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    with sockets_serving(answering(switch, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as url:
        exporter = made(url)
        outcome = sent(exporter)
        assert (outcome.answer, outcome.is_stale) == (UNKNOWN, False)
        assert "101" in outcome.error
        assert sent(exporter).answer is ACCEPTED


def test_an_answer_that_comes_before_the_request_has_been_read_counts(made: Made) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    with sockets_serving(behave) as url:
        exporter = made(url)
        request = request_of(exporter, "a")._replace(body=bytes(5_000_000))
        outcomes = [exporter.send(request, 5) for _ in range(2)]
    assert [(outcome.answer, outcome.error) for outcome in outcomes] == [(AttemptResult.TOO_LARGE, "HTTP 413")] * 2


def test_a_connection_that_breaks_before_the_answer_leaves_it_unknown(backend: Backend, made: Made) -> None:
    backend.hangs_up = "before"
    outcome = sent(made(backend.url))
    assert (outcome.answer, outcome.is_stale) == (UNKNOWN, False)


def test_a_kept_connection_that_the_backend_has_closed_is_not_used(backend: Backend, made: Made) -> None:
    backend.hangs_up = "after"
    exporter = made(backend.url)
    for _ in range(20):
        outcome = sent(exporter)
        while outcome.is_stale:
            outcome = sent(exporter)
        assert outcome.answer is ACCEPTED
    assert len(backend.names) == 20


def test_a_kept_connection_that_closes_just_as_it_is_used_is_worth_another_attempt(made: Made) -> None:
    taken: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        connection.settimeout(0.2)
        try:
            while True:
                taken.append(connection.recv(65536))
        except TimeoutError:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.settimeout(5)
        connection.recv(1)
        connection.close()  # in the face of the request that has begun

    with sockets_serving(behave) as url:
        exporter = made(url)
        assert sent(exporter).answer is ACCEPTED
        outcome = sent(exporter)
        assert (outcome.answer, outcome.is_stale) == (UNKNOWN, True)
        assert sent(exporter).answer is ACCEPTED


def drip_header(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip(connection)


def drip_body(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 100000\r\n\r\n")
    drip(connection)


def go_on_for_ever(connection: socket.socket) -> None:
    connection.recv(65536)
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def read_nothing(connection: socket.socket) -> None:
    leaving = select.poll()
    leaving.register(connection, select.POLLHUP)
    leaving.poll(5000)


@pytest.mark.parametrize(
    ("behave", "answer"),
    [
        (say_nothing, UNKNOWN),
        (drip_header, UNKNOWN),
        (drip_body, BUSY),
        (drip, UNKNOWN),
        (go_on_for_ever, UNKNOWN),
    ],
)
def test_whatever_a_backend_does_an_attempt_ends_in_time(
    made: Made, behave: Callable[[socket.socket], None], answer: AttemptResult
) -> None:
    with sockets_serving(behave) as url:
        exporter = made(url)
        assert within(1, lambda: sent(exporter, timeout=0.5)).answer is answer


def test_a_backend_that_reads_nothing_ends_an_attempt_in_time(made: Made) -> None:
    with sockets_serving(read_nothing) as url:
        exporter = made(url)
        request = request_of(exporter, "a")._replace(body=bytes(50_000_000))
        assert within(1, lambda: exporter.send(request, 0.5)).answer is UNKNOWN


@pytest.mark.parametrize("behave", [say_nothing, drip])
def test_a_backend_that_hangs_in_the_handshake_has_got_nothing_in_time(
    made: Made, behave: Callable[[socket.socket], None]
) -> None:
    with sockets_serving(behave) as url:
        exporter = made(url.replace("http:", "https:"))
        assert within(1, lambda: sent(exporter, timeout=0.5)).answer is NOT_SENT


@pytest.mark.parametrize("head", [b"HTTP/1.0 503 Busy\r\n\r\n", b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n"])
def test_a_body_that_comes_later_than_the_head_of_a_last_answer_is_read(made: Made, head: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        select.select([connection], [], [], 0.1)  # a client that hangs up ends this at once
        connection.sendall(b"no org id")
        connection.shutdown(socket.SHUT_WR)

    with sockets_serving(behave) as url:
        outcome = sent(made(url))
    assert (outcome.answer, outcome.error) == (REJECTED, "HTTP 503: no org id")


def test_an_endless_answer_is_not_read_to_its_end(made: Made) -> None:
    written: list[int] = []

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            written.append(0x8000)

    with sockets_serving(behave) as url:
        assert sent(made(url)).answer is ACCEPTED
    assert sum(written) < 20_000_000


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH\r\n", b"\0\n", b"HTTP/1.1 abc\r\n\r\n", b"\r\n"])
def test_what_is_no_answer_leaves_it_unknown(made: Made, answer: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with sockets_serving(behave) as url:
        assert sent(made(url)).answer is UNKNOWN


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
def shown(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder with a client's certificate and key, in one file and apart."""
    leaf = authority.issue_cert("shop")
    leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return tmp_path


@pytest.mark.parametrize("trusted", [True, False])
def test_a_backend_is_trusted_by_its_certificate(
    authority: trustme.CA, tmp_path: Path, made: Made, *, trusted: bool
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with backend_serving(tls=context) as backend:
        exporter = made(backend.url, certificate=str(tmp_path / "ca.pem") if trusted else None)
        outcomes = [sent(exporter) for _ in range(3)]
        assert {outcome.answer for outcome in outcomes} == {ACCEPTED if trusted else NOT_SENT}
        assert backend.names == (["a"] * 3 if trusted else [])
        assert backend.connections == trusted
        assert ("OTEL_EXPORTER_OTLP_CERTIFICATE" in outcomes[0].remedy) is not trusted


def test_a_certificate_for_another_name_is_not_trusted(authority: trustme.CA, tmp_path: Path, made: Made) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("tempo.example").configure_cert(context)
    with backend_serving(tls=context) as backend:
        assert sent(made(backend.url, certificate=str(tmp_path / "ca.pem"))).answer is NOT_SENT


@pytest.mark.parametrize("files", [("certificate.pem", "key.pem"), ("both.pem", None), (None, None)])
def test_a_backend_that_asks_for_a_certificate_is_shown_one(
    authority: trustme.CA, shown: Path, made: Made, files: tuple[str | None, str | None]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    certificate, key = (None if name is None else str(shown / name) for name in files)
    with backend_serving(tls=context) as backend:
        trusted = str(shown / "ca.pem")
        outcome = sent(made(backend.url, certificate=trusted, client_certificate=certificate, client_key=key))
        # Without one, the connection may break before the alert that says why has arrived.
        assert outcome.answer in ((ACCEPTED,) if certificate else (NOT_SENT, UNKNOWN))
        assert backend.names == (["a"] if certificate else [])


@pytest.mark.parametrize("credentials", ["", "bob:se%40cret@"])
def test_a_proxy_passes_requests_on(backend: Backend, made: Made, credentials: str) -> None:
    with proxy_serving() as proxy:
        exporter = made(backend.url, proxy=proxy.url.replace("://", f"://{credentials}"))
        assert [sent(exporter).answer for _ in range(2)] == [ACCEPTED, ACCEPTED]
        (asked,) = proxy.asked
    assert asked.startswith(f"POST {backend.url}/v1/traces HTTP/1.1")
    assert ("proxy-authorization: basic ym9ionnlqgnyzxq=" in asked.lower()) is bool(credentials)


@pytest.mark.parametrize("credentials", ["", "bob:se%40cret@"])
def test_a_proxy_tunnels_tls(authority: trustme.CA, tmp_path: Path, made: Made, credentials: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with backend_serving(tls=context) as backend, proxy_serving() as proxy:
        by_way_of = proxy.url.replace("://", f"://{credentials}")
        trusted = str(tmp_path / "ca.pem")
        exporter = made(backend.url, headers={"authorization": "x"}, certificate=trusted, proxy=by_way_of)
        assert [sent(exporter).answer for _ in range(2)] == [ACCEPTED, ACCEPTED]
        (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {backend.url.removeprefix('https://')} HTTP/1.1")
    assert "\r\nauthorization" not in asked.lower()
    assert ("\r\nproxy-authorization: basic ym9ionnlqgnyzxq=" in asked.lower()) is bool(credentials)


@pytest.mark.parametrize("behave", [drip_header, say_nothing])
def test_a_proxy_that_hangs_ends_an_attempt_in_time(made: Made, behave: Callable[[socket.socket], None]) -> None:
    with sockets_serving(behave) as url:
        exporter = made("https://127.0.0.1:1", proxy=url)
        assert within(1, lambda: sent(exporter, timeout=0.5)).answer is NOT_SENT


def test_a_proxy_that_refuses_is_told(made: Made) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")

    with sockets_serving(behave) as url:
        outcome = sent(made("https://127.0.0.1:1", proxy=url))
    assert outcome.answer is NOT_SENT
    assert "the proxy answers 407" in outcome.error
    assert "Does the proxy want credentials" in outcome.remedy


def test_an_endpoint_on_ipv6_is_named_in_brackets(made: Made) -> None:
    asked: list[bytes] = []
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    port = listener.getsockname()[1]
    assert sent(made(f"http://[::1]:{port}")).answer is ACCEPTED
    thread.join()
    listener.close()
    assert f"Host: [::1]:{port}".encode() in asked[0]
