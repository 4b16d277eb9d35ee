"""`init` and `shutdown`, each in a process of its own: OpenTelemetry's global provider can be set only once."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme

from backend import Backend, backend_serving, grpc_backend_serving, proxy_serving, sockets_serving
from servers import free_port, process, wait_until


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a traced Flask service in `service.py`."""
    (tmp_path / "service.py").write_text(
        "import flask, tracemw\n"
        "from tracemw.flask import TraceMiddleware\n"
        "tracemw.init('shop')\n"
        "app = flask.Flask(__name__)\n"
        "TraceMiddleware(app)\n"
        "@app.get('/items/<int:n>')\n"
        "def item(n): return 'ok'\n"
    )
    return tmp_path


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter, with warnings as errors, and return how it ended."""
    # requests' pool leaves its sockets to the garbage collector when it is closed
    with process("-W", "error", "-W", "ignore::ResourceWarning", "-c", code, env=environment) as running:
        output, _ = running.communicate(timeout=30)
    return subprocess.CompletedProcess(args=code, returncode=running.returncode, stdout=output)


def test_a_span_arrives_with_its_resource_when_the_process_ends(backend: Backend) -> None:
    ended = run(
        "import tracemw\n"
        "tracemw.init('shop', version='1.2', environment='test')\n"
        "with tracemw.span('payment.process', **{'payment.amount': 42}): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-team=shop",
        OTEL_RESOURCE_ATTRIBUTES="team=payments",
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["payment.process"]
    assert backend.paths == ["/v1/traces"]
    assert backend.headers[0]["x-team"] == "shop"
    resource = backend.resource
    assert resource["service.name"] == "shop"
    assert resource["service.version"] == "1.2"
    assert resource["deployment.environment.name"] == "test"
    assert resource["team"] == "payments"
    assert resource["telemetry.sdk.language"] == "python"
    assert len(resource["service.instance.id"]) == 36


def test_each_process_has_an_instance_id_of_its_own_even_after_a_fork(backend: Backend) -> None:
    ended = run(
        "import os, tracemw\n"
        "tracemw.init('shop')\n"
        "pid = os.fork()\n"
        "with tracemw.span('child' if pid == 0 else 'parent'): pass\n"
        "if pid: os.waitpid(pid, 0)\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert sorted(backend.names) == ["child", "parent"]
    ids = {
        pair.value.string_value
        for batch in backend.resource_spans
        for pair in batch.resource.attributes
        if pair.key == "service.instance.id"
    }
    assert len(ids) == 2


def test_sigterm_delivers_what_is_queued_and_ends_the_process_by_that_signal(backend: Backend) -> None:
    code = (
        "import time, tracemw\n"
        "tracemw.init('shop')\n"
        "for n in range(100):\n"
        "    with tracemw.span(str(n)): pass\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(0.1)\n"  # a signal just before a sleep does not cut it short
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with process("-c", code, env=environment) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == -signal.SIGTERM
    assert len(backend.names) == 100


def test_a_sigterm_while_the_process_ends_lets_it_deliver_first(backend: Backend) -> None:
    backend.hang = 1.0
    code = "import tracemw\ntracemw.init('shop')\nwith tracemw.span('last'): pass\n"
    with process("-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        wait_until(lambda: backend.attempts)
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == -signal.SIGTERM
    assert backend.names == ["last"]


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
                assert running.communicate(timeout=30)[0] == ""
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


def test_a_sigterm_handler_of_the_application_stays() -> None:
    ended = run(
        "import signal, tracemw\n"
        "def mine(*_): ...\n"
        "signal.signal(signal.SIGTERM, mine)\n"
        "tracemw.init('shop')\n"
        "assert signal.getsignal(signal.SIGTERM) is mine\n"
    )
    assert (ended.returncode, ended.stdout) == (0, "")


def test_init_works_away_from_the_main_thread(backend: Backend) -> None:
    ended = run(
        "import threading, tracemw\n"
        "def work():\n"
        "    tracemw.init('shop')\n"
        "    with tracemw.span('work'): pass\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["work"]


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


def test_a_hanging_backend_holds_the_end_of_the_process_no_longer_than_its_timeout(backend: Backend) -> None:
    backend.hang = 30
    started = time.monotonic()
    ended = run(
        "import tracemw\ntracemw.init('shop')\nwith tracemw.span('lost'): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert ended.returncode == 0
    assert 4.5 < time.monotonic() - started < 9


def test_tracing_is_a_context_manager_that_flushes_and_counts(backend: Backend) -> None:
    ended = run(
        "import tracemw\n"
        "with tracemw.init('shop') as tracing:\n"
        "    with tracemw.span('one'): pass\n"
        "    assert tracing.flush(timeout=5) is True\n"
        "    stats = tracing.stats()\n"
        "    assert (stats.exported, stats.ended, stats.breaker) == (1, 1, 'closed'), stats\n"
        "assert not tracing.active\n"
        "assert tracing.shutdown() and tracemw.shutdown()\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "environment", "shown"),
    [
        (
            "'shop', sampling=0.1",
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/in?key=secret"},
            "service shop, sends to http://127.0.0.1:9/in by http/protobuf, samples 0.1 of new traces, "
            "keeps what fails or is slow",
        ),
        (
            "sampling=Sampling(rules=[Rule('/a', 1.0)], keep_slow=None)",
            {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_SERVICE_NAME": "shop"},
            "service shop, sends to http://localhost:4317 by grpc, samples 1 of all requests, with 1 rule, "
            "keeps what fails",
        ),
        (
            "'shop'",
            {"OTEL_TRACES_EXPORTER": "none", "ENVIRONMENT": "production"},
            "service shop, sends nothing, samples 0.1 of new traces",
        ),
        ("'shop'", {"OTEL_SDK_DISABLED": "true"}, "nothing is traced, as OTEL_SDK_DISABLED says"),
    ],
)
def test_tracing_shows_what_has_been_set_up_and_no_secret(
    arguments: str, environment: dict[str, str], shown: str
) -> None:
    ended = run(
        "import tracemw\n"
        "from tracemw.sampling import Rule, Sampling\n"
        f"tracing = tracemw.init({arguments}, headers={{'authorization': 'secret'}})\n"
        "print(tracing)\n"
        "tracing.shutdown()\n"
        "print(tracing)\n",
        **environment,
    )
    assert ended.returncode == 0
    assert ended.stdout.splitlines() == [f"<Tracing, active: {shown}>", f"<Tracing, shut down: {shown}>"]


def test_a_second_init_is_an_error_until_the_first_was_shut_down_and_then_arms_the_same_provider(
    backend: Backend,
) -> None:
    ended = run(
        "import tracemw\n"
        "from opentelemetry import trace\n"
        "first = tracemw.init('first')\n"
        "tracer = trace.get_tracer('mine')\n"
        "tracer.start_span('a').end()\n"
        "try: tracemw.init('second')\n"
        "except RuntimeError as error: assert 'tracemw.shutdown()' in str(error)\n"
        "else: raise SystemExit('no error')\n"
        "tracemw.shutdown()\n"
        "tracer.start_span('lost').end()\n"
        "second = tracemw.init('second', sampling=1.0)\n"
        "assert second.provider is first.provider\n"
        "tracer.start_span('b').end()\n"
        "with tracemw.span('c'): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        ENVIRONMENT="test",
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["a", "b", "c"]
    assert backend.resource["service.name"] == "second"


def test_a_foreign_provider_stays_and_init_says_so_once() -> None:
    ended = run(
        "import tracemw\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider, SpanProcessor\n"
        "class Processor(SpanProcessor):\n"
        "    def on_end(self, span): print(span.name)\n"
        "    def force_flush(self, timeout_millis=0): print('flushed'); return True\n"
        "    def shutdown(self): print('shut down')\n"
        "theirs = TracerProvider()\n"
        "theirs.add_span_processor(Processor())\n"
        "trace.set_tracer_provider(theirs)\n"
        "tracing = tracemw.init('shop', metrics=True)\n"
        "assert tracing.provider is trace.get_tracer_provider() is theirs\n"
        "print(tracing)\n"
        "with tracemw.span('work'): pass\n"
        "assert tracing.flush() and tracing.stats().ended == 0\n"
        "tracing.spike(1.0, seconds=1)\n"
        "assert tracing.shutdown() and not tracing.active\n"
        "with tracemw.span('more'): pass\n"
    )
    assert ended.returncode == 0, ended.stdout
    said, *rest = ended.stdout.splitlines()
    assert said.startswith("tracemw.init() leaves tracing as it is: a tracer provider is installed already (open")
    assert rest == [
        "<Tracing, active: a tracer provider of others, opentelemetry.sdk.trace.TracerProvider>",
        *("work", "flushed", "flushed", "more", "shut down"),
    ]


def test_metrics_beside_a_foreign_meter_provider_are_its_own_with_a_warning(backend: Backend) -> None:
    ended = run(
        "import tracemw\n"
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))\n"
        "tracemw.init('shop', metrics=True)\n"
        "with tracemw.span('work'): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.startswith("metrics=True does nothing: a meter provider is installed already")
    assert (backend.names, backend.paths) == (["work"], ["/v1/traces"])


@pytest.mark.parametrize("first", ["", "trace.get_tracer('at import')\n"], ids=["init first", "a tracer first"])
def test_a_provider_that_only_a_variable_names_is_none_that_somebody_has_installed(
    backend: Backend, first: str
) -> None:
    ended = run(
        "import tracemw\n"
        "from opentelemetry import metrics, trace\n"
        f"{first}"
        f"tracing = tracemw.init('shop', metrics={not first})\n"
        "assert trace.get_tracer_provider() is tracing.provider\n"
        "with tracemw.span('work'): pass\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider",
        OTEL_PYTHON_METER_PROVIDER="sdk_meter_provider",
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.names == ["work"]


@pytest.mark.parametrize("name", ["OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"])
def test_a_configuration_file_is_ignored_aloud_and_once(name: str) -> None:
    code = "import tracemw\ntracemw.init('shop')\ntracemw.shutdown()\ntracemw.init('shop')\n"
    ended = run(code, OTEL_TRACES_EXPORTER="none", **{name: "/etc/otel.yaml"})
    assert ended.returncode == 0
    assert ended.stdout.count(f"{name} is ignored: tracemw reads no configuration file") == 1


CRASHES = pytest.mark.skipif(
    sys.version_info[:2] == (3, 12),
    reason="Python 3.12 itself crashes at the end, when it frees what modules in C hold",
)


@pytest.mark.parametrize("kind", [pytest.param("isolated", marks=CRASHES), "legacy"])
def test_init_in_a_subinterpreter_delivers_what_is_flushed(backend: Backend, kind: str) -> None:
    """mod_wsgi runs applications in such; in an isolated one, there are no threads either."""
    inner = (
        "import tracemw\n"
        f"tracing = tracemw.init('shop', endpoint={backend.url!r})\n"
        "with tracemw.span('inner'): pass\n"
        "assert tracing.flush()\n"
        "with tracemw.span('last'): pass\n"
        "assert tracing.shutdown()\n"
        "print('done', flush=True)\n"
    )
    ended = run(
        "import sys\n"
        "if sys.version_info >= (3, 13):\n"
        "    import _interpreters as interpreters\n"
        f"    made = interpreters.create({kind!r})\n"
        "    run = interpreters.run_string\n"
        "else:\n"
        "    import _xxsubinterpreters as interpreters\n"
        f"    made = interpreters.create(isolated={kind == 'isolated'})\n"
        "    run = interpreters.run_string\n"
        f"print(run(made, {inner!r}) or '')\n"
    )
    assert ended.returncode == 0, ended.stdout
    assert "done" in ended.stdout, ended.stdout
    assert backend.names == ["inner", "last"]


def test_init_at_the_limit_of_threads_goes_on_and_delivers_once_there_are_some(
    backend: Backend, tmp_path: Path
) -> None:
    ended = run(
        "import threading, time, tracemw\n"
        "threading.stack_size(1 << 46)  # more memory than there is\n"
        "tracing = tracemw.init('shop', metrics=True)\n"
        "with tracemw.span('waits'): pass\n"
        "threading.stack_size(0)\n"
        "with tracemw.span('leaves'): pass\n"
        "deadline = time.monotonic() + 10\n"
        "while tracing.stats().exported < 2: assert time.monotonic() < deadline\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_BSP_SCHEDULE_DELAY="1",
        OTEL_RESOURCE_ATTRIBUTES="team=payments",
        TRACEMW_CONTROL_FILE=str(tmp_path / "control.json"),
    )
    assert ended.returncode == 0, ended.stdout
    assert backend.names == ["waits", "leaves"]
    resource = backend.resource
    assert (resource["service.name"], resource["team"]) == ("shop", "payments")
    assert resource["telemetry.sdk.language"] == "python"
    assert len(resource["service.instance.id"]) == 36


def test_a_bad_setting_is_an_error_at_init() -> None:
    ended = run("import tracemw; tracemw.init('shop')", TEMPO_ENDPOINT="tempo:4318")
    assert ended.returncode == 1
    assert "ValueError: TEMPO_ENDPOINT='tempo:4318' is not accepted" in ended.stdout


def test_an_unknown_argument_is_a_type_error() -> None:
    ended = run("import tracemw; tracemw.init('shop', sample_rate=1)")
    assert ended.returncode == 1
    assert "TypeError" in ended.stdout
    assert "sample_rate" in ended.stdout


def test_a_missing_service_name_is_logged_with_the_remedy(backend: Backend) -> None:
    ended = run("import tracemw; tracemw.init()\nwith tracemw.span('x'): pass", OTEL_EXPORTER_OTLP_ENDPOINT=backend.url)
    assert ended.returncode == 0
    assert "set OTEL_SERVICE_NAME" in ended.stdout
    assert backend.resource["service.name"].startswith("unknown_service")


def test_a_disabled_sdk_turns_all_of_it_into_no_ops(backend: Backend) -> None:
    ended = run(
        "import asyncio, threading, tracemw\n"
        "from tracemw.asgi import TraceMiddleware\n"
        "tracing = tracemw.init('shop')\n"
        "seen = []\n"
        "async def app(scope, receive, send):\n"
        "    seen.append(tracemw.current_trace_id())\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b''})\n"
        "sent = []\n"
        "async def send(message): sent.append(message)\n"
        "scope = {'type': 'http', 'method': 'GET', 'path': '/', 'headers': [], 'query_string': b''}\n"
        "asyncio.run(TraceMiddleware(app)(scope, None, send))\n"
        "with tracemw.span('x') as span: assert not span.is_recording()\n"
        "assert seen == [None] and sent[0]['headers'] == [], (seen, sent)\n"
        "assert tracing.flush() and tracing.stats().exported == 0\n"
        "assert threading.active_count() == 1\n"
        "tracing.shutdown()\n",
        OTEL_SDK_DISABLED="true",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert backend.requests == []


@pytest.mark.parametrize(("environment", "low", "high"), [("production", 40, 180), ("staging", 400, 600)])
def test_the_environment_decides_how_much_is_sampled(environment: str, low: int, high: int) -> None:
    with backend_serving() as backend:
        ended = run(
            "import tracemw\ntracemw.init('shop')\nfor _ in range(1000):\n    with tracemw.span('work'): pass\n",
            ENVIRONMENT=environment,
            OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        assert low < len(backend.spans) < high


def test_a_service_under_uvicorn_loses_no_span_to_sigterm(backend: Backend) -> None:
    port = free_port()
    code = (
        "import tracemw, uvicorn\n"
        "from starlette.applications import Starlette\n"
        "from starlette.responses import PlainTextResponse\n"
        "from starlette.routing import Route\n"
        "from tracemw.starlette import TraceMiddleware\n"
        "async def home(request): return PlainTextResponse('ok')\n"
        "def make():\n"
        "    tracemw.init('shop')\n"
        "    app = Starlette(routes=[Route('/items/{n}', home)])\n"
        "    app.add_middleware(TraceMiddleware)\n"
        "    return app\n"
        f"uvicorn.run('__main__:make', factory=True, port={port}, log_level='error')\n"
    )
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with process("-c", code, env=environment) as running:
        load(port, 50)
        running.send_signal(signal.SIGTERM)
        running.wait(10)
    assert backend.names == ["GET /items/{n}"] * 50


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_service_under_gunicorn_loses_no_span_to_sigterm(
    backend: Backend, preload: tuple[str, ...], folder: Path
) -> None:
    port = free_port()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    arguments = ("-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}", *preload, "service:app")
    with process(*arguments, env=environment, cwd=folder) as running:
        load(port, 50)
        running.send_signal(signal.SIGTERM)
        running.wait(10)
    assert backend.names == ["GET /items/<int:n>"] * 50


def test_a_backend_that_dies_under_traffic_and_comes_back_changes_no_response(folder: Path) -> None:
    port, backend_port = free_port(), free_port()
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend_port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    arguments = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "service:app")
    with process(*arguments, env=environment, cwd=folder) as running:
        with backend_serving(backend_port) as first:
            load(port, 50)
            wait_until(lambda: len(first.spans) == 50)
        load(port, 50)
        with backend_serving(backend_port) as second:

            def arrive() -> bool:  # not the first ones, if the outage was long enough to open the breaker
                load(port, 10)
                return len(second.spans) >= 50

            wait_until(arrive, timeout=30)
            running.send_signal(signal.SIGTERM)
            output, _ = running.communicate(timeout=30)
    said = [line for line in output.splitlines() if "spans" in line]
    assert len(said) <= 2, "\n".join(said)


def load(port: int, count: int) -> None:
    """Wait for the service, then ask it `count` times."""
    wait_until(lambda: status_of(port, "/health") == 404, timeout=20)
    for number in range(count):
        assert status_of(port, f"/items/{number}") == 200


def status_of(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()
