"""The span processor that says in the log, during development, what one would not see otherwise: `init(warn=True)`.

A span tells at its end what it has on record: a wait for a pool, a blocked event loop, a swallowed exception. What has
ended beneath a span is counted until the span itself ends: queries that repeat, and failures of which it shows nothing.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode

from tracemw._otel.application import is_application
from tracemw._otel.guard import guarded
from tracemw._otel.handled import SWALLOWED
from tracemw._process.log import escaped, log
from tracemw._watch.heartbeat import BLOCKED, SECONDS

_REPEATS: Final = 5
"""Executions of one query beneath one span, from which on that is an N+1."""
_LONG: Final = 0.1
"""Seconds from which a wait for a pool is told."""
_QUIET: Final = 60.0
"""Seconds in which one place is told once."""
_MOST: Final = 1000
"""Spans and places that are remembered. When there are more, all are forgotten."""

_FRAME: Final = re.compile(r'File "([^"\n]+)", line (\d+), in (.+)')


class _Query:
    """One query beneath one span."""

    __slots__ = ("count", "line")

    def __init__(self) -> None:
        self.count = 0
        self.line = ""


class _Beneath:
    """What has ended beneath a span that is open."""

    __slots__ = ("failures", "queries")

    def __init__(self) -> None:
        self.queries: dict[tuple[str, object], _Query] = {}
        self.failures: dict[str, tuple[str, str]] = {}
        """The names of spans that failed -> what went wrong, and where."""


class DevelopmentWarnings(SpanProcessor):
    """Logs one line for a place, at most once a minute."""

    is_tracemw = True
    is_on = False
    viewer: str | None = None
    """The address of the viewer; None when spans go elsewhere."""

    def __init__(self) -> None:
        self._beneath: dict[int, _Beneath] = {}
        self._quiet_until: dict[tuple[str, str], float] = {}

    @guarded
    def on_end(self, span: ReadableSpan) -> None:
        """Look at a span that has ended."""
        if not self.is_on:
            return
        beneath = self._beneath.pop(span.context.span_id, None)
        if beneath is not None:
            self._judge(span, beneath)
        if span.events:
            self._read_events(span)
        if span.name == "pool wait":
            self._tell_wait(span)
        parent = span.parent
        if parent is not None and not parent.is_remote:
            self._count(span, parent.span_id)

    def _count(self, span: ReadableSpan, parent_id: int) -> None:
        """Note beneath its parent what a span has to do with an N+1, or with an error that is swallowed."""
        beneath, attributes = self._beneath.get(parent_id), span.attributes or {}
        is_query = span.kind is SpanKind.CLIENT and "db.system.name" in attributes
        has_failed = span.status.status_code is StatusCode.ERROR
        if has_failed and _answers_the_caller(attributes):
            return
        if beneath is None and (has_failed or is_query):
            if len(self._beneath) >= _MOST:
                self._beneath.clear()
            beneath = self._beneath.setdefault(parent_id, _Beneath())
        if beneath is None:
            return
        if has_failed:
            beneath.failures[span.name] = _failure_of(span)
            return
        if span.kind is SpanKind.CLIENT:  # a retry, or something else in its place
            beneath.failures.clear()
        else:
            beneath.failures.pop(span.name, None)
        if is_query:
            query = beneath.queries.setdefault((span.name, attributes.get("db.query.text")), _Query())
            query.count += int(attributes.get("tracemw.folded.count", 1))  # type: ignore[arg-type]
            query.line = query.line or _line_of(attributes)

    def _judge(self, span: ReadableSpan, beneath: _Beneath) -> None:
        for (name, _), query in beneath.queries.items():
            if query.count >= _REPEATS:
                where = query.line or f"{span.name} {name}"
                self._tell("n-plus-one", span, where, f"{span.name} runs {name} {query.count} times{_at(query.line)}")
        looks_fine = span.status.status_code is not StatusCode.ERROR and not _answers_the_caller(span.attributes or {})
        if looks_fine and not any(event.name == SWALLOWED for event in span.events):
            for name, (failure, line) in beneath.failures.items():
                said = f"{span.name} looks fine, though {name} beneath has failed with {failure}{_at(line)}"
                self._tell("swallowed-error", span, line or f"{span.name} {name}", said)

    def _read_events(self, span: ReadableSpan) -> None:
        for event in span.events:
            told = event.attributes or {}
            if event.name == SWALLOWED:
                line = _line_of(told)
                handled = _line_of(told, "tracemw.handled")
                said = f"{span.name} swallows {told.get('exception.type')}{_at(line)}, handled at {handled}"
                self._tell("swallowed-error", span, handled, said)
            elif event.name == BLOCKED and is_application(str(told.get("code.file.path"))):
                # What has no line of the application is an import, or a busy machine.
                line = _line_of(told)
                said = f"{span.name} blocks the event loop for {_seconds(told.get(SECONDS))}{_at(line)}"
                self._tell("blocked-loop", span, line, said)

    def _tell_wait(self, span: ReadableSpan) -> None:
        waited = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
        told: Mapping[str, Any] = span.attributes or {}
        if waited < _LONG or told.get("tracemw.pool.waited_for") != "a free connection":
            return
        pool = str(told.get("db.client.connection.pool.name", ""))
        said = f"a request waits {_seconds(waited)} for a connection of {pool}{_at(_line_of(told))}"
        lines = told.get("tracemw.pool.holders.line") or [""]
        if lines[0]:  # the one that has held its connection longest
            said += f"; {lines[0]} holds one for {_seconds(told['tracemw.pool.holders.age'][0])}"
        self._tell("pool-wait", span, lines[0] or pool, said)

    def _tell(self, code: str, span: ReadableSpan, where: str, said: str) -> None:
        now = time.monotonic()
        if now < self._quiet_until.get((code, where), 0.0):
            return
        if len(self._quiet_until) >= _MOST:
            self._quiet_until.clear()
        self._quiet_until[code, where] = now + _QUIET
        trace_id = f"{span.context.trace_id:032x}"
        link = f"trace {trace_id}" if self.viewer is None else f"{self.viewer}/trace/{trace_id}"
        text = said.replace(f"{os.getcwd()}{os.sep}", "")  # noqa: PTH109  a text, and not a path
        log(logging.WARNING, "%s: %s; see %s", code, escaped(text), link)


def _answers_the_caller(attributes: Mapping[str, Any]) -> bool:
    status = attributes.get("http.response.status_code")
    return isinstance(status, int) and 400 <= status < 500


def _failure_of(span: ReadableSpan) -> tuple[str, str]:
    """Return what went wrong in a span, and the line of the application, as far as the span tells."""
    attributes = span.attributes or {}
    failure = str(attributes.get("error.type") or span.status.description or "an error")
    line = _line_of(attributes)
    for event in span.events:
        if event.name == "exception" and not line:
            frames = _FRAME.findall(str((event.attributes or {}).get("exception.stacktrace")))
            line = next((f"{path}:{at}, {name}" for path, at, name in reversed(frames) if is_application(path)), "")
    return failure, line


def _line_of(attributes: Mapping[str, Any], prefix: str = "code") -> str:
    path, number = attributes.get(f"{prefix}.file.path"), attributes.get(f"{prefix}.line.number")
    if not path or number is None:
        return ""
    return f"{path}:{number}, {attributes.get(f'{prefix}.function.name')}"


def _at(line: str) -> str:
    return f" ({line})" if line else ""


def _seconds(value: Any) -> str:
    return f"{float(value):.1f} s"
