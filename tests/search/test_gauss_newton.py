"""Gauss–Newton: linear layers at once, deep ones where Adam does not come, and never uphill."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import Function
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.paper.grid import MODELS as PAPER
from graph_metamers.probe.reads import LinearRead
from graph_metamers.search import Adam, GaussNewton, Problem, Status, checkpoint
from helpers import left_as_found, seeded

FREE = gm.ContinuousFeatures(low=None)
EDGES = torch.tensor([[0, 1], [1, 0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(dtype=torch.float32, seed: int = 0) -> Data:
    data = gm.datasets.csbm(nodes=60, features=40, density=0.1)
    x = torch.rand(60, 40, generator=generator(seed), dtype=dtype)
    return Data(x=x, edge_index=data.edge_index)


def deep(depth: int = 4, hidden: int = 16, dtype=torch.float32, **options) -> nn.Module:
    options = {"hidden": hidden, "depth": depth} | options
    return seeded(lambda: gm.zoo.GCN(40, 3, **options)).eval().to(dtype)


def pose(function, vary=FREE, seed: int = 0, tol: float = 1e-2, read: bool = False, **other):
    """h = f(X W) in float64, with its read or without."""
    weight = torch.randn(12, 4, generator=generator(seed), dtype=torch.float64)
    x = torch.rand(9, 12, generator=generator(seed + 1), dtype=torch.float64)
    data = Data(x=x, edge_index=EDGES)
    if read:
        other["find_read"] = lambda: LinearRead(weight, lambda y: [function(y)])
    return Problem(
        data=data,
        vary=vary,
        targets=[function(x @ weight)],
        activations=lambda g: [function(g.x @ weight)],
        tol=tol,
        **other,
    )


def falls(history) -> bool:
    return all(b <= a for a, b in pairwise(history))


@pytest.mark.parametrize("read", [True, False])
def test_a_linear_layer_is_solved_in_a_few_steps(read):
    problem = pose(lambda y: 2 * y + 1, read=read)
    found = GaussNewton().run(problem, generator())
    assert found.status is Status.MATCHED
    assert found.error <= 1e-12
    assert found.steps <= 6
    assert found.error == pytest.approx(float(problem.error(found.graph)), abs=1e-20)


def test_one_step_on_a_linear_layer_is_the_damped_least_squares_step():
    """δ = −Jᵀ(J Jᵀ + μ I)⁻¹ r, against a dense solution."""
    problem = pose(lambda y: y, read=True)
    start = problem.vary.start(problem.data, generator()).render().x.detach().clone()
    found = GaussNewton(steps=1, inner=400).run(problem, generator())
    weight = problem.find_read().weight
    norm = problem.norms[0].sqrt()
    j, r = weight.T / norm, (start - problem.data.x) @ weight / norm
    along = (r @ j) @ j.T
    mu = 1e-2 * float(along.norm() / r.norm())
    z = torch.linalg.solve(j @ j.T + mu * torch.eye(4, dtype=torch.float64), r.T).T
    expected = start - z @ j
    # Conjugate gradients end at a thousandth of the residual.
    torch.testing.assert_close(found.graph.x, expected, rtol=0, atol=2e-3 * float(r.norm() / mu))
    assert float((found.graph.x - expected).norm()) < 0.02 * float((expected - start).norm())


@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_deep_layers_are_reached_where_adam_is_not(layer):
    data, model = graph(), deep()
    with left_as_found(model):
        m = gm.metamer(model, data, layer, search=GaussNewton())
    assert m.activation_error < 1e-4
    assert m.activation_error == pytest.approx(m.history[-1], rel=1e-2, abs=1e-9)
    assert falls(m.history)
    assert float(m.data.x.min()) >= 0
    assert m.scores["feature_similarity"] < 0.95
    slow = gm.metamer(model, data, layer, search=Adam(steps=100))
    assert slow.activation_error > 100 * m.activation_error


@pytest.mark.parametrize("name", PAPER)
def test_every_model_of_the_paper(name):
    model = seeded(lambda: gm.zoo.MODELS[name](40, 3, hidden=8)).eval()
    m = gm.metamer(model, graph(), "layer2", search=GaussNewton(steps=15, stop_at_tol=True))
    assert m.matched
    assert falls(m.history)


class Normed(nn.Module):
    """Reads no feature through weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv1, self.conv2 = nn.LayerNorm(40), GCNConv(40, 8), GCNConv(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.conv1(self.norm(x), edge_index).tanh(), edge_index)


@pytest.mark.parametrize("layer", ["conv1", "output", ["conv1", "output"]], ids=str)
def test_a_model_without_linear_maps(layer):
    m = gm.metamer(seeded(Normed).eval(), graph(), layer, search=GaussNewton(steps=30))
    assert m.activation_error < 1e-4
    assert falls(m.history)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    low=st.sampled_from([None, 0.0, -0.2]),
    high=st.sampled_from([None, 1.0, 1.1]),
    function=st.sampled_from([torch.tanh, torch.relu, torch.sin, lambda y: y**3]),
    read=st.booleans(),
)
def test_within_the_bounds_and_never_uphill(seed, low, high, function, read):
    problem = pose(function, gm.ContinuousFeatures(low=low, high=high), seed=seed, read=read)
    found = GaussNewton(steps=12).run(problem, generator(seed))
    x = found.graph.x
    assert low is None or float(x.min()) >= low
    assert high is None or float(x.max()) <= high
    assert falls(found.history)
    assert found.error == found.history[-1] == found.history[found.best_step]
    assert found.error == pytest.approx(float(problem.error(found.graph)), rel=1e-6, abs=1e-14)
    assert found.error < 0.9 * found.history[0] or found.history[0] < 1e-12
    assert found.steps == len(found.history) - 1 <= 12


def test_float64_goes_farther():
    """No unit of tanh is ever off, so nothing keeps the error from falling on."""
    model = deep(depth=2, hidden=8, dtype=torch.float64, activation="tanh")
    m = gm.metamer(model, graph(torch.float64), "layer2", vary=FREE, search=GaussNewton())
    assert m.activation_error <= 1e-6
    assert m.data.x.dtype == torch.float64


# ----------------------------------------------------------------------------- how it ends


def test_stops_at_tol():
    problem = pose(torch.tanh, tol=1e-3)
    on = GaussNewton().run(problem, generator())
    stopped = GaussNewton(stop_at_tol=True).run(problem, generator())
    assert on.status is stopped.status is Status.MATCHED
    assert stopped.steps < on.steps
    assert stopped.history == on.history[: len(stopped.history)]
    assert stopped.error <= 1e-3 < stopped.history[-2]


def test_the_budget_is_kept():
    found = GaussNewton(steps=1).run(pose(torch.tanh, tol=1e-12), generator())
    assert (found.status, found.steps, len(found.history)) == (Status.BUDGET_SPENT, 1, 2)


def test_what_cannot_be_reached_stalls():
    """tanh never is 2."""
    problem = pose(torch.tanh)
    object.__setattr__(problem, "targets", [2 + 0 * problem.targets[0]])
    found = GaussNewton(steps=200, patience=4).run(problem, generator())
    assert found.status is Status.STALLED
    assert found.steps < 200
    assert found.history[-1] > 0.9 * found.history[-5]
    found = GaussNewton(steps=20, patience=None).run(problem, generator())
    assert (found.status, found.steps) == (Status.BUDGET_SPENT, 20)


def test_a_start_that_matches_takes_no_step():
    found = GaussNewton().run(pose(lambda y: 1 + 0 * y), generator())
    assert (found.status, found.steps, found.history) == (Status.MATCHED, 0, [0.0])


def test_without_any_slope_it_stays_and_says_stalled():
    """All units are off at the start: no gradient, and no division by it."""
    problem = pose(lambda y: (y - 100).relu() + 0 * y)
    object.__setattr__(problem, "targets", [1 + problem.targets[0]])
    object.__setattr__(problem, "norms", [problem.targets[0].square().sum()])
    found = GaussNewton().run(problem, generator())
    assert found.status is Status.STALLED
    assert found.graph.x.isfinite().all()
    assert len(set(found.history)) == 1


def test_nonfinite_at_the_start():
    found = GaussNewton().run(pose(lambda y: (y - y.detach().abs() - 1).log()), generator())
    assert (found.status, found.steps) == (Status.NONFINITE, 0)


def test_a_step_to_where_the_error_is_not_finite_is_not_taken():
    """√y has no value below zero, where a step of the linear model may well lead."""
    problem = pose(lambda y: (y.square() - 0.05).sqrt().nan_to_num(0.5) + (y + 4).sqrt())
    found = GaussNewton(steps=20).run(problem, generator())
    assert found.graph.x.isfinite().all()
    assert found.error < float("inf")
    assert falls(found.history)


def test_watch_and_the_reference():
    problem, seen = pose(torch.tanh, tol=1e-14), []
    before = problem.data.x.clone()
    found = GaussNewton(steps=3).run(problem, generator(), watch=lambda *p: seen.append(p))
    assert seen == [(k, 3, found.history[k]) for k in range(found.steps + 1)]
    found.graph.x.zero_()
    assert torch.equal(problem.data.x, before)


def test_the_seed_decides():
    runs = [GaussNewton(steps=3).run(pose(torch.tanh), generator(s)) for s in (1, 1, 2)]
    assert runs[0].history == runs[1].history
    assert torch.equal(runs[0].graph.x, runs[1].graph.x)
    assert not torch.equal(runs[0].graph.x, runs[2].graph.x)


# -------------------------------------------------------------------------------------- resume


class Interrupted(Exception):
    pass


@pytest.fixture
def always_saved(monkeypatch):
    monkeypatch.setattr(checkpoint, "CHECKPOINT_SECONDS", 0.0)


def test_resumed_is_bitwise_the_same(tmp_path, monkeypatch, always_saved):
    call = {"model": deep(), "data": graph(), "layer": "layer4", "search": GaussNewton(steps=8)}
    undisturbed = gm.metamer(**call)
    offer, steps = checkpoint.Checkpoint.offer, []

    def interrupted(self, state) -> None:
        offer(self, state)
        steps.append(len(state()["history"]) - 1)
        if len(steps) in (2, 3, 5):
            raise Interrupted

    path = tmp_path / "c.pt"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "offer", interrupted)
        for _ in range(3):
            with pytest.raises(Interrupted):
                gm.metamer(**call, checkpoint=path)
    assert steps == [1, 2, 3, 4, 5]
    with pytest.raises(gm.InputError, match="belongs to another search"):
        gm.metamer(**call, seed=1, checkpoint=path)
    resumed = gm.metamer(**call, checkpoint=path)
    assert resumed.history == undisturbed.history
    assert torch.equal(resumed.data.x, undisturbed.data.x)
    assert (resumed.steps, resumed.best_step) == (undisturbed.steps, undisturbed.best_step)
    assert not path.exists()


# ----------------------------------------------------------------------------------- sentences


class Detached(Function):
    """A square whose derivative is computed outside of autograd, as by an external library."""

    @staticmethod
    def forward(ctx, h):
        ctx.save_for_backward(h)
        return h.square()

    @staticmethod
    def backward(ctx, gradient):
        return (2 * ctx.saved_tensors[0] * gradient).detach()


class Squares(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(40, 8)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return Detached.apply(self.conv(x, edge_index))


def test_an_operation_without_a_second_derivative():
    sentence = r"search=GaussNewton\(\) needs second derivatives, .* Use search=Adam\(\)\."
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(seeded(Squares), graph(), "output", search=GaussNewton())
    m = gm.metamer(seeded(Squares), graph(), "output", search=Adam(steps=3))
    assert m.activation_error < m.history[0]


@pytest.mark.parametrize("setting", ["steps", "inner", "patience"])
def test_settings_out_of_range(setting):
    with pytest.raises(gm.InputError, match=f"{setting} must be a whole number of at least 1"):
        GaussNewton(**{setting: 0})


def test_binary_features_are_not_its_matter(small):
    sentence = r"GaussNewton moves real numbers and needs vary=ContinuousFeatures\(\); got Binary"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(deep(), small, "layer1", search=GaussNewton())
