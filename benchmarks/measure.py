"""The one mechanism: contestants take turns, round after round, and medians are compared.

Each contestant is a process of its own, since instrumentation and providers are global to a process. It sets itself up,
then answers each `time N` on its standard input with a JSON object of what N operations came to. One contestant runs at
a time, all on the same core; the sink and this process are on another. The order changes from round to round.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any, Literal, Protocol, Self

Relation = Literal["ratio", "kept", "over", "below"]

SETTINGS = {
    # Everything that is recorded is delivered within the measured burst, so nobody looks cheap by dropping spans.
    "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
    "PYTHONWARNINGS": "ignore",
    "TRACEMW_WARN": "false",  # as in production, whether or not somebody looks on at a terminal
}
"""What every contestant has in its environment, beside a row's own settings; inherited `OTEL_*` are left out."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What is asked of one line of a row.

    `ratio`: ours is at most `bound` times this one. `kept`: this one is at least `bound` times the base. `over`: ours
    is at most `bound` more than this one. `below`: this one is at most `bound`.
    """

    relation: Relation
    bound: float


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One line of a row.

    Args:
        name: What the table calls it.
        target: `module:function` in `benchmarks.contestants`, called with `options` in the contestant's process; it
            returns a function that does N operations and tells what they came to.
        spans: How many spans each operation must deliver; None where there is no telling.
    """

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    goal: Goal | None = None
    spans: float | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """Contestants that do the same thing, ours first.

    Args:
        unit: The key of a sample that is compared, which is its unit as well.
        base: `subtract` or `divide` by the last contestant, which is the untraced one; None compares samples as such.
        burst: Operations in one burst, in full and in quick mode.
        rounds: The least number of rounds, in full and in quick mode.
        warm_up: Whether a burst before the first round is thrown away: imports, connections, caches, adaptive bytecode.
        pinned: Whether a contestant's process stays on the core of what is measured.
        counted: Few operations and many, between which calls and instructions are counted; None where the samples are
            not those of `contestants.cpu`, or differ too much.
    """

    name: str
    title: str
    unit: str
    contestants: Sequence[Contestant]
    base: Literal["subtract", "divide"] | None = None
    burst: tuple[int, int] = (2048, 1024)
    rounds: tuple[int, int] = (9, 5)
    most_rounds: int = 61
    warm_up: bool = True
    pinned: bool = True
    counted: tuple[int, int] | None = (32, 160)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one contestant came to."""

    name: str
    median: float
    """Median of the samples; of what they have over the base, or of their share of it, where there is a base."""
    spread: tuple[float, float]
    """The quartiles of the same."""
    ratio: float | None
    """Ours over this one."""
    goal: Goal | None
    met: bool | None
    spans: float | None
    """Spans that the sink has counted for each operation."""
    notes: Mapping[str, float]
    """Medians of what else the contestant told."""
    samples: Sequence[float]
    counts: Counts | None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What an operation of one contestant came to; less what the untraced one came to, where that is subtracted."""

    calls: float
    instructions: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a row came to."""

    row: Row
    lines: Sequence[Line]
    rounds: int
    problems: Sequence[str]


class Sink:
    """The backend's process."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sink"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = _pipe(self._process.stdout).readline().strip()
        pin(self._process.pid, 0)
        return self

    def counts(self) -> dict[str, int]:
        """Return the spans that have arrived, by contestant."""
        with urllib.request.urlopen(self.url) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts

    def __exit__(self, *_: object) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()


class Counter(Protocol):
    """What counts instructions from outside of a process."""

    def begin(self, pid: int) -> None:
        """Count from now on."""

    def end(self) -> float:
        """Return what was counted."""


class Turns:
    """A contestant's process.

    Args:
        under: A command that the process runs under.
        counting: Whether the process is for counting: on any core, and with the same hash seed each time.
    """

    def __init__(
        self, contestant: Contestant, row: Row, sink: Sink, *, under: Sequence[str] = (), counting: bool = False
    ) -> None:
        self.contestant = contestant
        self.operations = 0
        self._key = f"{row.name}-{contestant.name}".replace(" ", "-").replace(",", "").replace("%", "")
        if counting:
            self._key += "-counted"
        env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
        env |= {**SETTINGS, **contestant.env, "BENCH_SINK": f"{sink.url}/{self._key}", "BENCH_NAME": self._key}
        if counting:
            env["PYTHONHASHSEED"] = "0"
        self._sink = sink
        self._process = subprocess.Popen(
            [
                *(*under, sys.executable, "-m", "benchmarks.contestants"),
                *(contestant.target, json.dumps(contestant.options)),
            ],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if row.pinned and not counting:
            pin(self._process.pid, 1)

    def sample(self, operations: int, *, meter: str = "time") -> dict[str, float]:
        """Have the contestant do `operations` and tell what they came to."""
        sample: dict[str, float] = json.loads(self._answer(f"{meter} {operations}"))
        self.operations += int(sample.pop("operations", operations))
        return sample

    def count(self, operations: int, counter: Counter) -> float:
        """Have the contestant do `operations`, and return what the counter makes of them."""
        self._answer(f"outside {operations}")
        counter.begin(self._process.pid)
        self._answer("")
        count = counter.end()
        self._answer("")
        return count

    def _answer(self, order: str) -> str:
        commands, answers = _pipe(self._process.stdin), _pipe(self._process.stdout)
        try:
            commands.write(f"{order}\n")
            commands.flush()
        except BrokenPipeError:  # the missing answer tells more
            pass
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"{self.contestant.name} died (exit status {self._process.wait()}); its error is above")
        return answer

    def spans(self) -> float | None:
        """Return the spans that have arrived for each operation."""
        delivered = self._sink.counts().get(self._key, 0)
        return delivered / self.operations if self.operations else None

    def close(self) -> None:
        """End the process; it cleans up after itself."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()


def run(
    row: Row,
    sink: Sink,
    counts: Mapping[str, Counts],
    *,
    quick: bool,
    seconds: float,
    progress: Callable[[str], None],
) -> Result:
    """Let the contestants of a row take turns for about `seconds`, and compare them; `counts` are shown beside."""
    burst = row.burst[quick]
    with ExitStack() as stack:
        turns = [Turns(contestant, row, sink) for contestant in row.contestants]
        for turn in turns:
            stack.callback(turn.close)
        if row.warm_up:
            for turn in turns:
                turn.sample(burst)
        samples: list[list[dict[str, float]]] = [[] for _ in turns]
        started, done = time.monotonic(), 0
        least = row.rounds[quick]
        while done < least or (done < row.most_rounds and time.monotonic() - started < seconds):
            for index in random.sample(range(len(turns)), len(turns)):
                samples[index].append(turns[index].sample(burst))
            done += 1
            progress(f"{row.name}: round {done}")
        spans = [turn.spans() for turn in turns]
    return _compare(row, samples, spans, counts)


def _compare(
    row: Row, samples: list[list[dict[str, float]]], spans: list[float | None], counts: Mapping[str, Counts]
) -> Result:
    raw = [[sample[row.unit] for sample in one] for one in samples]
    values = [_against_base(row, one, raw[-1]) if one is not raw[-1] else one for one in raw]
    medians = [statistics.median(one) for one in values]
    ours = medians[0]
    lost = [
        contestant.spans is not None and abs((delivered or 0) - contestant.spans) > 0.001
        for contestant, delivered in zip(row.contestants, spans, strict=True)
    ]
    lines: list[Line] = []
    for index, contestant in enumerate(row.contestants):
        is_base = row.base is not None and index == len(values) - 1
        median = medians[index]
        notes = {
            key: statistics.median(sample[key] for sample in samples[index])
            for key in samples[index][-1]
            if key != row.unit
        }
        ratio = ours / median if index and not is_base and row.base != "divide" and median > 0 else None
        lines.append(
            Line(
                name=contestant.name,
                median=median,
                spread=_quartiles(values[index]),
                ratio=ratio,
                goal=contestant.goal,
                # What did not deliver its spans has met nothing.
                met=None
                if contestant.goal is None
                else not (lost[0] or lost[index]) and _met(contestant.goal, ours, median),
                spans=spans[index],
                notes=notes,
                samples=raw[index],
                counts=counts.get(contestant.name),
            )
        )
    problems = [
        f"{contestant.name} delivered {delivered} spans an operation, not {contestant.spans}"
        for contestant, delivered, is_lost in zip(row.contestants, spans, lost, strict=True)
        if is_lost
    ]
    return Result(row=row, lines=lines, rounds=len(raw[0]), problems=problems)


def _against_base(row: Row, values: list[float], base: list[float]) -> list[float]:
    # Round by round, so that what slows a whole round down is on both sides.
    if row.base == "subtract":
        return [value - untraced for value, untraced in zip(values, base, strict=True)]
    if row.base == "divide":
        return [value / untraced for value, untraced in zip(values, base, strict=True)]
    return values


def _met(goal: Goal, ours: float, median: float) -> bool:
    match goal.relation:
        case "ratio":
            return ours <= goal.bound * median
        case "kept":
            return median >= goal.bound
        case "over":
            return ours - median <= goal.bound
        case "below":
            return median <= goal.bound


def _quartiles(values: list[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def pin(pid: int, core: int) -> None:
    """Keep a process on one core: 0 is for the sink and the load, 1 for what is measured; without effect elsewhere."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("started without a pipe")
    return stream
