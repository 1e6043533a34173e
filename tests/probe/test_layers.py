"""Which layers a model has, how they are named, and which one a name means."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import (
    GATConv,
    GCNConv,
    HeteroConv,
    SAGEConv,
    Sequential,
    global_mean_pool,
)
from torch_geometric.nn.models import GCN, GIN

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.probe import Session
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
        (
            lambda: Calls(lambda m, x, e: (m.conv(x, e), x)),
            "conv [40, 3] · output[0] [40, 3] · output[1] [40, 24]",
        ),
        (
            lambda: Calls(lambda m, x, e: {"scores": 2 * m.conv(x, e), "x": x}),
            "conv [40, 3] · output[scores] [40, 3] · output[x] [40, 24]",
        ),
        (lambda: Calls(lambda m, x, e: m.conv(x, e).argmax(dim=1)), "conv [40, 3]"),
        (lambda: Calls(lambda m, x, e: [m.conv(x, e), None][1]), "conv [40, 3]"),
        (
            lambda: Calls(
                lambda m, x, e: m.conv(x, e, return_attention_weights=True)[0],
                conv=GATConv(FEATURES, CLASSES),
            ),
            "conv[0] [40, 3] · conv[1] [212, 1] · output [40, 3]",
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
        *["GCN", "GIN", "GCN-3", "GCN-norm", "GCN-jk"],
        *["F.relu", "many-functions", "F.relu-inplace", "relu_", "ReLU-inplace", "softmax"],
        *["tuple", "dict", "classes", "nothing", "attention", "pooled", "nested", "Sequential"],
        *["bare"],
    ],
)
def test_names_shapes_and_order(build, expected):
    assert repr(gm.layers(seeded(build), toy_graph())) == expected


@torch.no_grad()
def read(model: nn.Module, data: Any, layer: Any, forward: Any = None) -> dict[str, Tensor]:
    """The activations that a layer means, by label."""
    with Session(model, data, forward) as session:
        targets = session.targets(layer)
        found = session.activations(targets, session.inputs)
    return {target.label: h for target, h in zip(targets, found, strict=True)}


def test_every_name_that_is_listed_is_understood():
    data, model = toy_graph(), seeded(basic(GCN, 3))
    infos = gm.layers(model, data)
    assert [str(info) for info in infos[:2]] == ["convs.0 [40, 8]", "act:0 [40, 8]"]
    found = read(model, data, infos.names)
    assert {name: tuple(h.shape) for name, h in found.items()} == {i.name: i.shape for i in infos}


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        ("act:0", "act"),
        ("convs.0:0", "convs.0"),
        ("output", "output"),
        ("output:0", "output"),
        ("convs.0.lin", "convs.0.lin"),
        ("dropout", "dropout"),
    ],
)
def test_other_names_that_are_understood(layer, label):
    data, model = toy_graph(), seeded(basic(GCN))
    found = read(model, data, layer)
    assert list(found) == [label]
    if label == "convs.0.lin":
        assert torch.equal(found[label], data.x @ model.convs[0].lin.weight.T)


def test_calls_of_one_module_are_told_apart():
    # In any order, and in one forward.
    found = read(Diffuse(), weighted_path(), ["act:1", "lin:0", "act:0"])
    assert torch.equal(found["act:1"], DIFFUSED[1])
    assert torch.equal(found["lin:0"], torch.tensor([[-2.0, -2.0], [-2.0, 2.0], [1.0, 8.0]]))
    assert torch.equal(found["act:0"], DIFFUSED[0])


IN_PLACE = {
    "module": lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)),
    "F": lambda: TwoLayers(lambda m, h: F.relu(h, inplace=True)),
    "relu_": lambda: TwoLayers(lambda m, h: h.relu_()),
}


@pytest.mark.parametrize("way", IN_PLACE)
def test_an_in_place_activation_does_not_overwrite_the_layer_before(way):
    data, model = toy_graph(), seeded(IN_PLACE[way])
    before = model.conv1(data.x, data.edge_index).detach()
    after = gm.layers(model, data).names[1]
    together = read(model, data, ["conv1", after])
    for found in (together, read(model, data, "conv1") | read(model, data, after)):
        assert torch.equal(found["conv1"], before)
        assert torch.equal(found[after], before.relu())


def test_a_module_is_a_layer():
    data, model = toy_graph(), seeded(TwoLayers)
    hidden = model.conv1(data.x, data.edge_index)
    found = read(model, data, [model.conv2, model.conv1])
    assert list(found) == ["conv2", "conv1"]
    assert torch.equal(found["conv1"], hidden.detach())
    for other in (nn.Linear(2, 2), model):
        with pytest.raises(gm.InputError, match="is no module of TwoLayers"):
            read(model, data, other)


def test_a_module_under_two_names_goes_by_its_first():
    shared = nn.Linear(CLASSES, CLASSES)
    model = seeded(lambda: Calls(lambda m, x, e: m.b(m.a(m.conv(x, e))), a=shared, b=shared))
    assert gm.layers(model, toy_graph()).names == ["conv", "a:0", "a:1"]
    assert list(read(model, toy_graph(), ["a:0", "b:1"])) == ["a:0", "a:1"]


def test_the_output_and_a_layer_of_that_name():
    data = toy_graph()
    model = Calls(lambda m, x, e: 2 * m.output(m.conv(x, e)), output=nn.Linear(CLASSES, 5))
    assert torch.equal(2 * read(model, data, "output")["output"], model(data.x, data.edge_index))
    picks = Calls(lambda m, x, e: (x, m.conv(x, e)))

    def second(model, data):
        return model(data.x, data.edge_index)[1]

    assert torch.equal(read(picks, data, "output", second)["output"], second(picks, data))


def test_functions_are_layers():
    def words(model, data):
        return data.x.sum(dim=1)

    data = toy_graph()
    found = read(
        seeded(basic(GCN)), data, ["act", words, lambda m, d: d.x, lambda m, d: (d.x, d.x)]
    )
    assert list(found) == ["act", "words", "<lambda>:2", "<lambda>:3[0]", "<lambda>:3[1]"]
    assert torch.equal(found["words"], data.x.sum(dim=1))


def test_a_compiled_model_shows_the_layers_inside():
    model = torch.compile(seeded(basic(GCN)), backend="eager")
    assert gm.layers(model, toy_graph()).names == ["convs.0", "act", "convs.1"]


# ------------------------------------------------------------------------- several tensors


class Several(nn.Module):
    """Returns what is handed in, wrapped."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, h: Tensor) -> Any:
        return self.wrap(h)


def unwrapped(value: Any) -> Tensor:
    while not isinstance(value, Tensor):
        value = next(iter(value.values() if isinstance(value, dict) else value))
    return value


WRAPS: dict[str, tuple[Any, list[str]]] = {
    "tuple": (lambda h: (h, h + 1), ["part[0]", "part[1]"]),
    "tuple of one": (lambda h: (h, None), ["part"]),
    "types": (lambda h: {"paper": h, "author": h + 1}, ["part[paper]", "part[author]"]),
    "one type": (lambda h: {"paper": h}, ["part[paper]"]),
    "nested": (lambda h: ({"a": h}, [h + 1, h + 2]), ["part[0][a]", "part[1][0]", "part[1][1]"]),
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_layer_of_several_tensors_is_all_of_them(wrap):
    function, labels = WRAPS[wrap]
    model = seeded(
        lambda: Calls(lambda m, x, e: unwrapped(m.part(m.conv(x, e))), part=Several(function))
    )
    data = toy_graph()
    h = model.conv(data.x, data.edge_index).detach()
    names = gm.layers(model, data).names
    assert [name for name in names if name.startswith("part")] == labels
    found = read(model, data, "part")
    assert list(found) == labels
    for place, value in enumerate(found.values()):
        assert torch.equal(value, h + place)
    for label in labels:  # and each goes by its name
        assert torch.equal(read(model, data, label)[label], found[label])
    with pytest.raises(gm.InputError, match=r"'part' returns no tensor named \[nothing\]"):
        read(model, data, "part[nothing]")


def library() -> HeteroData:
    data = HeteroData()
    draw = torch.Generator().manual_seed(0)
    data["paper"].x = torch.rand(6, 4, generator=draw)
    data["author"].x = torch.rand(3, 4, generator=draw)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 1, 2], [0, 1, 2, 5]])
    data["paper", "by", "author"].edge_index = torch.tensor([[0, 1, 2, 5], [0, 1, 1, 2]])
    data["author"].y = torch.tensor([0, 1, 0])
    return data


class Typed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        writes, by = ("author", "writes", "paper"), ("paper", "by", "author")
        self.conv1 = HeteroConv({kind: SAGEConv(4, 5) for kind in (writes, by)})
        self.lin = nn.Linear(5, 2)

    def forward(self, x_dict: Any, edge_index_dict: Any) -> Any:
        h = self.conv1(x_dict, edge_index_dict)
        return {kind: self.lin(value.relu()) for kind, value in h.items()}


def test_node_types():
    data, model = library(), seeded(Typed)
    expected = model.conv1(data.x_dict, data.edge_index_dict)
    found = read(model, data, "conv1")
    assert list(found) == ["conv1[paper]", "conv1[author]"]
    assert all(torch.equal(found[f"conv1[{kind}]"], h) for kind, h in expected.items())
    with Session(model, data) as session, torch.no_grad():
        targets = session.targets(["conv1", "output"])
        activations = session.activations(targets, session.inputs)
        nouns = [session.units(t, h).noun for t, h in zip(targets, activations, strict=True)]
        assert nouns == 2 * ["paper nodes", "author nodes"]
        # The answers are those whose rows the labels are of.
        output = session.output(session.inputs)
        assert torch.equal(output, model(data.x_dict, data.edge_index_dict)["author"])
        assert session.output_units(output).noun == "author nodes"
        assert session.labels is data["author"].y
        # Another graph with the session's own activations at the reference left as they are.
        other = session.inputs.replaced({"paper.x": torch.zeros(6, 4)})
        assert not torch.equal(session.activations(targets, other)[1], activations[1])


# ------------------------------------------------------------------------------ what is refused

UNKNOWN = r"layer='{}' is not a layer of GCN\.{} It has 'convs\.0', 'act:0', 'convs\.1', "


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ("conv.0", UNKNOWN.format("conv\\.0", r" Did you mean 'convs\.0'\?")),
        ("xyz", UNKNOWN.format("xyz", "") + r".*; see graph_metamers\.layers\(model, data\)\."),
        ("", UNKNOWN.format("", "")),
        ("act:2", r"layer='act:2' is not a layer of GCN\. Did you mean 'act:\d'\?"),
        ("act:-1", "layer='act:-1' is not a layer"),
        ("act:", "layer='act:' is not a layer"),
        ("act", r"is ambiguous: GCN calls it 2 times\. Choose one of 'act:0', 'act:1'\."),
        ("convs", r"layer='convs' is part of GCN, but its forward never calls it"),
        ([], r"layer must be a name, .* or a list of these; got \[\]\. See "),
        (["act:0", "nope"], "layer='nope' is not a layer of GCN"),
        (["act:0", "convs.0", "act:0"], r"layer names act:0 twice; name each layer once\."),
        (3, "layer must be a name"),
        (None, "layer must be a name"),
        (["act:0", None], "layer must be a name"),
        (lambda model, data: None, r"'<lambda>' must return a floating-point tensor; it returned"),
    ],
)
def test_a_layer_that_is_none(layer, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        read(seeded(basic(GCN, 3)), toy_graph(), layer)


class Degrees(nn.Module):
    def forward(self, edge_index: Tensor) -> Tensor:
        return edge_index[1].bincount()


@pytest.mark.parametrize("layer", ["never", "integers"])
def test_a_module_that_gives_nothing(layer):
    def run(model, x, edge_index):
        return model.conv(x / (1 + model.integers(edge_index)[:, None]), edge_index)

    model = Calls(run, never=nn.Linear(3, 3), integers=Degrees())
    sentence = f"layer='{layer}' is part of Calls, but .* returns no floating-point tensor"
    with pytest.raises(gm.InputError, match=sentence):
        read(model, toy_graph(), layer)


def test_what_changes_with_the_graph():
    reference = toy_graph()

    def sometimes(model, x, edge_index):
        h = model.conv(x, edge_index)
        return model.lin(h) if torch.equal(x, reference.x) else (h, h)

    model = seeded(lambda: Calls(sometimes, lin=nn.Linear(CLASSES, CLASSES)))
    other = Inputs.of(toy_graph(x=1 - reference.x))
    with Session(model, reference) as session:
        targets = session.targets("lin")
        with pytest.raises(gm.InputError, match="The forward ended before lin was reached"):
            session.activations(targets, other)
        with pytest.raises(gm.InputError, match="Calls must return the same tensors for every"):
            session.output(other)


def test_a_model_that_returns_no_tensor_has_layers_but_no_answer():
    model = seeded(lambda: Calls(lambda m, x, e: [m.conv(x, e), None][1]))
    assert read(model, toy_graph(), "conv")["conv"].shape == (40, CLASSES)
    sentence = "must return a floating-point tensor; it returned none"
    with Session(model, toy_graph()) as session, pytest.raises(gm.InputError, match=sentence):
        session.output(session.inputs)
