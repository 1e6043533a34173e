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
from torch_geometric.data import Batch, Data, HeteroData

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.vary import Variable, Vary, vary_features
from graph_metamers.vary.base import blocks_of, many_random_inputs, random_inputs
from graph_metamers.vary.features import random_features
from graph_metamers.vary.largest import largest
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=40)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def binary(nodes: int, features: int, density: float = 0.3, seed: int = 0, dtype=torch.float32):
    """A binary matrix with at least one 0 and one 1."""
    x = (torch.rand(nodes, features, generator=generator(seed)) < density).to(dtype)
    x[0, 0], x[-1, -1] = 0, 1
    return x


def continuous(nodes: int, features: int, seed: int = 0) -> Tensor:
    return torch.rand(nodes, features, generator=generator(seed), dtype=torch.float64)


def started(vary: Vary, x: Tensor, seed: int = 0) -> Variable:
    return vary.start(Inputs(Data(x=x)), "x", generator(seed))


def hard(variable: Variable) -> Tensor:
    (x,) = variable.render().values()
    return x


# ------------------------------------------------------------------------------- by hand


def test_ones_are_the_largest_soft_values():
    """Of the whole matrix, or of each row, that has 2 and 1 ones in the reference."""
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    soft = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.7, 0.3]])
    wholes = {"fixed": [[1, 0, 0], [1, 1, 0]], "per_node": [[1, 0, 1], [1, 0, 0]]}
    for density, expected in wholes.items():
        variable = started(gm.BinaryFeatures(density=density), x)
        with torch.no_grad():
            variable.parameters[0].copy_(soft)
        assert hard(variable).tolist() == expected


@quick
@given(nodes=st.integers(2, 12), features=st.integers(1, 12), seed=st.integers(0, 1000))
def test_binary_keeps_its_ones_wherever_the_soft_values_go(nodes, features, seed):
    data = binary(nodes, features, 0.4, seed)
    variable = started(gm.BinaryFeatures(), data, seed)
    assert int(hard(variable).sum()) == int(data.sum())
    (soft,) = variable.parameters
    # Few different values: many ties, infinities and NaN among them.
    values = torch.tensor([0.0, -0.0, 1.0, 1e30, -1e30, math.inf, -math.inf, math.nan])
    with torch.no_grad():
        soft.copy_(values[torch.randint(8, soft.shape, generator=generator(seed))])
    x = hard(variable)
    assert int(x.sum()) == int(x.count_nonzero()) == int(data.sum())


# ------------------------------------------------------------------- largest, against two others


def stable(values: Tensor, count: int) -> set[int]:
    """The documented answer, by a stable sort: of equal values those that come first."""
    order = np.argsort(-values.numpy(), kind="stable")
    return set(order[:count].tolist())


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
    variable = started(gm.BinaryFeatures(slope=slope), data)
    (soft,) = variable.parameters
    upstream = torch.randn(shape[::-1], generator=generator(2), dtype=torch.float64)
    ours = hard(variable)
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
    variable = started(
        gm.BinaryFeatures(slope=slope, margin=margin), binary(6, 4, dtype=torch.float64)
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


BOUNDS = [(0.0, None), (None, None), (None, 0.6), (0.2, 0.7)]


@pytest.mark.parametrize(("low", "high"), BOUNDS)
def test_continuous_is_clamp_with_its_gradient(low, high):
    data = continuous(30, 20)
    vary = gm.ContinuousFeatures(low=low, high=high)
    data = data.clamp(low, high) if (low, high) != (None, None) else data - 0.5
    variable = started(vary, data)
    assert variable.penalty() is None
    (soft,) = variable.parameters
    with torch.no_grad():
        soft.mul_(3).sub_(0.5)  # many entries beyond either side
    upstream = torch.randn(30, 20, generator=generator(3), dtype=torch.float64)
    x = hard(variable)
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
    data = torch.tensor([[low, low + width], [low + width, low]], dtype=torch.float64)
    variable = started(gm.ContinuousFeatures(low=low, high=low + width), data)
    with torch.no_grad():
        variable.parameters[0].mul_(scale)
    x = hard(variable).detach()
    assert low <= float(x.min())
    assert float(x.max()) <= low + width


# ------------------------------------------------------------------------------------- start


def test_start_is_equation_7_with_the_given_noise():
    x = continuous(40, 6)
    noise = torch.randn(40, 6, generator=generator(5), dtype=torch.float64)
    mean = x.numpy().mean(0)
    spread = x.numpy().std(0, ddof=1)
    np.testing.assert_allclose(
        random_features(x, generator(5)).numpy(), mean + spread * noise.numpy(), rtol=1e-12
    )


def test_a_constant_column_and_a_single_node_start_at_their_mean():
    x = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    assert random_features(x, generator())[:, 0].tolist() == [1.0, 1.0]
    assert random_features(x[:1], generator()).tolist() == [[1.0, 2.0]]


def test_start_depends_on_the_generator_alone():
    data = binary(20, 10)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (hard(started(gm.BinaryFeatures(), data, seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "vary",
    [
        gm.BinaryFeatures(),
        gm.BinaryFeatures(density="per_node"),
        gm.ContinuousFeatures(),
        gm.ContinuousFeatures(low=None, high=1.5),
    ],
    ids=str,
)
def test_many_random_graphs_are_those_drawn_one_by_one(vary, dtype):
    data = gm.datasets.csbm(nodes=300, features=260)  # enough for a sampled threshold
    inputs = Inputs(Data(x=data.x.to(dtype)))
    one_by_one = generator(5)
    for changed in itertools.islice(vary.randoms(inputs, "x", generator(5)), 6):
        assert torch.equal(changed["x"], vary.random(inputs, "x", one_by_one)["x"])


def test_the_reference_is_not_changed():
    x = binary(20, 10)
    before = x.clone()
    assert hard(started(gm.BinaryFeatures(), x)) is not x
    assert torch.equal(x, before)


# --------------------------------------------------------------------------- batches and types


@pytest.mark.parametrize("seed", range(5))
def test_each_graph_of_a_batch_keeps_its_ones(seed):
    """Graphs of 3, 5 and 4 nodes; the largest soft values of each, wherever others lie."""
    xs = [binary(nodes, 6, share, seed) for nodes, share in ((3, 0.1), (5, 0.8), (4, 0.4))]
    inputs = Inputs.of(Batch.from_data_list([Data(x=x) for x in xs]))
    variable = gm.BinaryFeatures().start(inputs, "x", generator(seed))
    (soft,) = variable.parameters
    with torch.no_grad():
        soft[3:8] += 10  # would have all ones, were they of the whole batch
    parts = hard(variable).split([3, 5, 4])
    for x, own, values in zip(xs, parts, soft.detach().split([3, 5, 4]), strict=True):
        count = int(x.sum())
        wanted = torch.zeros(x.numel())
        wanted[values.reshape(-1).topk(count).indices] = 1
        assert torch.equal(own.reshape(-1), wanted)


def test_several_inputs_vary_by_name():
    data = HeteroData()
    data["paper"].x, data["author"].x = binary(9, 5), continuous(6, 4)
    data["paper"].pos = torch.ones(9, 2)
    inputs = Inputs.of(data)
    blocks = blocks_of(None, inputs, vary_features)
    assert [str(b) for b in blocks] == [
        f"paper.x: {gm.BinaryFeatures()}",
        f"author.x: {gm.ContinuousFeatures()}",
    ]
    start = random_inputs(blocks, inputs, generator(1))
    many = many_random_inputs(blocks, inputs, generator(1))
    for drawn in (start, next(many)):
        assert not torch.equal(drawn["author.x"], inputs["author.x"])
        assert int(drawn["paper.x"].sum()) == int(data["paper"].x.sum())
        assert drawn["paper.pos"] is data["paper"].pos
        assert torch.equal(drawn["author.x"], start["author.x"])
    (block,) = blocks_of({"paper.pos": gm.ContinuousFeatures(low=None)}, inputs, vary_features)
    assert torch.equal(block.value(inputs), data["paper"].pos)
    for wrong in (3, {}, {"paper.x": 3}):
        with pytest.raises(gm.InputError, match="vary must be a configured one"):
            blocks_of(wrong, inputs, vary_features)
    with pytest.raises(gm.InputError, match=r"The data has no 'paper\.z'"):
        blocks_of({"paper.z": gm.BinaryFeatures()}, inputs, vary_features)
    with pytest.raises(gm.InputError, match="the data has no float matrix x"):
        blocks_of(None, Inputs(Data(pos=torch.ones(2, 2))), vary_features)


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
    assert vary_features(Inputs(Data(x=torch.tensor(x)))) == expected


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (gm.BinaryFeatures, {"slope": 0.0}, "slope must be positive and finite; got 0.0"),
        (gm.BinaryFeatures, {"slope": math.nan}, "slope must be positive and finite"),
        (gm.BinaryFeatures, {"margin": -1.0}, "margin must be a number of at least 0; got -1.0"),
        (gm.BinaryFeatures, {"density": "learned"}, "density must be 'fixed' or 'per_node'"),
        (gm.ContinuousFeatures, {"low": 1.0, "high": 1.0}, "low and high must be numbers"),
        (gm.ContinuousFeatures, {"low": math.nan}, "low and high must be numbers"),
    ],
)
def test_settings_out_of_range(kind, options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        kind(**options)


@pytest.mark.parametrize(
    ("vary", "x", "sentence"),
    [
        (gm.BinaryFeatures(), [[0.0, 0.25], [2.0, 1.0]], "holds 2 others, such as 0.25. Use vary="),
        (gm.BinaryFeatures(), [[0.0, 0.0]], "every entry is 0"),
        (gm.BinaryFeatures(), [[1.0, 1.0]], "every entry is 1"),
        (gm.ContinuousFeatures(), [[-0.5, 2.0]], r"data.x goes from -0.5 to 2. Widen the bounds"),
        (gm.ContinuousFeatures(high=1.0), [[0.5, 2.0]], r"must hold the reference"),
        (gm.ContinuousFeatures(), [[1, 2]], r"floating point matrix .*; got int64 .*x\.float\(\)"),
        (gm.ContinuousFeatures(), [1.0, 2.0], r"got float32 \[2\]\. Reshape it to one row a node"),
        (gm.ContinuousFeatures(), [[], []], r"with at least one entry; got float32 \[2, 0\]"),
    ],
)
def test_a_reference_of_another_kind_is_refused(vary, x, sentence):
    for use in (lambda i: vary.check(i, "x"), lambda i: vary.start(i, "x", generator())):
        with pytest.raises(gm.InputError, match=sentence):
            use(Inputs(Data(x=torch.tensor(x))))


# ------------------------------------------------------------------------------- product

VARIES = [
    gm.BinaryFeatures(),
    gm.BinaryFeatures(slope=3.0, margin=0.5),
    gm.BinaryFeatures(density="per_node"),
    gm.ContinuousFeatures(),
    gm.ContinuousFeatures(low=0.2, high=0.6),
    gm.ContinuousFeatures(low=None),
]


@pytest.mark.parametrize("vary", VARIES, ids=str)
@pytest.mark.parametrize("shape", [(7, 5), (700, 400)])  # one block of rows, and two
def test_the_product_is_that_of_the_rendered_features_with_its_gradient(vary, shape):
    x = binary(*shape, density=0.02, dtype=torch.float64)  # some nodes have no ones
    if isinstance(vary, gm.ContinuousFeatures):
        x = continuous(*shape, seed=1).clamp(0.2, 0.6)
    weight = torch.randn(shape[1], 3, generator=generator(2), dtype=torch.float64)
    wanted = torch.randn(shape[0], 3, generator=generator(3), dtype=torch.float64)
    variable = started(vary, x)
    for _ in range(2):  # ones that are elsewhere the second time
        changed = variable.render()
        plain = changed["x"] @ weight
        product = variable.product(changed, weight)
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
