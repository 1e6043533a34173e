"""A mistake is told in one sentence: who, what was expected, what came, what to do."""

import contextlib
import math
import pickle
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GCN

import graph_metamers as gm
from helpers import (
    BAD_FILES,
    BAD_GRAPHS,
    CLASSES,
    FEATURES,
    HIDDEN,
    UNSUITABLE_GRAPHS,
    Calls,
    TwoLayers,
    left_as_found,
    seeded,
    toy_graph,
    unchecked_types,
)

QUICK = gm.Adam(lr=0.05, steps=2)


@pytest.fixture
def model() -> nn.Module:
    return seeded(lambda: GCN(FEATURES, HIDDEN, 2, CLASSES))


def metamer(model: Any, data: Any, layer: Any = "act", **settings: Any) -> gm.Metamer:
    return gm.metamer(model, data, layer, **{"search": QUICK, "progress": False} | settings)


USES = {
    "layers": gm.layers,
    "metamer": metamer,
    "audit": lambda model, data: gm.audit(model, data, seeds=1, search=QUICK),
    "metamer of a function": lambda model, data: metamer(model, data, lambda m, d: d.x * 2),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize(
    ("graph", "sentence"),
    [*BAD_GRAPHS.values(), *UNSUITABLE_GRAPHS.values()],
    ids=[*BAD_GRAPHS, *UNSUITABLE_GRAPHS],
)
def test_a_graph_that_cannot_be_used(graph, sentence, use, model):
    data = graph()
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        use(model, data)


@pytest.mark.parametrize(("graph", "sentence"), BAD_GRAPHS.values(), ids=BAD_GRAPHS.keys())
def test_a_graph_that_no_model_can_be_trained_on(graph, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.zoo.train("gcn", graph())


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize(
    ("data", "got"),
    [
        (None, "NoneType"),
        ({"x": 1}, "dict"),
        ((1, 2), "tuple"),
        (HeteroData(), "HeteroData"),
        (torch.eye(3), "Tensor"),
    ],
)
def test_data_that_is_no_graph(data, got, use, model):
    sentence = rf"data must be a torch_geometric\.data\.Data; got {got}\. Build one with Data\("
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        use(model, data)


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize(
    ("model", "got"),
    [
        (None, "NoneType"),
        ("gcn", "str"),
        (lambda x, edge_index: x, "function"),
        (GCN, "type"),
        ({"weights": 1}, "dict"),
    ],
)
def test_a_model_that_is_none(model, got, use):
    sentence = rf"model must be a torch\.nn\.Module; got {got}\. Wrap a function in a module"
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        use(model, toy_graph())


class Needs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        return self.conv(x, edge_index)


def lazy() -> nn.Module:
    return GCN(-1, HIDDEN, 2, CLASSES)


def half_lazy() -> nn.Module:
    return TwoLayers(conv2=GCNConv(-1, CLASSES))


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return TwoLayers()


def failing(model: Any, x: Tensor, edge_index: Tensor) -> Tensor:
    raise KeyError("missing")


# Models that cannot be read at all: said by layers() too.
BAD_MODELS = {
    "needs what data lacks": (
        Needs,
        r"Needs\.forward needs 'edge_type', which data lacks\. data has 'edge_index', .*'y'\. "
        r"Say how to call it with forward=lambda model, data: model\(\.\.\.\), or build a model "
        r"whose forward takes data alone\.",
    ),
    "lazy": (
        lazy,
        r"model's 'convs\.0\.lin\.weight' has no shape yet \(a lazy module that never ran\)\. Run ",
    ),
    "half lazy": (half_lazy, r"model's 'conv2\.lin\.weight' has no shape yet"),
    "in inference mode": (
        in_inference_mode,
        r"model's 'conv1\.bias' was made inside torch\.inference_mode\(\), .* Make the model out",
    ),
    "fails": (
        lambda: Calls(failing),
        r"Calls must run on the reference graph; it raised KeyError: 'missing'\. Hand in",
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize(("build", "sentence"), BAD_MODELS.values(), ids=BAD_MODELS.keys())
def test_a_model_that_cannot_be_read(build, sentence, use):
    with pytest.raises(gm.InputError, match=sentence):
        use(seeded(build), toy_graph())


def dropping(model: Any, x: Tensor, edge_index: Tensor) -> Tensor:
    return F.dropout(model.conv(x, edge_index), 0.5)


def all_off() -> nn.Module:
    model = TwoLayers()
    nn.init.constant_(model.conv1.bias, -100.0)
    return model


def with_nan_weights() -> nn.Module:
    model = TwoLayers()
    nn.init.constant_(model.conv1.bias, float("nan"))
    return model


# Models with a layer at which nothing can be matched.
BAD_LAYERS = {
    "random": (
        lambda: Calls(dropping),
        "output",
        r"The activation at output differs between two runs on the same graph: .* Where it calls "
        r"F\.dropout, pass training=self\.training\.",
    ),
    "all zero": (
        all_off,
        "F.relu",
        r"The activation at F\.relu is zero everywhere \(float32 \[40, 8\]\): every unit is off, "
        r"so any graph that keeps them off matches\. Choose another layer\.",
    ),
    "NaN": (
        with_nan_weights,
        "conv1",
        r"The activation at conv1 holds NaN or infinite entries on the reference graph\. Check ",
    ),
    "random after it": (
        lambda: Calls(dropping),
        "conv",
        r"The output of Calls differs between two runs on the same graph: the model draws random ",
    ),
    "NaN after it": (
        lambda: Calls(lambda m, x, e: m.conv(x, e) * float("nan")),
        "conv",
        r"The output of Calls holds NaN on the reference graph, so that no class can be read from",
    ),
    "no output": (
        lambda: Calls(lambda m, x, e: m.conv(x, e).argmax(1)),
        "conv",
        r"Calls must return a floating-point tensor; it returned none\. Pick it out with forward=",
    ),
    "loss first": (
        lambda: Calls(lambda m, x, e: (m.conv(x, e).sum(), x)),
        "conv",
        r"Calls must return a row for each node, .*; it returned a single number\. Pick the class",
    ),
    "unknown": (
        TwoLayers,
        "conv3",
        r"layer='conv3' is not a layer of TwoLayers\. Did you mean 'conv[12]'\? It has 'conv1', "
        r"'F\.relu', 'conv2'; see graph_metamers\.layers\(model, data\)\.",
    ),
    "ambiguous": (
        lambda: GCN(FEATURES, HIDDEN, 3, CLASSES),
        "act",
        r"layer='act' is ambiguous: GCN calls it 2 times\. Choose one of 'act:0', 'act:1'\.",
    ),
}


def never(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("a search began")


@pytest.mark.parametrize("use", ["metamer", "audit"])
@pytest.mark.parametrize(("build", "layer", "sentence"), BAD_LAYERS.values(), ids=BAD_LAYERS.keys())
def test_a_layer_that_cannot_be_matched(build, layer, sentence, use, monkeypatch, tmp_path):
    monkeypatch.setattr(gm.Adam, "run", never)  # it is said before the search
    model = seeded(build)
    uses = {
        "metamer": lambda: metamer(model, toy_graph(), layer),
        "audit": lambda: gm.audit(model, toy_graph(), layers=[layer], out=tmp_path / "audit"),
    }
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        uses[use]()
    assert not (tmp_path / "audit").exists()


def test_binary_features_of_what_is_not_binary(model):
    noise = torch.rand((40, FEATURES), generator=torch.Generator().manual_seed(0))
    sentence = (
        r"BinaryFeatures needs data\.x with entries 0 and 1 only; it holds 960 others, such as "
        r"0\.\d+\. Use vary=ContinuousFeatures\(\)\."
    )
    with pytest.raises(gm.InputError, match=sentence):
        metamer(model, toy_graph(x=noise), vary=gm.BinaryFeatures())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_binary_features_without_a_choice(value, model):
    sentence = rf"both zeros and ones; every entry is {value:.0f}, so .* only the reference itself"
    with pytest.raises(gm.InputError, match=sentence):
        metamer(model, toy_graph(x=torch.full((40, FEATURES), value)))


NAN = float("nan")
COUNT = "{} must be a whole number of at least {}; got {}"
POSITIVE = "{} must be positive and finite; got {}"


@pytest.mark.parametrize("value", [0, -1, 1.5, NAN, math.inf, True, "many", None])
@pytest.mark.parametrize("setting", ["steps", "patience"])
def test_a_number_of_steps(setting, value):
    if setting == "patience" and value is None:
        assert gm.Adam(patience=None).patience is None  # which means: never end early
        return
    sentence = COUNT.format(setting, 1, repr(value))
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        gm.Adam(**{setting: value})


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, math.inf])
def test_a_learning_rate(value):
    with pytest.raises(gm.InputError, match=POSITIVE.format("lr", value)):
        gm.Adam(lr=value)


@pytest.mark.parametrize("value", [0.0, -1.0, NAN, math.inf])
@pytest.mark.parametrize("use", ["metamer", "audit"])
def test_a_tolerance(use, value, model):
    uses = {
        "metamer": lambda: metamer(model, toy_graph(), tol=value),
        "audit": lambda: gm.audit(model, toy_graph(), layers=["act"], tol=value),
    }
    with pytest.raises(gm.InputError, match=POSITIVE.format("tol", value)):
        uses[use]()


@pytest.mark.parametrize("value", [-1, 0.5, NAN, True, None, "one"])
def test_a_seed(value, model):
    sentence = COUNT.format("seed", 0, repr(value))
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        metamer(model, toy_graph(), seed=value)


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        (0, COUNT.format("seeds", 1, 0)),
        (-1, COUNT.format("seeds", 1, -1)),
        (True, COUNT.format("seeds", 1, True)),
        ([], r"seeds must be different whole numbers, at least one; got \[\]\."),
        ([1, 1], r"seeds must be different whole numbers, at least one; got \[1, 1\]\."),
        ([0, -1], COUNT.format("seeds", 0, -1)),
        ([0.5], COUNT.format("seeds", 0, 0.5)),
        ([NAN], COUNT.format("seeds", 0, NAN)),
        (NAN, COUNT.format("seeds", 0, NAN)),
        ("1", COUNT.format("seeds", 0, "'1'")),
    ],
)
def test_seeds_of_an_audit(seeds, sentence, model):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        gm.audit(model, toy_graph(), layers=["act"], seeds=seeds, search=QUICK)


@pytest.mark.parametrize("layers", ["act", [], ()])
def test_layers_of_an_audit(layers, model):
    with unchecked_types(), pytest.raises(gm.InputError, match=r"layers must be a list of layers"):
        gm.audit(model, toy_graph(), layers=layers, search=QUICK)


def test_an_unknown_dataset():
    sentence = (
        r"dataset='coara' is not a dataset\. Did you mean 'cora'\? Choose among 'csbm', 'cora', "
        r".*, or hand in your own graph\."
    )
    with pytest.raises(gm.InputError, match=sentence):
        gm.datasets.load("coara")


@pytest.mark.parametrize("name", ["cora", "chameleon"])
def test_a_dataset_that_cannot_be_downloaded(name, monkeypatch, tmp_path):
    def unreachable(self: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.delenv("GRAPH_METAMERS_DATA", raising=False)
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))
    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", unreachable)
    monkeypatch.setattr("torch_geometric.datasets.WikipediaNetwork.download", unreachable)
    sentence = (
        rf"dataset='{name}' could not be loaded \(URLError: .*no route to host.*\)\. Connect "
        r"to the internet, or put PyG's raw files into a folder and name it in "
        r"GRAPH_METAMERS_DATA; dataset='csbm' needs no download\."
    )
    with pytest.raises(gm.InputError, match=sentence):
        gm.datasets.load(name)
    assert list((tmp_path / "datasets").iterdir()) == []


READERS = {
    "load": lambda path: gm.load(path),
    "checkpoint": lambda path: metamer(
        seeded(lambda: GCN(FEATURES, HIDDEN, 2, CLASSES)), toy_graph(), checkpoint=path
    ),
}
KINDS = {"load": r"a metamer saved by Metamer\.save\(\)", "checkpoint": "a checkpoint"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_holds_something_else(content, reader, tmp_path):
    path, marker = tmp_path / "file.pt", tmp_path / "marker"
    BAD_FILES[content](path, marker)
    before = path.read_bytes()
    sentence = rf"file\.pt' must be {KINDS[reader]}.*(it cannot be read as one|it holds )"
    with pytest.raises(gm.InputError, match=sentence) as raised:
        READERS[reader](path)
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


@pytest.mark.parametrize("reader", READERS)
def test_a_dict_of_something_else(reader, tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "file.pt")
    sentence = {
        "load": r"file\.pt' must be a metamer saved by Metamer\.save\(\); it is not one\.",
        "checkpoint": r"The checkpoint '.*file\.pt' belongs to another search \(.*\)\. Remove it",
    }[reader]
    with pytest.raises(gm.InputError, match=sentence):
        READERS[reader](tmp_path / "file.pt")


def test_a_metamer_that_is_not_there(tmp_path):
    with pytest.raises(gm.InputError, match=r"no\.pt' must be a metamer .*; there is no such file"):
        gm.load(tmp_path / "no.pt")
    with pytest.raises(gm.InputError, match=r"must be a metamer .*; there is no such file"):
        gm.load(tmp_path)


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
    with pytest.raises(gm.InputError, match=r"cannot be made \(.*\)\. Choose another place\."):
        uses[place]()
    assert (tmp_path / "file").read_text() == "kept"


def test_a_metamer_cannot_be_saved_over_a_folder(model, tmp_path):
    with pytest.raises(gm.InputError, match=r"cannot be written \(.*\)\. Choose another place\."):
        metamer(model, toy_graph()).save(tmp_path)
    assert list(tmp_path.parent.glob("*.part")) == []


@pytest.mark.parametrize("what", ["seeds", "layers", "search", "tol", "model"])
def test_a_folder_that_holds_another_audit(what, model, tmp_path):
    out = tmp_path / "audit"
    settings: dict[str, Any] = {"layers": ["act"], "seeds": 1, "search": QUICK, "out": out}
    gm.audit(model, toy_graph(), **settings)
    other = {
        "seeds": {"seeds": 2},
        "layers": {"layers": ["output"]},
        "search": {"search": gm.Adam(steps=3)},
        "tol": {"tol": 0.5},
        "model": {},
    }[what]
    if what == "model":
        model = seeded(lambda: GCN(FEATURES, HIDDEN, 2, CLASSES), seed=1)
    sentence = (
        rf"out='.*audit' already holds another audit \((content of )?{what} differ\)\. "
        "Choose another folder, or remove this one"
    )
    with pytest.raises(gm.InputError, match=sentence):
        gm.audit(model, toy_graph(), **settings | other)
