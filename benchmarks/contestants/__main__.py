"""`python -m benchmarks.contestants asgi:ours '{"sampling": 1}'`: one contestant, at its parent's orders."""

from __future__ import annotations

import importlib
import json
import sys

from benchmarks.contestants import Burst


def contestant(target: str, options: dict[str, object]) -> Burst:
    """Set a contestant up in this process."""
    module, _, function = target.partition(":")
    burst: Burst = getattr(importlib.import_module(f"benchmarks.contestants.{module}"), function)(**options)
    return burst


def main() -> None:
    """Answer each number on standard input with a sample, until its end."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what others print must not be taken for an answer
    burst = contestant(sys.argv[1], json.loads(sys.argv[2]))
    try:
        for line in sys.stdin:
            answers.write(json.dumps(burst(int(line))) + "\n")
            answers.flush()
    except KeyboardInterrupt:  # the parent has the same, and says so
        pass


if __name__ == "__main__":
    main()
