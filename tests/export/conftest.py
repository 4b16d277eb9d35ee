"""What these tests share: a scripted exporter, deliveries in front of it, and hasty threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from export.scripted import ACCEPTED, Made, Scripted
from tracemw._export import Delivery


@pytest.fixture
def exporter() -> Scripted:
    return Scripted()


@pytest.fixture
def made(exporter: Scripted) -> Iterator[Made]:
    """Makes deliveries to the scripted exporter, and shuts them down in the end."""
    deliveries: list[Delivery] = []

    def make(**options: Any) -> Delivery:
        sizes = {"queue_size": 100, "queue_bytes": 10**6, "batch_size": 10, "batch_bytes": 10**6}
        settings = {**sizes, "delay": 0.02, "timeout": 10.0, **options}
        deliveries.append(Delivery(lambda: exporter, transport="http", destination="http://the.test", **settings))
        return deliveries[-1]

    yield make
    exporter.gate.set()
    exporter.outcome, exporter.error = ACCEPTED, None
    for each in deliveries:
        each.shutdown()


@pytest.fixture
def hasty_switching() -> Iterator[None]:
    """Threads give way to each other wherever they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
