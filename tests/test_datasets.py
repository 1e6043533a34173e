"""Graphs by name: what the built-in one promises, and that the real ones are whole."""

import importlib
import itertools
import math
import os
import re
import sys
from pathlib import Path

import networkx as nx
import pytest
import torch
import torch_geometric.datasets
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import GraphMatcher
from torch_geometric.data import Batch, Data
from torch_geometric.utils import to_networkx

import graph_metamers as gm
from graph_metamers.datasets import BipartiteSBM, HeteroSBM

datasets = importlib.import_module("graph_metamers.datasets")


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


# ----------------------------------------------------------------------------------- motifs

HOUSE = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)])


def drawings(batch: Batch) -> list[nx.Graph]:
    return [to_networkx(data, to_undirected=True) for data in batch.to_data_list()]


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_is_labelled_by_the_house_that_is_in_it(seed):
    """The label of half of the graphs, found again by a search through all subgraphs."""
    batch = gm.datasets.motifs(graphs=40, seed=seed)
    found = [GraphMatcher(g, HOUSE).subgraph_is_monomorphic() for g in drawings(batch)]
    assert found == batch.y.tolist()
    assert sum(found) == 20
    assert [nx.is_bipartite(g) for g in drawings(batch)] == [not house for house in found]


@pytest.mark.parametrize("target", gm.datasets.TARGETS)
def test_each_house_is_one_triangle_of_its_colour(target):
    batch = gm.datasets.motifs(graphs=60, nodes=(20, 40), target=target, colours=3, seed=1)
    for graph, data in zip(drawings(batch), batch.to_data_list(), strict=True):
        triangles = [c for c in nx.enumerate_all_cliques(graph) if len(c) == 3]
        colours = [data.x[corners].argmax(1).tolist() for corners in triangles]
        assert all(len(set(colour)) == 1 for colour in colours)
        assert data.motif_mask[torch.tensor(triangles).long().flatten()].all()
        there = torch.tensor([float([c] * 3 in colours) for c in range(3)])
        assert len(triangles) == there.sum()
        wanted = {"presence": there[:1].long(), "count": there.sum()[None], "colours": there[None]}
        assert data.y.equal(wanted[target])


def test_neither_sizes_nor_degrees_tell_of_a_house():
    """Inside of the motif, each graph has the same degrees, and it hangs by one edge."""
    batch = gm.datasets.motifs(graphs=50)
    for graph, data in zip(drawings(batch), batch.to_data_list(), strict=True):
        motif = data.motif_mask.nonzero().flatten().tolist()
        assert sorted(dict(graph.subgraph(motif).degree()).values()) == [2, 2, 2, 3, 3]
        assert nx.cut_size(graph, motif) == 1


def test_motifs_are_proper_graphs():
    batch = gm.datasets.motifs(graphs=100, nodes=(9, 30), seed=7)
    sizes = batch.ptr.diff()
    assert (int(sizes.min()), int(sizes.max())) == (9, 30)
    assert batch.batch[batch.edge_index[0]].equal(batch.batch[batch.edge_index[1]])
    assert all(nx.is_connected(g) for g in drawings(batch))
    assert batch.is_undirected()
    assert not batch.has_self_loops()
    assert batch.num_edges == batch.edge_index.unique(dim=1).shape[1]
    assert batch.x.sum(1).eq(1).all()
    masks = torch.stack([batch.train_mask, batch.val_mask, batch.test_mask]).int()
    assert masks.sum(0).eq(1).all()
    assert masks.sum(1).tolist() == [60, 20, 20]


# ------------------------------------------------------------------------------ hetero_csbm


def test_papers_and_authors():
    """Five standard deviations of independent draws for the degrees and shares of edges."""
    data = gm.datasets.hetero_csbm(papers=900, authors=400, words=60, homophily=0.7, seed=2)
    assert data.validate()
    assert data.node_types == ["paper", "author"]
    writes, cites = data["writes"].edge_index, data["cites"].edge_index
    assert data["written_by"].edge_index.equal(writes.flip(0))
    assert not bool((cites[0] == cites[1]).any())
    y = {kind: data[kind].y for kind in data.node_types}
    for edges, source, mean in ((writes, "author", 3.0), (cites, "paper", 4.0)):
        count, expected = edges.shape[1], 900 * mean
        assert abs(count - expected) < 5 * math.sqrt(expected) + 0.02 * expected  # class sizes vary
        within = float((y[source][edges[0]] == y["paper"][edges[1]]).double().mean())
        assert abs(within - 0.7) < 5 * math.sqrt(0.7 * 0.3 / count)
    for kind in data.node_types:
        assert set(data[kind].x.unique().tolist()) == {0, 1}
        own = y[kind][:, None] == torch.arange(60) * 3 // 60
        inside, outside = (float(data[kind].x[mask].mean()) for mask in (own, ~own))
        assert inside / outside == pytest.approx(3, rel=0.2)
    assert "train_mask" not in data["author"]
    assert [int(data["paper"][f"{name}_mask"].sum()) for name in ("train", "val")] == [60, 420]


def test_the_posterior_of_papers_is_bayes_rule():
    """Against the joint probability of everything, summed over the classes of all authors."""
    tiny = HeteroSBM(
        papers=4, authors=3, words=4, classes=2, writers=1.0, citations=1.0, density=0.3, signal=2.0
    )
    data = tiny.sample(seed=3)
    writes, cites = (
        set(map(tuple, data[kind].edge_index.T.tolist())) for kind in ("writes", "cites")
    )
    assert len(writes) > 1
    assert len(cites) > 1

    def draw(happened: bool, p: float) -> float:
        return p if happened else 1 - p

    def joint(y: list[int], z: list[int]) -> float:
        likelihood = 1.0
        for classes, x in ((y, data["paper"].x), (z, data["author"].x)):
            for c, row in zip(classes, x.tolist(), strict=True):
                for j, word in enumerate(row):  # two words a topic, (2o + o) / 2 = density
                    likelihood *= draw(word == 1, 0.2 * (2 if j // 2 == c else 1))
        # of 4 edges expected, 0.8 · 4 among half of the 3 · 4 or 4 · 3 pairs
        for a, p in itertools.product(range(3), range(4)):
            likelihood *= draw((a, p) in writes, (0.8 if z[a] == y[p] else 0.2) * 4 / 6)
        for p, q in itertools.permutations(range(4), 2):
            likelihood *= draw((p, q) in cites, (0.8 if y[p] == y[q] else 0.2) * 4 / 6)
        return likelihood

    known = data["paper"].y.tolist()
    expected = torch.zeros(4, 2, dtype=torch.double)
    for p, c in itertools.product(range(4), range(2)):
        y = [*known[:p], c, *known[p + 1 :]]
        expected[p, c] = sum(joint(y, z) for z in itertools.product(range(2), repeat=3))
    expected /= expected.sum(1, keepdim=True)
    torch.testing.assert_close(tiny.posterior(data), expected, rtol=1e-6, atol=1e-9)

    by_words = tiny.posterior(data, structure=False)
    odds = 2.0 ** (data["paper"].x[:, :2].sum(1) - data["paper"].x[:, 2:].sum(1)).double()
    odds *= (0.6 / 0.8) ** (2 - data["paper"].x[:, :2].sum(1)).double()
    odds /= (0.6 / 0.8) ** (2 - data["paper"].x[:, 2:].sum(1)).double()
    torch.testing.assert_close(by_words[:, 0] / by_words[:, 1], odds, rtol=1e-6, atol=0)


def test_the_posterior_knows_most_papers_and_looks_at_no_answer():
    model = HeteroSBM()
    data = model.sample()
    posterior = model.posterior(data)
    right = posterior.argmax(1) == data["paper"].y
    alone = model.posterior(data, structure=False).argmax(1) == data["paper"].y
    assert right.double().mean() > 0.98 > 0.95 > alone.double().mean() > 0.85
    data["author"].y = torch.zeros_like(data["author"].y)
    data["paper"].y = data["paper"].y.clone()
    data["paper"].y[5] = (data["paper"].y[5] + 1) % 3
    again = model.posterior(data)
    torch.testing.assert_close(again[5], posterior[5])
    assert not torch.equal(again, posterior)


def test_papers_and_authors_in_one_matrix():
    """As RGCN wants them: labels for all nodes, masks on papers only."""
    data = gm.datasets.hetero_csbm(papers=30, authors=12, words=20)
    whole = data.to_homogeneous()
    assert whole.x.equal(torch.cat([data["paper"].x, data["author"].x]))
    assert whole.y.equal(torch.cat([data["paper"].y, data["author"].y]))
    assert whole.edge_type.unique().tolist() == [0, 1, 2]
    assert not whole.train_mask[30:].any()
    assert whole.train_mask[:30].equal(data["paper"].train_mask)


def test_the_posterior_of_papers_refuses_other_graphs():
    model = HeteroSBM(papers=30, authors=12, words=20)
    data = model.sample()
    data["author"].x = data["author"].x + 1
    with pytest.raises(gm.InputError, match=r"data\['author'\].x must be binary \[12, 20\]"):
        model.posterior(data)


# -------------------------------------------------------------------------------- bipartite


def test_users_and_items():
    model = BipartiteSBM(users=80, items=50, groups=3, degree=9.0, held_out=0.3)
    data = model.sample(seed=1)
    assert data.validate()
    assert data.num_nodes == 130
    assert data.is_undirected()
    assert data.node_type.tolist() == [0] * 80 + [1] * 50
    seen = {(u, i) for u, i in data.edge_index.T.tolist() if u < i}
    assert all(u < 80 <= i for u, i in seen)
    assert len(seen) == data.num_edges / 2
    pairs, true = [tuple(pair) for pair in data.edge_label_index.T.tolist()], data.edge_label == 1
    assert len({*pairs} - seen) == len(pairs) == len(true) == 2 * int(true.sum())
    assert all(u < 80 <= i < 130 for u, i in pairs)
    edges = len(seen) + int(true.sum())
    assert int(true.sum()) == round(0.3 * edges)
    assert abs(edges - 720) < 5 * math.sqrt(720)
    taken = torch.tensor(sorted(seen | {p for p, t in zip(pairs, true, strict=True) if t})).T
    within = float((model.group[taken[0]] == model.group[taken[1]]).double().mean())
    assert abs(within - 0.8) < 5 * math.sqrt(0.8 * 0.2 / edges)
    masks = torch.stack([data.train_mask, data.val_mask, data.test_mask]).int()
    assert masks.sum(0).eq(1).all()
    assert masks.sum(1).tolist() == pytest.approx(
        [len(pairs) / 2, len(pairs) / 4, len(pairs) / 4], abs=1
    )


def test_the_posterior_of_pairs_is_how_often_they_are_true():
    """Of some ten thousand pairs, within five standard deviations."""
    model = BipartiteSBM(users=600, items=400, groups=5, degree=30.0, homophily=0.6)
    data = model.sample()
    posterior = model.posterior(data.edge_label_index)
    assert len(posterior.unique()) == 2
    for p in posterior.unique().tolist():
        true = data.edge_label[posterior == p].double()
        assert abs(float(true.mean()) - p) < 5 * math.sqrt(p * (1 - p) / len(true))


# ------------------------------------------------------------------------------------ by name


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("csbm", {"classes": 1}, "classes must be a whole number of at least 2; got 1"),
        ("csbm", {"nodes": 5}, "nodes must be a whole number of at least 6; got 5"),
        ("csbm", {"features": 2}, "features must be a whole number of at least 3; got 2"),
        ("csbm", {"homophily": 1.1}, "homophily must be in [0, 1]; got 1.1."),
        ("csbm", {"homophily": math.nan}, "homophily must be in [0, 1]; got nan."),
        ("csbm", {"density": 0.0}, "density must be in (0, 1); got 0.0."),
        ("csbm", {"density": 1.0}, "density must be in (0, 1); got 1.0."),
        ("csbm", {"signal": 0.0}, "signal must be positive and finite; got 0.0."),
        ("csbm", {"degree": math.nan}, "degree must be positive and finite; got nan."),
        ("csbm", {"density": 0.8}, "ContextualSBM cannot have density=0.8: a probability would be"),
        ("csbm", {"nodes": 12, "degree": 9.0}, "ContextualSBM cannot have degree=9.0"),
        ("motifs", {"graphs": 4}, "graphs must be a whole number of at least 5; got 4"),
        ("motifs", {"nodes": 6}, "nodes must be a whole number of at least 7; got 6"),
        ("motifs", {"nodes": (9, 8)}, "nodes must be a whole number of at least 9; got 8"),
        (
            "motifs",
            {"nodes": 16, "target": "count"},
            "at least 17; got 16",
        ),
        (
            "motifs",
            {"target": "sum"},
            "'count', 'colours'; got 'sum'",
        ),
        ("hetero_csbm", {"classes": 1}, "classes must be a whole number of at least 2"),
        ("hetero_csbm", {"authors": 2}, "authors must be a whole number of at least 3"),
        ("hetero_csbm", {"signal": 0.0}, "signal must be positive"),
        ("hetero_csbm", {"homophily": 1.1}, "homophily must be in [0, 1]; got 1.1"),
        (
            "hetero_csbm",
            {"density": 0.7},
            "HeteroSBM cannot have density=0.7: a",
        ),
        ("hetero_csbm", {"authors": 6}, "HeteroSBM cannot have writers=3.0"),
        ("hetero_csbm", {"citations": 400.0}, "HeteroSBM cannot have citations=400.0"),
        ("bipartite", {"groups": 1}, "groups must be a whole number of at least 2"),
        ("bipartite", {"items": 3}, "items must be a whole number of at least 4"),
        ("bipartite", {"degree": 0.0}, "degree must be positive"),
        ("bipartite", {"held_out": 1.0}, "held_out must be in (0, 1); got 1.0"),
        (
            "bipartite",
            {"degree": 50.0},
            "degree=50.0: a probability would be 0.80, which must be at most 0.5",
        ),
    ],
)
def test_parameters_that_cannot_be(name, options, sentence):
    with pytest.raises(gm.InputError, match=re.escape(sentence)):
        gm.datasets.BUILT_IN[name](**options)


@pytest.mark.parametrize("name", gm.datasets.BUILT_IN)
def test_what_is_built_in_needs_no_files_and_depends_on_its_seed_alone(name, monkeypatch):
    monkeypatch.setenv("GRAPH_METAMERS_DATA", "/nowhere")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = gm.datasets.load(name.upper())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = gm.datasets.BUILT_IN[name](seed=0)
    other = gm.datasets.BUILT_IN[name](seed=1)
    values, same, new = ({**dict(enumerate(d.stores))} for d in (first, second, other))
    tensors = [(k, n) for k, store in values.items() for n in store if torch.is_tensor(store[n])]
    assert all(values[k][n].equal(same[k][n]) for k, n in tensors)
    assert not all(values[k][n].equal(new[k][n]) for k, n in tensors)
    assert gm.datasets.load(name, undirected=True).num_edges == first.num_edges


def test_a_graph_whose_nodes_are_classified():
    assert gm.datasets.load_nodes("csbm").num_nodes == 1000
    for name in ("motifs", "hetero_csbm", "bipartite"):
        with pytest.raises(gm.InputError, match=f"'{name}' is not one graph whose nodes are"):
            gm.datasets.load_nodes(name)


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
    with pytest.raises(gm.InputError, match=r"set GRAPH_METAMERS_CACHE to a folder that can"):
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


@pytest.mark.usefixtures("real_data")
def test_undirected_edges_go_both_ways_without_loops():
    data = gm.datasets.load("chameleon", undirected=True)
    assert data.is_undirected()
    assert not data.has_self_loops()
    raw = gm.datasets.load("chameleon")
    proper = raw.edge_index[:, raw.edge_index[0] != raw.edge_index[1]]
    pairs = {tuple(sorted(edge)) for edge in proper.T.tolist()}
    assert data.num_edges == 2 * len(pairs)
