"""Match: FVU and Eq. 5 by hand, what searches lower, and what changes neither."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure import Match
from graph_metamers.measure.null import node_match
from graph_metamers.units import Units

quick = settings(deadline=None, max_examples=30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def units(*sizes: int) -> Units:
    graph = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Units("node", "", graph, len(sizes))


def match(*activations: Tensor, sizes=None, tol: float = 0.01, **rest) -> Match:
    labels = [f"layer {place}" for place in range(len(activations))]
    of = [units(*(sizes or [len(h)])) for h in activations]
    return Match(labels, list(activations), of, tol=tol, **rest)


# Mean (2, 2); squared distances of the rows from it 5, 5, 1, 1: spread 3; ‖h‖² = 44.
H = torch.tensor([[0.0, 1.0], [4.0, 3.0], [2.0, 3.0], [2.0, 1.0]])
OTHER = H + torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 0.0]])  # squares 1, 4, 0, 9


# ------------------------------------------------------------------------------ worked by hand


def test_one_graph():
    m = match(H)
    assert m.fvu([OTHER]).tolist() == [[pytest.approx(14 / 12)]]
    assert m.activation_errors([OTHER]).tolist() == [[pytest.approx(14 / 44)]]
    assert m.squares([OTHER])[0].tolist() == [1, 4, 0, 9]
    assert m.by_row([OTHER]).tolist() == pytest.approx([1 / 3, 4 / 3, 0, 3])
    assert m.fvu([H.mean(0).expand(4, 2)]).tolist() == [[1]]  # the mean row, by definition
    assert m.fvu([H]).tolist() == [[0]]


def test_a_batch_has_one_spread_and_an_error_for_each_graph():
    m = match(H, sizes=[1, 3])
    assert m.fvu([OTHER])[0].tolist() == pytest.approx([1 / 3, 13 / 9])
    assert m.activation_errors([OTHER])[0].tolist() == pytest.approx([1 / 1, 13 / 43])


@pytest.mark.parametrize("index", [[3, 0], [0, 3, 3], [True, False, False, True]])
def test_rows_that_must_match(index):
    m = match(H, index=torch.tensor(index))
    assert m.fvu([OTHER]).tolist() == [[pytest.approx((1 + 9) / 2 / 3)]]  # the spread is of all
    assert m.activation_errors([OTHER]).tolist() == [[pytest.approx(10 / (1 + 5))]]
    assert m.loss([OTHER]).tolist() == pytest.approx([10 / 6])
    assert [h.tolist() for h in m.chosen([OTHER])] == [[[1, 1], [5, 1]]]


def test_a_graph_without_such_rows_is_told():
    with pytest.raises(
        gm.InputError, match="Of graph 0 of the batch index names no row of layer 0"
    ):
        match(H, sizes=[1, 3], index=torch.tensor([1, 2]))


def test_pooled_rows_are_told_in_the_same_unit():
    """Each row is a graph: its own square by the spread over all rows."""
    m = match(H, sizes=[1, 1, 1, 1])
    assert m.fvu([OTHER])[0].tolist() == pytest.approx([1 / 3, 4 / 3, 0, 3])


def test_a_single_row_needs_others():
    h, other = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 5.0]])
    alone = match(h)
    assert not alone.by_fvu
    assert math.isnan(float(alone.fvu([other])))
    assert alone.errors(alone.parts([other])).tolist() == pytest.approx([1 / 25])  # Eq. 5
    assert alone.by_row([other]).tolist() == pytest.approx([1 / 25])
    # With (3, 0) and (3, 8) the mean is (3, 4) and the spread (0 + 16 + 16) / 3.
    beside = match(h, others=[[torch.tensor([[3.0, 0.0]])], [torch.tensor([[3.0, 8.0]])]])
    assert beside.by_fvu
    assert beside.fvu([other]).tolist() == [[pytest.approx(3 / 32)]]
    # Of several rows the spread is their own.
    several = match(H, others=[[100 * H]])
    assert several.fvu([OTHER]).tolist() == [[pytest.approx(14 / 12)]]


def test_several_layers_are_averaged():
    m = match(H, 2 * H, sizes=[1, 3])
    others = [OTHER, 2 * H]
    assert m.labels == ["layer 0", "layer 1"]
    assert m.fvu(others).tolist() == [pytest.approx([1 / 3, 13 / 9]), [0, 0]]
    assert m.loss(others).tolist() == pytest.approx([1 / 2, 13 / 43 / 2])
    assert m.errors(m.parts(others)).tolist() == pytest.approx([1 / 6, 13 / 18])
    assert m.by_row(others).tolist() == pytest.approx([1 / 6, 2 / 3, 0, 3 / 2])
    assert match(H, H[:2]).by_row([OTHER, H[:2]]) is None


def test_some_graphs():
    m = match(H, sizes=[1, 2, 1])
    some = m.of(torch.tensor([1, 2]))
    assert some.graphs == 2
    assert torch.equal(some.fvu([OTHER[1:]]), m.fvu([OTHER])[:, 1:])
    assert torch.equal(some.loss([OTHER[1:]]), m.loss([OTHER])[1:])


# ------------------------------------------------------------------------- what searches lower


@st.composite
def cases(draw) -> tuple[list[Tensor], list[Tensor], list[int]]:
    """Two layers of a batch of one to three graphs, in double precision."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    source = generator(draw(st.integers(0, 9999)))
    shapes = [(sum(sizes), 3), (sum(sizes), 2)]
    hs, others = (
        [torch.randn(s, generator=source, dtype=torch.float64) + 1 for s in shapes]
        for _ in range(2)
    )
    return hs, others, sizes


@quick
@given(cases())
def test_loss_residual_and_reported_errors_are_of_one_kind(case):
    hs, others, sizes = case
    m = match(*hs, sizes=sizes)
    loss = m.loss(others)
    one = match(hs[0], sizes=sizes)
    torch.testing.assert_close(one.loss(others[:1]), one.activation_errors(others[:1])[0])
    # Of several layers it falls where the FVU falls: the two differ by a factor of each graph.
    factor = loss / m.fvu(others).mean(0)
    again = [2 * h - other.flip(1) for h, other in zip(hs, others, strict=True)]
    torch.testing.assert_close(m.loss(again), factor * m.fvu(again).mean(0))
    torch.testing.assert_close(m.errors(m.parts(others)), m.fvu(others).mean(0))
    residual, graph = m.residual(others), m.graph_of_residual()
    squares = torch.zeros(len(sizes)).double().index_add(0, graph, residual.square())
    torch.testing.assert_close(squares, loss)
    torch.testing.assert_close(m.parts(m.chosen(others), chosen=True), m.parts(others))


def test_the_gradient_is_that_of_equation_5():
    m, other = match(H.double()), OTHER.double().requires_grad_()
    (gradient,) = torch.autograd.grad(m.loss([other]).sum(), other)
    torch.testing.assert_close(gradient, 2 * (OTHER - H).double() / 44)


def test_probes_have_the_curvature_for_their_mean():
    """E[ξ ξᵀ] = I / (layers ‖h_g‖²): 4,000 draws, five standard deviations."""
    m = match(H, 2 * H, sizes=[1, 3])
    draws = 4000
    sums = torch.zeros(8, 8, dtype=torch.float64)
    source = generator()
    for _ in range(draws):
        xi = m.probes(source)[0].double().view(-1)
        sums += torch.outer(xi, xi)
    scale = 2 * m.norms[0].double()[[0, 0] + 6 * [1]]
    found = sums / draws * (scale[:, None] * scale).sqrt()
    assert torch.allclose(found.diagonal(), torch.ones(8).double())  # signs: without noise
    assert float((found - torch.eye(8)).abs().max()) < 5 / draws**0.5
    several = m.probes(source, count=4)[0].double().square().sum(1)
    torch.testing.assert_close(several, 2 / scale.view(4, 2)[:, 0] / 4)


# ------------------------------------------------------------------------------------ precision


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float16, 1.0),
        (torch.float16, 2000.0),  # ‖h‖² overflows at 65504
        (torch.bfloat16, 1e30),
        (torch.float32, 1e25),
        (torch.float32, 1e-25),
        (torch.float64, 1e100),
    ],
)
def test_any_precision_and_size(dtype, scale):
    h, other = ((scale * t.double()).to(dtype) for t in (H, OTHER))
    m = match(h)
    for errors, value in (
        (m.fvu([other]), 14 / 12),
        (m.activation_errors([other]), 14 / 44),
        (m.loss([other]), 14 / 44),
        (m.errors(m.parts([other])), 14 / 12),
    ):
        rough = 0.05 if dtype in (torch.float16, torch.bfloat16) else 1e-5
        assert float(errors.squeeze()) == pytest.approx(value, rel=rough)


def test_a_silent_layer():
    silent = match(torch.zeros(3, 2))
    assert silent.loss([torch.ones(3, 2)]).isfinite().all()
    assert silent.fvu([torch.ones(3, 2)]).isnan().all()
    batch = match(torch.tensor([[0.0], [0.0], [2.0]]), sizes=[1, 2])  # one silent graph
    other = [torch.tensor([[1.0], [0.0], [2.0]])]
    assert batch.errors(batch.parts(other)).tolist() == pytest.approx(batch.fvu(other)[0].tolist())


# -------------------------------------------------------------------------------- what changes not


@st.composite
def near(draw) -> tuple[Tensor, Tensor, list[int]]:
    """Activations of a batch, and of another graph that is near in some rows."""
    sizes = draw(st.lists(st.integers(3, 8), min_size=1, max_size=3))
    source = generator(draw(st.integers(0, 9999)))
    h, noise = torch.randn(2, sum(sizes), 4, generator=source, dtype=torch.float64)
    far = torch.rand(sum(sizes), 1, generator=source) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    return h, h + noise * torch.where(far, 2.0, 1e-3), sizes


CHANGES = {
    "a shift of units": lambda t: t + torch.tensor([1e6, -50.0, 7.0, 0.0]).double(),
    "a common scale": lambda t: 1e4 * t,
    "a small scale": lambda t: 1e-4 * t,
    "permuted units": lambda t: t[:, [2, 0, 3, 1]],
    "dead units": lambda t: torch.cat([t, torch.zeros(len(t), 5).double()], dim=1),
    "constant units": lambda t: torch.cat([t, torch.full((len(t), 5), 9.0).double()], dim=1),
    "single precision": lambda t: t.float(),
}


def outcome(h: Tensor, other: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
    """All that the outcome stands on: FVU of each graph, and which rows match beyond chance."""
    rows = node_match(h, other, level=0.01, samples=99, generator=generator())
    return match(h, sizes=sizes).fvu([other])[0], rows.matched


@pytest.mark.parametrize("change", CHANGES)
@quick
@given(near())
def test_what_has_no_part_in_the_outcome(change, case):
    h, other, sizes = case
    fvu, matched = outcome(h, other, sizes)
    changed, rows = outcome(CHANGES[change](h), CHANGES[change](other), sizes)
    torch.testing.assert_close(changed, fvu, rtol=1e-4, atol=1e-9)
    assert torch.equal(rows, matched)


@quick
@given(near(), st.randoms(use_true_random=False))
def test_the_order_of_the_nodes_has_no_part_in_it(case, random):
    h, other, sizes = case
    order = list(range(sizes[0]))
    random.shuffle(order)
    order += range(sizes[0], len(h))
    fvu, matched = outcome(h, other, sizes)
    turned, rows = outcome(h[order], other[order], sizes)
    torch.testing.assert_close(turned, fvu)
    assert torch.equal(rows, matched[order])


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "index", [[4], [-1], [], [0.5], [[0, 1]], [True, False], [False] * 4], ids=str
)
def test_rows_that_are_none(index):
    with pytest.raises(gm.InputError, match="index must name rows of layer 0, 0 to 3, or be a"):
        match(H, index=torch.tensor(index))


@pytest.mark.parametrize("tol", [0.0, -1.0, math.inf, math.nan])
def test_tol_is_positive(tol):
    with pytest.raises(gm.InputError, match="tol must be positive and finite"):
        match(H, tol=tol)
