"""What tests of spikes share: clocks, control files, and a watch that can be waited for."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind

from servers import process, wait_until
from tracemw.sampling import ConsistentSampler
from tracemw.spikes import ControlFileWatch, Spike


def outcome(sampler: ConsistentSampler, trace_id: int, path: str = "/") -> tuple[bool, str, Any]:
    """Whether a request is sampled, its trace state, and its mark."""
    attributes = {"http.request.method": "GET", "url.path": path}
    result = sampler.should_sample(None, trace_id, "GET", SpanKind.SERVER, attributes)
    state = result.trace_state.to_header() if result.trace_state is not None else ""
    marks = {key: value for key, value in (result.attributes or {}).items() if key not in attributes}
    assert marks.keys() <= {"tracemw.spike"}
    return result.decision is Decision.RECORD_AND_SAMPLE, state, marks.get("tracemw.spike")


class Clock:
    """The time, as far as the sampler knows it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now + 1e9

    def monotonic(self) -> float:
        return self.now


def content(*spikes: dict[str, Any], **top: Any) -> str:
    return json.dumps({"version": 1, "spikes": list(spikes), **top})


def put(file: Path, text: str) -> None:
    """Write a file whole: a watch must not see it while it is written."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def soon(seconds: float = 60) -> float:
    return time.time() + seconds


class Counting(ControlFileWatch):
    """A watch that counts its looks."""

    looks = 0

    def _look(self) -> None:
        super()._look()
        self.looks += 1

    def look_again(self) -> None:
        """Wait for two looks, the second of which has begun after this call."""
        before = self.looks
        wait_until(lambda: self.looks >= before + 2)


class Taken:
    """What a watch hands out."""

    def __init__(self) -> None:
        self.all: list[tuple[Spike, ...]] = []

    def __call__(self, spikes: tuple[Spike, ...]) -> None:
        self.all.append(spikes)

    @property
    def ratios(self) -> list[float] | None:
        """Those of the latest spikes."""
        return [spike.ratio for spike in self.all[-1]] if self.all else None


@contextmanager
def watching(file: Path, take: Callable[[tuple[Spike, ...]], object]) -> Iterator[Counting]:
    watch = Counting(file, take, poll=0.005)
    try:
        yield watch
    finally:
        watch.stop()
    assert not watch._running


def output_of(code: str, **environment: str) -> str:
    """Run `code` in a fresh interpreter, with warnings as errors, and return what it printed."""
    with process("-W", "error", "-W", "ignore::ResourceWarning", "-c", code, env=environment) as running:
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    return output


def held(file: Path) -> int:
    """Hold the lock of a control file, so that commands come to wait for one another."""
    handle = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle
