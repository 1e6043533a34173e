"""metamer(): a known answer, what is promised of every run, and its file."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GCNConv
from torch_geometric.utils import to_torch_csr_tensor

import graph_metamers as gm
from graph_metamers import judge
from graph_metamers.measure import feature_similarity, node_activation_error, prediction_match
from graph_metamers.pose import pose
from graph_metamers.probe import Probe
from graph_metamers.randomness import seeded
from graph_metamers.storage import finite
from helpers import unchecked_types

quick = gm.Adam(lr=0.05, steps=20)


def network(features: int = 40, out: int = 3) -> GCN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GCN(features, 16, num_layers=2, out_channels=out)


def continuous(nodes: int = 30, features: int = 20) -> Data:
    data = gm.datasets.csbm(degree=min(6.0, nodes / 4), nodes=nodes, features=features)
    generator = torch.Generator().manual_seed(0)
    return Data(x=torch.rand(nodes, features, generator=generator), edge_index=data.edge_index)


@pytest.fixture(scope="module")
def one(small: Data) -> gm.Metamer:
    return gm.metamer(network(), small, "act", search=quick, seed=3)


# ----------------------------------------------------------------------------- known answers


def test_a_linear_layer_with_room_to_spare():
    """Of 30 directions in feature space the layer sees 4; in the other 26 everything is free."""
    data = continuous(nodes=40, features=30)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GCNConv(30, 4)
    m = gm.metamer(model, data, "output", search=gm.Adam(lr=0.02, steps=500), tol=1e-3)
    assert m.matched
    with torch.no_grad():
        h, other = model(data.x, data.edge_index), model(m.data.x, data.edge_index)
    assert float((other - h).norm() / h.norm()) ** 2 < 1e-3
    # Two independent rows of uniform numbers differ by √2 · 0.29 · √30 = 2.2 on average.
    assert float((m.data.x - data.x).norm(dim=1).mean()) > 1
    assert float(m.data.x.min()) >= 0


@pytest.mark.parametrize("asked", [gm.Adam(lr=0.03, steps=5), "auto"])
def test_a_layer_that_sees_all_leaves_no_room(asked):
    """An invertible layer: it is proved that the only metamer is the reference."""
    data = continuous(nodes=12, features=6)
    model = nn.Sequential(nn.Linear(6, 6))
    nn.init.orthogonal_(model[0].weight, generator=torch.Generator().manual_seed(0))
    m = gm.metamer(
        model,
        data,
        "output",
        vary=gm.ContinuousFeatures(low=None),
        search=asked,
        forward=lambda model, data: model(data.x),
    )
    assert m.verdict is gm.Verdict.IMPOSSIBLE
    assert not m.matched
    assert torch.equal(m.data.x, data.x)
    assert (m.activation_error, m.steps, m.trivial) == (0.0, 0, True)
    assert repr(m).startswith("Metamer(output, impossible, error 0.0e+00")


def test_a_model_that_is_constant_is_matched_at_step_0():
    """All weights zero: every graph has the reference's activation, to the last bit."""
    data = continuous()
    model = GCNConv(20, 4)
    with torch.no_grad():
        model.lin.weight.zero_()
        model.bias.fill_(1.0)
    for asked in (gm.Adam(steps=5), gm.GaussNewton()):
        m = gm.metamer(model, data, "output", search=asked)
        assert m.verdict is gm.Verdict.MATCHED
        assert (m.best_step, m.activation_error) == (0, 0.0)
        assert float(m.nulls["start"].max()) == 0.0  # as every other graph
        assert not m.trivial


def test_a_random_start_is_not_matched_though_tol_allows_it(one, small):
    """Below tol, but no nearer than 99 other random starts."""
    m = gm.metamer(network(), small, "act", search=gm.Adam(lr=1e-9, steps=1), tol=10.0)
    assert m.status is gm.Status.MATCHED
    assert m.verdict is gm.Verdict.NOT_MATCHED
    assert m.p_value > 0.01
    assert repr(m).startswith("Metamer(act, not matched, error")


def test_the_nulls_are_those_of_random_starts_and_permutations(one, small):
    model = network().eval()
    with torch.no_grad():
        h = model.act(model.convs[0](small.x, small.edge_index))
    assert set(one.nulls) == {"start", "permuted"}
    assert all(null.shape == (99,) for null in one.nulls.values())
    # Of two rows drawn at random: E ‖h_u − h_v‖² = 2 (mean ‖h‖² − ‖mean h‖²) n / (n − 1).
    spread = 2 * (h.square().sum(1).mean() - h.mean(0).square().sum()) / h.square().sum(1).mean()
    assert float(one.nulls["permuted"].mean()) == pytest.approx(float(spread), rel=0.05)
    starts = [one.scores["start_activation_error"], *one.nulls["start"].tolist()]
    assert min(starts) < one.scores["start_activation_error"] < max(starts)
    least = min(float(null.min()) for null in one.nulls.values())
    assert one.null_activation_error == least


def test_other_graphs_are_a_null_too(small):
    others = [gm.datasets.csbm(nodes=60, features=40, seed=seed) for seed in range(100, 199)]
    m = gm.metamer(network(), small, "act", search=quick, others=others)
    assert m.nulls["other"].shape == (99,)
    odd = [*others[:98], gm.datasets.csbm(nodes=30, features=40)]
    with pytest.raises(gm.InputError, match=r"activations have the reference's shape .* graph 98"):
        gm.metamer(network(), small, "act", search=quick, others=odd)
    with (
        unchecked_types(),
        pytest.raises(gm.InputError, match=r"others must be a list of graphs .*; got Data"),
    ):
        gm.metamer(network(), small, "act", search=quick, others=small)
    with pytest.raises(gm.InputError, match=r"others must hold at least 99 graphs, .* got 5"):
        gm.metamer(network(), small, "act", search=quick, others=others[:5])


def test_nulls_are_of_this_forward_and_this_graph(small):
    """They are remembered: another forward, or another figure that it reads, has its own."""

    def shifted(model: nn.Module, data: Data) -> torch.Tensor:
        return model(data.x, data.edge_index) + data.shift

    small = small.clone()
    small.shift = 0.0
    options = {"search": gm.Adam(steps=1), "forward": shifted}
    near = gm.metamer(network(), small, "output", **options)
    near.nulls["start"].zero_()  # one's own copy
    small.shift = 50.0
    far = gm.metamer(network(), small, "output", **options)
    assert far.null_activation_error < 0.1 * near.scores["start_activation_error"]
    assert far.verdict is gm.Verdict.NOT_MATCHED
    plain = gm.metamer(network(), small, "output", search=gm.Adam(steps=1))
    assert plain.null_activation_error > 10 * far.null_activation_error
    again = gm.metamer(network(), small, "output", **options)
    assert torch.equal(again.nulls["start"], far.nulls["start"])


def test_the_first_call_is_as_every_other(small):
    """Nulls are drawn for it, remembered for the next, and neither changes the search."""
    found = []
    for _ in range(2):
        judge._drawn.clear()
        first, second = (gm.metamer(network(), small, "act", search=quick) for _ in range(2))
        found += [first, second]
    assert all(m.history == found[0].history for m in found)
    assert all(torch.equal(m.data.x, found[0].data.x) for m in found)
    edges = {"vary": gm.Edges(), "search": gm.EdgeSwap(steps=5)}
    judge._drawn.clear()
    first, second = (gm.metamer(network(), small, "act", **edges) for _ in range(2))
    assert first.history == second.history


@pytest.mark.parametrize("density", ["fixed", "per_node", "learned"])
def test_random_starts_are_the_same_at_another_layer(small, density, monkeypatch):
    options = {"vary": gm.BinaryFeatures(density=density), "search": gm.Adam(steps=1)}

    def nulls() -> list[torch.Tensor]:
        judge._drawn.clear()
        found = [gm.metamer(network(), small, layer, **options) for layer in ("act", "output")]
        return [m.nulls["start"] for m in found]

    judge._places.clear()
    remembered = nulls()
    assert len(judge._places) == 1
    monkeypatch.setattr(judge, "FEW", 0)
    assert all(torch.equal(a, b) for a, b in zip(remembered, nulls(), strict=True))
    assert not torch.equal(*remembered)


def test_the_read_is_found_whoever_asks(small):
    with Probe(network(), small) as probe:
        problem = pose(probe, probe.targets("act"), gm.BinaryFeatures(), 0.01, "")
        with torch.no_grad():
            assert problem.find_read() is not None


def test_an_injective_layer_that_barely_sees_a_direction_is_searched():
    """Injective, yet graphs far from the reference have nearly its activation."""
    data = continuous(nodes=12, features=6)
    model = nn.Sequential(nn.Linear(6, 6, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1e-3])))
    vary = gm.ContinuousFeatures(low=None)
    forward = lambda model, data: model(data.x)  # noqa: E731
    search = gm.Adam(lr=0.03, steps=5)
    m = gm.metamer(model, data, "output", vary=vary, forward=forward, search=search)
    assert m.verdict is not gm.Verdict.IMPOSSIBLE
    assert m.steps == 5


def test_permutations_that_change_nothing_are_no_null():
    """A star of equal leaves: only where its hub moves is a permutation another graph."""
    star = torch.tensor([[0] * 30, list(range(1, 31))])
    x = torch.ones(31, 4)
    x[0] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    data = Data(x=x, edge_index=torch.cat([star, star.flip(0)], dim=1))
    model = GCNConv(4, 3)
    m = gm.metamer(model, data, "output", search=gm.Adam(steps=2))
    assert float(m.nulls["permuted"].min()) > 1e-3
    alike = Data(x=torch.full((31, 4), 0.5), edge_index=torch.arange(31).repeat(2, 1))
    m = gm.metamer(model, alike, "output", search=gm.Adam(steps=2))
    assert set(m.nulls) == {"start"}


def test_what_is_reported_is_what_the_model_says_of_the_graph(one, small):
    model = network().eval()
    with torch.no_grad():
        (h, other), outputs = (
            [model.act(model.convs[0](g.x, g.edge_index)) for g in (small, one.data)],
            [model(g.x, g.edge_index) for g in (small, one.data)],
        )
    error = float((other - h).double().square().sum() / h.double().square().sum())
    assert one.activation_error == pytest.approx(error, rel=1e-5)
    assert one.layer_errors == {"act": one.activation_error}
    assert one.activation_error == min(one.history) == one.history[one.best_step]
    assert one.scores["feature_similarity"] == feature_similarity(small.x, one.data.x)
    assert one.scores["prediction_match"] == prediction_match(*outputs)
    assert torch.equal(one.node_errors, node_activation_error(h, other))
    assert float(one.predictions_agree.double().mean()) == one.scores["prediction_match"]
    assert one.scores["start_activation_error"] == one.history[0]
    assert (one.steps, len(one.history), one.seed) == (20, 21, 3)


def test_the_start_is_scored_beside(one, small):
    """The null: the same numbers for the random start, which is drawn as Eq. 7 says."""
    noise = torch.randn(small.x.shape, generator=seeded(3))
    soft = small.x.mean(0) + small.x.std(0) * noise
    start = torch.zeros(small.x.numel())
    start[soft.view(-1).topk(int(small.x.sum())).indices] = 1
    start = start.view(small.x.shape)
    model = network().eval()
    assert one.scores["start_feature_similarity"] == feature_similarity(small.x, start)
    with torch.no_grad():
        outputs = [model(x, small.edge_index) for x in (small.x, start)]
    assert one.scores["start_prediction_match"] == prediction_match(*outputs)
    for name in ("feature_similarity", "prediction_match", "consistency", "activation_correlation"):
        assert {name, f"start_{name}"} <= one.scores.keys()


# ----------------------------------------------------------------------------------- promises


def test_same_seed_same_result(one, small):
    again = gm.metamer(network(), small, "act", search=quick, seed=3)
    assert torch.equal(again.data.x, one.data.x)
    assert again.history == one.history
    assert again.scores == one.scores
    other = gm.metamer(network(), small, "act", search=quick, seed=4)
    assert not torch.equal(other.data.x, one.data.x)
    assert other.history[0] != one.history[0]


def test_the_global_random_state_is_neither_used_nor_changed(one, small):
    for seed in (11, 12):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (the global one is what this is about)
        # Python's own is tested in test_import.py: here beartype draws from it.
        states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
        m = gm.metamer(network(), small, "act", search=quick, seed=3)
        assert torch.equal(m.data.x, one.data.x)
        assert torch.equal(torch.get_rng_state(), states[0])
        assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_the_reference_is_not_changed(kind, small):
    data = small.clone() if kind == "binary" else continuous(60, 40)
    before, objects = data.clone(), data.to_dict()
    m = gm.metamer(network(), data, "act", search=quick)
    assert data.keys() == before.keys()
    for key, value in data.to_dict().items():
        assert value is objects[key]
        assert torch.equal(value, before[key])
        assert not value.requires_grad
    m.data.x.zero_()  # nor does the result share its memory
    m.data.edge_index.zero_()
    assert torch.equal(data.x, before.x)
    assert torch.equal(data.edge_index, before.edge_index)


def test_the_metamer_is_a_graph_that_just_works(one, small):
    assert isinstance(one.data, Data)
    assert not one.data.x.requires_grad
    assert network()(one.data.x, one.data.edge_index).shape == (60, 3)
    assert torch.equal(one.data.edge_index, small.edge_index)
    assert one.data.validate()
    assert sorted(one.data.keys()) == sorted(small.keys())


def test_a_metamer_is_frozen(one):
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.activation_error = 0.0


def test_repr_says_what_counts(one):
    expected = (
        r"Metamer\(act, not matched \(budget_spent\), error \d\.\de-\d\d, S_feat 0\.\d\d, "
        r"S_match [01]\.\d\d\)"
    )
    assert re.fullmatch(expected, repr(one))
    assert repr(one) == str(one)


def test_every_status_says_what_to_do():
    remedies = [status.remedy for status in gm.Status]
    assert len(set(remedies)) == len(gm.Status) == 4
    assert all(text.startswith("The activation error") for text in remedies)
    assert "tol" in gm.Status.MATCHED.remedy
    assert "more steps" in gm.Status.BUDGET_SPENT.remedy
    assert "another seed" in gm.Status.STALLED.remedy
    assert "smaller learning rate" in gm.Status.NONFINITE.remedy
    assert gm.Status("matched") is gm.Status.MATCHED


@pytest.mark.parametrize(("tol", "matched"), [(1e9, True), (1e-9, False)])
def test_tol_decides_what_is_matched(tol, matched, small):
    m = gm.metamer(network(), small, "act", search=quick, tol=tol)
    assert m.matched is matched
    assert (m.status is gm.Status.MATCHED) is matched
    assert m.tol == tol


def test_row_is_flat_but_for_the_layers(one):
    row = one.row()
    assert row["layer"] == "act"
    assert row["vary"] == "BinaryFeatures"
    assert row["search"] == "Adam(lr=0.05, steps=20)"
    assert row["status"] == "budget_spent"
    nested = {key for key, value in row.items() if isinstance(value, dict | list)}
    assert nested == {"layer_errors"}


def test_a_graph_level_output_has_no_node_scores(small):
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gcn = network()

        def forward(self, x, edge_index):
            return self.gcn(x, edge_index).mean(0, keepdim=True)

    m = gm.metamer(Pooled(), small, "output", search=quick)
    assert m.node_errors is None
    assert m.predictions_agree is None
    assert len(m.node_similarity) == 60
    assert m.scores["prediction_match"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"tol": 0.0}, "tol must be positive and finite; got 0.0"),
        ({"layer": ["act", "act"]}, "layer names act twice"),
        ({"layer": "atc"}, "Did you mean 'act'"),
        ({"vary": gm.ContinuousFeatures(low=0.5)}, "must hold the reference"),
        ({"layer": lambda model, data: data.edge_index.float()}, "does not depend on what varies"),
        ({"layer": lambda model, data: data.x * 0}, "is zero everywhere"),
        ({"layer": lambda model, data: data.x / 0}, "holds NaN or infinite entries"),
        ({"layer": lambda model, data: data.x + torch.rand(60, 40)}, "differs between two runs"),
    ],
)
def test_what_cannot_be_used_is_said(settings, sentence, small):
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(network(), small, **({"layer": "act", "search": quick} | settings))


# --------------------------------------------------------------------------------- save, load


def same(a: gm.Metamer, b: gm.Metamer) -> None:
    """Every field is equal, tensors bit for bit."""
    for field in dataclasses.fields(gm.Metamer):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(ours, Data):
            assert sorted(ours.keys()) == sorted(theirs.keys())
            for key in ours.keys():  # noqa: SIM118 (a Data iterates over pairs)
                assert ours[key].dtype == theirs[key].dtype
                assert ours[key].shape == theirs[key].shape
                torch.testing.assert_close(ours[key], theirs[key], rtol=0, atol=0, equal_nan=True)
        elif field.name == "nulls":
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        elif field.name == "scores":
            assert list(ours) == list(theirs)
            assert np.array_equal(list(ours.values()), list(theirs.values()), equal_nan=True)
        elif isinstance(ours, torch.Tensor):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        else:
            assert ours == theirs
            assert type(ours) is type(theirs)


def with_extras(data: Data) -> Data:
    data = data.clone()
    data.pos = torch.randn(60, 2, dtype=torch.float64)
    data.odd = torch.tensor([0.0, float("nan"), 0.0, 0.0, 0.0, 0.0])
    data.scalar = torch.tensor(3)
    data.zero = torch.tensor(0.0)
    data.nothing = torch.zeros(0, 5)
    data.sliced = torch.arange(20.0).view(4, 5).t()[::2]
    return data


CASES = {
    "binary": lambda small: (network(), small),
    "continuous": lambda small: (network(20), continuous()),
    "float64": lambda small: (
        network().double(),
        Data.from_dict(small.to_dict() | {"x": small.x.double()}),
    ),
    "extras": lambda small: (network(), with_extras(small)),
}


@pytest.mark.parametrize("case", CASES)
def test_save_and_load(case, small, tmp_path):
    model, data = CASES[case](small)
    m = gm.metamer(model, data, "act", search=quick)
    m.save(tmp_path / "deep" / "m.pt")
    again = gm.load(tmp_path / "deep" / "m.pt")
    same(m, again)
    assert repr(again) == repr(m)
    assert finite(again.row()) == finite(m.row())
    again.save(str(tmp_path / "again.pt"))
    same(m, gm.load(str(tmp_path / "again.pt")))


def test_a_sparse_adjacency_is_saved(small, tmp_path):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")
        adjacency = to_torch_csr_tensor(small.edge_index, size=(60, 60))
        m = gm.metamer(network(), Data(x=small.x, adj_t=adjacency), "act", search=quick)
        m.save(tmp_path / "m.pt")
        again = gm.load(tmp_path / "m.pt")
    assert torch.equal(again.data.x, m.data.x)
    for graph in (again.data, again.reference):
        assert graph.adj_t.layout == torch.sparse_csr
        assert torch.equal(graph.adj_t.to_dense(), adjacency.to_dense())


def test_binary_features_are_packed(tmp_path):
    data = gm.datasets.csbm(nodes=200, features=500)  # 2 percent of the entries are ones
    m = gm.metamer(network(500), data, "act", search=gm.Adam(steps=1))
    m.save(tmp_path / "m.pt")
    # Reference and metamer: 8 bytes for each one, where a dense matrix takes 4 for each entry.
    assert (tmp_path / "m.pt").stat().st_size < 0.25 * data.x.numel() * 4
    same(m, gm.load(tmp_path / "m.pt"))


def test_a_saved_metamer_is_tensors_and_plain_values(one, tmp_path):
    one.save(tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    assert state["schema"] == 3
    assert "edge_index" not in state["data"]  # what did not change is there once


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 4}, r"was saved in format 4; this version reads 3\. Build the metamer again"),
        ({"schema": 4, "tol": None}, r"was saved in format 4"),  # though it has other fields
        ({"schema": None}, r"must be a metamer saved by Metamer\.save\(\); it is not one"),
        ({"history": None}, r"it is not one"),
    ],
)
def test_another_format_is_refused(change, sentence, one, tmp_path):
    path = tmp_path / "m.pt"
    one.save(path)
    state = torch.load(path, weights_only=True) | change
    torch.save({key: value for key, value in state.items() if value is not None}, path)
    with pytest.raises(gm.InputError, match=sentence):
        gm.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(gm.InputError, match="there is no such file"):
        gm.load(tmp_path / "m.pt")
    torch.save([torch.ones(2)], tmp_path / "m.pt")
    with pytest.raises(gm.InputError, match=r"must be a metamer saved by Metamer\.save\(\)"):
        gm.load(tmp_path / "m.pt")
    torch.save(network(), tmp_path / "m.pt")
    with pytest.raises(gm.InputError, match="nothing in it was run"):
        gm.load(tmp_path / "m.pt")


# -------------------------------------------------------------------------------- real data


@pytest.mark.slow
def test_cora_as_in_the_paper(real_data):
    """300 of the paper's steps, one seed: what `shared/paper/method.md` gives for 1000, roughly.

    Measured with this training: error 0.39 → 0.04, S_match 0.97, S_feat 0.105 (start 0.092);
    after 1000 steps the paper has S_match 0.964. The bounds leave room for another rounding of
    the training on another machine, which moves S_match by about 0.01.
    """
    data = gm.datasets.load("cora")
    training = gm.zoo.Training(lr=0.01, epochs=40)
    model = gm.zoo.train("gcn", data, training=training, progress=False).model
    m = gm.metamer(model, data, "layer1", search=gm.Adam(steps=300), progress=False)
    assert m.activation_error < 0.3 * m.history[0]
    assert m.scores["prediction_match"] > 0.9
    assert m.scores["start_prediction_match"] < 0.4
    assert m.scores["feature_similarity"] < 0.2
    assert int(m.data.x.sum()) == int(data.x.sum())


def test_feature_searches_sum_messages_as_sparse_products(small, monkeypatch):
    seen: list[bool] = []
    model = network()

    def look(conv, inputs):
        seen.append("propagate" in vars(conv))

    model.convs[0].register_forward_pre_hook(look)
    gm.metamer(model, small, "act", search=gm.Adam(steps=2))
    assert any(seen)
    seen.clear()
    undirected = gm.datasets.load("csbm", undirected=True)
    wide = network(undirected.num_features)
    wide.convs[0].register_forward_pre_hook(look)
    gm.metamer(wide, undirected, "act", vary=gm.Edges(), search=gm.EdgeSwap(steps=2))
    assert seen
    assert not any(seen)


def test_the_reference_itself_is_a_trivial_metamer():
    data = gm.datasets.csbm(nodes=30, features=8)
    data.x = data.x + 0.5
    model = gm.zoo.GCN(8, 3, hidden=16)  # weights of full rank leave no room
    m = gm.metamer(model, data, "layer1", search=gm.Exact(), progress=False)
    assert m.matched
    assert m.trivial
    assert m.notes["unchanged"] == 1


def test_features_that_were_made_with_the_same_seed_are_not_the_random_start():
    torch.manual_seed(0)
    data = Data(x=torch.randn(60, 30), edge_index=torch.randint(60, (2, 200)))
    m = gm.metamer(GCN(30, 8, 2, 3), data, "convs.0", seed=0)
    assert abs(m.scores["start_feature_similarity"]) < 0.2
