"""The dense relaxation: the same as PyG's convolutions on the same edges, and its gradient."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, ChebConv, GATConv, GCNConv, GINConv

import graph_metamers as gm
from graph_metamers.inputs import ADJACENCY, Inputs
from graph_metamers.vary.operators import soft_edges
from helpers import left_as_found, seeded

NODES, W = 9, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(*, directed: bool = False) -> Data:
    """Nine nodes; node 0 has two neighbours and node 8 none."""
    there = torch.rand(NODES, NODES, generator=generator()) < 0.45
    there = there if directed else there | there.T
    there[:, 0] = there[0, :] = False
    there[0, 1] = there[1, 0] = there[0, 2] = there[2, 0] = True
    there.fill_diagonal_(False)
    there[8, :] = there[:, 8] = False
    x = torch.randn(NODES, W, generator=generator(1), dtype=torch.float64)
    return Data(x=x, edge_index=there.nonzero().T.contiguous())


CONVOLUTIONS = {
    "GCN": lambda: GCNConv(W, W),
    "GCN without bias": lambda: GCNConv(W, W, bias=False),
    "GCN without loops": lambda: GCNConv(W, W, add_self_loops=False),
    "GCN not normalised": lambda: GCNConv(W, W, normalize=False),
    "Cheb K=1": lambda: ChebConv(W, W, 1),
    "Cheb K=2": lambda: ChebConv(W, W, 2),
    "Cheb K=3": lambda: ChebConv(W, W, 3, bias=False),
}


class Model(nn.Module):
    """Convolutions with a tanh between."""

    def __init__(self, build, layers: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(build() for _ in range(layers))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index, edge_weight).tanh()
        return x


def soft(data: Data, weight: Tensor) -> Inputs:
    adjacency = torch.zeros(NODES, NODES, dtype=torch.float64)
    adjacency = adjacency.index_put(tuple(data.edge_index), weight)
    return Inputs(data).replaced({ADJACENCY: adjacency})


def run(model: nn.Module, inputs: Inputs) -> Tensor:
    with soft_edges(model, inputs):
        return model(inputs["x"], inputs["edge_index"])


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("directed", [False, True])
def test_dense_is_sparse(name, depth, directed):
    """Whole edges, deleted ones, and weights between, with their gradients."""
    data = graph(directed=directed)
    model = seeded(lambda: Model(CONVOLUTIONS[name], depth)).double()
    ones = torch.ones(data.num_edges, dtype=torch.float64)
    some = ones.clone()
    some[::3] = 0
    alone = (data.edge_index != 1).all(dim=0).double()  # a node that loses all its edges
    for weight in (ones, some, alone):
        with left_as_found(model):
            out = run(model, soft(data, weight))
        expected = model(data.x, data.edge_index[:, weight > 0])
        torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-12)
    weight = 0.2 + 0.6 * torch.rand(data.num_edges, generator=generator(3), dtype=torch.float64)
    weight.requires_grad_()
    direction = torch.randn(NODES, W, generator=generator(4), dtype=torch.float64)
    outs = run(model, soft(data, weight)), model(data.x, data.edge_index, weight)
    torch.testing.assert_close(*outs, rtol=1e-11, atol=1e-12)
    gradients = [
        torch.autograd.grad((out * direction).sum(), weight, materialize_grads=True)[0]
        for out in outs
        if "K=1" not in name  # T_0 is the identity: no edge is read
    ]
    if gradients:
        assert bool(gradients[0].any())
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_a_candidate_has_a_finite_slope():
    """An edge that is not there, also at nodes without any, where the root's slope is infinite."""
    data = graph()
    model = seeded(lambda: Model(CONVOLUTIONS["GCN without loops"], 2)).double()
    adjacency = soft(data, torch.ones(data.num_edges).double())[ADJACENCY]
    adjacency = adjacency.clone().requires_grad_()
    out = run(model, Inputs(data).replaced({ADJACENCY: adjacency}))
    (gradient,) = torch.autograd.grad(out.square().sum(), adjacency)
    assert bool(gradient.isfinite().all())
    assert bool(gradient[0, 5] != 0)


@pytest.mark.parametrize(
    "build",
    [
        lambda: GINConv(nn.Linear(W, W)),
        lambda: GATConv(W, W),
        lambda: ChebConv(W, W, 3, normalization="rw"),
    ],
    ids=["GIN", "GAT", "random walk"],
)
def test_dense_knows_two_convolutions(build):
    model = nn.ModuleDict({"fine": GCNConv(W, W), "odd": build()}).double()
    inputs = soft(graph(), torch.ones(graph().num_edges).double())
    sentence = r"knows 'GCNConv', 'ChebConv' with symmetric normalisation; 'odd' is a (GIN|GAT|Che)"
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        run(model, inputs)


def test_models_of_pyg_and_graphs_without_soft_edges():
    data = graph()
    model = seeded(lambda: GCN(W, 6, 2)).double()
    weight = (torch.arange(data.num_edges) % 3 > 0).double()
    expected = model(data.x, data.edge_index[:, weight > 0])
    torch.testing.assert_close(run(model, soft(data, weight)), expected)
    assert torch.equal(run(model, Inputs(data)), model(data.x, data.edge_index))
