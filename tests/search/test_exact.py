"""Exact, the nearest point with the same X W: closed forms, SciPy and the KKT conditions."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from search_cases import EDGES, Poser, Read, Two, generator, random_graph
from torch import Tensor
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.search import Exact, Problem
from helpers import seeded

FREE, POSITIVE = gm.ContinuousFeatures(low=None), gm.ContinuousFeatures()


def drawn(seed: int, nodes: int, features: int, units: int) -> tuple[Tensor, Tensor]:
    g = generator(seed)
    x = torch.rand(nodes, features, generator=g, dtype=torch.float64)
    return x, torch.randn(features, units, generator=g, dtype=torch.float64)


def posed(pose: Poser, x: Tensor, weight: Tensor, vary=POSITIVE) -> Problem:
    """h = X W and nothing else."""
    return pose(Read(weight), Data(x=x, edge_index=EDGES), vary=vary)


def found_by(pose: Poser, x, weight, vary=POSITIVE, seed: int = 0, **options):
    problem = posed(pose, x, weight, vary)
    found = Exact(**options).run(problem, generator(seed))
    start = problem.start(generator(seed))["x"].detach()
    return found.inputs["x"], start, found


def close(a: Tensor, b: Tensor, atol: float = 1e-9) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


# ------------------------------------------------------------------------------ known answers


def test_two_features_of_which_the_sum_is_read(pose: Poser):
    """min ‖x' − s‖² with x'₁ + x'₂ = c: the projection, and where it is negative the corner."""
    x = torch.tensor([[0.02, 0.98]] * 60, dtype=torch.float64)
    x[::2] = torch.tensor([0.97, 0.13], dtype=torch.float64)
    found, start, _ = found_by(pose, x, torch.ones(2, 1, dtype=torch.float64))
    total = x.sum(1)
    first = ((start[:, 0] - start[:, 1] + total) / 2).clamp(min=0).minimum(total)
    close(found, torch.stack([first, total - first], dim=1))
    assert bool((first == 0).any())  # else this test shows nothing of the bounds


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20), nodes=st.integers(2, 20), units=st.integers(1, 6))
def test_without_bounds_it_is_a_projection_or_a_reflection(seed, nodes, units):
    x, weight = drawn(seed, nodes, 10, units)
    q = torch.linalg.qr(weight).Q
    poser = Poser()
    nearest, start, solution = found_by(poser, x, weight, FREE, seed)
    close(nearest, start + (x - start) @ q @ q.T)
    assert solution.notes == {"pinned_nodes": 0}
    farthest, _, _ = found_by(poser, x, weight, FREE, seed, seek="farthest")
    close(farthest, 2 * x @ q @ q.T - x)
    poser.close()


def test_random_is_the_metamer_nearest_to_the_rows_in_another_order(pose: Poser):
    x, weight = drawn(0, 8, 10, 3)
    found, _, _ = found_by(pose, x, weight, FREE, seed=5, seek="random")
    q = torch.linalg.qr(weight).Q
    distances = torch.cdist(found - found @ q @ q.T, x - x @ q @ q.T)
    assert float(distances.min(dim=1).values.max()) < 1e-9
    order = distances.argmin(dim=1).tolist()
    assert sorted(order) == list(range(8))
    assert all(place != u for u, place in enumerate(order))


def test_weights_that_repeat_themselves_count_once(pose: Poser):
    x, weight = drawn(1, 8, 10, 3)
    mixed = torch.randn(3, 4, generator=generator(), dtype=torch.float64)
    once, _, _ = found_by(pose, x, weight)
    more, _, _ = found_by(pose, x, torch.cat([weight, weight @ mixed], dim=1))
    close(once, more)


def test_a_map_that_is_one_to_one_leaves_only_the_reference(pose: Poser):
    x, weight = drawn(6, 10, 6, 8)
    found, _, solution = found_by(pose, x, weight)
    close(found, x, 1e-6)
    assert solution.notes["pinned_nodes"] == 10


def test_a_node_that_only_the_reference_fits_is_pinned_and_says_so(pose: Poser):
    """The sum of a row that is zero, with low = 0, is that of no other row."""
    x, _ = drawn(7, 10, 6, 1)
    x[3] = 0
    found, _, solution = found_by(pose, x, torch.ones(6, 1, dtype=torch.float64))
    close(found[3], x[3], 1e-12)
    assert bool(((found - x)[torch.arange(10) != 3].norm(dim=1) > 1e-3).all())
    assert solution.notes["pinned_nodes"] == 1


@dataclass(frozen=True, eq=False)
class Begun(gm.ContinuousFeatures):
    """Starts where it is told to."""

    begun: Tensor | None = None

    def random(self, inputs, at, generator):
        return {at: self.begun.clone()}


def test_a_start_that_is_a_metamer_stays(pose: Poser):
    x, weight = drawn(5, 10, 16, 4)
    first, _, _ = found_by(pose, x, weight)
    assert float((first - x).norm()) > 1
    problem = posed(pose, x, weight)
    object.__setattr__(problem.blocks[0], "vary", Begun(begun=first))
    again = Exact().run(problem, generator())
    close(again.inputs["x"], first)
    assert again.steps <= 1


# ---------------------------------------------------------------------- independent references


def nearest_by_scipy(start: Tensor, x: Tensor, weight: Tensor, low, high) -> Tensor:
    """min ½‖x' − start‖² with Wᵀx' = Wᵀx within the bounds, a row at a time, from SLSQP."""
    rows, w = [], weight.numpy()
    for begun, reference in zip(start.numpy(), x.numpy(), strict=True):
        result = minimize(
            lambda v, begun=begun: 0.5 * float(((v - begun) ** 2).sum()),
            reference,
            jac=lambda v, begun=begun: v - begun,
            bounds=[(low, high)] * len(begun),
            constraints={
                "type": "eq",
                "fun": lambda v, reference=reference: w.T @ (v - reference),
                "jac": lambda v: w.T,
            },
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        rows.append(result.x)
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (None, 1.0), (0.0, 1.0), (-0.1, 1.2)])
def test_equals_scipy(low, high, pose: Poser):
    x, weight = drawn(3, 8, 12, 4)
    vary = gm.ContinuousFeatures(low=low, high=high)
    found, start, solution = found_by(pose, x, weight, vary, seed=2)
    assert solution.notes == {"pinned_nodes": 0}
    close(found, nearest_by_scipy(start, x, weight, low, high), 1e-5)


def test_farthest_overlaps_as_little_as_the_linear_program_allows(pose: Poser):
    x, weight = drawn(4, 4, 12, 4)
    vary = gm.ContinuousFeatures(low=0.0, high=1.0)
    found, _, solution = found_by(pose, x, weight, vary, seek="farthest", steps=3000)
    assert solution.errors.item() < 1e-12
    moved = [row for row in range(4) if not torch.equal(found[row], x[row])]
    assert len(moved) >= 3
    for row in moved:
        goal = (weight.T @ x[row]).numpy()
        program = linprog(x[row].numpy(), A_eq=weight.T.numpy(), b_eq=goal, bounds=[(0, 1)] * 12)
        assert program.fun - 1e-7 <= float(found[row] @ x[row]) <= program.fun + 12 / 200


# ------------------------------------------------------------------------------ through models


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("seek", "low", "high", "layer"),
    [
        ("nearest", 0.0, 1.0, "first"),
        ("nearest", None, None, "second"),
        ("random", 0.0, None, ["first", "output"]),
        ("farthest", None, None, "first"),
    ],
)
def test_all_that_lies_behind_is_the_same(dtype, most, seek, low, high, layer):
    data = random_graph(40, width=24, kind="real", seed=5)
    data.x, model = data.x.to(dtype), seeded(lambda: Two(24)).to(dtype)
    vary = gm.ContinuousFeatures(low=low, high=high)
    m = gm.metamer(model, data, layer, vary=vary, search=Exact(seek=seek))
    assert m.fvu <= most
    assert m.scores["output_error"] <= most
    assert m.scores["prediction_match"] == 1.0
    assert m.scores["feature_similarity"] < 0.97
    assert m.data.x.dtype == dtype
    assert low is None or float(m.data.x.min()) >= low
    assert high is None or float(m.data.x.max()) <= high


@pytest.mark.parametrize("name", gm.zoo.MODELS)
def test_the_zoo(name):
    data = random_graph(40, width=24, kind="real")
    model = seeded(lambda: gm.zoo.MODELS[name](24, 3, hidden=8)).eval()
    m = gm.metamer(model, data, "layer2", search=Exact())
    assert m.activation_error <= 1e-5
    assert m.scores["output_error"] <= 1e-5
