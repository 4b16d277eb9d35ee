"""The service in the middle: Flask under gunicorn, requests on the way out."""

from __future__ import annotations

import os

import requests
from flask import Flask, abort

import tracemw
from tracemw.flask import TraceMiddleware
from tracemw.requests import trace_session
from tracemw.sampling import Sampling

tracemw.init(sampling=Sampling(ratio=0.0))

app = Flask(__name__)
TraceMiddleware(app)


@app.get("/health")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/stock/<int:number>")
def stock(number: int) -> dict[str, object]:
    with trace_session(requests.Session()) as session:
        answer = session.post(f"{os.environ['LEDGER_URL']}/entries", json={"number": number}, timeout=10)
    if not answer.ok:
        abort(500, "the ledger does not balance")
    return {"left": 3}
