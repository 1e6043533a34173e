"""What several runs say together: intervals, tests, and which runs may be compared at all."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from graph_metamers.measure.null import EXACT


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class PairedTest:
    """How two groups of paired values differ; p-values are two-sided."""

    n: int  # pairs
    difference: float  # mean of a − b
    t: float  # Student's, of the differences
    t_p: float
    wilcoxon: float  # the smaller of the two rank sums
    wilcoxon_p: float  # with n pairs never below 2^(1 − n), 0.0625 for five
    effect_size: float  # Cohen's d_z times Hedges' correction


def interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Confidence interval of a mean, for values that scatter evenly about it.

        mean ± t_{(1 + level) / 2, n − 1} · s / √n

    `level` is how often such an interval holds the true mean, in (0, 1).

    Returns:
        The ends are NaN for a single value, and where one is not finite.

    Example:
        >>> mean, low, high = interval([1.0, 2.0, 3.0])
        >>> mean, round(low, 3), round(high, 3)
        (2.0, -0.484, 4.484)
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1 or not np.isfinite(x).all():
        return Interval(sum(x.tolist()) / len(x), math.nan, math.nan)
    from scipy import stats  # a second that few need

    mean = float(x.mean())
    half = float(stats.t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(mean, mean - half, mean + half)


def paired_test(a: Sequence[float], b: Sequence[float]) -> PairedTest:
    """Whether two models, layers or searches differ over the same seeds or graphs.

        t = mean(a − b) / (s / √n),   d_z = mean(a − b) / s,   effect size = d_z (1 − 3 / (4n − 5))

    with s the standard deviation of the differences. Student's t takes them for normal;
    Wilcoxon's signed-rank test asks only that they are symmetric, is exact for few pairs without
    equal differences, and leaves out pairs without a difference. The effect size is that of
    Cohen with the correction of Hedges for few pairs (0 for two, which say nothing of it).

    Returns:
        Both tests, two-sided. If all differences are equal, t and the effect size are infinite
        with p = 0, or, if there is none, NaN with p = 1.

    Example:
        >>> found = paired_test([0.9, 0.8, 0.95, 0.85], [0.7, 0.7, 0.65, 0.8])
        >>> round(found.difference, 4), round(found.t, 3), round(found.effect_size, 3)
        (0.1625, 2.931, 1.066)
        >>> found.wilcoxon_p
        0.125
    """
    n = len(a)
    d = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not d.any():
        return PairedTest(n, 0.0, math.nan, 1.0, 0.0, 1.0, math.nan)
    from scipy import stats  # a second that few need

    mean, spread = float(d.mean()), float(d.std(ddof=1))
    size = mean / spread if spread else math.copysign(math.inf, mean)
    ranks: Any = stats.wilcoxon(d)
    return PairedTest(
        n=n,
        difference=mean,
        t=size * math.sqrt(n),
        t_p=2 * float(stats.t.sf(abs(size) * math.sqrt(n), n - 1)),
        wilcoxon=float(ranks.statistic),
        wilcoxon_p=float(ranks.pvalue),
        effect_size=size * (1 - 3 / (4 * n - 5)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted so that one is at or below α by chance in α at most.

        p̃_(i) = min(1, max_{j ≤ i} (m − j + 1) p_(j)),   p_(1) ≤ … ≤ p_(m)

    Holm's step-down method; the tests need not be independent.

    Returns:
        The adjusted ones in the same order, each at least as large as before, in [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.maximum.accumulate(steps).clip(max=1)
    return adjusted.tolist()


def equal_error(a_errors: Sequence[float], b_errors: Sequence[float], factor: float = 2.0) -> bool:
    """Whether two groups of runs stand at comparable activation errors (Eq. 5).

        1 / factor ≤ geometric mean of a / geometric mean of b ≤ factor

    Scores such as the consistency depend on how far the search got (see `consistency`): compare
    them only where this is so. Errors of rounding alone, 1e-10 or less, are taken for equal.

    Returns:
        Whether they are comparable; never if one of the errors is NaN or infinite.

    Example:
        >>> equal_error([0.004, 0.009], [0.008, 0.01]), equal_error([0.006], [0.3])
        (True, False)
    """
    a, b = (float(np.log(np.maximum(each, EXACT)).mean()) for each in (a_errors, b_errors))
    # A little more, so that a ratio of just the factor passes.
    return abs(a - b) <= math.log(factor) + 1e-12
