"""What `init` sends to which backend, by which way, and what it says when that fails."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme

from backend import Backend, backend_serving, grpc_backend_serving, proxy_serving, sockets_serving
from servers import free_port, process
from test_bootstrap import run


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def test_grpc_carries_spans_and_metrics_with_the_tenant() -> None:
    with grpc_backend_serving() as backend:
        ended = run(
            "import tracemw\n"
            "from opentelemetry import metrics\n"
            "with tracemw.init('shop', protocol='grpc', tenant='team-a', metrics=True, timeout=5) as tracing:\n"
            "    with tracemw.span('a'): pass\n"
            "    metrics.get_meter('x').create_counter('c').add(1)\n",
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["a"]
    assert backend.resource["service.name"] == "shop"
    assert backend.headers[0]["x-scope-orgid"] == "team-a"
    assert backend.metrics_headers[0]["x-scope-orgid"] == "team-a"


COUNTING = (
    "from opentelemetry import metrics\n"
    "with tracing:\n"
    "    with tracemw.span('a'): pass\n"
    "    metrics.get_meter('x').create_counter('c').add(1)\n"
)
"""A process that ends a span and counts something."""


def test_what_is_set_for_one_signal_does_not_reach_the_backend_of_the_other(backend: Backend) -> None:
    with backend_serving() as other:
        ended = run(
            "import tracemw\ntracing = tracemw.init('shop', metrics=True)\n" + COUNTING,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.url}/v1/traces",
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=f"{other.url}/v1/metrics",
            OTEL_EXPORTER_OTLP_TRACES_HEADERS="authorization=of-traces",
            OTEL_EXPORTER_OTLP_METRICS_HEADERS="x-metrics=of-metrics",
            OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="gzip",
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        assert (backend.paths, other.paths) == (["/v1/traces"], ["/v1/metrics"])
    (spans,), (metrics,) = backend.headers, other.headers
    assert [headers.get("authorization") for headers in (spans, metrics)] == ["of-traces", None]
    assert [headers.get("x-metrics") for headers in (spans, metrics)] == [None, "of-metrics"]
    assert [headers.get("content-encoding") for headers in (spans, metrics)] == [None, "gzip"]


def test_headers_and_the_tenant_go_with_spans_and_metrics(backend: Backend) -> None:
    ended = run(
        "import tracemw\n"
        "tracing = tracemw.init('shop', headers={'X-Team': 'a'}, tenant='b', metrics=True)\n" + COUNTING,
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-region=c",
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert sorted(backend.paths) == ["/v1/metrics", "/v1/traces"]
    for headers in backend.headers:
        assert [headers.get(name) for name in ("x-team", "x-scope-orgid", "x-region")] == ["a", "b", "c"]


def test_spans_and_metrics_may_speak_different_protocols_over_tls_or_not(backend: Backend, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials([(server.private_key_pem.bytes(), server.cert_chain_pems[0].bytes())])
    with grpc_backend_serving(credentials=credentials) as other:
        ended = run(
            "import tracemw\ntracing = tracemw.init('shop', metrics=True)\n" + COUNTING,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=other.url,
            OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="grpc",
            OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE=str(tmp_path / "ca.pem"),
            OTEL_EXPORTER_OTLP_METRICS_HEADERS="x-metrics=of-metrics",
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        assert other.metrics_headers[0]["x-metrics"] == "of-metrics"
    assert (backend.names, backend.paths) == (["a"], ["/v1/traces"])


@pytest.mark.parametrize("named_by", ["OTEL_EXPORTER_OTLP_CERTIFICATE", "SSL_CERT_FILE"])
def test_metrics_over_http_trust_what_spans_do(tmp_path: Path, named_by: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with backend_serving(tls=context) as backend:
        ended = run(
            "import tracemw\ntracing = tracemw.init('shop', metrics=True)\n" + COUNTING,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
            **{named_by: str(tmp_path / "ca.pem")},
        )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert sorted(backend.paths) == ["/v1/metrics", "/v1/traces"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_metrics_take_the_same_proxy_as_spans(protocol: str) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    serving = grpc_backend_serving if protocol == "grpc" else backend_serving
    code = (
        "import tracemw, sys\ntracing = tracemw.init('shop', metrics=True, timeout=5, proxy=sys.argv[1])\n" + COUNTING
    )
    for is_used in (True, False):
        with serving() as backend, proxy_serving() as proxy:
            environment = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                "http_proxy": nobody,
                "HTTP_PROXY": nobody,
            }
            with process("-c", code, proxy.url if is_used else "", env=environment) as running:
                assert running.communicate(timeout=60)[0] == ""
            assert backend.names == ["a"]
            assert getattr(backend, "metrics_headers", None) or "/v1/metrics" in backend.paths
            assert len(proxy.asked) == (2 if is_used else 0)


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_a_query_of_the_endpoint_is_sent_and_not_logged(signal: str) -> None:
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with sockets_serving(refuse) as url:
        ended = run(
            "import logging, tracemw\nlogging.basicConfig()\n"
            "tracing = tracemw.init('shop', metrics=True, timeout=1)\n" + COUNTING,
            OTEL_EXPORTER_OTLP_ENDPOINT=url,
            **{f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT": f"{url}/v1/{signal}?api_key=s3cr3t"},
        )
    assert ended.returncode == 0
    assert any(f"POST /v1/{signal}?api_key=s3cr3t".encode() in request for request in asked)
    assert f"on their way to {url}/v1/traces." in ended.stdout
    assert "s3cr3t" not in ended.stdout


def test_a_certificate_that_cannot_be_read_is_an_error_at_init() -> None:
    ended = run("import tracemw; tracemw.init('shop', endpoint='https://tempo:4318', certificate='/nowhere.pem')")
    assert ended.returncode == 1
    assert "ValueError: certificate='/nowhere.pem' is not accepted" in ended.stdout


def test_an_unreachable_endpoint_costs_at_most_the_timeout_and_is_logged_with_the_remedy() -> None:
    started = time.monotonic()
    ended = run(
        "import tracemw\ntracemw.init('shop')\nwith tracemw.span('lost'): pass\ntracemw.shutdown(timeout=1)\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
    )
    assert ended.returncode == 0
    assert time.monotonic() - started < 8
    assert "spans do not reach http://127.0.0.1:" in ended.stdout
    assert "`tracemw view` starts one" in ended.stdout


def test_an_outage_is_one_line_in_the_log_not_one_for_each_batch() -> None:
    ended = run(
        "import logging, tracemw\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "tracing = tracemw.init('shop')\n"
        "for _ in range(8):\n"
        "    with tracemw.span('lost'): pass\n"
        "    assert tracing.flush(timeout=5) is False\n"
        "assert tracemw.shutdown(timeout=5) is False\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_EXPORTER_OTLP_TIMEOUT="500",
    )
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 1
    assert "spans do not reach" in ended.stdout
