"""What backends refuse, and why: it is heard, and only that is lost. Over real transports."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from backend import Backend, GrpcBackend, Refusal, backend_serving, grpc_backend_serving
from servers import process, wait_until
from test_bootstrap import run
from tracemw import config
from tracemw._export import Delivery
from tracemw._export.breaker import FAILURES
from tracemw._export.otlp_grpc import OtlpGrpcExporter
from tracemw._export.otlp_http import OtlpHttpExporter
from tracemw._export.portions import REMEMBERED_FOR
from tracemw.config import Arguments
from tracemw.redaction.policy import RedactionPolicy

SERVING: dict[str, Callable[[], AbstractContextManager[Backend]]] = {
    "http/protobuf": backend_serving,
    "grpc": grpc_backend_serving,
}

NGINX = b"""<html>\r
<head><title>413 Request Entity Too Large</title></head>\r
<body>\r
<center><h1>413 Request Entity Too Large</h1></center>\r
<hr><center>nginx/1.27.1</center>\r
</body>\r
</html>\r
"""

TOO_LARGE = {
    "nginx": Refusal(413, NGINX, "text/html"),
    "the collector": Refusal(400, b"http: request body too large\n"),
    "Tempo": Refusal(
        429,
        b"RATE_LIMITED: batch size (21000000 bytes) exceeds ingestion limit (local: 15000000 bytes/s, "
        b"global: 0 bytes/s, burst: 20000000 bytes) while adding 21000000 bytes for user single-tenant. "
        b"consider reducing batch size",
    ),
}
TOO_LARGE_FOR_GRPC = {
    "go": Refusal("RESOURCE_EXHAUSTED", "grpc: received message larger than max (5000000 vs. 4194304)"),
    "go, decompressed": Refusal(
        "RESOURCE_EXHAUSTED", "grpc: received message after decompression larger than max 4194304"
    ),
    "java": Refusal("RESOURCE_EXHAUSTED", "gRPC message exceeds maximum size 4194304: 5000000"),
    "rust": Refusal(
        "OUT_OF_RANGE", "Error, decoded message length too large: found 5000000 bytes, the limit is: 4194304 bytes"
    ),
    "nginx": Refusal("UNKNOWN", "Received http2 header with status: 413"),
    "Tempo": Refusal("RESOURCE_EXHAUSTED", bytes(TOO_LARGE["Tempo"].body).decode()),  # type: ignore[arg-type]
}

Made = Callable[..., Delivery]


@pytest.fixture(params=SERVING)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(protocol: str) -> Iterator[Backend]:
    with SERVING[protocol]() as serving:
        yield serving


@pytest.fixture
def made(backend: Backend, protocol: str) -> Iterator[Made]:
    """Makes deliveries to the backend that send nothing before they are told to, and shuts them down in the end."""
    deliveries: list[Delivery] = []

    def make(
        *, compress: bool = False, failures: int = FAILURES, remembered_for: float = REMEMBERED_FOR, **sizes: int
    ) -> Delivery:
        compression = "gzip" if compress else "none"
        given = Arguments(endpoint=backend.url, protocol=protocol, compression=compression)
        traces = config.Backend.resolve("traces", given)
        sizes = {"queue_size": 4096, "queue_bytes": 10**9, **sizes}
        settings: Any = {"service": None, "version": None, "environment": None, "delay": 60.0, **sizes}
        exporter = OtlpGrpcExporter if protocol == "grpc" else OtlpHttpExporter
        settings = config.Config(traces=traces, **settings)
        policy = RedactionPolicy(["x*"])  # the keys of `record`
        deliveries.append(
            Delivery(
                lambda: exporter(traces), settings, policy=policy, failures=failures, remembered_for=remembered_for
            )
        )
        return deliveries[-1]

    yield make
    backend.judge = lambda body: None
    for each in deliveries:
        each.shutdown()


def record(to: Delivery, *names: str, size: int = 0) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(to)
    tracer = provider.get_tracer("test")
    # In several attributes: a single one that is so long would be cut.
    parts = {f"x{start}": "x" * min(10_000, size - start) for start in range(0, size, 10_000)}
    for name in names:
        tracer.start_span(name, attributes=parts).end()


def names_in(body: bytes) -> set[str]:
    request = ExportTraceServiceRequest.FromString(body)
    return {span.name for origin in request.resource_spans for scope in origin.scope_spans for span in scope.spans}


def above(limit: int, refusal: Refusal) -> Callable[[bytes], Refusal | None]:
    return lambda body: refusal if len(body) > limit else None


def invalid(protocol: str) -> Refusal:
    return Refusal("INVALID_ARGUMENT", "a bad span") if protocol == "grpc" else Refusal(400, b"a bad span")


def too_large(protocol: str) -> Refusal:
    return TOO_LARGE_FOR_GRPC["go"] if protocol == "grpc" else TOO_LARGE["nginx"]


def of(limit: int, protocol: str) -> Callable[[bytes], Refusal | None]:
    return above(limit, too_large(protocol))


SERVICE = """
import http.client, json, sys, threading
import uvicorn
import tracemw
from tracemw.asgi import TraceMiddleware

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

tracing = tracemw.init("shop")
config = uvicorn.Config(TraceMiddleware(app), port=0, log_level="error", lifespan="off")
server = uvicorn.Server(config)
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    thread.join(0.01)
port = server.servers[0].sockets[0].getsockname()[1]
connection = http.client.HTTPConnection("127.0.0.1", port)
for number in range(1500):
    path = f"/honest/{number}" if number % 3 == 0 else f"/?{'q' * 60_000}"
    connection.request("GET", path)
    connection.getresponse().read()
connection.close()
server.should_exit = True
thread.join()
assert tracing.flush(20)
stats = tracing.stats()
print(json.dumps([stats.ended, stats.exported, stats.dropped]))
"""


def test_honest_traces_arrive_beside_a_thousand_requests_with_a_query_of_60_kilobytes(
    backend: Backend, protocol: str
) -> None:
    if protocol != "grpc":  # whose server has that limit by itself
        backend.judge = of(4 * 1024 * 1024, protocol)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with process("-c", SERVICE, env=environment) as running:
        output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    ended_spans, exported, dropped = json.loads(output)
    paths = [
        pair.value.string_value
        for span in backend.spans
        for pair in span.attributes
        if pair.key == "url.path" and pair.value.string_value.startswith("/honest")
    ]
    assert sorted(paths) == sorted(f"/honest/{number}" for number in range(0, 1500, 3))
    assert (ended_spans, exported, sum(dropped.values())) == (1500, 1500, 0)


def test_no_request_is_larger_than_its_limit_and_all_spans_arrive_in_order(backend: Backend, made: Made) -> None:
    sizes: list[int] = []
    backend.judge = lambda body: sizes.append(len(body))
    to = made(batch_bytes=50_000)
    names = [str(number) for number in range(200)]
    record(to, *names[:100], size=1_000)
    record(to, *names[100:], size=9_000)
    assert to.flush(20)
    assert backend.names == names
    assert max(sizes) <= 50_000
    assert len(sizes) < 40


def test_a_span_that_is_larger_than_a_request_is_the_only_one_that_is_lost(
    backend: Backend, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(batch_bytes=50_000)
    record(to, "before")
    record(to, "giant", size=60_000)
    record(to, "after")
    to.flush(20)
    assert backend.names == ["before", "after"]
    stats = to.stats()
    assert (stats.exported, stats.dropped["too_large"], stats.ended) == (2, 1, 3)
    assert "1 spans are lost (too_large: 1)" in caplog.text
    assert "TRACEMW_BATCH_BYTES is 50000 here" in caplog.text


def test_a_lower_limit_is_found_by_halving_whatever_it_is_called(backend: Backend, made: Made, protocol: str) -> None:
    for refusal in (TOO_LARGE_FOR_GRPC if protocol == "grpc" else TOO_LARGE).values():
        backend.requests.clear()
        backend.refused = 0
        backend.judge = above(100_000, refusal)
        to = made()
        names = [str(number) for number in range(300)]
        record(to, *names, size=1_000)
        assert to.flush(20), refusal
        assert backend.names == names
        stats = to.stats()
        assert (stats.exported, stats.rejected, stats.breaker) == (300, 0, "closed")
        assert backend.refused <= 4


def test_the_limit_is_remembered_for_a_while(backend: Backend, made: Made, protocol: str) -> None:
    backend.judge = of(100_000, protocol)
    to = made(compress=True)
    record(to, *map(str, range(300)), size=1_000)
    assert to.flush(20)
    before = backend.refused
    assert before > 0
    for _ in range(3):
        record(to, *map(str, range(300)), size=1_000)
        assert to.flush(20)
    assert backend.refused == before


def test_a_limit_that_is_forgotten_is_tried_again(backend: Backend, made: Made, protocol: str) -> None:
    backend.judge = of(1_000, protocol)
    to = made(compress=True, remembered_for=0)
    record(to, "big", size=2_000)
    to.flush(20)
    backend.judge = lambda body: None
    attempts = backend.attempts
    record(to, *map(str, range(300)), size=1_000)
    assert to.flush(20)
    assert backend.attempts == attempts + 1


def test_a_span_that_is_refused_for_its_size_alone_is_the_only_one_that_is_lost(
    backend: Backend, made: Made, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend.judge = of(50_000, protocol)
    to = made()
    for number in range(20):
        record(to, f"honest {number}")
        record(to, f"big {number}", size=60_000 + 10 * number)
    to.flush(20)
    assert backend.names == [f"honest {number}" for number in range(20)]
    stats = to.stats()
    assert (stats.exported, stats.rejected, stats.dropped["too_large"], stats.ended) == (20, 1, 19, 40)
    assert stats.breaker == "closed"
    assert "20 spans are lost (rejected: 1, too_large: 19)" in caplog.text
    assert "takes no span of this size" in caplog.text


def test_a_backend_that_bears_nothing_is_not_asked_about_each_span(backend: Backend, made: Made, protocol: str) -> None:
    backend.judge = of(0, protocol)
    to = made()
    record(to, *(f"{number:03}" for number in range(300)))
    to.flush(20)
    assert backend.attempts < 30
    stats = to.stats()
    assert stats.rejected + stats.dropped["too_large"] == 300


@pytest.mark.parametrize(
    "culprits", [{0}, {299}, {150}, {150, 151}, {0, 299}, {3, 77, 78, 200, 201, 290}, set(range(40, 48))], ids=str
)
def test_of_a_request_that_is_refused_for_some_spans_only_those_are_lost(
    backend: Backend, made: Made, protocol: str, culprits: set[int]
) -> None:
    bad = {str(number) for number in culprits}
    backend.judge = lambda body: invalid(protocol) if names_in(body) & bad else None
    to = made()
    record(to, *map(str, range(300)))
    to.flush(20)
    assert backend.names == [str(number) for number in range(300) if number not in culprits]
    stats = to.stats()
    assert (stats.exported, stats.rejected, stats.ended) == (300 - len(bad), len(bad), 300)
    assert stats.breaker == "closed"
    assert "a bad span" in (stats.last_error or "")
    assert backend.attempts <= len(bad) * 2 * (300).bit_length() + 2


def test_a_backend_that_refuses_everything_is_not_searched_for_one_span_again_and_again(
    backend: Backend, made: Made, protocol: str
) -> None:
    backend.judge = lambda body: invalid(protocol)
    to = made()
    attempts = []
    for _ in range(3):
        record(to, *map(str, range(300)))
        to.flush(20)
        attempts.append(backend.attempts)
    assert attempts[0] < 30
    assert attempts[2] - attempts[1] == attempts[1] - attempts[0] == 1
    assert to.stats().rejected == 900
    backend.judge = lambda body: invalid(protocol) if "bad" in names_in(body) else None
    record(to, "one")
    assert to.flush(20) is True
    record(to, "two", "bad", "three")  # it is worth the search again
    to.flush(20)
    assert backend.names == ["one", "two", "three"]


def test_a_backend_that_refuses_everything_opens_the_breaker(backend: Backend, made: Made, protocol: str) -> None:
    backend.judge = lambda body: invalid(protocol)
    to = made()
    for _ in range(FAILURES):
        record(to, "a", "b")
        to.flush(20)
    assert to.stats().breaker == "open"


def test_spans_that_are_too_large_do_not_open_the_breaker(backend: Backend, made: Made, protocol: str) -> None:
    backend.judge = of(2_000, protocol)
    to = made()
    for _ in range(2 * FAILURES):
        record(to, "bad", size=3_000)
        to.flush(20)
    record(to, "good")
    assert to.flush(20)
    assert backend.names == ["good"]


def test_when_the_backend_fails_in_the_midst_of_a_batch_the_rest_is_dropped_and_counted(
    backend: Backend, made: Made, protocol: str
) -> None:
    refusal = Refusal("INTERNAL", "down") if protocol == "grpc" else Refusal(500)
    answers = [None, refusal]
    backend.judge = lambda body: answers.pop(0) if len(answers) > 1 else answers[0]
    to = made(batch_bytes=50_000, failures=1)
    record(to, *map(str, range(10)), size=20_000)
    to.flush(20)
    stats = to.stats()
    assert (stats.exported, stats.rejected, stats.dropped["breaker_open"], stats.ended) == (2, 2, 6, 10)


def test_a_shutdown_in_the_midst_of_a_batch_tells_what_was_sent_from_what_was_not(
    backend: Backend, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(batch_bytes=50_000)
    record(to, *map(str, range(10)), size=20_000)
    backend.hang = 3.0
    assert to.shutdown(0.5) is False
    stats = to.stats()
    assert (stats.unknown, stats.dropped["shutdown"], stats.in_flight, stats.ended) == (2, 8, 0, 10)
    backend.hang = 0.0


def test_a_queue_that_has_too_many_bytes_drops_the_oldest_and_says_so(
    backend: Backend, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    to = made(queue_bytes=100_000, batch_size=4096)
    gate = threading.Event()

    def hold(_: bytes) -> None:
        gate.wait(20)

    backend.judge = hold
    record(to, "first")
    flush = threading.Thread(target=to.flush, args=(20,))
    flush.start()
    wait_until(lambda: to.stats().in_flight == 1)
    record(to, *map(str, range(30)), size=10_000)
    record(to, *(f"small {number}" for number in range(5)))
    stats = to.stats()
    assert stats.dropped["queue_bytes"] >= 20
    assert stats.ended == 36
    gate.set()
    flush.join()
    to.flush(20)
    kept = 30 - stats.dropped["queue_bytes"]
    assert backend.names == ["first", *map(str, range(30 - kept, 30)), *(f"small {number}" for number in range(5))]
    assert f"{30 - kept} spans are lost (queue_bytes: {30 - kept})" in caplog.text
    assert "TRACEMW_QUEUE_BYTES is 100000 here" in caplog.text


def test_the_bytes_of_the_queue_are_those_of_its_spans_however_many_threads_end_them(made: Made) -> None:
    to = made(queue_bytes=40_000, batch_size=8, batch_bytes=20_000)
    threads = [threading.Thread(target=record, args=(to, *["x"] * 300), kwargs={"size": 500}) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    to.flush(20)
    wait_until(lambda: not to.stats().queued)
    dropped = to.stats().dropped["queue_bytes"]
    record(to, *["y"] * 50, size=500)  # for which there is room, if no byte of others is counted still
    to.flush(20)
    stats = to.stats()
    assert stats.dropped["queue_bytes"] == dropped
    assert stats.exported + dropped == stats.ended == 2450


def test_at_every_instant_of_a_search_each_span_is_in_one_of_the_numbers(
    backend: Backend, made: Made, protocol: str
) -> None:
    bad = {str(number) for number in range(0, 300, 37)}
    backend.judge = lambda body: invalid(protocol) if names_in(body) & bad else None
    to = made(batch_size=100)
    seen, has_ended = set(), threading.Event()

    def look() -> None:
        while not has_ended.is_set():
            seen.add(to.stats().ended)

    record(to, *map(str, range(300)))
    looking = threading.Thread(target=look)
    looking.start()
    try:
        to.flush(20)
    finally:
        has_ended.set()
        looking.join()
    assert seen <= {300}
    assert to.stats().rejected == len(bad)


def test_refusals_of_spans_are_in_the_log_once_with_what_the_backend_says(
    backend: Backend, made: Made, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend.judge = lambda body: invalid(protocol) if "bad" in names_in(body) else None
    to = made()
    for _ in range(3):
        record(to, "good", "bad", "fine")
        to.flush(20)
    lines: list[Any] = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "1 spans are lost (rejected: 1)" in caplog.text
    assert "a bad span" in caplog.text


# What a backend says


def status_of(code: int, message: str) -> bytes:
    body: bytes = Status(code=code, message=message).SerializeToString()
    return body


NO_TENANT = {
    "http/protobuf": [
        Refusal(503, status_of(14, "no org id"), "application/x-protobuf"),
        Refusal(503, b'{"code":14,"message":"no org id"}', "application/json"),
        Refusal(401, b"no org id\n"),
    ],
    "grpc": [Refusal("UNAVAILABLE", "no org id"), Refusal("UNAUTHENTICATED", "no org id")],
}
WRONG_TENANT = {
    "http/protobuf": [Refusal(400, status_of(3, "tenant ID 'a/b' contains unsupported character '/'"), "text/plain")],
    "grpc": [Refusal("INVALID_ARGUMENT", "tenant ID is too long: max 150 characters")],
}

ONE_BATCH = (
    "import tracemw, logging\n"
    "logging.basicConfig(level=logging.WARNING)\n"
    "tracing = tracemw.init('shop', headers={'authorization': 'Bearer s3cr3t-t0k3n'})\n"
    "for name in ('a', 'b', 'c'):\n"
    "    with tracemw.span(name): pass\n"
    "print(tracing.shutdown(5), repr(tracing.stats().last_error))\n"
)


@pytest.mark.parametrize("kind", [NO_TENANT, WRONG_TENANT], ids=["none", "wrong"])
def test_a_missing_or_wrong_tenant_is_not_retried_and_the_remedy_is_named(
    backend: Backend, protocol: str, kind: dict[str, list[Refusal]]
) -> None:
    for refusal in kind[protocol]:
        backend.judge = lambda body, refusal=refusal: refusal  # type: ignore[misc]
        backend.attempts = 0
        ended = run(ONE_BATCH, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        assert backend.attempts == 1
        assert "init(tenant=...) or TRACEMW_TENANT" in ended.stdout
        said = "no org id" if kind is NO_TENANT else "tenant ID"
        assert f": {said}" in ended.stdout.splitlines()[-1]  # the last error
        assert "3 spans are lost (rejected: 3)" in ended.stdout


SAYING = {
    "http/protobuf": [
        Refusal(500, status_of(13, "disk\x1b[31m full\n of s3cr3t-t0k3n"), "application/x-protobuf"),
        Refusal(403, b'{"message": "disk full of Bearer s3cr3t-t0k3n"}', "application/json"),
        Refusal(400, b"<html><title>disk full of s3cr3t-t0k3n</title></html>", "text/html"),
        Refusal(404, b"disk full of s3cr3t-t0k3n " + b"x" * 5000),
    ],
    "grpc": [
        Refusal("INTERNAL", "disk\x1b[31m full\n of s3cr3t-t0k3n"),
        Refusal("INVALID_ARGUMENT", "disk full of s3cr3t-t0k3n " + "x" * 1000),
    ],
}


def test_what_a_backend_says_of_an_error_is_in_the_log_and_the_last_error_clean_and_without_secrets(
    backend: Backend, protocol: str
) -> None:
    for refusal in SAYING[protocol]:
        backend.judge = lambda body, refusal=refusal: refusal  # type: ignore[misc]
        ended = run(ONE_BATCH, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
        *logged, last = ended.stdout.splitlines()
        for lines in ("\n".join(logged), last):
            assert "disk" in lines
            assert "full" in lines
            assert "of [REDACTED]" in lines
        assert "s3cr3t" not in ended.stdout
        assert all(line.isprintable() for line in ended.stdout.splitlines())
        assert len(last) < 400


METRICS = (
    "import tracemw, logging\n"
    "from opentelemetry import metrics\n"
    "logging.basicConfig(level=logging.WARNING)\n"
    "tracing = tracemw.init('shop', metrics=True, timeout=5, headers={'authorization': 'Bearer s3cr3t-t0k3n'})\n"
    "counter = metrics.get_meter('x').create_counter('c')\n"
    "for _ in range(4):\n"
    "    counter.add(1)\n"
    "    metrics.get_meter_provider().force_flush()\n"
    "tracing.shutdown()\n"
)


def test_a_backend_without_metrics_is_named_once_with_the_remedy(backend: Backend, protocol: str) -> None:
    if isinstance(backend, GrpcBackend):
        backend.takes_metrics = False
    else:
        backend.status, backend.answer = 404, b"404 page not found"
    ended = run(METRICS, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    assert ended.returncode == 0
    (line,) = ended.stdout.splitlines()
    assert line.startswith("WARNING:tracemw:metrics do not reach")
    assert "init(metrics=False) sends none" in line
    assert "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT names a backend" in line
    assert backend.metrics_attempts >= 4  # and yet it is tried: somebody may put it right


def test_what_a_backend_says_of_metrics_is_heard_too(backend: Backend, protocol: str) -> None:
    if isinstance(backend, GrpcBackend):
        backend.metrics_refusal = Refusal("UNAVAILABLE", "no org id for s3cr3t-t0k3n")
    else:
        backend.status, backend.answer = 503, status_of(14, "no org id for s3cr3t-t0k3n")
    ended = run(METRICS, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    (line,) = ended.stdout.splitlines()
    assert (
        ": no org id for [REDACTED]. The backend tells tenants apart: init(tenant=...) or TRACEMW_TENANT names" in line
    )
    assert 4 <= backend.metrics_attempts <= 5  # none of them again


def test_a_backend_that_takes_metrics_again_is_told_of(backend: Backend, protocol: str) -> None:
    code = METRICS.replace("    metrics.get", "    print('flush', flush=True); input(); metrics.get")
    if isinstance(backend, GrpcBackend):
        backend.metrics_refusal = Refusal("PERMISSION_DENIED", "not you")
    else:
        backend.status = 403
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        lines = []
        for number in range(4):
            while (line := running.stdout.readline()) != "flush\n":
                lines.append(line)
            if number == 2:
                backend.status = 200
                if isinstance(backend, GrpcBackend):
                    backend.metrics_refusal = None
            running.stdin.write("\n")
            running.stdin.flush()
        rest, _ = running.communicate(timeout=60)
    lines += rest.splitlines(keepends=True)
    assert [line.split(" http")[0] for line in lines] == [
        "WARNING:tracemw:metrics do not reach",
        "WARNING:tracemw:metrics reach",
    ]


@pytest.mark.parametrize(("preference", "expected"), [("delta", [1, 1, 1]), ("cumulative", [1, 2, 3])])
def test_metrics_tell_what_has_come_since_the_last_time_when_asked_to(
    backend: Backend, protocol: str, preference: str, expected: list[int]
) -> None:
    ended = run(
        METRICS.replace("range(4)", "range(3)"),
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    values = [
        point.as_int
        for body in backend.metrics_bodies
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "c"
        for point in metric.sum.data_points
    ]
    assert values[:3] == expected


def test_a_forked_child_sends_its_own_metrics(backend: Backend, protocol: str) -> None:
    ended = run(
        METRICS.replace("tracing.shutdown()", "") + "import os\n"
        "pid = os.fork()\n"
        "counter.add(1)\n"
        "assert metrics.get_meter_provider().force_flush()\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0\n"
        "else: os._exit(0)\n",
        OTEL_EXPORTER_OTLP_ENDPOINT=backend.url,
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert len(backend.metrics_bodies) >= 6
