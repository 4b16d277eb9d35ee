"""The statistics behind `tracemw compare`, against exact values."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from tracemw.analysis.comparison.intervals import beta_cdf, binomial_cdf, quantile_ranks, share_interval
from tracemw.analysis.comparison.significance import corrected, hits_by_chance, shift_by_chance


def exact_binomial_cdf(successes: int, trials: int, probability: Fraction) -> Fraction:
    return sum(
        (
            math.comb(trials, hits) * probability**hits * (1 - probability) ** (trials - hits)
            for hits in range(successes + 1)
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("trials", [1, 7, 40, 300])
@pytest.mark.parametrize("probability", [Fraction(1, 100), Fraction(1, 2), Fraction(19, 20)])
def test_the_binomial_distribution_is_exact(trials: int, probability: Fraction) -> None:
    for successes in {0, 1, trials // 3, trials // 2, trials - 2, trials}:
        expected = float(exact_binomial_cdf(successes, trials, probability)) if successes >= 0 else 0.0
        assert binomial_cdf(successes, trials, float(probability)) == pytest.approx(expected, rel=1e-9, abs=1e-13)


def test_the_beta_function_holds_for_large_samples() -> None:
    assert beta_cdf(0.5, 50_000, 50_000) == pytest.approx(0.5, abs=1e-9)
    assert beta_cdf(0.3, 2, 5) == pytest.approx(0.579825, abs=1e-12)  # 1 - (1 - x)^6 - 6x(1 - x)^5, at x = 0.3
    assert (beta_cdf(0.0, 2, 5), beta_cdf(1.0, 2, 5)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("hits", "size", "low", "high"),
    [(0, 10, 0.0, 0.3085), (3, 300, 0.0021, 0.0289), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(hits: int, size: int, low: float, high: float) -> None:
    _, found_low, found_high = share_interval(hits / size, size, 0.95)
    assert found_low == pytest.approx(low, abs=5e-5)
    assert found_high == pytest.approx(high, abs=5e-5)


def test_a_share_of_nothing_has_no_bounds() -> None:
    assert share_interval(0.0, 0.0, 0.95)[1:] == (None, None)


@pytest.mark.parametrize(
    ("quantile", "size", "expected"),
    [(0.5, 10, (2, 9)), (0.5, 100, (40, 61)), (0.95, 20, (17, None)), (0.99, 5, (4, None)), (0.5, 3, (None, None))],
)
def test_the_ranks_of_a_quantile_are_the_narrowest_that_hold(
    quantile: float, size: int, expected: tuple[int | None, int | None]
) -> None:
    low, high = quantile_ranks(quantile, size, 0.95)
    assert (low, high) == expected
    share = Fraction(quantile).limit_denominator(100)
    if low is not None:
        assert exact_binomial_cdf(low - 1, size, share) <= Fraction(1, 40) < exact_binomial_cdf(low, size, share)
    if high is not None:
        assert 1 - exact_binomial_cdf(high - 1, size, share) <= Fraction(1, 40)
        assert 1 - exact_binomial_cdf(high - 2, size, share) > Fraction(1, 40)


def exact_hits(before: int, before_size: int, after: int, after_size: int) -> tuple[float, float]:
    hits, ways = before + after, math.comb(before_size + after_size, before + after)
    each = {
        count: Fraction(math.comb(after_size, count) * math.comb(before_size, hits - count), ways)
        for count in range(max(0, hits - before_size), min(hits, after_size) + 1)
    }
    return (
        float(sum(share for count, share in each.items() if count >= after)),
        float(sum(share for count, share in each.items() if count <= after)),
    )


@pytest.mark.parametrize(
    "counts", [(3, 300, 9, 300), (15, 1500, 45, 1500), (0, 5, 5, 5), (9, 20, 1, 400), (0, 10, 0, 10), (7, 7, 2, 9)]
)
def test_the_chances_of_hits_are_those_of_fishers_exact_test(counts: tuple[int, int, int, int]) -> None:
    assert hits_by_chance(*counts) == pytest.approx(exact_hits(*counts), rel=1e-9)


def test_three_and_nine_failures_of_300_are_noise_and_fifteen_and_forty_five_of_1500_are_not() -> None:
    assert 2 * hits_by_chance(3, 300, 9, 300).more == pytest.approx(0.14, abs=0.005)
    assert hits_by_chance(15, 1500, 45, 1500).more < 1e-4


def test_the_chances_of_a_shift_are_those_of_all_arrangements() -> None:
    before, after = (1, 3, 3, 5, 8, 9, 12, 13), (3, 6, 9, 11, 14, 15, 16, 20)

    def wins(chosen: list[int], rest: list[int]) -> float:
        return sum((high > low) + (high == low) / 2 for high in chosen for low in rest)

    chance, pooled = random.Random(5), [*before, *after]
    seen, times = wins(list(after), list(before)), 20_000
    as_much = 0
    for _ in range(times):
        chance.shuffle(pooled)
        as_much += wins(pooled[:8], pooled[8:]) >= seen
    found = shift_by_chance(shares(before), 8, shares(after), 8)
    assert found.more == pytest.approx(as_much / times, abs=0.004)
    assert found.less > 0.9


def shares(values: tuple[int, ...]) -> dict[int, float]:
    return {value: values.count(value) / len(values) for value in values}


def test_no_shift_is_surer_than_the_number_of_arrangements_allows() -> None:
    assert shift_by_chance({1: 1.0}, 2, {2: 1.0}, 2).more == pytest.approx(1 / 6)
    assert shift_by_chance({1: 1.0}, 50, {1: 1.0}, 50) == (1.0, 1.0)


def test_many_questions_make_each_answer_less_sure() -> None:
    assert corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert corrected([0.9, 0.8]) == [1.0, 1.0]
    assert corrected([]) == []
