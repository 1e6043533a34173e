"""Statistics of runs: textbook numbers, exact distributions by enumeration, and SciPy's."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from graph_metamers.measure.statistics import equal_error, holm, interval, paired_test

quick = settings(deadline=None, max_examples=25)
# Multiples of 1/64, so that sums and differences are exact.
values = st.integers(-640, 640).map(lambda whole: whole / 64)


# ------------------------------------------------------------------------------------ intervals


def test_interval_by_hand():
    """Mean 3, s² = 10/4, t_{0.975, 4} = 2.7764 from the table: 3 ± 2.7764 · √2.5 / √5."""
    mean, low, high = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert (low, high) == pytest.approx((3 - half, 3 + half), rel=1e-7)


@quick
@given(st.lists(values, min_size=2, max_size=20), st.floats(0.01, 0.99))
def test_interval_is_scipys(sample, level):
    assume(len(set(sample)) > 1)
    expected = scipy.stats.t.interval(
        level, len(sample) - 1, loc=np.mean(sample), scale=scipy.stats.sem(sample)
    )
    assert interval(sample, level)[1:] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        ([0.5, 0.5, 0.5], (0.5, 0.5, 0.5)),
        ([0.7], (0.7, math.nan, math.nan)),
        ([0.7, math.nan, 0.2], (math.nan,) * 3),
        ([0.7, math.inf, 0.2], (math.inf, math.nan, math.nan)),
    ],
)
def test_intervals_without_a_spread(sample, expected):
    assert interval(sample) == pytest.approx(expected, nan_ok=True)


# -------------------------------------------------------------------------------- paired tests


def test_paired_test_by_hand():
    """Differences 1, 2, 3, 4, −1: mean 1.8, s² = 14.8 / 4 = 3.7."""
    found = paired_test([2.0, 4.0, 6.0, 8.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    t = 1.8 / math.sqrt(3.7 / 5)
    assert found.n == 5
    assert found.difference == pytest.approx(1.8, rel=1e-12)
    assert found.t == pytest.approx(t, rel=1e-12)
    # With 4 degrees of freedom the distribution has a closed form: p = 1 − u (1 + 2 / (t² + 4)).
    u = t / math.sqrt(t * t + 4)
    assert found.t_p == pytest.approx(1 - u * (1 + 2 / (t * t + 4)), rel=1e-12)
    assert found.effect_size == pytest.approx(1.8 / math.sqrt(3.7) * (1 - 3 / 15), rel=1e-12)
    assert found.wilcoxon == 1.5  # 1 and −1 share the ranks 1 and 2


@quick
@given(st.lists(st.tuples(values, values), min_size=2, max_size=9))
def test_wilcoxon_is_its_enumeration(pairs):
    """All 2^n signs of the ranks of the differences, where none is zero and none are equal."""
    a, b = (list(each) for each in zip(*pairs, strict=True))
    d = [x - y for x, y in pairs]
    assume(0 not in d and len({abs(each) for each in d}) == len(d))
    ranks = scipy.stats.rankdata(np.abs(d))
    plus = sum(rank for rank, each in zip(ranks, d, strict=True) if each > 0)
    smaller = min(plus, sum(ranks) - plus)
    sums = [
        sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product([False, True], repeat=len(d))
    ]
    expected = min(1.0, 2 * sum(each <= smaller for each in sums) / len(sums))
    found = paired_test(a, b)
    assert found.wilcoxon == smaller
    assert found.wilcoxon_p == pytest.approx(expected, rel=1e-9)


@quick
@given(st.lists(st.tuples(values, values), min_size=2, max_size=20))
def test_t_is_scipys_and_turns_with_the_groups(pairs):
    a, b = (list(each) for each in zip(*pairs, strict=True))
    assume(len({x - y for x, y in pairs}) > 1)
    found, turned, expected = paired_test(a, b), paired_test(b, a), scipy.stats.ttest_rel(a, b)
    assert found.t == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert found.t_p == pytest.approx(expected.pvalue, rel=1e-7, abs=1e-12)
    assert (turned.difference, turned.t, turned.effect_size) == pytest.approx(
        (-found.difference, -found.t, -found.effect_size), rel=1e-12
    )
    assert (turned.t_p, turned.wilcoxon_p) == pytest.approx((found.t_p, found.wilcoxon_p), rel=1e-9)
    assert 0 <= found.wilcoxon_p <= 1


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # n, difference, t, its p, Wilcoxon's statistic, its p, effect size
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], (3, 0, math.nan, 1, 0, 1, math.nan)),
        ([1.0, 2.0, 3.0], [2.0, 3.0, 4.0], (3, -1, -math.inf, 0, 0, 0.25, -math.inf)),
        # Two pairs say nothing of the effect: t is 3, of one degree of freedom.
        ([1.0, 2.0], [0.0, 0.0], (2, 1.5, 3, 1 - 2 / math.pi * math.atan(3), 0, 0.5, 0)),
    ],
)
def test_pairs_that_say_little(a, b, expected):
    found = dataclasses.astuple(paired_test(a, b))
    assert found == pytest.approx(expected, nan_ok=True, abs=1e-12)


# --------------------------------------------------------------------------------- many tests


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4, 3, 2 times; 0.04 not below
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.0, 1.0], [0.0, 1.0]),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted, rel=1e-12)


@quick
@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0, 1), st.randoms(use_true_random=False))
def test_holm_rejects_what_the_step_down_rejects(p_values, level, random):
    """From the smallest on, as long as p_(i) ≤ level / (m − i + 1)."""
    adjusted = holm(p_values)
    rejected, count = set(), len(p_values)
    for rank, place in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        if p_values[place] * (count - rank) > level:
            break
        rejected.add(p_values[place])
    if level < 1:
        assert {p for p, q in zip(p_values, adjusted, strict=True) if q <= level} == rejected
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = list(range(count))
    random.shuffle(order)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


# --------------------------------------------------------------------------------- equal errors


@pytest.mark.parametrize(
    ("a", "b", "factor", "expected"),
    [
        ([0.01], [0.02], 2.0, True),  # just the factor
        ([0.01], [0.0201], 2.0, False),
        ([0.001, 0.1], [0.01], 1.0, True),  # geometric means, not means
        ([0.006], [0.38], 2.0, False),  # a metamer and a random start on Cora
        ([0.0, 0.0], [1e-14], 1.0, True),  # all exact
        ([0.0], [1e-3], 2.0, False),
        ([math.nan], [0.01], 2.0, False),
        ([math.inf], [math.inf], 2.0, False),
        ([0.01, math.inf], [0.01], 2.0, False),
    ],
)
def test_equal_error_by_hand(a, b, factor, expected):
    assert equal_error(a, b, factor) is expected
    assert equal_error(b, a, factor) is expected


@quick
@given(
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=6),
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=6),
    st.floats(1, 100),
)
def test_equal_error_is_its_formula(a, b, factor):
    ratio = scipy.stats.gmean(a) / scipy.stats.gmean(b)
    assume(min(abs(ratio - factor), abs(1 / ratio - factor)) > 1e-9)
    assert equal_error(a, b, factor) is bool(1 / factor <= ratio <= factor)
    assert equal_error(a, a, factor)
