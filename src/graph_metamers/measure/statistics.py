"""What several runs say together: intervals, tests, and which runs may be compared at all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from graph_metamers.errors import InputError, listing
from graph_metamers.measure.null import EXACT, check_level

METHODS = ("t", "bootstrap")
RESAMPLES = 9999


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """How two groups of paired values differ.

    Attributes:
        n: How many pairs.
        difference: Mean of a − b.
        t: Student's t of the differences.
        t_p: Its two-sided p-value.
        wilcoxon: Wilcoxon's statistic, the smaller of the two rank sums.
        wilcoxon_p: Its two-sided p-value; with n pairs never below 2^(1 − n), 0.0625 for five.
        effect_size: Cohen's d_z times Hedges' correction.
    """

    n: int
    difference: float
    t: float
    t_p: float
    wilcoxon: float
    wilcoxon_p: float
    effect_size: float


def interval(
    values: Sequence[float],
    level: float = 0.95,
    method: Literal["t", "bootstrap"] = "t",
    seed: int = 0,
) -> Interval:
    """Confidence interval of a mean.

        t:          mean ± t_{(1 + level) / 2, n − 1} · s / √n
        bootstrap:  the quantiles (1 ∓ level) / 2 of 9999 means of n values drawn with replacement

    For a handful of runs take t: the bootstrap knows no value beyond those seen, and with five of
    them its interval is too narrow.

    Args:
        values: One a run.
        level: How often such an interval holds the true mean, in (0, 1).
        method: t for values that scatter evenly about their mean, bootstrap for many that do not.
        seed: Seed of the bootstrap.

    Returns:
        Mean, low and high end. The ends are NaN for a single value, and where one is not finite.

    Raises:
        InputError: There is no value, or a setting is out of range.

    Example:
        >>> mean, low, high = interval([1.0, 2.0, 3.0])
        >>> mean, round(low, 3), round(high, 3)
        (2.0, -0.484, 4.484)
    """
    check_level(level)
    if method not in METHODS:
        raise InputError(f"method must be one of {listing(METHODS)}; got {method!r}.")
    if len(values) == 0:
        raise InputError("An interval needs at least one value; got none.")
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1 or not np.isfinite(x).all():
        return Interval(sum(x.tolist()) / len(x), math.nan, math.nan)
    mean = float(x.mean())
    if method == "bootstrap":
        random = np.random.default_rng(seed)
        means = [random.choice(x, len(x)).mean() for _ in range(RESAMPLES)]
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return Interval(mean, float(low), float(high))
    from scipy import stats  # a second that few need

    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Whether two models, layers or searches differ over the same seeds or graphs.

        t = mean(a − b) / (s / √n),   d_z = mean(a − b) / s,   effect size = d_z (1 − 3 / (4n − 5))

    with s the standard deviation of the differences. Student's t takes them for normal;
    Wilcoxon's signed-rank test asks only that they are symmetric, is exact for few pairs without
    equal differences, and leaves out pairs without a difference. The effect size is that of
    Cohen with the correction of Hedges for few pairs (0 for two, which say nothing of it).

    Args:
        a: One value a pair.
        b: The other, in the same order.

    Returns:
        Both tests, two-sided. If all differences are equal, t and the effect size are infinite
        with p = 0, or, if there is none, NaN with p = 1.

    Raises:
        InputError: The lengths differ, there are fewer than two pairs, or a value is not finite.

    Example:
        >>> found = paired_test([0.9, 0.8, 0.95, 0.85], [0.7, 0.7, 0.65, 0.8])
        >>> round(found.difference, 4), round(found.t, 3), round(found.effect_size, 3)
        (0.1625, 2.931, 1.066)
        >>> found.wilcoxon_p
        0.125
    """
    if len(a) != len(b):
        raise InputError(
            f"A paired test needs as many values in a as in b; got {len(a)} and {len(b)}."
        )
    n = len(a)
    if n < 2:
        raise InputError(f"A paired test needs at least two pairs; got {n}.")
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(d).all():
        raise InputError(
            f"A paired test needs finite values; pair {int(np.argmin(np.isfinite(d)))} is "
            f"{a[int(np.argmin(np.isfinite(d)))]} and {b[int(np.argmin(np.isfinite(d)))]}. "
            "Leave it out."
        )
    mean, spread = float(d.mean()), float(d.std(ddof=1))
    if not d.any():
        return PairedTest(n, 0.0, math.nan, 1.0, 0.0, 1.0, math.nan)
    from scipy import stats  # a second that few need

    size = mean / spread if spread else math.copysign(math.inf, mean)
    correction = 1 - 3 / (4 * n - 5)
    ranks: Any = stats.wilcoxon(d)
    return PairedTest(
        n=n,
        difference=mean,
        t=size * math.sqrt(n),
        t_p=2 * float(stats.t.sf(abs(size) * math.sqrt(n), n - 1)),
        wilcoxon=float(ranks.statistic),
        wilcoxon_p=float(ranks.pvalue),
        effect_size=size * correction,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted so that one is at or below α by chance in α at most.

        p̃_(i) = min(1, max_{j ≤ i} (m − j + 1) p_(j)),   p_(1) ≤ … ≤ p_(m)

    Holm's step-down method; the tests need not be independent.

    Args:
        p_values: One a test.

    Returns:
        The adjusted ones in the same order, each at least as large as before, in [0, 1].

    Raises:
        InputError: One of them does not lie in [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise InputError(f"p_values must lie in [0, 1]; got {p}. Leave out what has none.")
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


def equal_error(a_errors: Sequence[float], b_errors: Sequence[float], factor: float = 2.0) -> bool:
    """Whether two groups of runs stand at comparable activation errors (Eq. 5).

        1 / factor ≤ geometric mean of a / geometric mean of b ≤ factor

    Scores such as the consistency depend on how far the search got (see `consistency`): compare
    them only where this is so. Errors of rounding alone, 1e-10 or less, are taken for equal.

    Args:
        a_errors: Activation errors of one group.
        b_errors: Those of the other.
        factor: How far the geometric means may lie apart, 1 or more.

    Returns:
        Whether they are comparable; never if one of the errors is NaN or infinite.

    Raises:
        InputError: A group is empty, an error is negative, or `factor` is below 1.

    Example:
        >>> equal_error([0.004, 0.009], [0.008, 0.01]), equal_error([0.006], [0.3])
        (True, False)
    """
    if not 1 <= factor < math.inf:
        raise InputError(f"factor must be at least 1 and finite; got {factor!r}.")
    means: list[float] = []
    for name, errors in (("a_errors", a_errors), ("b_errors", b_errors)):
        values = np.asarray(errors, dtype=np.float64)
        if len(values) == 0 or (values < 0).any():
            raise InputError(
                f"{name} must hold errors of zero or more, at least one; got {errors}."
            )
        means.append(float(np.log(np.maximum(values, EXACT)).mean()))
    # A little more, so that a ratio of just the factor passes.
    return abs(means[0] - means[1]) <= math.log(factor) + 1e-12
