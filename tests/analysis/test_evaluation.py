"""A small version of `make analysis-eval`: recorded traces, and each kind of those made up."""

from __future__ import annotations

from itertools import chain, islice

from analysis.evaluation.__main__ import SEED, generated
from analysis.evaluation.recorded import read_recorded
from analysis.evaluation.scoring import score


def test_what_is_found_in_labelled_traces_reaches_its_goals() -> None:
    made = score(chain(read_recorded(), generated(SEED + 1, times=1)))
    assert made.traces > 300
    assert not list(made.short_of()), "\n".join(made.misses)


def test_the_traces_of_a_seed_are_always_the_same() -> None:
    first, second = (list(islice(generated(7, times=1), 150)) for _ in range(2))
    assert [each.document for each in first] == [each.document for each in second]
