"""What these tests share: a scripted exporter, deliveries in front of it, and hasty threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from export.scripted import ACCEPTED, Made, Scripted, settings
from tracemw._export import Delivery

POLICY = ("first_pause", "failures", "interval", "remembered_for")
"""The options of a delivery that no user sets. All others are settings."""


@pytest.fixture
def exporter() -> Scripted:
    return Scripted()


@pytest.fixture
def made(exporter: Scripted) -> Iterator[Made]:
    """Makes deliveries to the scripted exporter, and shuts them down in the end."""
    deliveries: list[Delivery] = []

    def make(**options: Any) -> Delivery:
        policy = {name: options.pop(name) for name in POLICY if name in options}
        deliveries.append(Delivery(lambda: exporter, settings(**options), **policy))
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
