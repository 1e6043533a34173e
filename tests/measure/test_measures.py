"""Scores: numbers worked out by hand, relations between them, and SciPy as another opinion."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure import (
    activation_correlation,
    activation_error,
    consistency,
    feature_similarity,
    node_activation_error,
    node_feature_similarity,
    predicted_class,
    prediction_match,
)
from graph_metamers.measure.features import _cosine
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=50)

MATRIX_SCORES = [activation_error, activation_correlation, feature_similarity, prediction_match]


@st.composite
def pairs(draw, least_rows: int = 1, least_columns: int = 1) -> tuple[Tensor, Tensor]:
    """Two random matrices of one shape, float32 or float64."""
    rows, columns = draw(st.integers(least_rows, 12)), draw(st.integers(least_columns, 12))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    a, b = torch.randn(2, rows, columns, generator=generator, dtype=dtype)
    return a, b


# --------------------------------------------------------------------------- worked by hand


def test_activation_error_by_hand():
    h = torch.tensor([[1.0, 2.0], [2.0, 4.0]])  # ‖h‖² = 1 + 4 + 4 + 16 = 25
    other = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # ‖h' − h‖² = 4 + 1 = 5
    assert activation_error(h, other) == 5 / 25
    # By node: 4 and 1, over the mean squared row norm 25/2.
    assert node_activation_error(h, other).tolist() == [4 / 12.5, 1 / 12.5]


def test_activation_error_is_relative_to_the_reference_alone():
    h, other = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0])
    assert activation_error(h, other) == 1.0  # a silent metamer is off by all there is
    assert activation_error(other, h) == math.inf
    assert math.isnan(activation_error(other, other))


def test_a_silent_node_has_a_finite_error():
    h, other = torch.tensor([[2.0], [0.0]]), torch.tensor([[2.0], [1.0]])
    assert node_activation_error(h, other).tolist() == [0.0, 0.5]  # 1 / ((4 + 0) / 2)


@pytest.mark.parametrize(
    ("a", "b", "r"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 0.0, -1.0], [1.0, -2.0, 1.0], 0.0),
        ([0.0, 0.0, 3.0], [0.0, 3.0, 3.0], 0.5),  # deviations (−1, −1, 2) and (−2, 1, 1)
    ],
)
def test_correlation_by_hand(a, b, r):
    assert activation_correlation(torch.tensor(a), torch.tensor(b)) == pytest.approx(r, abs=1e-15)


def test_correlation_of_a_constant_is_nan():
    assert math.isnan(activation_correlation(torch.ones(3), torch.tensor([1.0, 2.0, 3.0])))


def test_feature_similarity_by_hand():
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert feature_similarity(x, y) == pytest.approx(2 / 3, rel=1e-15)  # 2 in common, 3 and 3
    expected = [1 / math.sqrt(2), 1 / math.sqrt(2)]
    assert node_feature_similarity(x, y).tolist() == pytest.approx(expected, rel=1e-15)
    assert feature_similarity(x, -2 * x) == pytest.approx(-1, rel=1e-15)
    assert math.isnan(feature_similarity(x, torch.zeros(2, 3)))


def test_a_node_without_features_has_no_similarity():
    similarity = node_feature_similarity(torch.tensor([[1.0], [0.0]]), torch.ones(2, 1))
    assert similarity[0] == 1
    assert similarity[1].isnan()


@pytest.mark.parametrize(
    ("output", "classes"),
    [
        ([[0.1, 0.7, 0.2], [9.0, -1.0, 3.0]], [1, 0]),
        ([[-3.0], [0.2], [7.0]], [0, 1, 1]),  # a logit
        ([[0.1], [0.6], [0.5]], [0, 1, 0]),  # a probability
        ([0.1, 0.6, 0.5], [0, 1, 0]),
        ([-0.1, 0.6, 0.5], [0, 1, 1]),
    ],
)
def test_predicted_class_by_hand(output, classes):
    assert predicted_class(torch.tensor(output)).tolist() == classes


def test_prediction_match_by_hand():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    b = torch.tensor([[0.6, 0.4], [0.4, 0.6], [-5.0, -4.0], [2.0, 3.0]])
    assert prediction_match(a, b) == 0.75


def test_a_single_column_is_read_the_same_way_on_both_graphs():
    """0.2 is the same logit on both, though all of the second output could be probabilities."""
    assert prediction_match(torch.tensor([[0.2], [-3.0]]), torch.tensor([[0.2], [0.7]])) == 0.5
    assert prediction_match(torch.tensor([[0.2], [0.4]]), torch.tensor([[0.2], [0.7]])) == 0.5


@pytest.mark.parametrize(
    ("similarity", "match", "value"),
    [(1, 1, 1), (0, 0, 1), (1, 0, 0), (0, 1, 0), (0.5, 0.3, 0.5), (0.114, 0.964, 0.141792)],
)
def test_consistency_by_hand(similarity, match, value):
    # The last line is Table 1's Cora and GCN: 11.4 and 96.4 percent give 14.1 (there: 14.1).
    assert consistency(float(similarity), float(match)) == pytest.approx(value, abs=1e-12)


# -------------------------------------------------------------------------------- relations


@quick
@given(pairs())
def test_activation_error_is_the_mean_over_the_nodes(pair):
    h, other = pair
    assert float(node_activation_error(h, other).mean()) == pytest.approx(
        activation_error(h, other), rel=1e-12
    )


@quick
@given(pairs(least_rows=2))
def test_identical_inputs_agree_perfectly(pair):
    x, _ = pair
    assert activation_error(x, x) == 0
    assert activation_correlation(x, x) == pytest.approx(1, rel=1e-12)
    assert feature_similarity(x, x) == pytest.approx(1, rel=1e-12)
    assert node_feature_similarity(x, x).tolist() == pytest.approx([1.0] * len(x), rel=1e-12)
    assert prediction_match(x, x) == 1


@quick
@given(pairs(least_rows=2, least_columns=2), st.randoms(use_true_random=False))
@pytest.mark.parametrize("score", MATRIX_SCORES)
def test_the_order_of_the_nodes_does_not_matter(score, pair, random):
    order = list(range(len(pair[0])))
    random.shuffle(order)
    a, b = pair
    assert score(a[order], b[order]) == pytest.approx(score(a, b), rel=1e-12, abs=1e-12)


@quick
@given(pairs(), st.randoms(use_true_random=False))
@pytest.mark.parametrize("score", [node_activation_error, node_feature_similarity])
def test_node_scores_follow_their_nodes(score, pair, random):
    order = list(range(len(pair[0])))
    random.shuffle(order)
    a, b = pair
    torch.testing.assert_close(score(a[order], b[order]), score(a, b)[order], rtol=1e-12, atol=0)


@quick
@given(pairs(), st.floats(0.01, 100))
def test_similarities_are_symmetric_and_free_of_scale(pair, scale):
    x, y = pair
    assert feature_similarity(x, y) == pytest.approx(feature_similarity(y, x), rel=1e-12)
    scaled = feature_similarity(x.double() * scale, y)
    assert scaled == pytest.approx(feature_similarity(x, y), rel=1e-9, abs=1e-12)
    assert abs(feature_similarity(x, y)) <= 1 + 1e-12


@quick
@given(pairs(least_columns=2), st.floats(0.01, 100), st.floats(-5, 5))
def test_correlation_is_free_of_scale_and_shift(pair, scale, shift):
    h, other = (t.double() for t in pair)
    expected = activation_correlation(h, other)
    assert activation_correlation(h, scale * other + shift) == pytest.approx(expected, abs=1e-9)
    assert -1 <= expected <= 1


@quick
@given(st.floats(0, 1), st.floats(0, 1))
def test_consistency_is_its_formula_and_its_slope(similarity, match):
    value = consistency(similarity, match)
    agreeing = similarity * match
    differing = 1 - similarity - match + similarity * match
    assert value == pytest.approx(agreeing + differing, abs=1e-12)
    assert -1e-12 <= value <= 1 + 1e-12
    slope = consistency(similarity, 1.0) - consistency(similarity, 0.0)
    assert slope == pytest.approx(2 * similarity - 1, abs=1e-12)


# ----------------------------------------------------------------------- independent references


@quick
@given(pairs(least_columns=2))
def test_feature_similarity_is_scipys_cosine(pair):
    x, y = (t.double().numpy() for t in pair)
    expected = 1 - scipy.spatial.distance.cosine(x.ravel(), y.ravel())
    assert feature_similarity(*pair) == pytest.approx(expected, abs=1e-12)
    rows = [1 - scipy.spatial.distance.cosine(a, b) for a, b in zip(x, y, strict=True)]
    assert node_feature_similarity(*pair).tolist() == pytest.approx(rows, abs=1e-12)


@quick
@given(pairs(least_rows=2, least_columns=2))
def test_correlation_is_scipys_pearsonr(pair):
    x, y = (t.double().numpy().ravel() for t in pair)
    expected = scipy.stats.pearsonr(x, y).statistic
    assert activation_correlation(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("entries", [1, 7, 60, 1000])
def test_blocks_change_nothing(entries, dtype):
    """Whatever the block, sums are in float64: rounding of 420 terms stays below 1e-13."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 42, 10, generator=generator, dtype=dtype)
    a, b = x.double().numpy(), y.double().numpy()
    rows = (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    np.testing.assert_allclose(_cosine(x, y, entries).numpy(), rows, rtol=1e-12, atol=1e-14)
    whole = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    flat = _cosine(x.reshape(1, -1), y.reshape(1, -1), entries)
    np.testing.assert_allclose(flat.numpy(), [whole], rtol=1e-12)


def test_a_matrix_larger_than_a_block():
    """4.5 million entries in float32, of which a sum in float32 would get only 3 or 4 digits."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(3000, 1500, generator=generator) < 0.01).float() + 1
    y = torch.ones_like(x)
    ones = int((x == 2).sum())
    total = x.numel()
    exact = (total + ones) / math.sqrt((total + 3 * ones) * total)
    assert feature_similarity(x, y) == pytest.approx(exact, rel=1e-12)
    assert node_feature_similarity(x, y).shape == (3000,)
    assert float(node_feature_similarity(x, y)[17]) == pytest.approx(
        feature_similarity(x[17:18], y[17:18]), rel=1e-12
    )


@pytest.mark.parametrize(
    "measure",
    [
        gm.measure.activation_error,
        gm.measure.node_activation_error,
        gm.measure.activation_correlation,
        gm.measure.prediction_match,
        gm.measure.feature_similarity,
        gm.measure.node_feature_similarity,
    ],
)
def test_other_shapes_are_refused(measure):
    """Broadcasting would give a number that means nothing."""
    with (
        unchecked_types(),
        pytest.raises(gm.InputError, match=r"same shape; got \[4, 3\] and \[1, 3\]"),
    ):
        measure(torch.ones(4, 3), torch.ones(1, 3))
