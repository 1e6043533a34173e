"""Whether a match is better than chance: known answers, the +1 rule, and what chance gives."""

import math

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graph_metamers as gm
from graph_metamers.measure import null
from graph_metamers.measure.agreement import activation_error
from graph_metamers.measure.null import is_beyond, match_figures, p_value
from helpers import unchecked_types

quick = settings(deadline=None, max_examples=40)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def node_match(h: Tensor, other: Tensor, level: float = 0.01, samples: int = 999, seed: int = 0):
    return gm.measure.null.node_match(
        h, other, level=level, samples=samples, generator=seeded(seed)
    )


@st.composite
def activations(draw) -> tuple[Tensor, Tensor]:
    rows, units = draw(st.integers(2, 12)), draw(st.integers(2, 6))
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


def test_figures_at_the_ends():
    h = torch.tensor([1.0, 2.0, 3.0])
    assert match_figures(h, h)["activation_snr"] == math.inf
    silent = match_figures(h, torch.zeros(3))
    assert silent["activation_snr"] == 0
    assert math.isnan(silent["activation_rank_correlation"])


# ---------------------------------------------------------------------------------- the p-value


@pytest.mark.parametrize(
    ("error", "errors", "p"),
    [
        (0.0, [0.1, 0.2, 0.3], 1 / 4),
        (0.1, [0.1, 0.2, 0.3], 2 / 4),
        (0.25, [0.1, 0.2, 0.3], 3 / 4),
        (9.0, [0.1, 0.2, 0.3], 1.0),
        # What is not a number counts against the match.
        (math.nan, [0.1, 0.2, 0.3], 1.0),
        (0.1, [math.nan, 0.5, math.inf], 2 / 4),
        (math.inf, [math.inf, 0.5], 1.0),
    ],
)
def test_p_value_by_hand(error, errors, p):
    assert p_value(error, torch.tensor(errors)) == p


@pytest.mark.parametrize(
    ("error", "errors", "beyond"),
    [
        # Mean 1, deviation 0.1: ten of them below is 0.
        (-0.01, [0.9, 1.0, 1.1], True),
        (0.01, [0.9, 1.0, 1.1], False),
        (0.9, [1.0, 1.0], True),  # no deviation at all
        (1.0, [1.0, 1.0], False),
        (1.1, [1.0, 1.0], False),
        (math.nan, [1.0, 1.0], False),
        (0.5, [1.0, math.nan], False),
    ],
)
def test_beyond_by_hand(error, errors, beyond):
    assert is_beyond(error, torch.tensor(errors, dtype=torch.float64)) is beyond


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_cantelli_holds_for_the_least_favourable_null(share):
    """The two-point distribution that reaches the bound: its low value is not beyond it, unless it
    has a chance of at most one in a hundred."""
    low, high = -math.sqrt((1 - share) / share), math.sqrt(share / (1 - share))
    errors = torch.full((100_000,), high, dtype=torch.float64)
    errors[: int(share * len(errors))] = low
    assert float(errors.mean()) == pytest.approx(0, abs=1e-9)
    assert is_beyond(low - 1e-9, errors) is (share < 1 / (1 + null.BEYOND**2))


# -------------------------------------------------------------------------------------- by node


def test_node_match_by_hand():
    """On a line at 0, 10, …, 290 the level is so strict that no other node may be as near."""
    h = torch.arange(30.0)[:, None] * 10
    other = h.clone()
    other[7] += 6  # at 76; the others nearest to 70 are at 60 and 80
    assert node_match(h, other, 0.04).share == 1
    other[8] -= 6  # at 74: nearer to 70 than 76 is, as 76 is nearer to 80 than 74
    assert (~node_match(h, other, 0.04).matched).nonzero().flatten().tolist() == [7, 8]
    assert node_match(h, other, 0.07).share == 1  # one of 29 may


def test_few_rows_must_be_nearer_than_all_others():
    """With three rows the least p is 1 / 3, whatever level is asked for."""
    h = torch.tensor([[0.0], [10.0], [20.0]])
    match = node_match(h, h + torch.tensor([[1.0], [-1.0], [-9.0]]), 0.01)
    # The rows are then at 1, 9 and 11: 9 and 11 are as near to 10, and 11 is nearest to 20.
    assert match.matched.tolist() == [True, False, True]
    assert match.chance == 1 / 3
    assert node_match(h[:2], torch.tensor([[9.0], [1.0]])).matched.tolist() == [False, False]


def test_twins_do_not_count_against_a_row():
    """Rows 0 to 4 have one reference: each is as near to it as the others, which is no chance."""
    h = torch.cat([torch.zeros(5, 1), 10 * torch.arange(1.0, 40)[:, None]])
    blurred = h + 0.1 * torch.randn(h.shape, generator=seeded())
    assert node_match(h, blurred).share == 1
    # Alone with twins there is nothing to compare with: only an exact row matches.
    same = torch.ones(5, 2)
    moved = same.clone()
    moved[0] += 0.1
    assert node_match(same, moved).matched.tolist() == [False, True, True, True, True]


def test_equal_distances_count_against_a_row():
    h = torch.eye(40)
    assert node_match(h, torch.full((40, 40), 0.1), 0.05).share == 0


@pytest.mark.parametrize("level", [0.01, 0.05, 0.3])
def test_chance_is_at_most_the_level(level):
    """Rows in random order: shares over 30 draws of 400 nodes, 4 standard deviations."""
    shares = []
    for seed in range(30):
        h = torch.randn(400, 8, generator=seeded(seed))
        shuffled = h[torch.randperm(400, generator=seeded(seed + 1000))]
        match = node_match(h, shuffled, level, 200, seed)
        assert match.chance == level
        shares.append(match.share)
    spread = math.sqrt(level * (1 - level) / (30 * 400))
    mean = sum(shares) / 30
    assert mean <= level + 4 * spread
    assert mean >= math.floor(level * 201) / 201 - 4 * spread - 1 / 400


def test_not_a_number_never_matches_by_node():
    h = torch.randn(30, 2, generator=seeded())
    other = h + 1e-3
    other[3] = math.nan
    assert (~node_match(h, other, 0.1).matched).nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("entries", [1, 7, 60])
def test_blocks_change_nothing(monkeypatch, entries):
    h, g = torch.randn(2, 60, 5, generator=seeded())
    matched = node_match(h, h + 0.5 * g, 0.1, 20).matched
    monkeypatch.setattr(null, "ENTRIES", entries)
    assert torch.equal(node_match(h, h + 0.5 * g, 0.1, 20).matched, matched)
    assert 0 < matched.double().mean() < 1


def test_what_is_refused():
    with pytest.raises(gm.InputError, match=r"samples must be a whole number .* got 0"):
        node_match(torch.eye(3), torch.eye(3), samples=0)
    for level in (0.0, 1.0, math.nan):
        with pytest.raises(gm.InputError, match="level must lie between 0 and 1"):
            node_match(torch.eye(3), torch.eye(3), level=level)
    a, b = torch.ones(4, 3), torch.ones(1, 3)
    for use in (match_figures, node_match):
        with unchecked_types(), pytest.raises(gm.InputError, match=r"same shape; got \[4, 3\]"):
            use(a, b)
