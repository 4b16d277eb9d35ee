"""Record traces: ``python -m analysis.evaluation.recording --traced-by opentelemetry --generation old``.

Run it with `tests` as PYTHONPATH, in an environment of its own that has FastAPI, Flask, httpx, requests, SQLAlchemy,
and what is to trace them: OpenTelemetry's instrumentations of these, or tracemw.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.evaluation.recording.collecting import Collector
from analysis.evaluation.recording.labels import ALLOWED, ANYWHERE, CAUSES, EXPECTED, attribute

RECORDED = Path(__file__).parent.parent / "recorded"
HEALTHY = ("fast", "slow", "stream", "missing", "not-found/7", "retry", "parallel", "poll", "background", "write")
BELOW = ("four-queries", "sequential-calls", "slow-query")
TIMES = 2
_KEPT = ("service.name", "service.version", "telemetry.sdk.name", "telemetry.sdk.language")


def main() -> None:
    """Run both services, ask for each path, and write what they export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traced-by", choices=("opentelemetry", "tracemw"), required=True)
    parser.add_argument("--generation", choices=("old", "new"), default="new")
    options = parser.parse_args()
    collector = Collector()
    asked: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        shop_port, stock_port = _free_port(), _free_port()
        environment = {
            **os.environ,
            "TRACED_BY": options.traced_by,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database" if options.generation == "new" else "",
            "SHOP_URL": f"http://127.0.0.1:{shop_port}",
            "STOCK_URL": f"http://127.0.0.1:{stock_port}",
            "DATABASE": f"{folder}/shop.db",
        }
        with _service("stock", stock_port, environment), _service("shop", shop_port, environment):
            shop = environment["SHOP_URL"]
            for path in ("/healthy/fast", "/healthy/parallel", "/hop/1"):  # a process is slow at first
                _ask(shop, path)
            time.sleep(3)  # their spans arrive
            collector.groups.clear()
            for _ in range(TIMES):
                for path in (
                    [f"/healthy/{each}" for each in HEALTHY] + [f"/below/{each}" for each in BELOW] + list(EXPECTED)
                ):
                    if path == "/pool-wait":
                        _hold_the_pool(shop)
                    if path != "/killed":
                        _ask(shop, path)
                        asked.append(path)
            _ask(shop, "/killed")
            time.sleep(2)
    name = "tracemw" if options.traced_by == "tracemw" else f"opentelemetry-{options.generation}"
    _write(collector, name, folder)


@contextlib.contextmanager
def _service(name: str, port: int, environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", f"analysis.evaluation.recording.{name}", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _ask(url: str, path: str) -> None:
    with contextlib.suppress(urllib.error.URLError):
        urllib.request.urlopen(url + path, timeout=20).read()


def _hold_the_pool(url: str) -> None:
    for _ in range(2):
        threading.Thread(target=_ask, args=(url, "/holds-the-pool/600")).start()
    time.sleep(0.15)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _write(collector: Collector, name: str, folder: str) -> None:
    by_trace: dict[str, list[dict[str, Any]]] = {}
    for _, span in collector.spans():
        by_trace.setdefault(span["traceId"], []).append(span)
    labels = []
    for trace_id, spans in by_trace.items():
        root = next((span for span in spans if not span.get("parentSpanId")), None)
        path = "" if root is None else attribute(root, "http.target", "url.path")
        if not path or path.startswith("/holds"):
            continue
        expected = {
            code: [span["spanId"] for span in spans if chosen(span)] for code, chosen in EXPECTED.get(path, {}).items()
        }
        labels.append(
            {
                "trace_id": trace_id,
                "path": path,
                "expected": expected,
                "allowed": sorted(ALLOWED.get(path, frozenset()) | ANYWHERE),
                "causes": CAUSES.get(path, tuple(expected)[:1]),
            }
        )
    kept = {label["trace_id"] for label in labels}
    for group in collector.groups:
        resource = group.get("resource", {})
        resource["attributes"] = [each for each in resource.get("attributes", ()) if each["key"] in _KEPT]
        for scope in group["scopeSpans"]:
            scope["spans"] = [span for span in scope["spans"] if span["traceId"] in kept]
    RECORDED.mkdir(exist_ok=True)
    text = json.dumps({"labels": labels, "resourceSpans": collector.groups}, separators=(",", ":"))
    for place in (str(Path(__file__).parents[4]), sys.prefix, sys.base_prefix, folder):
        text = text.replace(place, "/srv")
    with gzip.GzipFile(RECORDED / f"{name}.json.gz", "wb", mtime=0) as file:
        file.write(text.encode())
    print(f"{name}: {len(labels)} traces")


if __name__ == "__main__":
    main()
