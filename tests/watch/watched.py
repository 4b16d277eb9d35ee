"""Requests that stay until the watch has seen something of them, and what their spans tell then."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic_ns
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from recording.local_traces import value_of
from servers import wait_until
from tracemw._otel.served import served


class Gate:
    """Keeps requests waiting until the watch has taken the stack of one of them, so often.

    One of the stacks is of a request that waits here: on a busy machine, others show it on its way to here.
    """

    def __init__(self, stacks: int = 1) -> None:
        self.stacks = stacks
        self.opened = threading.Event()
        self._reached_at = math.inf
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Gate:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.set()
        self._thread.join()

    def reached(self) -> threading.Event:
        """Return an event that is set when the gate opens, for a thread to wait for."""
        self._reached_at = min(self._reached_at, monotonic_ns())
        return self.opened

    def event(self) -> asyncio.Event:
        """Return the same for a task."""
        self.reached()
        event = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), event))
        if self.opened.is_set():
            event.set()
        return event

    def _watch(self) -> None:
        wait_until(lambda: self.opened.is_set() or self._seen())
        self.opened.set()
        for loop, event in self._waiting:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(event.set)

    def _seen(self) -> bool:
        taken = [[note.at for note in request.notes or () if note.name == "tracemw.stack"] for request in list(served)]
        return any(len(each) >= self.stacks and max(each) > self._reached_at for each in taken)


def until_seen_to_block() -> Iterator[None]:
    """Go round until the watch has seen that the current request blocks its loop, and once more.

    On a busy machine, the watch may look late, and all that it knows of is what comes after.
    """
    span = trace.get_current_span()
    for _ in range(50):
        notes = [note.name for request in list(served) if request.span is span for note in request.notes or ()]
        yield
        if "tracemw.loop.blocked" in notes:
            return


def line_of(mark: str, *functions: Callable[..., Any]) -> int:
    """Return the number of the one line of these functions that ends in the comment `# mark`."""
    found = []
    for function in functions:
        lines, first = inspect.getsourcelines(function)
        found += [first + at for at, line in enumerate(lines) if line.rstrip().endswith(f"# {mark}")]
    (line,) = found
    return line


class Told(NamedTuple):
    """One event of a span."""

    name: str
    attributes: dict[str, Any]

    @property
    def line(self) -> tuple[Any, Any]:
        return self.attributes.get("code.file.path"), self.attributes.get("code.line.number")

    @property
    def text(self) -> str:
        return str(self.attributes.get("code.stacktrace", ""))


def told(span: Span, name: str) -> list[Told]:
    """Return the events of this name on a span."""
    return [
        Told(event.name, {pair.key: value_of(pair.value) for pair in event.attributes})
        for event in span.events
        if event.name == name
    ]


def server_span(spans: list[Span]) -> Span:
    (span,) = [each for each in spans if each.kind == Span.SPAN_KIND_SERVER]
    return span
