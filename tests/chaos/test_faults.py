"""Services under load while their backend misbehaves, and after it.

Most of a service's life here is waiting for its breaker, so several run side by side; each has a port of the backend of
its own. What a life has come to is looked at by one test after another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos.books import audit
from chaos.misbehaving import FAULTS, HEALTHY
from chaos.running import WORKERS, Backend, Footprint, Load, Received, Round, Server, Service, serving
from servers import wait_until

pytestmark = pytest.mark.serial

SIDE_BY_SIDE = 16

RATE = 150
"""Requests in a second for each: two cores do twice as many."""

TIMEOUT = 1.0
SETTINGS = {
    # A second for a batch, and short batches: a breaker that needs five failures opens within seconds.
    "OTEL_EXPORTER_OTLP_TIMEOUT": str(int(TIMEOUT * 1000)),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16",
    "OTEL_BSP_MAX_QUEUE_SIZE": "64",  # it overflows while a batch hangs
    "OTEL_BSP_SCHEDULE_DELAY": "50",
}

SLACK = 4.0
"""Seconds for what is not waiting, on a busy machine."""

OPENS = "spans do not reach"
CLOSES = "spans reach .* again"
NOT_OPENING = frozenset({"partial", "garbled"})
"""Faults by which the backend takes spans nevertheless."""

LONGEST_INTERVAL = 6.0
"""Seconds until an open breaker lets a batch try: five, give or take a fifth."""


@dataclass(frozen=True)
class Life:
    """What a service has come to: it was well, had a fault until its breaker was open, was well again, and was ended
    under the same fault."""

    growth: float
    """Megabytes of memory that a worker took more at its worst than before the fault."""
    recovery: float
    """Seconds from the end of the fault until all workers' spans arrived again."""
    lines: list[str]
    """What the log said of it."""
    rounds: list[Round]
    stats: Mapping[int, Mapping[str, Any]]
    received: Received
    """By then."""
    shutdown: float
    """Seconds from SIGTERM to the end of the process."""
    final: list[dict[str, Any]]
    """The stats of the workers when they ended."""
    received_in_all: Received


Lives = Mapping[tuple[Server, str], "Future[Life]"]


def live(server: Server, fault: str, folder: Path, backend: Backend, reference: Service) -> Life:
    """Have a service live through a fault."""
    port = backend.open(secure=server == "gunicorn" or fault.startswith("tls"))
    env = {**SETTINGS, "OTEL_EXPORTER_OTLP_CERTIFICATE": str(folder / "ca.pem")}
    workers = WORKERS[server]
    with serving(server, folder, port, **env) as service, Load(service, reference, rate=RATE, renew=20) as load:
        pids = list(service.stats())
        seen: list[Footprint] = []

        def has_opened() -> bool:
            seen.append(_footprint(pids))
            return len(re.findall(OPENS, service.log)) == workers

        def has_dropped() -> bool:
            seen.append(_footprint(pids))
            return sum(int(one["dropped"]["breaker_open"]) for one in service.stats().values()) > RATE / 2

        load.start()
        wait_until(lambda: len(port.received().accepted) > RATE)
        before = _footprint(pids)
        port.change(fault)
        if fault in NOT_OPENING:
            wait_until(lambda: len(port.received().accepted) > 2 * RATE)
        else:
            wait_until(has_opened)
            wait_until(has_dropped)
        port.change(HEALTHY)
        began = time.monotonic()
        if fault not in NOT_OPENING:
            wait_until(lambda: len(re.findall(CLOSES, service.log)) == workers)
        wait_until(lambda: port.received().first_accepted is not None)
        recovery = time.monotonic() - began
        seen.append(_footprint(pids))
        through_it = load.stop()
        stats, received = service.settled(len(through_it.trace_ids)), port.received()
        lines = [line for line in service.log.splitlines() if "spans" in line]
        port.change(fault)
        under_it = load.round(0.7)
        return Life(
            growth=max(one.megabytes for one in seen) - before.megabytes,
            recovery=recovery,
            lines=lines,
            rounds=[through_it, under_it],
            stats=stats,
            received=received,
            shutdown=service.terminate(),
            final=service.final_stats(),
            received_in_all=port.received(),
        )


def _footprint(pids: list[int]) -> Footprint:
    return max((Footprint.of(pid) for pid in pids), key=lambda one: one.megabytes)


@pytest.fixture(scope="module")
def lives(
    request: pytest.FixtureRequest, folder: Path, backend: Backend, references: dict[Server, Service]
) -> Iterator[Lives]:
    """The lives that the selected tests look at, as they come to their ends."""
    wanted: dict[Any, None] = dict.fromkeys(
        (item.callspec.params["server"], item.callspec.params["fault"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    )
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    yield {
        (server, fault): pool.submit(live, server, fault, folder, backend, references[server])
        for server, fault in wanted
    }
    pool.shutdown(cancel_futures=True)


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WORKERS)
def server(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def life(lives: Lives, server: Server, fault: str) -> Life:
    return lives[server, fault].result()


def test_no_response_fails_or_is_altered(life: Life) -> None:
    assert [one.failed for one in life.rounds] == [[], []]
    assert [one.altered for one in life.rounds] == [[], []]
    assert all(one.trace_ids for one in life.rounds)


def test_the_books_agree_with_what_the_backend_has_received(life: Life) -> None:
    audit(life.rounds[0].trace_ids, life.stats.values(), life.received)


def test_spans_arrive_again_without_a_restart(life: Life, fault: str) -> None:
    longest = 0.0 if fault in NOT_OPENING else LONGEST_INTERVAL
    assert life.recovery < longest + TIMEOUT + SLACK


def test_the_log_has_a_line_when_spans_are_dropped_and_one_when_they_are_not(
    life: Life, server: Server, fault: str
) -> None:
    opened, closed = (sum(bool(re.search(said, line)) for line in life.lines) for said in (OPENS, CLOSES))
    assert opened == closed == (0 if fault in NOT_OPENING else WORKERS[server]), life.lines
    # A queue of 64 is full after a second in which the machine had no time for it, whatever the fault; a line that says
    # so tells what else was lost by then.
    known = f"{OPENS}|{CLOSES}|queue_full: "
    others = sum(not re.search(known, line) for line in life.lines)
    assert others <= WORKERS[server] if fault == "partial" else others == 0, life.lines


def test_memory_is_bounded(life: Life) -> None:
    assert life.growth < 16


def test_the_end_takes_no_longer_than_five_seconds(life: Life, server: Server) -> None:
    assert life.shutdown < 5 + SLACK
    made = [trace_id for one in life.rounds for trace_id in one.trace_ids]
    assert sum(one["ended"] for one in life.final) == len(made)
    if server == "gunicorn":  # uvicorn's books are told when the server ends, before the process does
        audit(made, life.final, life.received_in_all)
