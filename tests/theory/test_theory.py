"""Dimensions and volumes: by hand, against dense Jacobians, and what is said of mistakes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, TransformerConv, global_mean_pool

import graph_metamers as gm
from graph_metamers.probe import Session
from graph_metamers.theory.manifold import least_gain, metamer_dimension
from graph_metamers.theory.volume import activation_volume
from helpers import Calls, TwoLayers, left_as_found, seeded, toy_graph, unchecked_types

SMALL = gm.datasets.csbm(nodes=24, features=12, density=0.3, degree=3.0)
MODELS = ["gcn", "graphsage", "gin", "gat"]


def gain(model: nn.Module, data: Data, layer: str) -> float:
    with Session(model, data) as session:
        return least_gain(session, session.targets(layer))


def zoo(name: str, features: int = 12, **options) -> nn.Module:
    options = {"hidden": 8} | ({"heads": 2} if name == "gat" else {}) | options
    return seeded(lambda: gm.zoo.MODELS[name](features, 3, **options)).eval()


class Linear(nn.Module):
    """h = act(S X W), S and W hand-set."""

    def __init__(self, s: Tensor, w: Tensor, act: nn.Module | None = None) -> None:
        super().__init__()
        self.register_buffer("s", s)
        self.w, self.act = nn.Parameter(w), act or nn.Identity()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.act(self.s @ (x @ self.w))


def path(nodes: int = 4, features: int = 3, dtype=torch.float32) -> Data:
    x = torch.randn(nodes, features, generator=torch.Generator().manual_seed(0), dtype=dtype)
    ends = torch.arange(nodes - 1)
    edges = torch.stack([torch.cat([ends, ends + 1]), torch.cat([ends + 1, ends])])
    return Data(x=x, edge_index=edges)


def dense(model: nn.Module, data: Data, layer: str) -> Tensor:
    """∂h/∂X in float64, by PyTorch alone: [nodes, units, nodes, features]."""
    twin = seeded(lambda: model).double()
    module = twin.get_submodule(layer)

    def function(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        handle = module.register_forward_hook(lambda m, i, o: seen.append(o))
        twin(x, data.edge_index)
        handle.remove()
        return seen[0]

    found = torch.autograd.functional.jacobian(function, data.x.double())
    model.float()
    return found


def ranks(matrices: Tensor) -> Tensor:
    values = torch.linalg.svdvals(matrices)
    return (values > 1e-5 * values.amax(dim=-1, keepdim=True)).sum(dim=-1)


# Known answers


S_FULL = torch.tensor([[2.0, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 2]])
S_TWINS = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]])  # rank 2
W_FULL = torch.tensor([[1.0, 0], [0, 1], [1, 1]])
W_ONE = torch.tensor([[1.0, 2], [2, 4], [0, 0]])  # rank 1


@pytest.mark.parametrize(("w", "rank"), [(W_FULL, 2), (W_ONE, 1)], ids=["full", "one direction"])
def test_a_node_has_the_rank_of_the_weights(w, rank):
    conv = GCNConv(3, 2, bias=False)
    conv.lin.weight.data = w.T.clone()
    found = metamer_dimension(conv, path(), "output")
    assert found.node_dimension.tolist() == [3 - rank] * 4
    assert found.dimension == 3 - rank


def test_an_injective_layer_leaves_nothing_free():
    model = Linear(torch.eye(4), torch.eye(3), nn.Tanh())
    assert metamer_dimension(model, path(), "output", of="receptive_field").dimension == 0


def test_relu_takes_away_the_units_that_are_off():
    model, data = Linear(torch.eye(4), torch.eye(3), nn.ReLU()), path()
    # A node depends on its own three features alone, also where every unit of it is off.
    found = metamer_dimension(model, data, "output", of="receptive_field")
    assert found.node_rank.tolist() == (data.x > 0).sum(dim=1).tolist()
    assert found.total == 3


def test_spectrum_by_hand():
    w = torch.diag(torch.tensor([2.0, 1.0, 0.0]))
    found = metamer_dimension(Linear(torch.eye(4), w), path(), "output", of="receptive_field")
    torch.testing.assert_close(found.singular_values, torch.tensor([[2.0, 1, 0]] * 4).double())
    assert found.stable_rank == pytest.approx(1.25)
    entropy = -(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)
    assert found.effective_rank == pytest.approx(math.exp(entropy))


@pytest.mark.parametrize(
    ("s", "w", "act", "least"),
    [
        # Of S Wᵀ ⊗ the singular values are products; of a path's S they are 2 + 2 cos(kπ / 5).
        (S_FULL, torch.diag(torch.tensor([3.0, 0.5, 2.0])), None, 0.5 * (2 - 1.618034)),
        (torch.eye(4), torch.eye(3), nn.Tanh(), 0.0),  # not affine
        (S_TWINS, torch.eye(3), None, 0.0),  # twins can be exchanged
        (S_FULL, W_FULL, None, 0.0),  # fewer units than features
    ],
    ids=["injective", "not affine", "twins", "narrow"],
)
def test_least_gain_by_hand(s, w, act, least):
    assert gain(Linear(s, w, act), path(), "output") == pytest.approx(least, rel=1e-6)


# Against dense Jacobians


@pytest.mark.parametrize("name", ["gcn", "graphsage"])
def test_least_gain_against_the_dense_jacobian(name):
    model = zoo(name, hidden=16)  # wider than the 12 features
    whole = dense(model, SMALL, "layer1.conv").reshape(-1, SMALL.x.numel())
    values = torch.linalg.svdvals(whole)
    least = float(values[-1]) if values[-1] > 1e-5 * values[0] else 0.0
    assert gain(model, SMALL, "layer1.conv") == pytest.approx(least, rel=1e-5)
    assert gain(model, SMALL, "layer1") == 0.0


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", ["layer1", "layer2"])
def test_receptive_field_against_the_dense_jacobian(name, layer):
    model = zoo(name, activation="elu")  # nothing is off: what is zero is not read
    nodes = [0, 3, 5, 11, 23]
    found = metamer_dimension(model, SMALL, layer, of="receptive_field", nodes=nodes)
    whole = dense(model, SMALL, layer)[nodes]
    fields = (whole != 0).any(dim=3).any(dim=1).sum(dim=1)
    assert found.node_rank.tolist() == ranks(whole.flatten(2)).tolist()
    assert found.node_dimension.tolist() == (12 * fields - found.node_rank).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_node_against_the_dense_jacobian(name):
    """h_v as a function of the node's own sum, written by hand."""
    model = zoo(name)
    found = metamer_dimension(model, SMALL, "layer1")
    conv = model.layer1.conv
    x = SMALL.x.double()
    twin = zoo(name).double()
    if name == "gin":
        sums = torch.zeros_like(x).index_add_(0, SMALL.edge_index[1], x[SMALL.edge_index[0]])
        own = (1 + twin.layer1.conv.eps) * x
        function = lambda z: F.relu(twin.layer1.conv.nn(z + own))  # noqa: E731
    elif name == "graphsage":
        sums = twin.layer1.conv.aggr_module(
            x[SMALL.edge_index[0]], SMALL.edge_index[1], dim_size=24
        )
        own = twin.layer1.conv.lin_r(x)
        function = lambda z: F.relu(twin.layer1.conv.lin_l(z) + own)  # noqa: E731
    else:
        # Only the signs of the pre-activations matter, and those the model itself gives.
        z = twin.layer1.conv(x, SMALL.edge_index)
        expected = [int(torch.linalg.matrix_rank(conv.lin.weight[row])) for row in z > 0]
        assert found.node_rank.tolist() == expected
        return
    whole = torch.autograd.functional.jacobian(lambda z: function(z).sum(dim=0), sums)
    assert found.node_rank.tolist() == ranks(whole.transpose(0, 1)).tolist()
    assert found.node_dimension.tolist() == (12 - found.node_rank).tolist()


def test_attention_moves():
    """Both heads send the first feature and weigh it by the second, in opposite ways.

    Held, the heads do the same: rank 1. Moving, the second feature shifts weight between neighbours
    with different first features, towards the one in one head and the other in the other: rank 2.
    """
    conv = TransformerConv(2, 1, heads=2, root_weight=False)
    with torch.no_grad():
        conv.lin_value.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        conv.lin_value.bias.zero_()
        conv.lin_key.weight.copy_(torch.tensor([[0.0, 1.0], [0.0, -2.0]]))
        conv.lin_query.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
        conv.lin_query.bias.fill_(1.0)
        conv.lin_key.bias.zero_()
    model = Calls(lambda m, x, e: m.conv(x, e), conv=conv)
    # Node 0 hears 1 and 2, which have the same keys: both heads weigh them equally.
    data = Data(
        x=torch.tensor([[0.0, 0.0], [1.0, 1.0], [5.0, 1.0]]),
        edge_index=torch.tensor([[1, 2], [0, 0]]),
    )
    found = metamer_dimension(model, data, "conv", of="receptive_field", nodes=[0])
    assert (found.rank, found.dimension) == (2, 2)
    assert ranks(dense(model, data, "conv")[0].flatten(1)) == 2


def test_a_sample_of_nodes_has_a_standard_error():
    data = gm.datasets.csbm(nodes=220, features=30, density=0.2, degree=4.0)
    found = metamer_dimension(zoo("gcn", 30), data, "layer1", of="receptive_field")
    assert len(found.nodes) == 200
    assert found.standard_error > 0
    assert "mean of 200 nodes" in repr(found)


def test_a_model_that_does_not_run_in_float64():
    def single(m, x: Tensor, e: Tensor) -> Tensor:
        return m.conv(x, e) @ torch.eye(3)  # float32 @ float64 raises

    model = Calls(single, conv=seeded(lambda: GCNConv(24, 3)))
    assert metamer_dimension(model, toy_graph(), "output").dimension == 21


# Volume


@pytest.mark.parametrize(
    ("act", "log", "collapsed"),
    [
        (nn.ReLU(), 0.0, 2),
        (nn.ReLU(inplace=True), 0.0, 2),
        (nn.LeakyReLU(0.1), 2 * math.log(0.1), 0),
        (nn.ELU(), -3.0, 0),  # σ' = exp(z) at −1 and −2
        (nn.PReLU(init=0.5), 2 * math.log(0.5), 0),
        (
            nn.Sigmoid(),
            sum(math.log(1 / (2 + math.exp(z) + math.exp(-z))) for z in (-1, -2, 3, 1)),
            0,
        ),
        (nn.Tanh(), sum(math.log(1 - math.tanh(z) ** 2) for z in (-1, -2, 3, 1)), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_volume_by_hand(act, log, collapsed):
    data = Data(x=torch.tensor([[-1.0, 3.0], [-2.0, 1.0]]), edge_index=torch.tensor([[0], [1]]))
    model = Linear(torch.eye(2), torch.eye(2), act)
    with left_as_found(model):
        found = activation_volume(model, data, "output")
    assert found.log_volume == pytest.approx(log, abs=1e-5)
    assert (found.collapsed, found.share) == (collapsed, collapsed / 4)


FUNCTIONS = {
    "F.relu": F.relu,
    "F.leaky_relu": lambda h: F.leaky_relu(h, 0.3),
    "F.silu": F.silu,
    "F.tanh": lambda h: h.tanh(),
    "F.relu_": lambda h: h.relu_(),
}


@pytest.mark.parametrize("name", [*sorted(gm.zoo.models.ACTIVATIONS), *FUNCTIONS])
def test_volume_of_every_activation(name):
    data = toy_graph()
    if name in FUNCTIONS:
        act = FUNCTIONS[name]
        model, layer = seeded(lambda: TwoLayers(lambda m, h: act(h))), name
        conv = model.conv1
    else:
        model, layer = zoo("gcn", 24, activation=name), "layer1"
        conv, act = model.layer1.conv, model.layer1.activation
    with left_as_found(model):
        found = activation_volume(model, data, layer)
    z = conv(data.x, data.edge_index).detach().requires_grad_()
    (slope,) = torch.autograd.grad(act(z.clone()).sum(), z)
    assert found.collapsed == int((slope.abs() <= 1e-6).sum())
    on = slope.abs()[slope.abs() > 1e-6].double()
    assert found.log_volume == pytest.approx(float(on.log().sum()), rel=1e-4, abs=1e-4)


def test_volume_of_the_call_that_is_named():
    act = nn.ReLU()
    model = seeded(lambda: TwoLayers(lambda m, h: m.act(m.act(h) - 0.1), act=act))
    data = toy_graph()
    first, second = (activation_volume(model, data, f"act:{i}").collapsed for i in (0, 1))
    h = model.conv1(data.x, data.edge_index)
    assert first == int((h <= 0).sum())
    assert second == int((F.relu(h) - 0.1 <= 0).sum())
    assert second > first


# Left as found, and mistakes


@pytest.mark.parametrize("of", ["node", "receptive_field"])
@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_left_as_found(name, of):
    model, data = zoo(name).train(), SMALL.clone()
    with left_as_found(model):
        first = metamer_dimension(model, data, "layer1", of=of)
    assert torch.equal(data.x, SMALL.x)
    assert metamer_dimension(model, data, "layer1", of=of).rank == first.rank


def pooled(model, x: Tensor, edge_index: Tensor) -> Tensor:
    return global_mean_pool(model.conv(x, edge_index), torch.zeros(len(x), dtype=torch.long))


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("gcn", {"of": "edge"}, "of='edge' is not a map. Choose among 'node', 'receptive_field'"),
        ("gcn", {"rtol": 0.0}, r"rtol must be in \[1e-7, 1\); got 0\.0"),
        ("gcn", {"rtol": 1.0}, r"rtol must be in \[1e-7, 1\); got 1\.0"),
        ("gcn", {"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ("gcn", {"nodes": [24]}, r"nodes must be a list of numbers of nodes, 0 to 23; got \[24\]"),
        ("gcn", {"nodes": []}, r"nodes must be a list .*; got \[\]"),
        ("gcn", {"nodes": [0.5]}, r"nodes must be a list .*; got \[0\.5\]"),
        (
            "gcn",
            {"layer": "layer2"},
            "of='node' needs .* layer2 does not. Use of='receptive_field'",
        ),
        ("chebnet", {}, "of='node' needs .*; layer1 does not. Use of='receptive_field'"),
    ],
)
def test_what_is_said_of_mistakes(model, options, sentence):
    options = {"layer": "layer1"} | options
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        metamer_dimension(zoo(model), SMALL, options.pop("layer"), **options)


@pytest.mark.parametrize("of", ["node", "receptive_field"])
def test_pooled_activations_have_no_node(of):
    model = Calls(pooled, conv=seeded(lambda: GCNConv(12, 3)))
    with pytest.raises(gm.InputError, match="needs an activation with a row for each node; output"):
        metamer_dimension(model, SMALL, "output", of=of)


@pytest.mark.parametrize("layer", ["layer2", "layer1.conv"])
def test_volume_without_an_activation(layer):
    sentence = f"needs a layer that ends in an elementwise activation, such as ReLU; {layer} does"
    with pytest.raises(gm.InputError, match=sentence):
        activation_volume(zoo("gcn"), SMALL, layer)


def test_volume_of_several_layers():
    with pytest.raises(gm.InputError, match="activation_volume takes one layer; got 2"):
        activation_volume(zoo("gcn"), SMALL, ["layer1", "layer2"])
