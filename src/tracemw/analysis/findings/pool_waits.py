"""Connections of a pool that are not there: `pool-wait` and `leaked-connection`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tracemw.analysis.conventions import code_line, peer, seconds, whole
from tracemw.analysis.findings.finding import Finding, at, line_of, quoted
from tracemw.analysis.model import MILLISECOND, Event, Span, Trace, milliseconds
from tracemw.analysis.shapes import is_connect

WAIT: Final = 100 * MILLISECOND
LEAKING_TRACES: Final = 3
HELD_LONG: Final = 1.0
"""Seconds from which a connection is held so long that a line which does it in trace after trace leaks."""

_LEAKED: Final = "connection leaked"
_MOST_LINES: Final = 1000


class ConnectionHolder(NamedTuple):
    """Who holds a connection while another request waits, as tracemw's span `pool wait` tells."""

    line: str
    """As `orders.py:57, load`; empty if it is not known."""

    age: float
    """Seconds for which the connection is held."""

    trace_id: str


def find_pool_waits(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each wait of 100 ms and longer, and the opening of a connection that took as long."""
    for span in trace.long:
        if span.duration >= WAIT and is_connect(span):
            yield _wait(span)


def _wait(span: Span) -> Finding:
    holders = holders_of(span)
    waited, pool = milliseconds(span.duration), _pool(span)
    line = line_of([span, *([span.parent] if span.parent else [])])
    opening = span.attributes.get("tracemw.pool.waited_for") == "a new connection"
    what = "a new connection to be opened" if opening else "a connection"
    title = f"{span.service} waits {waited:.0f} ms for {what}{f' of {pool}' if pool else ''}{at(line)}"
    longest = max(holders, key=lambda holder: holder.age, default=None)
    if longest and longest.line and not opening:
        title += f"; {longest.line} holds one for {longest.age:.1f} s"
    return Finding(
        code="pool-wait",
        severity="error" if span.failed else "warning",
        title=title,
        trace_id=span.trace_id,
        span_ids=(span.span_id,),
        service=span.service,
        remedy=(
            f"have {longest.line} give its connection back sooner (with engine.connect() as connection: ...); "
            "then look at the pool's size"
            if longest and longest.line
            else "see who holds connections while waiting for something else; then look at the pool's size"
        ),
        query=(
            f"{{ resource.service.name = {quoted(span.service)} && name = {quoted(span.name)} && duration >= 100ms }}"
        ),
        numbers={
            "waited_ms": waited,
            "pool": pool,
            "size": whole(span.attributes.get("tracemw.pool.size")),
            "held": whole(span.attributes.get("tracemw.pool.held")),
            "holders": [{"line": each.line, "age_s": each.age, "trace_id": each.trace_id} for each in holders],
        },
        cost_ms=waited,
        saving_ms=waited,
        line=(longest.line if longest else "") or line,
    )


def _pool(span: Span) -> str:
    return str(span.attributes.get("db.client.connection.pool.name") or peer(span.attributes))


def holders_of(span: Span) -> list[ConnectionHolder]:
    """Return who held connections while this span waited; the list is empty for spans of others."""
    lines, ages, traces = (_listed(span, f"tracemw.pool.holders.{name}") for name in ("line", "age", "trace_id"))
    return [
        ConnectionHolder(str(line).rpartition("/")[2].replace(" in ", ", "), seconds(age), str(trace_id))
        for line, age, trace_id in zip(lines, ages, traces, strict=False)
    ]


def _listed(span: Span, name: str) -> list[Any]:
    value = span.attributes.get(name)
    return value if isinstance(value, list) else []


def find_leaked(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each connection that the garbage collector gave back."""
    for span in trace.eventful:
        for event in span.events:
            if event.name == _LEAKED:
                yield _collected(span, event)


def _collected(span: Span, event: Event) -> Finding:
    line, held = code_line(event.attributes), seconds(event.attributes.get("tracemw.pool.held_for"))
    return Finding(
        code="leaked-connection",
        severity="warning",
        title=f"{span.service} forgot a connection{at(line)}; the garbage collector gave it back after {held:.1f} s",
        trace_id=span.trace_id,
        span_ids=(span.span_id,),
        service=span.service,
        remedy=f"close it on every path{f' of {line}' if line else ''}: with engine.connect() as connection: ...",
        query=f'{{ resource.service.name = {quoted(span.service)} && event:name = "{_LEAKED}" }}',
        numbers={
            "held_ms": round(held * 1000, 3),
            "pool": str(event.attributes.get("db.client.connection.pool.name") or ""),
        },
        line=line,
    )


class _Waiting:
    """How many traces wait while one line holds connections, and the one that waits longest."""

    def __init__(self) -> None:
        self.traces = self.total = self.longest = 0
        self.trace_id = self.span_id = ""

    def add(self, span: Span) -> None:
        self.traces += 1
        self.total += span.duration
        if span.duration >= self.longest:
            self.longest, self.trace_id, self.span_id = span.duration, span.trace_id, span.span_id


class Leaks:
    """The lines that hold connections for long in trace after trace. The spans themselves are not kept."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, str], _Waiting] = {}

    def add(self, trace: Trace) -> None:
        """Note who holds connections while this trace waits for one."""
        lines = {
            (span.service, holder.line): span
            for span in trace.long
            if span.name == "pool wait"
            for holder in holders_of(span)
            if holder.line and holder.age >= HELD_LONG
        }
        for key, span in lines.items():
            if key in self._lines or len(self._lines) < _MOST_LINES:
                self._lines.setdefault(key, _Waiting()).add(span)

    def findings(self) -> Iterator[Finding]:
        """Give a finding for each line that holds connections in three traces and more."""
        for (service, line), waiting in self._lines.items():
            if waiting.traces >= LEAKING_TRACES:
                yield Finding(
                    code="leaked-connection",
                    severity="warning",
                    title=f"{service} holds connections at {line} while {waiting.traces} requests wait for one",
                    trace_id=waiting.trace_id,
                    span_ids=(waiting.span_id,),
                    service=service,
                    remedy=f"close the connection on every path of {line}: with engine.connect() as connection: ...",
                    query=f'{{ resource.service.name = {quoted(service)} && name = "pool wait" }}',
                    numbers={"waiting_traces": waiting.traces, "waited_ms": milliseconds(waiting.total)},
                    cost_ms=milliseconds(waiting.longest),
                    line=line,
                )
