"""Scores: numbers worked out by hand, relations between them, and SciPy as another opinion."""

import math

import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure.agreement import activation_correlation, activation_error, consistency
from graph_metamers.measure.features import feature_similarity, node_feature_similarity
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=40)
SCORES = [activation_error, activation_correlation, feature_similarity]


@st.composite
def pairs(draw) -> tuple[Tensor, Tensor]:
    """Two random matrices of one shape, float32 or float64."""
    shape = draw(st.integers(2, 12)), draw(st.integers(2, 12))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    a, b = torch.randn(2, *shape, generator=generator, dtype=dtype)
    return a, b


# --------------------------------------------------------------------------- worked by hand


def test_activation_error_by_hand():
    h = torch.tensor([[1.0, 2.0], [2.0, 4.0]])  # ‖h‖² = 1 + 4 + 4 + 16 = 25
    other = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # ‖h' − h‖² = 4 + 1 = 5
    assert activation_error(h, other) == 5 / 25
    assert activation_error(h, 0 * h) == 1  # a silent metamer is off by all there is
    assert activation_error(0 * h, h) == math.inf
    assert math.isnan(activation_error(0 * h, 0 * h))


@pytest.mark.parametrize(
    ("a", "b", "r"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 0.0, -1.0], [1.0, -2.0, 1.0], 0.0),
        ([0.0, 0.0, 3.0], [0.0, 3.0, 3.0], 0.5),  # deviations (−1, −1, 2) and (−2, 1, 1)
        ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0], math.nan),
    ],
)
def test_correlation_by_hand(a, b, r):
    found = activation_correlation(torch.tensor(a), torch.tensor(b))
    assert found == pytest.approx(r, abs=1e-15, nan_ok=True)


def test_feature_similarity_by_hand():
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert feature_similarity(x, y) == pytest.approx(2 / 3, rel=1e-15)  # 2 in common, 3 and 3
    assert feature_similarity(x, -2 * x) == pytest.approx(-1, rel=1e-15)
    assert math.isnan(feature_similarity(x, 0 * x))
    by_node = [1 / math.sqrt(2), 1 / math.sqrt(2), math.nan]
    assert node_feature_similarity(x, y).tolist() == pytest.approx(by_node, rel=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("similarity", "match", "value"),
    [(1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0.5, 0.3, 0.5), (0.114, 0.964, 0.141792)],
)
def test_consistency_by_hand(similarity, match, value):
    # The last line is Table 1's Cora and GCN: 11.4 and 96.4 percent give 14.1 (there: 14.1).
    assert consistency(float(similarity), float(match)) == pytest.approx(value, abs=1e-12)


# -------------------------------------------------------------------------------- relations


@quick
@given(pairs(), st.randoms(use_true_random=False))
def test_relations(pair, random):
    a, b = pair
    assert [score(a, a) for score in SCORES] == pytest.approx([0, 1, 1], rel=1e-12)
    order = list(range(len(a)))
    random.shuffle(order)
    for score in SCORES:
        turned = score(a[order], b[order])
        assert turned == pytest.approx(score(a, b), rel=1e-12, abs=1e-12)
    turned = node_feature_similarity(a[order], b[order])
    torch.testing.assert_close(turned, node_feature_similarity(a, b)[order])


@quick
@given(pairs())
def test_scores_are_scipys(pair):
    x, y = (t.double().numpy() for t in pair)
    cosine = 1 - scipy.spatial.distance.cosine(x.ravel(), y.ravel())
    assert feature_similarity(*pair) == pytest.approx(cosine, abs=1e-12)
    rows = [1 - scipy.spatial.distance.cosine(a, b) for a, b in zip(x, y, strict=True)]
    assert node_feature_similarity(*pair).tolist() == pytest.approx(rows, abs=1e-12)
    pearson = scipy.stats.pearsonr(x.ravel(), y.ravel()).statistic
    assert activation_correlation(*pair) == pytest.approx(pearson, abs=1e-12)


@pytest.mark.parametrize("measure", [*SCORES, node_feature_similarity])
def test_other_shapes_are_refused(measure):
    """Broadcasting would give a number that means nothing."""
    with unchecked_types(), pytest.raises(gm.InputError, match=r"same shape; got \[4, 3\] and"):
        measure(torch.ones(4, 3), torch.ones(1, 3))
