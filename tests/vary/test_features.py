"""What may vary about features: the hard matrix, the gradient through it, and its start."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import grad
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.search import Adam, Problem
from graph_metamers.vary.features import random_features, with_features
from graph_metamers.vary.largest import largest

quick = settings(deadline=None, max_examples=40)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def binary(nodes: int, features: int, density: float = 0.3, seed: int = 0, dtype=torch.float32):
    """A binary matrix with at least one 0 and one 1."""
    x = (torch.rand(nodes, features, generator=generator(seed)) < density).to(dtype)
    x[0, 0], x[-1, -1] = 0, 1
    return Data(x=x)


def continuous(nodes: int, features: int, seed: int = 0, dtype=torch.float64) -> Data:
    return Data(x=torch.rand(nodes, features, generator=generator(seed), dtype=dtype))


# ---------------------------------------------------------------------------- number of ones


@quick
@given(
    nodes=st.integers(2, 30),
    features=st.integers(1, 30),
    density=st.floats(0, 1),
    seed=st.integers(0, 1000),
    how=st.sampled_from(["fixed", "learned"]),
)
def test_binary_start_has_exactly_the_references_ones(nodes, features, density, seed, how):
    data = binary(nodes, features, density, seed)
    x = gm.BinaryFeatures(density=how).start(data, generator(seed)).render().x
    assert x.unique().tolist() == [0, 1]
    assert int(x.sum()) == int(data.x.sum())


@quick
@given(nodes=st.integers(2, 12), features=st.integers(1, 12), seed=st.integers(0, 1000))
def test_binary_keeps_its_ones_wherever_the_soft_values_go(nodes, features, seed):
    data = binary(nodes, features, 0.4, seed)
    variable = gm.BinaryFeatures().start(data, generator(seed))
    (soft,) = variable.parameters
    # Few different values: many ties, infinities and NaN among them.
    values = torch.tensor([0.0, -0.0, 1.0, 1e30, -1e30, math.inf, -math.inf, math.nan])
    with torch.no_grad():
        soft.copy_(values[torch.randint(8, soft.shape, generator=generator(seed))])
    x = variable.render().x
    assert int(x.sum()) == int(x.count_nonzero()) == int(data.x.sum())


# ------------------------------------------------------------------- largest, against two others


def stable(values: Tensor, count: int) -> set[int]:
    """The documented answer, by a stable sort: of equal values those that come first."""
    order = np.argsort(-values.numpy(), kind="stable")
    return set(order[:count].tolist())


LIMIT = 4 * (1 << 14)  # below this many entries nothing is sampled


@quick
@given(
    values=st.lists(st.integers(-3, 3) | st.floats(-2, 2, width=32), min_size=1, max_size=60),
    share=st.floats(0, 1),
)
def test_largest_takes_the_first_of_equal_values(values, share):
    values = torch.tensor([float(v) for v in values])
    count = max(1, round(share * len(values)))
    chosen = largest(values, count)
    assert set(chosen.tolist()) == stable(values, count)
    assert len(chosen) == count


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1, 100_003, 300_000])
@pytest.mark.parametrize("share", [1e-5, 0.01, 0.2, 0.6])
def test_largest_is_topk_on_random_values(size, share):
    values = torch.randn(size, generator=generator(size), dtype=torch.float64)
    count = max(1, int(share * size))
    expected = values.topk(count).indices  # no ties among them: the set is unique
    assert len(values[expected].unique()) == count
    assert set(largest(values, count).tolist()) == set(expected.tolist())


def sampled_places(size: int) -> Tensor:
    return torch.arange(1 << 14) * 2_654_435_761 % size


def adversarial(kind: str, size: int = 200_000) -> Tensor:
    """Values for which a sample says little, or something wrong."""
    noise = torch.rand(size, generator=generator(1))
    if kind == "constant":
        return torch.full((size,), 0.5)
    if kind == "ascending":
        return noise.sort().values
    if kind == "descending":
        return noise.sort(descending=True).values
    if kind == "few rows":  # all that is large lies in the last hundredth
        return noise + torch.where(torch.arange(size) >= size - size // 100, 10.0, 0.0)
    if kind == "few columns":  # of a matrix with 200 columns
        return noise + torch.where(torch.arange(size) % 200 == 7, 10.0, 0.0)
    seen = torch.zeros(size)
    seen[sampled_places(size)] = 10.0
    return noise + seen if kind == "sampled are large" else noise - seen


KINDS = ["constant", "ascending", "descending", "few rows", "few columns"]


@pytest.mark.parametrize("kind", [*KINDS, "sampled are large", "sampled are small"])
@pytest.mark.parametrize("count", [1, 1000, 2001, 60_000])
def test_largest_survives_values_that_mislead_the_sample(kind, count):
    values = adversarial(kind)
    assert set(largest(values, count).tolist()) == stable(values, count)


@pytest.mark.parametrize("size", [50, 200_000])
def test_nan_is_least_of_all(size):
    values = torch.randn(size, generator=generator())
    values[::2] = math.nan
    assert not largest(values, size // 10).remainder(2).eq(0).any()
    assert len(largest(values, size * 3 // 4)) == size * 3 // 4


# --------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("slope", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(7, 5), (700, 400)])  # one block of rows, and two
def test_straight_through_gradient_is_that_of_plain_autograd(slope, shape):
    data = binary(*shape, dtype=torch.float64)
    variable = gm.BinaryFeatures(slope=slope).start(data, generator())
    (soft,) = variable.parameters
    upstream = torch.randn(shape[::-1], generator=generator(2), dtype=torch.float64)
    ours = variable.render().x
    # Transposed, as a model may do: the incoming gradient is then not contiguous.
    (gradient,) = torch.autograd.grad((ours.t() * upstream).sum(), [soft])

    p = torch.sigmoid(slope * soft)
    plain = p + (ours.detach() - p).detach()  # Eq. 9, word for word
    (expected,) = torch.autograd.grad((plain.t() * upstream).sum(), [soft])
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-15)
    p = p.detach()
    torch.testing.assert_close(gradient, upstream.t() * slope * p * (1 - p), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("slope", "margin"), [(1.0, 0.5), (3.0, 2.0)])
def test_margin_penalty_is_equation_10(slope, margin):
    variable = gm.BinaryFeatures(slope=slope, margin=margin).start(
        binary(6, 4, dtype=torch.float64), generator()
    )
    (soft,) = variable.parameters
    p = 1 / (1 + np.exp(-slope * soft.detach().numpy()))
    assert float(variable.penalty().detach()) == pytest.approx(
        margin * (p * (1 - p)).mean(), rel=1e-12
    )
    (gradient,) = torch.autograd.grad(variable.penalty(), [soft])
    for place in [(0, 0), (2, 3), (5, 1)]:  # central differences, step 1e-6: error about 1e-10
        values = []
        for shift in (1e-6, -1e-6):
            with torch.no_grad():
                soft[place] += shift
                values.append(float(variable.penalty().detach()))
                soft[place] -= shift
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-8)


def test_no_margin_no_penalty():
    assert gm.BinaryFeatures().start(binary(6, 4), generator()).penalty() is None
    assert gm.ContinuousFeatures().start(continuous(6, 4), generator()).penalty() is None


def test_the_margin_drives_probabilities_apart():
    """p(1 − p) is greatest at p = 1/2: lowering it, as Eq. 10 says, drives P to 0 and 1."""
    variable = gm.BinaryFeatures(margin=1.0).start(binary(6, 4), generator())
    (soft,) = variable.parameters
    (gradient,) = torch.autograd.grad(variable.penalty(), [soft])
    assert torch.equal(gradient.sign(), -soft.detach().sign())


BOUNDS = [(0.0, None), (None, None), (None, 0.6), (0.2, 0.7)]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_continuous_is_clamp_with_its_gradient(low, high):
    data = continuous(30, 20)
    vary = gm.ContinuousFeatures(low=low, high=high)
    data.x = data.x.clamp(low, high) if (low, high) != (None, None) else data.x - 0.5
    variable = vary.start(data, generator())
    (soft,) = variable.parameters
    with torch.no_grad():
        soft.mul_(3).sub_(0.5)  # many entries beyond either side
    upstream = torch.randn(30, 20, generator=generator(3), dtype=torch.float64)
    x = variable.render().x
    (gradient,) = torch.autograd.grad((x * upstream).sum(), [soft])
    x = x.detach()

    plain = soft if (low, high) == (None, None) else soft.clamp(low, high)
    (expected,) = torch.autograd.grad((plain * upstream).sum(), [soft])
    assert torch.equal(x, plain)
    assert torch.equal(gradient, expected)
    for bound, least in ((low, True), (high, False)):
        if bound is not None:
            assert (float(x.min()) if least else float(x.max())) == bound  # reached, not passed
    if low is None:
        assert float(x.min()) == float(soft.detach().min())
    if high is None:
        assert float(x.max()) == float(soft.detach().max())


@quick
@given(low=st.floats(-3, 3), width=st.floats(0.01, 5), scale=st.floats(0.1, 100))
def test_bounds_hold_exactly(low, width, scale):
    data = Data(x=torch.tensor([[low, low + width], [low + width, low]], dtype=torch.float64))
    variable = gm.ContinuousFeatures(low=low, high=low + width).start(data, generator())
    with torch.no_grad():
        variable.parameters[0].mul_(scale)
    x = variable.render().x.detach()
    assert low <= float(x.min())
    assert float(x.max()) <= low + width


# ------------------------------------------------------------------------------------- start


def test_start_is_equation_7_with_the_given_noise():
    x = continuous(40, 6).x
    noise = torch.randn(40, 6, generator=generator(5), dtype=torch.float64)
    mean = x.numpy().mean(0)
    spread = x.numpy().std(0, ddof=1)
    np.testing.assert_allclose(
        random_features(x, generator(5)).numpy(), mean + spread * noise.numpy(), rtol=1e-12
    )


def test_start_has_the_column_means_and_spreads():
    rows = 20_000
    scale = torch.tensor([0.01, 1.0, 30.0], dtype=torch.float64)
    x = torch.rand(rows, 3, generator=generator(), dtype=torch.float64) * scale + scale
    start = random_features(x, generator(7))
    spread = x.std(0)
    # Five standard errors: of a mean τ/√n, of a standard deviation τ/√(2n).
    assert ((start.mean(0) - x.mean(0)).abs() < 5 * spread / math.sqrt(rows)).all()
    assert ((start.std(0) - spread).abs() < 5 * spread / math.sqrt(2 * rows)).all()


def test_a_constant_column_and_a_single_node_start_at_their_mean():
    x = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    assert random_features(x, generator())[:, 0].tolist() == [1.0, 1.0]
    assert random_features(x[:1], generator()).tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("vary", [gm.BinaryFeatures(), gm.ContinuousFeatures()], ids=str)
def test_start_depends_on_the_generator_alone(vary):
    data = binary(20, 10)
    torch.manual_seed(1)
    first = vary.start(data, generator(3)).parameters[0]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second = vary.start(data, generator(3)).parameters[0]
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, vary.start(data, generator(4)).parameters[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "vary",
    [
        *(gm.BinaryFeatures(density=kept) for kept in ("fixed", "per_node", "learned")),
        gm.ContinuousFeatures(),
        gm.ContinuousFeatures(low=None, high=1.5),
    ],
    ids=str,
)
def test_many_random_graphs_are_those_drawn_one_by_one(vary, dtype):
    data = gm.datasets.csbm(nodes=300, features=260)  # enough for a sampled threshold
    data.x = data.x.to(dtype)
    one_by_one = torch.Generator().manual_seed(5)
    drawn = vary.randoms(data, torch.Generator().manual_seed(5))
    for graph in itertools.islice(drawn, 6):
        assert torch.equal(graph.x, vary.random(data, one_by_one).x)


def test_the_reference_is_not_changed_and_the_rest_is_shared():
    data = binary(20, 10)
    data.edge_index = torch.tensor([[0, 1], [1, 0]])
    before = data.x.clone()
    graph = gm.BinaryFeatures().start(data, generator()).render()
    assert graph.edge_index is data.edge_index
    assert torch.equal(data.x, before)
    other = with_features(data, before + 1)
    assert torch.equal(data.x, before)
    assert torch.equal(other.x, before + 1)


# --------------------------------------------------------------------------- learned density


def test_learned_density_gradient_is_the_documented_surrogate():
    data = binary(50, 40, 0.3, dtype=torch.float64)
    variable = gm.BinaryFeatures(density="learned").start(data, generator())
    soft, logit = variable.parameters
    upstream = torch.randn(50, 40, generator=generator(1), dtype=torch.float64)
    _, gradient = torch.autograd.grad((variable.render().x * upstream).sum(), [soft, logit])

    ones = int(data.x.sum())
    band = ones // 20
    order = soft.detach().flatten().argsort(descending=True)
    nearest = order[ones - band : ones + band]  # half of them ones, half the next to become one
    rho = ones / data.x.numel()
    by_density = data.x.numel() * float(upstream.flatten()[nearest].mean())
    assert float(gradient) == pytest.approx(by_density * rho * (1 - rho), rel=1e-9)


@pytest.mark.parametrize(("wanted", "direction"), [(0.5, 1), (0.1, -1)])
def test_learned_density_moves_to_where_the_error_is_lower(wanted, direction):
    data = binary(40, 30, 0.3)
    ones = int(data.x.sum())

    def search(density):
        problem = Problem(
            data=data,
            vary=gm.BinaryFeatures(density=density),
            targets=[torch.tensor([[wanted]])],
            activations=lambda graph: [graph.x.mean().view(1, 1)],
            tol=1e-4,
        )
        return Adam(lr=0.02, steps=200).run(problem, generator())

    learned, fixed = search("learned"), search("fixed")
    moved = int(learned.graph.x.sum()) - ones
    assert moved * direction > 0
    # The last steps swing around the goal by lr · ρ(1 − ρ) ≤ 0.005.
    assert float(learned.graph.x.mean()) == pytest.approx(wanted, abs=0.01)
    assert learned.error < 0.01 * learned.history[0]
    assert int(fixed.graph.x.sum()) == ones  # the same problem, and nothing that could be done


def test_learned_density_never_empties_or_fills_the_matrix():
    data = binary(10, 10)
    variable = gm.BinaryFeatures(density="learned").start(data, generator())
    for logit, expected in ((-1e3, 1), (1e3, 99)):
        with torch.no_grad():
            variable.parameters[1].fill_(logit)
        graph = variable.render()
        assert int(graph.x.sum()) == expected
        gradients = torch.autograd.grad(graph.x.sum(), variable.parameters)
        assert all(gradient.isfinite().all() for gradient in gradients)


# ------------------------------------------------------------------- kinds, settings, sentences


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([[0.0, 1.0], [1.0, 1.0]], gm.BinaryFeatures()),
        ([[0.0, 0.5], [1.0, 1.0]], gm.ContinuousFeatures(low=0.0)),
        ([[0.0, -1.0], [1.0, 1.0]], gm.ContinuousFeatures(low=None)),
    ],
)
def test_kind_is_read_from_x(x, expected):
    from graph_metamers.vary import vary_features

    assert vary_features(Data(x=torch.tensor(x))) == expected


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"slope": 0.0}, "slope must be positive and finite; got 0.0"),
        ({"slope": math.inf}, "slope must be positive and finite"),
        ({"slope": math.nan}, "slope must be positive and finite"),
        ({"margin": -1.0}, "margin must be zero or more and finite; got -1.0"),
        ({"margin": math.nan}, "margin must be zero or more"),
    ],
)
def test_binary_settings_out_of_range(settings, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.BinaryFeatures(**settings)


@pytest.mark.parametrize(
    ("low", "high", "sentence"),
    [
        (1.0, 1.0, "low must be less than high; got low=1.0, high=1.0"),
        (2.0, 1.0, "low must be less than high"),
        (math.nan, None, "low and high must be numbers"),
        (None, math.nan, "low and high must be numbers"),
    ],
)
def test_continuous_settings_out_of_range(low, high, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.ContinuousFeatures(low=low, high=high)


@pytest.mark.parametrize(
    ("vary", "x", "sentence"),
    [
        (gm.BinaryFeatures(), [[0.0, 0.25], [2.0, 1.0]], "holds 2 others, such as 0.25. Use vary="),
        (gm.BinaryFeatures(), [[0.0, 0.0]], "every entry is 0"),
        (gm.BinaryFeatures(), [[1.0, 1.0]], "every entry is 1"),
        (gm.ContinuousFeatures(), [[-0.5, 2.0]], r"data.x goes from -0.5 to 2. Widen the bounds"),
        (gm.ContinuousFeatures(high=1.0), [[0.5, 2.0]], r"must hold the reference"),
    ],
)
def test_a_reference_of_another_kind_is_refused(vary, x, sentence):
    data = Data(x=torch.tensor(x))
    with pytest.raises(gm.InputError, match=sentence):
        vary.check(data)
    with pytest.raises(gm.InputError, match=sentence):
        vary.start(data, generator())


# --------------------------------------------------------------------------- per-node density


@pytest.mark.parametrize(
    "search", [gm.Adam(lr=0.1, steps=8), gm.Swap(steps=8)], ids=["adam", "swap"]
)
def test_per_node_density_keeps_each_nodes_number_of_ones(search):
    data = gm.datasets.csbm(nodes=60, features=40, density=0.1)
    data.x[7] = 0
    data.x[8, :30] = 1
    vary = gm.BinaryFeatures(density="per_node")
    start = vary.start(data, generator()).render().x
    assert torch.equal(start.sum(dim=1), data.x.sum(dim=1))
    assert not torch.equal(start, data.x)
    m = gm.metamer(gm.zoo.GCN(40, 3), data, "layer1", vary=vary, search=search)
    assert torch.equal(m.data.x.sum(dim=1), data.x.sum(dim=1))
    assert m.activation_error < m.history[0]


def test_per_node_ones_are_the_largest_of_each_row():
    data = gm.datasets.csbm(nodes=30, features=20, density=0.2)
    variable = gm.BinaryFeatures(density="per_node").start(data, generator())
    (soft,) = variable.parameters
    x = variable.render().x
    for row, values, ones in zip(x, soft.detach(), data.x.sum(dim=1).int(), strict=True):
        largest = values.sort(descending=True).indices[: int(ones)]
        assert sorted(largest.tolist()) == row.nonzero().view(-1).tolist()


# ------------------------------------------------------------------------------- product

VARIES = [
    gm.BinaryFeatures(),
    gm.BinaryFeatures(slope=3.0, margin=0.5),
    gm.BinaryFeatures(density="per_node"),
    gm.BinaryFeatures(density="learned"),
    gm.ContinuousFeatures(),
    gm.ContinuousFeatures(low=0.2, high=0.6),
    gm.ContinuousFeatures(low=None),
]


@pytest.mark.parametrize("vary", VARIES, ids=str)
@pytest.mark.parametrize("shape", [(7, 5), (700, 400)])  # one block of rows, and two
def test_the_product_is_that_of_the_rendered_features_with_its_gradient(vary, shape):
    data = binary(*shape, density=0.02, dtype=torch.float64)  # some nodes have no ones
    if isinstance(vary, gm.ContinuousFeatures):
        x = torch.rand(shape, generator=generator(1), dtype=torch.float64)
        data = Data(x=x.clamp(0.2, 0.6))
    weight = torch.randn(shape[1], 3, generator=generator(2), dtype=torch.float64)
    wanted = torch.randn(shape[0], 3, generator=generator(3), dtype=torch.float64)
    variable = vary.start(data, generator())
    for _ in range(2):  # ones that are elsewhere the second time
        graph = variable.render()
        plain = graph.x @ weight
        product = variable.product(graph, weight)
        torch.testing.assert_close(product, plain)
        found, expected = (
            [g.clone() for g in grad((y * wanted).sum(), variable.parameters, retain_graph=True)]
            for y in (product, plain)
        )
        assert all(bool(g.any()) for g in expected)
        torch.testing.assert_close(found, expected)
        with torch.no_grad():
            for parameter, gradient in zip(variable.parameters, expected, strict=True):
                parameter -= 0.1 * gradient / gradient.abs().max()
