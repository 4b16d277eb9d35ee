"""What explains requests, in workers that are forked, in Python or in C, and in those with greenlets.

Folds, kept logs, stacks, the pool, warnings, and a user's rule for redaction.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from backend import Backend, backend_serving
from servers import body_of, free_port, process, wait_until
from watch.watched import server_span, told

UWSGI = Path(sys.executable).parent / "uwsgi"

SERVICE = """
import logging, os, time, flask, tracemw, tracemw.flask, tracemw.logging
from opentelemetry import trace
from sqlalchemy import create_engine, text
from tracemw._otel.served import served
from tracemw.redaction import Answer, Redaction
from tracemw.sampling import Sampling
from tracemw.sqlalchemy import trace_engine

logging.basicConfig(filename="warnings.log")
rule = Redaction(rule=lambda found: Answer.KEEP if found.key == "shop.shelf" else Answer.DROP)
tracemw.init("shop", sampling=Sampling(ratio=1.0, stack_after=0.1), redaction=rule, warn=True)
tracemw.logging.install(kept_logs="DEBUG")
engine = create_engine("sqlite:///shop.db", pool_size=1, max_overflow=0, pool_timeout=0.2)
trace_engine(engine, pool_wait=0.15, slow=5.0)
with engine.connect() as connection:  # in the process that forks
    connection.execute(text("SELECT 1, 2"))
engine.dispose()
app = flask.Flask("shop")
tracemw.flask.TraceMiddleware(app)
forgotten = []

@app.get("/loop")
def loop():
    logging.getLogger("shop").debug("in %s", "the loop")
    trace.get_current_span().set_attributes({"shop.shelf": "upper", "shop.customer": "Ada"})
    with engine.connect() as connection:
        for number in range(40):
            connection.execute(text("SELECT :number + 1"), {"number": number})  # the loop
    pause = 0.001
    while pause < 1 and not any(each.notes for each in list(served)):
        time.sleep(pause := pause * 1.5)  # slow
    return "ok"

@app.get("/leak")
def leak():
    forgotten.append(engine.connect())  # taken
    return "ok"

@app.get("/wait")
def wait():
    try:
        engine.connect()
    except Exception as error:
        return type(error).__name__
"""

GUNICORN = ("-m", "gunicorn", "--preload", "--log-level", "critical", "service:app", "--bind")
EXECUTE_UWSGI = f"import os, sys; os.execv({str(UWSGI)!r}, ['uwsgi', *sys.argv[1:]])"
SERVERS = {
    "sync": (*GUNICORN, "127.0.0.1:{port}"),
    "gthread": (*GUNICORN, "127.0.0.1:{port}", "--threads", "4"),
    "gevent": (*GUNICORN, "127.0.0.1:{port}", "-k", "gevent"),
    "uWSGI": (
        *("-c", EXECUTE_UWSGI, "--http-socket", "127.0.0.1:{port}", "--module", "service:app", "--disable-logging"),
        *("--master", "--die-on-term", "--enable-threads"),
    ),
}


def line_of(mark: str) -> int:
    (line,) = [number for number, text in enumerate(SERVICE.splitlines(), 1) if text.endswith(f"# {mark}")]
    return line


@pytest.fixture(params=SERVERS)
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """The backend of a service in one worker of a server, once the service has been asked for all there is."""
    if request.param == "uWSGI" and not UWSGI.exists():
        pytest.skip("uWSGI is not among the packages under test")
    (tmp_path / "service.py").write_text(SERVICE)
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[request.param]]
    with backend_serving() as backend:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_BSP_SCHEDULE_DELAY": "20", "TRACEMW_ALLOW": ""}
        with process(*command, env=environment, cwd=tmp_path) as running:
            wait_until(lambda: running.poll() is not None or body_of(port, "/health") is not None)
            assert [body_of(port, path) for path in ("/loop", "/leak", "/wait")] == [b"ok", b"ok", b"TimeoutError"]
            wait_until(lambda: {"GET /loop", "GET /leak", "GET /wait"} <= set(backend.names))
    return backend


def test_a_worker_tells_of_loops_logs_stacks_and_holders_as_any_process_does(asked: Backend, tmp_path: Path) -> None:
    service = str(tmp_path / "service.py")
    by_trace = {span.name: [each for each in asked.spans if each.trace_id == span.trace_id] for span in asked.spans}
    looping = by_trace["GET /loop"]
    assert Counter(span.name for span in looping) == {"SELECT": 21, "GET /loop": 1}
    found = [{pair.key: pair.value for pair in span.attributes} for span in looping if span.name == "SELECT"]
    assert [each["tracemw.folded.count"].int_value for each in found if "tracemw.folded.count" in each] == [20]
    lines = Counter(each["code.line.number"].int_value for each in found if "code.line.number" in each)
    assert lines == {line_of("the loop"): 17}
    (log,) = told(server_span(looping), "log")
    assert log.attributes["log.message"] == "in the loop"
    assert told(server_span(looping), "tracemw.stack")[0].line == (service, line_of("slow"))
    ruled = {
        pair.key: pair.value.string_value for pair in server_span(looping).attributes if pair.key.startswith("shop.")
    }
    assert ruled == {"shop.shelf": "upper"}
    warned = (tmp_path / "warnings.log").read_text()
    assert f"n-plus-one: GET /loop runs SELECT 40 times (service.py:{line_of('the loop')}, loop)" in warned
    (wait,) = [span for span in by_trace["GET /wait"] if span.name == "pool wait"]
    (holder,) = [pair.value.array_value.values for pair in wait.attributes if pair.key == "tracemw.pool.holders.line"]
    assert [each.string_value for each in holder] == [f"{service}:{line_of('taken')} in leak"]
