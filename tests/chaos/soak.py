"""`make soak MINUTES=10`: services under full load for long, while faults of their backend come and go at random."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.books import audit, audit_everything
from chaos.misbehaving import FAULTS, HEALTHY
from chaos.running import WORKERS, Backend, Footprint, Load, Port, Server, Service, certificates_in, serving
from servers import wait_until

SETTINGS = {"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"}
"""Users' settings, but for an export of 2 seconds, lest a fault that hangs leaves no time for others."""

SECONDS = 30.0
"""From one rest to the next."""

GROWTH = 6.0
"""Megabytes that a service may take more at its last rest than at its first, of all workers together."""


@dataclass(frozen=True)
class Rest:
    """What a service had come to when it was left alone for a moment."""

    requests: int
    faults: int
    exported: int
    rejected: int
    unknown: int
    dropped: int
    p99: float
    """Seconds."""
    peak: float
    """Megabytes, the most there was since the rest before."""
    footprint: Footprint
    """All workers' together, as are all of the others."""

    HEADER = "requests  faults  exported  rejected  unknown  dropped  p99 ms  peak MB  rest MB  threads  descriptors"

    def __str__(self) -> str:
        at_rest = self.footprint
        return (
            f"{self.requests:8}{self.faults:8}{self.exported:10}{self.rejected:10}{self.unknown:9}{self.dropped:9}"
            f"{self.p99 * 1000:8.1f}{self.peak:9.1f}{at_rest.megabytes:9.1f}{at_rest.threads:9}{at_rest.descriptors:13}"
        )


class Soak:
    """One service, its load, and its backend's port."""

    def __init__(
        self, server: Server, service: Service, load: Load, port: Port, chance: random.Random, *, everything: bool
    ) -> None:
        self.server = server
        self.name = f"{server}, all on" if everything else str(server)
        self._audit: Callable[..., object] = audit_everything if everything else audit
        self.rests: list[Rest] = []
        self._service = service
        self._load = load
        self._port = port
        self._chance = chance
        self._before = service.stats()

    def go_on(self, seconds: float) -> None:
        """Have load and faults for a while, then a rest, at which everything must add up.

        Raises:
            AssertionError: when it does not, or a response was not as it should be.
        """
        pids, peak, faults = list(self._before), 0.0, 0
        self._load.start()
        until, change_at, fault = time.monotonic() + seconds, 0.0, HEALTHY
        while (now := time.monotonic()) < until:
            if now >= change_at:
                fault = HEALTHY if fault != HEALTHY else self._chance.choice(list(FAULTS))
                faults += fault != HEALTHY
                self._port.change(fault)
                change_at = now + self._chance.uniform(0.5, 4.0)
            peak = max(peak, _footprint(pids).megabytes)
            time.sleep(0.1)
        self._port.change(HEALTHY)
        made = self._load.stop()
        after = self._service.settled(
            len(made.trace_ids) + sum(stats["ended"] for stats in self._before.values()), timeout=60
        )
        assert after.keys() == self._before.keys(), "a worker has died"
        assert (made.failed, made.altered) == ([], []), (made.failed[:5], made.altered[:5], self._service.log[-4000:])
        told = [_less(after[pid], self._before[pid]) for pid in pids]
        self._audit(made.trace_ids, told, self._port.received(forget=True))
        self._before = after
        self.rests.append(
            Rest(
                requests=len(made.trace_ids),
                faults=faults,
                exported=sum(one["exported"] for one in told),
                rejected=sum(one["rejected"] for one in told),
                unknown=sum(one["unknown"] for one in told),
                dropped=sum(sum(one["dropped"].values()) for one in told),
                p99=made.p99,
                peak=peak,
                footprint=_settled_footprint(pids),
            )
        )

    def check(self) -> None:
        """Compare the last rest with the first, which was after everything had been used once.

        Raises:
            AssertionError: when it takes more of the machine.
        """
        first, last = (self.rests[index].footprint for index in (0, -1))
        assert last.megabytes - first.megabytes < GROWTH, f"{self.name}: {first} .. {last}"
        assert last.threads <= first.threads + WORKERS[self.server], f"{self.name}: {first} .. {last}"
        assert last.descriptors <= first.descriptors + WORKERS[self.server], f"{self.name}: {first} .. {last}"

    def megabytes_per_minute(self, seconds: float) -> float:
        """Return the slope of the memory at rest, when rests are so many seconds apart."""
        ys = [rest.footprint.megabytes for rest in self.rests]
        mean_x, mean_y = (len(ys) - 1) / 2, sum(ys) / len(ys)
        steepness = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(ys)) / sum(
            (x - mean_x) ** 2 for x in range(len(ys))
        )
        return steepness * 60 / seconds


def soak(folder: Path, *, rests: int, seconds: float, seed: int, say: Callable[[str], object]) -> list[Soak]:
    """Have two services under each server soak, with so many rests, so many seconds apart.

    One of the two has on all that explains a request: see `chaos.service`.

    Raises:
        AssertionError: when anything is not as it should be.
    """
    say(f"seed {seed}\n{'':20}{Rest.HEADER}")
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(folder))
        soaks: list[Soak] = []
        for server, everything in itertools.product(WORKERS, (False, True)):
            port = backend.open(secure=True)
            trusting = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(folder / "ca.pem")}
            more = {"CHAOS_EVERYTHING": "1"} if everything else {}
            reference = stack.enter_context(serving(server, folder))
            service = stack.enter_context(serving(server, folder, port, **SETTINGS, **trusting, **more))
            load = stack.enter_context(Load(service, reference, renew=200, orders=everything))
            chance = random.Random(f"{server} {everything} {seed}")
            soaks.append(Soak(server, service, load, port, chance, everything=everything))
        pool = stack.enter_context(ThreadPoolExecutor(len(soaks)))
        for number in range(rests):
            for one, going_on in [(one, pool.submit(one.go_on, seconds)) for one in soaks]:
                going_on.result()
                say(f"{one.name:17}{number + 1:3}{one.rests[-1]}")
        for one in soaks:
            one.check()
    return soaks


def _less(after: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has been counted since."""
    numbers = {name: after[name] - before[name] for name in ("ended", "exported", "rejected", "unknown")}
    dropped = {cause: number - before["dropped"][cause] for cause, number in after["dropped"].items()}
    return {**after, **numbers, "dropped": dropped}


def _footprint(pids: list[int]) -> Footprint:
    each = [Footprint.of(pid) for pid in pids]
    return Footprint(
        sum(one.megabytes for one in each), sum(one.threads for one in each), sum(one.descriptors for one in each)
    )


def _settled_footprint(pids: list[int]) -> Footprint:
    """Return it once the server has closed the connections of the load, too."""
    seen = [_footprint(pids).descriptors]

    def is_settled() -> bool:
        seen.append(_footprint(pids).descriptors)
        return len(set(seen[-50:])) == 1 and len(seen) > 50

    wait_until(is_settled)
    return _footprint(pids)


def main() -> None:
    """Soak, and print a table of the rests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--seed", type=int, default=random.randrange(1_000_000), help="what has faults come as they did"
    )
    arguments = parser.parse_args()
    rests = max(round(arguments.minutes * 60 / SECONDS), 3)
    with tempfile.TemporaryDirectory() as folder:
        certificates_in(Path(folder))
        soaks = soak(Path(folder), rests=rests, seconds=SECONDS, seed=arguments.seed, say=_say)
    for one in soaks:
        requests = sum(rest.requests for rest in one.rests)
        slope = one.megabytes_per_minute(SECONDS)
        _say(f"{one.name}: {requests} requests, none failed or altered; memory {slope:+.2f} MB a minute")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
