"""Processes end within five seconds, whatever their backend does, and lose nothing when it is well.

With the settings that users have: ten seconds for a batch, which is more than there is.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.books import audit
from chaos.misbehaving import FAULTS, HEALTHY
from chaos.running import HERE, WORKERS, Backend, Load, Port, Received, Server, Service, clean_environment, serving
from servers import wait_until

pytestmark = pytest.mark.serial

SIDE_BY_SIDE = 10

RATE = 600
"""Requests in a second to a service."""

SLACK = 4.0
"""Seconds for what is not waiting, on a busy machine; gunicorn takes more than one of them. A batch has ten."""

UNANSWERING = ("hangs", "deaf", "tls-hangs", "drips", "reset-unanswered", "unavailable")
"""Faults that may leave a batch under way."""


@dataclass(frozen=True)
class End:
    """How a process came to its end."""

    seconds: float
    """From SIGTERM, or from its last word, to the end of the process."""
    made: list[str]
    stats: list[dict[str, Any]]
    """What was in the books at the end, as far as there was anybody to tell."""
    received: Received


def end_script(how: str, fault: str, *, folder: Path, backend: Backend) -> End:
    """Have a script end, by itself or by SIGTERM."""
    port, is_told = _port(backend, fault), how == "SIGTERM"
    protocol = "grpc" if how == "by itself, with gRPC" else "http/protobuf"
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": port.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    with subprocess.Popen(
        [sys.executable, str(HERE / "script.py"), *(["wait"] if is_told else [])],
        env={**clean_environment(), **_trusting(folder), **endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        assert running.stdout is not None
        made = json.loads(running.stdout.readline())
        began = time.monotonic()
        if is_told:
            running.send_signal(signal.SIGTERM)
        stats = [json.loads(line) for line in running.stdout]
        running.wait(60)
        seconds = time.monotonic() - began
    return End(seconds, made, stats, port.received())


def end_service(server: Server, fault: str, *, folder: Path, backend: Backend, reference: Service) -> End:
    """Have a service end by SIGTERM, which has never known its backend to be well."""
    port = _port(backend, fault)
    with (
        serving(server, folder, port, **_trusting(folder)) as service,
        Load(service, reference, rate=RATE, renew=20) as load,
    ):
        made = load.round(1.0)
        assert (made.failed, made.altered) == ([], [])
        return End(service.terminate(), made.trace_ids, service.final_stats(), port.received())


def _port(backend: Backend, fault: str) -> Port:
    port = backend.open(secure=fault.startswith("tls"))
    port.change(fault)
    return port


def _trusting(folder: Path) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(folder / "ca.pem")}


Ends = Mapping[tuple[str, str], "Future[End]"]


@pytest.fixture(scope="module")
def ends(
    request: pytest.FixtureRequest, folder: Path, backend: Backend, references: dict[Server, Service]
) -> Iterator[Ends]:
    """The ends that the selected tests look at, side by side, since most of an end is waiting."""
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)

    def end(what: Any, fault: str) -> Future[End]:
        if what in WORKERS:
            reference = references[what]
            return pool.submit(end_service, what, fault, folder=folder, backend=backend, reference=reference)
        return pool.submit(end_script, what, fault, folder=folder, backend=backend)

    wanted: dict[Any, None] = dict.fromkeys(
        (item.callspec.params["what"], item.callspec.params["fault"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and "ends" in item.fixturenames
    )
    yield {(what, fault): end(what, fault) for what, fault in wanted}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("fault", [HEALTHY, *FAULTS])
@pytest.mark.parametrize("what", ["by itself", "SIGTERM"])
def test_a_script_ends_within_five_seconds(ends: Ends, what: str, fault: str) -> None:
    end = ends[what, fault].result()
    assert end.seconds < 5 + SLACK
    if what == "by itself":
        audit(end.made, end.stats, end.received)


@pytest.mark.parametrize("fault", ["refused", "reset", "deaf", "tls-hangs", "tls-expired"])
@pytest.mark.parametrize("what", ["by itself, with gRPC"])
def test_so_does_one_that_exports_by_grpc(ends: Ends, what: str, fault: str) -> None:
    end = ends[what, fault].result()
    assert end.seconds < 5 + SLACK
    audit(end.made, end.stats, end.received)


@pytest.mark.parametrize("fault", UNANSWERING)
@pytest.mark.parametrize("what", WORKERS)
def test_a_service_ends_within_five_seconds_while_a_batch_is_under_way(ends: Ends, what: str, fault: str) -> None:
    end = ends[what, fault].result()
    assert end.seconds < 5 + SLACK
    assert sum(one["ended"] for one in end.stats) == len(end.made)
    if what == "gunicorn":  # uvicorn's books are told when the server ends, before the process does
        audit(end.made, end.stats, end.received)


@pytest.mark.parametrize("server", WORKERS)
def test_sigterm_under_load_loses_no_span(
    server: Server, folder: Path, backend: Backend, references: dict[Server, Service]
) -> None:
    port = backend.open()
    with serving(server, folder, port) as service, Load(service, references[server], connections=16) as load:
        load.start()
        wait_until(lambda: len(port.received().accepted) > 2000)
        told = time.monotonic()
        seconds = service.terminate()
        made = load.stop()
    assert seconds < 5 + SLACK
    assert [how for when, how in made.failed if when < told] == []
    # To the last requests, gunicorn says that it closes the connection.
    assert [answer for answer in made.altered if "connection: close" not in answer.lower()] == []
    received = port.received()
    assert received.accepted >= set(made.trace_ids)
    # Spans of responses that the end of a connection has swallowed are there, too: one for each at the most.
    assert len(received.accepted) - len(made.trace_ids) <= 16
    assert received.twice == received.strange == 0
    assert sum(one["exported"] for one in service.final_stats()) == len(received.accepted)
