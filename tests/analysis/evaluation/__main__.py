"""``python -m analysis.evaluation``: the table, and status 1 if a goal is not reached."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from itertools import chain

from analysis.evaluation.disturbed import make_disturbed, make_faults
from analysis.evaluation.healthy import make_healthy
from analysis.evaluation.labelled import Labelled
from analysis.evaluation.recorded import read_recorded
from analysis.evaluation.scoring import Score, score
from analysis.evaluation.sets import make_sets
from analysis.evaluation.speed import lines_of_speed
from tracemw.analysis.findings.finders import CODES

SEED = 16


def generated(seed: int, *, times: int) -> Iterator[Labelled]:
    """Give the traces that a seed makes: more of each kind with more times."""
    rng = random.Random(seed)  # nothing secret
    yield from make_healthy(rng, times)
    yield from make_faults(rng, times)
    yield from make_disturbed(rng, max(times // 2, 1))
    yield from make_sets(rng, times)


def lines_of(made: Score) -> Iterator[str]:
    """Give the table of a score."""
    yield f"{'code':<20}{'there':>6}{'found':>7}{'false':>7}{'precision':>11}{'recall':>8}"
    for code in CODES:
        there = made.right[code] + made.missed[code]
        figures = f"{there:>6}{made.right[code]:>7}{made.wrong[code]:>7}"
        yield f"{code:<20}{figures}{made.precision_of(code):>11.3f}{made.recall_of(code):>8.3f}"
    there = made.right.total() + made.missed.total()
    figures = f"{there:>6}{made.right.total():>7}{made.wrong.total():>7}"
    yield f"{'all':<20}{figures}{made.precision:>11.3f}{made.recall:>8.3f}"
    yield ""
    yield f"{made.traces} traces, {made.healthy} of them of healthy services"
    yield f"findings for each healthy trace: {made.false_per_healthy_trace:.3f}"
    yield f"the first finding is the cause, and names its span: {made.judged_right} of {made.judged} ({made.first:.3f})"


def main() -> int:
    """Print the table and the misses."""
    parser = argparse.ArgumentParser(prog="python -m analysis.evaluation", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="what the generated traces are made from")
    parser.add_argument("--times", type=int, default=4, help="how often each case is made, in how many stacks")
    options = parser.parse_args()
    labelled = [*read_recorded(), *generated(options.seed, times=options.times)]
    made = score(labelled)
    for line in chain(lines_of(made), lines_of_speed(labelled)):
        print(line)
    if made.misses:
        print("\nMisses:")
        for miss in sorted(made.misses):
            print(f"- {miss}")
    short = list(made.short_of())
    for goal in short:
        print(f"NOT REACHED: {goal}", file=sys.stderr)
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
