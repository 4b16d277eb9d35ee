"""Failing requests reach the backend whole, from real servers with several processes and threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backend import Backend
from recording.local_traces import Spans, attributes, kept_for
from servers import answers, free_port, process, wait_until

SERVICE = """
import tracemw
from tracemw.sampling import Sampling

tracemw.init("shop", sampling=Sampling(ratio=0.01, keep_rate=1e6))


def work(number):
    with tracemw.span("step.one"):
        pass
    try:
        with tracemw.span("step.two"):
            if number % 100 == 2:
                raise ValueError("swallowed")
    except ValueError:
        pass
    return 500 if number % 50 == 1 else 200
"""

SERVICES = {
    "uvicorn": """
from fastapi import FastAPI, Response
from tracemw.fastapi import TraceMiddleware
app = FastAPI()
app.add_middleware(TraceMiddleware)
@app.get("/items/{number}")
def item(number: int):
    return Response("x", work(number))
""",
    "gunicorn": """
import flask
from tracemw.flask import TraceMiddleware
app = flask.Flask(__name__)
TraceMiddleware(app)
@app.get("/items/<int:number>")
def item(number):
    return "x", work(number)
""",
}

COMMANDS = {
    "uvicorn": ("-m", "uvicorn", "--port", "{port}", "--log-level", "error", "service:app"),
    "gunicorn": (
        *("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "critical", "--preload"),
        *("--keep-alive", "60"),  # a busy machine leaves connections idle for longer than the two seconds of gunicorn's
        *("--workers", "2", "--threads", "4", "service:app"),
    ),
}


@pytest.mark.parametrize("server", COMMANDS)
def test_with_a_ratio_of_one_percent_every_failing_request_arrives_whole(
    backend: Backend, tmp_path: Path, server: str
) -> None:
    if server == "uvicorn":
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    (tmp_path / "service.py").write_text(SERVICE + SERVICES[server])
    port, requests = free_port(), 1000
    command = [part.format(port=port) for part in COMMANDS[server]]
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "PYTHONPATH": str(tmp_path)}
    with process(*command, env=environment, cwd=tmp_path) as running:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/health"))
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: client.get(f"/items/{number}"), range(requests)))
        running.terminate()
        running.wait(60)
    by_trace: dict[bytes, Spans] = {}
    for span in backend.spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    paths: dict[str, Spans] = {}
    for spans in by_trace.values():
        (root,) = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
        paths[attributes(root)["url.path"]] = spans
    wanted = {f"/items/{number}" for number in range(requests) if number % 50 == 1 or number % 100 == 2}
    assert len(wanted) == 30
    assert wanted <= paths.keys()
    for path, spans in paths.items():
        assert sorted(span.name for span in spans if span.kind != Span.SPAN_KIND_SERVER) == ["step.one", "step.two"]
        is_sampled = spans[0].trace_state != ""
        assert {kept_for(span) for span in spans} == ({None} if is_sampled else {"error"})
        assert is_sampled or path in wanted
    assert len(paths) < 30 + 40
