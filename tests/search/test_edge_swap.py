"""EdgeSwap: the error only falls, what is promised of the edges holds, any model will do."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import (
    GATConv,
    GCNConv,
    GINConv,
    GraphConv,
    GraphUNet,
    SAGEConv,
    global_mean_pool,
)

import graph_metamers as gm
from graph_metamers.measure import edge_overlap
from graph_metamers.probe.flows import record_flows
from graph_metamers.search import EdgeSwap, Problem, Status, checkpoint
from graph_metamers.search.edge_gains import Gains
from graph_metamers.search.edge_swap import _Walk
from graph_metamers.vary.rewiring import Rewiring
from helpers import FEATURES, TwoLayers, left_as_found, seeded, toy_graph


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adjacency(data: Data) -> Tensor:
    nodes = len(data.x)
    counts = torch.zeros(nodes, nodes, dtype=torch.long)
    one = torch.ones(data.num_edges, dtype=torch.long)
    return counts.index_put(tuple(data.edge_index), one, accumulate=True)


def random_graph(nodes: int = 20, *, seed: int = 0, directed: bool = False, width: int = 5) -> Data:
    there = torch.rand(nodes, nodes, generator=generator(seed)) < 0.15
    there = there if directed else there | there.T
    there[0, 1] = there[1, 0] = True
    there[0, 2] = there[2, 0] = False
    edges = there.fill_diagonal_(False).nonzero().T.contiguous()
    return Data(x=torch.randn(nodes, width, generator=generator(seed + 1)), edge_index=edges)


def posed(model: nn.Module, data: Data, vary: gm.Edges | None = None, **other) -> Problem:
    """The output of a model, frozen, with what flows in it."""
    model = model.eval().requires_grad_(False)

    def activations(graph: Data) -> list[Tensor]:
        return [model(graph.x, graph.edge_index)]

    return Problem(
        data=data,
        vary=vary or gm.Edges(),
        targets=activations(data),
        activations=activations,
        record=lambda run: record_flows(model, run),
        **{"tol": 1e-2} | other,
    )


def gcn(width: int = 5) -> nn.Module:
    return seeded(lambda: GCNConv(width, 4))


def check_edges(graph: Data, data: Data, vary: gm.Edges) -> None:
    before, after = adjacency(data), adjacency(graph)
    assert int(after.max()) == 1
    assert int(after.sum()) == int(before.sum())
    assert torch.equal(after.diagonal(), before.diagonal())
    if torch.equal(before, before.T):
        assert torch.equal(after, after.T)
    if vary.degrees == "fixed":
        assert torch.equal(after.sum(dim=0), before.sum(dim=0))
        assert torch.equal(after.sum(dim=1), before.sum(dim=1))
    kept = edge_overlap(data.edge_index, graph.edge_index, len(data.x))["edges_kept"]
    assert kept <= vary.keep + 1e-9


VARIES = [
    gm.Edges(),
    gm.Edges(degrees="fixed"),
    gm.Edges(keep=0.2),
    gm.Edges(degrees="fixed", keep=0.3),
]


@pytest.mark.parametrize("vary", VARIES, ids=str)
@pytest.mark.parametrize("directed", [False, True])
def test_the_error_never_rises_and_the_promises_hold(vary, directed):
    data = random_graph(30, directed=directed)
    problem = posed(gcn(), data, vary)
    found = EdgeSwap(steps=30).run(problem, generator())
    assert all(b <= a for a, b in pairwise(found.history))
    assert found.error == min(found.history)
    assert found.history.index(found.error) == found.best_step
    assert found.error == pytest.approx(float(problem.error(found.graph)), rel=1e-4, abs=1e-8)
    assert found.error < 0.8 * found.history[0]
    assert found.steps == len(found.history) - 1
    check_edges(found.graph, data, vary)
    start = vary.random(data, generator())
    assert found.history[0] == pytest.approx(float(problem.error(start)), rel=1e-4)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    nodes=st.integers(8, 25),
    directed=st.booleans(),
    degrees=st.sampled_from(["free", "fixed"]),
    heat=st.sampled_from([0.0, 0.5]),
)
def test_any_graph(seed, nodes, directed, degrees, heat):
    data, vary = random_graph(nodes, seed=seed, directed=directed), gm.Edges(degrees=degrees)
    problem = posed(gcn(), data, vary)
    found = EdgeSwap(steps=8, temperature=heat).run(problem, generator(seed))
    assert heat or all(b <= a for a, b in pairwise(found.history))
    assert found.error == min(found.history)
    assert found.error == pytest.approx(float(problem.error(found.graph)), rel=1e-4, abs=1e-8)
    check_edges(found.graph, data, vary)


def test_heat_leaves_minima_and_the_best_graph_is_returned():
    data = random_graph(25)
    problem = posed(gcn(), data, tol=1e-9)
    found = EdgeSwap(steps=60, temperature=20.0).run(problem, generator())
    assert any(b > a for a, b in pairwise(found.history))
    assert found.error == min(found.history)
    assert found.history.index(found.error) == found.best_step
    assert float(problem.error(found.graph)) == pytest.approx(found.error, rel=1e-4, abs=1e-8)


# -------------------------------------------------------------------------------- any model


class Dense(nn.Module):
    """No convolution: a dense matrix, and nothing that hooks could see."""

    def __init__(self, width: int, out: int = 4) -> None:
        super().__init__()
        self.lin = nn.Linear(width, out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        matrix = x.new_zeros(len(x), len(x)).index_put(tuple(edge_index), x.new_ones(()))
        return matrix.T @ self.lin(x).tanh()


class Pooled(nn.Module):
    """One vector for the whole graph."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.head = GINConv(nn.Linear(width, 6)), nn.Linear(6, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.head(global_mean_pool(self.conv(x, edge_index).relu(), None))


MODELS = {
    "GCN": lambda w: TwoLayers(conv1=GCNConv(w, 8), conv2=GCNConv(8, 3)),
    "SAGE": lambda w: TwoLayers(conv1=SAGEConv(w, 8), conv2=SAGEConv(8, 3)),
    "SAGE max": lambda w: TwoLayers(conv1=SAGEConv(w, 8, aggr="max"), conv2=SAGEConv(8, 3)),
    "GAT": lambda w: TwoLayers(conv1=GATConv(w, 4, heads=2), conv2=GATConv(8, 3)),
    "GIN": lambda w: TwoLayers(conv1=GINConv(nn.Linear(w, 8)), conv2=GINConv(nn.Linear(8, 3))),
    "dense matrix": Dense,
    "pooled": Pooled,
    "Graphormer": lambda w: gm.zoo.Graphormer(w, 3),
}


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_any_model(name, directed):
    data = random_graph(18, directed=directed, width=6)
    if name == "Graphormer":
        data.x = (data.x > 0).float()
    model = seeded(lambda: MODELS[name](6)).train()
    before = data.clone()
    with left_as_found(model):
        m = gm.metamer(model, data, "output", vary=gm.Edges(), search=EdgeSwap(steps=25))
    assert all(b <= a for a, b in pairwise(m.history))
    assert m.activation_error == pytest.approx(m.history[m.best_step], rel=1e-3, abs=1e-6)
    assert m.activation_error < m.history[0]
    check_edges(m.data, data, gm.Edges())
    assert torch.equal(m.data.x, data.x)
    assert torch.equal(data.x, before.x)
    assert torch.equal(data.edge_index, before.edge_index)
    assert data.keys() == before.keys()
    with torch.no_grad():
        out, true = (model.eval()(d.x, d.edge_index) for d in (m.data, data))
    error = (out - true).square().sum() / true.square().sum()
    assert m.activation_error == pytest.approx(float(error), rel=1e-3, abs=1e-6)


def test_auto_takes_it():
    model = seeded(lambda: TwoLayers())
    m = gm.metamer(model, toy_graph(), "conv1", vary=gm.Edges(), search=gm.Auto(steps=20))
    assert m.search.startswith("EdgeSwap(steps=20")
    assert m.vary.startswith("Edges")
    assert 0 <= m.scores["structure_similarity"] <= 1
    assert 0 <= m.scores["edges_kept"] <= 1


def test_twins_are_found_out():
    """Two pairs of equal nodes in a perfect matching: the one other exact graph is a twin of it.

    Features e, f twice each, joined e–f; the sum at each node is its partner's feature, so any
    error-free matching joins an e with an f: the reference, or its twins exchanged.
    """
    x = torch.eye(2).repeat_interleave(2, dim=0)
    edges = torch.tensor([[0, 2, 1, 3], [2, 0, 3, 1]])
    data = Data(x=x, edge_index=edges)
    conv = GraphConv(2, 2, bias=False)
    with torch.no_grad():
        conv.lin_rel.weight.copy_(torch.eye(2))
        conv.lin_root.weight.zero_()

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.conv(x, edge_index)

    vary = gm.Edges(degrees="fixed", keep=0.0)
    m = gm.metamer(One(), data, "conv", vary=vary, search=EdgeSwap(steps=50))
    assert m.activation_error == 0
    assert m.status is Status.MATCHED
    assert m.notes["isomorphic"] == 1
    there = adjacency(m.data)
    assert there.tolist() == [[0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]


def test_what_is_no_twin_is_not_called_one():
    model = seeded(lambda: TwoLayers())
    m = gm.metamer(model, toy_graph(), "conv1", vary=gm.Edges(), search=EdgeSwap(steps=5))
    assert m.notes["isomorphic"] == 0


# -------------------------------------------------------------------------------- how it ends


def test_matched_and_stopped_at_tol():
    problem = posed(gcn(), random_graph(25), tol=0.1)
    on = EdgeSwap(steps=60).run(problem, generator())
    stopped = EdgeSwap(steps=60, stop_at_tol=True).run(problem, generator())
    assert on.status is stopped.status is Status.MATCHED
    assert stopped.steps < on.steps
    assert stopped.history == on.history[: len(stopped.history)]
    assert stopped.error <= 0.1 < stopped.history[-2]


def test_the_budget_is_kept():
    problem = posed(gcn(), random_graph(25), tol=1e-12)
    found = EdgeSwap(steps=3).run(problem, generator())
    assert (found.status, found.steps, len(found.history)) == (Status.BUDGET_SPENT, 3, 4)


def test_a_plateau_is_stalled_unless_patience_is_none_or_it_is_warm():
    problem = posed(gcn(), random_graph(25), tol=1e-12)
    found = EdgeSwap(steps=80, patience=10).run(problem, generator())
    assert found.status is Status.STALLED
    assert found.steps < 80
    for search in (EdgeSwap(steps=80, patience=None), EdgeSwap(80, 1e-3, patience=10)):
        assert search.run(problem, generator()).status is Status.BUDGET_SPENT


def test_nonfinite_at_the_start():
    problem = posed(gcn(), random_graph(25))
    broken = replace(problem, activations=lambda g: [h * torch.nan for h in problem.activations(g)])
    found = EdgeSwap(steps=9).run(broken, generator())
    assert (found.status, found.steps) == (Status.NONFINITE, 0)


def test_watch_sees_every_step():
    seen = []
    problem = posed(gcn(), random_graph(25), tol=1e-12)
    found = EdgeSwap(steps=6).run(problem, generator(), watch=lambda *p: seen.append(p))
    assert seen == [(k, 6, error) for k, error in enumerate(found.history)][1:]


# ------------------------------------------------------------------------------ chance, resume


def test_the_seed_decides():
    problem = posed(gcn(), random_graph(25))
    before = torch.get_rng_state()
    runs = [EdgeSwap(steps=8).run(problem, generator(s)) for s in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    assert runs[0].history == runs[1].history
    assert torch.equal(runs[0].graph.edge_index, runs[1].graph.edge_index)
    assert runs[0].history != runs[2].history


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stops", [[1], [5, 3]])
@pytest.mark.parametrize("heat", [0.0, 1.0])
@pytest.mark.parametrize("vary", [VARIES[0], VARIES[3]], ids=str)
@pytest.mark.parametrize("build", [gcn, lambda: seeded(lambda: Dense(5))], ids=["GCN", "dense"])
def test_resumed_is_bitwise_the_same(stops, heat, vary, build, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)
    problem = posed(build(), random_graph(25), vary, identity="one", tol=1e-12)
    search, path = EdgeSwap(steps=12, temperature=heat, patience=None), tmp_path / "c.pt"
    undisturbed = search.run(problem, generator())
    for stop in stops:
        first: list[int] = []

        def watch(step: int, total: int, error: float, stop=stop, first=first) -> None:
            first.append(step)
            if step == first[0] + stop:
                raise Interrupted

        with pytest.raises(Interrupted):
            search.run(problem, generator(), checkpoint=path, watch=watch)
        assert path.exists()
    resumed = search.run(problem, generator(), checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.graph.edge_index, undisturbed.graph.edge_index)
    assert (resumed.best_step, resumed.error) == (undisturbed.best_step, undisturbed.error)
    assert (resumed.status, resumed.steps) == (undisturbed.status, undisturbed.steps)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------- what is promised


def linear_layer(kind: str, width: int) -> nn.Module:
    made = {
        "GIN": lambda: GINConv(nn.Linear(width, width)),
        "GraphConv": lambda: GraphConv(width, width),
        "SAGE sum": lambda: SAGEConv(width, width, aggr="sum"),
    }
    return seeded(made[kind]).double()


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("kind", ["GIN", "GraphConv", "SAGE sum"])
def test_promises_are_kept_where_the_layer_is_linear(kind, moving, directed):
    """Sums, then one unit a channel: with the curvature known the change is the promise.

    The weight after the sum is made diagonal, so that H is; it is then what one probe gives, as
    a random sign squared is 1.
    """
    data = random_graph(20, directed=directed)
    data.x = data.x.double()
    model = linear_layer(kind, 5)
    after_sum = {"GIN": "nn", "GraphConv": "lin_rel", "SAGE sum": "lin_l"}[kind]
    with torch.no_grad():
        diagonal = torch.linspace(0.5, 2, 5).double().diag()
        model.get_submodule(after_sum).weight.copy_(diagonal)
    problem = posed(model, data)
    rewiring = Rewiring(gm.Edges().random(data, generator()))
    gains = Gains(problem)
    gains.look(problem.activations, rewiring.graph(), generator())
    assert gains.known
    slots = torch.randint(rewiring.pairs.shape[1], (2, 80), generator=generator(1))
    tried = (
        rewiring.moves(slots[0], rewiring.random_nodes(slots.shape[1], generator()), generator())
        if moving
        else rewiring.double_swaps(slots, generator())
    )
    found, _ = rewiring.allowed(tried, torch.zeros(80), 1.0)
    assert len(found) > 10
    promised = gains.of(found)
    here = float(problem.error(rewiring.graph()))
    for k in range(len(found)):
        there = rewiring.graph(rewiring.exchanged(found.of(torch.tensor([k]))))
        came = float(problem.error(there)) - here
        assert float(promised[k]) == pytest.approx(came, rel=1e-5, abs=1e-8)


def test_a_model_without_convolutions_promises_nothing():
    data = random_graph(20)
    problem = posed(seeded(lambda: Dense(5)), data)
    gains = Gains(problem)
    gains.look(problem.activations, data, generator())
    assert not gains.known


def test_directed_edges_get_other_senders_too():
    """A move may exchange the sender as well as the receiver."""
    data = random_graph(30, directed=True)
    problem = posed(linear_layer("GIN", 5).float(), data)
    rewiring = Rewiring(gm.Edges().random(data, generator()))
    gains = Gains(problem)
    gains.look(problem.activations, rewiring.graph(), generator())
    walk = _Walk(problem, rewiring)
    walk._gains = gains
    first = torch.arange(rewiring.pairs.shape[1])
    found, promised = walk._best_partners(first, True, generator())
    found, promised = rewiring.allowed(found, promised, 1.0)
    found = found.of(promised.isfinite().nonzero().view(-1))
    old = rewiring.pairs[:, found.slots[0]]
    assert bool((old[0] == found.new[0, 0]).any())
    assert bool((old[1] == found.new[1, 0]).any())


# ---------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, r"steps must be a whole number of at least 1; got 0"),
        ({"patience": 0}, r"patience must be a whole number of at least 1; got 0"),
        ({"temperature": -1.0}, r"temperature must be zero or more and finite; got -1\.0\."),
        ({"temperature": float("inf")}, r"temperature must be zero or more and finite; got inf\."),
        ({"temperature": float("nan")}, r"temperature must be zero or more and finite; got nan\."),
    ],
)
def test_settings_out_of_range(options, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        EdgeSwap(**options)


@pytest.mark.parametrize("vary", [gm.BinaryFeatures(), gm.EdgeWeights()], ids=str)
def test_what_it_cannot_move(vary):
    sentence = r"EdgeSwap exchanges edges and needs vary=Edges\(\); got .* Use search='auto'\."
    with pytest.raises(gm.InputError, match=sentence):
        EdgeSwap().check(vary)


def test_a_layer_that_no_edge_reaches():
    model = seeded(lambda: TwoLayers(conv1=nn.Linear(FEATURES, 8)))
    model.forward = lambda x, edge_index: model.conv2(model.conv1(x).relu(), edge_index)
    sentence = r"conv1 does not depend on what varies \(Edges\)"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, toy_graph(), "conv1", vary=gm.Edges())


# ---------------------------------------------------------------------- what edges cannot be asked


def test_edges_cannot_keep_away_from_other_graphs():
    data = gm.datasets.csbm(nodes=30, features=20)
    model = seeded(lambda: gm.zoo.GCN(20, 3))
    short = gm.EdgeSwap(steps=2)
    with pytest.raises(gm.InputError, match="EdgeSwap cannot keep away from other graphs"):
        gm.metamers(model, data, "layer1", n=2, vary=gm.Edges(), search=short, progress=False)


def test_edges_know_no_farthest():
    data = gm.datasets.csbm(nodes=30, features=20)
    model = seeded(lambda: gm.zoo.GCN(20, 3))
    with pytest.raises(gm.InputError, match=r"seek='farthest' is for features.*keep=0\.0"):
        gm.metamer(model, data, "layer1", vary=gm.Edges(), search=gm.Auto(seek="farthest"))


@pytest.mark.parametrize("seed", range(4))
def test_equal_nodes_promise_nothing_and_break_nothing(seed):
    ring = torch.arange(30)
    edges = torch.stack([ring, (ring + 1) % 30])
    data = Data(x=torch.eye(2)[ring % 2], edge_index=torch.cat([edges, edges.flip(0)], dim=1))
    search = gm.EdgeSwap(steps=10, temperature=1.0)
    model = seeded(lambda: gm.zoo.GCN(2, 3))
    vary = gm.Edges(degrees="fixed")
    m = gm.metamer(model, data, "layer1", vary=vary, search=search, seed=seed, progress=False)
    assert m.activation_error == pytest.approx(min(m.history), abs=1e-6)
    assert m.matched == (m.activation_error <= m.tol)


@pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch's notices on first use
def test_a_model_that_pools():
    data = gm.datasets.csbm(nodes=60, features=20)
    model = seeded(lambda: GraphUNet(20, 8, 3, depth=2))
    search = gm.EdgeSwap(steps=3)
    m = gm.metamer(model, data, "output", vary=gm.Edges(), search=search, progress=False)
    assert m.data.num_edges == data.num_edges
