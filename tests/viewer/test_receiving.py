"""OTLP/HTTP as senders meet it: what is taken, what is refused, and how that is said."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.app import create_app
from tracemw.viewer.storing.store import Store

from .running import JSON, PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import Spans, hex_id, one, request, span


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_the_opentelemetry_sdk_exports_a_trace_that_the_query_api_returns(
    viewer: Viewer, compression: Compression
) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{viewer.url}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("parent") as parent, tracer.start_as_current_span("child"):
        pass
    assert provider.force_flush()
    provider.shutdown()
    trace = viewer.get(f"/api/v2/traces/{parent.get_span_context().trace_id:032x}")["trace"]
    names = {span["name"] for span in trace["resourceSpans"][0]["scopeSpans"][0]["spans"]}
    assert names == {"parent", "child"}


def otlp_json(trace_id: str = hex_id(0xABC), span_id: str = "00000000000000ff", **fields: Any) -> dict[str, Any]:
    """A request in OTLP's JSON; the fields go onto its one span."""
    spans = [{"traceId": trace_id, "spanId": span_id, "name": "from JSON", **fields}]
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}


def only_span(viewer: Viewer, trace: int = 0xABC) -> dict[str, Any]:
    body = viewer.get(f"/api/v2/traces/{trace:032x}")
    span: dict[str, Any] = body["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    return span


def test_json_with_hex_ids_and_enums_and_numbers_of_either_form_is_taken(viewer: Viewer) -> None:
    for kind, start in ((2, 1), ("SPAN_KIND_SERVER", "1")):
        body = otlp_json(kind=kind, startTimeUnixNano=start, endTimeUnixNano=5, unknownField=[1], status={"code": 2})
        response = viewer.http.post("/v1/traces", json=body)
        assert (response.status_code, response.json()) == (200, {})
        assert response.headers["content-type"] == "application/json"
        span = only_span(viewer)
        assert span["traceId"] == base64.b64encode(bytes.fromhex(hex_id(0xABC))).decode()
        assert (span["kind"], span["startTimeUnixNano"]) == ("SPAN_KIND_SERVER", "1")
        assert span["status"]["code"] == "STATUS_CODE_ERROR"


def test_json_with_base64_ids_is_taken_too(viewer: Viewer) -> None:
    trace_id, span_id = (base64.b64encode(value).decode() for value in (b"\xff" * 16, b"\xfe" * 8))
    viewer.http.post("/v1/traces", json=otlp_json(trace_id, span_id)).raise_for_status()
    assert only_span(viewer, int("ff" * 16, 16))["spanId"] == span_id


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("GZIP", gzip.compress)],
)
def test_a_body_in_each_content_encoding_is_taken(viewer: Viewer, encoding: str, compress: Any) -> None:
    body = compress(request(one()).SerializeToString())
    viewer.http.post("/v1/traces", content=body, headers={**PROTOBUF, "content-encoding": encoding}).raise_for_status()
    assert viewer.get("/viewer/status")["spans"] == 1


def test_a_gzip_body_of_several_members_is_read_to_its_end(viewer: Viewer) -> None:
    body = gzip.compress(request(one(1)).SerializeToString()) + gzip.compress(request(one(2)).SerializeToString())
    headers = {**PROTOBUF, "content-encoding": "gzip"}
    viewer.http.post("/v1/traces", content=body, headers=headers).raise_for_status()
    assert viewer.get("/viewer/status")["traces"] == 2


@pytest.fixture(name="refusing", scope="module")
def viewer_that_is_sent_nothing_right() -> Iterator[Viewer]:
    with start_viewer() as running:
        yield running


def refusal(response: httpx.Response) -> str:
    """The message of the google.rpc.Status in an error's body."""
    if response.headers["content-type"] == "application/json":
        message: str = response.json()["message"]
        return message
    assert response.headers["content-type"] == "application/x-protobuf"
    return str(Status.FromString(response.content).message)


@pytest.mark.parametrize(
    ("content", "headers", "status", "says"),
    [
        (b"\xff\xff", PROTOBUF, 400, "not an ExportTraceServiceRequest"),
        (b"{", JSON, 400, "not OTLP JSON"),
        (b"[]", JSON, 400, "not an object"),
        (b'{"resourceSpans": 5}', JSON, 400, "not OTLP JSON"),
        (b"[" * 100_000, JSON, 400, "not OTLP JSON"),
        (b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz!"}]}]}]}', JSON, 400, "neither hex nor base64"),
        (b"not gzip", {**PROTOBUF, "content-encoding": "gzip"}, 400, "not gzip"),
        (gzip.compress(b"abcdef" * 9, mtime=0)[:-9], {**PROTOBUF, "content-encoding": "gzip"}, 400, "cut off"),
        (b"", {**PROTOBUF, "content-encoding": "br"}, 415, "'br' is not accepted; send identity"),
        (b"", {"content-type": "text/plain"}, 415, "application/x-protobuf or application/json"),
        (b"", {}, 415, "(none)"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
    refusing: Viewer, content: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    response = refusing.http.post("/v1/traces", content=content, headers=headers)
    assert response.status_code == status
    assert says in refusal(response)
    assert refusing.get("/viewer/status")["spans"] == 0


def test_other_methods_and_other_signals_are_refused_by_name(viewer: Viewer) -> None:
    response = viewer.http.get("/v1/traces")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    for signal in ("metrics", "logs"):
        response = viewer.http.post(f"/v1/{signal}", content=b"", headers=JSON)
        assert response.status_code == 404
        assert signal in refusal(response)


def test_spans_without_usable_ids_are_counted_and_the_others_kept(viewer: Viewer) -> None:
    bad = [span(9, 2), span(9, 3), span(9, 4), span(9, 5, 1)]
    bad[0].trace_id = b"\x01" * 8
    bad[1].trace_id = bytes(16)
    bad[2].span_id = bytes(8)
    bad[3].parent_span_id = b"\x01\x02"
    message = request(Spans("shop", (span(9, 1), *bad)))
    response = viewer.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF)
    assert response.status_code == 200
    partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    assert partial.rejected_spans == 4
    assert "trace_id must be 16 bytes" in partial.error_message
    response = viewer.http.post("/v1/traces", json=otlp_json(hex_id(0)))
    assert response.json()["partialSuccess"]["rejectedSpans"] == "1"
    assert viewer.get("/viewer/status")["spans"] == 1


def nested(depth: int) -> Span:
    result = Span(trace_id=b"\1" * 16, span_id=b"\1" * 8)
    value = result.attributes.add(key="a").value
    for _ in range(depth):
        value = value.array_value.values.add()
    return result


def test_what_an_sdk_with_its_usual_limits_can_send_is_taken(viewer: Viewer) -> None:
    values: dict[str, Any] = {f"key{number}": "value" for number in range(128)}
    large = span(7, 1, **values)
    for _ in range(128):
        large.events.add(name="event", attributes=large.attributes)
        large.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=large.attributes)
    viewer.send(
        Spans("shop", (large, *(span(7, number, 1, a="b", c=1) for number in range(2, 20_000))))
    ).raise_for_status()
    (slices,) = [viewer.http.get("/api/traces/7", headers={"accept": "application/protobuf"}).content]
    assert sum(len(s.spans) for r in TracesData.FromString(slices).resource_spans for s in r.scope_spans) == 19_999


def test_a_span_too_large_to_show_is_rejected_with_the_reason(viewer: Viewer) -> None:
    for large in (one(3, text="x" * 5_000_000), Spans("x" * 5_000_000, (span(3, 1),))):
        assert b"more than 4194304 bytes" in viewer.send(large).content
    deep = viewer.http.post(
        "/v1/traces", content=request(Spans("shop", (nested(30),))).SerializeToString(), headers=PROTOBUF
    )
    assert deep.status_code == 200
    assert viewer.http.get("/api/v2/traces/" + "01" * 16).status_code == 200


@pytest.fixture
def small_viewer() -> Iterator[str]:
    """The application with room for bodies of 100,000 bytes."""
    store = Store()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(store, allowance=Allowance(body_bytes=100_000))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        server.should_exit = True
        thread.join(10)
    store.close()


def chunked(size: int) -> Iterator[bytes]:
    for _ in range(size // 1000):
        yield bytes(1000)


@pytest.mark.parametrize("kind", ["announced", "chunked", "zip bomb"])
def test_a_body_beyond_the_limit_is_refused_with_413(small_viewer: str, kind: str) -> None:
    headers = dict(PROTOBUF)
    content: bytes | Iterator[bytes] = bytes(100_001)
    if kind == "chunked":
        content = chunked(101_000)
    elif kind == "zip bomb":
        headers["content-encoding"] = "gzip"
        content = gzip.compress(bytes(50_000_000))
    response = httpx.post(small_viewer, content=content, headers=headers, trust_env=False)
    assert response.status_code == 413
    assert "larger than 100000 bytes" in refusal(response)


def test_a_body_that_never_ends_is_not_read_beyond_the_limit(small_viewer: str) -> None:
    host, port = small_viewer.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST /v1/traces HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"ffff\r\n" + bytes(0xFFFF) + b"\r\n"
        with pytest.raises(OSError, match=r".+"):  # noqa: PT012  # one of the calls meets the closed connection
            for _ in range(1000):  # what goes beyond the limit fits into the kernel's buffers long before that
                connection.sendall(chunk)


def test_an_acknowledged_span_is_found_by_the_next_query_whoever_else_writes(viewer: Viewer) -> None:
    def send_and_find(number: int) -> bool:
        viewer.send(one(number, name=f"call {number:03}")).raise_for_status()
        return viewer.found(tags=f'name="call {number:03}"') == [hex_id(number)]

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(send_and_find, range(1, 200)))


def test_a_span_that_is_sent_again_replaces_the_first(viewer: Viewer) -> None:
    viewer.send(one(1, name="first"))
    viewer.send(one(1, name="second"))
    assert viewer.get("/viewer/status") == {"traces": 1, "spans": 1, "maxSpans": 200_000, "services": ["shop"]}
    assert only_span(viewer, 1)["name"] == "second"


def test_json_answers_to_json_requests_are_protobufs_own_json(viewer: Viewer) -> None:
    response = viewer.http.post("/v1/traces", content=json.dumps(otlp_json("00")), headers=JSON)
    answer = json_format.Parse(response.content, ExportTraceServiceResponse())
    assert answer.partial_success.rejected_spans == 1
