"""A mistake is told in one sentence: who, what was expected, what came, what to do."""

import contextlib
import math
import pickle
from collections.abc import Callable
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GCN

import graph_metamers as gm
from helpers import (
    BAD_FILES,
    CLASSES,
    FEATURES,
    HIDDEN,
    Calls,
    TwoLayers,
    left_as_found,
    sealed,
    seeded,
    toy_graph,
    unchecked_types,
)

QUICK = gm.Adam(lr=0.05, steps=2)


@pytest.fixture
def model() -> nn.Module:
    return seeded(lambda: GCN(FEATURES, HIDDEN, 2, CLASSES))


def metamer(model: Any, data: Any, layer: Any = "act", **settings: Any) -> gm.Metamer:
    return gm.metamer(model, data, layer, **{"search": QUICK} | settings)


# ----------------------------------------------------------------------------- graphs


def with_entry(name: str, place: tuple[int, int], value: float) -> Callable[[], Data]:
    def build() -> Data:
        changed = toy_graph()[name].clone()
        changed[place] = value
        return toy_graph(**{name: changed})

    return build


X, E = toy_graph().x, toy_graph().edge_index
COUNT = E.shape[1]

BAD_GRAPHS: dict[str, tuple[Callable[[], Any], str]] = {
    "NaN": (with_entry("x", (3, 2), math.nan), r"data\.x must be finite; .* first in row 3\. Repl"),
    "infinite": (with_entry("x", (7, 2), -math.inf), r"data\.x must be finite; .* first in row 7"),
    "integer": (lambda: toy_graph(x=X.long()), r"no float matrix x \(data\.x is int64 \[40, 24\]"),
    "boolean": (lambda: toy_graph(x=X.bool()), r"no float matrix x \(data\.x is bool \[40, 24\]"),
    "a list": (lambda: toy_graph(x=X.tolist()), r"no float matrix x\. Say what varies"),
    "sparse": (lambda: toy_graph(x=X.to_sparse_coo()), "no float matrix x"),
    "no x": (lambda: toy_graph(x=None), r"no float matrix x\. Say what varies"),
    "x 1-D": (lambda: toy_graph(x=X[:, 0]), r"no float matrix x \(data\.x is float32 \[40\]"),
    "no nodes": (
        lambda: toy_graph(x=torch.zeros(0, FEATURES), edge_index=torch.zeros(2, 0).long()),
        r"at least one entry; got float32 \[0, 24\]",
    ),
    "no features": (lambda: toy_graph(x=torch.zeros(40, 0)), r"one entry; got float32 \[40, 0\]"),
    "no edge_index": (lambda: toy_graph(edge_index=None), "needs 'edge_index', which data lacks"),
    "edge too high": (with_entry("edge_index", (0, 5), 40), "nodes 0 to 39 .*; it holds 40"),
    "edge negative": (with_entry("edge_index", (0, 5), -1), "must point to .*; it holds -1"),
    "edges transposed": (lambda: toy_graph(edge_index=E.t()), r"Transpose it with .*\.t\(\)"),
    "an adjacency": (lambda: toy_graph(edge_index=torch.ones(40, 40).long()), "dense_to_sparse"),
    "edges int32": (lambda: toy_graph(edge_index=E.int()), r"got int32 \[2, .* with .*long\(\)"),
    "edges float": (lambda: toy_graph(edge_index=E.float()), r"got float32 .* with .*long\(\)"),
    "edges sparse": (
        lambda: toy_graph(edge_index=torch.eye(40).to_sparse_coo()),
        r"Put a sparse adjacency into data\.adj_t",
    ),
    "edge_weight too short": (
        lambda: toy_graph(edge_weight=torch.ones(COUNT - 1)),
        rf"one row for each of the {COUNT} edges; got float32 \[{COUNT - 1}\]\. Give each",
    ),
    "edge_attr too long": (
        lambda: toy_graph(edge_attr=torch.ones(COUNT + 2, 3)),
        rf"one row for each of the {COUNT} edges; got float32 \[{COUNT + 2}, 3\]\. Give each",
    ),
    "float64": (lambda: toy_graph(x=X.double()), r"with data\.x\.to\(torch\.float32\)"),
    "other features": (
        lambda: toy_graph(x=X[:, :20]),
        "GCN must run on the reference graph; it raised RuntimeError: mat1 and mat2 shapes",
    ),
    **{
        f"a {type(value).__name__}": (lambda value=value: value, sentence)
        for value, sentence in [
            (None, "data must be a torch_geometric Data, .*; got NoneType"),
            ((1, 2), "data must be a torch_geometric Data, .*; got tuple"),
            (torch.eye(3), "data must be a torch_geometric Data, .*; got Tensor"),
            ({"x": 1}, "no float matrix x"),
        ]
    },
}


@pytest.mark.parametrize(("graph", "sentence"), BAD_GRAPHS.values(), ids=BAD_GRAPHS)
def test_a_graph_that_cannot_be_used(graph, sentence, model):
    data = graph()
    with left_as_found(model), unchecked_types():
        with pytest.raises(gm.InputError, match=sentence) as told:
            metamer(model, data)
        assert "\n" not in str(told.value)


# ----------------------------------------------------------------------------- models and layers


class Needs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        return self.conv(x, edge_index)


def failing(model: Any, x: Tensor, edge_index: Tensor) -> Tensor:
    raise KeyError("missing")


BAD_MODELS: dict[str, tuple[Callable[[], Any], str]] = {
    "needs what data lacks": (Needs, r"needs 'edge_type', which data lacks\. data has .* forward="),
    "lazy": (lambda: GCN(-1, HIDDEN, 2, CLASSES), r"'convs\.0\.lin\.weight' has no shape yet"),
    "fails": (lambda: Calls(failing), "it raised KeyError: 'missing'"),
    "none": (lambda: None, "model must be a torch.nn.Module; got NoneType"),
    "a function": (lambda: lambda x: x, "got function. Wrap a function in a module"),
    "a class": (lambda: GCN, "model must be a torch.nn.Module; got type"),
}
USES = {
    "layers": gm.layers,
    "metamer": metamer,
    "audit": lambda model, data: gm.audit(model, data, seeds=1, search=QUICK),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize(("build", "sentence"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_a_model_that_cannot_be_read(build, sentence, use):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        use(seeded(build), toy_graph())


def dropping(model: Any, x: Tensor, edge_index: Tensor) -> Tensor:
    return F.dropout(model.conv(x, edge_index), 0.5)


def with_bias(value: float) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = TwoLayers()
        nn.init.constant_(model.conv1.bias, value)
        return model

    return build


# Models with a layer at which nothing can be matched.
BAD_LAYERS = {
    "random": (lambda: Calls(dropping), "output", "differs between two runs on the same graph"),
    "all zero": (with_bias(-100.0), "F.relu", r"F\.relu is zero everywhere \(float32 \[40, 8\]\)"),
    "NaN": (with_bias(math.nan), "conv1", "holds NaN"),
    "random after it": (lambda: Calls(dropping), "conv", "The output of Calls differs between"),
    "NaN after it": (
        lambda: Calls(lambda m, x, e: m.conv(x, e) * math.nan),
        "conv",
        "The output of Calls holds NaN on the reference graph",
    ),
    "no output": (
        lambda: Calls(lambda m, x, e: m.conv(x, e).argmax(1)),
        "conv",
        "Calls must return a floating-point tensor; it returned none. Pick it out with forward=",
    ),
    "unknown": (TwoLayers, "conv3", r"'conv3' is not a layer of TwoLayers\. Did you mean 'conv"),
    "ambiguous": (
        lambda: GCN(FEATURES, HIDDEN, 3, CLASSES),
        "act",
        r"layer='act' is ambiguous: GCN calls it 2 times\. Choose one of 'act:0', 'act:1'\.",
    ),
}


def never(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("a search began")


@pytest.mark.parametrize(("build", "layer", "sentence"), BAD_LAYERS.values(), ids=BAD_LAYERS.keys())
def test_a_layer_that_cannot_be_matched(build, layer, sentence, monkeypatch, tmp_path):
    monkeypatch.setattr(gm.Adam, "run", never)  # it is said before the search
    model = seeded(build)
    with left_as_found(model):
        with pytest.raises(gm.InputError, match=sentence):
            metamer(model, toy_graph(), layer)
        with pytest.raises(gm.InputError, match=sentence):
            gm.audit(model, toy_graph(), layers=[layer], out=tmp_path / "audit")
    assert not (tmp_path / "audit").exists()


# ----------------------------------------------------------------------------- settings


def test_binary_features_of_what_is_not_binary(model):
    noise = torch.rand((40, FEATURES), generator=torch.Generator().manual_seed(0))
    with pytest.raises(gm.InputError, match=r"holds 960 others, such as 0\.\d+"):
        metamer(model, toy_graph(x=noise), vary=gm.BinaryFeatures())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_binary_features_without_a_choice(value, model):
    with pytest.raises(gm.InputError, match=f"every entry is {value:.0f}"):
        metamer(model, toy_graph(x=torch.full((40, FEATURES), value)))


NAN = math.nan
WHOLE, POSITIVE = "{} must be a whole number of at least {}; got", "{} must be positive and finite"
SETTINGS: dict[str, tuple[Callable[[Any], Any], str, list[Any]]] = {
    "steps": (
        lambda value: gm.Adam(steps=value),
        WHOLE.format("steps", 1),
        [0, -1, 1.5, NAN, math.inf, True, "many", None],
    ),
    "patience": (
        lambda value: gm.Adam(patience=value),
        WHOLE.format("patience", 1),
        [0, 1.5, True, "many"],
    ),
    "lr": (lambda value: gm.Adam(lr=value), POSITIVE.format("lr"), [0.0, -1.0, NAN, math.inf]),
    "tol": (
        lambda value: metamer(GCN(FEATURES, HIDDEN, 2, CLASSES), toy_graph(), tol=value),
        POSITIVE.format("tol"),
        [0.0, -1.0, NAN, math.inf],
    ),
    "seed": (
        lambda value: metamer(GCN(FEATURES, HIDDEN, 2, CLASSES), toy_graph(), seed=value),
        WHOLE.format("seed", 0),
        [-1, 0.5, NAN, True, None, "one"],
    ),
    "seeds": (
        lambda value: gm.audit(GCN(FEATURES, HIDDEN, 2, CLASSES), toy_graph(), seeds=value),
        "seeds must be",
        [0, True, [], [1, 1], [0, -1], [0.5], NAN, "1"],
    ),
    "layers": (
        lambda value: gm.audit(GCN(FEATURES, HIDDEN, 2, CLASSES), toy_graph(), layers=value),
        "layers must be a list of layers",
        ["act", [], ()],
    ),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, _, bad) in SETTINGS.items() for value in bad]
)
def test_a_setting_that_is_out_of_range(name, value):
    use, sentence, _ = SETTINGS[name]
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        use(value)


def test_an_unknown_dataset():
    with pytest.raises(gm.InputError, match=r"'coara' is not a dataset\. Did you mean 'cora'\?"):
        gm.datasets.load("coara")


@pytest.mark.parametrize("name", ["cora", "chameleon"])
def test_a_dataset_that_cannot_be_downloaded(name, monkeypatch, tmp_path):
    def unreachable(self: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.delenv("GRAPH_METAMERS_DATA", raising=False)
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))
    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", unreachable)
    monkeypatch.setattr("torch_geometric.datasets.WikipediaNetwork.download", unreachable)
    with pytest.raises(gm.InputError, match=r"no route to host.*GRAPH_METAMERS_DATA"):
        gm.datasets.load(name)
    assert list((tmp_path / "datasets").iterdir()) == []


# ----------------------------------------------------------------------------- files

READERS = {
    "load": (lambda path: gm.load(path), r"a metamer saved by Metamer\.save\(\)"),
    "checkpoint": (
        lambda path: metamer(GCN(FEATURES, HIDDEN, 2, CLASSES), toy_graph(), checkpoint=path),
        "a checkpoint",
    ),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_holds_something_else(content, reader, tmp_path):
    path, marker = tmp_path / "file.pt", tmp_path / "marker"
    BAD_FILES[content](path, marker)
    before = sealed(path).read_bytes()
    read, kind = READERS[reader]
    sentence = rf"file\.pt' must be {kind}.*(it cannot be read as one|it holds )"
    with pytest.raises(gm.InputError, match=sentence) as raised:
        read(path)
    if "malicious" in content:
        assert "was refused, nothing in it was run" in str(raised.value)
    assert not marker.exists()
    assert path.read_bytes() == before


def test_the_malicious_files_are_malicious(tmp_path):
    """Else the tests above would show nothing."""
    for place, content in enumerate(name for name in BAD_FILES if "malicious" in name):
        path, marker = tmp_path / f"{place}.pt", tmp_path / f"marker{place}"
        BAD_FILES[content](path, marker)
        if "pickled" in content:
            with contextlib.suppress(Exception):
                pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert marker.is_dir(), content


def test_a_file_of_something_else_or_of_nothing(tmp_path, model):
    path = tmp_path / "file.pt"
    for missing in (path, tmp_path):
        with pytest.raises(gm.InputError, match=r"must be a metamer .*; there is no such file"):
            gm.load(missing)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(gm.InputError, match="it is damaged, or another program wrote it"):
        gm.load(path)
    with pytest.raises(gm.InputError, match=r"must be a metamer .*; it is not one"):
        gm.load(sealed(path))
    with pytest.raises(gm.InputError, match=r"'.*file\.pt' belongs to another search"):
        metamer(model, toy_graph(), checkpoint=path)


@pytest.mark.parametrize("place", ["checkpoint", "save", "audit", "audit.save"])
def test_a_place_below_a_file(place, model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("kept")
    path = tmp_path / "file" / "folder" / "m.pt"
    m = metamer(model, toy_graph())
    report = gm.audit(model, toy_graph(), layers=["act"], seeds=1, search=QUICK)
    monkeypatch.setattr(gm.Adam, "run", never)  # it is said before the search
    uses = {
        "checkpoint": lambda: metamer(model, toy_graph(), checkpoint=path),
        "save": lambda: m.save(path),
        "audit": lambda: gm.audit(model, toy_graph(), layers=["act"], seeds=1, out=path),
        "audit.save": lambda: report.save(path),
    }
    with pytest.raises(gm.InputError, match=r"cannot be written \(.*\)\. Choose another place\."):
        uses[place]()
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(gm.InputError, match=r"cannot be written \(.*\)\. Choose another place\."):
        m.save(tmp_path)  # over a folder
    assert list(tmp_path.parent.glob("*.part")) == []


MISTAKES: dict[str, tuple[Callable[[nn.Module, Data], Any], str]] = {
    "index": (
        lambda model, data: gm.metamer(model, data, "act", index="all"),
        "index must hold numbers of rows or a mask of them, .* got 'all'",
    ),
    "ragged index": (
        lambda model, data: gm.metamer(model, data, "act", index=[[1], [2, 3]]),
        "index must hold numbers of rows",
    ),
    "vary by a tuple": (
        lambda model, data: gm.metamer(model, data, "act", vary={("user", "item"): gm.Edges()}),
        r"vary must be keyed by the names of inputs; got \('user', 'item'\)",
    ),
    "graphs of two widths": (
        lambda model, data: gm.metamer(model, [data, Data(x=torch.ones(3, 2))], "act"),
        "data must hold graphs with the same attributes, .* it raised ",
    ),
    "a layer function that raises": (
        lambda model, data: gm.metamer(model, data, lambda model, data: data.x[0, 9999]),
        "The layer function '<lambda>' must run on any graph; it raised IndexError",
    ),
    "avoid": (
        lambda model, data: gm.metamers(model, data, "act", n=1, avoid=5),
        "avoid must be a list of graphs; got int",
    ),
    "an empty dictionary": (
        lambda model, data: gm.metamer(model, {}, "act"),
        r"The data has nothing\.",
    ),
}


@pytest.mark.parametrize(("call", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told(call, sentence, model):
    with left_as_found(model), unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        call(model, toy_graph())
