"""Results as a table, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path

from rich.console import Console, Group, JustifyMethod
from rich.markup import escape
from rich.table import Table

from benchmarks.against import Comparison
from benchmarks.measure import Goal, Line, Result, Row

RESULTS = Path(__file__).parent / "results"

_COLUMNS: dict[str, tuple[int, JustifyMethod]] = {
    "": (28, "left"),
    "median": (17, "right"),
    "quartiles": (18, "right"),
    "ours / it": (9, "right"),
    "goal": (8, "right"),
    "met": (6, "left"),
    "calls": (6, "right"),
    "instr.": (9, "right"),
    "ours / it ": (10, "right"),
    " ": (0, "left"),
}
_VERSIONS = (
    *("opentelemetry", "tracemw", "fastotel", "ddtrace", "elastic-apm", "logfire", "sentry-sdk"),
    *("fastapi", "starlette", "flask", "sqlalchemy", "httpx", "requests"),
    *("uvicorn", "gunicorn", "httptools", "uvloop", "h11"),
)
"""What the names of the packages begin with whose versions are saved."""

_COUNTS = ("calls", "instr.", "ours / it ")
_AGAINST: dict[str, tuple[int, JustifyMethod]] = {
    "": (28, "left"),
    "here": (17, "right"),
    "there": (17, "right"),
    "here / there": (12, "right"),
    "95 % sure": (16, "right"),
    "calls": (14, "right"),
    "instr. here": (11, "right"),
    "there ": (11, "right"),
    "here / there ": (12, "right"),
    "verdict": (8, "left"),
}


def table(result: Result, counted: str) -> Group:
    """Return a row's table: each contestant's median, ours over it, the goal and whether it is met.

    Args:
        result: What the row came to.
        counted: What the column of instructions has been counted with.
    """
    rounds = f"{result.rounds} round{'s' * (result.rounds > 1)}"
    told = f"; {counted}" if result.row.counted else ""
    title = f"[bold]{result.row.name}[/bold]: {escape(result.row.title)} ({rounds}{told})"
    shown = Table(box=None, pad_edge=False, header_style="dim")
    columns = {header: of for header, of in _COLUMNS.items() if result.row.counted or header not in _COUNTS}
    for header, (width, justify) in columns.items():
        shown.add_column(header, justify=justify, min_width=width, no_wrap=width > 0)
    for index, line in enumerate(result.lines):
        is_base = result.row.base is not None and index == len(result.lines) - 1
        kept = result.row.base == "divide" and not is_base
        unit, scale = ("%", 100) if kept else (result.row.unit, 1)
        shown.add_row(
            line.name,
            f"{_number(line.median * scale)} {unit}",
            f"[dim]{' .. '.join(_number(quartile * scale) for quartile in line.spread)}",
            "" if line.ratio is None else _times(line.ratio),
            "" if line.goal is None else _goal(line.goal, result.row.unit),
            {None: "", True: "[green]yes", False: "[red]MISSED"}[line.met],
            *(_counts(result, line, is_base=is_base) if result.row.counted else ()),
            "[dim]" + ", ".join(_notes(result, line, is_base=is_base)),
        )
    return Group(title, shown)


def _counts(result: Result, line: Line, *, is_base: bool) -> tuple[str, str, str]:
    ours, its = result.lines[0].counts, line.counts
    if ours is None or its is None:
        return "", "", ""
    ratio = "" if line is result.lines[0] or is_base else _times(ours.instructions / its.instructions)
    return _number(its.calls), f"{its.instructions:,.0f}", ratio


def quote(result: Result) -> str:
    """Return one sentence to be quoted: what ours adds to a request, beside everybody else in the row."""
    ours, *others = result.lines[:-1]
    counts = ours.counts
    counted = f" ({counts.calls:.0f} calls, {counts.instructions:,.0f} instructions)" if counts else ""
    beside = ", ".join(f"{line.name} {_number(line.median)}" for line in others)
    versions = f"Python {platform.python_version()}, tracemw {version('tracemw')}, FastAPI {version('fastapi')}"
    return (
        f"tracemw adds {_number(ours.median)} us of CPU{counted} to a FastAPI request of "
        f"{_number(result.lines[-1].median)} us; others in the same run: {beside}. {versions}."
    )


def against(comparison: Comparison, *, header: bool) -> Table:
    """Return one line, below a header if wanted: what a row came to here and there."""
    shown = Table(box=None, pad_edge=False, header_style="dim", show_header=header)
    for name, (width, justify) in _AGAINST.items():
        shown.add_column(name, justify=justify, min_width=width, no_wrap=True)
    unit = comparison.row.unit
    counted = ("", "", "", "")
    if comparison.counts:
        here, there = comparison.counts
        counted = (
            f"{_number(here.calls)}, {_number(there.calls)}",
            f"{here.instructions:,.0f}",
            f"{there.instructions:,.0f}",
            f"{here.instructions / there.instructions:.3f}",
        )
    low, high = comparison.interval
    shown.add_row(
        f"{comparison.row.name} [dim]({comparison.rounds} rounds)",
        f"{_number(comparison.here)} {unit}",
        f"{_number(comparison.there)} {unit}",
        f"{comparison.slower:.3f}",
        f"{low:.3f} .. {high:.3f}",
        *counted,
        {"fine": "[green]fine", "unclear": "[yellow]unclear", "slower": "[red]SLOWER"}[comparison.verdict],
    )
    return shown


def save(results: Sequence[Result] | Sequence[Comparison], *, quick: bool, counted: str) -> Path:
    """Write the results, the raw samples included, and return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    versions = {found.name: found.version for found in distributions() if found.name.lower().startswith(_VERSIONS)}
    document = {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": dict(sorted(versions.items())),
        "quick": quick,
        "counted": counted,
        "rows": {result.row.name: {**asdict(result), "row": _described(result.row)} for result in results},
    }
    path.write_text(json.dumps(document, indent=1))
    return path


def _described(row: Row) -> dict[str, object]:
    return {"title": row.title, "unit": row.unit, "base": row.base, "counted": row.counted}


def say(text: object) -> None:
    """Print something that rich can show, wide enough for a table."""
    Console(width=max(Console().width, 165), highlight=False).print(text, soft_wrap=isinstance(text, str))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _times(ratio: float) -> str:
    return f"1/{1 / ratio:.1f}" if 0 < ratio < 1 else f"{ratio:.2f}"


def _goal(goal: Goal, unit: str) -> str:
    match goal.relation:
        case "ratio":
            return f"≤ {goal.bound:g}" if goal.bound >= 1 else f"≤ 1/{1 / goal.bound:.0f}"
        case "kept":
            return f"≥ {goal.bound:.0%}"
        case "over":
            return f"≤ +{goal.bound:g} {unit}"
        case "below":
            return f"≤ {goal.bound:g} {unit}"


def _notes(result: Result, line: Line, *, is_base: bool) -> list[str]:
    notes = ["taken off the others"] if is_base and result.row.base == "subtract" else []
    notes += [f"{key} {_number(value)}" for key, value in line.notes.items()]
    if result.row.base == "divide" and not is_base:
        cpu, untraced = line.notes["CPU us/request"], result.lines[-1].notes["CPU us/request"]
        notes.append(f"{untraced / cpu:.0%} kept by CPU")
    if line.spans:
        notes.append(f"{line.spans:.3g} span{'s' if round(line.spans) > 1 else ''}")
    return notes
