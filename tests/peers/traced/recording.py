"""Real tracing for the length of a test session: `init` before the first test, the books to a file after the last."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import tracemw
from tracemw._otel.guard import faults

BOOKS = Path(os.environ["PEERS_BOOKS"])

tracing = tracemw.init("peers", endpoint=os.environ["PEERS_ENDPOINT"], sampling=1.0)


def pytest_unconfigure() -> None:
    """Deliver what is left, and write down what became of all spans and what failed inside of tracemw."""
    tracing.shutdown()
    BOOKS.write_text(json.dumps({"stats": dataclasses.asdict(tracing.stats()), "faults": faults}))
