"""The linear maps through which layers read the features: found, verified, and none made up."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import EdgeConv, GATConv, GCNConv, GINConv, SAGEConv

import graph_metamers as gm
from graph_metamers.probe import Probe, find_linear_read
from helpers import left_as_found, seeded

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=["float32", "float64"])
ZOO = {
    "gcn": ["layer1.conv.lin"],
    "chebnet": ["layer1.conv.lins.0", "layer1.conv.lins.1", "layer1.conv.lins.2"],
    "graphsage": ["layer1.conv.lin_l", "layer1.conv.lin_r"],
    "gin": ["layer1.conv.nn.0"],
    "gat": ["layer1.conv.lin"],
    "graphormer": ["embed"],
    "gatv2": ["layer1.conv.lin_l", "layer1.conv.lin_r"],
    "gcnii": ["embed"],
    "appnp": ["layer1.conv"],
    "graphgps": ["embed"],
}
EMBEDDED = ("graphormer", "gcnii", "graphgps")  # whose residuals are of another width


def zoo_model(name, features=40, **options):
    options = {"hidden": 16, "depth": 3} | options
    return seeded(lambda: gm.zoo.MODELS[name](features, 3, **options)).eval()


class Made(nn.Module):
    """A forward that is handed in over modules that are named."""

    def __init__(self, run, **modules) -> None:
        super().__init__()
        for name, module in modules.items():
            if isinstance(module, nn.Module):
                self.add_module(name, module)
            else:
                self.register_parameter(name, module)
        self.run = run

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(self, x, edge_index)


def made(run, **modules):
    """The modules are functions that make them, so that their weights come from a fixed seed."""
    return seeded(lambda: Made(run, **{name: make() for name, make in modules.items()})).eval()


def found(model, data, layer):
    """The read, and the activations of X W and of X itself on random features."""
    with Probe(model, data, None) as probe:
        targets = probe.targets(layer)
        read = find_linear_read(probe, targets)
        if read is None:
            return None
        generator = torch.Generator().manual_seed(7)
        x = 3 * torch.randn(data.x.shape, generator=generator, dtype=data.x.dtype) + 1
        other = copy.copy(data)
        other.x = x
        with torch.no_grad():
            return read, read.activations(x @ read.weight), probe.activations(targets, other)


def check(model, data, layer, maps):
    """W holds `maps` side by side, and the layer is a function of X W."""
    read, reduced, direct = found(model, data, layer)
    torch.testing.assert_close(read.weight, torch.cat(maps, dim=1), rtol=0, atol=0)
    assert len(reduced) == len(direct)
    for h, other in zip(reduced, direct, strict=True):
        assert h.shape == other.shape
        assert float((h - other).norm()) <= TOLERANCE[data.x.dtype] * float(other.norm())


def as_dtype(model, data, dtype):
    data = copy.copy(data)
    data.x = data.x.to(dtype)
    return model.to(dtype), data


def test_every_zoo_model_is_covered():
    assert set(ZOO) == set(gm.zoo.MODELS)


@DTYPES
@pytest.mark.parametrize("layer", ["layer1", "layer2", "output", ["layer1", "layer3"]])
@pytest.mark.parametrize("name", ZOO)
def test_the_zoo(name, layer, dtype, small):
    model, data = as_dtype(zoo_model(name), small, dtype)
    maps = [model.get_submodule(part).weight.T for part in ZOO[name]]
    check(model, data, layer, maps)


@pytest.mark.parametrize("name", [name for name in ZOO if name not in EMBEDDED])
def test_a_residual_connection_is_one_more_map(name, small):
    model = zoo_model(name, residual=True)
    maps = [model.get_submodule(part).weight.T for part in [*ZOO[name], "layer1.skip"]]
    read, reduced, direct = found(model, small, "layer2")
    torch.testing.assert_close(
        read.weight.sort(dim=1).values, torch.cat(maps, dim=1).sort(dim=1).values
    )
    torch.testing.assert_close(reduced, direct, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in ZOO if name not in EMBEDDED])
def test_a_residual_connection_that_adds_the_features_themselves_is_no_map(name, small):
    assert found(zoo_model(name, residual=True, hidden=40), small, "layer1") is None


@pytest.mark.parametrize("name", ZOO)
def test_a_later_layer_as_wide_as_the_features(name, small):
    model = zoo_model(name, hidden=40)
    maps = [model.get_submodule(part).weight.T for part in ZOO[name]]
    check(model, small, "layer3", maps)


@DTYPES
def test_a_linear_layer_before_the_convolution(dtype, small):
    model = made(
        lambda m, x, edges: m.conv(m.lin(x).relu(), edges),
        lin=lambda: nn.Linear(40, 8),
        conv=lambda: GCNConv(8, 3),
    )
    model, data = as_dtype(model, small, dtype)
    check(model, data, "conv", [model.lin.weight.T])
    check(model, data, "lin", [model.lin.weight.T])


@DTYPES
def test_a_raw_weight(dtype, small):
    model = made(
        lambda m, x, edges: (
            torch.zeros(len(x), 8).to(x).index_add(0, edges[1], (x @ m.w)[edges[0]])
        ),
        w=lambda: nn.Parameter(torch.randn(40, 8)),
    )
    model, data = as_dtype(model, small, dtype)
    check(model, data, "output", [model.w])


@DTYPES
@pytest.mark.parametrize("layer", ["mlp", "mlp.1", "conv"])
def test_an_mlp(layer, dtype, small):
    model = made(
        lambda m, x, edges: m.conv(m.mlp(x), edges),
        mlp=lambda: nn.Sequential(nn.Linear(40, 12), nn.Tanh(), nn.Linear(12, 8)),
        conv=lambda: GCNConv(8, 3),
    )
    model, data = as_dtype(model, small, dtype)
    check(model, data, layer, [model.mlp[0].weight.T])


def test_two_branches_that_both_read(small):
    model = made(
        lambda m, x, edges: m.lin(x.flip(0)) + m.conv(x, edges),
        conv=lambda: GATConv(40, 8),
        lin=lambda: nn.Linear(40, 8, bias=False),
    )
    check(model, small, "output", [model.conv.lin.weight.T, model.lin.weight.T])
    # A layer that only one of them reaches reads through that one alone.
    check(model, small, "lin", [model.lin.weight.T])


def test_a_map_that_is_used_twice(small):
    model = made(
        lambda m, x, edges: m.lin(x) * m.lin(x.roll(1, 0)).sigmoid(), lin=lambda: nn.Linear(40, 8)
    )
    check(model, small, "output", [model.lin.weight.T])


@pytest.mark.parametrize(
    "conv",
    [
        lambda: SAGEConv(40, 8, aggr="sum"),
        lambda: GINConv(nn.Sequential(nn.Linear(40, 8), nn.ReLU(), nn.Linear(8, 8)), eps=0.3),
        lambda: GATConv(40, 4, heads=2),
        lambda: GCNConv(40, 8, bias=False, add_self_loops=False),
    ],
    ids=["sage", "gin", "gat", "gcn"],
)
def test_pyg_layers(conv, small):
    model = made(lambda m, x, edges: m.conv(x, edges), conv=conv)
    read, reduced, direct = found(model, small, "conv")
    assert read.weight.shape[0] == 40
    torch.testing.assert_close(reduced, direct, rtol=1e-3, atol=1e-4)


def test_the_read_is_differentiable(small):
    with Probe(zoo_model("gcn"), small, None) as probe:
        read = find_linear_read(probe, probe.targets("layer2"))
        y = (small.x @ read.weight).requires_grad_()
        (gradient,) = torch.autograd.grad(read.activations(y)[0].square().sum(), y)
        x = small.x.clone().requires_grad_()
        other = copy.copy(small)
        other.x = x
        h = probe.activations(probe.targets("layer2"), other)[0]
        (whole,) = torch.autograd.grad(h.square().sum(), x)
    torch.testing.assert_close(gradient @ read.weight.T, whole, rtol=1e-4, atol=1e-5)


# -------------------------------------------------------------------------------- there is none


class Summed(nn.Module):
    """Sums over the neighbours, and has no weight."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])


NONE = {
    "LayerNorm first": lambda: made(
        lambda m, x, edges: m.conv(m.norm(x), edges),
        norm=lambda: nn.LayerNorm(40),
        conv=lambda: GCNConv(40, 8),
    ),
    "LayerNorm first, as wide behind": lambda: made(
        lambda m, x, edges: m.conv(m.norm(x), edges),
        norm=lambda: nn.LayerNorm(40),
        conv=lambda: GCNConv(40, 40),
    ),
    "rows of length one": lambda: made(
        lambda m, x, edges: m.conv(F.normalize(x + 1e-3), edges), conv=lambda: GCNConv(40, 8)
    ),
    "squares": lambda: made(
        lambda m, x, edges: m.conv(x + 0.3 * x.square(), edges), conv=lambda: GCNConv(40, 8)
    ),
    "no weights": Summed,
    "the features beside the map": lambda: made(
        lambda m, x, edges: torch.cat([m.conv(x, edges), x], dim=1), conv=lambda: GCNConv(40, 8)
    ),
    "the row's sum beside the map": lambda: made(
        lambda m, x, edges: m.conv(x, edges) + x.sum(1, keepdim=True), conv=lambda: GCNConv(40, 8)
    ),
    "differences of neighbours": lambda: made(
        lambda m, x, edges: m.conv(x, edges), conv=lambda: EdgeConv(nn.Linear(80, 8), aggr="max")
    ),
    "a part of the features": lambda: made(
        lambda m, x, edges: m.conv(x[:, :20], edges), conv=lambda: GCNConv(20, 8)
    ),
}


@pytest.mark.parametrize("model", NONE.values(), ids=NONE)
def test_none(model, small):
    assert found(model(), small, "output") is None


def test_binary_features_do_not_hide_a_square(small):
    """On zeros and ones x² is x: only the random features show that it is none of the layer's."""
    model = made(lambda m, x, edges: m.conv(x.square(), edges), conv=lambda: GCNConv(40, 8))
    assert found(model, small, "output") is None


def test_features_of_another_precision_than_the_weights_have_no_maps(small):
    model = made(lambda m, x, edges: m.lin(x.double()), lin=lambda: nn.Linear(40, 8).double())
    try:
        result = found(model, small, "output")
    except gm.InputError:  # the probe may refuse such a model before
        return
    assert result is None


# -------------------------------------------------------------------------------- left as found


@pytest.mark.parametrize("name", ZOO)
def test_the_model_is_left_as_found(name, small):
    model = zoo_model(name).train()
    next(model.parameters()).requires_grad_(False)
    x = small.x.clone()
    with left_as_found(model):
        assert found(model, small, "layer2") is not None
    assert torch.equal(small.x, x)


@pytest.mark.parametrize("model", NONE.values(), ids=NONE)
def test_a_model_without_maps_is_left_as_found(model, small):
    model = model()
    with left_as_found(model):
        found(model, small, "output")


def test_searches_through_a_read_leave_the_model_as_found(small):
    model = zoo_model("gat")
    with left_as_found(model):
        gm.metamer(model, small, "layer2", search=gm.search.Swap(steps=3))
