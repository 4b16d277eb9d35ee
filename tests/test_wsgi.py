"""The door for plain WSGI applications."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as otel_context
from opentelemetry.trace import NoOpTracerProvider, SpanKind, StatusCode

import tracemw
from calls import WSGIServer, environ
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Meters, Recorded
from servers import free_port, process, socketserver_serving, wait_until
from tracemw._otel import guard
from tracemw.wsgi import TraceMiddleware


def ok(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]


def answering(status: str, headers: Any = ()) -> Any:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response(status, list(headers))
        return [b""]

    return app


def failing(environ: Any, start_response: Any) -> Iterable[bytes]:
    raise ValueError("boom")


def hanging_up(environ: Any, start_response: Any) -> Iterable[bytes]:
    raise ConnectionError


def ask(app: Any, path: str = "/", **more: Any) -> WSGIServer:
    return WSGIServer().ask(app, path, **more)


@pytest.fixture(autouse=True)
def _thread_is_left_clean() -> Iterator[None]:
    before = otel_context.get_current()
    yield
    assert otel_context.get_current() == before
    assert tracemw.current_trace_id() is None


class Body:
    """An iterable that keeps account of what is done to it."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error
        self.closed = 0
        self.traces: list[str | None] = []

    def __iter__(self) -> Iterator[bytes]:
        self.traces.append(tracemw.current_trace_id())
        for chunk in self.chunks:
            self.traces.append(tracemw.current_trace_id())
            yield chunk
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.closed += 1
        self.traces.append(tracemw.current_trace_id())

    def app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return self


class TestTheSpan:
    def test_continues_the_callers_trace(self, recorded: Recorded) -> None:
        answer = ask(TraceMiddleware(ok), headers={"traceparent": TRACEPARENT})
        span = recorded.server
        assert f"{span.context.trace_id:032x}" == TRACE_ID
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == PARENT_ID
        assert answer.header("x-trace-id") == TRACE_ID

    @pytest.mark.parametrize(
        "value", ["", "garbage", f"{TRACEPARENT},{TRACEPARENT}", f"ff-{TRACE_ID}-{PARENT_ID}-01", "00-\xff-\xff-01"]
    )
    def test_starts_a_new_trace_for_a_malformed_traceparent(self, recorded: Recorded, value: str) -> None:
        assert ask(TraceMiddleware(ok), headers={"traceparent": value}).body == b"fine"
        assert recorded.server.parent is None

    def test_never_has_a_local_span_as_its_parent(self, recorded: Recorded) -> None:
        with tracemw.span("local"):
            ask(TraceMiddleware(ok), headers={"traceparent": TRACEPARENT})
            ask(TraceMiddleware(ok))
        first, second = recorded.of_kind(SpanKind.SERVER)
        assert first.parent is not None
        assert f"{first.parent.span_id:016x}" == PARENT_ID
        assert second.parent is None

    def test_knows_the_request_from_its_start(self, recorded: Recorded) -> None:
        ask(
            TraceMiddleware(ok),
            "/caf\xc3\xa9",  # the bytes of "café", tunnelled
            query="a=1&sig=secret",
            headers={"user-agent": "curl/8"},
            SCRIPT_NAME="/shop",
            HTTP_HOST="[::1]:8080",
        )
        assert recorded.server.name == "GET"
        assert dict(recorded.server.attributes or {}) == {
            "http.request.method": "GET",
            "url.path": "/shop/café",
            "url.scheme": "http",
            "url.query": "a=1&sig=REDACTED",
            "server.address": "::1",
            "server.port": 8080,
            "client.address": "192.0.2.7",
            "network.peer.address": "192.0.2.7",
            "network.peer.port": 40000,
            "user_agent.original": "curl/8",
            "network.protocol.version": "1.1",
            "http.response.status_code": 200,
        }

    def test_copes_with_an_environ_that_knows_little(self, recorded: Recorded) -> None:
        more: dict[str, Any] = {
            "SERVER_PORT": "garbage",
            "REMOTE_PORT": "",
            "SERVER_PROTOCOL": "INCLUDED",
            "HTTP_HOST": "a b",
        }
        given = environ("", **more)
        del given["REMOTE_ADDR"], given["QUERY_STRING"]
        server = WSGIServer()
        assert list(TraceMiddleware(ok)(given, server.start_response)) == [b"fine"]
        attributes = recorded.server.attributes or {}
        assert attributes["server.address"] == "127.0.0.1"
        assert attributes["server.port"] == 80
        assert attributes["url.path"] == "/"
        assert "client.address" not in attributes
        assert "network.protocol.version" not in attributes

    def test_is_current_in_every_step_and_never_between_them(self, recorded: Recorded) -> None:
        body = Body(b"a", b"b")
        result = TraceMiddleware(body.app)(environ(headers={"traceparent": TRACEPARENT}), WSGIServer().start_response)
        for chunk in result:
            assert chunk
            assert tracemw.current_trace_id() is None
        result.close()  # type: ignore[attr-defined]
        assert body.traces == [TRACE_ID] * 4
        assert body.closed == 1

    def test_covers_a_body_that_is_read_on_other_threads(self, recorded: Recorded) -> None:
        body = Body(b"a", b"b")
        result: Any = TraceMiddleware(body.app)(environ(), WSGIServer().start_response)
        for step in (lambda: next(result), lambda: next(result), result.close):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(step).result()
                assert pool.submit(tracemw.current_trace_id).result() is None
        assert set(body.traces) == {f"{recorded.server.context.trace_id:032x}"}


class TestTheStatus:
    @pytest.mark.parametrize("status", ["200 OK", "302 Found", "404 Not Found", "499 Gone"])
    def test_is_unset_below_500(self, recorded: Recorded, status: str) -> None:
        ask(TraceMiddleware(answering(status)))
        assert (recorded.server.attributes or {})["http.response.status_code"] == int(status[:3])
        assert recorded.server.status.status_code is StatusCode.UNSET

    def test_is_an_error_from_500_on(self, recorded: Recorded) -> None:
        ask(TraceMiddleware(answering("503 Later")))
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert (recorded.server.attributes or {})["error.type"] == "503"

    def test_of_an_exception_is_the_500_that_the_server_answers_with(self, recorded: Recorded) -> None:
        with pytest.raises(ValueError, match="boom"):
            ask(TraceMiddleware(failing))
        assert (recorded.server.attributes or {})["error.type"] == "500"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500
        (event,) = recorded.server.events
        assert event.name == "exception"

    def test_stays_when_the_body_raises(self, recorded: Recorded) -> None:
        body = Body(b"half", error=ValueError("boom"))
        server = WSGIServer()
        with pytest.raises(ValueError, match="boom"):
            server.ask(TraceMiddleware(body.app))
        assert server.body == b"half"
        assert body.closed == 1
        attributes = recorded.server.attributes or {}
        assert attributes["http.response.status_code"] == 200
        assert attributes["error.type"] == "ValueError"
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert len(recorded.server.events) == 1

    def test_of_a_second_start_counts_when_the_first_was_not_sent(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [("a", "b")])
            try:
                raise ValueError("boom")
            except ValueError:
                start_response("500 Oops", [("c", "d")], sys.exc_info())
            return [b"error page"]

        server = ask(TraceMiddleware(app))
        assert (server.status, server.headers[0]) == ("500 Oops", ("c", "d"))
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500

    def test_stays_when_a_second_start_comes_too_late(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            write = start_response("200 OK", [])
            write(b"half")
            try:
                raise ValueError("boom")
            except ValueError:
                start_response("500 Oops", [], sys.exc_info())
            return []

        with pytest.raises(ValueError, match="boom"):
            ask(TraceMiddleware(app))
        attributes = recorded.server.attributes or {}
        assert attributes["http.response.status_code"] == 200
        assert attributes["error.type"] == "ValueError"
        assert len(recorded.server.events) == 1

    def test_is_left_out_when_it_is_no_number(self, recorded: Recorded) -> None:
        assert ask(TraceMiddleware(answering("OK"))).status == "OK"
        assert "http.response.status_code" not in (recorded.server.attributes or {})


class TestTheBody:
    def test_keeps_its_length(self, recorded: Recorded) -> None:
        result: Any = TraceMiddleware(ok)(environ(), WSGIServer().start_response)
        assert len(result) == 1
        result.close()
        assert not hasattr(TraceMiddleware(Body().app)(environ(), WSGIServer().start_response), "__len__")

    def test_closed_before_it_was_read_ends_the_span_and_is_closed_once(self, recorded: Recorded) -> None:
        body = Body(b"a")
        result: Any = TraceMiddleware(body.app)(environ(), WSGIServer().start_response)
        assert not recorded.all
        result.close()
        assert len(recorded.all) == 1
        assert body.closed == 1
        assert len(body.traces) == 1

    def test_read_to_its_end_ends_the_span_before_what_close_does(self, recorded: Recorded) -> None:
        body = Body(b"a")
        result: Any = TraceMiddleware(body.app)(environ(), WSGIServer().start_response)
        assert next(result) == b"a"
        assert not recorded.all
        assert list(result) == []
        assert len(recorded.all) == 1
        result.close()
        assert body.closed == 1
        assert len(recorded.all) == 1

    def test_abandoned_by_the_server_ends_the_span_with_close(self, recorded: Recorded) -> None:
        result: Any = TraceMiddleware(Body(b"a", b"b").app)(environ(), WSGIServer().start_response)
        next(result)
        result.close()
        assert recorded.server.status.status_code is StatusCode.UNSET

    def test_that_fails_to_close_still_ends_the_span(self, recorded: Recorded) -> None:
        class Failing(Body):
            def close(self) -> None:
                raise ValueError("close")

        result: Any = TraceMiddleware(Failing().app)(environ(), WSGIServer().start_response)
        with pytest.raises(ValueError, match="close"):
            result.close()
        assert (recorded.server.attributes or {})["error.type"] == "ValueError"

    def test_may_be_written(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            write = start_response("200 OK", [])
            write(b"first ")
            write(b"second")
            return []

        assert ask(TraceMiddleware(app)).body == b"first second"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 200

    def test_may_be_a_generator_that_starts_late(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            start_response("201 Created", [])
            with tracemw.span("inner"):
                yield b"x"

        server = ask(TraceMiddleware(app))
        assert server.header("x-trace-id") == f"{recorded.server.context.trace_id:032x}"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 201
        parent = recorded.named("inner").parent
        assert parent is not None
        assert parent.span_id == recorded.server.context.span_id

    def test_that_is_a_file_stays_the_servers_own_wrapper(self, recorded: Recorded) -> None:
        file = io.BytesIO(b"content")

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](file)

        given = {**environ(), "wsgi.file_wrapper": FileWrapper}
        result: Any = TraceMiddleware(app)(given, WSGIServer().start_response)
        assert type(result) is FileWrapper
        assert b"".join(result) == b"content"
        assert not recorded.all
        result.close()
        assert file.closed
        assert len(recorded.all) == 1

    def test_that_is_a_file_whose_end_cannot_be_watched_ends_with_the_application(
        self, recorded: Recorded, meters: Meters
    ) -> None:
        class Fixed:  # as a server's that is written in C
            __slots__ = ("_file",)

            def __init__(self, file: Any) -> None:
                self._file = file

            def __iter__(self) -> Iterator[bytes]:
                return iter(lambda: self._file.read(4), b"")

            def close(self) -> None:
                self._file.close()

        def app(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [])
            return environ["wsgi.file_wrapper"](io.BytesIO(b"content"))

        given = {**environ(), "wsgi.file_wrapper": Fixed}
        result: Any = TraceMiddleware(app, meter_provider=meters.provider)(given, WSGIServer().start_response)
        assert type(result) is Fixed
        assert b"".join(result) == b"content"
        result.close()
        assert len(recorded.all) == 1
        assert [point.value for point in meters.points("http.server.active_requests")] == [0]
        assert [point.count for point in meters.points("http.server.request.duration")] == [1]

    def test_counts_by_the_protocols_that_there_are(self, recorded: Recorded, meters: Meters) -> None:
        app = TraceMiddleware(ok, meter_provider=meters.provider)
        for version in ("1.0", "1.1", "2", "3", *(f"1.{number}" for number in range(1000, 1030))):
            ask(app, SERVER_PROTOCOL=f"HTTP/{version}")
            assert (recorded.all[-1].attributes or {})["network.protocol.version"] == version
        points = meters.points("http.server.request.duration")
        found = {point.attributes.get("network.protocol.version"): point.count for point in points}
        assert found == {"1.0": 1, "1.1": 1, "2": 1, "3": 1, None: 30}


class TestTheResponseHeader:
    @pytest.mark.parametrize("kind", [iter, tuple, lambda pairs: map(tuple, pairs)])
    def test_is_added_to_headers_that_are_no_list(self, recorded: Recorded, kind: Any) -> None:
        server = ask(TraceMiddleware(answering("200 OK", kind([("x-a", "1"), ("x-b", "2")]))))
        assert [name for name, _ in server.headers] == ["x-a", "x-b", "x-trace-id"]

    def test_does_not_mind_how_start_response_is_called(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            try:
                raise ValueError
            except ValueError:
                start_response("500 Oops", [], exc_info=sys.exc_info())
            return [b""]

        assert ask(TraceMiddleware(app)).status == "500 Oops"

    def test_never_overwrites_one_of_the_application(self, recorded: Recorded) -> None:
        headers = [("X-TRACE-ID", "mine"), ("a", "b")]
        assert ask(TraceMiddleware(answering("200 OK", headers))).headers == headers

    def test_leaves_the_applications_own_list_unchanged(self, recorded: Recorded) -> None:
        headers = [("a", "b")]

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", headers)
            return []

        assert ask(TraceMiddleware(app)).header("x-trace-id")
        assert headers == [("a", "b")]

    def test_can_have_another_name_or_be_off(self, recorded: Recorded) -> None:
        assert ask(TraceMiddleware(ok, response_header="x-other")).header("x-other")
        assert ask(TraceMiddleware(ok, response_header=None)).header("x-trace-id") is None


class TestFaults:
    def test_of_hooks_leave_the_response_alone(self, recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
        def broken(*_: object) -> Any:
            raise RuntimeError("hook")

        with caplog.at_level(logging.ERROR, "tracemw"):
            server = ask(TraceMiddleware(ok, on_request=broken, on_response=broken, span_name=broken, skip=broken))
        assert (server.status, server.body) == ("200 OK", b"fine")
        assert recorded.server.name == "GET"
        assert len(caplog.records) == 4

    def test_of_the_provider_leave_the_response_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Raising(NoOpTracerProvider):
            def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
                raise RuntimeError("provider")

        monkeypatch.setattr(guard, "reraise_own_faults", False)
        assert ask(TraceMiddleware(ok, tracer_provider=Raising())).headers == [("Content-Type", "text/plain")]

    def test_of_the_environ_and_the_headers_are_the_applications_to_judge(
        self, recorded: Recorded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guard, "reraise_own_faults", False)
        server = WSGIServer()
        assert list(TraceMiddleware(ok)({}, server.start_response)) == [b"fine"]
        odd: Any = [(b"bytes", "b"), ("too", "many", "parts")]
        assert ask(TraceMiddleware(answering("200 OK", odd))).headers == odd

    def test_of_one_header_cost_nothing_but_that_header(self, recorded: Recorded) -> None:
        answer = ask(TraceMiddleware(ok), HTTP_HOST=b"shop.example", HTTP_USER_AGENT=7)
        assert answer.header("x-trace-id") is not None
        attributes = dict(recorded.server.attributes or {})
        assert attributes["server.address"] == "127.0.0.1"
        assert "user_agent.original" not in attributes

    def test_of_an_upgrade_are_not_the_applications(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            return []

        given = environ(HTTP_UPGRADE=None)
        assert list(TraceMiddleware(app)(given, WSGIServer().start_response)) == []
        with pytest.raises(ConnectionError):
            ask(TraceMiddleware(hanging_up), HTTP_UPGRADE=None)

    def test_of_the_environ_stay_out_of_the_applications_exceptions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "reraise_own_faults", False)
        with pytest.raises(ValueError, match="boom") as raised:
            ask(TraceMiddleware(failing), SCRIPT_NAME=7)
        assert raised.value.__context__ is None


class TestOneSpanPerRequest:
    def test_however_often_the_door_is_installed(self, recorded: Recorded) -> None:
        ask(TraceMiddleware(TraceMiddleware(ok)))
        assert len(recorded.all) == 1

    def test_and_one_for_a_request_made_inside_this_process(self, recorded: Recorded) -> None:
        inner = TraceMiddleware(ok)

        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            with httpx.Client(transport=httpx.WSGITransport(inner)) as client:
                assert client.get("http://inner/inner").text == "fine"
            return ok(environ, start_response)

        ask(TraceMiddleware(app), "/outer")
        nested, outer = recorded.of_kind(SpanKind.SERVER)
        assert (nested.attributes or {})["url.path"] == "/inner"
        assert nested.parent is None
        assert (outer.attributes or {})["url.path"] == "/outer"

    def test_whatever_runs_beside_it(self, recorded: Recorded) -> None:
        barrier = threading.Barrier(8, timeout=60)

        def app(environ: Any, start_response: Any) -> Iterator[bytes]:
            number = int(environ["PATH_INFO"][1:])
            start_response(f"{200 + number % 300} X", [])
            with tracemw.span("work", number=number):
                barrier.wait()
                yield b"x"

        door = TraceMiddleware(app)

        def one(number: int) -> str | None:
            traceparent = f"00-{number + 1:032x}-{PARENT_ID}-01"
            return ask(door, f"/{number}", headers={"traceparent": traceparent}).header("x-trace-id")

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(one, range(240))) == [f"{n + 1:032x}" for n in range(240)]
        for span in recorded.of_kind(SpanKind.SERVER):
            number = span.context.trace_id - 1
            assert (span.attributes or {})["url.path"] == f"/{number}"
            assert (span.attributes or {})["http.response.status_code"] == 200 + number % 300
        for span in recorded.of_kind(SpanKind.INTERNAL):
            assert (span.attributes or {})["number"] == span.context.trace_id - 1
        assert len(recorded.all) == 480


def test_a_generator_closed_in_another_context_says_nothing(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        with tracemw.span("open"):
            yield b"x"
            yield b"y"

    async def main() -> None:
        result: Any = TraceMiddleware(app)(environ(), WSGIServer().start_response)
        await asyncio.to_thread(next, result)
        await asyncio.to_thread(result.close)

    asyncio.run(main())
    assert len(recorded.of_kind(SpanKind.SERVER)) == 1
    assert caplog.records == []


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def wsgiref_serving(app: Any) -> AbstractContextManager[str]:
    return socketserver_serving(make_server("127.0.0.1", 0, app, handler_class=Quiet))


def test_a_real_server_derives_the_content_length_as_without_the_door(recorded: Recorded) -> None:
    with wsgiref_serving(TraceMiddleware(ok)) as url:
        response = httpx.get(f"{url}/a%FFb?x=%FF\\")
        wait_until(lambda: recorded.all)
    assert response.headers["content-length"] == "4"
    assert response.headers["x-trace-id"] == f"{recorded.server.context.trace_id:032x}"
    assert (recorded.server.attributes or {})["url.path"] == "/a\N{REPLACEMENT CHARACTER}b"


def test_the_door_keeps_to_the_specification_on_both_sides(recorded: Recorded) -> None:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"fine"]

    output = io.BytesIO()
    given = {**environ(), "wsgi.errors": sys.stderr}
    handler = SimpleHandler(io.BytesIO(), output, io.StringIO(), given, multithread=False)
    handler.run(validator(TraceMiddleware(validator(app))))
    assert output.getvalue().endswith(b"fine")
    assert len(recorded.all) == 1


APP = """
import sys
import tracemw.wsgi
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

provider = TracerProvider()
def line(span):
    attributes = span.attributes
    status, error = attributes.get("http.response.status_code"), attributes.get("error.type")
    return " ".join(map(str, (span.name, attributes["url.path"], status, error))) + chr(10)

provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=line)))
trace.set_tracer_provider(provider)

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/boom":
        raise ValueError("boom")
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/file":
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    return (chunk for chunk in (b"a", b"b"))

app = tracemw.wsgi.TraceMiddleware(app)
"""


def test_gunicorn_serves_streams_files_and_errors_as_without_the_door(tmp_path: Path) -> None:
    source = tmp_path / "served.py"
    source.write_text(APP)
    port = free_port()
    arguments = ("-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "2", "served:app")
    with process(*arguments, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}) as running:
        url = f"http://127.0.0.1:{port}"

        def up() -> bool:
            try:
                return httpx.get(f"{url}/up").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(up)
        assert httpx.get(f"{url}/stream").content == b"ab"
        assert httpx.get(f"{url}/file").content == source.read_bytes()
        assert httpx.get(f"{url}/boom").status_code == 500
        running.terminate()
        output, _ = running.communicate(timeout=60)
    lines = output.splitlines()
    assert "GET /stream 200 None" in lines
    assert "GET /file 200 None" in lines
    assert "GET /boom 500 500" in lines


latin = st.text(st.characters(max_codepoint=255), max_size=20)
odd = st.one_of(latin, st.sampled_from([TRACEPARENT, "\xff", "\\", "[::1", ":99999", "a=1;b"]))


@settings(max_examples=60)
@given(
    headers=st.dictionaries(
        st.sampled_from(["host", "traceparent", "tracestate", "baggage", "user-agent", "x-trace-id", "x-other"]), odd
    ),
    query=odd,
    path=latin,
    script=latin,
    method=st.one_of(st.just("GET"), latin),
    port=odd,
    status=st.one_of(st.integers(100, 599).map(lambda code: f"{code} X"), latin.filter(bool)),
    sent=st.lists(st.tuples(st.sampled_from(["X-Trace-Id", "a", "b"]), odd), max_size=4),
)
def test_no_request_and_no_response_is_altered(
    headers: Any, query: str, path: str, script: str, method: str, port: str, status: str, sent: Any
) -> None:
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        seen.append({key: value for key, value in environ.items() if key.isupper()})
        start_response(status, list(sent))
        return [environ["PATH_INFO"].encode()]

    servers = []
    for served in (app, TraceMiddleware(app)):
        server = WSGIServer()
        given = environ(path, method=method, query=query, headers=headers, SCRIPT_NAME=script, SERVER_PORT=port)
        server.body = b"".join(served(given, server.start_response))
        servers.append(server)
    plain, traced = servers
    assert seen[0] == seen[1]
    assert (plain.status, plain.body) == (traced.status, traced.body)
    assert traced.headers[: len(sent)] == plain.headers
    assert {name for name, _ in traced.headers[len(sent) :]} <= {"x-trace-id"}


class TestAConnectionThatIsTakenCareOf:
    """What WebSocket libraries do for a server to send nothing itself."""

    @pytest.mark.parametrize("signal", [StopIteration, ConnectionError])
    def test_is_no_error_when_the_library_raises_for_the_server(
        self, recorded: Recorded, meters: Meters, signal: Any
    ) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            raise signal

        with pytest.raises(signal):
            ask(TraceMiddleware(app, meter_provider=meters.provider), headers={"upgrade": "WebSocket"})
        assert (recorded.server.attributes or {})["http.response.status_code"] == 101
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()
        assert meters.points("http.server.request.duration") == []
        assert [point.value for point in meters.points("http.server.active_requests")] == [0]

    @pytest.mark.parametrize(
        ("raised", "upgrade"),
        [(StopIteration(), "h2c"), (ConnectionError(), ""), (ConnectionError("refused"), "websocket")],
    )
    def test_is_an_error_where_the_same_means_another_thing(
        self, recorded: Recorded, raised: Exception, upgrade: str
    ) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            raise raised

        with pytest.raises(type(raised)):
            ask(TraceMiddleware(app), headers={"upgrade": upgrade})
        assert recorded.server.status.status_code is StatusCode.ERROR

    @pytest.mark.parametrize("answer", [object(), []])
    def test_gets_to_the_server_as_what_the_library_returns(self, recorded: Recorded, answer: object) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            return answer

        server = WSGIServer()
        given = environ(headers={"upgrade": "websocket"})
        assert TraceMiddleware(app)(given, server.start_response) is answer
        assert (recorded.server.attributes or {})["http.response.status_code"] == 101
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize("answer", [None, []])
    def test_is_an_error_where_nothing_was_asked_but_an_answer(self, recorded: Recorded, answer: Any) -> None:
        def app(environ: Any, start_response: Any) -> Any:
            return answer

        try:
            ask(TraceMiddleware(app))
        except TypeError:
            assert answer is None
        assert recorded.server.status.status_code is StatusCode.ERROR


class TestAClientThatHasGone:
    def test_is_no_error_where_the_application_reads_from_it(self, recorded: Recorded) -> None:
        class Input(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise ConnectionResetError

        def app(given: Any, start_response: Any) -> Iterable[bytes]:
            return [given["wsgi.input"].read()]

        with pytest.raises(ConnectionResetError):
            TraceMiddleware(app)({**environ(), "wsgi.input": Input()}, WSGIServer().start_response)
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()

    def test_is_no_error_where_the_application_writes_to_it(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [])(b"x")
            return []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            def write(data: bytes) -> None:
                raise BrokenPipeError

            return write

        with pytest.raises(BrokenPipeError):
            TraceMiddleware(app)(environ(), start_response)
        assert recorded.server.status.status_code is StatusCode.UNSET

    def test_is_not_what_another_connection_raises(self, recorded: Recorded) -> None:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            raise ConnectionResetError("a database's")

        with pytest.raises(ConnectionResetError):
            ask(TraceMiddleware(app))
        assert recorded.server.status.status_code is StatusCode.ERROR


def test_a_body_of_another_type_is_the_servers_to_judge(recorded: Recorded) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "3")])
        return b"abc"  # no list: its parts are numbers

    body: Any = TraceMiddleware(app)(environ(), WSGIServer().start_response)
    assert list(body) == list(b"abc")
    body.close()
    assert (recorded.server.attributes or {}).get("error.type") is None


def test_a_part_before_start_response_that_the_server_refuses_is_an_error(recorded: Recorded) -> None:
    body: Any = TraceMiddleware(lambda environ, start_response: [b"part"])(environ(), WSGIServer().start_response)
    assert next(iter(body)) == b"part"
    body.close()
    assert (recorded.server.attributes or {})["error.type"] == "incomplete_response"
