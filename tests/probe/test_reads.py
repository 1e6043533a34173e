"""The linear maps through which layers read the features: found, verified, and none made up."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import EdgeConv, GATConv, GCNConv, HeteroConv, SAGEConv

import graph_metamers as gm
from graph_metamers.probe import LinearRead, Session, find_linear_read
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


Found = tuple[LinearRead, list[Tensor], list[Tensor]]


@torch.no_grad()
def found(model, data, layer, keys=("x",)) -> Found | None:
    """The read, and the activations of X W and of X itself on random features."""
    with Session(model, data) as session:
        targets = session.targets(layer)
        with torch.enable_grad():
            read = find_linear_read(session, targets, keys)
        if read is None:
            return None
        draw = torch.Generator().manual_seed(7)
        other = session.inputs.replaced(
            {
                key: 3
                * torch.randn(session.inputs[key].shape, generator=draw).to(session.inputs[key])
                + 1
                for key in keys
            }
        )
        return read, read.activations(read.of(other)), session.activations(targets, other)


def check(model, data, layer, maps):
    """W holds `maps` side by side, and the layer is a function of X W."""
    read, reduced, direct = found(model, data, layer)
    torch.testing.assert_close(read.weight, torch.cat(maps, dim=1), rtol=0, atol=0)
    same(reduced, direct)


def same(reduced, direct):
    assert len(reduced) == len(direct)
    for h, other in zip(reduced, direct, strict=True):
        assert h.shape == other.shape
        assert float((h - other).norm()) <= TOLERANCE[h.dtype] * float(other.norm())


def as_dtype(model, data, dtype):
    data = copy.copy(data)
    data.x = data.x.to(dtype)
    return model.to(dtype), data


def test_every_zoo_model_is_covered():
    assert set(ZOO) == set(gm.zoo.MODELS)


@DTYPES
@pytest.mark.parametrize("layer", ["layer1", ["layer1", "layer3"]], ids=str)
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


@pytest.mark.parametrize("layer", ["layers.0", "output"])
def test_a_module_under_two_names(layer, small):
    """Its weight is replaced under both, and is its own again afterwards."""
    model = made(
        lambda m, x, edges: m.layers[1](m.conv1(x, edges).relu(), edges),
        conv1=lambda: GCNConv(40, 8),
        conv2=lambda: GCNConv(8, 3),
    )
    model.layers = nn.ModuleList([model.conv1, model.conv2])
    model.tied = model.conv1.lin.weight
    with Session(model, small) as session:
        before = dict(session.model.named_parameters(remove_duplicate=False))
        read = find_linear_read(session, session.targets(model.conv1))
        assert read is not None
        read.activations(read.of(session.inputs))
        after = dict(session.model.named_parameters(remove_duplicate=False))
        assert all(after[name] is weight for name, weight in before.items())
        assert after.keys() == before.keys()
    if layer == "output":
        check(model, small, layer, [model.conv1.lin.weight.T])


def test_the_read_is_differentiable(small):
    with Session(zoo_model("gcn"), small) as session:
        targets = session.targets("layer2")
        read = find_linear_read(session, targets)
        y = (small.x @ read.weight).requires_grad_()
        (gradient,) = torch.autograd.grad(read.activations({"x": y})[0].square().sum(), y)
        x = small.x.clone().requires_grad_()
        h = session.activations(targets, session.inputs.replaced({"x": x}))[0]
        (whole,) = torch.autograd.grad(h.square().sum(), x)
    torch.testing.assert_close(gradient @ read.weight.T, whole, rtol=1e-4, atol=1e-5)


def test_other_edges(small):
    """X W of the reference on other edges is the layer's own on these."""
    with Session(zoo_model("graphsage"), small) as session, torch.no_grad():
        targets = session.targets("layer2")
        with torch.enable_grad():
            read = find_linear_read(session, targets)
        other = session.inputs.replaced({"edge_index": small.edge_index.flip(0)[:, ::2]})
        same(read.activations(read.of(session.inputs), other), session.activations(targets, other))


# -------------------------------------------------------------------------------- several types

WRITES, BY = ("author", "writes", "paper"), ("paper", "by", "author")


def library() -> HeteroData:
    data, draw = HeteroData(), torch.Generator().manual_seed(0)
    data["paper"].x = torch.rand(12, 9, generator=draw)
    data["author"].x = torch.rand(6, 7, generator=draw)
    edges = torch.stack([torch.randint(6, (30,), generator=draw), torch.arange(30) % 12])
    data[WRITES].edge_index, data[BY].edge_index = edges, edges.flip(0)
    return data


class Typed(nn.Module):
    """`first`: what both types go through before the convolution."""

    def __init__(self, first=lambda x: x) -> None:
        super().__init__()
        convs = {WRITES: SAGEConv((7, 9), 5), BY: SAGEConv((9, 7), 5)}
        self.conv, self.first = HeteroConv(convs), first

    def forward(self, x_dict, edge_index_dict):
        x_dict = {kind: self.first(x) for kind, x in x_dict.items()}
        return self.conv(x_dict, edge_index_dict)


@pytest.mark.parametrize("keys", [["paper.x"], ["author.x"], ["paper.x", "author.x"]], ids=str)
def test_feature_matrices_of_several_types(keys):
    model = seeded(Typed).eval()
    read, reduced, direct = found(model, library(), "conv", keys)
    assert list(read.weights) == keys
    same(reduced, direct)
    convs = model.conv.convs
    maps = {
        "paper.x": [convs[WRITES].lin_r.weight.T, convs[BY].lin_l.weight.T],
        "author.x": [convs[WRITES].lin_l.weight.T, convs[BY].lin_r.weight.T],
    }
    for key, weight in read.weights.items():
        torch.testing.assert_close(
            weight.sort(dim=1).values, torch.cat(maps[key], dim=1).sort(dim=1).values
        )
    assert found(seeded(lambda: Typed(torch.square)), library(), "conv", keys) is None


def test_one_matrix_for_two_types_has_no_maps_of_one():
    """A shared weight reads both: it cannot be replaced for one of them alone."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(9, 4)

        def forward(self, x_dict, edge_index_dict):
            return {kind: self.lin(x) for kind, x in x_dict.items()}

    data = library()
    data["author"].x = torch.rand(6, 9)
    assert found(seeded(Shared), data, "output", ["paper.x"]) is None


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


@pytest.mark.parametrize("layer", ["layer2", "output"])
def test_the_model_is_left_as_found(layer, small):
    model = zoo_model("gat").train()
    x = small.x.clone()
    with left_as_found(model):
        assert found(model, small, layer) is not None
    assert torch.equal(small.x, x)
