"""What every test of business spans is held to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import context as otel_context

from conftest import Recorded


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(caplog: pytest.LogCaptureFixture, recorded: Recorded) -> Iterator[None]:
    """Hold every test to it: the current context is as before, and OpenTelemetry has complained of nothing."""
    before = otel_context.get_current()
    yield
    assert otel_context.get_current() is before
    complaints = [record for record in caplog.records if record.name.startswith(("opentelemetry", "tracemw"))]
    assert [record.getMessage() for record in complaints] == []
