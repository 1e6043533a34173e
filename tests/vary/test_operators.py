"""A soft edge reaches each convolution exactly: 0 is deleted, 1 is there, the slope is true."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import (
    APPNP,
    GCN,
    AGNNConv,
    ChebConv,
    ClusterGCNConv,
    GATConv,
    GATv2Conv,
    GCNConv,
    GINConv,
    GraphConv,
    MFConv,
    PNAConv,
    RGCNConv,
    SAGEConv,
    SGConv,
    SuperGATConv,
    TAGConv,
    TransformerConv,
)

import graph_metamers as gm
from graph_metamers.probe.preserve import preserved
from graph_metamers.vary.operators import operator_of, soft_edges
from helpers import left_as_found, seeded

NODES, WIDTH = 9, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(*, loops: bool = False, directed: bool = False, seed: int = 0) -> Data:
    """Nine nodes; node 0 has two neighbours and node 8 none."""
    there = torch.rand(NODES, NODES, generator=generator(seed)) < 0.45
    there = there if directed else there | there.T
    there[:, 0] = there[0, :] = False
    there[0, 1] = there[1, 0] = there[0, 2] = there[2, 0] = True
    there.fill_diagonal_(False)
    there[8, :] = there[:, 8] = False
    edges = there.nonzero().T
    if loops:
        own = torch.tensor([3, 5])
        edges = torch.cat([edges[:, :7], own.expand(2, -1), edges[:, 7:]], dim=1)
    x = torch.randn(NODES, WIDTH, generator=generator(seed + 1), dtype=torch.float64)
    return Data(x=x, edge_index=edges.contiguous())


def with_weight(data: Data, weight: Tensor) -> Data:
    soft = data.clone()
    soft.soft_edge_weight = weight
    return soft


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())


W = WIDTH
CONVOLUTIONS = {
    "GCN": lambda: GCNConv(W, W),
    "GCN improved": lambda: GCNConv(W, W, improved=True),
    "GCN without loops": lambda: GCNConv(W, W, add_self_loops=False),
    "GCN not normalised": lambda: GCNConv(W, W, normalize=False),
    "GCN cached": lambda: GCNConv(W, W, cached=True),
    "Cheb K=1": lambda: ChebConv(W, W, 1),
    "Cheb K=2": lambda: ChebConv(W, W, 2),
    "Cheb K=3": lambda: ChebConv(W, W, 3),
    "Cheb random walk": lambda: ChebConv(W, W, 3, normalization="rw"),
    "GraphConv add": lambda: GraphConv(W, W),
    "GraphConv mean": lambda: GraphConv(W, W, aggr="mean"),
    "GIN": lambda: GINConv(mlp()),
    "SAGE mean": lambda: SAGEConv(W, W),
    "SAGE sum": lambda: SAGEConv(W, W, aggr="sum"),
    "SAGE project": lambda: SAGEConv(W, W, project=True),
    "SAGE normalize": lambda: SAGEConv(W, W, normalize=True),
    "GAT": lambda: GATConv(W, 2, heads=2),
    "GAT averaged": lambda: GATConv(W, W, heads=3, concat=False),
    "GAT without loops": lambda: GATConv(W, 2, heads=2, add_self_loops=False),
    "GATv2": lambda: GATv2Conv(W, 2, heads=2),
    "GATv2 averaged": lambda: GATv2Conv(W, W, heads=3, concat=False, share_weights=True),
    "GATv2 without loops": lambda: GATv2Conv(W, W, add_self_loops=False),
    "Transformer": lambda: TransformerConv(W, 2, heads=2),
    "Transformer averaged": lambda: TransformerConv(W, W, heads=3, concat=False, beta=True),
    "SG": lambda: SGConv(W, W, K=2),
    "SG cached": lambda: SGConv(W, W, K=2, cached=True),
    "TAG": lambda: TAGConv(W, W, K=2),
    "APPNP": lambda: APPNP(2, 0.1),
}
UNLOOPED = [
    name for name in CONVOLUTIONS if "without loops" in name or name in ("Cheb K=2", "Cheb K=3")
]


class Model(nn.Module):
    """One convolution, or two with a tanh between."""

    def __init__(self, build, layers: int = 1) -> None:
        super().__init__()
        self.convs = nn.ModuleList(build() for _ in range(layers))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return x


def model_of(name: str, layers: int = 1) -> nn.Module:
    return seeded(lambda: Model(CONVOLUTIONS[name], layers)).double().eval()


def run(model: nn.Module, data: Data) -> Tensor:
    with preserved(model), soft_edges(model, data):
        return model(data.x, data.edge_index)


def hard(model: nn.Module, data: Data, kept: Tensor) -> Tensor:
    with preserved(model), torch.no_grad():
        return model(data.x, data.edge_index[:, kept])


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-11, atol=1e-12)


every = pytest.mark.parametrize("name", CONVOLUTIONS)
layers = pytest.mark.parametrize("depth", [1, 2])
kinds = pytest.mark.parametrize("kind", ["undirected", "directed", "loops"])


def of_kind(kind: str) -> Data:
    return graph(loops=kind == "loops", directed=kind == "directed")


@every
@layers
@kinds
def test_one_is_there_and_zero_is_deleted(name, depth, kind):
    data, model = of_kind(kind), model_of(name, depth)
    proper = data.edge_index[0] != data.edge_index[1]
    weight = torch.ones(data.num_edges, dtype=torch.float64)
    same(run(model, with_weight(data, weight)), hard(model, data, weight > 0))
    for dropped in (torch.arange(0, data.num_edges, 3), torch.arange(1, data.num_edges)):
        some = weight.clone()
        some[dropped] = 0
        some[~proper] = 1  # self-loops do not vary
        same(run(model, with_weight(data, some)), hard(model, data, some > 0))


@every
@layers
def test_a_node_may_lose_all_its_edges(name, depth):
    data, model = graph(), model_of(name, depth)
    for node in (0, 1, 4):
        weight = (data.edge_index != node).all(dim=0).double()
        out = run(model, with_weight(data, weight))
        assert bool(out.isfinite().all())
        same(out, hard(model, data, weight > 0))


@every
@layers
@kinds
def test_the_gradient_is_that_of_finite_differences(name, depth, kind):
    data, model = of_kind(kind), model_of(name, depth)
    weight = 0.2 + 0.6 * torch.rand(data.num_edges, generator=generator(3), dtype=torch.float64)
    direction = torch.randn(NODES, W, generator=generator(4), dtype=torch.float64)

    def response(w: Tensor) -> Tensor:
        return (run(model, with_weight(data, w)) * direction).sum()

    weight.requires_grad_()
    if "K=1" in name:  # T_0 is the identity: no edge is read
        assert not response(weight).requires_grad
        return
    (gradient,) = torch.autograd.grad(response(weight), weight)
    assert bool(gradient.any())
    with torch.no_grad():
        for edge in range(0, data.num_edges, 5):
            step = torch.zeros_like(weight)
            step[edge] = 1e-5
            slope = (response(weight + step) - response(weight - step)) / 2e-5
            assert float(gradient[edge]) == pytest.approx(float(slope), rel=1e-5, abs=1e-8)


@every
def test_candidates_of_weight_zero_change_nothing_but_have_a_slope(name):
    data, model = graph(), model_of(name, 2)
    present = torch.eye(NODES, dtype=torch.bool)
    present[tuple(data.edge_index)] = True
    present[:, 8] = present[8, :] = True  # it has no edge: see below
    candidates = (~present).nonzero().T
    assert candidates.shape[1] > 5
    soft = data.clone()
    soft.edge_index = torch.cat([data.edge_index, candidates], dim=1)
    weight = torch.zeros(soft.num_edges, dtype=torch.float64)
    weight[: data.num_edges] = 1
    weight.requires_grad_()
    out = run(model, with_weight(soft, weight))
    same(out, hard(model, data, torch.arange(data.num_edges)))
    if "K=1" in name:
        return
    direction = torch.randn(NODES, W, generator=generator(4), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((out * direction).sum(), weight)
    with torch.no_grad():
        for edge in range(data.num_edges, soft.num_edges, 3):
            values = []
            for size in (1e-6, 2e-6):  # one-sided, of second order
                w = weight.detach().clone()
                w[edge] = size
                values.append((run(model, with_weight(soft, w)) * direction).sum())
            slope = (4 * values[0] - values[1] - 3 * (out * direction).sum()) / 2e-6
            assert float(gradient[edge]) == pytest.approx(float(slope), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", UNLOOPED)
def test_the_infinite_slope_at_a_node_without_edges_is_taken_as_zero(name):
    data, model = graph(), model_of(name)
    soft = data.clone()
    soft.edge_index = torch.cat([data.edge_index, torch.tensor([[3, 8], [8, 3]])], dim=1)
    weight = torch.ones(soft.num_edges, dtype=torch.float64)
    weight[-2:] = 0
    weight.requires_grad_()
    out = run(model, with_weight(soft, weight)).square().sum()
    (gradient,) = torch.autograd.grad(out, weight)
    assert bool(gradient.isfinite().all())


@every
def test_the_model_is_left_as_found(name):
    data, model = graph(), model_of(name, 2)
    if "cached" in name:
        model(data.x, data.edge_index)
    weight = torch.linspace(0.2, 0.8, data.num_edges, dtype=torch.float64)
    with left_as_found(model), torch.no_grad():
        first = run(model, with_weight(data, weight))
    broken = with_weight(data, weight)
    broken.x = None
    with left_as_found(model), pytest.raises((AttributeError, TypeError, RuntimeError)):
        run(model, broken)
    if "K=1" not in name:  # and weights were no matter of course
        assert not torch.allclose(first, hard(model, data, weight > 0))


def test_an_edge_weight_of_the_models_own_is_multiplied():
    """Three nodes, sums without normalisation: by hand."""
    conv = GCNConv(1, 1, normalize=False, bias=False).double()
    nn.init.ones_(conv.lin.weight)
    data = Data(
        x=torch.tensor([[1.0], [10.0], [100.0]]).double(),
        edge_index=torch.tensor([[0, 1, 2], [1, 2, 1]]),
    )
    own = torch.tensor([2.0, 3.0, 5.0]).double()
    soft = with_weight(data, torch.tensor([0.5, 1.0, 0.0]).double())
    with soft_edges(conv, soft):
        out = conv(data.x, data.edge_index, edge_weight=own)
    assert out.flatten().tolist() == [0.0, 1.0, 30.0]


def test_a_mean_by_hand():
    conv = SAGEConv(1, 1, root_weight=False, bias=False).double()
    nn.init.ones_(conv.lin_l.weight)
    x = torch.tensor([[1.0], [4.0], [0.0]]).double()
    data = Data(x=x, edge_index=torch.tensor([[0, 1], [2, 2]]))
    with soft_edges(conv, with_weight(data, torch.tensor([1.0, 0.5]).double())):
        out = conv(x, data.edge_index)
    assert out.flatten().tolist() == [0.0, 0.0, 2.0]  # (1 + 0.5 · 4) / 1.5


def test_without_soft_edges_nothing_happens():
    data, model = graph(), model_of("GAT", 2)
    with soft_edges(model, data):
        assert not any(m._propagate_forward_pre_hooks for m in model.convs)
        assert torch.equal(model(data.x, data.edge_index), model(data.x, data.edge_index))


# ------------------------------------------------------------------------------- what is refused


class Sender(nn.Module):
    """A convolution on edges of its own."""

    def __init__(self, conv: nn.Module, change) -> None:
        super().__init__()
        self.conv, self.change = conv, change

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, self.change(edge_index))


@pytest.mark.parametrize(
    "conv",
    [
        SAGEConv(W, W, aggr="max"),
        GraphConv(W, W, aggr="max"),
        PNAConv(W, W, ["mean", "max"], ["identity"], torch.tensor([1, 2, 3])),
        AGNNConv(),
        ClusterGCNConv(W, W),
        MFConv(W, W),
        SuperGATConv(W, W),
    ],
    ids=lambda conv: type(conv).__name__,
)
def test_convolutions_that_no_soft_edge_reaches(conv):
    data = graph()
    model = nn.ModuleDict({"first": GCNConv(W, W), "odd": conv}).double()
    name = type(conv).__name__
    assert operator_of(conv) is None
    sentence = rf"No soft edge reaches {name} 'odd' exactly \(aggr=.*\)\. Use search=EdgeSwap\(\)"
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        run(model, with_weight(data, torch.ones(data.num_edges).double()))


def test_all_others_are_reached():
    assert all(operator_of(build()) for build in CONVOLUTIONS.values())


@pytest.mark.parametrize("name", ["GCN", "GIN", "SAGE mean", "GAT", "Transformer"])
@pytest.mark.parametrize(
    "change",
    [lambda e: e.flip(0), lambda e: e[:, 1:], lambda e: torch.cat([e, e[:, :2]], dim=1)],
    ids=["turned", "fewer", "more"],
)
def test_a_convolution_on_other_edges_is_refused(name, change):
    data = graph(directed=True)
    model = seeded(lambda: Sender(CONVOLUTIONS[name](), change)).double().eval()
    soft = with_weight(data, torch.ones(data.num_edges).double())
    with pytest.raises(gm.InputError, match=r"'conv' works on other edges than data\.edge_index, "):
        run(model, soft)


def test_relations_are_refused():
    data = graph()
    conv = RGCNConv(W, W, 2).double()
    kind = torch.arange(data.num_edges) % 2
    soft = with_weight(data, torch.ones(data.num_edges).double())
    with pytest.raises(gm.InputError, match="works on other edges"), soft_edges(conv, soft):
        conv(data.x, data.edge_index, kind)


# -------------------------------------------------------------------------------------- dense


def dense_of(data: Data, weight: Tensor) -> Data:
    soft = data.clone()
    adjacency = torch.zeros(NODES, NODES, dtype=torch.float64)
    soft.soft_adjacency = adjacency.index_put(tuple(data.edge_index), weight)
    return soft


DENSE = [n for n in CONVOLUTIONS if n.startswith(("GCN", "Cheb")) and n != "Cheb random walk"]


@pytest.mark.parametrize("name", DENSE)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("directed", [False, True])
def test_dense_is_sparse(name, depth, directed):
    data, model = graph(directed=directed), model_of(name, depth)
    weight = 0.2 + 0.6 * torch.rand(data.num_edges, generator=generator(3), dtype=torch.float64)
    weight.requires_grad_()
    direction = torch.randn(NODES, W, generator=generator(4), dtype=torch.float64)
    outs, gradients = [], []
    for soft in (with_weight(data, weight), dense_of(data, weight)):
        with left_as_found(model):
            out = run(model, soft)
        outs.append(out)
        gradients += (
            torch.autograd.grad(
                (out * direction).sum(), weight, materialize_grads=True, allow_unused=True
            )
            if out.requires_grad
            else [None]
        )
    same(*outs)
    if "K=1" not in name:
        same(*gradients)
    ones = dense_of(data, torch.ones(data.num_edges).double())
    same(run(model, ones), hard(model, data, torch.arange(data.num_edges)))


@pytest.mark.parametrize(
    "build", [CONVOLUTIONS["GIN"], CONVOLUTIONS["Cheb random walk"]], ids=["GIN", "random walk"]
)
def test_dense_knows_two_convolutions(build):
    model = nn.ModuleDict({"odd": build()}).double()
    soft = dense_of(graph(), torch.ones(graph().num_edges).double())
    sentence = (
        r"Eqs\. 11–12 knows 'GCNConv', 'ChebConv' with symmetric normalisation; 'odd' is a "
        r"(GIN|Cheb)Conv\. Use search=EdgeSwap\(\) or Blocks\(\)\."
    )
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        run(model, soft)


def test_models_of_pyg_hand_in_weights_of_none():
    data = graph()
    model = seeded(lambda: GCN(W, 6, 2)).double().eval()
    weight = (torch.arange(data.num_edges) % 3 > 0).double()
    same(run(model, with_weight(data, weight)), hard(model, data, weight > 0))
