"""Statistics of runs: textbook numbers, exact distributions by enumeration, and coverage."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import graph_metamers as gm
from graph_metamers.measure.statistics import equal_error, holm, interval, paired_test
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=50)
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


@quick
@given(st.lists(values, min_size=2, max_size=20), st.floats(0.1, 10), values)
def test_interval_follows_units(sample, scale, shift):
    moved = interval([scale * value + shift for value in sample])
    expected = [scale * end + shift for end in interval(sample)]
    assert list(moved) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_interval_holds_the_mean_as_often_as_it_says():
    """1000 samples of 5 normal values: 950 expected, with a standard deviation of 6.9."""
    random = np.random.default_rng(0)
    samples = random.normal(2, 3, (1000, 5)).tolist()
    held = sum(low <= 2 <= high for _, low, high in map(interval, samples))
    assert abs(held - 950) < 4 * 6.9


def test_bootstrap_of_two_values_by_hand():
    """Of 0 and 1 the resampled mean is 0, 1/2 and 1 with chances 1/4, 1/2 and 1/4."""
    assert interval([0.0, 1.0], method="bootstrap") == (0.5, 0.0, 1.0)
    assert interval([0.0, 1.0], level=0.4, method="bootstrap") == (0.5, 0.5, 0.5)


def test_bootstrap_is_near_t_for_many_values():
    sample = np.random.default_rng(0).normal(2, 3, 400).tolist()
    for a, b in zip(interval(sample), interval(sample, method="bootstrap"), strict=True):
        assert a == pytest.approx(b, abs=0.02)  # of a width of 0.6


def test_bootstrap_is_its_seeds():
    sample = [0.1, 0.5, 0.2, 0.9, 0.4]
    state = repr(np.random.get_state(legacy=False))  # noqa: NPY002
    first = interval(sample, method="bootstrap", seed=3)
    assert first == interval(sample, method="bootstrap", seed=3)
    assert first != interval(sample, method="bootstrap", seed=4)
    assert repr(np.random.get_state(legacy=False)) == state  # noqa: NPY002
    assert min(sample) <= first.low <= first.mean <= first.high <= max(sample)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_equal_values_leave_no_doubt(method):
    assert interval([0.5, 0.5, 0.5], method=method) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_a_single_value_has_no_interval(method):
    mean, low, high = interval([0.7], method=method)
    assert mean == 0.7
    assert math.isnan(low)
    assert math.isnan(high)


@pytest.mark.parametrize("method", ["t", "bootstrap"])
def test_values_that_are_not_finite_have_no_interval(method):
    for bad, mean in ((math.nan, math.nan), (math.inf, math.inf)):
        found = interval([0.7, bad, 0.2], method=method)
        assert list(found) == pytest.approx([mean, math.nan, math.nan], nan_ok=True)


def test_intervals_that_are_refused():
    with pytest.raises(gm.InputError, match=r"An interval needs at least one value; got none\."):
        interval([])
    for level in (0.0, 1.0, 95.0, math.nan):
        with pytest.raises(gm.InputError, match="level must lie between 0 and 1"):
            interval([1.0, 2.0], level)
    with (
        unchecked_types(),
        pytest.raises(
            gm.InputError, match=r"method must be one of 't', 'bootstrap'; got 'normal'\."
        ),
    ):
        interval([1.0, 2.0], method="normal")


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
@given(st.lists(st.tuples(values, values), min_size=2, max_size=60))
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


def test_five_pairs_are_too_few_for_wilcoxon():
    found = paired_test([1.0, 2.1, 3.3, 4.6, 6.0], [0.0] * 5)
    assert found.wilcoxon_p == 2 / 2**5
    assert found.t_p < 0.05


def test_two_pairs_say_nothing_of_the_effect():
    assert paired_test([1.0, 2.0], [0.0, 0.0]).effect_size == 0


def test_the_correction_takes_the_bias_off_the_effect():
    """5 pairs with d_z = 1: the mean of 4000 effects, whose standard error is about 0.01."""
    samples = np.random.default_rng(0).normal(1, 1, (4000, 5)).tolist()
    effects = [paired_test(sample, [0.0] * 5).effect_size for sample in samples]
    assert np.mean(effects) == pytest.approx(1, abs=0.05)
    uncorrected = np.mean(effects) / (1 - 3 / 15)
    assert uncorrected > 1.2


def test_no_difference_at_all():
    found = paired_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.difference, found.t_p, found.wilcoxon, found.wilcoxon_p) == (0, 1, 0, 1)
    assert math.isnan(found.t)
    assert math.isnan(found.effect_size)


def test_equal_differences():
    found = paired_test([1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    assert (found.difference, found.t, found.t_p) == (-1, -math.inf, 0)
    assert found.effect_size == -math.inf
    assert found.wilcoxon_p == 0.25


def test_some_pairs_without_a_difference():
    found = paired_test([1.0, 2.0, 3.0, 5.0], [1.0, 1.0, 1.0, 1.0])
    assert found.wilcoxon_p == pytest.approx(0.25)  # of three pairs that differ


def test_pairs_that_are_refused():
    with pytest.raises(gm.InputError, match=r"needs as many values in a as in b; got 3 and 2\."):
        paired_test([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(gm.InputError, match=r"needs at least two pairs; got 1\."):
        paired_test([1.0], [2.0])
    with pytest.raises(
        gm.InputError, match=r"needs finite values; pair 1 is nan and 0\.5\. Leave it out\."
    ):
        paired_test([1.0, math.nan, math.inf], [0.5, 0.5, 0.5])


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


def test_holm_keeps_the_chance_of_any_false_finding():
    """2000 times 6 tests without a difference: 100 times a finding expected, at most."""
    p_values = np.random.default_rng(0).random((2000, 6)).tolist()
    found = sum(min(holm(each)) <= 0.05 for each in p_values)
    assert abs(found - 2000 * (1 - (1 - 0.05 / 6) ** 6)) < 4 * math.sqrt(95)


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(gm.InputError, match=rf"p_values must lie in \[0, 1\]; got {p}\. Leave out"):
        holm([0.5, p])


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


def test_errors_that_are_refused():
    sentence = r"must hold errors of zero or more, at least one; got \[\]\."
    with pytest.raises(gm.InputError, match="a_errors " + sentence):
        equal_error([], [0.1])
    with pytest.raises(gm.InputError, match="b_errors " + sentence):
        equal_error([0.1], [])
    with pytest.raises(gm.InputError, match=r"b_errors must .*; got \[0\.1, -0\.1\]\."):
        equal_error([0.1], [0.1, -0.1])
    for factor in (0.5, math.inf, math.nan):
        with pytest.raises(gm.InputError, match=r"factor must be at least 1 and finite; got"):
            equal_error([0.1], [0.1], factor)
