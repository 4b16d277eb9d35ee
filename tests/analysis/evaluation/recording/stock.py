"""A service on Flask, which another one calls."""

from __future__ import annotations

import os
import sys
import time

import requests
from flask import Flask, Response, request
from opentelemetry import trace

from analysis.evaluation.recording.tracing import flush, trace_stock

app = Flask("stock")
calls = requests.Session()
trace_stock(app, calls)
tracer = trace.get_tracer("stock")
SHOP = os.environ.get("SHOP_URL", "")
seen: dict[str, int] = {}


@app.get("/items/<int:number>")
def item(number: int) -> dict[str, int]:
    time.sleep(0.012)
    return {"item": number}


@app.get("/wait/<int:ms>/<what>")
def wait(ms: int, what: str) -> dict[str, str]:
    time.sleep(ms / 1000)
    return {"what": what}


@app.get("/missing")
def missing() -> tuple[str, int]:
    return "not there", 404


@app.get("/job")
def job() -> dict[str, str]:
    return {"state": "running"}


@app.get("/flaky/<key>/<int:failures>")
def flaky(key: str, failures: int) -> tuple[str, int]:
    seen[key] = seen.get(key, 0) + 1
    time.sleep(0.008)
    return ("busy", 503) if seen[key] <= failures else ("fine", 200)


@app.get("/broken")
def broken() -> dict[str, float]:
    with tracer.start_as_current_span("score"):
        time.sleep(0.01)
        return {"score": 1 / len(request.args)}


@app.get("/hop/<int:more>")
def hop(more: int) -> dict[str, int]:
    if more:
        calls.get(f"{SHOP}/hop/{more - 1}", timeout=5)
    return {"more": more}


@app.get("/die")
def die() -> Response:
    with tracer.start_as_current_span("load the fonts"):
        time.sleep(0.03)
    flush()
    os._exit(9)


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]), threaded=True)
