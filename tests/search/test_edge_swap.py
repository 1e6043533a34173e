"""EdgeSwap: what it promises of exchanges is true, and any model will do."""

from itertools import pairwise

import pytest
import torch
from search_cases import Poser, generator, random_graph
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
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
from graph_metamers.search import EdgeSwap, Problem
from graph_metamers.search.edge_gains import Gains
from graph_metamers.vary.rewiring import Exchanges, Rewiring
from helpers import TwoLayers, left_as_found, seeded

# --------------------------------------------------------------------------- what is promised


def linear(kind: str, width: int = 5) -> nn.Module:
    """Sums or means of messages, then one unit a channel, so that H is diagonal."""
    made = {
        "GIN": lambda: GINConv(nn.Linear(width, width)),
        "GraphConv": lambda: GraphConv(width, width),
        "SAGE sum": lambda: SAGEConv(width, width, aggr="sum"),
        "SAGE mean": lambda: SAGEConv(width, width),
        "GCN": lambda: GCNConv(width, width),
    }
    model = seeded(made[kind]).double()
    after = {"GIN": "nn", "GraphConv": "lin_rel", "SAGE sum": "lin_l", "SAGE mean": "lin_l"}
    if kind in after:
        diagonal = torch.linspace(0.5, 2, width).double().diag()
        model.get_submodule(after[kind]).weight.data.copy_(diagonal)
    return model


def stars() -> Data:
    """Two hubs, to each of which some of the others send: a sender's degree is 0, a hub's is 4."""
    edges = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 1, 1, 1, 1]])
    x = torch.randn(14, 5, generator=generator(2), dtype=torch.float64)
    return Data(x=x, edge_index=edges)


def check_promises(problem: Problem, found: Exchanges, gains: Gains, rewiring: Rewiring) -> None:
    """Each exchange changes the error by what was promised."""
    assert len(found) > 5
    promised = gains.of(found)

    @torch.no_grad()
    def loss(pairs: Tensor) -> float:
        inputs = problem.inputs.replaced(rewiring.changed(pairs))
        return float(problem.match.loss(problem.activations(inputs)))

    for k in range(len(found)):
        came = loss(rewiring.exchanged(found.of(torch.tensor([k])))) - loss(rewiring.pairs)
        assert float(promised[k]) == pytest.approx(came, rel=1e-5, abs=1e-8)


def looked(problem: Problem, rewiring: Rewiring) -> Gains:
    """One random sign squared is 1: the curvature is known after one probe."""
    gains, changed = Gains(problem, rewiring), rewiring.changed()
    inputs = problem.inputs.replaced(changed)
    gains.look(lambda: problem.activations(inputs), changed["edge_index"], generator())
    return gains


@pytest.mark.parametrize("moving", [False, True], ids=["swaps", "moves"])
@pytest.mark.parametrize(
    ("kind", "directed"),
    [
        *[(kind, d) for kind in ("GIN", "GraphConv", "SAGE sum") for d in (False, True)],
        ("SAGE mean", True),
    ],
)
def test_promises_are_kept_where_the_layer_is_linear(kind, directed, moving, pose: Poser):
    data = random_graph(20, directed=directed, width=5, kind="real")
    data.x = data.x.double() - 0.5
    problem = pose(linear(kind), data, vary=gm.Edges())
    rewiring = Rewiring(problem.inputs, "edge_index")
    gm.Edges().scatter(rewiring, generator())
    gains = looked(problem, rewiring)
    assert gains.known
    slots = torch.randint(rewiring.pairs.shape[1], (2, 80), generator=generator(1))
    ends = rewiring.new_ends(slots[0], generator(), pool=100)
    tried = (
        rewiring.moves(slots[0], ends, generator())
        if moving
        else rewiring.double_swaps(slots, generator())
    )
    found, _ = rewiring.allowed(tried, torch.zeros(80), 1.0)
    check_promises(problem, found, gains, rewiring)


def test_promises_of_gcn_are_kept_where_no_receiver_changes(pose: Poser):
    """c_uv = 1 / √((d_u + 1)(d_v + 1)): other senders to the hubs, whose degrees stay."""
    data = stars()
    problem = pose(linear("GCN"), data, vary=gm.Edges())
    rewiring = Rewiring(problem.inputs, "edge_index")
    rewiring.place(torch.stack([(rewiring.pairs[0] - 2 + 5) % 12 + 2, rewiring.pairs[1]]))
    gains = looked(problem, rewiring)
    slots = torch.arange(8).repeat(12)
    senders = torch.arange(2, 14).repeat_interleave(8)
    tried = rewiring.moves(slots, torch.stack([senders, senders]), generator())
    found, _ = rewiring.allowed(tried, torch.zeros(96), 1.0)
    same = found.new[1, 0] == rewiring.pairs[1, found.slots[0]]
    check_promises(problem, found.of(same.nonzero().view(-1)), gains, rewiring)
    both = torch.cartesian_prod(torch.arange(4), torch.arange(4, 8)).T
    found, _ = rewiring.allowed(rewiring.double_swaps(both, generator()), torch.zeros(16), 1.0)
    check_promises(problem, found, gains, rewiring)


# -------------------------------------------------------------------------------- any model


class Dense(nn.Module):
    """No convolution: a dense matrix, and nothing that hooks could see."""

    def __init__(self, width: int, out: int = 4) -> None:
        super().__init__()
        self.lin = nn.Linear(width, out)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        matrix = x.new_zeros(len(x), len(x)).index_put(tuple(edge_index), x.new_ones(()))
        return matrix.T @ self.lin(x).tanh()


class Undifferentiable(Dense):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index).detach().round(decimals=3)


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
    "no gradient": Undifferentiable,
    "pooled": Pooled,
    "Graphormer": lambda w: gm.zoo.Graphormer(w, 3),
}


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_any_model(name, directed):
    data = random_graph(18, directed=directed, width=6)
    model = seeded(lambda: MODELS[name](6)).train()
    with left_as_found(model):
        m = gm.metamer(model, data, "output", vary=gm.Edges(), search=EdgeSwap(steps=25))
    assert all(b <= a for a, b in pairwise(m.history))
    assert min(m.history) < m.history[0]
    assert m.data.num_edges == data.num_edges
    assert torch.equal(m.data.x, data.x)
    with torch.no_grad():
        out, true = (model.eval()(d.x, d.edge_index) for d in (m.data, data))
    error = (out - true).square().sum() / true.square().sum()
    assert m.activation_error == pytest.approx(float(error), rel=1e-3, abs=1e-6)


@pytest.mark.filterwarnings("ignore:Sparse")  # PyTorch's notices on first use
def test_a_model_that_pools_between():
    data = gm.datasets.csbm(nodes=60, features=20)
    model = seeded(lambda: GraphUNet(20, 8, 3, depth=2))
    m = gm.metamer(model, data, "output", vary=gm.Edges(), search=EdgeSwap(steps=3))
    assert m.data.num_edges == data.num_edges


class Papers(nn.Module):
    """What authors send to papers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = SAGEConv((5, 4), 6, aggr="sum")

    def forward(self, x_dict, edge_index_dict):
        x = x_dict["author"], x_dict["paper"]
        return self.conv(x, edge_index_dict["author", "writes", "paper"])


def test_edges_between_two_types_keep_their_sides_and_get_nearer(pose: Poser):
    data = HeteroData()
    data["author"].x = torch.rand(12, 5, generator=generator())
    data["paper"].x = torch.rand(8, 4, generator=generator(1))
    there = torch.rand(12, 8, generator=generator(2)) < 0.25
    data["author", "writes", "paper"].edge_index = there.nonzero().T.contiguous()
    vary = {"author-writes-paper.edge_index": gm.Edges(degrees="fixed")}
    problem = pose(seeded(Papers), data, vary=vary, tol=1e-9)
    found = EdgeSwap(steps=40).run(problem, generator())
    (key,) = vary
    end = found.inputs[key]
    assert found.errors.item() < 0.5 * found.history[0]
    assert end.unique(dim=1).shape == data["author", "writes", "paper"].edge_index.shape
    for side, count in ((0, 12), (1, 8)):
        degrees = [torch.bincount(e[side], minlength=count) for e in (end, problem.inputs[key])]
        assert torch.equal(*degrees)


# ------------------------------------------------------------------------------ where it stands


def test_heat_leaves_minima_and_the_best_graph_is_returned(pose: Poser):
    problem = pose(seeded(lambda: GCNConv(10, 4)), random_graph(25), vary=gm.Edges(), tol=1e-9)
    found = EdgeSwap(steps=30, temperature=20.0).run(problem, generator())
    assert any(b > a for a, b in pairwise(found.history))
    assert found.history.index(found.errors.item()) == found.best_steps[0]
    patient = EdgeSwap(steps=30, temperature=20.0, patience=3).run(problem, generator())
    assert patient.steps == 30  # while it is warm nothing is stalled


@pytest.mark.parametrize("seed", range(2))
def test_equal_nodes_promise_nothing_and_break_nothing(seed):
    ring = torch.arange(31)
    edges = torch.stack([ring, (ring + 1) % 31])
    data = Data(x=torch.eye(2)[ring % 2], edge_index=torch.cat([edges, edges.flip(0)], dim=1))
    search, model = EdgeSwap(steps=10, temperature=1.0), seeded(lambda: gm.zoo.GCN(2, 3))
    vary = gm.Edges(degrees="fixed")
    m = gm.metamer(model, data, "layer1", vary=vary, search=search, seed=seed)
    assert m.fvu == pytest.approx(min(m.history), rel=1e-3, abs=1e-9)
