"""Gauss–Newton: linear layers at once, deep ones where Adam does not come, and never uphill."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import EDGES, Poser, Read, Two, generator, random_graph
from torch import Tensor, nn
from torch.autograd import Function
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.search import Adam, Ended, GaussNewton, Problem
from helpers import Calls, seeded

FREE = gm.ContinuousFeatures(low=None)


def posed(pose: Poser, function, vary=FREE, seed: int = 0, read: bool = True, **other) -> Problem:
    """h = f(X W) in float64, with its read or without."""
    weight = torch.randn(12, 4, generator=generator(seed), dtype=torch.float64)
    x = torch.rand(9, 12, generator=generator(seed + 1), dtype=torch.float64)
    problem = pose(Read(weight, function), Data(x=x, edge_index=EDGES), vary=vary, **other)
    problem.kept.update({} if read else {"read": None})
    return problem


def falls(history: list[float]) -> bool:
    return all(b <= a for a, b in pairwise(history))


@pytest.mark.parametrize("read", [True, False])
def test_a_linear_layer_is_solved_in_a_few_steps(read, pose: Poser):
    problem = posed(pose, lambda y: 2 * y + 1, read=read)
    found = GaussNewton().run(problem, generator())
    assert found.ended == [Ended.REACHED]
    assert found.errors.item() <= 1e-12
    assert found.steps <= 6


def test_one_step_on_a_linear_layer_is_the_damped_least_squares_step(pose: Poser):
    """δ = −Jᵀ(J Jᵀ + μ I)⁻¹ r, against a dense solution."""
    problem = posed(pose, lambda y: y)
    start = problem.start(generator())["x"].detach()
    found = GaussNewton(steps=1, inner=400).run(problem, generator()).inputs["x"]
    weight, x = problem.read.weight, problem.inputs["x"]
    norm = (x @ weight).norm()
    j, r = weight.T / norm, (start - x) @ weight / norm
    mu = 1e-2 * float(((r @ j) @ j.T).norm() / r.norm())
    z = torch.linalg.solve(j @ j.T + mu * torch.eye(4, dtype=torch.float64), r.T).T
    expected = start - z @ j
    # Conjugate gradients end at a thousandth of the residual.
    assert float((found - expected).norm()) < 0.02 * float((expected - start).norm())


def test_deep_layers_are_reached_where_adam_is_not():
    data = random_graph(40, width=24, kind="real")
    model = seeded(lambda: gm.zoo.GCN(24, 3, hidden=16, depth=4))
    m = gm.metamer(model, data, "layer4", search=GaussNewton(steps=25))
    assert m.activation_error < 1e-4
    assert falls(m.history)
    assert float(m.data.x.min()) >= 0
    slow = gm.metamer(model, data, "layer4", search=Adam(steps=100))
    assert slow.activation_error > 100 * m.activation_error


@pytest.mark.parametrize("name", ["gcn", "chebnet", "graphsage", "gin", "gat"])
def test_the_zoo(name):
    data = random_graph(40, width=24, kind="real")
    model = seeded(lambda: gm.zoo.MODELS[name](24, 3, hidden=8)).eval()
    m = gm.metamer(model, data, "layer2", search=GaussNewton(steps=20, stop_at_tol=True))
    assert min(m.history) <= m.tol
    assert falls(m.history)


@pytest.mark.parametrize("layer", ["first", ["first", "output"]], ids=str)
def test_a_model_without_linear_maps(layer):
    model, data = seeded(lambda: Two(10, normed=True)), random_graph(40, kind="real")
    m = gm.metamer(model, data, layer, search=GaussNewton(steps=12))
    assert m.fvu < 5e-3
    assert falls(m.history)


FUNCTIONS = {"tanh": torch.tanh, "relu": torch.relu, "sin": torch.sin, "cube": lambda y: y**3}


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    low=st.sampled_from([None, 0.0, -0.2]),
    high=st.sampled_from([None, 1.0, 1.1]),
    name=st.sampled_from(sorted(FUNCTIONS)),
    read=st.booleans(),
)
def test_within_the_bounds_and_never_uphill(seed, low, high, name, read):
    poser = Poser()
    vary = gm.ContinuousFeatures(low=low, high=high)
    problem = posed(poser, FUNCTIONS[name], vary, seed, read)
    found = GaussNewton(steps=12).run(problem, generator(seed))
    poser.close()
    x = found.inputs["x"]
    assert low is None or float(x.min()) >= low
    assert high is None or float(x.max()) <= high
    assert falls(found.history)
    assert found.errors.item() == found.history[-1]
    true = problem.match.fvu(problem.activations(found.inputs)).mean()
    assert found.errors.item() == pytest.approx(float(true), rel=1e-6, abs=1e-14)
    assert found.errors.item() < 0.9 * found.history[0] or found.history[0] < 1e-12


# ----------------------------------------------------------------------------- how it ends


def test_what_cannot_be_reached_stalls(pose: Poser):
    """tanh never is 2."""
    problem = posed(pose, torch.tanh)
    problem.match.taps[0].target.fill_(2)
    found = GaussNewton(steps=200, patience=4).run(problem, generator())
    assert found.ended == [Ended.STALLED]
    assert found.steps < 200
    assert found.history[-1] > 0.9 * found.history[-5]


def test_without_any_slope_it_stays(pose: Poser):
    """All units are off at the start: no gradient, and no division by it."""
    problem = posed(pose, lambda y: (y - 100).relu() + 1e-9 * y)
    object.__setattr__(problem.session.model, "function", lambda y: (y - 100).relu())
    found = GaussNewton().run(problem, generator())
    assert found.inputs["x"].isfinite().all()
    assert len(set(found.history)) == 1


def test_a_step_to_where_the_error_is_not_finite_is_not_taken(pose: Poser):
    """√y has no value below zero, where a step of the linear model may well lead."""
    problem = posed(pose, lambda y: (y.square() - 0.05).sqrt().nan_to_num(0.5) + (y + 4).sqrt())
    found = GaussNewton(steps=20).run(problem, generator())
    assert found.inputs["x"].isfinite().all()
    assert found.errors.item() < float("inf")
    assert falls(found.history)


class Detached(Function):
    """A square whose derivative is computed outside of autograd, as by an external library."""

    @staticmethod
    def forward(ctx, h):
        ctx.save_for_backward(h)
        return h.square()

    @staticmethod
    def backward(ctx, gradient):
        return (2 * ctx.saved_tensors[0] * gradient).detach()


def test_an_operation_without_a_second_derivative():
    def forward(model, x: Tensor, edge_index: Tensor) -> Tensor:
        return Detached.apply(model.lin(x))

    model, data = (
        seeded(lambda: Calls(forward, lin=nn.Linear(10, 8))),
        random_graph(30, kind="real"),
    )
    with pytest.raises(gm.InputError, match=r"GaussNewton\(\) needs second derivatives, .*Adam"):
        gm.metamer(model, data, "output", search=GaussNewton())
    m = gm.metamer(model, data, "output", search=Adam(steps=3))
    assert min(m.history) < m.history[0]
    assert gm.metamer(model, data, "output", search=gm.Auto(steps=2)).search.startswith("Exact")
