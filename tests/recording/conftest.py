"""What the flight recorder's tests share: a backend, and `tracemw.init` as in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

import tracemw
from backend import Backend, backend_serving
from conformance.server_doors import DOORS, Door
from recording.local_traces import Init, Running
from tracemw._setup import installation
from tracemw._setup.endings import Endings
from tracemw._setup.installation import Installation
from tracemw.sampling import Rule, Sampling


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


@pytest.fixture
def init(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> Iterator[Init]:
    """`tracemw.init` as in a process of its own, sampling nothing unless told to."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(Endings, "handle_signals", lambda self: None)
    monkeypatch.setattr(installation, "IN_THIS_PROCESS", Installation())
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "65536")  # what is lost on the way out is no matter of the recorder
    running: list[tracemw.Tracing] = []

    def start(ratio: float | None = 0.0, *, rules: tuple[Rule, ...] = (), more: Any = None, **sampling: Any) -> Running:
        tracemw.shutdown()
        # On a busy machine a request may take a second, after which its span would tell a stack.
        wanted = Sampling(ratio=ratio, rules=rules, **{"stack_after": 60.0, **sampling})
        running.append(tracemw.init("shop", endpoint=backend.url, sampling=wanted, **(more or {})))
        return Running(running[-1], backend)

    yield start
    for tracing in running:
        tracing.shutdown()


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    return DOORS[request.param]()
