"""metamer(): known answers, what is promised of every run, and its file."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GCNConv

import graph_metamers as gm
from graph_metamers.measure.features import feature_similarity
from graph_metamers.randomness import seeded as generator_of
from graph_metamers.storage import finite
from helpers import same_metamer, sealed, seeded, unchecked_types, with_adj_t

quick = gm.Adam(lr=0.05, steps=20)


def network(features: int = 40) -> nn.Module:
    return seeded(lambda: GCN(features, 16, num_layers=2, out_channels=3))


def continuous(nodes: int = 30, features: int = 20) -> Data:
    data = gm.datasets.csbm(degree=6.0, nodes=nodes, features=features)
    generator = torch.Generator().manual_seed(0)
    return Data(x=torch.rand(nodes, features, generator=generator), edge_index=data.edge_index)


def same_class(output: torch.Tensor, other: torch.Tensor) -> float:
    return float((output.argmax(1) == other.argmax(1)).double().mean())


@pytest.fixture(scope="module")
def one(small: Data) -> gm.Metamer:
    return gm.metamer(network(), small, "act", search=quick, seed=3)


# ----------------------------------------------------------------------------- known answers


def test_a_linear_layer_with_room_to_spare():
    """Of 30 directions in feature space the layer sees 4; in the other 26 everything is free."""
    data, model = continuous(nodes=40, features=30), seeded(lambda: GCNConv(30, 4))
    m = gm.metamer(model, data, "output", search=gm.Adam(lr=0.02, steps=500), tol=1e-3)
    assert m.matched
    with torch.no_grad():
        h, other = model(data.x, data.edge_index), model(m.data.x, data.edge_index)
    assert float((other - h).square().sum() / (h - h.mean(0)).square().sum()) < 1e-3
    # Two independent rows of uniform numbers differ by √2 · 0.29 · √30 = 2.2 on average.
    assert float((m.data.x - data.x).norm(dim=1).mean()) > 1
    assert float(m.data.x.min()) >= 0


def test_what_is_reported_is_what_the_model_says_of_the_graph(one, small):
    model = network().eval()
    with torch.no_grad():
        h, other = (
            model.act(model.convs[0](g.x, g.edge_index)).double() for g in (small, one.data)
        )
        outputs = [model(g.x, g.edge_index) for g in (small, one.data)]
    squares, spread = (other - h).square().sum(1), (h - h.mean(0)).square().sum(1).mean()
    assert one.fvu == pytest.approx(float(squares.mean() / spread), rel=1e-5)
    assert one.activation_error == pytest.approx(float(squares.sum() / h.square().sum()), rel=1e-5)
    assert one.layer_errors == {"act": one.fvu}
    assert torch.allclose(one.row_errors, squares / spread)
    assert one.fvu == pytest.approx(min(one.history))
    assert one.history.index(min(one.history)) == one.best_step
    assert one.scores["feature_similarity"] == feature_similarity(small.x, one.data.x)
    assert one.scores["prediction_match"] == same_class(*outputs)
    assert float(one.row_agreement.mean()) == one.scores["prediction_match"]
    assert (one.steps, len(one.history), one.seed) == (20, 21, 3)
    (item,) = one.items
    assert (item["fvu"], item["outcome"]) == (one.fvu, one.outcome)


def test_the_start_is_scored_beside(one, small):
    """The same numbers for the random start, which is drawn as Eq. 7 says."""
    noise = torch.randn(small.x.shape, generator=generator_of(3))
    soft = small.x.mean(0) + small.x.std(0) * noise
    start = torch.zeros(small.x.numel())
    start[soft.view(-1).topk(int(small.x.sum())).indices] = 1
    start = start.view(small.x.shape)
    model = network().eval()
    assert one.scores["start_feature_similarity"] == feature_similarity(small.x, start)
    assert one.scores["start_fvu"] == pytest.approx(one.history[0], rel=1e-5)
    with torch.no_grad():
        outputs = [model(x, small.edge_index) for x in (small.x, start)]
    assert one.scores["start_prediction_match"] == same_class(*outputs)


def test_features_that_were_made_with_the_same_seed_are_not_the_random_start():
    torch.manual_seed(0)
    data = Data(x=torch.randn(60, 30), edge_index=torch.randint(60, (2, 200)))
    m = gm.metamer(GCN(30, 8, 2, 3), data, "convs.0", seed=0)
    assert abs(m.scores["start_feature_similarity"]) < 0.2


# ----------------------------------------------------------------------------------- promises


def test_same_seed_same_result_whatever_was_done_before(one, small):
    torch.manual_seed(12)
    np.random.seed(12)  # noqa: NPY002 (the global one is what this is about)
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    again = gm.metamer(network(), small, "act", search=quick, seed=3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    same_metamer(dataclasses.replace(again, seconds=one.seconds), one)
    other = gm.metamer(network(), small, "act", search=quick, seed=4)
    assert other.history[0] != one.history[0]


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_the_reference_is_not_changed(kind, small):
    data = small.clone() if kind == "binary" else continuous(60, 40)
    before, objects = data.clone(), data.to_dict()
    m = gm.metamer(network(), data, "act", search=quick)
    m.data.x.zero_()  # nor does the result share its memory
    m.data.edge_index.zero_()
    assert data.keys() == before.keys()
    for key, value in data.to_dict().items():
        assert value is objects[key]
        assert torch.equal(value, before[key])
        assert not value.requires_grad


def test_the_metamer_is_a_graph_that_just_works(one, small):
    assert network()(one.data.x, one.data.edge_index).shape == (60, 3)
    assert one.data.validate()
    assert sorted(one.data.keys()) == sorted(small.keys())
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.fvu = 0.0


def test_repr_says_what_counts(one):
    assert repr(one) == (
        f"Metamer(act, not matched, FVU {one.fvu:.1e}, S_feat "
        f"{one.scores['feature_similarity']:.2f}, S_match {one.scores['prediction_match']:.2f})"
    )


def test_progress_false_is_silent(small, capsys):
    gm.metamer(network(), small, "act", search=quick, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"search": "adamant"}, "search"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"tol": 0.0}, "tol must be positive and finite; got 0.0"),
        ({"layer": ["act", "act"]}, "layer names act twice"),
        ({"layer": "atc"}, "Did you mean 'act'"),
        ({"vary": gm.ContinuousFeatures(low=0.5)}, "must hold the reference"),
        ({"vary": {"z": gm.BinaryFeatures()}}, "The data has no 'z'"),
        ({"layer": lambda model, data: data.edge_index.float()}, "does not depend on what varies"),
        ({"layer": lambda model, data: data.x * 0}, "is zero everywhere"),
        ({"layer": lambda model, data: data.x / 0}, "holds NaN or infinite entries"),
        ({"layer": lambda model, data: data.x + torch.rand(60, 40)}, "differs between two runs"),
        ({"null_graphs": [Data(x=torch.zeros(3, 40), edge_index=torch.zeros(2, 0).long())]},
         "null_graphs must hold graphs whose activations have the reference's shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(settings, sentence, small):
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(network(), small, **({"layer": "act", "search": quick} | settings))


@pytest.mark.parametrize("name", ["avoid", "null_graphs"])
@pytest.mark.parametrize("graphs", [lambda d: d, lambda d: [3], lambda d: [d, None]])
def test_lists_of_graphs(name, graphs, small):
    with unchecked_types(), pytest.raises(gm.InputError, match=name):
        gm.metamer(network(), small, "act", **{name: graphs(small)})


# --------------------------------------------------------------------------------- save, load


def with_extras(data: Data) -> Data:
    data = data.clone()
    data.pos = torch.randn(60, 2, dtype=torch.float64)
    data.odd = torch.tensor([0.0, float("nan"), 0.0, 0.0, 0.0, 0.0])
    data.scalar = torch.tensor(3)
    data.nothing = torch.zeros(0, 5)
    data.sliced = torch.arange(20.0).view(4, 5).t()[::2]
    data.text, data.number, data.shapes = "Ada", 3, {"a": [torch.ones(2), (1, 2.5, None)]}
    return data


CASES = {
    "continuous": lambda small: (network(20), continuous()),
    "float64": lambda small: (
        network().double(),
        Data.from_dict(small.to_dict() | {"x": small.x.double()}),
    ),
    "extras": lambda small: (network(), with_extras(small)),
    "adj_t": lambda small: (network(), with_adj_t(Data(x=small.x, edge_index=small.edge_index))),
}


@pytest.mark.parametrize("case", CASES)
def test_save_and_load(case, small, tmp_path):
    model, data = CASES[case](small)
    m = gm.metamer(model, data, "act", search=quick)
    m.save(tmp_path / "deep" / "m.pt")
    again = gm.load(tmp_path / "deep" / "m.pt")
    same_metamer(m, again)
    assert repr(again) == repr(m)
    assert finite(again.row()) == finite(m.row())
    if case == "extras":
        assert (again.data.text, again.data.number) == ("Ada", 3)
        assert again.data.shapes["a"][1] == (1, 2.5, None)
    if case == "adj_t":
        assert again.data.adj_t.layout == torch.sparse_csr


def test_the_file_is_small_and_holds_plain_values(tmp_path):
    data = gm.datasets.csbm(nodes=200, features=500)  # 2 percent of the entries are ones
    m = gm.metamer(network(500), data, "act", search=gm.Adam(steps=1))
    m.save(tmp_path / "m.pt")
    # Reference and metamer: 8 bytes for each one, where a dense matrix takes 4 for each entry.
    assert (tmp_path / "m.pt").stat().st_size < 0.25 * data.x.numel() * 4
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(state["inputs"]) == ["x"]  # what did not change is there once


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 99}, r"was saved in format 99; this version reads \d\. Build it again"),
        ({"schema": 99, "tol": None}, r"was saved in format 99"),  # though it has other fields
        ({"schema": None}, r"must be a metamer saved by Metamer\.save\(\); it is not one"),
        ({"history": None}, r"it is a damaged one"),
        ({"original": {}}, r"it is a damaged one"),
    ],
)
def test_another_format_is_refused(change, sentence, one, tmp_path):
    path = tmp_path / "m.pt"
    one.save(path)
    state = torch.load(path, weights_only=True) | change
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    sealed(path)
    with pytest.raises(gm.InputError, match=sentence.replace("it again", "the metamer again")):
        gm.load(path)
