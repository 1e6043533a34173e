"""Distances of graphs: numbers worked out by hand, ranges, symmetries, and SciPy's opinion."""

import math

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.measure import (
    degree_distance,
    distances,
    edge_distances,
    edge_overlap,
    feature_distances,
    feature_similarity,
    node_feature_similarity,
    spectral_distance,
    structure_similarity,
)
from graph_metamers.measure.distances import DISTANCES, Distance, register
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=30)
NAMES = list(DISTANCES)
OF_FEATURES = [name for name, each in DISTANCES.items() if each.kind == "features"]
OF_STRUCTURE = [name for name, each in DISTANCES.items() if each.kind == "structure"]
OF_WEIGHTS = ["weight_similarity"]  # of the same edges
BINARY = ["feature_jaccard", "feature_hamming"]
SYMMETRIC = [
    "feature_similarity",
    *BINARY,
    "node_similarity_low",
    "node_similarity_median",
    "node_similarity_high",
    "structure_similarity",
    "edge_jaccard",
]


def distance(name: str, reference: Data, graph: Data) -> float:
    return DISTANCES[name].function(reference, graph)


def features(rows: list[list[float]]) -> Data:
    return Data(x=torch.tensor(rows))


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

X = features([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
Y = features([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]])


def _weighted() -> float:
    """Features in 3, 1, 1 and 0 of 3 nodes: f = 1, 1/2, 1/2, 1/4, in units of log 2 0, 1, 1, 2."""
    return 1 / math.sqrt((1 + 1) * (1 + 2 + 1))


def _centred() -> float:
    """Column means 1, 1/3, 1/3, 0 of X; the products by column are 0, −1/3, 2/3 and 0."""
    # X − 1c: columns 0; (2, −1, −1)/3; (−1, 2, −1)/3; 0. Squares 0, 6/9, 6/9, 0.
    # Y − 1c: columns (0, −1, 0); (−1, −1, 2)/3; (−1, 2, −1)/3; (0, 1, 0). Squares 1, 6/9, 6/9, 1.
    dot = (-2 + 1 - 2) / 9 + 6 / 9
    return dot / math.sqrt((12 / 9) * (2 + 12 / 9))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("feature_similarity", 3 / 5),  # 5 and 5 ones, 3 in common
        ("centred_feature_similarity", _centred()),
        ("weighted_feature_similarity", _weighted()),
        ("feature_distance", math.sqrt(4 / 5)),
        ("feature_jaccard", 3 / 7),
        ("feature_hamming", 4 / 12),
        ("node_similarity_median", 1 / math.sqrt(2)),  # √½, ½, √½
        ("node_similarity_low", 0.5 + 0.1 * (math.sqrt(0.5) - 0.5)),
        ("node_similarity_high", 1 / math.sqrt(2)),
    ],
)
def test_features_by_hand(name, value):
    assert distance(name, X, Y) == pytest.approx(value, rel=1e-12)


def test_structure_is_that_of_the_measures():
    a, b = (gm.datasets.csbm(nodes=50, features=8, seed=seed) for seed in (0, 1))
    edges = a.edge_index, b.edge_index
    expected = edge_overlap(*edges, 50) | {
        "structure_similarity": structure_similarity(*edges, 50),
        "degree_distance": degree_distance(*edges, 50),
        "spectral_distance": spectral_distance(*edges, 50),
    }
    assert {name: distance(name, a, b) for name in OF_STRUCTURE} == expected


def test_rare_features_count_more():
    """One feature of all nodes and one of a single node; each kept alone."""
    x = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    common, rare = x * torch.tensor([1.0, 0.0]), x * torch.tensor([0.0, 1.0])
    for name, higher in (("feature_similarity", common), ("weighted_feature_similarity", rare)):
        scores = [distance(name, Data(x=x), Data(x=kept)) for kept in (common, rare)]
        assert max(scores) == scores[0 if higher is common else 1]


def test_an_unrelated_start_is_at_zero_once_centred():
    """Same column means, nothing else: S_feat is far from 0, the centred one within its noise."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(200, generator=generator) * 0.3
    x, y = (torch.rand(2, 400, 200, generator=generator) < share).float()
    assert distance("feature_similarity", Data(x=x), Data(x=y)) > 0.15
    noise = 4 / math.sqrt(400 * 200 / 2)
    assert abs(distance("centred_feature_similarity", Data(x=x), Data(x=y))) < noise


# ------------------------------------------------------------------------------------ relations


@quick
@given(graphs())
@pytest.mark.parametrize("name", NAMES)
def test_values_lie_in_their_range(name, pair):
    each, value = DISTANCES[name], distance(name, *pair)
    assert math.isnan(value) or each.low - 1e-9 <= value <= each.high + 1e-9


@quick
@given(graphs())
@pytest.mark.parametrize("name", NAMES)
def test_a_graph_is_most_alike_to_itself(name, pair):
    each, (graph, _) = DISTANCES[name], pair
    value = distance(name, graph, graph)
    best = each.high if each.alike == "high" else each.low
    assert math.isnan(value) or value == pytest.approx(best, abs=1e-6)


@quick
@given(graphs())
@pytest.mark.parametrize("name", SYMMETRIC)
def test_some_are_symmetric(name, pair):
    value = distance(name, *pair)
    assert value == pytest.approx(distance(name, *reversed(pair)), rel=1e-9, nan_ok=True)


@quick
@given(graphs(), st.randoms(use_true_random=False))
@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_the_nodes_do_not_matter(name, pair, random):
    order = list(range(len(pair[0].x)))
    random.shuffle(order)
    place = torch.tensor(order).argsort()
    turned = [
        Data(x=g.x[order], edge_index=place[g.edge_index], edge_weight=g.edge_weight) for g in pair
    ]
    assert distance(name, *turned) == pytest.approx(distance(name, *pair), abs=1e-5, nan_ok=True)


@quick
@given(graphs(binary=False), st.floats(0.1, 10))
@pytest.mark.parametrize("name", [name for name in OF_FEATURES if name not in BINARY])
def test_features_are_free_of_units(name, pair, scale):
    x, y = (Data(x=g.x.double()) for g in pair)
    scaled = [Data(x=g.x * scale) for g in (x, y)]
    expected = distance(name, x, y)
    assert distance(name, *scaled) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@quick
@given(graphs(binary=False), st.floats(-100, 100))
def test_the_centred_cosine_is_free_of_shifts(pair, shift):
    x, y = (g.x.double() for g in pair)
    row = shift * torch.linspace(-1, 1, x.shape[1], dtype=torch.float64)
    moved = distance("centred_feature_similarity", Data(x=x + row), Data(x=y + row))
    expected = distance("centred_feature_similarity", Data(x=x), Data(x=y))
    assert moved == pytest.approx(expected, abs=1e-8)


# ------------------------------------------------------------------------ independent references


@quick
@given(graphs())
def test_binary_distances_are_scipys(pair):
    x, y = (g.x.numpy().astype(bool).ravel() for g in pair)
    assert distance("feature_hamming", *pair) == pytest.approx(
        scipy.spatial.distance.hamming(x, y), rel=1e-12
    )
    if (x | y).any():
        expected = 1 - scipy.spatial.distance.jaccard(x, y)
        assert distance("feature_jaccard", *pair) == pytest.approx(expected, rel=1e-12)


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


@quick
@given(graphs())
def test_the_weighted_cosine_is_scipys(pair):
    x, y = (g.x.double().numpy() for g in pair)
    weight = -np.log((1 + (x != 0).sum(0)) / (1 + len(x)))
    weights = np.tile(weight, len(x))
    if weights @ x.ravel() and weights @ y.ravel():
        expected = 1 - scipy.spatial.distance.cosine(x.ravel(), y.ravel(), w=weights)
        assert distance("weighted_feature_similarity", *pair) == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(distance("weighted_feature_similarity", *pair))


def test_the_plain_cosine_and_the_quantiles_use_the_measures():
    a, b = (gm.datasets.csbm(nodes=50, features=8, density=0.3, seed=seed) for seed in (0, 1))
    assert distance("feature_similarity", a, b) == feature_similarity(a.x, b.x)
    median = float(node_feature_similarity(a.x, b.x).nanquantile(0.5))
    assert distance("node_similarity_median", a, b) == median


# ------------------------------------------------------------------------------------ undefined


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("place", [0, 1])
def test_ones_are_not_counted_in_continuous_features(name, place):
    pair = [X, X]
    pair[place] = features([[0.5, 0.0, 0.0, 0.0]] * 3)
    assert math.isnan(distance(name, *pair))


def test_without_ones_there_is_no_jaccard():
    silent = Data(x=torch.zeros(3, 4))
    assert math.isnan(distance("feature_jaccard", silent, silent))
    assert distance("feature_hamming", silent, silent) == 0
    assert distance("feature_jaccard", X, silent) == 0


@pytest.mark.parametrize("value", [0.1, 1e6 + 0.1, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_nodes_have_no_centred_cosine(value, dtype):
    """Exactly, though the sum of 0.1 over the nodes is not a multiple of it."""
    same = Data(x=torch.full((1000, 3), value, dtype=dtype))
    other = Data(x=torch.rand(1000, 3, dtype=dtype, generator=torch.Generator().manual_seed(0)))
    assert math.isnan(distance("centred_feature_similarity", same, other))


def test_a_silent_reference_has_no_size():
    silent, other = Data(x=torch.zeros(3, 4)), Data(x=torch.ones(3, 4))
    assert distance("feature_distance", silent, other) == math.inf
    for name in OF_FEATURES:
        if name != "feature_hamming":
            assert math.isnan(distance(name, silent, silent)), name


def test_where_all_nodes_have_all_features_none_is_rare():
    dense = Data(x=torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) + 1)
    assert math.isnan(distance("weighted_feature_similarity", dense, dense))


def test_large_spectra_are_left_out(monkeypatch):
    a, b = (gm.datasets.csbm(nodes=50, features=8, seed=seed) for seed in (0, 1))
    assert distance("spectral_distance", a, b) > 0
    monkeypatch.setattr(edge_distances, "SPECTRUM_NODES", 49)
    assert math.isnan(distance("spectral_distance", a, b))


# -------------------------------------------------------------------------------- large matrices


@pytest.mark.parametrize("entries", [1, 7, 60, 1 << 20])
@pytest.mark.parametrize("name", OF_FEATURES)
def test_blocks_change_nothing(monkeypatch, name, entries):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(2, 42, 10, generator=generator) < 0.3).float()
    expected = distance(name, Data(x=x), Data(x=y))
    monkeypatch.setattr(feature_distances, "ENTRIES", entries)
    assert distance(name, Data(x=x), Data(x=y)) == pytest.approx(expected, rel=1e-12)


def test_sums_of_millions_are_exact():
    """4.5 million ones, of which a sum in float32 would get only 7 digits at best."""
    x = torch.ones(3000, 1500)
    y = x.clone()
    y[17, 3] = 0
    total = x.numel()
    assert distance("feature_jaccard", Data(x=x), Data(x=y)) == (total - 1) / total
    assert distance("feature_hamming", Data(x=x), Data(x=y)) == 1 / total
    moved = distance("feature_distance", Data(x=x), Data(x=y))
    assert moved == pytest.approx(math.sqrt(1 / total), rel=1e-12)


def test_features_that_take_a_gradient():
    x = X.x.clone().requires_grad_()
    for name in OF_FEATURES:
        assert distance(name, Data(x=x), Y) == distance(name, X, Y)


# ------------------------------------------------------------------------------------- the table


def test_the_table_is_complete():
    for name, each in DISTANCES.items():
        assert each.name == name
        assert each.title
        assert each.symbol
        assert each.formula
        assert each.low < each.high
    symbols = [each.symbol for each in DISTANCES.values()]
    assert len(set(symbols)) == len(symbols)
    assert OF_FEATURES + OF_STRUCTURE + OF_WEIGHTS == NAMES


def mine(**changes) -> Distance:
    settings = {
        "name": "mine",
        "title": "How many columns differ",
        "symbol": "C",
        "kind": "features",
        "formula": "#{j: x_j ≠ x'_j}",
        "low": 0.0,
        "high": math.inf,
        "alike": "low",
        "function": lambda a, b: float((a.x != b.x).any(0).sum()),
    }
    return Distance(**(settings | changes))


def test_the_table_is_open(monkeypatch):
    monkeypatch.setattr(distances, "DISTANCES", dict(DISTANCES))
    register(mine())
    assert distances.DISTANCES["mine"].function(X, Y) == 3  # all but the third
    register(mine(function=lambda a, b: 7.0))  # defined anew, as in a notebook
    assert distances.DISTANCES["mine"].function(X, Y) == 7
    assert "mine" not in DISTANCES


def test_a_taken_name_is_refused():
    with pytest.raises(
        gm.InputError,
        match=r"A distance named 'edges_kept' is there already\. Give yours another name; taken "
        r"are 'feature_similarity', ",
    ):
        register(mine(name="edges_kept"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"kind": "edges"},
            r"kind of the distance 'mine' must be one of 'features', 'structure', 'weights'; "
            r"got 'edges'\.",
        ),
        (
            {"alike": "small"},
            r"alike of the distance 'mine' must be one of 'high', 'low'; got 'small'\.",
        ),
    ],
)
def test_unknown_kinds_are_refused(change, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        register(mine(**change))
    assert "mine" not in DISTANCES


@pytest.mark.parametrize("name", OF_FEATURES)
def test_other_shapes_are_refused(name):
    with pytest.raises(gm.InputError, match=r"same shape; got \[4, 3\] and \[1, 3\]"):
        distance(name, Data(x=torch.ones(4, 3)), Data(x=torch.ones(1, 3)))


@pytest.mark.parametrize("name", OF_STRUCTURE)
def test_edges_that_point_outside_are_refused(name):
    x = torch.ones(3, 1)
    good = Data(x=x, edge_index=torch.tensor([[0, 1], [1, 2]]))
    bad = Data(x=x, edge_index=torch.tensor([[0, 1], [1, 3]]))
    with pytest.raises(gm.InputError, match=r"Edges must point to nodes 0 to 2; they go from 0"):
        distance(name, good, bad)
