"""Graphs by name: what the built-in one promises, and that the real ones are whole."""

import math
import os
import sys
from pathlib import Path

import pytest
import torch
import torch_geometric.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

import graph_metamers as gm

datasets = sys.modules["graph_metamers.datasets"]


# ------------------------------------------------------------------------------------- csbm


def test_csbm_is_what_it_was():
    """The default graph is the reference of every example: its numbers must not drift."""
    data = gm.datasets.csbm()
    assert (data.num_nodes, data.num_features, int(data.y.max()) + 1) == (1000, 1000, 3)
    assert data.num_edges == 5978
    assert [int(data[f"{name}_mask"].sum()) for name in ("train", "val", "test")] == [60, 470, 470]
    assert gm.datasets.load("CSBM").x.equal(data.x)


@pytest.mark.parametrize("degree", [2.0, 6.0, 20.0])
@pytest.mark.parametrize("homophily", [0.0, 0.3, 0.8, 1.0])
def test_csbm_degree_and_homophily(degree, homophily):
    """Edges are independent draws: five standard deviations, √edges and √(h(1 − h)/edges)."""
    data = gm.datasets.csbm(nodes=600, degree=degree, homophily=homophily, seed=5)
    edges, expected = data.num_edges / 2, 600 * degree / 2
    assert abs(edges - expected) < 5 * math.sqrt(expected)
    within = float((data.y[data.edge_index[0]] == data.y[data.edge_index[1]]).double().mean())
    assert abs(within - homophily) <= 5 * math.sqrt(homophily * (1 - homophily) / edges)


@pytest.mark.parametrize("density", [0.01, 0.1, 0.4])
@pytest.mark.parametrize("signal", [1.0, 5.0, 0.2])
def test_csbm_density_and_signal(density, signal):
    """A million independent entries: five standard deviations of each share."""
    nodes, words, classes = 1000, 999, 3
    data = gm.datasets.csbm(
        nodes=nodes, features=words, density=density, signal=signal, classes=classes
    )
    assert set(data.x.unique().tolist()) == {0, 1}
    entries = nodes * words
    share = float(data.x.double().mean())
    assert abs(share - density) < 5 * math.sqrt(density * (1 - density) / entries)

    own = data.y[:, None] == torch.arange(words) * classes // words
    inside, outside = (float(data.x[mask].double().mean()) for mask in (own, ~own))
    other = density * classes / (signal + classes - 1)
    for seen, wanted, count in (
        (inside, signal * other, entries / classes),
        (outside, other, entries * (classes - 1) / classes),
    ):
        assert abs(seen - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / count)


@settings(deadline=None, max_examples=30)
@given(
    classes=st.integers(2, 5),
    extra=st.integers(0, 60),
    features=st.integers(5, 30),
    seed=st.integers(0, 1000),
)
def test_csbm_is_a_proper_graph(classes, extra, features, seed):
    nodes = 2 * classes + extra
    settings = {"nodes": nodes, "classes": classes, "features": features, "seed": seed}
    data = gm.datasets.csbm(**settings, degree=1.0)
    assert data.x.shape == (nodes, features)
    assert data.validate()
    assert not data.has_self_loops()
    assert data.num_edges == 0 or data.is_undirected()
    assert data.num_edges == data.edge_index.unique(dim=1).shape[1]  # no edge twice
    sizes = data.y.bincount(minlength=classes)
    assert int(sizes.max()) - int(sizes.min()) <= 1

    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask]).int()
    assert (masks.sum(0) == 1).all()  # disjoint, and together all
    assert (masks.sum(1) > 0).all()
    train = data.y[data.train_mask].bincount(minlength=classes)
    assert set(train.tolist()) == {min(20, max(1, nodes // (3 * classes)))}


def test_csbm_depends_on_its_seed_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = gm.datasets.csbm(nodes=60, features=40, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = gm.datasets.csbm(nodes=60, features=40, seed=3)
    for key, value in first.to_dict().items():
        assert torch.equal(value, second[key])
    assert not torch.equal(first.x, gm.datasets.csbm(nodes=60, features=40, seed=4).x)


def test_csbm_classes_are_no_blocks_of_rows():
    y = gm.datasets.csbm(nodes=300).y
    assert int((y[1:] != y[:-1]).sum()) > 100  # 200 expected; 2 if they were


@pytest.mark.parametrize(
    "bad",
    [
        {"classes": 1},
        {"nodes": 5},
        {"features": 2},
        {"homophily": 1.1},
        {"homophily": -0.1},
        {"homophily": math.nan},
        {"density": 0.0},
        {"density": 1.0},
        {"signal": 0.0},
        {"degree": 0.0},
        {"degree": math.nan},
    ],
    ids=str,
)
def test_csbm_bad_options(bad):
    ((name, value),) = bad.items()
    with pytest.raises(gm.InputError, match=rf"csbm needs .* got .*{name}={value}"):
        gm.datasets.csbm(**bad)


# ------------------------------------------------------------------------------------ by name


def test_an_unknown_name():
    with pytest.raises(gm.InputError, match=r"'coar' is not a dataset\. Did you mean 'cora'\? Ch"):
        gm.datasets.load("coar")


# From shared/data/README.md: nodes, features, edges, classes; and the density of x if binary.
SIZES = {
    "Cora": (2708, 1433, 10556, 7, 0.0127),
    "citeseer": (3327, 3703, 9104, 6, 0.0085),
    "pubmed": (19717, 500, 88648, 3, None),
    "chameleon": (2277, 2325, 36101, 5, 0.0055),
    "squirrel": (5201, 2089, 217073, 5, 0.0086),
}


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("name", SIZES)
def test_real_datasets_are_whole(name):
    data = gm.datasets.load(name)
    nodes, features, edges, classes, density = SIZES[name]
    assert (data.num_nodes, data.num_features, data.num_edges) == (nodes, features, edges)
    assert int(data.y.max()) + 1 == classes == len(data.y.unique())
    assert data.x.dtype == torch.float32
    binary = bool(((data.x == 0) | (data.x == 1)).all())
    assert binary == (density is not None)
    if density is None:
        assert int(data.x.count_nonzero()) == 988_031
        assert float(data.x.min()) >= 0
    else:
        assert float(data.x.mean()) == pytest.approx(density, abs=0.00005)
    assert data.has_self_loops() == data.is_directed() == (name in ("chameleon", "squirrel"))
    masks = [data.train_mask, data.val_mask, data.test_mask]
    assert all(mask.shape == (nodes,) and mask.dtype == torch.bool for mask in masks)
    assert int(torch.stack(masks).int().sum(0).max()) == 1
    if name in ("Cora", "citeseer", "pubmed"):  # the public split
        assert [int(mask.sum()) for mask in masks] == [20 * classes, 500, 1000]


def test_real_data_is_only_read(real_data, tmp_path, monkeypatch):
    before = sorted(p for p in real_data.rglob("*"))
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))
    first = gm.datasets.load("cora")
    assert [p.name for p in (tmp_path / "datasets").iterdir()] == ["Cora"]
    assert sorted(p for p in real_data.rglob("*")) == before
    monkeypatch.delenv("GRAPH_METAMERS_DATA")
    assert torch.equal(gm.datasets.load("cora").x, first.x)  # from the cache


# ------------------------------------------------------------------- downloads that come to nothing


class NoNetwork:
    """In place of a loader of PyG: writes half of a file, then the connection breaks."""

    error: BaseException = OSError("no route to host")

    def __init__(self, root: str, name: str, **options: object) -> None:
        raw = Path(root) / name / "raw"
        raw.mkdir(parents=True)
        (raw / "half").write_text("half of a fi")
        print("Downloading", file=sys.stderr)
        raise self.error


@pytest.fixture
def unplugged(tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))
    monkeypatch.delenv("GRAPH_METAMERS_DATA", raising=False)
    monkeypatch.setattr(torch_geometric.datasets, "Planetoid", NoNetwork)
    return tmp_path


def test_a_failed_download_leaves_nothing_and_says_what_to_do(unplugged, capsys):
    with pytest.raises(gm.InputError) as raised:
        gm.datasets.load("cora")
    sentence = str(raised.value)
    assert "dataset='cora' could not be loaded (OSError: no route to host)" in sentence
    assert "GRAPH_METAMERS_DATA" in sentence
    assert list((unplugged / "datasets").iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_a_stopped_download_leaves_nothing(unplugged, monkeypatch):
    monkeypatch.setattr(NoNetwork, "error", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        gm.datasets.load("cora")
    assert list((unplugged / "datasets").iterdir()) == []


def test_after_a_failed_download_the_next_one_works(unplugged, monkeypatch):
    with pytest.raises(gm.InputError):
        gm.datasets.load("cora")
    masks = torch.eye(3, 10)
    graph = Data(x=torch.eye(3), **{f"{n}_mask": masks for n in ("train", "val", "test")})

    class Working:
        def __init__(self, root: str, name: str) -> None:
            (Path(root) / name / "raw").mkdir(parents=True, exist_ok=True)

        def __getitem__(self, place: int) -> Data:
            return graph

    monkeypatch.setattr(torch_geometric.datasets, "Planetoid", Working)
    data = gm.datasets.load("cora")
    assert data.train_mask.tolist() == [1, 0, 0]  # the first of ten splits
    assert [p.name for p in (unplugged / "datasets").iterdir()] == ["Cora"]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path / "file"))
    with pytest.raises(gm.InputError, match=r"Set GRAPH_METAMERS_CACHE to a folder that can"):
        gm.datasets.load("cora")


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))
    assert datasets.cache_folder() == tmp_path
    monkeypatch.delenv("GRAPH_METAMERS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert datasets.cache_folder() == tmp_path / "xdg" / "graph-metamers"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if os.name == "posix":
        assert datasets.cache_folder() == tmp_path / "home" / ".cache" / "graph-metamers"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"density": 0.8}, "csbm cannot have density=0.8 at signal=5.0"),
        ({"nodes": 12, "degree": 9.0}, "csbm cannot have degree=9.0 at homophily=0.8"),
    ],
)
def test_csbm_says_what_cannot_be(options, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.datasets.csbm(**options)


@pytest.mark.usefixtures("real_data")
def test_undirected_edges_go_both_ways_without_loops():
    data = gm.datasets.load("chameleon", undirected=True)
    assert data.is_undirected()
    assert not data.has_self_loops()
    raw = gm.datasets.load("chameleon")
    proper = raw.edge_index[:, raw.edge_index[0] != raw.edge_index[1]]
    pairs = {tuple(sorted(edge)) for edge in proper.T.tolist()}
    assert data.num_edges == 2 * len(pairs)
