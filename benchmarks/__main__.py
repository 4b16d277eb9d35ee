"""`python -m benchmarks [ROW ...]`: see README.md."""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import against, figures, report
from benchmarks.counts import Tool, count, find_tool
from benchmarks.measure import SETTINGS, Result, Row, Sink, run
from benchmarks.rows import FASTAPI, ROWS, selected

SECONDS = {False: 40.0, True: 2.0}
"""How long a row's rounds go on, in full and in quick mode."""

AGAINST_SECONDS = {False: 60.0, True: 9.0}
"""The same when two checkouts are compared: fewer contestants, and a finer difference."""


def main() -> int:
    """Run rows and print them.

    Returns:
        0 when all rows ran and no checkout was found slower; 1 otherwise, and with --strict when a goal is missed.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all by default: {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="compare with another checkout of tracemw")
    parser.add_argument("--quick", action="store_true", default=os.environ.get("BENCH_QUICK", "0") != "0")
    parser.add_argument("--seconds", type=float, help="how long a row's rounds go on")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--profile", action="store_true", help="profile ours in place of measuring")
    arguments = parser.parse_args()
    try:
        rows = selected(arguments.rows)
        if arguments.against:
            against.check(arguments.against)
            rows = [row for row in rows if row.most_rounds > 1]  # one long run has no rounds to compare
    except ValueError as error:
        parser.error(str(error))
    if arguments.profile:
        profile(rows[0])
        return 0
    tool, lacking = find_tool()
    if lacking:
        report.say(f"[yellow]{lacking}")
    seconds = (AGAINST_SECONDS if arguments.against else SECONDS)[arguments.quick]
    with Sink() as sink:
        if arguments.against:
            return _compare(
                rows, arguments.against, sink, tool, quick=arguments.quick, seconds=arguments.seconds or seconds
            )
        return _measure(
            rows,
            sink,
            tool,
            quick=arguments.quick,
            seconds=arguments.seconds or seconds,
            strict=arguments.strict,
        )


def _measure(rows: Sequence[Row], sink: Sink, tool: Tool, *, quick: bool, seconds: float, strict: bool) -> int:
    results: list[Result] = []

    def measure(row: Row) -> None:
        all_names = [contestant.name for contestant in row.contestants]
        counts = count(row, sink, tool, (all_names[0], "floor") if quick else all_names, progress=_progress)
        result = run(row, sink, counts, quick=quick, seconds=seconds, progress=_progress)
        results.append(result)
        _progress("")
        report.say(report.table(result, tool.name))
        for problem in result.problems:
            report.say(f"[red]{problem}")
        report.say("")

    failed = _each(rows, measure)
    path = report.save(results, quick=quick, counted=tool.name)
    if not quick:
        figures.keep(json.loads(path.read_text()))
    missed = [result.row.name for result in results for line in result.lines if line.met is False]
    for result in results:
        if result.row.name == FASTAPI:
            report.say(report.quote(result))
    report.say(f"Goals missed: {', '.join(dict.fromkeys(missed)) or 'none'}. Raw samples: {path}")
    _say_failed(failed)
    return 1 if failed or any(result.problems for result in results) or (strict and missed) else 0


def _compare(rows: Sequence[Row], path: Path, sink: Sink, tool: Tool, *, quick: bool, seconds: float) -> int:
    comparisons: list[against.Comparison] = []
    report.say(f"here: this checkout; there: {path}; {tool.name}")

    def compare(row: Row) -> None:
        comparison = against.compare(row, path, sink, tool, quick=quick, seconds=seconds, progress=_progress)
        _progress("")
        report.say(report.against(comparison, header=not comparisons))
        comparisons.append(comparison)

    failed = _each(rows, compare)
    saved = report.save(comparisons, quick=quick, counted=tool.name)
    told = {
        verdict: ", ".join(each.row.name for each in comparisons if each.verdict == verdict) or "none"
        for verdict in ("slower", "unclear")
    }
    report.say(f"Slower by more than {against.BOUND - 1:.0%}: {told['slower']}. Unclear: {told['unclear']}. {saved}")
    _say_failed(failed)
    return 1 if failed or told["slower"] != "none" else 0


def _each(rows: Sequence[Row], do: Callable[[Row], None]) -> Sequence[str]:
    """Do it with each row, and return what is to be said of those that cannot run."""
    failed: list[str] = []
    for row in rows:
        try:
            do(row)
        except RuntimeError as error:
            failed.append(f"{row.name}: {error}")
    return failed


def _say_failed(failed: Sequence[str]) -> None:
    for failure in failed:
        report.say(f"[red]did not run: {failure}")


def profile(row: Row) -> None:
    """Profile the first contestant of a row, ours, in this process."""
    from benchmarks.contestants.__main__ import contestant

    ours = row.contestants[0]
    with Sink() as sink:
        os.environ |= {**SETTINGS, **ours.env, "BENCH_SINK": f"{sink.url}/profile", "BENCH_NAME": "profile"}
        burst = contestant(ours.target, dict(ours.options))
        burst(row.burst[True])
        profiler = cProfile.Profile()
        profiler.runcall(burst, row.burst[False])
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
