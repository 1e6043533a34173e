"""Edges vary: what every random graph keeps, the dense relaxation, weights, and refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import GAT, GCN, GIN, GCNConv, GraphSAGE
from torch_geometric.utils import to_edge_index

import graph_metamers as gm
from graph_metamers.inputs import ADJACENCY, Inputs
from graph_metamers.own import load_graph
from graph_metamers.vary import Changed, Variable, Vary
from graph_metamers.vary import edges as module
from helpers import FEATURES, seeded, toy_graph, unchecked_types, with_adj_t

quick = settings(deadline=None, max_examples=20)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(nodes: int, density: float, seed: int, directed: bool, loops: bool) -> Data:
    there = torch.rand(nodes, nodes, generator=generator(seed)) < density
    there = there if directed else there | there.T
    there[0, 1] = there[1, 0] = True
    there[0, 2] = there[2, 0] = False
    there.fill_diagonal_(False)
    if loops:
        there[1, 1] = there[3, 3] = True
    return Data(x=torch.eye(nodes), edge_index=there.nonzero().T.contiguous())


def drawn(vary: gm.Edges, data: Data, seed: int = 0) -> Tensor:
    return vary.random(Inputs(data), "edge_index", generator(seed))["edge_index"]


def started(vary: Vary, data: Data, seed: int = 0) -> Variable:
    at = "edge_index" if isinstance(vary, gm.Edges) else "edge_weight"
    return vary.start(Inputs(data), at, generator(seed))


def adjacency(edges: Tensor, nodes: int) -> Tensor:
    """How often each edge is there, [nodes, nodes]."""
    one = torch.ones(edges.shape[1], dtype=torch.long)
    return torch.zeros(nodes, nodes, dtype=torch.long).index_put(tuple(edges), one, accumulate=True)


def joined(*pairs: tuple[int, int], nodes: int) -> Data:
    edges = torch.tensor(pairs).T
    return Data(x=torch.eye(nodes), edge_index=torch.cat([edges, edges.flip(0)], dim=1))


TRIANGLES = joined((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), nodes=6)


# ------------------------------------------------------------------------------- random graphs


@quick
@given(
    nodes=st.integers(4, 12),
    density=st.floats(0.05, 0.9),
    seed=st.integers(0, 1000),
    directed=st.booleans(),
    loops=st.booleans(),
    keep=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    degrees=st.sampled_from(["free", "fixed"]),
)
def test_what_random_edges_keep(nodes, density, seed, directed, loops, keep, degrees):
    data = random_graph(nodes, density, seed, directed, loops)
    before = adjacency(data.edge_index, nodes)
    proper = before - before.diagonal().diag()
    two_sides = module.Rewiring(Inputs(data), "edge_index")._sided
    room = nodes * (nodes - 1) - int(proper.sum())
    try:
        after = adjacency(drawn(gm.Edges(degrees=degrees, keep=keep), data, seed), nodes)
    except gm.InputError as error:
        assert "was not reached" in str(error)  # noqa: PT017
        assert degrees == "fixed" or two_sides or room < (1 - keep) * int(proper.sum()) + 2
        return
    assert int(after.max()) == 1
    assert int(after.sum()) == int(before.sum())
    assert torch.equal(after.diagonal(), before.diagonal())
    if torch.equal(before, before.T):
        assert torch.equal(after, after.T)
    if degrees == "fixed":
        assert torch.equal(after.sum(dim=0), before.sum(dim=0))
        assert torch.equal(after.sum(dim=1), before.sum(dim=1))
    kept = int(((after - after.diagonal().diag()) * proper).sum())
    assert kept <= keep * int(proper.sum())
    assert torch.equal(adjacency(data.edge_index, nodes), before)


@pytest.mark.parametrize("degrees", ["free", "fixed"])
def test_the_seed_decides_and_nothing_else(degrees):
    data, vary = toy_graph(), gm.Edges(degrees=degrees)
    before = torch.get_rng_state()
    runs = [drawn(vary, data, seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert runs[0].shape == runs[2].shape
    assert not torch.equal(runs[0], runs[2])


def test_all_pairs_are_equally_likely():
    """Six edges of fifteen pairs, 1000 times: within five standard deviations."""
    total = sum(adjacency(drawn(gm.Edges(), TRIANGLES, seed), 6) for seed in range(1000))
    share = total[*torch.triu_indices(6, 6, 1)] / 1000
    assert float((share - 0.4).abs().max()) < 5 * (0.24 / 1000) ** 0.5


def test_a_dense_graph_keeps_as_few_as_it_must():
    """18 of 21 pairs: 3 are free, so 15 of the reference's 18 stay."""
    pairs = [(u, v) for u in range(7) for v in range(u)]
    data = joined(*pairs[:18], nodes=7)
    both = adjacency(drawn(gm.Edges(keep=0.9), data), 7) * adjacency(data.edge_index, 7)
    assert int(both.sum()) == 2 * 15
    sentence = r"keep=0\.5 was not reached: 6 more of the reference's 18 edges had to stay\. Allow"
    with pytest.raises(gm.InputError, match=sentence):
        drawn(gm.Edges(keep=0.5), data)


# ---------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"edge_index": torch.cat([TRIANGLES.edge_index, TRIANGLES.edge_index[:, :3]], dim=1)},
            r"without repeated edges; 3 of 15 are\. Use data\.edge_index = .*coalesce",
        ),
        (
            {"edge_index": (1 - torch.eye(6)).nonzero().T},
            r"some pairs of nodes joined and some not; 30 of 30 are, which leaves nothing",
        ),
        ({"edge_index": torch.arange(6).expand(2, -1)}, r"some not; 0 of 30 are"),
    ],
    ids=["repeated", "complete", "only loops"],
)
def test_graphs_whose_edges_cannot_vary(change, sentence):
    data = TRIANGLES.clone().update(change)
    for use in (
        lambda d: gm.Edges().check(Inputs(d), "edge_index"),
        lambda d: drawn(gm.Edges(), d),
    ):
        with pytest.raises(gm.InputError, match=sentence):
            use(data)


def test_adj_t_alone_and_the_remedy():
    data = with_adj_t(toy_graph())
    with pytest.raises(gm.InputError, match=r"Edges needs data\.edge_index; .* only adj_t\. Set "):
        gm.Edges().check(Inputs(data), "edge_index")
    with pytest.raises(gm.InputError, match=r"EdgeWeights needs data\.edge_index; data has only"):
        gm.EdgeWeights().check(Inputs(data), "edge_weight")
    data.edge_index = to_edge_index(data.adj_t.t())[0]
    gm.Edges().check(Inputs(data), "edge_index")


def test_where_too_few_others_are():
    full = joined(*((u, v) for u in range(6) for v in range(u) if (u, v) != (5, 4)), nodes=6)
    with pytest.raises(gm.InputError, match=r"keep=0 was not reached: 13 more of .* 14 edges"):
        drawn(gm.Edges(keep=0.0), full)
    star = joined(*((0, v) for v in range(1, 6)), nodes=6)  # no other graph has its degrees
    assert torch.equal(adjacency(drawn(gm.Edges("fixed"), star), 6), adjacency(star.edge_index, 6))
    with pytest.raises(gm.InputError, match=r"keep=0\.5 was not reached: 3 more .*'free'"):
        drawn(gm.Edges(degrees="fixed", keep=0.5), star)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"degrees": "kept"}, r"degrees must be 'free' or 'fixed'; got 'kept'\."),
        ({"keep": -0.1}, r"keep must be a number from 0 to 1; got -0\.1\."),
        ({"keep": 1.5}, r"keep must be a number .*; got 1\.5\."),
        ({"keep": float("nan")}, r"keep must be a number .*; got nan\."),
        ({"keep": "all"}, r"keep must be a number .*; got 'all'\."),
        ({"slope": 0.0}, r"slope must be positive and finite; got 0\.0\."),
        ({"slope": float("inf")}, r"slope must be positive and finite; got inf\."),
    ],
)
def test_settings_out_of_range(options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        gm.Edges(**options)


# -------------------------------------------------------------------------------------- dense


@quick
@given(nodes=st.integers(4, 15), density=st.floats(0.1, 0.6), seed=st.integers(0, 1000))
def test_dense_adjacency_is_hard_symmetric_and_of_the_same_number(nodes, density, seed):
    data = random_graph(nodes, density, seed, False, False)
    variable = started(gm.Edges(), data, seed)
    (soft,) = variable.parameters
    first = variable.kept(variable.render())["edge_index"]
    assert torch.equal(adjacency(first, nodes), adjacency(drawn(gm.Edges(), data, seed), nodes))
    for step in range(3):
        changed: Changed = variable.render()
        dense = changed[ADJACENCY].detach()
        assert dense.unique().tolist() == [0, 1]
        assert torch.equal(dense, dense.T)
        assert not dense.diagonal().any()
        assert int(dense.sum()) == data.num_edges
        kept = variable.kept(changed)
        assert list(kept) == ["edge_index"]
        assert torch.equal(adjacency(kept["edge_index"], nodes).to(dense), dense)
        # The edges are the largest soft values above the diagonal.
        upper = torch.triu_indices(nodes, nodes, 1)
        chosen, values = dense[*upper].bool(), soft.detach()[*upper]
        assert float(values[chosen].min()) >= float(values[~chosen].max())
        with torch.no_grad():
            soft += torch.randn(soft.shape, generator=generator(seed + step))


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_dense_gradient_is_straight_through(slope):
    data = TRIANGLES.clone()
    data.x = data.x.double()
    variable = started(gm.Edges(slope=slope), data)
    (soft,) = variable.parameters
    g = torch.randn(6, 6, generator=generator(1), dtype=torch.float64)
    (variable.render()[ADJACENCY] * g).sum().backward()
    p = torch.sigmoid(slope * soft.detach())
    expected = (slope * p * (1 - p) * (g + g.T)).triu(1)
    torch.testing.assert_close(soft.grad, expected, rtol=1e-12, atol=1e-14)


def with_weights(data: Data) -> Data:
    return data.clone().update({"edge_weight": torch.ones(data.num_edges)})


@pytest.mark.parametrize(
    ("vary", "data", "sentence"),
    [
        (gm.Edges(degrees="fixed"), TRIANGLES, r"it needs Edges.*EdgeSwap"),
        (gm.Edges(keep=0.5), TRIANGLES, r"it needs Edges\(\), nodes of one type"),
        (gm.Edges(), with_weights(TRIANGLES), "one graph without edge attributes"),
        (gm.Edges(), Batch.from_data_list([TRIANGLES] * 2), "one graph without edge attributes"),
        (gm.Edges(), random_graph(8, 0.3, 0, True, False), "undirected edges without self-loops"),
        (gm.Edges(), random_graph(8, 0.3, 0, False, True), "undirected edges without self-loops"),
        (
            gm.Edges(),
            joined(*((v, v + 1) for v in range(8)), nodes=9),
            r"every pair of up to 8 nod",
        ),
    ],
    ids=["degrees", "keep", "weights", "batch", "directed", "loops", "large"],
)
def test_dense_keeps_the_number_and_nothing_else(vary, data, sentence, monkeypatch):
    monkeypatch.setattr(module, "DENSE_NODES", 8)
    with pytest.raises(gm.InputError, match=sentence):
        vary.start(Inputs.of(data), "edge_index", generator())


def test_several_types_of_edges():
    """Which of them vary has to be said; those of a batch stay in their graphs."""
    data = HeteroData()
    data["a"].x, data["b"].x = torch.ones(4, 1), torch.ones(5, 1)
    data["a", "to", "b"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4]])
    data["b", "to", "b"].edge_index = torch.tensor([[0, 1], [1, 2]])
    inputs = Inputs.of(Batch.from_data_list([data, data, data]))
    with pytest.raises(gm.InputError, match=r"edges of 2 types; say which .*'a-to-b\.edge_index'"):
        gm.Edges().keys(inputs)
    at = "a-to-b.edge_index"
    edges = gm.Edges().random(inputs, at, generator())[at]
    assert not torch.equal(edges, inputs[at])
    assert torch.equal(edges[0] // 4, edges[1] // 5)
    assert torch.bincount(edges[0] // 4).tolist() == [4, 4, 4]


# ------------------------------------------------------------------------------------- weights


def weighted(data: Data, low: float = 0.5, high: float = 2.0) -> Data:
    same = data.clone()
    u, v = data.edge_index
    same.edge_weight = low + (high - low) * ((u + 1) * (v + 1) % 7).float() / 7
    return same


@quick
@given(
    seed=st.integers(0, 1000),
    directed=st.booleans(),
    bounds=st.sampled_from([(0.0, None), (None, None), (0.2, 2.5), (None, 2.0)]),
)
def test_weights_stay_within_bounds_and_are_the_same_both_ways(seed, directed, bounds):
    data = weighted(random_graph(12, 0.3, seed, directed, False))
    low, high = bounds
    variable = started(gm.EdgeWeights(low=low, high=high), data, seed)
    (soft,) = variable.parameters
    with torch.no_grad():
        soft *= 4
    weight = variable.render()["edge_weight"].detach()
    assert float(weight.min()) >= (-torch.inf if low is None else low)
    assert float(weight.max()) <= (torch.inf if high is None else high)
    matrix = torch.zeros(12, 12).index_put(tuple(data.edge_index), weight)
    there = adjacency(data.edge_index, 12)
    if torch.equal(there, there.T):
        assert torch.equal(matrix, matrix.T)
        assert len(soft) == data.num_edges // 2
    else:
        assert len(soft) == data.num_edges


def test_weights_start_at_the_references_mean_and_spread():
    nodes = 120
    data = weighted(random_graph(nodes, 0.5, 0, True, False))
    soft = started(gm.EdgeWeights(low=None), data).parameters[0].detach()
    assert float(soft.mean()) == pytest.approx(float(data.edge_weight.mean()), abs=0.03)
    assert float(soft.std()) == pytest.approx(float(data.edge_weight.std()), rel=0.05)
    del data.edge_weight
    soft = started(gm.EdgeWeights(spread=0.3), data).parameters[0].detach()
    assert float(soft.mean()) == pytest.approx(1, abs=0.03)
    assert float(soft.std()) == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("batched", [False, True])
def test_prepared_puts_ones_which_change_nothing(batched):
    data = Batch.from_data_list([toy_graph(), toy_graph()]) if batched else toy_graph()
    inputs = Inputs.of(data)
    prepared = gm.EdgeWeights().prepared(inputs, "edge_weight")
    assert torch.equal(prepared["edge_weight"], torch.ones(data.num_edges))
    assert "edge_weight" not in data
    assert gm.EdgeWeights().prepared(prepared, "edge_weight") is prepared
    if batched:
        assert len(prepared.single(1)["edge_weight"]) == toy_graph().num_edges
    model = seeded(lambda: GCN(FEATURES, 8, 2, 3)).eval()
    with torch.no_grad():
        plain = model(data.x, data.edge_index)
        ones = model(data.x, data.edge_index, edge_weight=prepared["edge_weight"])
    torch.testing.assert_close(ones, plain)


def test_both_directions_of_a_pair_in_each_graph_of_a_batch():
    inputs = Inputs.of(Batch.from_data_list([weighted(TRIANGLES), weighted(TRIANGLES)]))
    variable = gm.EdgeWeights().start(inputs, "edge_weight", generator())
    assert len(variable.parameters[0]) == 12
    weight = variable.render()["edge_weight"].detach()
    matrix = torch.zeros(12, 12).index_put(tuple(inputs["edge_index"]), weight)
    assert torch.equal(matrix, matrix.T)
    assert not torch.equal(matrix[:6, :6], matrix[6:, 6:])


def test_weights_of_a_model_that_uses_them():
    data, model = toy_graph(), seeded(lambda: GCN(FEATURES, 8, 2, 3)).eval()
    m = gm.metamer(model, data, "act", vary=gm.EdgeWeights(), search=gm.Adam(lr=0.05, steps=60))
    assert m.activation_error < 0.5 * m.scores["start_activation_error"]
    assert float(m.data.edge_weight.min()) >= 0
    assert torch.equal(m.data.edge_index, data.edge_index)
    assert "edge_weight" not in data
    with torch.no_grad():
        out = model(m.data.x, m.data.edge_index, edge_weight=m.data.edge_weight)
        true = model(data.x, data.edge_index)
    error = (out - true).square().sum() / true.square().sum()
    assert m.scores["output_error"] == pytest.approx(float(error), rel=1e-4)


@pytest.mark.parametrize("build", [GAT, GIN, GraphSAGE])
def test_models_that_ignore_weights_are_refused(build):
    model = seeded(lambda: build(FEATURES, 8, 2, 3))
    sentence = r"does not depend on what varies \(edge_weight, EdgeWeights\)"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, toy_graph(), "output", vary=gm.EdgeWeights())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 1.0, "high": 1.0}, r"low and high must be numbers, .* got low=1\.0"),
        ({"low": 2.0, "high": 1.0}, r"low and high must be numbers"),
        ({"low": float("nan")}, r"low and high must be numbers, .* got low=nan"),
        ({"low": torch.zeros(2)}, r"low and high must be numbers"),
        ({"spread": 0.0}, r"spread must be positive and finite; got 0\.0\."),
    ],
)
def test_weight_settings_out_of_range(options, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.EdgeWeights(**options)


@pytest.mark.parametrize(
    ("vary", "change", "sentence"),
    [
        (gm.EdgeWeights(high=1.0), {}, r"must hold the reference; data\.edge_weight goes from"),
        (
            gm.EdgeWeights(),
            {"edge_weight": torch.ones(12, 1)},
            r"one real number an edge; got float",
        ),
        (gm.EdgeWeights(), {"edge_weight": torch.ones(12).long()}, r"real number .*; got int64"),
        (
            gm.EdgeWeights(),
            {
                "edge_index": torch.cat([TRIANGLES.edge_index[:, :9]] * 2, dim=1),
                "edge_weight": torch.ones(18),
            },
            "EdgeWeights needs a graph without repeated edges; 9 of 18 are",
        ),
    ],
    ids=["bounds", "matrix", "integers", "repeated"],
)
def test_weights_that_cannot_vary(vary, change, sentence):
    data = weighted(TRIANGLES, 0.5, 2.0).update(change)
    with pytest.raises(gm.InputError, match=sentence):
        vary.check(Inputs(data), "edge_weight")


def test_weights_of_both_directions_stay_apart_where_they_are():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    data = Data(x=torch.eye(3), edge_index=edges, edge_weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert len(started(gm.EdgeWeights(), data).render()["edge_weight"].unique()) == 4
    data.edge_weight = torch.full((4,), 0.1)  # all the same: `spread` is how far they start apart
    assert float(started(gm.EdgeWeights(), data).render()["edge_weight"].detach().std()) > 0.1


def test_weights_that_change_the_response_are_refused():
    data, model = gm.datasets.csbm(nodes=20, features=10), GCNConv(10, 3, improved=True)
    with pytest.raises(gm.InputError, match="GCNConv responds otherwise once its edges have"):
        gm.metamer(model, data, "output", vary=gm.EdgeWeights(), progress=False)


def test_a_graph_whose_edges_varied_is_saved_as_before(tmp_path):
    """PyG remembers what it was asked of a graph, and `torch.load` refuses a file with that."""
    data, model = toy_graph(), seeded(lambda: GCN(FEATURES, 8, 2, 3))
    for vary, search in ((gm.Edges(), gm.EdgeSwap(steps=1)), (gm.EdgeWeights(), gm.Adam(steps=1))):
        gm.metamer(model, data, "act", vary=vary, search=search)
    torch.save(data, tmp_path / "graph.pt")
    assert load_graph(tmp_path / "graph.pt").keys() == data.keys()
