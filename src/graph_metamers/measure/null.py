"""Whether an activation match is better than chance: null distributions, and the verdict.

Feather et al. (Nature Neuroscience, 2023) take a stimulus for a metamer only where the match of
the activations lies outside what unrelated pairs of stimuli give. Here the unrelated pairs are
the reference with its nodes permuted, and other graphs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from graph_metamers.errors import (
    InputError,
    check_count,
    check_positive,
    check_same_shape,
    describe,
)
from graph_metamers.measure.agreement import (
    Activation,
    activation_correlation,
    activation_error,
)

Nodewise = Float[Tensor, "nodes *units"]
Null = Float[Tensor, " _"]  # of any length, also beside another

# An activation error of rounding alone: entries that are off by 1e-5 of their size, some 80 units
# in the last place of a float32, which sums over many neighbours and features can add up to.
EXACT = 1e-10
ENTRIES = 1 << 20  # of float64 that are held at a time


class Verdict(StrEnum):
    """Whether a graph is a metamer; `verdict.remedy` says what to do about it."""

    MATCHED = "matched"
    NOT_MATCHED = "not_matched"
    IMPOSSIBLE = "impossible"

    @property
    def text(self) -> str:
        """The verdict in words."""
        return self.value.replace("_", " ")

    @property
    def remedy(self) -> str:
        """The verdict in a sentence, with the next step."""
        return {
            Verdict.MATCHED: (
                "The activation error is at or below tol, and smaller than that of unrelated "
                "activations or zero up to rounding."
            ),
            Verdict.NOT_MATCHED: (
                "The activation error is above tol, or no smaller than that of unrelated "
                "activations. Give the search more steps, or try another search or seed; if the "
                "error is at or below tol already, choose a smaller tol."
            ),
            Verdict.IMPOSSIBLE: (
                "It is proved that no graph but those next to the reference has this activation. "
                "Let more of the graph vary, or choose another layer."
            ),
        }[self]


@dataclass(frozen=True, eq=False)
class NodeMatch:
    """Which nodes match better than chance.

    Attributes:
        matched: One truth value a node.
        chance: The share of nodes that chance gives, at most.
    """

    matched: Bool[Tensor, " nodes"]
    chance: float

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

    Raises:
        InputError: The shapes differ.

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


def permuted_null(reference: Nodewise, *, samples: int, generator: torch.Generator) -> Null:
    """Activation errors of the reference with its nodes permuted.

        ‖Πh − h‖² / ‖h‖²   (Eq. 5), Π a random permutation of the rows

    The activations of unrelated nodes: right in distribution, wrong in place. It is a weak null:
    a random start has the reference's edges and feature means, so that its activation is often
    nearer than all of these (in 100 of 500 random models and graphs). Take `graph_null` of random
    starts beside it. Time O(samples · h); memory a few blocks of 8 MB.

    Args:
        reference: h, a row for each node.
        samples: How many permutations.
        generator: The only source of chance (a CPU one).

    Returns:
        One error each, zero or more, about 2 (1 − cos) with cos that of two nodes. All zero if
        the nodes are all alike.

    Raises:
        InputError: There is only one row, or `samples` is not a positive number.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> permuted_null(torch.eye(2), samples=4, generator=generator)
        tensor([0., 2., 2., 0.], dtype=torch.float64)
    """
    check_count("samples", samples)
    if len(reference) < 2:
        raise InputError(
            "A permuted null needs the activations of at least two nodes; got "
            f"{describe(reference)}. Use graph_null with the activations of other graphs."
        )
    h = reference.detach().flatten(1)
    rows = max(1, ENTRIES // h.shape[1])
    size = torch.stack([own.double().square().sum() for own in h.split(rows)]).sum()
    errors: list[Tensor] = []
    for _ in range(samples):
        order = torch.randperm(len(h), generator=generator).to(h.device)
        parts = zip(order.split(rows), h.split(rows), strict=True)
        squares = [(h[part].double() - own.double()).square().sum() for part, own in parts]
        errors.append(torch.stack(squares).sum() / size)
    return torch.stack(errors).cpu()


def graph_null(reference: Activation, others: Iterable[Activation]) -> Null:
    """Activation errors of unrelated graphs (Eq. 5): random starts, or other graphs as large.

    Args:
        reference: h, of any shape.
        others: The model's activation on each of the other graphs, of the same shape. They may
            come from a generator, so that one is held at a time.

    Returns:
        One error each, zero or more.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> h = torch.tensor([3.0, 4.0])
        >>> graph_null(h, [torch.zeros(2), torch.tensor([3.0, 3.0])])
        tensor([1.0000, 0.0400], dtype=torch.float64)
    """
    errors = [activation_error(reference, other) for other in others]
    return torch.tensor(errors, dtype=torch.float64)


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

    with U_v random nodes other than v: node v matches if it is nearer to h_v than the `level`
    quantile of the others, or if it is equal up to rounding, where all may be alike. Time
    O(samples · h); memory a few blocks of 8 MB beside the samples.

    Args:
        reference: h, a row for each node.
        other: h', of the same shape.
        level: Share of nodes that may match by chance, in (0, 1).
        samples: With how many others each node is compared, at least; with all in a graph that
            has no more.
        generator: The only source of chance (a CPU one).

    Returns:
        A truth value for each node, and `level`: the share of them that chance gives, at most,
        if h' has the right rows in random order.

    Raises:
        InputError: The shapes differ, `level` or `samples` is out of range, or there are too few
            others for the level.

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
    # One more than asked, as a node that is drawn itself is not compared with itself.
    drawn = torch.randperm(len(h), generator=generator)[: samples + 1].to(h.device)
    _check_enough("Each node is compared with", len(drawn) - 1, "others", level)
    others = g[drawn].double()
    nodes = torch.arange(len(h), device=h.device)
    rows = max(1, ENTRIES // max(len(drawn), h.shape[1]))
    exact = EXACT * torch.stack([row.double().square().sum() for row in h.split(rows)]).sum()
    matched: list[Tensor] = []
    for part in nodes.split(rows):
        a, b = h[part].double(), g[part].double()
        # Through a matrix product small distances would be lost to rounding.
        far = torch.cdist(a, others, compute_mode="donot_use_mm_for_euclid_dist")  # [rows, drawn]
        own = (b - a).norm(dim=1)
        compared = drawn != part[:, None]
        # Equal distances count against the match, also if they differ by rounding.
        nearer = (~(far > own[:, None] * (1 + 1e-12)) & compared).sum(1)
        p = (1 + nearer) / (1 + compared.sum(1)).double()
        matched.append((p <= level) | (own.square() * len(h) <= exact))
    return NodeMatch(torch.cat(matched), level)


def verdict(
    error: float,
    *nulls: Null,
    tol: float,
    level: float = 0.01,
    proved_impossible: bool = False,
) -> Verdict:
    """Whether an activation error makes a graph a metamer.

    It does if it is at or below `tol` and beyond every null, p ≤ level (see `p_value`). Equal
    activations, with an error of rounding alone (1e-10 or less), need no null: of a model that
    is constant every graph is a metamer. Nulls are not pooled, as a large weak one would hide a
    small strict one.

    Args:
        error: The activation error (Eq. 5).
        *nulls: Errors of unrelated activations, from `permuted_null` and `graph_null`.
        tol: Activation error at or below which a graph counts as matched.
        level: How likely an unrelated activation may pass a null, in (0, 1).
        proved_impossible: Whether it is proved that no graph but those next to the reference has
            this activation. Then neither error nor nulls matter.

    Returns:
        The verdict; its `remedy` is a sentence.

    Raises:
        InputError: `tol` or `level` is out of range, or a null is missing or has too few samples
            for the level: 1 / (1 + N) must not exceed it.

    Example:
        >>> null = torch.linspace(0.3, 0.5, 200)
        >>> str(verdict(0.006, null, tol=0.01)), str(verdict(0.38, null, tol=0.01))
        ('matched', 'not_matched')
    """
    check_positive("tol", tol)
    check_level(level)
    if proved_impossible:
        return Verdict.IMPOSSIBLE
    if not nulls:
        raise InputError(
            "A verdict needs at least one null; got none. Draw one with permuted_null or "
            "graph_null."
        )
    for null in nulls:
        _check_enough("A null has", len(null), "samples", level)
    better = error <= EXACT or all(p_value(error, null) <= level for null in nulls)
    return Verdict.MATCHED if error <= tol and better else Verdict.NOT_MATCHED


def check_level(level: float) -> None:
    """Raise unless a level lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise InputError(f"level must lie between 0 and 1, such as 0.01; got {level!r}.")


def _check_enough(what: str, count: int, unit: str, level: float) -> None:
    if 1 / (1 + count) > level:
        raise InputError(
            f"{what} {count} {unit}, whose smallest p-value is {1 / (1 + count):.2g}; "
            f"level={level:g} needs at least {math.ceil(1 / level) - 1}. "
            f"Take more {unit}, or a larger level."
        )
