"""The services for the W3C validation suite, driven as the suite does: raw headers in, the headers of callbacks out."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from conftest import PARENT_ID, TRACE_ID, TRACEPARENT
from servers import uvicorn_serving, werkzeug_serving


class Callbacks:
    """Where the service under test posts to, and the headers it came with."""

    def __init__(self) -> None:
        self.headers: list[list[tuple[str, str]]] = []
        self.url = ""


@pytest.fixture
def callbacks() -> Iterator[Callbacks]:
    received = Callbacks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            received.headers.append([(name.lower(), value) for name, value in self.headers.items()])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    received.url = f"http://127.0.0.1:{server.server_address[1]}/"
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module", params=["FastAPI and httpx", "Flask and requests"])
def service(request: pytest.FixtureRequest) -> Iterator[str]:
    """The base URL of a service under test."""
    if request.param == "FastAPI and httpx":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
        from w3c.fastapi_httpx import app

        with uvicorn_serving(app) as url:
            yield url
    else:
        from w3c.flask_requests import app as wsgi_app

        with werkzeug_serving(wsgi_app) as url:
            yield url


def ask(service: str, callbacks: Callbacks, headers: list[tuple[str, str]], count: int = 1) -> list[dict[str, str]]:
    """Have the service call back `count` times; return the trace headers of each callback."""
    body = json.dumps([{"url": callbacks.url, "arguments": []}] * count).encode()
    connection = http.client.HTTPConnection(urlsplit(service).netloc, timeout=60)
    connection.putrequest("POST", "/test")
    sent = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    for name, value in sent:
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"calls": count})
    connection.close()
    results = []
    for received in callbacks.headers:
        relevant = [(name, value) for name, value in received if name in ("traceparent", "tracestate", "baggage")]
        assert len(dict(relevant)) == len(relevant), "a header was sent twice"
        results.append(dict(relevant))
    return results


def test_a_trace_goes_on_under_a_parent_of_the_services_own(service: str, callbacks: Callbacks) -> None:
    (sent,) = ask(service, callbacks, [("TraceParent", TRACEPARENT), ("TRACESTATE", "foo=1"), ("tracestate", "bar=2")])
    version, trace_id, parent_id, _ = sent["traceparent"].split("-")
    assert (version, trace_id) == ("00", TRACE_ID)
    assert parent_id != PARENT_ID
    assert sent["tracestate"].replace(" ", "") == "foo=1,bar=2"


def test_without_a_traceparent_a_new_trace_starts_and_a_tracestate_is_dropped(
    service: str, callbacks: Callbacks
) -> None:
    (sent,) = ask(service, callbacks, [("tracestate", "foo=1")])
    assert set(sent) == {"traceparent"}
    assert len(sent["traceparent"]) == 55


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT.replace("0af7", "1af7"))],
        [("traceparent", f"{TRACEPARENT}.")],
        [("traceparent", f"ff{TRACEPARENT[2:]}")],
        [("traceparent", f"00-{'0' * 32}-{PARENT_ID}-01")],
        [("trace-parent", TRACEPARENT)],
    ],
    ids=["twice", "trailing", "version ff", "zero id", "wrong name"],
)
def test_an_invalid_traceparent_starts_a_new_trace(
    service: str, callbacks: Callbacks, headers: list[tuple[str, str]]
) -> None:
    (sent,) = ask(service, callbacks, headers)
    assert sent["traceparent"].split("-")[1] not in (TRACE_ID, TRACE_ID.replace("0af7", "1af7"), "0" * 32)


@pytest.mark.parametrize(
    ("tracestate", "passed"),
    [
        (["foo=1,foo=2"], "foo=1"),
        (["foo=1", "foo=1"], "foo=1"),
        (["foo@=1,bar=2"], "foo@=1,bar=2"),
        (["foo=1", "t" * 242 + "@v=1"], "foo=1," + "t" * 242 + "@v=1"),
        (["foo=1", "z" * 257 + "=1"], None),
        ([",".join(f"bar{n}={n}" for n in range(33))], None),
    ],
)
def test_what_the_official_stack_gets_wrong_in_tracestate_is_right(
    service: str, callbacks: Callbacks, tracestate: list[str], passed: str | None
) -> None:
    headers = [("traceparent", TRACEPARENT), *(("tracestate", value) for value in tracestate)]
    (sent,) = ask(service, callbacks, headers)
    assert sent["traceparent"].split("-")[1] == TRACE_ID
    assert sent.get("tracestate") == passed


def test_each_callback_has_a_parent_of_its_own_in_the_same_trace(service: str, callbacks: Callbacks) -> None:
    sent = ask(service, callbacks, [("traceparent", TRACEPARENT), ("baggage", "tenant=a;p=1")], count=3)
    assert {headers["traceparent"].split("-")[1] for headers in sent} == {TRACE_ID}
    assert len({headers["traceparent"].split("-")[2] for headers in sent}) == 3
    assert {headers["baggage"] for headers in sent} == {"tenant=a;p=1"}
