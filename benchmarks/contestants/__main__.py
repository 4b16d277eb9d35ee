"""`python -m benchmarks.contestants asgi:ours '{"sampling": 1}'`: one contestant, at its parent's orders."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from typing import TextIO

from benchmarks import contestants
from benchmarks.contestants import Burst, Meter


def contestant(target: str, options: dict[str, object]) -> Burst:
    """Set a contestant up in this process."""
    module, _, function = target.partition(":")
    burst: Burst = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), function)(**options)
    return burst


def main() -> None:
    """Answer each order on standard input, a meter's name and a number of operations, with a sample, until its end."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what others print must not be taken for an answer
    meters = {
        "time": contestants.cpu_time,
        "calls": contestants.calls,
        "bytecodes": contestants.bytecodes,
        "outside": _outside(answers),
    }
    burst = contestant(sys.argv[1], json.loads(sys.argv[2]))
    try:
        for line in iter(sys.stdin.readline, ""):
            meter, _, operations = line.partition(" ")
            contestants.use(meters[meter])
            answers.write(json.dumps(burst(int(operations))) + "\n")
            answers.flush()
    except KeyboardInterrupt:  # the parent has the same, and says so
        pass


def _outside(answers: TextIO) -> Meter:
    """Return a meter that has the parent measure: a line goes out before and after the work, and one comes back."""

    def say(what: str) -> None:
        answers.write(f"{what}\n")
        answers.flush()
        sys.stdin.readline()

    def measure(work: Callable[[], object]) -> dict[str, float]:
        say("begins")
        work()
        say("ends")
        return {}

    return measure


if __name__ == "__main__":
    main()
