"""Exact, the nearest point with the same X W: closed forms, SciPy and the KKT conditions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.probe.reads import LinearRead
from graph_metamers.search import Exact, Problem, Status
from helpers import left_as_found, seeded, unchecked_types

FREE = gm.ContinuousFeatures(low=None)
EDGES = torch.tensor([[0, 1], [1, 0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def graph(dtype=torch.float64, seed: int = 0) -> Data:
    data = gm.datasets.csbm(nodes=60, features=40, density=0.1)
    x = torch.rand(60, 40, generator=generator(seed), dtype=dtype)
    return Data(x=x, edge_index=data.edge_index)


def pose(x: Tensor, weight: Tensor, vary, tol: float = 1e-2) -> Problem:
    """h = X W and nothing else."""
    return Problem(
        data=Data(x=x, edge_index=EDGES),
        vary=vary,
        targets=[x @ weight],
        activations=lambda g: [g.x @ weight],
        find_read=lambda: LinearRead(weight, lambda y: [y]),
        tol=tol,
    )


def start_of(problem: Problem, seed: int = 0) -> Tensor:
    return problem.vary.start(problem.data, generator(seed)).render().x.detach().clone()


def drawn(seed: int, nodes: int, features: int, units: int) -> tuple[Tensor, Tensor]:
    g = generator(seed)
    x = torch.rand(nodes, features, generator=g, dtype=torch.float64)
    return x, torch.randn(features, units, generator=g, dtype=torch.float64)


def basis_of(weight: Tensor) -> Tensor:
    return torch.linalg.qr(weight).Q


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


# ------------------------------------------------------------------------------ known answers


def test_two_features_of_which_the_sum_is_read():
    """min ‖x' − s‖² with x'₁ + x'₂ = 1: the projection, and where it is negative the corner."""
    x = torch.tensor([[0.02, 0.98]] * 60, dtype=torch.float64)
    x[::2] = torch.tensor([0.97, 0.03], dtype=torch.float64)
    problem = pose(x, torch.ones(2, 1, dtype=torch.float64), gm.ContinuousFeatures())
    found = Exact().run(problem, generator())
    start = start_of(problem)
    first = ((start[:, 0] - start[:, 1] + 1) / 2).clamp(0, 1)
    expected = torch.stack([first, 1 - first], dim=1)
    torch.testing.assert_close(found.graph.x, expected, rtol=0, atol=1e-9)
    assert bool((first == 0).any())  # else this test shows nothing of the bounds


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), nodes=st.integers(2, 20), units=st.integers(1, 6))
def test_without_bounds_it_is_the_projection(seed, nodes, units):
    x, weight = drawn(seed, nodes, 10, units)
    problem = pose(x, weight, FREE)
    found = Exact().run(problem, generator(seed))
    start, q = start_of(problem, seed), basis_of(weight)
    expected = start + (x - start) @ q @ q.T
    torch.testing.assert_close(found.graph.x, expected, rtol=0, atol=1e-9)
    assert found.status is Status.MATCHED
    assert found.notes == {"pinned_nodes": 0}


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), units=st.integers(1, 6))
def test_without_bounds_the_farthest_is_the_reflection(seed, units):
    x, weight = drawn(seed, 8, 10, units)
    found = Exact(seek="farthest").run(pose(x, weight, FREE), generator(seed)).graph.x
    q = basis_of(weight)
    torch.testing.assert_close(found, 2 * x @ q @ q.T - x, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.norm(dim=1), x.norm(dim=1))
    torch.testing.assert_close(found @ weight, x @ weight)


def test_random_without_bounds_is_the_metamer_nearest_to_the_rows_in_another_order():
    x, weight = drawn(0, 8, 10, 3)
    found = Exact(seek="random").run(pose(x, weight, FREE), generator(5)).graph.x
    q = basis_of(weight)
    beside = found - found @ q @ q.T
    rows = x - x @ q @ q.T
    distances = torch.cdist(beside, rows)
    assert float(distances.min(dim=1).values.max()) < 1e-9
    assert sorted(distances.argmin(dim=1).tolist()) == list(range(8))


def test_weights_that_repeat_themselves_count_once():
    x, weight = drawn(1, 8, 10, 3)
    repeated = torch.cat([weight, weight @ torch.randn(3, 4, dtype=torch.float64)], dim=1)
    ones = Exact().run(pose(x, weight, gm.ContinuousFeatures()), generator())
    more = Exact().run(pose(x, repeated, gm.ContinuousFeatures()), generator())
    torch.testing.assert_close(ones.graph.x, more.graph.x, rtol=0, atol=1e-9)


# ---------------------------------------------------------------------- independent references


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, None), (None, 1.0), (0.0, 1.0), (-0.1, 1.2), (None, None)]
)
def test_equals_scipy(low, high):
    x, weight = drawn(3, 8, 12, 4)
    problem = pose(x, weight, gm.ContinuousFeatures(low=low, high=high))
    found = Exact().run(problem, generator(2))
    assert found.notes == {"pinned_nodes": 0}
    expected = nearest_by_scipy(start_of(problem, 2), x, weight, low, high)
    torch.testing.assert_close(found.graph.x, expected, rtol=0, atol=1e-5)


def test_farthest_within_bounds_overlaps_as_little_as_the_linear_program_allows():
    from scipy.optimize import linprog

    x, weight = drawn(4, 8, 12, 4)
    problem = pose(x, weight, gm.ContinuousFeatures(low=0.0, high=1.0))
    found = Exact(seek="farthest", steps=5000).run(problem, generator())
    assert found.error < 1e-12
    assert found.notes["pinned_nodes"] <= 2
    for row, reference in zip(found.graph.x, x, strict=True):
        if torch.equal(row, reference):  # pinned
            continue
        least = linprog(
            reference.numpy(),
            A_eq=weight.T.numpy(),
            b_eq=(weight.T @ reference).numpy(),
            bounds=[(0, 1)] * 12,
        ).fun
        assert least - 1e-7 <= float(row @ reference) <= least + 12 / 200


# ------------------------------------------------------------------------------ KKT conditions


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    nodes=st.integers(2, 12),
    features=st.integers(4, 20),
    units=st.integers(1, 8),
    low=st.sampled_from([None, 0.0, -0.3]),
    high=st.sampled_from([None, 1.0, 1.5]),
    seek=st.sampled_from(["nearest", "random"]),
)
def test_the_conditions_of_an_optimum(seed, nodes, features, units, low, high, seek):
    x, weight = drawn(seed, nodes, features, units)
    problem = pose(x, weight, gm.ContinuousFeatures(low=low, high=high))
    found = Exact(seek=seek).run(problem, generator(seed))
    y, q = found.graph.x, torch.linalg.svd(weight, full_matrices=False).U
    assert low is None or float(y.min()) >= low
    assert high is None or float(y.max()) <= high
    torch.testing.assert_close(y @ q, x @ q, rtol=0, atol=1e-6 * (1 + features))
    assert found.error < 1e-10
    if seek == "random":
        return
    start = start_of(problem, seed)
    for u in range(nodes):
        if torch.equal(y[u], x[u]):  # pinned
            continue
        at_low = y[u] == (low if low is not None else -torch.inf)
        at_high = y[u] == (high if high is not None else torch.inf)
        free = ~(at_low | at_high)
        difference = y[u] - start[u]
        scale = 1 + float(difference.abs().max())
        fitted = torch.linalg.lstsq(q[free], difference[free, None], driver="gelsd").solution[:, 0]
        rest = difference - q @ fitted
        assert float(rest[free].abs().max() if free.any() else 0) < 1e-6 * scale
        if int(torch.linalg.matrix_rank(q[free], rtol=1e-6)) < q.shape[1]:
            continue  # λ is one of many
        tolerance = 1e-5 * scale * (1 + float(fitted.norm()))
        assert bool((rest[at_low] >= -tolerance).all())
        assert bool((rest[at_high] <= tolerance).all())


def test_reads_are_exact_to_rounding():
    x, weight = drawn(9, 30, 24, 5)
    problem = pose(x, weight, gm.ContinuousFeatures())
    found = Exact().run(problem, generator())
    q = basis_of(weight)
    torch.testing.assert_close(found.graph.x @ q, x @ q, rtol=0, atol=1e-9)
    assert found.notes == {"pinned_nodes": 0}


class Fixed(gm.ContinuousFeatures):
    """Starts where it is told to."""

    begun: Tensor

    def start(self, data, generator):
        variable = super().start(data, generator)
        variable._soft.detach().copy_(type(self).begun)
        return variable


def test_a_start_that_is_a_metamer_stays():
    x, weight = drawn(5, 10, 16, 4)
    first = Exact().run(pose(x, weight, gm.ContinuousFeatures()), generator()).graph.x
    assert float((first - x).norm()) > 1
    Fixed.begun = first
    again = Exact().run(pose(x, weight, Fixed()), generator())
    torch.testing.assert_close(again.graph.x, first, rtol=0, atol=1e-9)
    assert again.steps <= 1


# ------------------------------------------------------------------------------- through models


def trained_like(dtype, features=40, depth=3):
    return seeded(lambda: gm.zoo.GCN(features, 3, hidden=8, depth=depth)).eval().to(dtype)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
@pytest.mark.parametrize("layer", ["layer1", "layer2", ["layer1", "output"]], ids=str)
@pytest.mark.parametrize(
    ("seek", "low", "high"),
    [
        ("nearest", 0.0, None),
        ("nearest", 0.0, 1.0),
        ("nearest", None, None),
        ("random", 0.0, None),
        ("random", 0.0, 1.0),
        ("farthest", None, None),
    ],
)
def test_all_that_lies_behind_is_the_same(dtype, most, layer, seek, low, high):
    # Another seed than the weights': of one stream, differences of nodes lie in the span of W.
    data, model = graph(dtype, seed=5), trained_like(dtype)
    vary = gm.ContinuousFeatures(low=low, high=high)
    m = gm.metamer(model, data, layer, vary=vary, search=Exact(seek=seek))
    assert m.matched
    assert m.activation_error <= most
    assert m.scores["output_error"] <= most
    assert m.scores["prediction_match"] == 1.0
    assert m.scores["feature_similarity"] < 0.95
    assert m.data.x.dtype == dtype
    assert low is None or float(m.data.x.min()) >= low
    assert high is None or float(m.data.x.max()) <= high
    assert m.notes["pinned_nodes"] == 0


@pytest.mark.parametrize("name", gm.zoo.MODELS)
def test_the_zoo(name):
    data = graph(torch.float32)
    model = seeded(lambda: gm.zoo.MODELS[name](40, 3, hidden=8)).eval()
    with left_as_found(model):
        m = gm.metamer(model, data, "layer2", search=Exact())
    assert m.activation_error <= 1e-5
    assert m.scores["output_error"] <= 1e-5
    assert float(m.data.x.min()) >= 0


@pytest.mark.parametrize(("low", "high"), [(0.0, None), (-1.0, None), (None, None)])
def test_farthest_is_farther_than_nearest(low, high):
    data, model = graph(), trained_like(torch.float64)
    vary = gm.ContinuousFeatures(low=low, high=high)
    similarity = {
        seek: gm.metamer(
            model, data, "layer1", vary=vary, search=Exact(seek=seek, steps=500)
        ).scores["feature_similarity"]
        for seek in ("nearest", "farthest")
    }
    assert similarity["farthest"] < similarity["nearest"] - 0.02


def test_a_map_that_is_one_to_one_leaves_only_the_reference():
    """As many units as features: X W determines X."""
    x, weight = drawn(6, 10, 6, 8)
    found = Exact().run(pose(x, weight, gm.ContinuousFeatures()), generator())
    torch.testing.assert_close(found.graph.x, x, rtol=0, atol=1e-6)
    assert found.error < 1e-10


def test_a_node_that_only_the_reference_fits_is_pinned_and_says_so():
    """The sum of a row that is zero, with low = 0, is that of no other row."""
    x, _ = drawn(7, 10, 6, 1)
    x[3] = 0
    found = Exact().run(
        pose(x, torch.ones(6, 1, dtype=torch.float64), gm.ContinuousFeatures()), generator()
    )
    torch.testing.assert_close(found.graph.x[3], x[3], rtol=0, atol=1e-12)
    others = torch.arange(10) != 3
    assert bool(((found.graph.x - x)[others].norm(dim=1) > 1e-3).all())
    assert found.notes["pinned_nodes"] <= 1
    assert found.error < 1e-12


def test_the_seed_decides():
    problem = pose(*drawn(8, 10, 12, 3), gm.ContinuousFeatures())
    a, b, c = (Exact().run(problem, generator(seed)).graph.x for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_watch_and_the_reference():
    x, weight = drawn(8, 10, 12, 3)
    problem, seen, before = pose(x, weight, gm.ContinuousFeatures()), [], x.clone()
    found = Exact().run(problem, generator(), watch=lambda *p: seen.append(p))
    assert [step for step, _, _ in seen] == list(range(found.steps + 1))
    assert {total for _, total, _ in seen} == {150}
    assert len(found.history) == found.steps + 1
    found.graph.x.zero_()
    assert torch.equal(x, before)


def test_the_budget_is_kept():
    found = Exact(steps=2).run(pose(*drawn(8, 10, 12, 3), gm.ContinuousFeatures()), generator())
    assert found.steps <= 2


def test_a_model_that_divides_by_zero_is_nonfinite():
    x, weight = drawn(8, 10, 12, 3)
    problem = pose(x, weight, gm.ContinuousFeatures())
    read = LinearRead(weight, lambda y: [y * torch.nan])
    object.__setattr__(problem, "find_read", lambda: read)
    object.__setattr__(problem, "activations", lambda g: [g.x @ weight * torch.nan])
    assert Exact().run(problem, generator()).status is Status.NONFINITE


# ----------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"steps": True}, "steps must be a whole number of at least 1; got True"),
        ({"seek": "far"}, r"seek must be one of 'nearest', 'random', 'farthest'; got 'far'\."),
    ],
)
def test_settings_out_of_range(options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        Exact(**options)


def test_binary_features_are_not_its_matter(small):
    model = trained_like(torch.float32)
    sentence = r"Exact moves real numbers and needs vary=ContinuousFeatures\(\); got BinaryFeatures"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, small, "layer1", search=Exact())


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(40), GCNConv(40, 8)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(self.norm(x), edge_index)


def test_a_layer_that_does_more_with_the_features():
    sentence = r"search=Exact\(\) needs a layer that meets data\.x only through weight .* or Adam"
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(Normed(), graph(torch.float32), "conv", search=Exact())
