"""The viewer under attack: whatever somebody sends, it costs little CPU time and memory, and others are answered."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import resource
import socket
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData

from .cost import MEGABYTE, cost, descriptors
from .running import PROTOBUF, Viewer
from .running import viewer as start_viewer
from .samples import Spans, any_value, hex_id, one, request, span

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="costs are measured by Linux's /proc"
)

JSON = {"content-type": "application/json"}
PATIENCE = 120  # seconds that a test waits on a busy machine: what is measured is CPU time
GZIP = {"content-encoding": "gzip"}


@pytest.fixture(name="attacked", scope="module")
def viewer_that_is_attacked() -> Iterator[Viewer]:
    """One viewer for all that leaves nothing behind."""
    with start_viewer() as running:
        running.send(one(1, name="a" * 40 + "!", note="x" * 60_000)).raise_for_status()
        yield running


# ---- searches ----

HOSTILE_SEARCHES = {
    "digits": "{ " + "1" * 60_000,
    "digits and dots": "{ span.a = " + "1." * 30_000,
    "a duration that never ends": "{ duration > " + "1" * 59_000 + " }",
    "durations": "{ duration > " + "1h" * 20_000,
    "letters": "{ " + "a" * 60_000,
    "blanks": "{" + " " * 20_000 + "!",
    "an open string": '{ name = "' + "\\a" * 9_000,
    "open parentheses": "{" + "(" * 8_000,
    "comparisons": "{" + " && ".join(["span.a=1"] * 1_500) + "}",
    "alternatives": "{" + "||".join(["name=1"] * 1_000) + "}",
    "nested quantifiers": '{ name =~ "(a+)+$" }',
    "nested quantifiers, three deep": '{ name !~ "((a*)*)*b" }',
    "alternatives that overlap": '{ name =~ "(a|a)*b" }',
    "nested groups": '{ name =~ "' + "(" * 3_000 + ")" * 3_000 + '" }',
    "repeated repetitions": '{ name =~ "((((x{30}){30}){30}){30})" }',
    "a large program": '{ span.note =~ "' + "(x?){1000}" * 3 + 'y" }',
    "a program for each comparison": "{"
    + "||".join(f'span.note =~ "(x?){{{99 - i}}}.*y.{{{i}}}z"' for i in range(90))
    + "}",
}


@pytest.mark.parametrize("query", HOSTILE_SEARCHES.values(), ids=HOSTILE_SEARCHES)
def test_a_hostile_search_is_cheap_and_says_what_is_wrong(attacked: Viewer, query: str) -> None:
    with cost(attacked) as paid:
        response = attacked.http.get(f"/api/search?q={quote(query)}")
    assert response.status_code in (200, 400), response.text
    assert len(response.text) < 1000
    assert paid.seconds < 1
    assert paid.memory < 50 * MEGABYTE


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"minDuration": "1" * 5_000}, "longer than"),
        ({"maxDuration": "1h" * 2_000}, "longer than"),
        ({"tags": " ".join(f"a{number}=b" for number in range(800))}, "more than 100"),
        ({"tags": "a" * 20_000}, "longer than"),
        ({"text": "a" * 20_000}, "longer than"),
        ({"q": HOSTILE_SEARCHES["comparisons"][:8000]}, "more than 100 comparisons"),
        ({"q": HOSTILE_SEARCHES["nested groups"]}, "regular expression"),
        ({"q": '{ name =~ "(?=a)" }'}, "RE2"),
        ({"q": r'{ name =~ "(a)\\1" }'}, "RE2"),
        ({"limit": "262145"}, "more than 262144"),
        ({"spss": "101"}, "more than 100"),
        ({"start": "9" * 4_000}, "unix seconds"),
    ],
)
def test_a_parameter_beyond_its_bound_is_refused_with_the_reason(
    attacked: Viewer, parameters: dict[str, str], says: str
) -> None:
    for path in ("/api/search", "/viewer/traces"):
        response = attacked.http.get(path, params=parameters)
        assert response.status_code == 400
        assert says in response.text


@pytest.fixture(name="full", scope="module")
def viewer_with_many_spans() -> Iterator[Viewer]:
    with start_viewer() as running:
        for part in range(8):
            spans = tuple(
                span(part + 1, number, name=f"step {number}", a="x" * 30, n=number) for number in range(1, 10_001)
            )
            running.send(Spans("shop", spans)).raise_for_status()
        yield running


LONG_SEARCH = "{" + "||".join(f'span.a =~ ".*{number}y"' for number in range(90)) + "}"


def test_a_search_that_takes_too_long_ends_and_says_how_to_narrow_it(full: Viewer) -> None:
    with cost(full) as paid:
        response = full.http.get("/api/search", params={"q": LONG_SEARCH}, timeout=PATIENCE)
    assert (response.status_code, "narrow it" in response.text) == (400, True)
    assert paid.seconds < 8
    assert paid.memory < 50 * MEGABYTE


def test_a_search_ends_when_its_asker_has_gone(full: Viewer) -> None:
    with cost(full) as paid:
        for _ in range(20):
            with contextlib.suppress(httpx.TimeoutException):
                httpx.get(f"{full.url}/api/search", params={"q": LONG_SEARCH}, timeout=0.2, trust_env=False)
        full.get("/api/search", q="{ name = `step 1` }")
    assert paid.seconds < 20  # of the 100 that they would have taken


def test_while_searches_run_others_are_answered(full: Viewer) -> None:
    def long_search(_: int) -> int:
        return httpx.get(
            f"{full.url}/api/search", params={"q": LONG_SEARCH}, timeout=PATIENCE, trust_env=False
        ).status_code

    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(long_search, number) for number in range(2)]
        answered = 0
        while not any(search.done() for search in searches):
            assert full.http.get("/ready").status_code == 200
            full.get("/viewer/status")
            full.get(f"/api/v2/traces/{hex_id(99)}")
            full.send(one(99)).raise_for_status()
            answered += 1
        assert {search.result() for search in searches} == {400}
    assert answered >= 3


BROWSERS = [
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
    ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 403),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://[evil"}, 403),
    ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
    ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
    ({}, 200),
]


@pytest.mark.parametrize(("headers", "status"), BROWSERS)
def test_a_web_page_of_another_origin_reaches_nothing(attacked: Viewer, headers: dict[str, str], status: int) -> None:
    for path in (
        "/api/search?q={}",
        "/api/traces/1",
        "/api/v2/traces/1",
        "/api/search/tags",
        "/viewer/traces",
        "/viewer/status",
    ):
        assert attacked.http.get(path, headers=headers).status_code == status, path
    for content_type in ("application/json", "text/plain"):
        response = attacked.http.post("/v1/traces", content="{}", headers={**headers, "content-type": content_type})
        assert response.status_code == (415 if status == 200 and content_type == "text/plain" else status)


def test_a_link_on_another_page_leads_to_the_viewers_own_page_and_a_frame_does_not(attacked: Viewer) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path, status in (("/", 200), (f"/trace/{hex_id(1)}", 200), ("/viewer/traces", 403), ("/page/app.js", 403)):
        assert attacked.http.get(path, headers=link).status_code == status
        assert attacked.http.get(path, headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403


# ---- what is sent ----


def nested(depth: int) -> Span:
    result = Span(trace_id=b"\1" * 16, span_id=b"\1" * 8)
    value = result.attributes.add(key="a").value
    for _ in range(depth):
        value = value.array_value.values.add()
    return result


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of protobuf."""
    length, encoded = len(content), b""
    while length > 0x7F:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + encoded + bytes([length]) + content


IDS = field(1, b"\1" * 16) + field(2, b"\2" * 8)
MANY = 9_000_000  # two bytes each: as many as a body has room for


def in_span(content: bytes) -> bytes:
    return field(1, field(2, field(2, IDS + content)))


def in_value(content: bytes) -> bytes:
    return in_span(field(9, field(1, b"a") + field(2, content)))


BOMBS: dict[str, Callable[[], bytes]] = {
    "resources": lambda: field(1, b"") * MANY,
    "scopes": lambda: field(1, field(2, b"") * MANY),
    "spans": lambda: field(1, field(2, field(2, b"") * MANY)),
    "spans with ids": lambda: field(1, field(2, field(2, IDS) * (MANY // 16))),
    "spans with ids, each from its own scope": lambda: field(1, field(2, field(2, IDS)) * (MANY // 18)),
    "spans with ids, each from its own resource": lambda: field(1, field(2, field(2, IDS))) * (MANY // 19),
    "attributes": lambda: in_span(field(9, b"") * MANY),
    "events": lambda: in_span(field(11, b"") * MANY),
    "links": lambda: in_span(field(13, b"") * MANY),
    "attributes of an event": lambda: in_span(field(11, field(3, b"") * MANY)),
    "attributes of a resource": lambda: field(1, field(1, field(1, b"") * MANY) + field(2, field(2, IDS))),
    "elements of a value": lambda: in_value(field(5, field(1, b"") * MANY)),
    "entries of a value": lambda: in_value(field(6, field(1, b"") * MANY)),
    "unknown fields": lambda: in_span(b"\x78\x00" * MANY),
    "statuses": lambda: in_span(field(15, b"") * MANY),
    "groups": lambda: b"\x7b\x7c" * MANY,
    "attributes in a group": lambda: b"\x7b" + field(1, b"") * MANY + b"\x7c",
    "a varint": lambda: b"\x80" * (2 * MANY),
    "many spans of many values": lambda: field(1, field(2, field(2, IDS + field(9, b"") * 90_000) * 90)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_body_that_unfolds_is_refused_cheaply(attacked: Viewer, bomb: str) -> None:
    body = gzip.compress(BOMBS[bomb](), 6)
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**PROTOBUF, **GZIP})
    assert response.status_code in (400, 413)
    assert paid.seconds < 1.5
    assert paid.memory < 150 * MEGABYTE


def document(spans: str) -> str:
    return f'{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}'


def json_span(fields: str) -> str:
    return document(f'{{"traceId":"{hex_id(5)}","spanId":"{5:016x}",{fields}}}')


JSON_BOMBS: dict[str, Callable[[], str]] = {
    "resources": lambda: '{"resourceSpans":[' + "{}," * 6_000_000 + "{}]}",
    "spans": lambda: document("{}," * 6_000_000 + "{}"),
    "attributes": lambda: json_span('"attributes":[' + "{}," * 6_000_000 + "{}]"),
    "arrays": lambda: json_span('"x":[' + "[]," * 6_000_000 + "[]]"),
    "strings": lambda: json_span('"x":[' + '"",' * 6_000_000 + '""]'),
    "numbers": lambda: json_span('"x":[' + "1," * 9_000_000 + "1]"),
    "keys that repeat": lambda: "{" + '"a":1,' * 3_000_000 + '"a":1}',
    "quotes within a string": lambda: '"' + '\\"' * 9_000_000,
    "braces that a string hides": lambda: '{"a":"' + "{[," * 6_000_000 + '"}',
    "deep arrays": lambda: "[" * 9_000_000,
    "deep objects": lambda: '{"a":' * 3_000_000,
    "deep values": lambda: json_span('"attributes":[' + '{"value":{"arrayValue":{"values":[' * 400_000),
    "digits": lambda: json_span('"x":' + "1" * 18_000_000),
    "numbers of many digits": lambda: json_span('"x":[' + ("1" * 4_300 + ",") * 4_000 + "1]"),
    "an exponent": lambda: json_span('"startTimeUnixNano":1e999999999'),
}


@pytest.mark.parametrize("bomb", JSON_BOMBS)
def test_json_that_unfolds_costs_little(attacked: Viewer, bomb: str) -> None:
    body = gzip.compress(JSON_BOMBS[bomb]().encode(), 6)
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**JSON, **GZIP})
    assert response.status_code in (200, 400, 413)
    assert paid.seconds < 2
    assert paid.memory < 200 * MEGABYTE


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"") * 200_000, "gzip"),
        (gzip.compress(b"", 1) * 2_000 + gzip.compress(request(one()).SerializeToString()), "gzip"),
        (gzip.compress(gzip.compress(bytes(19_000_000))), "gzip"),
        (gzip.compress(bytes(600_000_000), 6), "gzip"),
        (zlib.compress(bytes(600_000_000), 6), "deflate"),
        (zlib.compress(b"") * 100_000, "deflate"),
        (gzip.compress(b"x")[:10] + bytes(5_000_000), "gzip"),
    ],
    ids=[
        "empty members",
        "a request after empty members",
        "gzip in gzip",
        "zeros",
        "deflated zeros",
        "streams",
        "no data",
    ],
)
def test_a_compressed_body_costs_little_whatever_it_holds(attacked: Viewer, body: bytes, encoding: str) -> None:
    with cost(attacked) as paid:
        response = attacked.http.post("/v1/traces", content=body, headers={**PROTOBUF, "content-encoding": encoding})
    assert response.status_code in (400, 413)
    assert paid.seconds < 1
    assert paid.memory < 120 * MEGABYTE


def test_what_an_sdk_with_its_usual_limits_can_send_is_taken(attacked: Viewer) -> None:
    values: dict[str, Any] = {f"key{number}": "value" for number in range(128)}
    large = span(7, 1, **values)
    for _ in range(128):
        large.events.add(name="event", attributes=large.attributes)
        large.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, attributes=large.attributes)
    attacked.send(
        Spans("shop", (large, *(span(7, number, 1, a="b", c=1) for number in range(2, 20_000))))
    ).raise_for_status()
    (slices,) = [attacked.http.get("/api/traces/7", headers={"accept": "application/protobuf"}).content]
    assert sum(len(s.spans) for r in TracesData.FromString(slices).resource_spans for s in r.scope_spans) == 19_999


# ---- who stays connected ----


def connect(viewer: Viewer, sent: bytes = b"", *, room: int | None = None) -> socket.socket:
    host, port = viewer.url.removeprefix("http://").split(":")
    connection = socket.socket()
    if room is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.settimeout(PATIENCE)
    connection.connect((host, int(port)))
    connection.sendall(sent)
    return connection


def head(length: int) -> bytes:
    return (
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"
        b"Content-Length: %d\r\n\r\n" % length
    )


@pytest.fixture(name="many_sockets")
def room_for_many_sockets() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096) if hard > 0 else 4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /ready HTTP/1.1\r\nHost: loc", head(1000) + b"x", head(20_000_000) + bytes(100_000)],
    ids=["nothing", "half a head", "half a body", "a body that begins large"],
)
def test_connections_that_only_stand_there_keep_nobody_out(many_sockets: None, sent: bytes) -> None:
    with start_viewer() as attacked, contextlib.ExitStack() as open_:
        resource.prlimit(attacked.process.pid, resource.RLIMIT_NOFILE, (256, 256))
        with cost(attacked) as paid:
            for _ in range(600):
                with contextlib.suppress(OSError):  # the viewer may have closed it already
                    open_.enter_context(contextlib.closing(connect(attacked, sent)))
            attacked.send(one()).raise_for_status()
            assert attacked.found() == [hex_id(1)]
        assert descriptors(attacked) < 256
    assert paid.seconds < 5
    assert paid.memory < 150 * MEGABYTE


def test_large_bodies_that_never_end_make_room_for_others() -> None:
    with start_viewer() as attacked, contextlib.ExitStack() as open_:
        with cost(attacked) as paid:
            stuck = [open_.enter_context(contextlib.closing(connect(attacked, head(20_000_000)))) for _ in range(8)]
            for connection in stuck:
                with contextlib.suppress(OSError):
                    connection.sendall(bytes(15_000_000))
            attacked.send(one()).raise_for_status()
            dismissed = 0
            for connection in stuck:
                connection.settimeout(0.2)
                with contextlib.suppress(OSError):
                    dismissed += connection.recv(100).startswith(b"HTTP/1.1 503")
        assert dismissed >= 4
    assert paid.seconds < 5
    assert paid.memory < 150 * MEGABYTE


# A viewer that waits for short times only, so that a test need not wait long either.
IMPATIENT = """
import sys
from tracemw.viewer import bodies, connections
bodies.BODY_SECONDS = 1.0
connections.PATIENCE.update(head=1.0, body=2.0, answer=1.0)
from tracemw.cli import main
sys.exit(main(["view", "--port", "0"]))
"""


@pytest.fixture(name="impatient")
def impatient_viewer() -> Iterator[Viewer]:
    with start_viewer(command=(sys.executable, "-c", IMPATIENT)) as running:
        yield running


@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET /ready HTTP/1.1\r\n", b"x: y\r\n"),
        (b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n"),
        (b"GET /ready HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", b"x"),
        (head(1_000_000), b"x"),
    ],
    ids=["nothing", "a head", "the next head", "a body that nobody reads", "a body"],
)
def test_whoever_trickles_is_let_go(impatient: Viewer, sent: bytes, trickle: bytes) -> None:
    with contextlib.closing(connect(impatient, sent)) as connection:
        connection.settimeout(0.05)
        received = b"?"
        while received:
            try:
                connection.sendall(trickle)
                received = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break


def test_whoever_does_not_read_an_answer_costs_no_memory_and_is_let_go(impatient: Viewer) -> None:
    text = "x" * 1_000
    for part in range(10):
        spans = tuple(span(1, part * 4_000 + number, text=text) for number in range(1, 4_001))
        impatient.send(Spans("shop", spans)).raise_for_status()
    ask = b"GET /api/%b/1 HTTP/1.1\r\nHost: localhost\r\nAccept: %b\r\n\r\n"
    before = descriptors(impatient)
    with contextlib.ExitStack() as open_:
        with cost(impatient) as paid:
            for number in range(40):
                sent = ask % ((b"v2/traces", b"*/*") if number % 2 else (b"traces", b"application/protobuf"))
                open_.enter_context(contextlib.closing(connect(impatient, sent, room=4096)))
            while descriptors(impatient) > before + 1:
                assert impatient.http.get("/ready").status_code == 200
        assert paid.memory < 100 * MEGABYTE
    assert len(impatient.http.get("/api/v2/traces/1", timeout=PATIENCE).content) > 40_000_000


@pytest.mark.parametrize(
    "sent",
    [
        head(-1),
        head(10**30),
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET " + b"/" * 200_000,
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ],
)
def test_http_that_makes_no_sense_is_refused(attacked: Viewer, sent: bytes) -> None:
    with cost(attacked) as paid, contextlib.closing(connect(attacked)) as connection:
        answer = b""
        with contextlib.suppress(OSError):
            connection.sendall(sent)
            answer = connection.recv(65536)
        assert re.match(rb"HTTP/1.1 4\d\d |$", answer), answer
    assert paid.seconds < 1


def test_a_body_in_tiny_chunks_costs_in_proportion(attacked: Viewer) -> None:
    with cost(attacked) as paid, contextlib.closing(connect(attacked)) as connection:
        connection.sendall(head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked"))
        for _ in range(20):
            connection.sendall(b"1\r\nx\r\n" * 5_000)
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(100).startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert paid.seconds < 3, paid


# ---- what is kept ----


def test_beyond_max_bytes_the_oldest_traces_go_and_memory_stays() -> None:
    with start_viewer("--max-bytes", "20000000") as kept, cost(kept) as paid:
        for number in range(1, 41):
            kept.send(one(number, text="x" * 3_000_000)).raise_for_status()
        found = kept.found(limit=100)
        assert hex_id(40) in found
        assert 4 <= len(found) <= 6
        response = kept.send(Spans("shop", tuple(span(50, number, text="x" * 3_000_000) for number in range(1, 6))))
        assert response.status_code == 200
        assert (
            b"more bytes than the viewer's --max-bytes"
            in kept.send(Spans("shop", tuple(span(50, number, text="x" * 3_000_000) for number in range(6, 9)))).content
        )
    assert paid.memory < 150 * MEGABYTE


def test_resources_count_too_and_go_with_their_last_trace() -> None:
    with start_viewer("--max-bytes", "5000000") as kept, cost(kept) as paid:
        for number in range(1, 101):
            message = request(one(number))
            message.resource_spans[0].resource.attributes.add(key="text").value.string_value = (
                f"{number}" + "x" * 1_000_000
            )
            kept.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF).raise_for_status()
        assert 2 <= len(kept.found(limit=100)) <= 5
    assert paid.memory < 60 * MEGABYTE


def test_a_span_too_large_to_show_is_rejected_with_the_reason(attacked: Viewer) -> None:
    for large in (one(3, text="x" * 5_000_000), Spans("x" * 5_000_000, (span(3, 1),))):
        assert b"more than 4194304 bytes" in attacked.send(large).content
    deep = attacked.http.post(
        "/v1/traces", content=request(Spans("shop", (nested(30),))).SerializeToString(), headers=PROTOBUF
    )
    assert deep.status_code == 200
    assert attacked.http.get("/api/v2/traces/" + "01" * 16).status_code == 200


def test_one_more_span_costs_the_same_whatever_the_size_of_its_trace() -> None:
    with start_viewer() as running:
        for part in range(6):
            spans = tuple(span(1, part * 20_000 + number, 1 if part else 0, at=number) for number in range(1, 20_001))
            running.send(Spans("shop", spans)).raise_for_status()

        def seconds(trace: int, first: int) -> float:
            with cost(running) as paid:
                for number in range(first, first + 100):
                    running.send(
                        Spans("shop", (span(trace, number, at=number % 7, name=str(number)),))
                    ).raise_for_status()
            return paid.seconds

        seconds(2, 1)
        small, large = seconds(2, 1), seconds(1, 1_000_000)
        again = seconds(1, 1_000_000)  # in the place of the first hundred
        assert large < 2 * small + 0.3
        assert again < 2 * small + 0.3
        assert running.get("/viewer/status")["spans"] == 120_200


# ---- what is asked, at random ----

HOSTILE_TEXT = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=20).map(lambda value: value.decode("latin-1")),
    st.sampled_from(
        ["\0", "-1", "0", "1", "1e9", "99999999999", "-0", "\u0661", "²", "NaN", "inf", "1h", "-5ms", "{", "{}", "a=b"]
    ),
    st.sampled_from(['{ name =~ "', "{ span.a = ", "{ .b != nil", "{ status = error }", "{ duration > "]),
    st.integers(-(2**70), 2**70).map(str),
)
PATHS = [
    "/api/traces/{}",
    "/api/v2/traces/{}",
    "/api/search",
    "/api/search/tags",
    "/api/search/tag/{}/values",
    "/viewer/traces",
    "/viewer/status",
    "/ready",
    "/",
    "/trace/{}",
    "/page/{}",
    "/{}",
]
PARAMETERS = [
    "q",
    "tags",
    "minDuration",
    "maxDuration",
    "start",
    "end",
    "limit",
    "spss",
    "service",
    "errors",
    "text",
    "x",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT"]),
    path=st.sampled_from(PATHS),
    part=HOSTILE_TEXT,
    parameters=st.dictionaries(
        st.sampled_from(PARAMETERS), HOSTILE_TEXT | st.text('({|&=~"`.1a})\\ ', max_size=40), max_size=3
    ),
    raw=st.binary(max_size=8),
    accept=st.sampled_from(["*/*", "application/protobuf", "\0".strip("\0")]),
)
def test_nothing_that_is_asked_is_a_fault_of_the_viewer(
    filled: Viewer, method: str, path: str, part: str, parameters: dict[str, str], raw: bytes, accept: str
) -> None:
    url = path.format(quote(part, safe="", errors="replace") + "".join(f"%{byte:02x}" for byte in raw))
    query = "&".join(f"{name}={quote(value, safe='', errors='replace')}" for name, value in parameters.items())
    with cost(filled) as paid:
        response = filled.http.request(method, f"{url}?{query}&text=%ff{raw.hex()}", headers={"accept": accept})
    assert response.status_code < 500, response.text
    assert paid.seconds < 0.5
    if response.status_code == 400:
        assert response.text.strip() or method == "HEAD"


@pytest.fixture(name="filled", scope="module")
def viewer_with_odd_spans() -> Iterator[Viewer]:
    with start_viewer() as running:
        running.send(*ODD).raise_for_status()
        yield running


def odd_span(number: int) -> Span:
    values: dict[str, Any] = {
        "": "", "nan": float("nan"), "inf": float("-inf"), "big": 2**63 - 1, "nul": "\0", "none": None, "b": b"\xff",
        "list": [[], [None], {"a": [1.5, float("nan")]}], "map": {"": None}, "long": "x" * 70_000,
    }  # fmt: skip
    result = span(0xABC, number, number // 2, name="\0odd\n", **values)
    result.attributes.append(KeyValue())
    result.attributes.append(KeyValue(value=any_value(1)))
    result.events.add()
    result.links.add()
    return result


ODD = [Spans("", (odd_span(1), odd_span(2))), Spans("\0", (odd_span(3),))]
for index, (kind, status, start, end) in enumerate(
    [(99, 7, 2**64 - 1, 0), (-1, -1, 0, 2**64 - 1), (2**31 - 1, -(2**31), 1, 1)]
):
    odd = odd_span(10 + index)
    odd.kind, odd.status.code = kind, status  # type: ignore[assignment]
    odd.start_time_unix_nano, odd.end_time_unix_nano = start, end
    ODD.append(Spans("odd", (odd,)))


def test_every_kind_of_value_is_valid_json_in_every_answer(filled: Viewer) -> None:
    def no_constant(name: str) -> None:
        raise AssertionError(name)

    tags = [f"/api/search/tag/{name}/values" for name in ("nan", "list", "none")]
    asked = ["/api/v2/traces/abc", "/api/traces/abc", "/api/search?q={}&spss=100", "/viewer/traces", "/api/search/tags"]
    for path in asked + tags:
        response = filled.http.get(path)
        assert response.status_code == 200
        json.loads(response.content, parse_constant=no_constant)
