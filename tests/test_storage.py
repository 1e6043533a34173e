"""Files that are never half written and run nothing, and hashes that see every difference."""

import json
import math
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.data import Data
from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
from torch_geometric.data.storage import GlobalStorage

from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.storage import (
    finite,
    load_tensors,
    read_json,
    replacing,
    save_tensors,
    write_json,
    write_text,
)
from helpers import Malicious


class Broken(Exception):
    pass


# -------------------------------------------------------------------------------- replacing


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
@pytest.mark.parametrize("before", ["old", None])
def test_a_writer_that_fails_leaves_what_was_there(error, before, tmp_path):
    path = tmp_path / "folder" / "file.txt"
    if before is not None:
        write_text(path, before)

    def write_half() -> None:
        with replacing(path) as beside:
            beside.write_text("half a fi")
            assert beside.parent == path.parent  # on the same disk: the renaming is one step
            raise error

    with pytest.raises(error):
        write_half()
    held = {p.name: p.read_text() for p in path.parent.iterdir()}
    assert held == ({} if before is None else {"file.txt": before})


def test_nobody_sees_a_file_before_it_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_tensors_that_cannot_be_saved_leave_the_old_file(tmp_path):
    path = tmp_path / "file.pt"
    save_tensors(path, {"x": torch.ones(2)})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_tensors(path, {"x": torch.ones(3), "f": lambda: None})
    assert torch.equal(load_tensors(path, kind="a file")["x"], torch.ones(2))
    assert [p.name for p in tmp_path.iterdir()] == ["file.pt"]


WRITERS = {
    "text": lambda path: write_text(path, "text"),
    "json": lambda path: write_json(path, {}),
    "tensors": lambda path: save_tensors(path, {"x": torch.ones(1)}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_an_unwritable_place_is_said(write, tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "inside", tmp_path / "folder"):
        with pytest.raises(InputError, match=r"cannot be (written|made) \(.*\)\. Choose another"):
            write(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files")
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_takes_no_files_is_said(write):
    with pytest.raises(InputError, match=r"'/proc/new' cannot be written \(.*\)\. Choose another"):
        write(Path("/proc/new"))


# ------------------------------------------------------------------------------------- JSON


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_is_strict_whatever_it_holds(value):
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = json.dumps(finite(value), allow_nan=False)
    assert finite(value) == json.loads(text, parse_constant=refuse)


def test_json_round_trip(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": [1, 2.5, math.nan, -math.inf], "b": ("σ", None), 3: True})
    assert read_json(path) == {"a": [1, 2.5, None, None], "b": ["σ", None], "3": True}


@pytest.mark.parametrize("content", [None, b"{half", b"\xff\xfe\x00"])
def test_what_is_no_json_is_said(content, tmp_path):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="must be a readable JSON file"):
        read_json(path)


# ------------------------------------------------------------------------------ load_tensors


def test_a_whole_model_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(InputError, match=r"Save model\.state_dict\(\) or data\.to_dict\(\)"):
        load_tensors(path, kind="a state_dict", allow=())


def test_a_cut_file_is_said(tmp_path):
    path = tmp_path / "file.pt"
    save_tensors(path, {"x": torch.randn(1000)})
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="must be a metamer"):
            load_tensors(path, kind="a metamer")


class Unknown:
    pass


@pytest.mark.parametrize("content", ["a graph", "something else"])
def test_what_torch_may_load_elsewhere_stays_as_it_was(content, tmp_path):
    """PyG lets torch load its graphs; its own datasets need that after we loaded one."""
    graph = Data(x=x, edge_index=torch.tensor([[0], [1]]))
    torch.save(graph if content == "a graph" else Malicious(tmp_path), tmp_path / "graph.pt")
    before = torch.serialization.get_safe_globals()
    assert Data in before
    allow = (Data, DataEdgeAttr, DataTensorAttr, GlobalStorage, Unknown)
    if content == "a graph":
        assert torch.equal(load_tensors(tmp_path / "graph.pt", kind="a", allow=allow).x, x)
    else:
        with pytest.raises(InputError):
            load_tensors(tmp_path / "graph.pt", kind="a graph", allow=allow)
    assert set(torch.serialization.get_safe_globals()) == set(before)


def test_nested_values_come_back(tmp_path):
    value = {
        "tensors": [torch.randn(3), torch.tensor([True]), torch.zeros(0, 2, dtype=torch.float64)],
        "plain": {"a": 1, "b": 2.5, "c": "text", "d": None, "e": [math.inf, True]},
    }
    save_tensors(tmp_path / "file.pt", value)
    again = load_tensors(tmp_path / "file.pt", kind="a file")
    assert again["plain"] == value["plain"]
    for ours, theirs in zip(again["tensors"], value["tensors"], strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


# ----------------------------------------------------------------------------------- digest


@dataclass(frozen=True)
class Settings:
    lr: float = 0.1
    direction: torch.Tensor | None = None


def model(width: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


x = torch.arange(6.0).view(2, 3)
changed = x.clone()
changed[1, 2] += 1e-6
large = torch.zeros(2000)
nearly = large.clone()
nearly[1000] = 1

# Each row: values of which no two may have the same digest.
DIFFERENT = {
    "values": [x, changed, -x],
    "shapes": [x, x.view(3, 2), x.view(6), x.view(1, 6)],
    "types": [torch.zeros(2), torch.zeros(1, dtype=torch.float64), torch.zeros(2).int()],
    "empty": [torch.zeros(0, 2), torch.zeros(2, 0), torch.zeros(0)],
    "layouts": [x, x.to_sparse()],
    "plain": [1, 1.0, True, "1", None, [1], {"1": 1}, [[1]], [1, 1], []],
    "nesting": [["a", "b"], ["ab"], ["a", ["b"]], {"a": "b"}],
    "keys": [{"a": x}, {"b": x}, {"a": x, "b": x}],
    "models": [model(), model(seed=1), model(4), nn.Sequential(*model(), nn.ReLU()), model()[0]],
    "arrays": [np.zeros(2), np.zeros(3), np.zeros(2, "f"), np.ones(2)],
    "settings": [Settings(), Settings(lr=0.2), Settings(direction=x), Settings(direction=changed)],
    "large settings": [Settings(direction=large), Settings(direction=nearly)],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_digest_sees_every_difference(values):
    digests = [digest(value) for value in values]
    assert len(set(digests)) == len(values)
    assert digests == [digest(value) for value in values]


def test_digest_does_not_see_what_is_no_difference():
    assert digest({"a": 1, "b": x}) == digest({"b": x.clone(), "a": 1})
    assert digest(np.float64(0.5), np.int64(2)) == digest(0.5, 2)
    assert digest(lambda x: x) == digest(lambda x: x + 1)  # told apart by what it answers
    assert digest(x.t()) == digest(x.t().contiguous())
    assert digest(x.to_sparse()) == digest(x.to_sparse().clone())
    assert digest(x.clone().requires_grad_()) == digest(x)
    assert digest(model()) == digest(model().eval().requires_grad_(False))
    assert digest(Settings(direction=large)) == digest(Settings(direction=large.clone()))
    graph = Data(x=x, edge_index=torch.tensor([[0], [1]]))
    assert digest(graph.to_dict()) == digest(graph.clone().to_dict())


def test_digest_does_not_see_the_order_of_a_set():
    one, other = frozenset([0, 8]), frozenset([8, 0])
    assert repr(one) != repr(other)
    assert digest(one) == digest(other) != digest(frozenset([0, 9]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_flipped_bit_is_told_whatever_it_hits(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flipped")
    save_tensors(folder / "m.pt", {"x": torch.randn(20), "name": "a", "steps": 3})
    write_json(folder / "m.json", {"rows": [{"fvu": 0.25, "layer": "act"}]}, checked=True)
    read = {
        "m.pt": lambda path: load_tensors(path, kind="a metamer"),
        "m.json": lambda path: read_json(path, checked=True),
    }
    name = data.draw(st.sampled_from(sorted(read)))
    content = bytearray((folder / name).read_bytes())
    before = read[name](folder / name)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(bytes(content))
    try:
        value = read[name](folder / name)
    except InputError:
        return
    assert name == "m.json"
    assert value == before  # white space was hit


def test_an_archive_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    torch.save({"x": torch.zeros(4_000_000)}, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as whole,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for entry in whole.namelist():
            bomb.writestr(entry, whole.read(entry))
    with pytest.raises(InputError, match=r"of [\d,]+ bytes it would unpack to 16,\d"):
        load_tensors(tmp_path / "bomb.pt", kind="a state_dict", allow=())
