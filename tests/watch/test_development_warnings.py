"""`init(warn=True)` says in the log what goes wrong in a request: once for each place and minute."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import flask
import httpx
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import create_engine, text

import tracemw
import tracemw.fastapi
import tracemw.flask
from backend import Backend
from db.engines import _engines_end_with_their_test as _engines_end_with_their_test
from recording.local_traces import Init, Running, swallow
from servers import uvicorn_serving, wait_until, werkzeug_serving
from tracemw._otel.served import served
from tracemw._setup import development_warnings
from tracemw.sqlalchemy import trace_engine
from watch.watched import line_of, until_seen_to_block

needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="Python tells of handled exceptions from version 3.12 on"
)

HERE = Path(__file__).relative_to(Path.cwd()) if Path(__file__).is_relative_to(Path.cwd()) else Path(__file__)


@pytest.fixture
def warning(init: Init) -> Running:
    return init(1.0, more={"warn": True})


Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What tracemw has logged so far."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "tracemw"]


def shop(folder: Path) -> flask.Flask:
    app = flask.Flask("shop")
    tracemw.flask.TraceMiddleware(app)
    engine = trace_engine(create_engine(f"sqlite:///{folder}/shop.db", pool_size=1, max_overflow=0))

    @app.get("/orders/<int:many>")
    def orders(many: int) -> str:
        with engine.connect() as connection:
            for number in range(many):
                connection.execute(text("SELECT name FROM sqlite_master WHERE rootpage = :n"), {"n": number})
        return "ok"

    return app


def test_a_query_that_repeats_is_told_once_with_its_line_and_the_link(
    warning: Running, lines: Lines, backend: Backend, tmp_path: Path
) -> None:
    with werkzeug_serving(shop(tmp_path)) as url:
        asked = [httpx.get(f"{url}/orders/5").headers["x-trace-id"] for _ in range(3)]
    (line,) = lines()
    assert line.startswith(f"n-plus-one: GET /orders/<int:many> runs SELECT sqlite_master 5 times ({HERE}:")
    assert line.endswith(f"shop.<locals>.orders); see {backend.url}/trace/{asked[0]}")
    assert any(span.trace_id.hex() == asked[0] for span in warning.spans)


def test_queries_that_are_folded_count(warning: Running, lines: Lines, tmp_path: Path) -> None:
    with werkzeug_serving(shop(tmp_path)) as url:
        httpx.get(f"{url}/orders/40")
    (line,) = lines()
    assert "runs SELECT sqlite_master 40 times" in line


def test_a_query_that_repeats_four_times_is_no_matter(warning: Running, lines: Lines, tmp_path: Path) -> None:
    with werkzeug_serving(shop(tmp_path)) as url:
        httpx.get(f"{url}/orders/4")
    assert lines() == []


def test_a_place_is_told_again_after_a_minute(
    warning: Running, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(development_warnings, "_QUIET", 0.0)
    with werkzeug_serving(shop(tmp_path)) as url:
        for _ in range(2):
            httpx.get(f"{url}/orders/5")
    assert len(lines()) == 2


def test_an_error_that_is_swallowed_is_told_with_its_line(warning: Running, lines: Lines) -> None:
    for _ in range(2):
        with tracemw.span("payment.process"):
            swallow("fraud.check")
    (line,) = lines()
    where = f"recording/local_traces.py:{line_in_swallow()}, swallow"
    assert line.startswith("swallowed-error: payment.process looks fine, though fraud.check beneath has failed with ")
    assert f"ValueError ({HERE.parent.parent / where}); see http" in line


def line_in_swallow() -> int:
    code = swallow.__code__.co_firstlineno
    source = Path(swallow.__code__.co_filename).read_text().splitlines()
    return next(number for number, line in enumerate(source, 1) if number > code and "raise ValueError" in line)


def test_a_failure_that_a_retry_makes_up_for_is_not_swallowed(warning: Running, lines: Lines) -> None:
    with tracemw.span("payment.process"):
        swallow("attempt")
        with tracemw.span("attempt"):
            pass
    assert lines() == []


@pytest.mark.parametrize("status", [404, 409])
def test_an_answer_to_the_caller_is_no_swallowed_error(warning: Running, lines: Lines, status: int) -> None:
    with tracemw.span("payment.process"):
        call = trace.get_tracer("test").start_span("GET", kind=SpanKind.CLIENT)
        call.set_attribute("http.response.status_code", status)
        call.set_status(StatusCode.ERROR)
        call.end()
    assert lines() == []


def test_a_failure_that_fails_the_request_is_not_swallowed(warning: Running, lines: Lines) -> None:
    with suppress(ValueError), tracemw.span("payment.process"), tracemw.span("fraud.check"):
        raise ValueError
    assert lines() == []


@needs_monitoring
def test_a_handled_exception_is_told_with_the_line_that_handled_it(init: Init, lines: Lines) -> None:
    init(1.0, more={"warn": True, "swallowed": True})
    with tracemw.span("payment.process"):
        swallow_quietly()
    (line,) = lines()
    raised, handled = line_of("raised", swallow_quietly), line_of("handled", swallow_quietly)
    assert line.startswith(
        f"swallowed-error: payment.process swallows KeyError ({HERE}:{raised}, swallow_quietly), "
        f"handled at {HERE}:{handled}, swallow_quietly; see http"
    )


def swallow_quietly() -> None:
    try:
        raise KeyError("secret")  # raised
    except KeyError:  # handled
        pass


def test_a_wait_for_the_pool_is_told_with_the_line_that_holds_the_connection(
    warning: Running, lines: Lines, tmp_path: Path
) -> None:
    engine = trace_engine(create_engine(f"sqlite:///{tmp_path}/pool.db", pool_size=1, max_overflow=0))
    has_begun = threading.Event()

    def hold() -> None:
        with engine.connect():  # holds
            has_begun.set()
            time.sleep(0.3)

    holding = threading.Thread(target=hold)
    holding.start()
    assert has_begun.wait(60)
    with tracemw.span("checkout"), engine.connect():
        pass
    holding.join()
    (line,) = lines()
    function = test_a_wait_for_the_pool_is_told_with_the_line_that_holds_the_connection
    held = f"{HERE}:{line_of('holds', function)} in {function.__name__}.<locals>.hold"
    expected = f" s for a connection of {tmp_path}/pool.db; {held} holds one for "
    assert re.match(rf"pool-wait: a request waits \d+\.\d+{re.escape(expected)}\d+\.\d+ s", line)


def test_a_request_that_blocks_the_event_loop_is_told_with_its_line(warning: Running, lines: Lines) -> None:
    app = FastAPI()
    app.add_middleware(tracemw.fastapi.TraceMiddleware)

    @app.get("/block")
    async def block() -> str:
        for _ in until_seen_to_block():
            time.sleep(0.2)  # noqa: ASYNC251  # blocks
        return "ok"

    with uvicorn_serving(app) as url:
        httpx.get(f"{url}/block")
        wait_until(lambda: not served)
    (line,) = (line for line in lines() if "blocks" in line)
    at = line_of("blocks", test_a_request_that_blocks_the_event_loop_is_told_with_its_line)
    assert re.match(r"blocked-loop: GET /block blocks the event loop for \d+\.\d+ s", line)
    assert f"({HERE}:{at}, " in line


def test_nothing_is_told_unless_it_is_asked_for(init: Init, lines: Lines) -> None:
    init(1.0, more={"warn": True})
    init(1.0)
    with tracemw.span("payment.process"):
        swallow("fraud.check")
    assert lines() == []


def test_spans_that_go_to_no_viewer_are_told_by_their_trace_id(
    init: Init, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    init(1.0, more={"warn": True})
    with tracemw.span("payment.process") as process:
        swallow("fraud.check")
    (line,) = lines()
    assert line.endswith(f"; see trace {process.get_span_context().trace_id:032x}")


def test_parents_that_never_end_are_forgotten(warning: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development_warnings, "_MOST", 10)
    open_spans = [trace.get_tracer("test").start_span("open") for _ in range(100)]
    for parent in open_spans:
        with trace.use_span(parent):
            swallow()
    (warnings,) = [
        each
        for each in warning.tracing.provider._active_span_processor._span_processors  # type: ignore[attr-defined]
        if isinstance(each, development_warnings.DevelopmentWarnings)
    ]
    assert len(warnings._beneath) <= 10


PROGRAM = """
import tracemw
with tracemw.init("shop"):
    with tracemw.span("payment.process"):
        try:
            with tracemw.span("fraud.check"):
                raise ValueError
        except ValueError:
            pass
"""


@pytest.mark.parametrize(
    ("environment", "is_told"),
    [({}, True), ({"ENVIRONMENT": "production"}, False), ({"TRACEMW_WARN": "false"}, False)],
)
def test_a_terminal_is_told_outside_production(environment: dict[str, str], is_told: bool) -> None:
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "TRACEMW_WARN"}
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stderr=theirs,
        env={**inherited, "OTEL_TRACES_EXPORTER": "none", **environment},
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while chunk := os.read(ours, 4096):
            said += chunk
    os.close(ours)
    assert running.wait() == 0
    assert (b"swallowed-error: payment.process looks fine" in said) is is_told
