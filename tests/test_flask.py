"""The door for Flask."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import flask
import pytest
from opentelemetry.trace import SpanKind, StatusCode
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import tracemw
from calls import WSGIServer
from conftest import PARENT_ID, TRACE_ID, TRACEPARENT, Recorded
from tracemw import wsgi
from tracemw.flask import TraceMiddleware


def shop() -> flask.Flask:
    app = flask.Flask(__name__)

    @app.get("/order/<int:order_id>")
    def order(order_id: int) -> str:
        return tracemw.current_trace_id() or ""

    @app.get("/folder/")
    def folder() -> str:
        return "folder"

    @app.get("/boom")
    def boom() -> str:
        raise ValueError("boom")

    @app.get("/abort/<int:status>")
    def abort(status: int) -> str:
        flask.abort(status)

    @app.get("/unavailable")
    def unavailable() -> str:
        raise ServiceUnavailable

    @app.get("/health")
    def health() -> str:
        return "ok"

    pages = flask.Blueprint("pages", __name__, url_prefix="/pages/<lang>")
    nested = flask.Blueprint("nested", __name__, url_prefix="/nested")

    @nested.get("/<path:page>")
    def page(lang: str, page: str) -> str:
        return page

    pages.register_blueprint(nested)
    app.register_blueprint(pages)
    return app


def traced(app: flask.Flask | None = None, **options: Any) -> flask.Flask:
    app = app or shop()
    TraceMiddleware(app, **options)
    return app


def ask(app: Any, path: str = "/", **more: Any) -> WSGIServer:
    return WSGIServer().ask(app, path, **more)


class TestTheRoute:
    @pytest.mark.parametrize(
        ("path", "route"),
        [
            ("/order/7", "/order/<int:order_id>"),
            ("/folder/", "/folder/"),
            ("/pages/en/nested/a/b", "/pages/<lang>/nested/<path:page>"),
            ("/static/none.css", "/static/<path:filename>"),
            ("/abort/404", "/abort/<int:status>"),
        ],
    )
    def test_is_the_rule_with_the_blueprints_prefix(self, recorded: Recorded, path: str, route: str) -> None:
        ask(traced(), path)
        assert recorded.server.name == f"GET {route}"
        assert (recorded.server.attributes or {})["http.route"] == route
        assert (recorded.server.attributes or {})["url.path"] == path
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize(
        ("path", "method", "status"),
        [("/none", "GET", 404), ("/order/x", "GET", 404), ("/order/7", "DELETE", 405), ("/folder", "GET", 308)],
    )
    def test_is_left_out_when_nothing_matched(self, recorded: Recorded, path: str, method: str, status: int) -> None:
        server = ask(traced(), path, method=method)
        assert server.status.startswith(str(status))
        assert recorded.server.name == method
        assert "http.route" not in (recorded.server.attributes or {})
        assert recorded.server.status.status_code is StatusCode.UNSET

    @pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
    def test_goes_with_the_methods_that_flask_adds(self, recorded: Recorded, method: str) -> None:
        assert ask(traced(), "/order/7", method=method).status == "200 OK"
        assert recorded.server.name == f"{method} /order/<int:order_id>"

    def test_starts_where_the_application_is_mounted(self, recorded: Recorded) -> None:
        app = DispatcherMiddleware(flask.Flask("root"), {"/caf\xc3\xa9": traced()})
        ask(app, "/caf\xc3\xa9/order/7")
        assert recorded.server.name == "GET /café/order/<int:order_id>"
        assert (recorded.server.attributes or {})["url.path"] == "/café/order/7"

    def test_is_known_when_before_request_answers(self, recorded: Recorded) -> None:
        app = shop()

        @app.before_request
        def closed() -> tuple[str, int]:
            with tracemw.span("inner"):
                return "closed", 403

        assert ask(traced(app), "/order/7").body == b"closed"
        assert recorded.server.name == "GET /order/<int:order_id>"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 403
        assert recorded.named("inner").context.trace_id == recorded.server.context.trace_id


class TestErrors:
    def test_that_nothing_handles_are_one_exception_and_a_500(
        self, recorded: Recorded, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = ask(traced(), "/boom")
        assert server.status.startswith("500")
        attributes = recorded.server.attributes or {}
        assert recorded.server.name == "GET /boom"
        assert server.header("x-trace-id") == f"{recorded.server.context.trace_id:032x}"
        assert attributes["http.response.status_code"] == 500
        assert attributes["error.type"] == "500"
        assert recorded.server.status.status_code is StatusCode.ERROR
        (event,) = recorded.server.events
        assert (event.attributes or {})["exception.type"] == "ValueError"

    def test_with_a_handler_for_500_are_still_one_exception(
        self, recorded: Recorded, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = shop()

        @app.errorhandler(500)
        def page(error: Exception) -> tuple[str, int]:
            return "sorry", 500

        assert ask(traced(app), "/boom").body == b"sorry"
        assert len(recorded.server.events) == 1
        assert (recorded.server.attributes or {})["error.type"] == "500"

    @pytest.mark.parametrize("setting", ["PROPAGATE_EXCEPTIONS", "TESTING"])
    def test_that_are_propagated_are_one_exception_and_the_servers_500(
        self, recorded: Recorded, setting: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        app = traced()
        app.config[setting] = True
        with pytest.raises(ValueError, match="boom"):
            ask(app, "/boom")
        assert recorded.server.name == "GET /boom"
        assert (recorded.server.attributes or {})["error.type"] == "500"
        assert (recorded.server.attributes or {})["http.response.status_code"] == 500
        assert len(recorded.server.events) == 1

    def test_that_the_application_handles_count_by_their_answer(self, recorded: Recorded) -> None:
        app = shop()

        @app.errorhandler(ValueError)
        def teapot(error: ValueError) -> tuple[str, int]:
            with tracemw.span("handling"):
                return "short and stout", 418

        assert ask(traced(app), "/boom").status.startswith("418")
        assert recorded.server.status.status_code is StatusCode.UNSET
        assert recorded.server.events == ()
        assert recorded.named("handling").context.trace_id == recorded.server.context.trace_id

    @pytest.mark.parametrize("path", ["/abort/503", "/unavailable"])
    def test_that_are_raised_as_answers_have_no_exception(self, recorded: Recorded, path: str) -> None:
        assert ask(traced(), path).status.startswith("503")
        assert (recorded.server.attributes or {})["error.type"] == "503"
        assert recorded.server.status.status_code is StatusCode.ERROR
        assert recorded.server.events == ()


class TestTheSpan:
    def test_continues_the_callers_trace(self, recorded: Recorded) -> None:
        server = ask(traced(), "/order/7", headers={"traceparent": TRACEPARENT})
        assert server.body == TRACE_ID.encode()
        assert server.header("x-trace-id") == TRACE_ID
        assert recorded.server.parent is not None
        assert f"{recorded.server.parent.span_id:016x}" == PARENT_ID

    @pytest.mark.parametrize("with_context", [True, False])
    def test_covers_a_stream(self, recorded: Recorded, with_context: bool) -> None:
        app = flask.Flask(__name__)

        @app.get("/stream")
        def stream() -> flask.Response:
            def chunks() -> Iterator[bytes]:
                for _ in range(3):
                    with tracemw.span("chunk"):
                        yield b"x"
                    assert not recorded.of_kind(SpanKind.SERVER)

            return flask.Response(flask.stream_with_context(chunks()) if with_context else chunks())

        assert ask(traced(app), "/stream").body == b"xxx"
        assert [span.name for span in recorded.all] == ["chunk"] * 3 + ["GET /stream"]
        assert {span.parent and span.parent.span_id for span in recorded.all[:3]} == {recorded.server.context.span_id}
        assert tracemw.current_trace_id() is None

    def test_is_an_error_when_a_stream_fails(self, recorded: Recorded) -> None:
        app = flask.Flask(__name__)

        @app.get("/stream")
        def stream() -> flask.Response:
            def chunks() -> Iterator[bytes]:
                yield b"half"
                raise ValueError("boom")

            return flask.Response(flask.stream_with_context(chunks()))

        with pytest.raises(ValueError, match="boom"):
            ask(traced(app), "/stream")
        assert (recorded.server.attributes or {})["http.response.status_code"] == 200
        assert (recorded.server.attributes or {})["error.type"] == "ValueError"
        assert len(recorded.server.events) == 1

    def test_ends_before_what_is_done_on_close(self, recorded: Recorded) -> None:
        app = flask.Flask(__name__)

        @app.get("/order")
        def order() -> flask.Response:
            response = flask.Response("ordered")

            @response.call_on_close
            def mail() -> None:
                assert len(recorded.all) == 1
                with tracemw.span("mail.send"):
                    pass

            return response

        ask(traced(app), "/order")
        assert recorded.named("mail.send").context.trace_id == recorded.server.context.trace_id

    def test_is_the_outer_ones_again_after_a_nested_test_client(self, recorded: Recorded) -> None:
        inner = traced()
        app = flask.Flask(__name__)

        @app.get("/outer")
        def outer() -> str:
            before = tracemw.current_trace_id()
            seen = inner.test_client().get("/order/7").text
            assert tracemw.current_trace_id() == before
            return seen

        server = ask(traced(app), "/outer")
        nested, outermost = recorded.of_kind(SpanKind.SERVER)
        assert [nested.name, outermost.name] == ["GET /order/<int:order_id>", "GET /outer"]
        assert nested.parent is None
        assert server.body == f"{nested.context.trace_id:032x}".encode()

    def test_is_never_mixed_up_with_that_of_a_request_beside_it(self, recorded: Recorded) -> None:
        app = traced()

        def one(number: int) -> bool:
            trace_id = f"{number + 1:032x}"
            path = f"/order/{number}" if number % 2 else f"/pages/p{number}/nested/x"
            server = ask(app, path, headers={"traceparent": f"00-{trace_id}-{PARENT_ID}-01"})
            return server.header("x-trace-id") == trace_id

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(200)))
        for span in recorded.all:
            number = span.context.trace_id - 1
            assert span.name == ("GET /order/<int:order_id>" if number % 2 else "GET /pages/<lang>/nested/<path:page>")
        assert len(recorded.all) == 200

    @pytest.mark.skipif(importlib.util.find_spec("asgiref") is None, reason="Flask's async views need asgiref")
    def test_reaches_an_async_view(self, recorded: Recorded) -> None:
        app = flask.Flask(__name__)

        @app.get("/async")
        async def view() -> str:
            return tracemw.current_trace_id() or ""

        assert ask(traced(app), "/async", headers={"traceparent": TRACEPARENT}).body == TRACE_ID.encode()
        assert recorded.server.name == "GET /async"


class TestInstalling:
    def test_works_in_an_application_factory(self, recorded: Recorded) -> None:
        tracing = TraceMiddleware(response_header="x-shop-trace")

        def create_app() -> flask.Flask:
            app = shop()
            tracing.init_app(app)
            tracing.init_app(app)
            return app

        for app in (create_app(), create_app()):
            recorded.clear()
            assert ask(app, "/order/7").header("x-shop-trace")
            assert recorded.server.name == "GET /order/<int:order_id>"

    def test_more_than_once_changes_nothing(self, recorded: Recorded) -> None:
        app = traced(traced())
        app.wsgi_app = wsgi.TraceMiddleware(app.wsgi_app)  # type: ignore[method-assign]
        ask(app, "/order/7")
        assert recorded.server.name == "GET /order/<int:order_id>"
        recorded.clear()
        ask(app, "/boom" if not app.config["TESTING"] else "/")
        assert len(recorded.server.events) == 1

    def test_leaves_other_applications_alone(self, recorded: Recorded) -> None:
        traced()
        assert ask(shop(), "/order/7").header("x-trace-id") is None
        assert not recorded.all

    @pytest.mark.parametrize("options", [{"unknown": 1}, {"span_name": "GET"}])
    def test_checks_its_options_before_there_is_an_application(self, options: Any) -> None:
        with pytest.raises(TypeError, match=next(iter(options))):
            TraceMiddleware(**options)


def test_a_skipped_request_has_no_header_and_no_span(recorded: Recorded) -> None:
    server = ask(traced(), "/health")
    assert (server.status, server.body, server.header("x-trace-id")) == ("200 OK", b"ok", None)
    assert not recorded.all


def test_hooks_that_raise_leave_the_response_alone(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("hook")

    with caplog.at_level(logging.ERROR, "tracemw"):
        server = ask(traced(on_request=broken, on_response=broken, span_name=broken, skip=broken), "/order/7")
    assert server.status == "200 OK"
    assert recorded.server.name == "GET /order/<int:order_id>"
