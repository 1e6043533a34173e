"""Measures of structure, against independent implementations and by hand."""

import math
from collections import Counter
from itertools import permutations, product

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure import spectrum
from graph_metamers.measure import structure as module
from graph_metamers.measure.spectrum import spectral_distance
from graph_metamers.measure.structure import (
    degree_distance,
    edge_overlap,
    is_isomorphic,
    node_edge_overlap,
    structure_similarity,
)

quick = settings(deadline=None, max_examples=40)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def edges_of(graph) -> Tensor:
    """Both directions of each edge of a networkx graph."""
    pairs = torch.tensor(list(graph.edges()), dtype=torch.long).view(-1, 2).T
    return torch.cat([pairs, pairs.flip(0)], dim=1)


def random_edges(nodes: int, density: float, seed: int, *, directed: bool = False) -> Tensor:
    there = torch.rand(nodes, nodes, generator=generator(seed)) < density
    there = there if directed else there | there.T
    return there.fill_diagonal_(False).nonzero().T.contiguous()


def permuted(edges: Tensor, nodes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The edges with other numbers for the nodes, in another order, and the numbers."""
    numbers = torch.randperm(nodes, generator=generator(seed))
    order = torch.randperm(edges.shape[1], generator=generator(seed + 1))
    return numbers[edges[:, order]], numbers


# ------------------------------------------------------------------------------- WL kernel


def refined(edges: Tensor, nodes: int, labels: list, rounds: int) -> list[Counter]:
    """Colours as nested tuples: a node's own and the sorted ones of those that send to it."""
    senders: list[list[int]] = [[] for _ in range(nodes)]
    for u, v in edges.T.tolist():
        senders[v].append(u)
    colours = list(labels)
    counts = [Counter(colours)]
    for _ in range(rounds):
        colours = [
            (colours[v], tuple(sorted(colours[u] for u in senders[v]))) for v in range(nodes)
        ]
        counts.append(Counter(colours))
    return counts


def similarities(a: list[Counter], b: list[Counter]) -> list[float]:
    def products(a: list[Counter], b: list[Counter]) -> np.ndarray:
        each = [sum(one[c] * two[c] for c in one) for one, two in zip(a, b, strict=True)]
        return np.cumsum(each, dtype=float)

    return (products(a, b) / np.sqrt(products(a, a) * products(b, b))).tolist()


def in_degrees(edges: Tensor, nodes: int) -> list[int]:
    return torch.bincount(edges[1], minlength=nodes).tolist()


PAIRS = [(seed, labelled) for seed in range(25) for labelled in (False, True)]


@pytest.mark.parametrize(("seed", "labelled"), PAIRS)
def test_the_kernel_is_that_of_sorted_tuples(seed, labelled):
    nodes, rounds = 8 + seed, 3
    directed = seed % 3 == 0
    a, b = (random_edges(nodes, 0.15, 2 * seed + k, directed=directed) for k in (0, 1))
    given = torch.randint(-1, 3, (nodes,), generator=generator(seed)) if labelled else None
    labels = [given.tolist()] * 2 if labelled else [in_degrees(e, nodes) for e in (a, b)]
    one, two = (refined(e, nodes, first, rounds) for e, first in zip((a, b), labels, strict=True))
    for t, expected in enumerate(similarities(one, two)):
        found = structure_similarity(a, b, nodes, iterations=t, labels=given)
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("labelled", [False, True])
def test_the_kernel_is_that_of_grakel(labelled):
    grakel = pytest.importorskip("grakel")
    nodes, rounds = 30, 4
    graphs = [random_edges(nodes, 0.03 + 0.004 * seed, seed) for seed in range(50)]
    given = torch.arange(nodes) % 3

    def theirs(edges: Tensor):
        adjacent = {v: edges[0, edges[1] == v].tolist() for v in range(nodes)}
        labels = given.tolist() if labelled else in_degrees(edges, nodes)
        return grakel.Graph(adjacent, node_labels=dict(enumerate(labels)))

    kernel = grakel.WeisfeilerLehman(
        n_iter=rounds, base_graph_kernel=grakel.VertexHistogram, normalize=True
    ).fit_transform([theirs(e) for e in graphs])
    first = given if labelled else None
    for other, expected in zip(graphs, kernel[0], strict=True):
        found = structure_similarity(graphs[0], other, nodes, iterations=rounds, labels=first)
        assert found == pytest.approx(expected, rel=1e-8)


@quick
@given(
    nodes=st.integers(2, 25),
    density=st.floats(0.05, 0.6),
    seed=st.integers(0, 1000),
    directed=st.booleans(),
)
def test_similarity_is_symmetric_and_sees_no_numbers(nodes, density, seed, directed):
    a, b = (random_edges(nodes, density, seed + k, directed=directed) for k in (0, 5000))
    value = structure_similarity(a, b, nodes)
    assert 0 <= value <= 1
    assert structure_similarity(b, a, nodes) == value
    assert structure_similarity(permuted(a, nodes, seed)[0], b, nodes) == value
    assert structure_similarity(a, permuted(a, nodes, seed)[0], nodes) == 1


def test_a_nodes_own_colour_is_not_taken_for_its_neighbours():
    """Labels 1 and 2, the neighbours' labels chosen so that sums of both kinds can be mixed up."""
    one, two = [(0, v) for v in (1, 2, 3)], [(4, v) for v in (5, 6, 7)]
    edges = edges_of(nx.Graph([*one, *two]))
    for own, other in [(a, b) for a in range(4) for b in range(4) if a != b]:
        for theirs, others in product(range(5), repeat=2):
            labels = torch.tensor([own, *[theirs] * 3, other, *[others] * 3, 4])
            colours = module._colours(edges, edges, 9, 1, labels)[-1]
            expected = len(refined(edges, 9, labels.tolist(), 1)[-1])
            assert int(colours.max()) + 1 == expected


NONE, ONE = torch.zeros(2, 0, dtype=torch.long), torch.tensor([[0, 1], [1, 0]])


@pytest.mark.parametrize(
    ("a", "b", "nodes", "iterations", "value"),
    [
        (NONE, NONE, 4, 4, 1),
        (NONE, ONE, 2, 4, 0),
        (NONE, ONE, 3, 0, 3 / math.sqrt(9 * 5)),
        # Two senders of one node are not two receivers: in-degrees 0, 0, 2 and 1, 1, 0.
        (torch.tensor([[0, 1], [2, 2]]), torch.tensor([[2, 2], [0, 1]]), 3, 0, 2 / 5),
    ],
)
def test_similarity_by_hand(a, b, nodes, iterations, value):
    found = structure_similarity(a, b, nodes, iterations=iterations)
    assert found == pytest.approx(value)


# -------------------------------------------------------------------------- edges in common


def test_overlap_by_hand():
    a = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 1]])  # one of them twice
    b = torch.tensor([[0, 1, 3, 3, 2], [1, 0, 0, 1, 0]])
    assert edge_overlap(a, b, 4) == {"edges_kept": 2 / 4, "edge_jaccard": 2 / 7}
    assert edge_overlap(b, a, 4) == {"edges_kept": 2 / 5, "edge_jaccard": 2 / 7}
    # Senders of 0, 1, 2, 3: {3} {0} {1} {2}, and {1, 2, 3} {0, 3} {} {}.
    assert node_edge_overlap(a, b, 4).tolist() == [1 / 3, 1 / 2, 0, 0]


@quick
@given(nodes=st.integers(2, 20), density=st.floats(0.05, 0.6), seed=st.integers(0, 1000))
def test_overlap_is_that_of_sets(nodes, density, seed):
    a, b = (random_edges(nodes, density, seed + k, directed=True) for k in (0, 5000))
    one, two = ({tuple(e) for e in edges.T.tolist()} for edges in (a, b))
    found = edge_overlap(a, b, nodes)
    if one:
        assert found["edges_kept"] == len(one & two) / len(one)
        assert found["edge_jaccard"] == len(one & two) / len(one | two)
    else:
        assert all(math.isnan(value) for value in found.values())
    for v, value in enumerate(node_edge_overlap(a, b, nodes).tolist()):
        mine, theirs = ({u for u, w in edges if w == v} for edges in (one, two))
        if mine | theirs:
            assert value == len(mine & theirs) / len(mine | theirs)
        else:
            assert math.isnan(value)


# ------------------------------------------------------------------------ degrees, spectrum


@quick
@given(nodes=st.integers(2, 20), density=st.floats(0.1, 0.6), seed=st.integers(0, 1000))
def test_degree_distance_is_the_earth_movers(nodes, density, seed):
    a, b = (random_edges(nodes, density, seed + k, directed=True) for k in (0, 5000))
    one, two = (in_degrees(edges, nodes) for edges in (a, b))
    found = degree_distance(a, b, nodes)
    if not sum(one):
        assert math.isnan(found)
        return
    assert found == pytest.approx(wasserstein_distance(one, two) / np.mean(one), rel=1e-12)
    assert degree_distance(a, permuted(a, nodes, seed)[0], nodes) == 0


def laplacian_eigenvalues(edges: Tensor, nodes: int, k: int) -> np.ndarray:
    graph = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_edges_from((u, v) for u, v in edges.T.tolist() if u != v)
    values = np.linalg.eigvalsh(nx.normalized_laplacian_matrix(graph).toarray())
    values = values[nx.number_connected_components(graph) :][:k]
    return np.pad(values, (0, k - len(values)))


def islands(*graphs):
    return nx.disjoint_union_all(graphs)


SPECTRA = {
    "small": nx.gnp_random_graph(50, 0.1, seed=0),
    "sparse": nx.gnp_random_graph(300, 0.012, seed=0),
    "dense": nx.gnp_random_graph(230, 0.3, seed=0),
    "isolated nodes": islands(nx.gnp_random_graph(250, 0.03, seed=1), nx.empty_graph(40)),
    "components": islands(*(nx.gnp_random_graph(100, 0.06, seed=s) for s in range(3))),
    "one edge": islands(nx.path_graph(2), nx.empty_graph(250)),
    "ring": nx.cycle_graph(260),
    "star": nx.star_graph(250),
    "equal islands": islands(*[nx.path_graph(4)] * 60),
    "triangles and a path": islands(*[nx.cycle_graph(3)] * 80, nx.path_graph(30)),
    "complete": nx.complete_graph(210),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(16, 16)),
}


@pytest.mark.parametrize("k", [3, 20])
@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "smallest"])
def test_eigenvalues_are_those_of_the_dense_laplacian(whole, name, k, monkeypatch):
    """Also each as often as it is there, which Lanczos' method alone can miss."""
    if name == "triangles and a path" and not whole:
        pytest.skip("too few different eigenvalues for the block: NaN")
    monkeypatch.setattr(spectrum, "DENSE_EIGENVALUES", 1000 if whole else 200)
    graph = SPECTRA[name]
    nodes, edges = graph.number_of_nodes(), edges_of(graph)
    found = spectrum._small_eigenvalues(edges, nodes, k)
    np.testing.assert_allclose(found, laplacian_eigenvalues(edges, nodes, k), atol=1e-5)
    again = permuted(edges, nodes)[0]
    assert spectral_distance(edges, again, nodes, k=k) == pytest.approx(0, abs=1e-5)


def test_spectral_distance_by_hand():
    """A path of three, 1 and 2, and a triangle, 3/2 twice."""
    path, triangle = edges_of(nx.path_graph(3)), edges_of(nx.complete_graph(3))
    expected = math.sqrt(0.25 + 0.25) / math.sqrt(1 + 4)
    assert spectral_distance(path, triangle, 3) == pytest.approx(expected)
    assert spectral_distance(path, triangle, 3, k=1) == pytest.approx(0.5)


def test_spectra_see_neither_direction_nor_loops_nor_repetition():
    one = torch.tensor([[0, 1, 2], [1, 2, 3]])
    other = torch.tensor([[1, 1, 2, 3, 0, 0], [0, 2, 1, 2, 0, 1]])
    assert spectral_distance(one, other, 4) == pytest.approx(0, abs=1e-12)
    assert math.isnan(spectral_distance(torch.tensor([[0], [0]]), one, 4))
    assert spectral_distance(one, torch.zeros(2, 0, dtype=torch.long), 4) == 1


# ------------------------------------------------------------------------------- isomorphism


def test_twins_exchanged():
    """Nodes 3 and 4 look the same; that one of them has the edge does not tell them apart."""
    a = edges_of(nx.Graph([(0, 1), (1, 2), (2, 3)]))
    b = edges_of(nx.Graph([(0, 1), (1, 2), (2, 4)]))
    x = torch.eye(5)
    assert is_isomorphic(a, b, x) is False
    x[4] = x[3]
    assert is_isomorphic(a, b, x) is True


@quick
@given(
    nodes=st.integers(2, 25),
    density=st.floats(0.05, 0.6),
    seed=st.integers(0, 1000),
    kinds=st.integers(1, 4),
    directed=st.booleans(),
)
def test_permuted_copies(nodes, density, seed, kinds, directed):
    edges = random_edges(nodes, density, seed, directed=directed)
    x = torch.nn.functional.one_hot(torch.arange(nodes) % kinds, kinds).float()
    again, numbers = permuted(edges, nodes, seed)
    carried = torch.empty_like(x)
    carried[numbers] = x
    # Stack both copies into one graph each, so that the features of both are the same.
    both = torch.cat([x, carried])
    one, two = edges, again + nodes
    assert is_isomorphic(one, two, both) is True
    if edges.shape[1]:
        both[int(edges[0, 0])] += 10
        assert is_isomorphic(one, two, both) is False


@quick
@given(
    nodes=st.integers(2, 6),
    density=st.floats(0.2, 0.7),
    seed=st.integers(0, 3000),
    directed=st.booleans(),
)
def test_small_graphs_against_all_permutations(nodes, density, seed, directed):
    a, b = (random_edges(nodes, density, seed + k, directed=directed) for k in (0, 5000))
    x = (torch.rand(nodes, 1, generator=generator(seed)) < 0.3).float()
    one, two = ({tuple(e) for e in edges.T.tolist()} for edges in (a, b))
    expected = any(
        {(p[u], p[v]) for u, v in one} == two and torch.equal(x[list(p)], x)
        for p in permutations(range(nodes))
    )
    assert is_isomorphic(a, b, x) is expected


ROOK = nx.convert_node_labels_to_integers(nx.line_graph(nx.complete_bipartite_graph(4, 4)))


def shrikhande() -> nx.Graph:
    places, steps = product(range(4), repeat=2), [(0, 1), (1, 0), (1, 1)]
    pairs = [((i, j), ((i + a) % 4, (j + b) % 4)) for (i, j), (a, b) in product(places, steps)]
    return nx.convert_node_labels_to_integers(nx.Graph(pairs))


TWO_TRIANGLES = islands(nx.cycle_graph(3), nx.cycle_graph(3))
UNTOLD = {
    "triangles and a hexagon": (TWO_TRIANGLES, nx.cycle_graph(6)),
    "rook and Shrikhande": (ROOK, shrikhande()),
    "regular": tuple(nx.random_regular_graph(3, 40, seed=s) for s in (0, 1)),
    "regular, 100 nodes": tuple(nx.random_regular_graph(3, 100, seed=s) for s in (0, 1)),
    "rings": (islands(nx.cycle_graph(20), nx.cycle_graph(30)), nx.cycle_graph(50)),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_what_colours_cannot_tell_apart_is_decided(name):
    one, two = UNTOLD[name]
    nodes = one.number_of_nodes()
    a, b, x = edges_of(one), edges_of(two), torch.ones(nodes, 1)
    assert structure_similarity(a, b, nodes) == 1
    assert is_isomorphic(a, b, x) is False
    assert is_isomorphic(a, permuted(a, nodes)[0], x) is True
    assert is_isomorphic(a, a[:, torch.randperm(a.shape[1])], x) is True


def test_large_graphs():
    nodes = module.ISOMORPHISM_NODES + 1
    ring = edges_of(nx.cycle_graph(nodes))
    x = torch.ones(nodes, 1)
    assert is_isomorphic(ring, permuted(ring, nodes)[0], x) is None
    assert is_isomorphic(ring, ring.flip(0), x) is True
    assert is_isomorphic(ring, edges_of(nx.path_graph(nodes)), x) is False
    x[0] = 2
    assert is_isomorphic(ring, edges_of(nx.star_graph(nodes - 1)), x) is False


def test_attempts_are_limited(monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 3)
    a, b = (edges_of(graph) for graph in UNTOLD["rook and Shrikhande"])
    assert is_isomorphic(a, b, torch.ones(16, 1)) is None


def test_directions_of_edges_tell_graphs_apart():
    ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    x = torch.ones(4, 1)
    assert is_isomorphic(ring, ring.flip(0), x) is True
    other = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 3]])
    assert is_isomorphic(ring, other, x) is False


# -------------------------------------------------------------------------------- sentences

INSIDE, OUTSIDE = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, 5], [1, 0]])


@pytest.mark.parametrize(
    "measure",
    [
        structure_similarity,
        edge_overlap,
        node_edge_overlap,
        degree_distance,
        spectral_distance,
        lambda a, b, n: is_isomorphic(a, b, torch.ones(n, 1)),
    ],
)
def test_edges_that_point_outside(measure):
    for pair in ((INSIDE, OUTSIDE), (OUTSIDE, INSIDE)):
        with pytest.raises(gm.InputError, match="must point to nodes 0 to 2; they go from 0 to 5"):
            measure(*pair, 3)


@pytest.mark.parametrize(
    ("measure", "options", "sentence"),
    [
        (structure_similarity, {"iterations": -1}, "iterations must be a whole number of at least"),
        (structure_similarity, {"labels": torch.tensor([0])}, r"a node, \[2\]; got \[1\]"),
        (spectral_distance, {"k": 0}, "k must be a whole number of at least 1; got 0"),
    ],
)
def test_settings_out_of_range(measure, options, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        measure(INSIDE, INSIDE, 2, **options)
