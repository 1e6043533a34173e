"""compare(): whether models differ in what they overlook, at equal error only."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from graph_metamers.audits import Audit
from graph_metamers.errors import InputError, listing
from graph_metamers.measure.statistics import equal_error, holm, paired_test
from graph_metamers.result import Metamer


@dataclass(frozen=True)
class Comparison:
    """Two audits at one layer, seed by seed.

    Attributes:
        a: Model and graph of the first audit, `b` those of the second.
        layer: At which layer.
        vary: What varied.
        score: What is compared.
        pairs: Seeds at which both runs matched; only these count.
        a_mean: Mean score of the first over these, `b_mean` of the second.
        a_error: Geometric mean of the errors (FVU) of the first, `b_error` of the second.
        p_value: Of Student's paired t-test, two-sided, with Holm's correction for all that were
            tested together; NaN where nothing was tested.
        wilcoxon_p: The same of Wilcoxon's signed-rank test.
        effect_size: Cohen's d_z with Hedges' correction, positive if the first is higher; NaN.
        untested: Why nothing was tested; empty where it was.
    """

    a: str
    b: str
    layer: str
    vary: str
    score: str
    pairs: int
    a_mean: float
    b_mean: float
    a_error: float
    b_error: float
    p_value: float
    wilcoxon_p: float
    effect_size: float
    untested: str

    def row(self) -> dict[str, Any]:
        """The figures as one flat dictionary, ready for `pandas.DataFrame`."""
        return asdict(self)


def compare(audits: Sequence[Audit], *, score: str = "feature_similarity") -> list[Comparison]:
    """Whether the metamers of several models differ in a score, seed by seed.

    Scores depend on how far a search got: two models are tested against each other only where
    both matched and the geometric means of their errors lie within a factor of two, which
    `Adam(stop_at_tol=True)` or `Swap(stop_at_tol=True)` at one `tol`, and `Exact`, give.
    P-values are corrected for all tests of the call (Holm).

    Args:
        audits: Two or more, of different models or graphs, with layers of the same name.
        score: One of `Metamer.scores`.

    Returns:
        One comparison for each pair of audits and each layer and way to vary that both have.

    Raises:
        InputError: There are fewer than two audits, none share a layer, or the score is unknown.

    Example:
        >>> import graph_metamers as gm
        >>> data = gm.datasets.csbm(nodes=60, features=40)
        >>> vary = gm.ContinuousFeatures()
        >>> models = {"narrow": gm.zoo.GCN(40, 3, hidden=4), "wide": gm.zoo.GCN(40, 3, hidden=16)}
        >>> audits = [
        ...     gm.audit(model, data, layers=["layer1"], vary=vary, name=name, seeds=4)
        ...     for name, model in models.items()
        ... ]
        >>> (comparison,) = gm.compare(audits)
        >>> comparison.pairs, comparison.a_mean < comparison.b_mean, comparison.p_value < 0.01
        (4, True, True)
    """
    if len(audits) < 2:
        raise InputError(f"compare needs at least two audits; got {len(audits)}.")
    metamers = [m for audit in audits for m in audit.metamers]
    known = {name: None for m in metamers for name in m.scores}
    if score not in known:
        raise InputError(
            f"score='{score}' is not one of the scores; choose among {listing(known)}."
        )
    found = [
        _comparison(a, b, ours, theirs, score)
        for a, b in itertools.combinations(audits, 2)
        for ours in a.groups()
        for theirs in b.groups()
        if (ours[0].layer, ours[0].vary) == (theirs[0].layer, theirs[0].vary)
        and score in ours[0].scores
        and score in theirs[0].scores
    ]
    if not found:
        raise InputError(
            "compare needs audits of the same layers and ways to vary; these share none: "
            f"{listing(dict.fromkeys(m.layer for m in metamers))}. Audit layers that have the "
            "same name."
        )
    tested = [place for place, each in enumerate(found) if not each.untested]
    student = holm([found[place].p_value for place in tested])
    wilcoxon = holm([found[place].wilcoxon_p for place in tested])
    for place, t_p, w_p in zip(tested, student, wilcoxon, strict=True):
        found[place] = replace(found[place], p_value=t_p, wilcoxon_p=w_p)
    return found


def _comparison(
    a: Audit, b: Audit, ours: list[Metamer], theirs: list[Metamer], score: str
) -> Comparison:
    matched = [{m.seed: m for m in side if m.matched} for side in (ours, theirs)]
    seeds = [seed for seed in matched[0] if seed in matched[1]]
    values = [[side[seed].scores[score] for seed in seeds] for side in matched]
    errors = [[side[seed].fvu for seed in seeds] for side in matched]
    untested = _untested(values, errors)
    if ours[0].search != theirs[0].search:
        untested = f"they were searched by {ours[0].search} and {theirs[0].search}"
    test = None if untested else paired_test(values[0], values[1])
    means = [statistics.fmean(side) if side else math.nan for side in values]
    return Comparison(
        *(f"{each.question['model']} on {each.question['dataset']}" for each in (a, b)),
        layer=ours[0].layer,
        vary=ours[0].vary,
        score=score,
        pairs=len(seeds),
        a_mean=means[0],
        b_mean=means[1],
        a_error=_geometric(errors[0]),
        b_error=_geometric(errors[1]),
        p_value=test.t_p if test else math.nan,
        wilcoxon_p=test.wilcoxon_p if test else math.nan,
        effect_size=test.effect_size if test else math.nan,
        untested=untested,
    )


def _untested(values: list[list[float]], errors: list[list[float]]) -> str:
    if len(values[0]) < 2:
        return f"{len(values[0])} seeds at which both matched, two are needed"
    if not all(math.isfinite(value) for side in values for value in side):
        return "the score is not defined in every run"
    if not equal_error(errors[0], errors[1]):
        a, b = (_geometric(side) for side in errors)
        return f"the errors {a:.1e} and {b:.1e} differ by more than a factor of two"
    return ""


def _geometric(errors: list[float]) -> float:
    if not errors:
        return math.nan
    return math.exp(statistics.fmean(math.log(max(error, 1e-300)) for error in errors))
