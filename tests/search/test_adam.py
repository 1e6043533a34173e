"""Adam against a literal loop, its outcomes, and its exact resumption."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.search import Adam, Problem, Status, checkpoint
from graph_metamers.vary import Variable, Vary, with_features


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TwoLayers(nn.Module):
    """A small GCN with weights from a fixed seed."""

    def __init__(self, features: int, hidden: int = 8) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv1, self.conv2 = GCNConv(features, hidden), GCNConv(hidden, 3)

    def first(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv1(x, edge_index).relu()

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.first(x, edge_index), edge_index)


def graph(kind: str = "binary", dtype: torch.dtype = torch.float32) -> Data:
    data = gm.datasets.csbm(nodes=30, features=25, density=0.2)
    x = data.x.to(dtype)
    if kind == "continuous":
        x = x + torch.rand(x.shape, generator=generator(1), dtype=dtype)
    return Data(x=x, edge_index=data.edge_index)


def pose(data: Data, vary: Vary | None = None, tol: float = 1e-2, **other) -> Problem:
    """The first layer of a GCN, without the probe."""
    model = TwoLayers(data.num_features).to(data.x.dtype).requires_grad_(False)

    def activations(g: Data) -> list[Tensor]:
        return [model.first(g.x, g.edge_index)]

    return Problem(
        data=data,
        vary=vary or gm.vary.vary_features(data),
        targets=[h.detach() for h in activations(data)],
        activations=activations,
        tol=tol,
        **other,
    )


def toy(reference: Data, function, target: float, vary: Vary, tol: float = 1e-2) -> Problem:
    """One number as activation."""
    return Problem(
        data=reference,
        vary=vary,
        targets=[torch.tensor([[target]])],
        activations=lambda g: [function(g.x).view(1, 1)],
        tol=tol,
    )


# ------------------------------------------------------------------------- the literal loop


def literal_loop(data: Data, kind: str, lr: float, steps: int, seed: int):
    """Eqs. 5–9 as one would write them down: topk, torch.optim.Adam, the whole forward."""
    model = TwoLayers(data.num_features).to(data.x.dtype)
    seen: list[Tensor] = []
    model.conv1.register_forward_hook(lambda module, args, output: seen.append(output.relu()))
    model(data.x, data.edge_index)
    target = seen.pop().detach()

    noise = torch.randn(data.x.shape, generator=generator(seed), dtype=data.x.dtype)
    soft = (data.x.mean(0) + data.x.std(0) * noise).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=lr)
    graphs, losses = [], []
    for _ in range(steps + 1):
        if kind == "binary":
            p = torch.sigmoid(soft)
            hard = torch.zeros_like(p)
            hard.view(-1)[p.view(-1).topk(int(data.x.sum())).indices] = 1
            x = p + (hard - p).detach()
        else:
            x = hard = torch.relu(soft)
        model(x, data.edge_index)
        loss = ((seen.pop() - target) ** 2).sum() / (target**2).sum()
        graphs.append(hard.detach().clone())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return graphs, losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", ["binary", "continuous"])
def test_equals_the_literal_loop(kind, dtype):
    data = graph(kind, dtype)
    steps, lr = 50, 0.02
    expected, losses = literal_loop(data, kind, lr, steps, seed=3)

    problem, rendered = pose(data), []
    inner = problem.activations

    def record(g: Data) -> list[Tensor]:
        rendered.append(g.x.detach().clone())
        return inner(g)

    found = Adam(lr=lr, steps=steps).run(replace(problem, activations=record), generator(3))

    assert found.history == pytest.approx(losses, rel=1e-5)
    assert len(rendered) == len(expected) == steps + 1
    assert losses[-1] < 0.7 * losses[0]  # it did move
    for ours, theirs in zip(rendered, expected, strict=True):
        if kind == "binary":
            assert torch.equal(ours, theirs)
        else:  # the fused Adam rounds otherwise: some ulp a step of size lr
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


# ------------------------------------------------------------------------ the best, not the last


@pytest.mark.parametrize(("kind", "lr"), [("binary", 10.0), ("continuous", 3.0)])
def test_returns_the_best_graph_not_the_last(kind, lr):
    problem = pose(graph(kind))
    found = Adam(lr=lr, steps=40, patience=None).run(problem, generator())
    assert found.history[-1] > min(found.history)  # else this test shows nothing
    assert found.error == min(found.history) == found.history[found.best_step]
    assert float(problem.error(found.graph)) == found.error


def test_history_holds_every_graph_and_watch_sees_it():
    seen = []
    found = Adam(lr=0.02, steps=7).run(
        pose(graph()), generator(), watch=lambda *progress: seen.append(progress)
    )
    assert (found.steps, len(found.history)) == (7, 8)
    bests = [min(found.history[: i + 1]) for i in range(8)]
    assert seen == [(i, 7, bests[i]) for i in range(8)]
    assert found.seconds > 0


# ------------------------------------------------------------------------------------ outcomes


def test_stop_at_tol_ends_where_tol_is_reached():
    problem = pose(graph(), tol=0.2)
    found = Adam(lr=0.02, steps=200, stop_at_tol=True).run(problem, generator())
    assert found.status is Status.MATCHED
    assert found.history[-1] <= 0.2 < min(found.history[:-1])
    through = Adam(lr=0.02, steps=200).run(problem, generator())
    assert (through.status, through.steps) == (Status.MATCHED, 200)
    assert through.history[: len(found.history)] == found.history
    assert through.error < found.error


def test_budget_spent():
    found = Adam(lr=0.02, steps=5).run(pose(graph(), tol=1e-9), generator())
    assert (found.status, found.steps) == (Status.BUDGET_SPENT, 5)
    assert found.error > 1e-9


def test_a_plateau_is_stalled_unless_patience_is_none():
    # So small a learning rate that no mask and no error ever changes.
    search = Adam(lr=1e-12, steps=40, patience=6)
    found = search.run(pose(graph()), generator())
    assert (found.status, found.steps) == (Status.STALLED, 7)
    assert len(set(found.history)) == 1
    assert found.best_step == 0  # of equals the first
    patient = replace(search, patience=None).run(pose(graph()), generator())
    assert (patient.status, patient.steps) == (Status.BUDGET_SPENT, 40)
    matched = search.run(pose(graph(), tol=found.error), generator())
    assert (matched.status, matched.steps) == (Status.MATCHED, 7)


def scripted(errors: list[float]) -> Problem:
    """A problem whose error at step k is errors[k], whatever the graph."""
    left = iter(errors)
    return toy(graph(), lambda x: 1 + math.sqrt(next(left)) + 0 * x.sum(), 1.0, gm.BinaryFeatures())


def test_patience_counts_from_the_last_fall():
    falling = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]  # the last at step 5
    search = Adam(steps=100, patience=10)
    found = search.run(scripted(falling + [0.5] * 96), generator())
    assert (found.status, found.steps, found.best_step) == (Status.STALLED, 15, 5)
    # Rising does not count as falling, nor does falling by less than a thousandth in all ...
    found = search.run(scripted([*falling, *[0.7] * 9, 0.4999] + [0.7] * 86), generator())
    assert (found.status, found.steps) == (Status.STALLED, 15)
    # ... and a slow fall of more than that does.
    slow = [0.5 * (1 - 2e-4) ** k for k in range(101)]
    assert search.run(scripted(slow), generator()).status is Status.BUDGET_SPENT


def test_matched_at_the_start_takes_no_step():
    # Every binary start has the reference's number of ones, so this activation is the same.
    problem = toy(graph(), lambda x: x.sum(), float(graph().x.sum()), gm.BinaryFeatures())
    found = Adam(lr=0.02, steps=50).run(problem, generator())
    assert (found.status, found.steps, found.history) == (Status.MATCHED, 0, [0.0])
    assert not torch.equal(found.graph.x, problem.data.x)


def test_a_division_that_overflows_is_nonfinite_and_the_best_stays_finite():
    # Lowering 1/mean(x) towards 1000 clips every entry to 0, and 1/0 is infinite.
    problem = toy(graph("continuous"), lambda x: 1 / x.mean(), 1e3, gm.ContinuousFeatures())
    found = Adam(lr=50.0, steps=100).run(problem, generator())
    assert found.status is Status.NONFINITE
    assert math.isinf(found.history[-1])
    assert found.steps < 100
    assert found.error == min(found.history) < math.inf
    assert found.graph.x.isfinite().all()
    assert float(problem.error(found.graph)) == found.error


def test_nonfinite_at_the_start():
    problem = toy(graph("continuous"), lambda x: (x - 99).log().sum(), 1.0, gm.ContinuousFeatures())
    found = Adam(steps=10).run(problem, generator())
    assert (found.status, found.steps) == (Status.NONFINITE, 0)
    assert math.isnan(found.error)


class RowNorm(nn.Module):
    """Its gradient is NaN for a node without features, its output is finite."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = TwoLayers(features)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-6), edge_index)


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_a_nan_gradient_is_found_and_the_number_of_ones_stays(steps):
    data = gm.datasets.csbm(nodes=60, features=40, density=0.04)
    m = gm.metamer(RowNorm(40), data, "output", search=Adam(lr=0.05, steps=steps))
    assert m.status is Status.NONFINITE
    assert int(m.data.x.sum()) == int(data.x.sum())
    assert m.activation_error == min(m.history)


def test_nonfinite_after_a_match_is_matched():
    problem = toy(graph("continuous"), lambda x: 1 / x.mean(), 1e3, gm.ContinuousFeatures())
    found = Adam(lr=50.0, steps=100).run(replace(problem, tol=1.0), generator())
    assert math.isinf(found.history[-1])
    assert found.status is Status.MATCHED


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lr": 0.0}, "lr must be positive and finite; got 0.0"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"lr": math.inf}, "lr must be positive"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"steps": True}, "steps must be a whole number"),
        ({"patience": 0}, "patience must be a whole number of at least 1; got 0"),
    ],
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        Adam(**settings)


# -------------------------------------------------------------------------------------- resume


class Interrupted(Exception):
    pass


WAYS = {
    "binary": gm.BinaryFeatures(margin=0.1),
    "learned": gm.BinaryFeatures(density="learned"),
    "continuous": gm.ContinuousFeatures(),
}


@pytest.fixture
def always_saved(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stops", [[1], [13], [26, 3, 8]])
def test_resumed_is_bitwise_the_same(way, stops, tmp_path):
    problem = pose(graph("continuous" if way == "continuous" else "binary"), WAYS[way])
    search, path = Adam(lr=0.3, steps=40, patience=None), tmp_path / "checkpoint.pt"
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
        assert first[0] == done  # it went on, and did not begin again
        assert path.exists()
        done += stop
    resumed = search.run(problem, generator(), checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.graph.x, undisturbed.graph.x)
    assert (resumed.best_step, resumed.error) == (undisturbed.best_step, undisturbed.error)
    assert (resumed.status, resumed.steps) == (undisturbed.status, undisturbed.steps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("always_saved")
def test_the_best_before_the_stop_is_kept(tmp_path):
    problem, path = pose(graph()), tmp_path / "checkpoint.pt"
    search = Adam(lr=10.0, steps=40, patience=None)
    undisturbed = search.run(problem, generator())
    stop = undisturbed.best_step + 2
    assert stop < 40

    def watch(step: int, total: int, error: float) -> None:
        if step == stop:
            raise Interrupted

    with pytest.raises(Interrupted):
        search.run(problem, generator(), checkpoint=path, watch=watch)
    resumed = search.run(problem, generator(), checkpoint=path)
    assert resumed.best_step == undisturbed.best_step < stop
    assert torch.equal(resumed.graph.x, undisturbed.graph.x)


@dataclass(frozen=True)
class Noisy(Vary):
    """Draws from the search's generator at every step."""

    def check(self, data: Data) -> None: ...

    def start(self, data: Data, generator: torch.Generator) -> "NoisyVariable":
        return NoisyVariable(data, generator)


class NoisyVariable(Variable):
    def __init__(self, data: Data, generator: torch.Generator) -> None:
        self.data, self.generator = data, generator
        self.parameters = [torch.zeros_like(data.x).requires_grad_()]

    def render(self) -> Data:
        noise = torch.randn(self.data.x.shape, generator=self.generator)
        return with_features(self.data, self.parameters[0] + 0.1 * noise)


@pytest.mark.usefixtures("always_saved")
def test_chance_during_the_search_is_resumed_too(tmp_path):
    path, search = tmp_path / "checkpoint.pt", Adam(lr=0.02, steps=9)
    undisturbed = search.run(pose(graph(), Noisy()), generator())
    stopped(pose(graph(), Noisy()), path)
    resumed = search.run(pose(graph(), Noisy()), generator(), checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.graph.x, undisturbed.graph.x)


def stopped(problem: Problem, path) -> None:
    def watch(step: int, total: int, error: float) -> None:
        if step == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        Adam(lr=0.02, steps=9).run(problem, generator(), checkpoint=path, watch=watch)


@pytest.mark.usefixtures("always_saved")
def test_time_is_counted_over_all_parts(tmp_path):
    path = tmp_path / "checkpoint.pt"
    stopped(pose(graph()), path)
    state = torch.load(path, weights_only=True)
    torch.save(state | {"seconds": 1000.0}, path)
    assert Adam(lr=0.02, steps=9).run(pose(graph()), generator(), checkpoint=path).seconds > 1000


@pytest.mark.usefixtures("always_saved")
def test_a_checkpoint_of_another_search_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    stopped(pose(graph(), identity="one"), path)
    with pytest.raises(gm.InputError, match=r"belongs to another search .* Remove it, or name"):
        Adam(lr=0.02, steps=9).run(pose(graph(), identity="other"), generator(), checkpoint=path)
    assert path.exists()


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"search": Adam(lr=0.02, steps=8)},
        {"vary": gm.BinaryFeatures(slope=2.0)},
        {"layer": "conv2"},
        {"layer": lambda model, data: model.conv2(data.x[:, :8], data.edge_index)},
        {"forward": lambda model, data: model(data.x, data.edge_index)},
        {"data": graph("continuous")},
        {"model": TwoLayers(25, hidden=9)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_makes_a_search_another_one(other, tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    call = {
        "model": TwoLayers(25),
        "data": graph(),
        "layer": lambda model, data: model.conv1(data.x, data.edge_index),
        "search": Adam(lr=0.02, steps=9),
        "seed": 0,
    }

    def interrupted(self, state) -> None:
        offer(self, state)
        raise Interrupted

    offer = checkpoint.Checkpoint.offer
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "offer", interrupted)
        with pytest.raises(Interrupted):
            gm.metamer(**call, checkpoint=path)
    with pytest.raises(gm.InputError, match="belongs to another search"):
        gm.metamer(**(call | other), checkpoint=path)
    m = gm.metamer(**call, checkpoint=path)
    assert m.history == gm.metamer(**call).history
    assert not path.exists()


def test_a_file_that_is_no_checkpoint_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a checkpoint")
    with pytest.raises(gm.InputError, match="must be a checkpoint"):
        Adam(steps=3).run(pose(graph()), generator(), checkpoint=path)
    assert path.read_text() == "not a checkpoint"


# ------------------------------------------------------------------------ several layers, others


def test_two_layers_are_matched_jointly():
    data, model = graph(), TwoLayers(25)
    search = Adam(lr=0.05, steps=150)
    m = gm.metamer(model, data, ["conv1", "output"], search=search)
    assert m.layer == "conv1 + output"
    with torch.no_grad():
        errors = {}
        for name, function in {"conv1": model.conv1, "output": model}.items():
            h, other = (function(g.x, g.edge_index) for g in (data, m.data))
            errors[name] = float((other - h).square().sum() / h.square().sum())
    assert m.layer_errors == pytest.approx(errors, rel=1e-5)
    assert m.activation_error == pytest.approx(sum(errors.values()) / 2, rel=1e-5)
    assert m.activation_error == pytest.approx(min(m.history), rel=1e-6)
    assert m.activation_error < 0.5 * m.history[0]


@dataclass(frozen=True)
class Along(Vary):
    """x = base + scale · direction: one number varies, written by a user."""

    base: Tensor
    direction: Tensor

    def check(self, data: Data) -> None:
        if data.x is None or data.x.shape != self.base.shape:
            raise gm.InputError("Along needs features of the shape of its base.")

    def start(self, data: Data, generator: torch.Generator) -> "AlongVariable":
        return AlongVariable(self, data, torch.randn((), generator=generator))


class AlongVariable(Variable):
    def __init__(self, vary: Along, data: Data, scale: Tensor) -> None:
        self.vary, self.data = vary, data
        self.scale = scale.requires_grad_()
        self.unused = torch.ones(2).requires_grad_()  # reaches no activation
        self.parameters = [self.scale, self.unused]

    def render(self) -> Data:
        return with_features(self.data, self.vary.base + self.scale * self.vary.direction)


@pytest.mark.usefixtures("always_saved")
def test_a_users_own_way_to_vary(tmp_path):
    data = graph("continuous")
    base, direction = torch.rand(2, *data.x.shape, generator=generator(4))
    data.x = base + 2 * direction
    vary = Along(base, direction)
    with pytest.raises(gm.InputError, match="Along needs features"):
        gm.metamer(TwoLayers(25), data, "conv1", vary=Along(base[1:], direction[1:]))

    m = gm.metamer(
        TwoLayers(25), data, "conv1", vary=vary, search=Adam(lr=0.05, steps=300), tol=1e-4
    )
    assert m.status is Status.MATCHED
    # The layer is linear, so only scale = 2 matches; the error is (scale − 2)² times a constant.
    torch.testing.assert_close(m.data.x, data.x, rtol=0, atol=0.02)
    other = gm.metamer(
        TwoLayers(25),
        data,
        "conv1",
        vary=vary,
        search=Adam(lr=0.05, steps=300),
        tol=1e-4,
        checkpoint=tmp_path / "c.pt",
    )
    assert other.history == m.history


@pytest.mark.usefixtures("always_saved")
def test_the_settings_of_a_users_own_are_part_of_the_search(tmp_path, monkeypatch):
    data = gm.datasets.csbm(nodes=60, features=40)
    base, direction = torch.rand(2, 60, 40, generator=generator(4))
    call = {"layer": "conv1", "search": Adam(lr=0.05, steps=9), "checkpoint": tmp_path / "c.pt"}
    offer = checkpoint.Checkpoint.offer

    def interrupted(self, state) -> None:
        offer(self, state)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "offer", interrupted)
        with pytest.raises(Interrupted):
            gm.metamer(TwoLayers(40), data, vary=Along(base, direction), **call)
    nearly = direction.clone()
    nearly[10, 10] += 1e-3  # too little, and too far inside, for the tensor's repr to show
    assert repr(nearly) == repr(direction)
    with pytest.raises(gm.InputError, match="belongs to another search"):
        gm.metamer(TwoLayers(40), data, vary=Along(base, nearly), **call)
