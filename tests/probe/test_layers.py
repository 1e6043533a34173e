"""Which layers a model has, how they are named, and which one a name means."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, Sequential, global_mean_pool
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

import graph_metamers as gm
from graph_metamers.probe import Probe
from helpers import (
    CLASSES,
    DIFFUSED,
    FEATURES,
    HIDDEN,
    Calls,
    Diffuse,
    TwoLayers,
    seeded,
    toy_graph,
    unchecked_types,
    weighted_path,
)


def basic(cls, layers: int = 2, **options):
    return lambda: cls(FEATURES, HIDDEN, layers, CLASSES, **options)


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, HIDDEN)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return global_mean_pool(self.conv(x, edge_index), batch)


class Nested(nn.Module):
    """A block of the user's own around PyG's layers, and blocks that return their last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList([TwoLayers(), Calls(lambda m, x, e: F.elu(m.conv(x, e)))])
        self.body[1].conv = GCNConv(CLASSES, 4)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for block in self.body:
            x = block(x, edge_index)
        return x.tanh()


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (basic(GCN), "convs.0 [40, 8] · act [40, 8] · convs.1 [40, 3]"),
        (basic(GAT), "convs.0 [40, 8] · act [40, 8] · convs.1 [40, 3]"),
        (basic(GraphSAGE), "convs.0 [40, 8] · act [40, 8] · convs.1 [40, 3]"),
        # GIN's convolutions call the model's own activation inside their perceptrons.
        (
            basic(GIN),
            "act:0 [40, 8] · convs.0 [40, 8] · act:1 [40, 8] · act:2 [40, 3] · convs.1 [40, 3]",
        ),
        (
            basic(GCN, 3),
            "convs.0 [40, 8] · act:0 [40, 8] · convs.1 [40, 8] · act:1 [40, 8] · convs.2 [40, 3]",
        ),
        (
            basic(GCN, norm="batch_norm", dropout=0.5),
            "convs.0 [40, 8] · norms.0 [40, 8] · act [40, 8] · convs.1 [40, 3]",
        ),
        (
            basic(GCN, jk="cat"),
            "convs.0 [40, 8] · act:0 [40, 8] · convs.1 [40, 8] · act:1 [40, 8] · "
            "jk [40, 16] · lin [40, 3]",
        ),
        (basic(GCN, act=None), "convs.0 [40, 8] · convs.1 [40, 3]"),
        (TwoLayers, "conv1 [40, 8] · F.relu [40, 8] · conv2 [40, 3]"),
        (
            lambda: TwoLayers(lambda m, h: F.elu(F.relu(h)).relu()),
            "conv1 [40, 8] · F.relu:0 [40, 8] · F.elu [40, 8] · F.relu:1 [40, 8] · conv2 [40, 3]",
        ),
        (
            lambda: TwoLayers(lambda m, h: F.relu(h, inplace=True)),
            "conv1 [40, 8] · F.relu [40, 8] · conv2 [40, 3]",
        ),
        (
            lambda: TwoLayers(lambda m, h: h.relu_()),
            "conv1 [40, 8] · F.relu_ [40, 8] · conv2 [40, 3]",
        ),
        (
            lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)),
            "conv1 [40, 8] · relu [40, 8] · conv2 [40, 3]",
        ),
        (
            lambda: Calls(lambda m, x, e: m.conv(x, e).log_softmax(dim=1)),
            "conv [40, 3] · output [40, 3]",
        ),
        (lambda: Calls(lambda m, x, e: (m.conv(x, e), x)), "conv [40, 3]"),
        (
            lambda: Calls(lambda m, x, e: {"scores": 2 * m.conv(x, e), "x": x}),
            "conv [40, 3] · output [40, 3]",
        ),
        (lambda: Calls(lambda m, x, e: m.conv(x, e).argmax(dim=1)), "conv [40, 3]"),
        (lambda: Calls(lambda m, x, e: [m.conv(x, e), None][1]), "conv [40, 3]"),
        (
            lambda: Calls(
                lambda m, x, e: m.conv(x, e, return_attention_weights=True)[0],
                conv=GATConv(FEATURES, CLASSES),
            ),
            "conv [40, 3]",
        ),
        (Pooled, "conv [40, 8] · output [1, 8]"),
        (
            Nested,
            # body.0 returns the tensor of its conv2: the outermost stands for both.
            "body.0.conv1 [40, 8] · body.0.F.relu [40, 8] · body.0 [40, 3] · "
            "body.1.conv [40, 4] · body.1 [40, 4] · F.tanh [40, 4]",
        ),
        (
            lambda: Sequential(
                "x, edge_index",
                [(GCNConv(FEATURES, 5), "x, edge_index -> x"), nn.ReLU(), (nn.Linear(5, 3))],
            ),
            "module_0 [40, 5] · module_1 [40, 5] · module_2 [40, 3]",
        ),
        (lambda: GCNConv(FEATURES, 4), "output [40, 4]"),
    ],
    ids=[
        *["GCN", "GAT", "GraphSAGE", "GIN", "GCN-3", "GCN-norm", "GCN-jk", "GCN-linear"],
        *["F.relu", "many-functions", "F.relu-inplace", "relu_", "ReLU-inplace", "softmax"],
        *["tuple", "dict", "classes", "nothing", "attention", "pooled", "nested", "Sequential"],
        *["bare"],
    ],
)
def test_names_shapes_and_order(build, expected):
    assert repr(gm.layers(seeded(build), toy_graph())) == expected


def test_the_parts_of_what_layers_returns():
    infos = gm.layers(seeded(basic(GCN)), toy_graph())
    assert infos.names == ["convs.0", "act", "convs.1"]
    assert infos[1].name == "act"
    assert infos[1].shape == (40, HIDDEN)
    assert [str(info) for info in infos[:2]] == ["convs.0 [40, 8]", "act [40, 8]"]
    assert isinstance(infos, tuple)


@pytest.mark.parametrize("name", ["convs.0", "act", "convs.1"])
def test_every_name_that_is_listed_is_understood(name):
    data, model = toy_graph(), seeded(basic(GCN))
    with Probe(model, data) as probe:
        (target,) = probe.targets(name)
        (activation,) = probe.activations([target], data)
        shape = {info.name: info.shape for info in probe.layers}[name]
    assert target.label == name
    assert activation.shape == shape


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        ("act:0", "act"),
        ("act", "act"),
        ("convs.0:0", "convs.0"),
        ("output", "output"),
        ("output:0", "output"),
        ("convs.0.lin", "convs.0.lin"),
        ("convs.0.aggr_module", "convs.0.aggr_module"),
        ("dropout", "dropout"),
    ],
)
def test_other_names_that_are_understood(layer, label):
    with Probe(seeded(basic(GCN)), toy_graph()) as probe:
        assert [target.label for target in probe.targets(layer)] == [label]


def test_a_hidden_module_gives_its_own_activation():
    data, model = toy_graph(), seeded(basic(GCN))
    with Probe(model, data) as probe:
        (activation,) = probe.activations(probe.targets("convs.0.lin"), data)
    assert torch.equal(activation, data.x @ model.convs[0].lin.weight.T)


def test_calls_of_one_module_are_told_apart():
    data = weighted_path()
    with Probe(Diffuse(), data) as probe:
        names = probe.layers.names
        # In any order, and in one forward.
        found = probe.activations(probe.targets(["act:1", "lin:0", "act:0"]), data)
    assert names == ["lin:0", "act:0", "lin:1", "act:1"]
    assert torch.equal(found[0], DIFFUSED[1])
    assert torch.equal(found[1], torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [1.0, 8.0]]))
    assert torch.equal(found[2], DIFFUSED[0])


def in_place(way):
    return {
        "module": lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)),
        "F": lambda: TwoLayers(lambda m, h: F.relu(h, inplace=True)),
        "relu_": lambda: TwoLayers(lambda m, h: h.relu_()),
    }[way]


@pytest.mark.parametrize("way", ["module", "F", "relu_"])
@pytest.mark.parametrize("together", [False, True])
def test_an_in_place_activation_does_not_overwrite_the_layer_before(way, together):
    data, model = toy_graph(), seeded(in_place(way))
    before = model.conv1(data.x, data.edge_index).detach()
    with Probe(model, data) as probe, torch.no_grad():
        after = probe.layers.names[1]
        if together:
            found = probe.activations(probe.targets(["conv1", after]), data)
        else:
            found = [probe.activations(probe.targets(name), data)[0] for name in ("conv1", after)]
    assert bool((before < 0).any())
    assert torch.equal(found[0], before)
    assert torch.equal(found[1], before.relu())


def test_a_module_under_two_names_goes_by_its_first():
    shared = nn.Linear(CLASSES, CLASSES)
    model = seeded(
        lambda: Calls(lambda m, x, e: m.b(m.a(m.conv(x, e))), a=shared, b=shared),
    )
    data = toy_graph()
    assert gm.layers(model, data).names == ["conv", "a:0", "a:1"]
    with Probe(model, data) as probe:
        assert [target.label for target in probe.targets(["a:0", "b:1"])] == ["a:0", "a:1"]


def test_a_layer_that_is_called_output_is_that_layer():
    model = Calls(lambda m, x, e: 2 * m.output(m.conv(x, e)), output=nn.Linear(CLASSES, 5))
    data = toy_graph()
    with Probe(model, data) as probe, torch.no_grad():
        (activation,) = probe.activations(probe.targets("output"), data)
        returned = probe.output(data)
    assert torch.equal(2 * activation, returned)


def test_output_is_what_forward_picks():
    model = Calls(lambda m, x, e: (x, m.conv(x, e)))
    data = toy_graph()

    def second(model, data):
        return model(data.x, data.edge_index)[1]

    with Probe(model, data, second) as probe, torch.no_grad():
        (activation,) = probe.activations(probe.targets("output"), data)
        assert torch.equal(activation, second(model, data))
        assert torch.equal(activation, probe.output(data))


def test_a_function_is_a_layer():
    def degree_of_words(model, data):
        return data.x.sum(dim=1)

    data, model = toy_graph(), seeded(basic(GCN))
    with Probe(model, data) as probe:
        targets = probe.targets(["act", degree_of_words])
        found = probe.activations(targets, data)
    assert [target.label for target in targets] == ["act", "degree_of_words"]
    assert torch.equal(found[1], data.x.sum(dim=1))


def test_a_compiled_model_shows_the_layers_inside():
    model = torch.compile(seeded(basic(GCN)), backend="eager")
    assert gm.layers(model, toy_graph()).names == ["convs.0", "act", "convs.1"]


UNKNOWN = r"layer='{}' is not a layer of GCN\.{} It has 'convs\.0', 'act:0', 'convs\.1', "


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("conv.0", UNKNOWN.format("conv\\.0", r" Did you mean 'convs\.0'\?")),
        ("xyz", UNKNOWN.format("xyz", "") + r".*; see graph_metamers\.layers\(model, data\)\."),
        ("", UNKNOWN.format("", "")),
        ("convs.7", "layer='convs.7' is not a layer"),
        ("act:2", r"layer='act:2' is not a layer of GCN\. Did you mean 'act:\d'\?"),
        ("act:-1", "layer='act:-1' is not a layer"),
        ("act:", "layer='act:' is not a layer"),
        ("F.relu:0", "layer='F.relu:0' is not a layer"),
        (
            "act",
            r"layer='act' is ambiguous: GCN calls it 2 times\. Choose one of 'act:0', 'act:1'\.",
        ),
        ("convs", r"layer='convs' is part of GCN, but its forward never calls it"),
        ([], r"layer must be a name, a function .* or a list of these; got \[\]\. See "),
        ((), r"layer must be a name, .* got \(\)\."),
        (["act:0", "nope"], "layer='nope' is not a layer of GCN"),
    ],
)
def test_a_layer_that_is_none(layer, sentence):
    with (
        Probe(seeded(basic(GCN, 3)), toy_graph()) as probe,
        pytest.raises(gm.InputError, match=sentence),
    ):
        probe.targets(layer)


@pytest.mark.parametrize("layer", [3, [3], None, ["act", None], {"act": 1}.values()])
def test_a_layer_of_a_wrong_type(layer):
    with (
        unchecked_types(),
        Probe(seeded(basic(GCN)), toy_graph()) as probe,
        pytest.raises(gm.InputError, match="layer must be a name, a function"),
    ):
        probe.targets(layer)


class Degrees(nn.Module):
    def forward(self, edge_index: Tensor) -> Tensor:
        return edge_index[1].bincount()


@pytest.mark.parametrize("layer", ["never", "integers"])
def test_a_module_that_gives_nothing(layer):
    def run(model, x, edge_index):
        return model.conv(x / (1 + model.integers(edge_index)[:, None]), edge_index)

    model = Calls(run, never=nn.Linear(3, 3), integers=Degrees())
    sentence = f"layer='{layer}' is part of Calls, but .* returns no floating-point tensor"
    with Probe(model, toy_graph()) as probe, pytest.raises(gm.InputError, match=sentence):
        probe.targets(layer)


def test_a_layer_twice():
    with pytest.raises(gm.InputError, match=r"layer names act twice; name each layer once\."):
        gm.metamer(seeded(basic(GCN)), toy_graph(), ["act", "act:0"])


def test_a_layer_function_that_returns_no_tensor():
    def nothing(model, data):
        return None

    sentence = "The layer function 'nothing' must return a floating-point tensor; it returned none"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(seeded(basic(GCN)), toy_graph(), nothing)


def test_a_layer_that_only_the_reference_reaches():
    reference = toy_graph()

    def sometimes(model, x, edge_index):
        if torch.equal(x, reference.x):
            return model.lin(model.conv(x, edge_index))
        return model.conv(x, edge_index)

    model = seeded(lambda: Calls(sometimes, lin=nn.Linear(CLASSES, CLASSES)))
    with pytest.raises(gm.InputError, match="The forward ended before lin was reached"):
        gm.metamer(model, reference, "lin")
