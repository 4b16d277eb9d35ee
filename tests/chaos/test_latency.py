"""What users of a service feel while its backend misbehaves: nothing.

Three twins take turns at rounds of full load, one with a backend that is well, one whose batch hangs, so that its queue
overflows, and one whose backend fails in one way after another, so that its breaker is open. Rounds are short and their
order is drawn, so that what disturbs the machine falls on all alike; a round of a faulty twin is compared with that of
the well one next to it. A single 99th percentile is noisy all the same: what is asked is whether it is at most 1.25
times the other one more often than not, in so many pairs that chance would hardly have it so (the sign test), and there
are more pairs until that is decided either way.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaos.misbehaving import FAULTS
from chaos.running import WORKERS, Backend, Load, Server, Service, serving

pytestmark = pytest.mark.serial

BOUND = 1.25
SECONDS = 0.4
"""A round; some thousand requests."""

CHANCE = 0.05
MOST = 40
"""Pairs, after which the median decides."""

STUCK = "hangs"
FAILING = [fault for fault in FAULTS if fault not in ("hangs", "deaf", "tls-hangs", "drips")]


def is_decided(ratios: list[float]) -> bool:
    """Tell whether so many are on one side of the bound that it is no chance."""
    within = sum(ratio <= BOUND for ratio in ratios)
    more = max(within, len(ratios) - within)
    as_many = sum(math.comb(len(ratios), number) for number in range(more, len(ratios) + 1))
    return as_many < CHANCE * 2.0 ** len(ratios)


@pytest.mark.parametrize("server", WORKERS)
def test_a_backend_that_misbehaves_does_not_show_in_the_slowest_of_a_hundred_responses(
    server: Server, folder: Path, backend: Backend, references: dict[Server, Service]
) -> None:
    trusting = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(folder / "ca.pem")}
    ports = {name: backend.open(secure=True) for name in ("well", "stuck", "failing")}
    ratios: dict[str, list[float]] = {"stuck": [], "failing": []}
    faults = itertools.cycle(random.sample(FAILING, len(FAILING)))
    with ExitStack() as stack:
        services = [stack.enter_context(serving(server, folder, port, **trusting)) for port in ports.values()]
        loads = {
            name: stack.enter_context(Load(service, references[server]))
            for name, service in zip(ports, services, strict=True)
        }
        for load in loads.values():
            load.round(SECONDS)  # to warm up
        ports["stuck"].change(STUCK)
        while not all(map(is_decided, ratios.values())) and len(ratios["stuck"]) < MOST:
            ports["failing"].change(next(faults))
            rounds = {name: loads[name].round(SECONDS) for name in random.sample(list(loads), len(loads))}
            assert [(one.failed, one.altered) for one in rounds.values()] == [([], [])] * 3
            for name, measured in ratios.items():
                measured.append(rounds[name].p99 / rounds["well"].p99)
    assert {name: statistics.median(one) <= BOUND for name, one in ratios.items()} == dict.fromkeys(ratios, True), (
        ratios
    )
