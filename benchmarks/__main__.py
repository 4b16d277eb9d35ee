"""`python -m benchmarks [ROW ...]`: see README.md."""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import sys

from benchmarks import report
from benchmarks.measure import SETTINGS, Result, Row, Sink, run
from benchmarks.rows import ROWS, selected

SECONDS = {False: 40.0, True: 2.0}
"""How long a row's rounds go on, in full and in quick mode."""


def main() -> int:
    """Run rows and print them; 0 when all of them ran, 1 when one did not, or with --strict missed its goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"all by default: {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--quick", action="store_true", default=os.environ.get("BENCH_QUICK", "0") != "0")
    parser.add_argument("--seconds", type=float, help="how long a row's rounds go on")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--profile", action="store_true", help="profile ours in place of measuring")
    arguments = parser.parse_args()
    try:
        rows = selected(arguments.rows)
    except ValueError as error:
        parser.error(str(error))
    if arguments.profile:
        profile(rows[0])
        return 0
    results: list[Result] = []
    failed: list[str] = []
    with Sink() as sink:
        for row in rows:
            try:
                results.append(
                    run(
                        row,
                        sink,
                        quick=arguments.quick,
                        seconds=arguments.seconds or SECONDS[arguments.quick],
                        progress=_progress,
                    )
                )
            except RuntimeError as error:
                failed.append(f"{row.name}: {error}")
            else:
                _progress("")
                report.say(report.table(results[-1]))
                for problem in results[-1].problems:
                    report.say(f"[red]{problem}")
                report.say("")
    path = report.save(results, quick=arguments.quick)
    missed = [result.row.name for result in results for line in result.lines if line.met is False]
    report.say(f"Goals missed: {', '.join(dict.fromkeys(missed)) or 'none'}. Raw samples: {path}")
    for failure in failed:
        report.say(f"[red]did not run: {failure}")
    broken = failed or any(result.problems for result in results)
    return 1 if broken or (arguments.strict and missed) else 0


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
