"""The posterior of csbm against Bayes' rule, written out over whole graphs."""

import itertools
import re

import pytest
import torch
from torch import Tensor

import graph_metamers as gm
from graph_metamers.datasets import ContextualSBM

TINY = {"nodes": 6, "classes": 3, "features": 6, "degree": 2.0, "density": 0.3, "signal": 2.5}


def words_by_hand(model: ContextualSBM, c: int, words: list[int]) -> float:
    """P(words | class c) from the parameters: a word of the own topic is `signal` times likelier.

    With as many words of each topic, the mean (signal · other + (classes − 1) · other) / classes
    is the density.
    """
    other = model.density * model.classes / (model.signal + model.classes - 1)
    likelihood = 1.0
    for j, word in enumerate(words):
        topic = j // (model.features // model.classes)
        p = other * (model.signal if topic == c else 1)
        likelihood *= p if word else 1 - p
    return likelihood


def edges_by_hand(model: ContextualSBM, y: list[int], edges: set[frozenset[int]]) -> float:
    """P(all edges | all classes): `homophily` of the expected edges lie within classes."""
    size = model.nodes // model.classes
    within_pairs = model.classes * size * (size - 1) / 2
    pairs = model.nodes * (model.nodes - 1) / 2
    expected = model.nodes * model.degree / 2
    within = model.homophily * expected / within_pairs
    between = (1 - model.homophily) * expected / (pairs - within_pairs)
    likelihood = 1.0
    for u, v in itertools.combinations(range(model.nodes), 2):
        q = within if y[u] == y[v] else between
        likelihood *= q if frozenset((u, v)) in edges else 1 - q
    return likelihood


def by_hand(model: ContextualSBM, x: Tensor, edge_index: Tensor | None, y: Tensor) -> Tensor:
    rows = []
    for v in range(model.nodes):
        row = []
        for c in range(model.classes):
            likelihood = words_by_hand(model, c, x[v].int().tolist())
            if edge_index is not None:
                supposed = y.tolist()
                supposed[v] = c
                edges = {frozenset(pair) for pair in edge_index.T.tolist()}
                likelihood *= edges_by_hand(model, supposed, edges)
            row.append(likelihood)
        rows.append([value / sum(row) for value in row])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("structure", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"homophily": 0.4},
        {"homophily": 0.3, "signal": 0.5},
        {"homophily": 0.35, "nodes": 8, "classes": 2, "features": 10},
        {"homophily": 0.2, "density": 0.05, "degree": 0.5},
    ],
    ids=str,
)
def test_it_is_bayes_rule(changes, structure):
    model = ContextualSBM(**(TINY | changes))
    for seed in range(3):
        data = model.sample(seed)
        known = (data.edge_index, data.y) if structure else (None, None)
        posterior = model.posterior(data.x, *known)
        assert posterior.dtype == torch.float64
        # word probabilities are float32
        torch.testing.assert_close(
            posterior, by_hand(model, data.x, known[0], data.y), rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(posterior.sum(1), torch.ones(len(data.y), dtype=torch.float64))


def test_the_own_label_is_not_looked_at():
    model = ContextualSBM(nodes=30, features=30, density=0.1)
    data = model.sample()
    posterior = model.posterior(data.x, data.edge_index, data.y)
    for v in (0, 7, 29):
        labels = data.y.clone()
        labels[v] = (labels[v] + 1) % 3
        other = model.posterior(data.x, data.edge_index, labels)
        torch.testing.assert_close(other[v], posterior[v])
        assert not torch.allclose(other, posterior)


def test_without_signal_the_features_say_nothing():
    model = ContextualSBM(nodes=60, features=40, density=0.1, signal=1.0)
    data = model.sample()
    uniform = torch.full((60, 3), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(model.posterior(data.x), uniform)
    assert not torch.allclose(model.posterior(data.x, data.edge_index, data.y), uniform)


def test_without_homophily_the_structure_says_nothing():
    # 3 · 20 · 19 / 2 = 570 of 60 · 59 / 2 = 1770 pairs are within a class
    model = ContextualSBM(nodes=60, features=40, density=0.1, homophily=570 / 1770)
    within, between = model.edge_probabilities
    assert within == pytest.approx(between)
    data = model.sample()
    features = model.posterior(data.x)
    torch.testing.assert_close(model.posterior(data.x, data.edge_index, data.y), features)
    assert features.std() > 0.1


@pytest.mark.parametrize("homophily", [0.95, 0.0])
def test_strong_structure_gives_the_labels(homophily):
    """Of 20 neighbours nearly all, or none, are of the own class."""
    model = ContextualSBM(
        nodes=240, features=30, density=0.1, signal=1.0, degree=20.0, homophily=homophily
    )
    data = model.sample()
    posterior = model.posterior(data.x, data.edge_index, data.y)
    assert float((posterior.argmax(1) == data.y).double().mean()) > 0.97
    assert float(posterior.gather(1, data.y[:, None]).mean()) > 0.95
    assert bool(posterior.isfinite().all())


def test_the_posterior_is_calibrated_and_structure_helps():
    """How often the likeliest class is right is what the posterior says, give or take 4 σ."""
    model = ContextualSBM(nodes=900, features=100, density=0.05, signal=3.0, degree=4.0)
    data = model.sample()
    right = {}
    for name, known in {"x": (), "both": (data.edge_index, data.y)}.items():
        confidence, chosen = model.posterior(data.x, *known).max(1)
        right[name] = float((chosen == data.y).double().mean())
        deviation = float((confidence * (1 - confidence)).sum().sqrt()) / len(data.y)
        assert abs(right[name] - float(confidence.mean())) < 4 * deviation
    assert 1 / 3 < right["x"] < right["both"]


def test_a_word_that_one_class_always_has():
    model = ContextualSBM(
        nodes=6, features=3, degree=1.0, density=0.5, signal=4.0
    )  # 4 · 0.5 · 3 / 6 = 1
    posterior = model.posterior(torch.eye(3)[[0, 0, 1, 1, 2, 2]])
    assert bool((posterior.argmax(1) == torch.tensor([0, 0, 1, 1, 2, 2])).all())
    assert bool(posterior.isfinite().all())
    assert bool(model.posterior(torch.zeros(6, 3)).isfinite().all())  # that cannot be


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"edge_index": None}, "posterior needs edge_index and labels together, or neither"),
        ({"labels": None}, "posterior needs edge_index and labels together, or neither"),
        ({"x": torch.zeros(60, 39)}, "x must be binary [60, 40] for this model; got [60, 39]"),
        (
            {"x": torch.zeros(59, 40), "edge_index": None, "labels": None},
            "x must be binary [60, 40] for this model; got [59, 40]",
        ),
        ({"x": torch.full((60, 40), 0.5)}, "x must be binary"),
        ({"x": torch.full((60, 40), torch.nan)}, "x must be binary"),
        ({"labels": torch.full((60,), 3)}, "labels must be a class 0 … 2 for each of the 60"),
        ({"labels": torch.full((60,), -1)}, "labels must be a class 0 … 2 for each of the 60"),
        ({"edge_index": torch.tensor([[0], [60]])}, "edge_index must number nodes 0 … 59"),
        ({"edge_index": torch.tensor([[-1], [0]])}, "edge_index must number nodes 0 … 59"),
        ({"edge_index": torch.tensor([[0], [1]])}, "edge_index must be undirected"),
        ({"edge_index": torch.tensor([[0, 1, 2], [1, 0, 2]])}, "without self-loops"),
        ({"edge_index": torch.tensor([[0, 1, 0, 1], [1, 0, 1, 0]])}, "repeated edges"),
    ],
    ids=[f"{i}" for i in range(13)],
)
def test_what_does_not_fit_is_told_in_a_sentence(given, sentence, small):
    model = ContextualSBM(nodes=60, features=40, density=0.1)
    call = {"x": small.x, "edge_index": small.edge_index, "labels": small.y} | given
    with pytest.raises(gm.InputError, match=re.escape(sentence)) as told:
        model.posterior(**call)
    assert "\n" not in str(told.value)
