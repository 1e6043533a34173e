"""Edges vary: what every random graph keeps, the dense relaxation, weights, and refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import GAT, GCN, GIN, GCNConv, GraphSAGE
from torch_geometric.utils import to_edge_index

import graph_metamers as gm
from graph_metamers.measure import edge_overlap
from graph_metamers.own import load_graph
from graph_metamers.vary import edges as module
from helpers import FEATURES, left_as_found, seeded, toy_graph, unchecked_types, with_adj_t

quick = settings(deadline=None, max_examples=40)


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


def adjacency(data: Data) -> Tensor:
    nodes = len(data.x)
    counts = torch.zeros(nodes, nodes, dtype=torch.long)
    one = torch.ones(data.num_edges, dtype=torch.long)
    return counts.index_put(tuple(data.edge_index), one, accumulate=True)


def joined(*pairs: tuple[int, int], nodes: int) -> Data:
    edges = torch.tensor(pairs).T
    return Data(x=torch.eye(nodes), edge_index=torch.cat([edges, edges.flip(0)], dim=1))


RING = joined(*((v, (v + 1) % 6) for v in range(6)), nodes=6)


# ------------------------------------------------------------------------------- random graphs


@quick
@given(
    nodes=st.integers(4, 25),
    density=st.floats(0.05, 0.9),
    seed=st.integers(0, 1000),
    directed=st.booleans(),
    loops=st.booleans(),
    keep=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    degrees=st.sampled_from(["free", "fixed"]),
)
def test_what_random_edges_keep(nodes, density, seed, directed, loops, keep, degrees):
    data = random_graph(nodes, density, seed, directed, loops)
    before = adjacency(data)
    proper = before - before.diagonal().diag()
    vary = gm.Edges(degrees=degrees, keep=keep)
    room = nodes * (nodes - 1) - int(proper.sum())
    try:
        graph = vary.random(data, generator(seed))
    except gm.InputError as error:
        assert "was not reached" in str(error)  # noqa: PT017
        assert degrees == "fixed" or room < (1 - keep) * int(proper.sum()) + 2
        return
    after = adjacency(graph)
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
    assert graph.x is data.x
    assert torch.equal(adjacency(data), before)


@pytest.mark.parametrize("degrees", ["free", "fixed"])
def test_the_seed_decides_and_nothing_else(degrees):
    data, vary = toy_graph(), gm.Edges(degrees=degrees)
    before = torch.get_rng_state()
    runs = [vary.random(data, generator(seed)).edge_index for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(runs[0], runs[1])
    assert runs[0].shape == runs[2].shape
    assert not torch.equal(runs[0], runs[2])


def test_all_pairs_are_equally_likely():
    """Six edges of fifteen pairs, 2000 times: within five standard deviations."""
    total = sum(adjacency(gm.Edges().random(RING, generator(s))) for s in range(2000))
    share = total[*torch.triu_indices(6, 6, 1)] / 2000
    assert float((share - 0.4).abs().max()) < 5 * (0.24 / 2000) ** 0.5


def test_a_dense_graph_keeps_as_few_as_it_must():
    """18 of 21 pairs: 3 are free, so 15 of the reference's 18 stay."""
    pairs = [(u, v) for u in range(7) for v in range(u)]
    data = joined(*pairs[:18], nodes=7)
    graph = gm.Edges(keep=0.9).random(data, generator())
    assert int((adjacency(graph) * adjacency(data)).sum()) == 2 * 15
    sentence = r"keep=0\.5 was not reached: 6 more of the reference's 18 edges had to stay\. Allow"
    with pytest.raises(gm.InputError, match=sentence):
        gm.Edges(keep=0.5).random(data, generator())


# ---------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"edge_weight": torch.ones(12)},
            r"Edges cannot vary a graph with data\.edge_weight: an edge that comes has none\. "
            r"Remove it \(del data\.edge_weight\), or vary=EdgeWeights\(\)\.",
        ),
        ({"edge_attr": torch.ones(12, 2)}, r"a graph with data\.edge_attr: .*del data\.edge_attr"),
        (
            {"edge_index": torch.cat([RING.edge_index, RING.edge_index[:, :3]], dim=1)},
            r"without repeated edges; 3 of 15 are\. Use data\.edge_index = .*coalesce",
        ),
        (
            {"edge_index": (1 - torch.eye(6)).nonzero().T},
            r"some pairs of nodes joined and some not; 30 of 30 are, which leaves nothing",
        ),
        ({"edge_index": torch.arange(6).expand(2, -1)}, r"some not; 0 of 30 are"),
    ],
    ids=["weight", "attributes", "repeated", "complete", "only loops"],
)
def test_graphs_whose_edges_cannot_vary(change, sentence):
    data = RING.clone().update(change)
    for use in (gm.Edges().check, lambda d: gm.Edges().random(d, generator())):
        with pytest.raises(gm.InputError, match=sentence):
            use(data)


def test_adj_t_alone_and_the_remedy():
    data = with_adj_t(toy_graph())
    with pytest.raises(gm.InputError, match=r"Edges needs data\.edge_index; .* only adj_t\. Set "):
        gm.Edges().check(data)
    data.edge_index = to_edge_index(data.adj_t.t())[0]
    gm.Edges().check(data)
    assert torch.equal(adjacency(data), adjacency(toy_graph()))
    with pytest.raises(gm.InputError, match=r"EdgeWeights needs data\.edge_index; data has only"):
        gm.EdgeWeights().check(with_adj_t(toy_graph()))


def test_no_room_for_new_edges():
    data = joined(*((u, v) for u in range(6) for v in range(u) if (u, v) != (5, 4)), nodes=6)
    with pytest.raises(gm.InputError, match=r"keep=0 was not reached: 13 more of .* 14 edges"):
        gm.Edges(keep=0.0).random(data, generator())


def test_a_star_has_no_other_graph_of_its_degrees():
    star = joined(*((0, v) for v in range(1, 6)), nodes=6)
    graph = gm.Edges(degrees="fixed").random(star, generator())
    assert torch.equal(adjacency(graph), adjacency(star))
    with pytest.raises(gm.InputError, match=r"keep=0\.5 was not reached: 3 more .*'free'"):
        gm.Edges(degrees="fixed", keep=0.5).random(star, generator())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"degrees": "kept"}, r"degrees must be 'free' or 'fixed'; got 'kept'\."),
        ({"keep": -0.1}, r"keep is the share of the edges that may stay, 0 to 1; got -0\.1\."),
        ({"keep": 1.5}, r"keep is the share .*; got 1\.5\."),
        ({"keep": float("nan")}, r"keep is the share .*; got nan\."),
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
    variable = gm.Edges().start(data, generator(seed))
    (soft,) = variable.parameters
    for step in range(3):
        graph = variable.render()
        dense = graph.soft_adjacency.detach()
        assert dense.unique().tolist() == [0, 1]
        assert torch.equal(dense, dense.T)
        assert not dense.diagonal().any()
        assert int(dense.sum()) == data.num_edges
        kept = variable.kept(graph)
        assert "soft_adjacency" not in kept
        assert torch.equal(adjacency(kept).to(dense), dense)
        # The edges are the largest soft values above the diagonal.
        upper = torch.triu_indices(nodes, nodes, 1)
        chosen = dense[*upper].bool()
        assert float(soft.detach()[*upper][chosen].min()) >= float(
            soft.detach()[*upper][~chosen].max()
        )
        with torch.no_grad():
            soft += torch.randn(soft.shape, generator=generator(seed + step))


@pytest.mark.parametrize("slope", [0.5, 1.0, 3.0])
def test_dense_gradient_is_straight_through(slope):
    data = RING.clone()
    data.x = data.x.double()
    variable = gm.Edges(slope=slope).start(data, generator())
    (soft,) = variable.parameters
    g = torch.randn(6, 6, generator=generator(1), dtype=torch.float64)
    (variable.render().soft_adjacency * g).sum().backward()
    p = torch.sigmoid(slope * soft.detach())
    expected = (slope * p * (1 - p) * (g + g.T)).triu(1)
    torch.testing.assert_close(soft.grad, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("vary", [gm.Edges(degrees="fixed"), gm.Edges(keep=0.5)])
def test_dense_keeps_the_number_and_nothing_else(vary):
    with pytest.raises(gm.InputError, match=r"nothing else: it needs Edges\(\); got .*EdgeSwap"):
        vary.start(RING, generator())


@pytest.mark.parametrize(("directed", "loops"), [(True, False), (False, True)])
def test_dense_needs_undirected_edges_without_loops(directed, loops):
    data = random_graph(8, 0.3, 0, directed, loops)
    with pytest.raises(gm.InputError, match="needs undirected edges without self-loops"):
        gm.Edges().start(data, generator())


def test_dense_is_for_small_graphs(monkeypatch):
    monkeypatch.setattr(module, "DENSE_NODES", 5)
    with pytest.raises(gm.InputError, match=r"every pair of up to 5 nodes; data has 6\. Use "):
        gm.Edges().start(RING, generator())


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
    variable = gm.EdgeWeights(low=low, high=high).start(data, generator(seed))
    (soft,) = variable.parameters
    with torch.no_grad():
        soft *= 4
    graph = variable.render()
    weight = graph.edge_weight.detach()
    assert torch.equal(graph.edge_index, data.edge_index)
    assert float(weight.min()) >= (-torch.inf if low is None else low)
    assert float(weight.max()) <= (torch.inf if high is None else high)
    matrix = torch.zeros(12, 12).index_put(tuple(data.edge_index), weight)
    there = adjacency(data)
    if torch.equal(there, there.T):
        assert torch.equal(matrix, matrix.T)
        assert len(soft) == data.num_edges // 2
    else:
        assert len(soft) == data.num_edges


def test_weights_start_at_the_references_mean_and_spread():
    nodes = 120
    data = weighted(random_graph(nodes, 0.5, 0, True, False))
    soft = gm.EdgeWeights(low=None).start(data, generator()).parameters[0].detach()
    assert float(soft.mean()) == pytest.approx(float(data.edge_weight.mean()), abs=0.03)
    assert float(soft.std()) == pytest.approx(float(data.edge_weight.std()), rel=0.05)
    del data.edge_weight
    soft = gm.EdgeWeights(spread=0.3).start(data, generator()).parameters[0].detach()
    assert float(soft.mean()) == pytest.approx(1, abs=0.03)
    assert float(soft.std()) == pytest.approx(0.3, rel=0.05)


def test_prepared_puts_ones_which_change_nothing():
    data = toy_graph()
    prepared = gm.EdgeWeights().prepared(data)
    assert torch.equal(prepared.edge_weight, torch.ones(data.num_edges))
    assert "edge_weight" not in data
    model = seeded(lambda: GCN(FEATURES, 8, 2, 3)).eval()
    with torch.no_grad():
        plain = model(data.x, data.edge_index)
        ones = model(data.x, data.edge_index, edge_weight=prepared.edge_weight)
    torch.testing.assert_close(ones, plain)
    weighty = weighted(data)
    assert gm.EdgeWeights().prepared(weighty) is weighty


def test_weights_of_a_model_that_uses_them():
    data, model = toy_graph(), seeded(lambda: GCN(FEATURES, 8, 2, 3))
    before = data.clone()
    with left_as_found(model):
        m = gm.metamer(model, data, "act", vary=gm.EdgeWeights(), search=gm.Adam(lr=0.05, steps=60))
    assert m.activation_error < 0.5 * m.history[0]
    assert float(m.data.edge_weight.min()) >= 0
    assert torch.equal(m.data.edge_index, data.edge_index)
    assert "edge_weight" not in data
    assert data.keys() == before.keys()
    with torch.no_grad():
        out = model(m.data.x, m.data.edge_index, edge_weight=m.data.edge_weight)
        true = model(data.x, data.edge_index)
    error = (out - true).square().sum() / true.square().sum()
    assert m.scores["output_error"] == pytest.approx(float(error), rel=1e-4)


@pytest.mark.parametrize("build", [GAT, GIN, GraphSAGE])
def test_models_that_ignore_weights_are_refused(build):
    model = seeded(lambda: build(FEATURES, 8, 2, 3))
    sentence = r"does not depend on what varies \(EdgeWeights\)"
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, toy_graph(), "output", vary=gm.EdgeWeights())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 1.0, "high": 1.0}, r"low must be less than high; got low=1\.0, high=1\.0\. None "),
        ({"low": 2.0, "high": 1.0}, r"low must be less than high"),
        ({"low": float("nan")}, r"low must be less than high; got low=nan"),
        ({"spread": 0.0}, r"spread must be positive and finite; got 0\.0\."),
    ],
)
def test_weight_settings_out_of_range(options, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.EdgeWeights(**options)


def test_weights_that_cannot_vary():
    data = weighted(RING, 0.5, 2.0)
    with pytest.raises(
        gm.InputError, match=r"must hold the reference; data\.edge_weight goes from"
    ):
        gm.EdgeWeights(high=1.0).check(data)
    data.edge_weight = torch.ones(12, 1)
    with pytest.raises(gm.InputError, match=r"one real number an edge; got \[12, 1\] of float32\."):
        gm.EdgeWeights().check(data)
    data.edge_weight = torch.ones(12, dtype=torch.long)
    with pytest.raises(gm.InputError, match=r"one real number an edge; got \[12\] of int64\."):
        gm.EdgeWeights().check(data)


def test_other_edge_attributes_are_refused():
    data = gm.datasets.csbm(nodes=20, features=10)
    data.edge_type = torch.zeros(data.num_edges, dtype=torch.long)
    with pytest.raises(gm.InputError, match=r"cannot vary a graph with data\.edge_type"):
        gm.Edges().check(data)


def test_loops_are_no_kept_edges():
    data = gm.datasets.csbm(nodes=20, features=10)
    loops = torch.arange(20).repeat(2, 1)
    data.edge_index = torch.cat([data.edge_index, loops], dim=1)
    graph = gm.Edges(keep=0.0).random(data, torch.Generator().manual_seed(0))
    assert edge_overlap(data.edge_index, graph.edge_index, 20)["edges_kept"] == 0


def test_the_dense_start_is_the_random_graph():
    data = gm.datasets.csbm(nodes=40, features=10)
    model = gm.zoo.GCN(10, 3)
    search = gm.Adam(steps=2)
    m = gm.metamer(model, data, "layer1", vary=gm.Edges(), search=search, seed=3, progress=False)
    assert m.history[0] == pytest.approx(m.scores["start_activation_error"], rel=1e-4)


def test_equal_weights_start_elsewhere():
    data = gm.datasets.csbm(nodes=20, features=10)
    data.edge_weight = torch.full((data.num_edges,), 0.3)
    variable = gm.EdgeWeights().start(data, torch.Generator().manual_seed(0))
    assert float(variable.render().edge_weight.detach().std()) > 0.1


def test_weights_of_both_directions_stay_apart_where_they_are():
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    data = Data(x=torch.eye(3), edge_index=edges, edge_weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    weight = gm.EdgeWeights().start(data, torch.Generator().manual_seed(0)).render().edge_weight
    assert len(weight.unique()) == 4


def test_weights_of_repeated_edges_are_refused():
    data = Data(x=torch.eye(2), edge_index=torch.tensor([[0, 0, 1], [1, 1, 0]]))
    with pytest.raises(gm.InputError, match="EdgeWeights needs a graph without repeated edges"):
        gm.EdgeWeights().check(data)


def test_weights_that_change_the_response_are_refused():
    data = gm.datasets.csbm(nodes=20, features=10)
    model = GCNConv(10, 3, improved=True)
    with pytest.raises(gm.InputError, match="GCNConv responds otherwise once its edges have"):
        gm.metamer(model, data, "output", vary=gm.EdgeWeights(), progress=False)


@pytest.mark.parametrize("missing", ["x", "edge_index"])
def test_weights_of_nothing(missing):
    data = gm.datasets.csbm(nodes=20, features=10)
    del data[missing]
    with pytest.raises(gm.InputError, match=rf"data\.{missing} must be"):
        gm.metamer(gm.zoo.GCN(10, 3), data, "layer1", vary=gm.EdgeWeights(), progress=False)


def test_a_graph_whose_edges_varied_is_saved_as_before(tmp_path):
    """PyG remembers what it was asked of a graph, and `torch.load` refuses a file with that."""
    data = gm.datasets.csbm(nodes=30, features=8, density=0.2)
    model = seeded(lambda: gm.zoo.GCN(8, 3))
    for vary, search in ((gm.Edges(), gm.EdgeSwap(steps=1)), (gm.EdgeWeights(), gm.Adam(steps=1))):
        gm.metamer(model, data, "layer1", vary=vary, search=search)
    torch.save(data, tmp_path / "graph.pt")
    assert load_graph(tmp_path / "graph.pt").keys() == data.keys()
