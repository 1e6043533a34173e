"""Distances of graphs: numbers worked out by hand, ranges, symmetries, and SciPy's opinion."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.measure import distances
from graph_metamers.measure.distances import DISTANCES, Distance, register
from graph_metamers.measure.spectrum import spectral_distance
from graph_metamers.measure.structure import degree_distance, edge_overlap, structure_similarity
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=25)
NAMES = list(DISTANCES)
OF_FEATURES = [name for name, each in DISTANCES.items() if each.kind == "features"]
OF_STRUCTURE = [name for name, each in DISTANCES.items() if each.kind == "structure"]
BINARY = ["feature_jaccard", "feature_hamming"]
SYMMETRIC = [
    *("feature_similarity", *BINARY, "node_similarity_low", "node_similarity_median"),
    *("node_similarity_high", "structure_similarity", "edge_jaccard", "weight_similarity"),
]


def distance(name: str, reference: Data, graph: Data) -> float:
    """What the table's function gives of the values of its kind."""
    each = DISTANCES[name]
    if each.kind == "structure":
        return each.function(reference.edge_index, graph.edge_index, len(reference.x))
    key = "x" if each.kind == "features" else "edge_weight"
    return each.function(reference[key], graph[key])


def of_features(name: str, x: Tensor, y: Tensor) -> float:
    return DISTANCES[name].function(x, y)


@st.composite
def graphs(draw, binary: bool = True) -> tuple[Data, Data]:
    """Two random graphs over the same nodes, with features of both signs if not binary."""
    nodes, columns = draw(st.integers(2, 12)), draw(st.integers(1, 12))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    found: list[Data] = []
    for _ in range(2):
        x = torch.randn(nodes, columns, generator=generator, dtype=dtype)
        links = torch.rand(nodes, nodes, generator=generator).triu(1) < 0.5
        links[0, 1] = True
        edge_index = (links | links.t()).nonzero().t()
        found.append(Data(x=(x > 0).to(dtype) if binary else x, edge_index=edge_index))
        found[-1].edge_weight = torch.randn(nodes, generator=generator, dtype=dtype)
    return found[0], found[1]


# ------------------------------------------------------------------------------ worked by hand

X = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
Y = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])
# Column means 1, 1/3, 1/3, 0 of X; the products by column are 0, −1/3, 2/3 and 0.
# X − 1c: columns 0; (2, −1, −1)/3; (−1, 2, −1)/3; 0. Squares 0, 6/9, 6/9, 0.
# Y − 1c: columns (0, −1, 0); (−1, −1, 2)/3; (−1, 2, −1)/3; (0, 1, 0). Squares 1, 6/9, 6/9, 1.
CENTRED = ((-2 + 1 - 2) / 9 + 6 / 9) / math.sqrt((12 / 9) * (2 + 12 / 9))
# Features in 3, 1, 1 and 0 of 3 nodes: f = 1, 1/2, 1/2, 1/4, in units of log 2 0, 1, 1, 2.
WEIGHTED = 1 / math.sqrt((1 + 1) * (1 + 2 + 1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_similarity", 3 / 5),  # 5 and 5 ones, 3 in common
        ("centred_feature_similarity", CENTRED),
        ("weighted_feature_similarity", WEIGHTED),
        ("feature_distance", math.sqrt(4 / 5)),
        ("feature_jaccard", 3 / 7),
        ("feature_hamming", 4 / 12),
        ("node_similarity_median", 1 / math.sqrt(2)),  # √½, ½, √½
        ("node_similarity_low", 0.5 + 0.1 * (math.sqrt(0.5) - 0.5)),
        ("node_similarity_high", 1 / math.sqrt(2)),
    ],
)
def test_features_by_hand(name, value):
    assert of_features(name, X, Y) == pytest.approx(value, rel=1e-12)


def test_structure_is_that_of_the_measures():
    a, b = (gm.datasets.csbm(nodes=50, features=8, seed=seed) for seed in (0, 1))
    edges = a.edge_index, b.edge_index
    expected = edge_overlap(*edges, 50) | {
        "structure_similarity": structure_similarity(*edges, 50),
        "degree_distance": degree_distance(*edges, 50),
        "spectral_distance": spectral_distance(*edges, 50),
    }
    assert {name: distance(name, a, b) for name in OF_STRUCTURE} == expected


def test_an_unrelated_start_is_at_zero_once_centred():
    """Same column means, nothing else: S_feat is far from 0, the centred one within its noise."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(200, generator=generator) * 0.3
    x, y = (torch.rand(2, 400, 200, generator=generator) < share).float()
    assert of_features("feature_similarity", x, y) > 0.15
    assert abs(of_features("centred_feature_similarity", x, y)) < 4 / math.sqrt(400 * 200 / 2)


# ------------------------------------------------------------------------------------ relations


@quick
@given(graphs(), st.randoms(use_true_random=False))
@pytest.mark.parametrize("name", NAMES)
def test_ranges_symmetries_and_names_of_nodes(name, pair, random):
    each, value = DISTANCES[name], distance(name, *pair)
    assert math.isnan(value) or each.low - 1e-9 <= value <= each.high + 1e-9
    itself = distance(name, pair[0], pair[0])
    best = each.high if each.alike == "high" else each.low
    assert math.isnan(itself) or itself == pytest.approx(best, abs=1e-6)
    if name in SYMMETRIC:
        turned = distance(name, *reversed(pair))
        assert turned == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True)
    order = list(range(len(pair[0].x)))
    random.shuffle(order)
    place = torch.tensor(order).argsort()
    turned = [
        Data(x=g.x[order], edge_index=place[g.edge_index], edge_weight=g.edge_weight) for g in pair
    ]
    assert distance(name, *turned) == pytest.approx(value, abs=1e-5, nan_ok=True)


@quick
@given(graphs(binary=False), st.floats(0.1, 10), st.floats(-100, 100))
@pytest.mark.parametrize("name", [name for name in OF_FEATURES if name not in BINARY])
def test_features_are_free_of_units(name, pair, scale, shift):
    x, y = (g.x.double() for g in pair)
    expected = of_features(name, x, y)
    found = of_features(name, scale * x, scale * y)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
    if name == "centred_feature_similarity":
        row = shift * torch.linspace(-1, 1, x.shape[1], dtype=torch.float64)
        assert of_features(name, x + row, y + row) == pytest.approx(expected, abs=1e-8)


# ------------------------------------------------------------------------ independent references


@quick
@given(graphs())
def test_binary_distances_are_scipys(pair):
    x, y = (g.x.numpy().astype(bool).ravel() for g in pair)
    hamming = scipy.spatial.distance.hamming(x, y)
    assert distance("feature_hamming", *pair) == pytest.approx(hamming, rel=1e-12)
    if (x | y).any():
        jaccard = 1 - scipy.spatial.distance.jaccard(x, y)
        assert distance("feature_jaccard", *pair) == pytest.approx(jaccard, rel=1e-12)
    a, b = (g.x.double().numpy() for g in pair)
    weights = np.tile(-np.log((1 + (a != 0).sum(0)) / (1 + len(a))), len(a))
    expected = math.nan
    if weights @ a.ravel() and weights @ b.ravel():
        expected = 1 - scipy.spatial.distance.cosine(a.ravel(), b.ravel(), w=weights)
    found = distance("weighted_feature_similarity", *pair)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@quick
@given(graphs(binary=False))
def test_cosines_and_quantiles_are_numpys(pair):
    x, y = (g.x.double().numpy() for g in pair)
    centred = 1 - scipy.spatial.distance.cosine((x - x.mean(0)).ravel(), (y - x.mean(0)).ravel())
    assert distance("centred_feature_similarity", *pair) == pytest.approx(centred, abs=1e-9)
    by_node = [1 - scipy.spatial.distance.cosine(a, b) for a, b in zip(x, y, strict=True)]
    for name, share in (("low", 0.05), ("median", 0.5), ("high", 0.95)):
        expected = np.quantile(by_node, share)
        assert distance(f"node_similarity_{name}", *pair) == pytest.approx(expected, abs=1e-9)
    moved = np.linalg.norm(y - x) / np.linalg.norm(x)
    assert distance("feature_distance", *pair) == pytest.approx(moved, rel=1e-12)


# ------------------------------------------------------------------------------------ undefined


def test_where_a_distance_is_not_defined():
    real, silent = torch.full((3, 4), 0.5), torch.zeros(3, 4)
    for name in BINARY:  # ones are not counted in continuous features
        assert math.isnan(of_features(name, X, real))
        assert math.isnan(of_features(name, real, X))
    assert math.isnan(of_features("feature_jaccard", silent, silent))
    assert of_features("feature_hamming", silent, silent) == 0
    assert of_features("feature_jaccard", X, silent) == 0
    assert of_features("feature_distance", silent, X) == math.inf
    undefined = [name for name in OF_FEATURES if math.isnan(of_features(name, silent, silent))]
    assert undefined == [name for name in OF_FEATURES if name != "feature_hamming"]
    # Where all nodes have all features none is rare.
    assert math.isnan(of_features("weighted_feature_similarity", real, real))


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_nodes_have_no_centred_cosine(value, dtype):
    """Exactly, though the sum of 0.1 over the nodes is not a multiple of it."""
    same = torch.full((1000, 3), value, dtype=dtype)
    other = torch.rand(1000, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
    assert math.isnan(of_features("centred_feature_similarity", same, other))


def test_large_spectra_are_left_out(monkeypatch):
    a, b = (gm.datasets.csbm(nodes=50, features=8, seed=seed) for seed in (0, 1))
    assert distance("spectral_distance", a, b) > 0
    monkeypatch.setattr(distances, "SPECTRUM_NODES", 49)
    assert math.isnan(distance("spectral_distance", a, b))


# -------------------------------------------------------------------------------- large matrices


def test_sums_of_millions_are_exact():
    """4.5 million ones, of which a sum in float32 would get only 7 digits at best."""
    x = torch.ones(3000, 1500)
    y = x.clone()
    y[17, 3] = 0
    total = x.numel()
    assert of_features("feature_jaccard", x, y) == (total - 1) / total
    assert of_features("feature_hamming", x, y) == 1 / total
    moved = math.sqrt(1 / total)
    assert of_features("feature_distance", x, y) == pytest.approx(moved, rel=1e-12)


# ------------------------------------------------------------------------------------- the table


def test_the_table_is_complete():
    for name, each in DISTANCES.items():
        assert each.name == name
        assert each.title and each.symbol and each.formula  # noqa: PT018
        assert each.low < each.high
    assert len({each.symbol for each in DISTANCES.values()}) == len(DISTANCES)
    assert [*OF_FEATURES, *OF_STRUCTURE, "weight_similarity"] == NAMES


def mine(**changes: Any) -> Distance:
    settings = {
        "name": "mine",
        "title": "How many columns differ",
        "symbol": "C",
        "kind": "features",
        "formula": "#{j: x_j ≠ x'_j}",
        "low": 0.0,
        "high": math.inf,
        "alike": "low",
        "function": lambda x, y: float((x != y).any(0).sum()),
    }
    return Distance(**(settings | changes))


def test_the_table_is_open(monkeypatch):
    monkeypatch.setattr(distances, "DISTANCES", dict(DISTANCES))
    register(mine())
    assert distances.DISTANCES["mine"].function(X, Y) == 3  # all but the first
    register(mine(function=lambda x, y: 7.0))  # defined anew, as in a notebook
    assert distances.DISTANCES["mine"].function(X, Y) == 7
    assert "mine" not in DISTANCES


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "edges_kept"}, r"named 'edges_kept' is there already\. Give yours another name"),
        ({"kind": "edges"}, r"kind of .* 'features', 'structure', 'weights'; got 'edges'\."),
        ({"alike": "small"}, r"alike of .* must be one of 'high', 'low'; got 'small'\."),
    ],
)
def test_what_the_table_refuses(change, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        register(mine(**change))
    assert "mine" not in DISTANCES


@pytest.mark.parametrize("name", NAMES)
def test_values_that_do_not_fit(name):
    good, bad = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 1], [1, 3]])
    values: dict[str, tuple[tuple[Any, ...], str]] = {
        "features": (
            (torch.ones(4, 3), torch.ones(1, 3)),
            r"same shape; got \[4, 3\] and \[1, 3\]",
        ),
        "weights": ((torch.ones(4), torch.ones(3)), r"same shape; got \[4, 1\] and \[3, 1\]"),
        "structure": ((good, bad, 3), r"Edges must point to nodes 0 to 2; they go from 0"),
    }
    arguments, sentence = values[DISTANCES[name].kind]
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        DISTANCES[name].function(*arguments)
