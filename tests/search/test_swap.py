"""Swap: the number of ones stays, the error only falls, and what it says is true."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

import graph_metamers as gm
from graph_metamers.probe.reads import LinearRead
from graph_metamers.search import Problem, Status, Swap, checkpoint, swap
from graph_metamers.vary import with_features
from helpers import seeded, unchecked_types


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(seed: int = 0, **changes) -> Data:
    return gm.datasets.csbm(seed=seed, **({"nodes": 60, "features": 40, "density": 0.1} | changes))


def start_of(data: Data, seed: int = 0) -> Tensor:
    return gm.BinaryFeatures().start(data, generator(seed)).render().x.detach()


def linear(
    data: Data, *, units: int = 8, tol: float = 1e-2, seed: int = 0, density="fixed", **other
) -> Problem:
    """h = A X W of the graph's own edges, with its read."""
    weight = torch.randn(data.num_features, units, generator=generator(seed)).to(data.x)
    sender, receiver = data.edge_index

    def mixed(y: Tensor) -> Tensor:
        return y + 0.5 * torch.zeros_like(y).index_add(0, receiver, y[sender])

    return Problem(
        data=data,
        vary=gm.BinaryFeatures(density=density),
        targets=[mixed(data.x @ weight)],
        activations=lambda g: [mixed(g.x @ weight)],
        find_read=lambda: LinearRead(weight, lambda y: [mixed(y)]),
        tol=tol,
        **other,
    )


class Normed(nn.Module):
    """Reads no feature through weights alone."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm, self.conv1 = nn.LayerNorm(features), GCNConv(features, 8)
        self.conv2 = GCNConv(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.conv1(self.norm(x), edge_index).relu(), edge_index)


class Conv(nn.Module):
    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv, self.head = conv, GCNConv(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.head(self.conv(x, edge_index).relu(), edge_index)


def convolution(kind: str, features: int = 40) -> nn.Module:
    made = {
        "gcn": lambda: Conv(GCNConv(features, 8)),
        "sage": lambda: Conv(SAGEConv(features, 8)),
        "gat": lambda: Conv(GATConv(features, 4, heads=2)),
        "gin": lambda: Conv(GINConv(nn.Sequential(nn.Linear(features, 8), nn.Tanh()))),
        "LayerNorm first": lambda: Normed(features),
    }
    return seeded(made[kind]).eval()


KINDS = ["gcn", "sage", "gat", "gin", "LayerNorm first"]


def check_true(m, data: Data) -> None:
    """What is said of the metamer is what the model says, and it is of the promised kind."""
    x = m.data.x
    assert bool(((x == 0) | (x == 1)).all())
    assert int(x.sum()) == int(data.x.sum())
    assert m.activation_error == pytest.approx(m.history[-1], rel=1e-4, abs=1e-7)
    assert all(b <= a for a, b in pairwise(m.history))
    assert m.steps == len(m.history) - 1
    assert m.data.edge_index.equal(data.edge_index)


@pytest.mark.parametrize("layer", ["first", "output", ["first", "output"]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_any_layer_of_any_model(kind, layer, small):
    names = {"first": "conv1" if kind == "LayerNorm first" else "conv", "output": "output"}
    chosen = [names[name] for name in layer] if isinstance(layer, list) else names[layer]
    m = gm.metamer(convolution(kind), small, chosen, search=Swap(steps=25))
    check_true(m, small)
    assert m.activation_error < 0.5 * m.history[0]


@pytest.mark.parametrize("kind", KINDS)
def test_each_node_keeps_its_ones_where_it_must(kind, small):
    layer = "conv1" if kind == "LayerNorm first" else "conv"
    vary = gm.BinaryFeatures(density="per_node")
    m = gm.metamer(convolution(kind), small, layer, vary=vary, search=Swap(steps=25))
    check_true(m, small)
    assert m.activation_error < 0.6 * m.history[0]
    assert torch.equal(m.data.x.sum(dim=1), small.x.sum(dim=1))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    nodes=st.integers(30, 70),
    features=st.integers(12, 60),
    density=st.floats(0.05, 0.4),
    seek=st.sampled_from(["nearest", "random"]),
    kept=st.sampled_from(["fixed", "per_node"]),
    patience=st.sampled_from([1, 20]),
)
def test_the_error_never_rises_and_is_that_of_the_graph(
    seed, nodes, features, density, seek, kept, patience
):
    data = graph(seed, nodes=nodes, features=features, density=density)
    problem = linear(data, seed=seed, density=kept)
    found = Swap(steps=12, seek=seek, patience=patience).run(problem, generator(seed))
    history = found.history
    assert all(b <= a for a, b in pairwise(history))
    assert found.error == min(history) == history[found.best_step]
    assert history.index(found.error) == found.best_step
    assert found.error == pytest.approx(float(problem.error(found.graph)), rel=1e-4, abs=1e-9)
    assert int(found.graph.x.sum()) == int(data.x.sum())
    if kept == "per_node":
        assert torch.equal(found.graph.x.sum(dim=1), data.x.sum(dim=1))
    assert bool(((found.graph.x == 0) | (found.graph.x == 1)).all())


def test_the_first_error_is_that_of_the_start():
    problem = linear(graph())
    found = Swap(steps=1).run(problem, generator())
    begun = with_features(problem.data, start_of(problem.data))
    assert found.history[0] == pytest.approx(float(problem.error(begun)), rel=1e-5)


def test_the_reference_is_left_alone(small):
    before = small.x.clone()
    m = gm.metamer(convolution("gcn"), small, "conv", search=Swap(steps=5))
    m.data.x.zero_()
    assert torch.equal(small.x, before)


def test_float64():
    data = graph()
    data.x = data.x.double()
    problem = linear(data)
    found = Swap(steps=40).run(problem, generator())
    assert found.graph.x.dtype == torch.float64
    assert found.error == pytest.approx(float(problem.error(found.graph)), rel=1e-12)


# ------------------------------------------------------------------------------ known answers


def test_one_wrong_row_is_set_right():
    """With one unit a feature, X W is X: each swap that sets a one right lowers the error."""
    x = torch.zeros(4, 6)
    x[:, 0] = x[:, 1] = 1
    data = Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]]))
    problem = Problem(
        data=data,
        vary=gm.BinaryFeatures(),
        targets=[x],
        activations=lambda g: [g.x],
        tol=1e-2,
        find_read=lambda: LinearRead(torch.eye(6), lambda y: [y]),
    )
    found = Swap(steps=60, seek="random").run(problem, generator(1))
    assert found.status is Status.MATCHED
    assert found.error == 0
    assert found.history[0] > 0
    assert torch.equal(found.graph.x, x)


@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_it_ends_where_no_change_helps(density):
    """One unit, rows that do not meet: a local optimum over all swaps, and all ones handed on."""
    weight = torch.randn(8, 1, generator=generator(3), dtype=torch.float64)
    x = torch.zeros(2, 8, dtype=torch.float64)
    x[0, :3] = x[1, 4:6] = 1

    def error(h: Tensor) -> float:
        return float((h - x @ weight).square().sum())

    problem = Problem(
        data=Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]])),
        vary=gm.BinaryFeatures(density=density),
        targets=[x @ weight],
        activations=lambda g: [g.x @ weight],
        tol=1e-30,
        find_read=lambda: LinearRead(weight, lambda y: [y]),
    )
    # ξ² is 1: with one unit a node the estimated curvature is the true one, and so is the promise.
    found = Swap(steps=400, patience=None, seek="random").run(problem, generator())
    end = found.graph.x
    ones, zeros = end.nonzero().tolist(), (end == 0).nonzero().tolist()
    for u, r in ones:
        for v, a in zeros:
            if u == v or density == "fixed":
                other = end.clone()
                other[u, r], other[v, a] = 0, 1
                assert error(end @ weight) <= error(other @ weight) + 1e-12


def test_ones_go_to_the_node_that_lacks_them():
    """Every feature weighs the same: only how many ones a node has can be wrong."""
    x = torch.zeros(30, 12)
    x[:10, :9] = 1
    problem = Problem(
        data=Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]])),
        vary=gm.BinaryFeatures(),
        targets=[x.sum(dim=1, keepdim=True)],
        activations=lambda g: [g.x.sum(dim=1, keepdim=True)],
        tol=1e-9,
        find_read=lambda: LinearRead(torch.ones(12, 1), lambda y: [y]),
    )
    found = Swap(steps=200, patience=None).run(problem, generator())
    assert torch.equal(found.graph.x.sum(dim=1), x.sum(dim=1))
    kept = replace(problem, vary=gm.BinaryFeatures(density="per_node"))
    assert Swap(steps=1).run(kept, generator()).history[0] == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", ["one feature", "one column", "one-hot"])
def test_a_node_that_gave_its_last_one_away_may_have_any(case, seed):
    """With one unit a feature the error counts wrong ones, and a handed-on one sets two right."""
    x = torch.eye(5)[torch.arange(60) % 5]
    if case != "one-hot":
        x = torch.zeros(30, 5 if case == "one column" else 1)
        x[:10, -1] = 1
    problem = Problem(
        data=Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]])),
        vary=gm.BinaryFeatures(),
        targets=[x],
        activations=lambda g: [g.x],
        tol=1e-9,
        find_read=lambda: LinearRead(torch.eye(x.shape[1]), lambda y: [y]),
    )
    found = Swap(steps=100, patience=None).run(problem, generator(seed))
    assert found.history[0] > 0.5
    assert torch.equal(found.graph.x, x)


@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_stalled_it_weighs_every_pair(density, monkeypatch):
    """Only a swap of two long rows that nearly agree helps, and each alone looks worst of all."""
    short = torch.stack([torch.zeros(20), -torch.linspace(0.1, 0.2, 20)], dim=1)
    weight = torch.cat([torch.tensor([[10.0, 0.0], [10.0, 1.0]]), short])
    start, x = torch.zeros(3, 22), torch.zeros(3, 22)
    start[:, 0] = x[:, 1] = 1
    monkeypatch.setattr(Swap, "_start", lambda *_: (start, None))
    problem = Problem(
        data=Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]])),
        vary=gm.BinaryFeatures(density=density),
        targets=[x @ weight],
        activations=lambda g: [g.x @ weight],
        tol=1e-9,
        find_read=lambda: LinearRead(weight, lambda y: [y]),
    )
    found = Swap(steps=100, patience=4, stop_at_tol=True).run(problem, generator())
    assert found.history[0] == found.history[4] > 0
    assert found.status is Status.MATCHED
    assert torch.equal(found.graph.x, x)
    never = Swap(steps=100, patience=None).run(problem, generator())
    assert torch.equal(never.graph.x, start)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_looking_closer_goes_on_from_where_it_stalled(kind, density, small, monkeypatch):
    model, layer = convolution(kind), "conv1" if kind == "LayerNorm first" else "conv"
    vary, search = gm.BinaryFeatures(density=density), Swap(patience=5)
    closer = gm.metamer(model, small, layer, vary=vary, tol=1e-9, search=search)
    monkeypatch.setattr(swap, "CLOSE_UNITS", 0)
    coarse = gm.metamer(model, small, layer, vary=vary, tol=1e-9, search=search)
    assert closer.status == coarse.status == "stalled"
    check_true(closer, small)
    assert closer.history[: coarse.steps + 1] == coarse.history
    assert closer.steps >= coarse.steps + 5


@pytest.mark.parametrize("units", [8, 24])
@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_looking_closer_gets_further_than_patience(density, units, monkeypatch):
    data = graph(features=400, density=0.05)
    problem = linear(data, units=units, density=density, tol=1e-9)
    closer = Swap(patience=5).run(problem, generator())
    monkeypatch.setattr(swap, "CLOSE_UNITS", 0)
    coarse = Swap(patience=20).run(problem, generator())
    assert closer.error < 0.9 * coarse.error


def test_where_nothing_can_be_swapped_the_start_stays():
    """Rows all zeros or all ones: no swap exists."""
    x = torch.zeros(6, 5)
    x[:3] = 1
    data = Data(x=x, edge_index=torch.tensor([[0, 1, 2], [3, 4, 5]]))
    problem = replace(linear(data, density="per_node"), targets=[torch.ones(6, 8)])
    found = Swap(steps=5).run(problem, generator())
    assert torch.equal(found.graph.x, x)


@pytest.mark.parametrize("kept", ["fixed", "per_node"])
@pytest.mark.parametrize("density", [0.03, 0.93])
@pytest.mark.parametrize("seek", ["nearest", "random"])
def test_rows_without_ones_and_rows_nearly_full(density, seek, kept):
    x = (torch.rand(60, 40, generator=generator(2)) < density).float()
    x[5] = 0 if density < 0.5 else 1
    data = graph()
    data.x = x
    problem = linear(data, density=kept)
    found = Swap(steps=20, seek=seek).run(problem, generator())
    assert int(found.graph.x.sum()) == int(x.sum())
    if kept == "per_node":
        assert torch.equal(found.graph.x.sum(dim=1), x.sum(dim=1))
    assert found.error < 0.7 * found.history[0]


def test_a_single_one_in_all():
    x = torch.zeros(10, 7)
    x[3, 2] = 1
    problem = linear(Data(x=x, edge_index=torch.tensor([[0, 3], [3, 0]])))
    found = Swap(steps=30).run(problem, generator())
    assert int(found.graph.x.sum()) == 1


# --------------------------------------------------------------------------------------- seek


@pytest.mark.parametrize("kind", ["gcn", "gat", "LayerNorm first"])
@pytest.mark.parametrize("seed", [0, 1])
def test_farthest_shares_no_one_with_the_reference(kind, seed, small):
    layer = "conv1" if kind == "LayerNorm first" else "conv"
    search = Swap(steps=30, seek="farthest")
    m = gm.metamer(convolution(kind), small, layer, search=search, seed=seed)
    assert m.scores["feature_similarity"] == 0
    assert float((m.data.x * small.x).sum()) == 0
    assert m.activation_error < 0.6 * m.history[0]
    check_true(m, small)


def test_random_starts_elsewhere_and_keeps_the_numbers_of_the_start():
    data = graph()
    problem = linear(data, density="per_node")
    starts = [Swap(steps=1, seek=s).run(problem, generator()) for s in ("nearest", "random")]
    assert starts[0].history[0] != starts[1].history[0]
    assert torch.equal(starts[0].graph.x.sum(dim=1), starts[1].graph.x.sum(dim=1))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), density=st.floats(0.02, 0.35))
def test_farthest_has_as_many_ones_as_the_start_and_all_beside_the_reference(seed, density):
    x = (torch.rand(12, 15, generator=generator(seed)) < density).float()
    x[0, 0] = 1
    data = Data(x=x, edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))
    counts = start_of(data, seed).sum(dim=1)
    problem = linear(data, seed=seed)
    if bool((counts > (x == 0).sum(dim=1)).any()):
        with pytest.raises(gm.InputError, match="nodes have more ones than"):
            Swap(steps=4, seek="farthest").run(problem, generator(seed))
        return
    found = Swap(steps=4, seek="farthest").run(problem, generator(seed))
    assert int(found.graph.x.sum()) == int(counts.sum())
    assert float((found.graph.x * x).sum()) == 0
    assert found.error <= found.history[0]


# ----------------------------------------------------------------------------- how it ends


def test_matched_and_stopped_at_tol():
    problem = linear(graph(), tol=0.1)
    on = Swap(steps=80).run(problem, generator())
    stopped = Swap(steps=80, stop_at_tol=True).run(problem, generator())
    assert on.status is stopped.status is Status.MATCHED
    assert stopped.steps < on.steps
    assert stopped.history == on.history[: len(stopped.history)]
    assert stopped.error <= 0.1 < stopped.history[-2]


def test_the_budget_is_kept():
    found = Swap(steps=4).run(linear(graph(), tol=1e-12), generator())
    assert (found.status, found.steps, len(found.history)) == (Status.BUDGET_SPENT, 4, 5)
    assert Swap(steps=4).run(linear(graph(), tol=10.0), generator()).status is Status.MATCHED


def test_a_plateau_is_stalled_unless_patience_is_none(monkeypatch):
    monkeypatch.setattr(swap, "CLOSE_UNITS", 0)
    problem = linear(graph(nodes=30, features=12, density=0.3), tol=1e-12)
    found = Swap(steps=200, patience=5).run(problem, generator())
    assert found.status is Status.STALLED
    assert found.steps < 200
    assert found.history[-1] > 0.99 * found.history[-6]
    if found.steps > 6:
        assert not found.history[-2] > 0.99 * found.history[-7]
    patient = Swap(steps=200, patience=None).run(problem, generator())
    assert (patient.status, patient.steps) == (Status.BUDGET_SPENT, 200)
    assert patient.history[: len(found.history)] == found.history
    tolerant = Swap(steps=200, patience=5).run(replace(problem, tol=found.error), generator())
    assert (tolerant.status, tolerant.steps) == (Status.MATCHED, found.steps)


def test_nonfinite_at_the_start():
    problem = linear(graph())
    read = problem.find_read()
    broken = LinearRead(read.weight, lambda y: [h * torch.nan for h in read.activations(y)])
    found = Swap(steps=9).run(replace(problem, find_read=lambda: broken), generator())
    assert (found.status, found.steps) == (Status.NONFINITE, 0)


def test_watch_sees_every_step():
    seen = []
    found = Swap(steps=6).run(linear(graph()), generator(), watch=lambda *p: seen.append(p))
    assert seen == [(k, 6, error) for k, error in enumerate(found.history)]


# ------------------------------------------------------------------------------- chance, resume


@pytest.mark.parametrize("seek", ["nearest", "random", "farthest"])
def test_the_seed_decides(seek):
    runs = [Swap(steps=8, seek=seek).run(linear(graph()), generator(s)) for s in (3, 3, 4)]
    assert runs[0].history == runs[1].history
    assert torch.equal(runs[0].graph.x, runs[1].graph.x)
    assert not torch.equal(runs[0].graph.x, runs[2].graph.x)


def test_the_global_random_state_is_neither_used_nor_changed(small):
    before = torch.get_rng_state()
    first = gm.metamer(convolution("gcn"), small, "conv", search=Swap(steps=4))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        second = gm.metamer(convolution("gcn"), small, "conv", search=Swap(steps=4))
    assert first.history == second.history


class Interrupted(Exception):
    pass


@pytest.fixture
def always_saved(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize("seek", ["nearest", "random", "farthest"])
@pytest.mark.parametrize("stops", [[1], [9], [11, 3, 6]])
def test_resumed_is_bitwise_the_same(seek, stops, tmp_path):
    problem = linear(graph(), identity="one")
    search, path = Swap(steps=30, patience=None, seek=seek), tmp_path / "checkpoint.pt"
    undisturbed = search.run(problem, generator())
    done = 0
    for stop in stops:
        first: list[int] = []

        def watch(step: int, total: int, error: float, stop=stop, first=first) -> None:
            first.append(step)
            if step == first[0] + stop:
                raise Interrupted

        with pytest.raises(Interrupted):
            search.run(problem, generator(), checkpoint=path, watch=watch)
        assert first[0] == done
        assert path.exists()
        done += stop
    resumed = search.run(problem, generator(), checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.graph.x, undisturbed.graph.x)
    assert (resumed.best_step, resumed.error) == (undisturbed.best_step, undisturbed.error)
    assert (resumed.status, resumed.steps) == (undisturbed.status, undisturbed.steps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize("after", [0, 3])
def test_resumed_while_it_looks_closer_is_bitwise_the_same(after, tmp_path, monkeypatch):
    problem = linear(graph(features=400, density=0.05), identity="one", tol=1e-9)
    search, path = Swap(patience=5), tmp_path / "checkpoint.pt"
    undisturbed = search.run(problem, generator())
    with monkeypatch.context() as patched:
        patched.setattr(swap, "CLOSE_UNITS", 0)
        begun = search.run(problem, generator()).steps

    def watch(step: int, total: int, error: float) -> None:
        if step == begun + after + 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        search.run(problem, generator(), checkpoint=path, watch=watch)
    resumed = search.run(problem, generator(), checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.graph.x, undisturbed.graph.x)
    assert resumed.status is undisturbed.status is Status.STALLED


@pytest.mark.usefixtures("always_saved")
def test_resumed_through_a_model_is_bitwise_the_same(small, tmp_path, monkeypatch):
    call = {"model": convolution("gat"), "data": small, "layer": "output"}
    call |= {"search": Swap(steps=6)}
    undisturbed = gm.metamer(**call)
    offer = checkpoint.Checkpoint.offer

    def interrupted(self, state) -> None:
        offer(self, state)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "offer", interrupted)
        for _ in range(3):
            with pytest.raises(Interrupted):
                gm.metamer(**call, checkpoint=tmp_path / "c.pt")
    with pytest.raises(gm.InputError, match="belongs to another search"):
        gm.metamer(**call | {"search": Swap(steps=7)}, checkpoint=tmp_path / "c.pt")
    resumed = gm.metamer(**call, checkpoint=tmp_path / "c.pt")
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.data.x, undisturbed.data.x)


# ----------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1; got 2.5"),
        ({"patience": 0}, "patience must be a whole number of at least 1; got 0"),
        (
            {"seek": "closest"},
            r"seek must be one of 'nearest', 'random', 'farthest'; got 'closest'\.",
        ),
    ],
)
def test_settings_out_of_range(options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        Swap(**options)


@pytest.mark.parametrize(
    "vary",
    [
        gm.ContinuousFeatures(),
        gm.BinaryFeatures(density="learned"),
        gm.BinaryFeatures(margin=0.1),
    ],
    ids=["continuous", "learned", "margin"],
)
def test_what_it_cannot_move(vary, small):
    with pytest.raises(gm.InputError, match=r"Swap exchanges ones .*BinaryFeatures\(\); got "):
        gm.metamer(convolution("gcn"), small, "conv", vary=vary, search=Swap())


def test_farthest_needs_room(small):
    data = small.clone()
    data.x = 1 - small.x
    with pytest.raises(gm.InputError, match=r"\d+ nodes have more ones than .*another seek="):
        gm.metamer(convolution("gcn"), data, "conv", search=Swap(seek="farthest"))
