"""Whether an activation match is better than chance.

Feather et al. (Nature Neuroscience, 2023) take a stimulus for a metamer only where the match of
the activations lies outside what unrelated pairs of stimuli give. Here the unrelated graphs are
random starts of what varies, and other graphs that are handed in.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graph_metamers.errors import InputError, check_count, check_same_shape
from graph_metamers.measure.agreement import Activation, activation_correlation, activation_error

Nodewise = Float[Tensor, "nodes *units"]
Null = Float[Tensor, " _"]  # of any length, also beside another

# Rows are equal that differ by 1e-5 of the spread, as sums over many neighbours and features do in
# float32, or by as many units in the last place of their size.
EXACT, ROUNDING = 1e-10, 10
ENTRIES = 1 << 20  # of float64 that are held at a time
BEYOND = 10.0  # standard deviations below the mean of a null


@dataclass(frozen=True, eq=False)
class NodeMatch:
    """Which nodes match better than chance."""

    matched: Bool[Tensor, " nodes"]
    chance: float  # the share of nodes that chance gives, at most

    @property
    def share(self) -> float:
        """The share of nodes that match, in [0, 1]; at `chance` the activations are unrelated."""
        return float(self.matched.double().mean())


def match_figures(reference: Activation, other: Activation) -> dict[str, float]:
    """How well two activations match, in four figures.

        L_act = ‖h' − h‖² / ‖h‖²   (Eq. 5)
        Pearson's and Spearman's correlation of all entries
        SNR = 10 log10(‖h‖² / ‖h' − h‖²) = −10 log10 L_act, in decibels

    Args:
        reference: h, of any shape.
        other: h', of the same shape.

    Returns:
        `activation_error` (zero or more, 0 is a perfect match), `activation_correlation` and
        `activation_rank_correlation` (in [−1, 1], 1 is a perfect match up to scale and shift, or
        up to a growing function; NaN if one activation is constant), and `activation_snr` (the
        higher the better; infinite for equal activations, 0 for a silent other one).

    Example:
        >>> h = torch.tensor([3.0, 4.0])
        >>> [round(value, 2) for value in match_figures(h, torch.tensor([3.0, 4.5])).values()]
        [0.01, 1.0, 1.0, 20.0]
    """
    error = activation_error(reference, other)
    ranks = (_ranks(h) for h in (reference, other))
    return {
        "activation_error": error,
        "activation_correlation": activation_correlation(reference, other),
        "activation_rank_correlation": activation_correlation(*ranks),
        "activation_snr": -10 * math.log10(error) if error else math.inf,
    }


def _ranks(h: Activation) -> Float[Tensor, " entries"]:
    """Ranks of the entries; of equal ones their mean."""
    _, place, count = h.detach().double().flatten().unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count - 1) / 2)[place]


def p_value(error: float, null: Null) -> float:
    """Chance of an activation error as small as this one if the graphs were unrelated.

        p = (1 + #{null ≤ error}) / (1 + N)

    One-sided, by the rule that counts the observation among the N samples: p is never 0, and an
    unrelated graph has p ≤ α with a chance of α at most. A NaN counts against the match,
    whichever side it is on.

    Args:
        error: The activation error.
        null: Activation errors of unrelated activations.

    Returns:
        In [1 / (1 + N), 1]; small is better than chance.

    Example:
        >>> p_value(0.1, torch.tensor([0.05, 0.4, 0.5]))
        0.5
    """
    return (1 + int((~(null > error)).sum())) / (1 + len(null))


def node_match(
    reference: Nodewise,
    other: Nodewise,
    *,
    level: float,
    samples: int,
    generator: torch.Generator,
) -> NodeMatch:
    """Which nodes' activations are nearer to their own reference than other nodes' are.

        p_v = (1 + #{u ∈ U_v: ‖h'_u − h_v‖ ≤ ‖h'_v − h_v‖}) / (1 + |U_v|) ≤ level

    with U_v random rows other than v whose reference is another than h_v: row v matches if it is
    nearer to h_v than the `level` quantile of the others, or than all where they are too few for
    that level, or if it is equal up to rounding. Time O(samples · h); memory a few blocks of 8 MB
    beside the samples.

    Args:
        reference: h, a row for each node.
        other: h', of the same shape.
        level: Share of rows that may match by chance, in (0, 1).
        samples: With how many others each row is compared; with all where there are no more.
        generator: The only source of chance (a CPU one).

    Returns:
        A truth value for each row, and the share of them that chance gives, at most, if h' has the
        right rows in random order: `level`, or 1 over the number of rows.

    Example:
        >>> h, generator = torch.eye(30), torch.Generator().manual_seed(0)
        >>> match = node_match(h, 0.9 * h, level=0.05, samples=29, generator=generator)
        >>> match.share, match.chance
        (1.0, 0.05)
    """
    check_same_shape(reference, other)
    check_level(level)
    check_count("samples", samples)
    h, g = reference.detach().flatten(1), other.detach().flatten(1)
    # One more than asked, as a row that is drawn itself is not compared with itself.
    drawn = torch.randperm(len(h), generator=generator)[: samples + 1].to(h.device)
    others, own_others = g[drawn].double(), h[drawn].double()
    nodes = torch.arange(len(h), device=h.device)
    rows = max(1, ENTRIES // max(len(drawn), h.shape[1]))
    equal = _rounding(h, rows)
    matched: list[Tensor] = []
    for part in nodes.split(rows):
        a, b = h[part].double(), g[part].double()
        own = (b - a).norm(dim=1)
        # Through a matrix product small distances would be lost to rounding.
        far = torch.cdist(a, others, compute_mode="donot_use_mm_for_euclid_dist")  # [rows, drawn]
        apart = torch.cdist(a, own_others, compute_mode="donot_use_mm_for_euclid_dist")
        compared = (drawn != part[:, None]) & (apart.square() > equal)
        # Equal distances count against the match, also if they differ by rounding.
        nearer = (~(far > own[:, None] * (1 + 1e-12)) & compared).sum(1)
        count = compared.sum(1).double()
        p = (1 + nearer) / (1 + count)
        beyond = (p <= (1 / (1 + count)).clamp(min=level) * (1 + 1e-12)) & (count > 0)
        matched.append(beyond | (own.square() <= equal))
    return NodeMatch(torch.cat(matched), max(level, 1 / len(h)))


def _rounding(h: Nodewise, rows: int) -> Float[Tensor, ""]:
    """The squared distance up to which rows are equal; a shift of all rows changes nothing."""
    first, parts = h[0].double(), h.split(rows)
    mean = torch.stack([(row.double() - first).sum(0) for row in parts]).sum(0) / len(h) + first
    spread, size = (
        torch.stack([(row.double() - centre).square().sum() for row in parts]).sum() / len(h)
        for centre in (mean, 0)
    )
    return EXACT * spread + (ROUNDING * torch.finfo(h.dtype).eps) ** 2 * size


def is_beyond(error: float, null: Null) -> bool:
    """Whether an error lies so far below those of unrelated graphs that no more need be drawn.

    By Cantelli's inequality, P(null ≤ μ − kσ) ≤ 1 / (1 + k²): at k = 10 standard deviations below
    the mean, chance gives such an error at most once in a hundred, whatever the distribution.

    Args:
        error: The error of the metamer.
        null: Errors of unrelated graphs, two at least.

    Example:
        >>> is_beyond(0.1, torch.tensor([1.0, 1.02, 0.98]))
        True
    """
    return bool(error < null.min()) and float(null.mean() - error) >= BEYOND * float(null.std())


def check_level(level: float) -> None:
    """Raise unless a level lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.01; got {level!r}.")
