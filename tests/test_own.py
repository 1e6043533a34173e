"""The user's own graph and model from files: every kind comes back, and nothing in one is run."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.data.batch import DynamicInheritanceGetter

from graph_metamers import InputError
from graph_metamers.own import load_graph, load_model
from helpers import BAD_FILES, Malicious, toy_graph

MODELS = """
import sys
import torch
import neighbour


def make():
    return torch.nn.Linear(24, 3)


def fitting(data):
    return torch.nn.Linear(data.num_features, 3)


def optional(data=None, *others, **settings):
    assert data is None
    return torch.nn.Linear(24, 3)


instance = make()
number = 3


def raises():
    raise KeyError("colour")


def stops():
    sys.exit("wrong number of arguments")


def nothing():
    return None


def two(data, hidden):
    return make()
"""


def hetero_graph() -> HeteroData:
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.eye(3), torch.ones(2, 4)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 1], [0, 1, 2]])
    data.title = "a text"
    return data


def saved(value: Any, path: Path) -> Path:
    torch.save(value, path)
    return path


# ---------------------------------------------------------------------- graphs


PAIR, TYPED = [toy_graph(), toy_graph(x=1 - toy_graph().x)], [hetero_graph(), hetero_graph()]
KINDS = {  # what is saved, what comes back
    "Data": (toy_graph(), toy_graph()),
    "HeteroData": (hetero_graph(), hetero_graph()),
    "Batch": (Batch.from_data_list(PAIR), Batch.from_data_list(PAIR)),
    "typed Batch": (Batch.from_data_list(TYPED), Batch.from_data_list(TYPED)),
    "list": (PAIR, Batch.from_data_list(PAIR)),
    "list of typed": (TYPED, Batch.from_data_list(TYPED)),
    "dict": (toy_graph().to_dict(), toy_graph()),
    "typed dict": (hetero_graph().to_dict(), hetero_graph()),
}


@pytest.mark.parametrize(("given", "expected"), KINDS.values(), ids=KINDS)
def test_a_graph_comes_back(given, expected, tmp_path):
    found = load_graph(saved(given, tmp_path / "graph.pt"))
    assert type(found) is type(expected)
    both = [found], [expected]
    if isinstance(expected, Batch):  # which falls into its graphs again
        both = found.to_data_list(), expected.to_data_list()
    for mine, its in zip(*both, strict=True):
        assert str(mine.to_dict()) == str(its.to_dict())
        torch.testing.assert_close(list(tensors(mine)), list(tensors(its)), rtol=0, atol=0)


def tensors(graph: Any) -> Iterator[torch.Tensor]:
    for store in graph.stores:
        yield from (value for value in store.values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_holds_no_graph(content, tmp_path):
    path, marker = tmp_path / "graph.pt", tmp_path / "marker"
    BAD_FILES[content](path, marker)
    with pytest.raises(InputError, match="must be a graph") as told:
        load_graph(path)
    assert "malicious" not in content or "nothing in it was run" in str(told.value)
    assert not marker.exists()


def malicious_batch(path: Path, marker: Path) -> None:
    batch = Batch.from_data_list(PAIR)
    batch._inc_dict = {"x": Malicious(marker)}
    torch.save(batch, path)


def malicious_types(path: Path, marker: Path) -> None:
    data = hetero_graph()
    data["paper"].extra = Malicious(marker)
    torch.save(data, path)


class Called:
    """Unpickled, it calls PyG's maker of batches, or what is said, with arguments."""

    def __init__(self, *arguments: Any, function: Any = None) -> None:
        self.reduced = function or DynamicInheritanceGetter(), arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "save",
    [
        malicious_batch,
        malicious_types,
        lambda path, marker: torch.save([toy_graph(), Malicious(marker)], path),
        lambda path, marker: torch.save({"paper": {"x": Malicious(marker)}}, path),
        # The maker may be called, and then with the two classes of a batch alone.
        lambda path, marker: torch.save(Called(Batch, Called), path),
        lambda path, marker: torch.save(Called(Batch, Batch), path),
        lambda path, marker: torch.save(Called(Data, Data), path),
        lambda path, marker: torch.save(Called(Path, str(marker)), path),
        lambda path, marker: torch.save(Called(str(marker), function=Path.mkdir), path),
    ],
)
def test_nothing_in_a_file_is_run(save, tmp_path):
    path, marker = tmp_path / "graph.pt", tmp_path / "marker"
    save(path, marker)
    with pytest.raises(InputError, match="must be a graph"):
        load_graph(path)
    assert not marker.exists()


def test_a_damaged_file_is_told(tmp_path):
    """Wherever a byte is another, a graph comes back or a sentence; never another error."""
    whole = saved(Batch.from_data_list(PAIR), tmp_path / "whole.pt").read_bytes()
    chance, path = random.Random(0), tmp_path / "graph.pt"
    refused = 0
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            load_graph(path)
        except InputError:
            refused += 1
    assert refused


@pytest.mark.parametrize(
    "value",
    [{"x": 1.0}, {"paper": {"x": 1.0}, "x": [1]}, [], [torch.ones(2)], [toy_graph(), Data()]],
    ids=str,
)
def test_something_else_than_a_graph(value, tmp_path):
    with pytest.raises(InputError, match="must be a graph"):
        load_graph(saved(value, tmp_path / "graph.pt"))


# ---------------------------------------------------------------------- models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "own_models.py").write_text(MODELS)
    return tmp_path / "own_models.py"


@pytest.mark.parametrize("factory", ["make", "fitting", "optional", "instance"])
def test_a_model_is_made(factory, models):
    assert isinstance(load_model(f"{models}:{factory}", None, toy_graph()), nn.Linear)


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("", "FILE.py:FACTORY"),
        ("maek", "Did you mean 'make'"),
        ("number", "must return a torch.nn.Module"),
        ("nothing", "must return a torch.nn.Module"),
        ("raises", "KeyError: 'colour'"),
        ("stops", "SystemExit: wrong number"),
        ("two", "TypeError: .*hidden"),
    ],
)
def test_a_factory_that_makes_none(factory, told, models):
    with pytest.raises(InputError, match=told):
        load_model(f"{models}:{factory}", None, toy_graph())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"def make(:\n", "SyntaxError"),
        (b"undefined\n", "NameError"),
        (b"import sys\nsys.exit('usage')\n", "SystemExit: usage"),
        (b"import torch\n", "has nothing"),
        (b"\x80\x04\x95\x00\x00", "could not be imported"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_makes_none(content, told, tmp_path):
    path = tmp_path / "own_file.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        load_model(f"{path}:make", None, toy_graph())


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model_state_dict"])
def test_weights_are_loaded(wrapped, models, tmp_path):
    state = nn.Linear(24, 3).state_dict()
    path = saved(state if wrapped is None else {wrapped: state, "epoch": 3}, tmp_path / "w.pt")
    model: Any = load_model(f"{models}:make", path, toy_graph())
    assert model.weight.equal(state["weight"])


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (nn.Linear(24, 4).state_dict(), "does not fit Linear.*size mismatch"),
        ({"weight": torch.ones(3, 24)}, "does not fit Linear.*Missing key"),
        ({"weight": 1}, "must be a state_dict"),
        ({"state_dict": [1]}, "must be a state_dict"),
    ],
)
def test_weights_that_do_not_fit(state, told, models, tmp_path):
    with pytest.raises(InputError, match=told):
        load_model(f"{models}:make", saved(state, tmp_path / "w.pt"), toy_graph())


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_holds_no_weights(content, models, tmp_path):
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    BAD_FILES[content](path, marker)
    with pytest.raises(InputError, match="must be a state_dict"):
        load_model(f"{models}:make", path, toy_graph())
    assert not marker.exists()
