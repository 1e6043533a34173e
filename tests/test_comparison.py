"""compare(): tests at equal activation error only, seed by seed."""

import dataclasses
import functools
import math

import pytest
import scipy.stats
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.measure import Outcome


@pytest.fixture(scope="module")
def audit(small: Data) -> gm.Audit:
    model = gm.zoo.GCN(small.num_features, 3, hidden=8)
    search = gm.Swap(stop_at_tol=True)
    return gm.audit(model, small, layers=["layer1"], search=search, seeds=4, tol=0.1, name="A")


def with_scores(audit: gm.Audit, name: str, values, errors=(0.05,) * 4, matched=(True,) * 4):
    """The same runs with made-up figures."""
    metamers = [
        dataclasses.replace(
            m,
            scores=m.scores | {"feature_similarity": value},
            fvu=error,
            outcome=Outcome.MATCHED if good else Outcome.NOT_MATCHED,
        )
        for m, value, error, good in zip(audit.metamers, values, errors, matched, strict=True)
    ]
    return gm.Audit(audit.question | {"model": name}, {}, metamers)


A, B, C = (0.9, 0.8, 0.95, 0.85), (0.7, 0.7, 0.65, 0.8), (0.3, 0.1, 0.4, 0.25)


def test_known_figures(audit):
    (found,) = gm.compare([with_scores(audit, "A", A), with_scores(audit, "B", B)])
    expected = scipy.stats.ttest_rel(A, B)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(A, B).pvalue)
    assert (found.pairs, found.layer, found.untested) == (4, "layer1", "")
    assert (found.a_mean, found.b_mean) == pytest.approx((0.875, 0.7125))
    assert found.effect_size == pytest.approx(1.066, abs=1e-3)  # d_z 1.4656, less 3 / 11 of it
    assert found.row()["a"] == "A on data"


def test_several_are_corrected_together(audit):
    sides = {"A": A, "B": B, "C": C}
    found = gm.compare([with_scores(audit, name, side) for name, side in sides.items()])
    raw = [scipy.stats.ttest_rel(sides[f.a[0]], sides[f.b[0]]).pvalue for f in found]
    assert [f.p_value for f in found] == pytest.approx(gm.measure.statistics.holm(raw))
    assert all(f.p_value >= p for f, p in zip(found, raw, strict=True))


def test_what_is_not_tested_is_said(audit):
    a, b = with_scores(audit, "A", A), with_scores(audit, "B", B)
    other = [dataclasses.replace(m, search="Adam") for m in b.metamers]
    cases = {
        "errors": with_scores(audit, "B", B, errors=(0.001,) * 4),
        "1 seeds": with_scores(audit, "B", B, matched=(True, False, False, False)),
        "0 seeds": with_scores(audit, "B", B, matched=(False,) * 4),
        "not defined": with_scores(audit, "B", (math.nan, *B[1:])),
        "Swap(stop_at_tol=True) and Adam": gm.Audit(b.question, {}, other),
    }
    for word, each in cases.items():
        (found,) = gm.compare([a, each])
        assert math.isnan(found.p_value)
        assert word in found.untested


def test_runs_that_did_not_match_are_left_out(audit):
    a = with_scores(audit, "A", A, matched=(True, True, True, False))
    b = with_scores(audit, "B", B, matched=(True, False, True, True))
    (found,) = gm.compare([a, b])
    assert found.pairs == 2
    assert found.a_mean == pytest.approx((0.9 + 0.95) / 2)
    same = dataclasses.replace(b.metamers[0], outcome=gm.Outcome.TRIVIAL)
    assert gm.compare([a, gm.Audit(b.question, {}, [same, *b.metamers[1:]])])[0].pairs == 1


def test_several_ways_to_vary(small):
    """Of each score those ways that have it."""
    model, search = gm.zoo.GCN(small.num_features, 3, hidden=8), gm.Adam(steps=3)
    ways = [gm.BinaryFeatures(), {"edge_weight": gm.EdgeWeights()}]
    of_model = functools.partial(gm.audit, model, small, layers=["layer1"], vary=ways, seeds=1)
    audits = [of_model(search=search) for _ in "ab"]
    (found,) = gm.compare(audits)
    assert (found.score, found.vary) == ("feature_similarity", "BinaryFeatures")
    (found,) = gm.compare(audits, score="weight_similarity")
    assert found.vary == "EdgeWeights"
    both = gm.compare(audits, score="prediction_match")
    assert [each.vary for each in both] == ["BinaryFeatures", "EdgeWeights"]


def test_bad_input(audit):
    a = with_scores(audit, "A", A)
    with pytest.raises(gm.InputError, match="compare needs at least two audits; got 1"):
        gm.compare([a])
    with pytest.raises(gm.InputError, match="score='mine' is not one of the scores; choose among"):
        gm.compare([a, a], score="mine")
    other = [dataclasses.replace(m, layer="conv9") for m in audit.metamers]
    with pytest.raises(gm.InputError, match="these share none: 'layer1', 'conv9'"):
        gm.compare([a, gm.Audit(audit.question, {}, other)])
