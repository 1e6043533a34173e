"""Graphormer: attention by the plain formula, distances by scipy, a block by hand."""

import math

import numpy as np
import pytest
import scipy.sparse.csgraph
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path
from torch import Tensor, nn

from graph_metamers.zoo import Graphormer, distances, graphormer
from graph_metamers.zoo.distances import path_lengths
from graph_metamers.zoo.graphormer import biased_attention


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "_memory", {})


def plain(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, distance: Tensor) -> Tensor:
    logits = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + bias[:, distance.long()]
    return logits.softmax(-1) @ v


def inputs(queries: int, keys: int, heads: int, units: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(queries + keys)
    shapes = [(heads, n, units) for n in (queries, keys, keys)] + [(heads, 5)]
    drawn = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    distance = torch.randint(0, 5, (queries, keys), generator=generator).to(torch.int8)
    return [*(t.requires_grad_() for t in drawn), distance]


def random_graph(seed: int, nodes: int, edges: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, nodes, (2, edges), generator=generator)


# -------------------------------------------------------------------------------- attention


@pytest.mark.parametrize("entries", [1, 2 * 30 * 7, 2 * 30 * 10, 2 * 30 * 39, 1 << 21])
@pytest.mark.parametrize(
    ("dtype", "precise"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str
)
def test_attention_equals_the_plain_formula(dtype, precise, entries):
    *weights, distance = inputs(40, 30, 2, 8, dtype)
    chunked = biased_attention(*weights, distance, entries=entries)
    formula = plain(*weights, distance)
    assert float((chunked - formula).detach().abs().max()) < precise
    direction = torch.randn(chunked.shape, dtype=dtype, generator=torch.Generator().manual_seed(1))
    slopes = torch.autograd.grad(chunked, weights, direction)
    for slope, by_formula in zip(
        slopes, torch.autograd.grad(formula, weights, direction), strict=True
    ):
        # sums of up to 40 · 30 terms: relative to the greatest
        error = float((slope - by_formula).abs().max() / by_formula.abs().max())
        assert error < precise


@pytest.mark.parametrize("entries", [1, 2 * 4 * 2, 1 << 21])
def test_attention_gradcheck(entries):
    *weights, distance = inputs(5, 4, 2, 3, torch.float64)

    def attention(*w: Tensor) -> Tensor:
        return biased_attention(*w, distance, entries=entries)

    assert torch.autograd.gradcheck(attention, tuple(weights))


@pytest.mark.parametrize("wanted", range(4))
def test_attention_gradient_of_one_input_alone(wanted):
    *weights, distance = inputs(6, 5, 2, 3, torch.float64)
    alone = [w if i == wanted else w.detach() for i, w in enumerate(weights)]
    slopes = [
        torch.autograd.grad(out.square().sum(), alone[wanted])[0]
        for out in (biased_attention(*alone, distance), plain(*alone, distance))
    ]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-12)


def test_attention_of_great_logits_is_finite():
    *weights, distance = (t.detach() for t in inputs(6, 5, 2, 3, torch.float32))
    weights[0] *= 1e4
    assert bool(biased_attention(*weights, distance, entries=20).isfinite().all())


# -------------------------------------------------------------------------------- distances


def by_scipy(edge_index: Tensor, nodes: int, cap: int) -> np.ndarray:
    row, column = edge_index.numpy()
    graph = coo_matrix((np.ones(len(row)), (row, column)), (nodes, nodes)).tocsr()
    lengths = shortest_path(graph, unweighted=True).T  # from column to row
    return np.where(np.isinf(lengths), cap + 1, np.minimum(lengths, cap)).astype(np.int8)


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 999),
    nodes=st.integers(1, 20),
    edges=st.integers(0, 40),
    cap=st.integers(1, 120),
)
def test_distances_are_scipys(seed, nodes, edges, cap):
    edge_index = random_graph(seed, nodes, edges)  # directed, with self-loops and repeated edges
    found = path_lengths(edge_index, nodes, cap)
    assert found.dtype == torch.int8
    np.testing.assert_array_equal(found.numpy(), by_scipy(edge_index, nodes, cap))


@pytest.mark.parametrize("cap", [1, 8, 120])
def test_distances_of_a_long_path_and_several_blocks(cap):
    path = torch.stack([torch.arange(699), torch.arange(1, 700)])
    edge_index = torch.cat([path, path[:, :300].flip(0)], dim=1)
    found = path_lengths(edge_index, 700, cap)
    np.testing.assert_array_equal(found.numpy(), by_scipy(edge_index, 700, cap))
    assert int(found[699, 0]) == cap
    assert int(found[0, 699]) == cap + 1


def test_distances_of_edges_in_no_order_and_of_other_edges():
    one, other = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 1], [2, 1]])
    for _ in range(2):  # what is remembered of one is not taken for the other
        assert path_lengths(one, 3, 5)[2].tolist() == [2, 1, 0]
        assert path_lengths(other, 3, 5)[2].tolist() == [1, 6, 0]
        assert path_lengths(one, 3, 1)[2].tolist() == [1, 1, 0]


# -------------------------------------------------------------------------------- the model


def built(**options) -> Graphormer:
    """In float64, every weight drawn anew: biases of attention start at zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Graphormer(3, 2, **options).double().eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.5)
    return network


def test_the_first_block_by_hand():
    # 0 → 1 → 2, 0 → 2 not; 3 alone. From column to row, 2 is the cap and 3 says no path.
    edge_index = torch.tensor([[0, 1], [1, 2]])
    distance = np.array([[0, 3, 3, 3], [1, 0, 3, 3], [2, 1, 0, 3], [3, 3, 3, 0]])
    x = np.array([[1.0, 0, 2], [0, -1, 1], [3, 1, 0], [0.5, 2, -1]])
    network = built(hidden=4, heads=2, depth=1, cap=2, activation="elu")
    w = {name: value.detach().numpy() for name, value in network.state_dict().items()}

    def linear(h: np.ndarray, name: str) -> np.ndarray:
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def normed(h: np.ndarray, name: str) -> np.ndarray:
        h = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)
        return h * w[f"{name}.weight"] + w[f"{name}.bias"]

    h = linear(x, "embed") + w["in_degree.weight"][[0, 1, 1, 0]]
    h = h + w["out_degree.weight"][[1, 1, 0, 0]]
    z = linear(normed(h, "layer1.norm1"), "layer1.attention.qkv")
    mixed = []
    for head in range(2):
        q, k, v = (z[:, 4 * i + 2 * head : 4 * i + 2 * head + 2] for i in range(3))
        logits = q @ k.T / math.sqrt(2) + w["layer1.attention.bias"][head][distance]
        p = np.exp(logits)
        mixed.append(p / p.sum(1, keepdims=True) @ v)
    h = h + linear(np.concatenate(mixed, axis=1), "layer1.attention.out")
    z = linear(normed(h, "layer1.norm2"), "layer1.ffn.0")
    z = np.where(z > 0, z, np.expm1(np.minimum(z, 0)))
    h = h + linear(z, "layer1.ffn.2")

    seen = []
    network.layer1.register_forward_hook(lambda layer, args, out: seen.append(out))
    scores = network(torch.from_numpy(x), edge_index)
    np.testing.assert_allclose(seen[0].detach().numpy(), h, atol=1e-12)
    by_hand = linear(normed(h, "head.0"), "head.1")
    np.testing.assert_allclose(scores.detach().numpy(), by_hand, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), nodes=st.integers(2, 12), edges=st.integers(0, 25), data=st.data())
def test_it_is_equivariant_to_permutations_of_the_nodes(seed, nodes, edges, data):
    network = built(hidden=8, heads=2, cap=3)
    edge_index = random_graph(seed, nodes, edges)
    x = torch.randn(nodes, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    order = torch.tensor(data.draw(st.permutations(range(nodes))))
    scores = network(x, edge_index)
    permuted = network(x[order], order.argsort()[edge_index])
    torch.testing.assert_close(permuted, scores[order], rtol=0, atol=1e-10)


def test_chunks_do_not_change_the_model(small, monkeypatch):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Graphormer(40, 3).double().eval()
    x = small.x.double().requires_grad_()

    def run() -> tuple[Tensor, Tensor]:
        scores = network(x, small.edge_index)
        return scores.detach(), torch.autograd.grad(scores.square().sum(), x)[0]

    whole = run()
    attention = graphormer.biased_attention
    monkeypatch.setattr(
        graphormer, "biased_attention", lambda *given: attention(*given, entries=500)
    )
    chunks = []
    weights = graphormer._weights
    monkeypatch.setattr(
        graphormer, "_weights", lambda held, *of: chunks.append(held.shape) or weights(held, *of)
    )
    for one, other in zip(whole, run(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    assert set(chunks) == {(2, 4, 60)}  # 500 entries of 2 heads · 60 keys


def ring(nodes: int) -> Tensor:
    around = torch.arange(nodes)
    edges = torch.stack([around, around.roll(-1)])
    return torch.cat([edges, edges.flip(0)], dim=1)


def test_a_sample_of_all_nodes_is_exact(small):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Graphormer(40, 3, sample=60, dropout=0.0).double()
        nodes = torch.tensor([7, 3, 59])
        x = small.x.double()
        sampled = network.sampled(x, small.edge_index, nodes)
    torch.testing.assert_close(sampled, network(x, small.edge_index)[nodes])


def test_a_sample_holds_the_nodes_their_neighbours_and_some_others(monkeypatch):
    attended = []
    attention = graphormer.biased_attention

    def watched(q, k, v, bias, distance, log_count):
        attended.append((distance, log_count))
        return attention(q, k, v, bias, distance, log_count)

    monkeypatch.setattr(graphormer, "biased_attention", watched)
    network = Graphormer(4, 3, sample=10, depth=1, dropout=0.0)
    with torch.random.fork_rng():
        scores = network.sampled(torch.rand(100, 4), ring(100), torch.tensor([20, 50]))
    ((distance, log_count),) = attended
    assert scores.shape == (2, 3)
    assert distance.shape == (16, 16)  # two nodes, their four neighbours and ten others
    assert (distance == 1).sum() >= 2 * 4
    torch.testing.assert_close(log_count[:6], torch.zeros(6))
    torch.testing.assert_close(log_count[6:], torch.full((10,), math.log(94 / 10)))


def test_many_samples_are_right_on_average():
    """Equal logits: the softmax's sums are then sums of values, which samples estimate."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Graphormer(4, 3, sample=50, depth=1, dropout=0.0, norm=None, residual=False)
        with torch.no_grad():
            network.layer1.attention.bias.zero_()
            network.layer1.attention.qkv.weight[: 2 * 32].zero_()
            network.layer1.attention.qkv.bias[: 2 * 32].zero_()
            network.layer1.ffn = nn.Identity()
            x, nodes = torch.rand(200, 4), torch.tensor([20])
            whole = network(x, ring(200))[nodes]
            draws = torch.stack([network.sampled(x, ring(200), nodes) for _ in range(400)])
    # 400 draws: the mean lies within 5 of its standard errors
    error = (draws.mean(0) - whole).abs()
    assert bool((error < 5 * draws.std(0) / 20).all())
    assert float(draws.std(0).min()) > 0


def test_neither_norm_nor_residual():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = Graphormer(4, 3, norm=None, residual=False).eval().layer1
        h, distance = torch.randn(6, 32), torch.randint(0, 9, (6, 6)).to(torch.int8)
    torch.testing.assert_close(block(h, distance), block.ffn(block.attention(h, distance)))


def test_keys_may_stand_for_several():
    """A key that stands for two counts as two equal keys."""
    *weights, distance = inputs(5, 4, 2, 3, torch.float64)
    q, k, v, bias = weights
    twice = [0, 1, 2, 3, 3]
    log_count = torch.tensor([0.0, 0.0, 0.0, math.log(2)], dtype=torch.float64)
    once = biased_attention(q, k, v, bias, distance, log_count, entries=20)
    torch.testing.assert_close(
        once, biased_attention(q, k[:, twice], v[:, twice], bias, distance[:, twice])
    )
    assert torch.autograd.gradcheck(
        lambda *w: biased_attention(*w, distance, log_count, entries=20), (q, k, v, bias)
    )


def test_degrees_above_the_greatest_count_as_it():
    hub = torch.stack([torch.arange(1, 101), torch.zeros(100, dtype=torch.long)])
    network = built(hidden=4)
    first = network._centrality(hub, 101)[0]
    assert first.equal(network.in_degree.weight[64] + network.out_degree.weight[0])
    assert built(hidden=4)(torch.ones(101, 3, dtype=torch.float64), hub).shape == (101, 2)


def test_distances_are_computed_once_for_many_forwards(small, monkeypatch):
    calls = []
    search = scipy.sparse.csgraph.dijkstra
    monkeypatch.setattr(
        scipy.sparse.csgraph, "dijkstra", lambda *a, **b: calls.append(1) or search(*a, **b)
    )
    network = Graphormer(40, 3).eval()
    for _ in range(3):
        network(small.x, small.edge_index)
    assert len(calls) == 1
