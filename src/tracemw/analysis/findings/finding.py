"""A finding: what is wrong, where, by which evidence, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tracemw.analysis.conventions import code_line
from tracemw.analysis.model import Span

Severity = Literal["error", "warning", "hint"]
"""`error`: a request failed. `warning`: it costs time or hides a failure. `hint`: worth a look, maybe on purpose."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a trace, or with several."""

    code: str
    """What kind of finding this is, such as `n-plus-one`."""

    severity: Severity

    title: str
    """One sentence for whoever is on call."""

    trace_id: str
    """The trace that shows it; of several traces, one that does."""

    span_ids: tuple[str, ...]
    """The spans that prove it, the most telling first."""

    service: str
    """The service in which the cause is, as far as the spans tell."""

    remedy: str
    """What to do next."""

    query: str
    """TraceQL that finds more of the same."""

    numbers: Mapping[str, Any] = field(default_factory=dict)
    """Durations in milliseconds, with names that end in `_ms`; counts; names of routes and services."""

    cost_ms: float = 0.0
    """Milliseconds of the trace that this explains."""

    saving_ms: float | None = None
    """Milliseconds that a fix would save, at most; None where that cannot be computed."""

    line: str = ""
    """The line of code, such as `app.py:57, orders_of`; empty if no span names one."""


def line_of(spans: Sequence[Span]) -> str:
    """Return the first line of code that spans name."""
    return next((line for span in spans if (line := code_line(span.attributes))), "")


def at(line: str) -> str:
    """Return a line of code in brackets, for the middle of a sentence; empty if there is none."""
    return f" ({line})" if line else ""


def matching(span: Span) -> str:
    """Return the TraceQL filter of spans such as this one."""
    return f"{{ resource.service.name = {quoted(span.service)} && name = {quoted(span.name)} }}"


def below(above: str, filtered: str, found: Sequence[Span], least: int) -> str:
    """Return the TraceQL query of what has so many spans beneath it, or one span that stands for as many.

    Args:
        above: The filter of what is above, and the operator.
        filtered: The filter of the spans beneath, `{ }` for any.
        found: The spans that it finds in this trace.
        least: How many there are to be. Where folded spans make up the number, the largest has to have as many.
    """
    folded = max((span.folded for span in found), default=1)
    if len(found) >= least or folded == 1:
        return f"{above} {filtered} | count() >= {min(least, len(found))}"
    condition = f"span.tracemw.folded.count >= {min(least, folded)}"
    inner = filtered[1:-1].strip()
    return f"{above} {{ {f'{inner} && ' if inner else ''}{condition} }}"


def failing(span: Span) -> str:
    """Return the TraceQL filter of spans such as this one that have failed."""
    return f"{matching(span)[:-2]} && status = error }}"


def quoted(text: str) -> str:
    """Return a text as a TraceQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
