"""The null and the verdict: known answers, the +1 rule, and that chance is never called a match."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure import activation_error, null
from graph_metamers.measure.null import (
    Verdict,
    graph_null,
    match_figures,
    node_match,
    p_value,
    permuted_null,
    verdict,
)
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=50)
HUNDRED = torch.linspace(0.5, 1.5, 100)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def activations(draw, least_rows: int = 2) -> tuple[Tensor, Tensor]:
    rows, units = draw(st.integers(least_rows, 12)), draw(st.integers(2, 6))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    h, g = torch.randn(2, rows, units, generator=seeded(draw(st.integers(0, 9999))), dtype=dtype)
    return h, g


# -------------------------------------------------------------------------- figures of a match


def test_match_figures_by_hand():
    h = torch.tensor([[1.0, 2.0], [2.0, 4.0]])  # ‖h‖² = 25
    other = torch.tensor([[1.0, 0.0], [3.0, 4.0]])  # ‖h' − h‖² = 5
    figures = match_figures(h, other)
    assert figures["activation_error"] == 0.2
    assert figures["activation_snr"] == pytest.approx(10 * math.log10(5), rel=1e-12)
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: deviations −1.5, 0, 0, 1.5 and −0.5, −1.5, 0.5, 1.5.
    rank = (0.75 + 2.25) / math.sqrt(4.5 * 5.0)
    assert figures["activation_rank_correlation"] == pytest.approx(rank, rel=1e-12)


@quick
@given(activations())
def test_match_figures_are_scipys(pair):
    h, other = (t.double().numpy().ravel() for t in pair)
    figures = match_figures(*pair)
    assert figures["activation_error"] == activation_error(*pair)
    pearson, spearman = scipy.stats.pearsonr(h, other), scipy.stats.spearmanr(h, other)
    assert figures["activation_correlation"] == pytest.approx(pearson.statistic, abs=1e-12)
    assert figures["activation_rank_correlation"] == pytest.approx(spearman.statistic, abs=1e-12)
    error = 10 ** (-figures["activation_snr"] / 10)
    assert error == pytest.approx(figures["activation_error"], rel=1e-12)


@quick
@given(activations())
def test_ranks_do_not_see_a_growing_function(pair):
    h, _ = pair
    assert match_figures(h, h.double().exp())["activation_rank_correlation"] == pytest.approx(1)


def test_figures_at_the_ends():
    h = torch.tensor([1.0, 2.0, 3.0])
    assert match_figures(h, h)["activation_snr"] == math.inf
    silent = match_figures(h, torch.zeros(3))
    assert silent["activation_snr"] == 0
    assert math.isnan(silent["activation_rank_correlation"])
    assert match_figures(torch.zeros(3), h)["activation_snr"] == -math.inf
    assert math.isnan(match_figures(torch.zeros(3), torch.zeros(3))["activation_snr"])


# ------------------------------------------------------------------------------------ the nulls


def test_permuted_null_by_hand():
    """Two nodes are exchanged or not: ‖h‖² = 5, and exchanged 2 · (1² + 2²) = 10 off."""
    errors = permuted_null(torch.diag(torch.tensor([1.0, 2.0])), samples=200, generator=seeded())
    assert set(errors.tolist()) == {0.0, 2.0}
    assert 70 <= int((errors > 0).sum()) <= 130  # of 200 fair coins, 4 standard deviations


def test_permuted_null_is_right_on_average():
    """E‖Πh − h‖² / ‖h‖² = 2 (1 − ‖Σ h_v‖² / (n ‖h‖²)) over all permutations."""
    h = torch.randn(50, 4, generator=seeded(3)) + 1
    mean = 2 * (1 - float(h.sum(0).square().sum() / (50 * h.square().sum())))
    errors = permuted_null(h, samples=2000, generator=seeded())
    assert float(errors.mean()) == pytest.approx(mean, abs=5 * float(errors.std()) / 2000**0.5)


@pytest.mark.parametrize("entries", [1, 7, 60, 1 << 20])
def test_blocks_change_nothing(monkeypatch, entries):
    h, g = torch.randn(2, 60, 5, generator=seeded())
    settings = {"level": 0.1, "samples": 20}
    errors = permuted_null(h, samples=3, generator=seeded())
    matched = node_match(h, h + 0.5 * g, **settings, generator=seeded()).matched
    monkeypatch.setattr(null, "ENTRIES", entries)
    torch.testing.assert_close(permuted_null(h, samples=3, generator=seeded()), errors)
    again = node_match(h, h + 0.5 * g, **settings, generator=seeded()).matched
    assert again.tolist() == matched.tolist()
    assert 0 < matched.double().mean() < 1


@quick
@given(activations(), st.floats(0.1, 10), st.integers(0, 99))
def test_permuted_null_is_free_of_scale_and_within_bounds(pair, scale, seed):
    h = pair[0].double()
    errors = permuted_null(h, samples=5, generator=seeded(seed))
    scaled = permuted_null(scale * h, samples=5, generator=seeded(seed))
    torch.testing.assert_close(errors, scaled)
    assert bool(((errors >= 0) & (errors <= 4)).all())  # (‖Πh‖ + ‖h‖)² = 4 ‖h‖²


def test_permuted_null_takes_heads_and_the_same_seed():
    h = torch.randn(9, 2, 3, generator=seeded())
    errors = permuted_null(h, samples=4, generator=seeded(5))
    assert torch.equal(errors, permuted_null(h.flatten(1), samples=4, generator=seeded(5)))


def test_permuted_null_of_equal_nodes_is_zero():
    assert permuted_null(torch.full((9, 3), 0.1), samples=4, generator=seeded()).tolist() == [0] * 4


def test_graph_null_is_the_error_of_each():
    h, *others = torch.randn(6, 10, 3, generator=seeded())
    expected = [activation_error(h, other) for other in others]
    assert graph_null(h, iter(others)).tolist() == expected


# ---------------------------------------------------------------------------------- the p-value


@pytest.mark.parametrize(
    ("error", "p"), [(0.0, 1 / 4), (0.1, 2 / 4), (0.25, 3 / 4), (9.0, 1.0), (math.nan, 1.0)]
)
def test_p_value_by_hand(error, p):
    assert p_value(error, torch.tensor([0.1, 0.2, 0.3])) == p


def test_what_is_not_a_number_counts_against_the_match():
    assert p_value(0.1, torch.tensor([math.nan, 0.5, math.inf])) == 2 / 4
    assert p_value(math.inf, torch.tensor([math.inf, 0.5])) == 1


@quick
@given(st.integers(1, 50), st.integers(0, 9999))
def test_p_values_of_unrelated_errors_are_even(samples, seed):
    """Over the N + 1 places that one of N + 1 equal errors may take, p is 1, …, N + 1 in N + 1."""
    errors = torch.rand(samples + 1, generator=seeded(seed), dtype=torch.float64)
    p = [
        p_value(float(error), torch.cat([errors[:i], errors[i + 1 :]]))
        for i, error in enumerate(errors)
    ]
    expected = [rank / (samples + 1) for rank in range(1, samples + 2)]
    assert sorted(p) == pytest.approx(expected, rel=1e-12)


# -------------------------------------------------------------------------------------- by node


def test_node_match_by_hand():
    """On a line at 0, 10, …, 290 the level is so strict that no other node may be as near."""
    h = torch.arange(30.0)[:, None] * 10
    other = h.clone()
    other[7] += 6  # at 76; the others nearest to 70 are at 60 and 80
    match = node_match(h, other, level=0.04, samples=29, generator=seeded())
    assert match.share == 1
    other[8] -= 6  # at 74: nearer to 70 than 76 is, as 76 is nearer to 80 than 74
    match = node_match(h, other, level=0.04, samples=29, generator=seeded())
    assert (~match.matched).nonzero().flatten().tolist() == [7, 8]
    match = node_match(h, other, level=0.07, samples=29, generator=seeded())  # one of 29 may
    assert match.share == 1


def test_equal_distances_count_against_a_node_unless_it_is_exact():
    h = torch.eye(40)
    blurred = torch.full((40, 40), 0.1)  # all nodes alike: none is nearer than another
    assert node_match(h, blurred, level=0.05, samples=39, generator=seeded()).share == 0
    constant = torch.ones(40, 3)  # and a constant model matches everywhere
    assert node_match(constant, constant, level=0.05, samples=39, generator=seeded()).share == 1
    silent = torch.zeros(40, 3)
    assert node_match(silent, silent, level=0.05, samples=39, generator=seeded()).share == 1


@pytest.mark.parametrize("level", [0.01, 0.05, 0.3])
def test_chance_is_at_most_the_level(level):
    """Rows in random order: shares over 30 draws of 400 nodes, 4 standard deviations."""
    shares = []
    for seed in range(30):
        h = torch.randn(400, 8, generator=seeded(seed))
        shuffled = h[torch.randperm(400, generator=seeded(seed + 1000))]
        match = node_match(h, shuffled, level=level, samples=200, generator=seeded(seed))
        assert match.chance == level
        shares.append(match.share)
    spread = math.sqrt(level * (1 - level) / (30 * 400))
    mean = sum(shares) / 30
    assert mean <= level + 4 * spread
    assert mean >= math.floor(level * 201) / 201 - 4 * spread - 1 / 400


@quick
@given(st.integers(0, 999), st.randoms(use_true_random=False))
def test_node_matches_follow_their_nodes(seed, random):
    h, g = torch.randn(2, 25, 3, generator=seeded(seed), dtype=torch.float64)
    order = list(range(25))
    random.shuffle(order)
    settings = {"level": 0.2, "samples": 24}  # all others, whatever is drawn
    matched = node_match(h, h + g, **settings, generator=seeded()).matched
    turned = node_match(h[order], (h + g)[order], **settings, generator=seeded(1)).matched
    assert turned.tolist() == matched[order].tolist()


def test_not_a_number_never_matches_by_node():
    h = torch.randn(30, 2, generator=seeded())
    other = h + 1e-3
    other[3] = math.nan
    match = node_match(h, other, level=0.1, samples=29, generator=seeded())
    assert not match.matched[3]
    assert match.share == 29 / 30


def test_node_match_of_twenty_thousand_nodes():
    h = torch.randn(20_000, 16, generator=seeded())
    match = node_match(h, h + 0.01, level=0.01, samples=500, generator=seeded())
    assert match.matched.shape == (20_000,)
    assert match.share == 1


# ---------------------------------------------------------------------------------- the verdict


@pytest.mark.parametrize(
    ("error", "tol", "expected"),
    [
        (0.005, 0.01, Verdict.MATCHED),
        (0.01, 0.01, Verdict.MATCHED),
        (0.011, 0.01, Verdict.NOT_MATCHED),  # beyond the null, above tol
        (0.7, 10.0, Verdict.NOT_MATCHED),  # below tol, within the null
        (0.4, 10.0, Verdict.MATCHED),
        (math.nan, 10.0, Verdict.NOT_MATCHED),
        (math.inf, 10.0, Verdict.NOT_MATCHED),
    ],
)
def test_verdict_by_hand(error, tol, expected):
    assert verdict(error, HUNDRED, tol=tol) is expected


def test_an_exact_match_needs_no_null():
    """Of a constant model every graph is a metamer, up to rounding, and a null says nothing."""
    exact = torch.zeros(99, dtype=torch.float64)
    assert verdict(0.0, exact, tol=1e-2) is Verdict.MATCHED
    assert verdict(1e-13, exact, tol=1e-2) is Verdict.MATCHED
    assert verdict(1e-6, exact, tol=1e-2) is Verdict.NOT_MATCHED
    assert verdict(1e-13, exact, tol=1e-20) is Verdict.NOT_MATCHED


def test_every_null_counts_however_large_the_others():
    strict = torch.cat([torch.full((5,), 0.001), torch.ones(95)])  # p = 6 / 101
    weak = torch.ones(10_000)
    assert verdict(0.005, weak, tol=0.01) is Verdict.MATCHED
    assert verdict(0.005, weak, strict, tol=0.01) is Verdict.NOT_MATCHED
    assert verdict(0.005, torch.cat([weak, strict]), tol=0.01) is Verdict.MATCHED  # not to be done


def test_a_proof_decides_alone():
    assert verdict(0.0, tol=0.01, proved_impossible=True) is Verdict.IMPOSSIBLE
    assert verdict(0.5, HUNDRED, tol=0.01, proved_impossible=True) is Verdict.IMPOSSIBLE


def test_ninety_nine_samples_are_enough_for_one_percent():
    assert verdict(0.005, HUNDRED[:99], tol=0.01) is Verdict.MATCHED
    for samples in range(2, 300):  # the least number that is told is enough, one less is not
        level = 1 / samples
        assert verdict(1e-3, torch.ones(samples - 1), tol=0.01, level=level) is Verdict.MATCHED
        with pytest.raises(gm.InputError, match="A null has"):
            verdict(1e-3, torch.ones(samples - 2), tol=0.01, level=level)


def test_words():
    assert [str(v) for v in Verdict] == ["matched", "not_matched", "impossible"]
    for each in Verdict:
        assert each.remedy.endswith(".")
    assert "another search or seed" in Verdict.NOT_MATCHED.remedy
    assert "proved" in Verdict.IMPOSSIBLE.remedy


# ----------------------------------------------------------------- random starts, and metamers


def cases(count: int, starts: int = 0):
    """Random graphs under random one- or two-layer GCNs: their activation, those of random
    starts (Eq. 7, binary and continuous ones in turn), and that of a move in the null space.
    """
    for seed in range(count):
        generator = seeded(seed)
        nodes, features = 20 + seed % 30, 16 + seed % 25
        data = gm.datasets.csbm(nodes=nodes, features=features, density=0.2, seed=seed)
        a = torch.zeros(nodes, nodes)
        a[data.edge_index[1], data.edge_index[0]] = 1
        a += torch.eye(nodes)
        scale = a.sum(1).rsqrt()
        a = scale[:, None] * a * scale
        first = torch.randn(features, 8, generator=generator) / features**0.5
        second = torch.randn(8, 5, generator=generator) / 8**0.5
        bias = 0.2 * torch.randn(8, generator=generator)

        def run(x, a=a, first=first, second=second, bias=bias, deep=seed % 2):
            h = (a @ x @ first + bias).relu()
            return (a @ h @ second).relu() if deep else h

        mean, spread = data.x.mean(0), data.x.std(0)
        soft = mean + spread * torch.randn(starts + 1, nodes, features, generator=generator)
        if seed % 3:
            ones = int(data.x.sum())
            least = soft.flatten(1).topk(ones).values[:, -1]
            soft = (soft >= least[:, None, None]).float()
        start, others = soft[0], soft[1:]
        free = torch.linalg.svd(first.T, full_matrices=True).Vh[8:]  # [features − 8, features]
        move = torch.randn(nodes, len(free), generator=generator) @ free
        yield run(data.x), run(start), run(data.x + 3 * move), [run(x) for x in others], generator


def test_500_random_starts_are_not_matched_and_500_metamers_are():
    beyond = 0
    for h, start, metamer, _, generator in cases(500):
        null = permuted_null(h, samples=99, generator=generator)
        error = activation_error(h, start)
        assert verdict(error, null, tol=1e-2) is Verdict.NOT_MATCHED
        assert verdict(activation_error(h, metamer), null, tol=1e-2) is Verdict.MATCHED
        beyond += p_value(error, null) <= 0.01
    # A start shares edges and means with the reference: this null alone would let many pass.
    assert beyond > 50


def test_random_starts_pass_their_own_null_by_chance_only():
    """With any tol: the null alone lets 1 % of them pass. 200 starts, of which 2 are expected."""
    passed = 0
    for h, start, metamer, others, _ in cases(200, starts=99):
        null = graph_null(h, others)
        passed += verdict(activation_error(h, start), null, tol=100.0) is Verdict.MATCHED
        assert verdict(activation_error(h, metamer), null, tol=1e-2) is Verdict.MATCHED
    assert passed <= 8  # more has a chance of 2e-4


# ------------------------------------------------------------------------------- what is refused


def test_a_single_row_has_no_permutation():
    with pytest.raises(gm.InputError, match=r"at least two nodes; got float32 \[1, 4\]\. Use gra"):
        permuted_null(torch.ones(1, 4), samples=5, generator=seeded())


@pytest.mark.parametrize("samples", [0, -1])
def test_samples_are_counted(samples):
    with pytest.raises(gm.InputError, match=f"samples must be a whole number .* got {samples}"):
        permuted_null(torch.ones(3, 4), samples=samples, generator=seeded())
    with pytest.raises(gm.InputError, match=f"samples must be a whole number .* got {samples}"):
        node_match(torch.eye(3), torch.eye(3), level=0.5, samples=samples, generator=seeded())


def test_too_few_samples_for_the_level():
    with pytest.raises(
        gm.InputError,
        match=r"A null has 50 samples, whose smallest p-value is 0\.02; level=0\.01 needs at least "
        r"99\. Take more samples, or a larger level\.",
    ):
        verdict(0.1, HUNDRED[:50], tol=0.01)
    with pytest.raises(gm.InputError, match="A null has 0 samples"):
        verdict(0.1, HUNDRED, HUNDRED[:0], tol=0.01)


def test_too_few_nodes_for_the_level():
    h = torch.eye(30)
    with pytest.raises(
        gm.InputError,
        match=r"Each node is compared with 29 others, whose smallest p-value is 0\.033; "
        r"level=0\.01 needs at least 99\. Take more others, or a larger level\.",
    ):
        node_match(h, h, level=0.01, samples=1000, generator=seeded())


def test_no_null():
    with pytest.raises(gm.InputError, match=r"at least one null; got none\. Draw one with"):
        verdict(0.1, tol=0.01)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, math.nan])
def test_levels_lie_between_0_and_1(level):
    with pytest.raises(gm.InputError, match=r"level must lie .* such as 0\.01; got"):
        verdict(0.1, HUNDRED, tol=0.01, level=level)
    with pytest.raises(gm.InputError, match="level must lie between 0 and 1"):
        node_match(torch.eye(3), torch.eye(3), level=level, samples=5, generator=seeded())


@pytest.mark.parametrize("tol", [0.0, -1.0, math.inf])
def test_tol_is_positive(tol):
    with pytest.raises(gm.InputError, match="tol must be positive and finite; got"):
        verdict(0.1, HUNDRED, tol=tol)


def test_other_shapes_are_refused():
    a, b = torch.ones(4, 3), torch.ones(1, 3)
    refused = pytest.raises(gm.InputError, match=r"same shape; got \[4, 3\] and \[1, 3\]")
    with unchecked_types():
        with refused:
            match_figures(a, b)
        with refused:
            graph_null(a, [b])
        with refused:
            node_match(a, b, level=0.5, samples=3, generator=seeded())
