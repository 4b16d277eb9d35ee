"""`init` and `shutdown`, each in a process of its own: OpenTelemetry's global provider can be set only once."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import Backend, backend_serving
from servers import process, wait_until


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter, with warnings as errors, and return how it ended."""
    # requests' pool leaves its sockets to the garbage collector when it is closed
    with process("-W", "error", "-W", "ignore::ResourceWarning", "-c", code, env=environment) as running:
        output, _ = running.communicate(timeout=60)
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


def test_a_variable_that_is_misspelt_is_told_once_with_the_one_that_is_meant() -> None:
    code = "import tracemw\ntracemw.init('shop')\ntracemw.shutdown()\ntracemw.init('shop')\n"
    ended = run(code, OTEL_TRACES_EXPORTER="none", TRACEMW_TENNANT="blue", TRACEMW_FOLD_AFTER="30")
    assert ended.returncode == 0
    told = "TRACEMW_TENNANT is ignored: tracemw has no such variable. Use TRACEMW_TENANT"
    assert [line for line in ended.stdout.splitlines() if "ignored" in line] == [told]


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


def load(port: int, count: int) -> None:
    """Wait for the service, then ask it `count` times."""
    wait_until(lambda: status_of(port, "/health") == 404)
    for number in range(count):
        assert status_of(port, f"/items/{number}") == 200


def status_of(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()
