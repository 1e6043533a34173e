"""Whether what a search found is a metamer: its nulls, its outcome, and the reason."""

import itertools
import math
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.measure import Outcome
from graph_metamers.measure.null import is_beyond, node_match, p_value
from graph_metamers.search import Ended, Problem
from graph_metamers.theory import least_gain
from graph_metamers.vary import many_random_inputs

LEVEL: Final = 0.01  # how likely an unrelated graph may pass a null
FIRST, MOST = 9, 99  # random starts drawn at a time, and at most
SHARE: Final = 0.9  # of the rows that must match beyond chance
COMPARED = 199  # rows with which each row is compared
SEED = 2**40  # of the nulls; no search begins there
NEAR = 0.2  # of ‖X‖: features as near as this are the reference's, with a cosine above 0.98
ROUNDING = 10  # units in the last place within which rows are the same


@dataclass(frozen=True)
class Judgement:
    """What a search found of one graph.

    Attributes:
        outcome: One of five.
        reason: Why, and the next step.
        node_match: The share of its rows that match beyond chance; NaN where it has one row.
        p_value: The chance of an error as small in an unrelated graph.
    """

    outcome: Outcome
    reason: str
    node_match: float
    p_value: float


class Nulls:
    """Errors of random starts, drawn until the outcome is certain; shared by all seeds.

    They depend on model, graph, layer and what varies alone.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        generator = torch.Generator().manual_seed(SEED)
        self._starts = many_random_inputs(problem.blocks, problem.inputs, generator)
        self._errors: list[Tensor] = []

    @torch.no_grad()
    def drawn(self, errors: Float[Tensor, " graphs"]) -> Float[Tensor, "starts graphs"]:
        """Nine random starts at least, and more until each of `errors` is told from them.

        An error is told from them once one of them is as small, or once it lies ten standard
        deviations below their mean (see `graph_metamers.measure.null.is_beyond`); 99 are the most.
        """
        count = FIRST  # as many for a seed whatever others came before
        while True:
            if len(self._errors) < count:
                self._draw()
            starts = torch.stack(self._errors[:count])
            if count >= MOST or self._told(errors, starts):
                return starts
            count += FIRST

    def _told(self, errors: Tensor, starts: Tensor) -> bool:
        candidates = (errors <= self._problem.match.tol).nonzero().view(-1).tolist()
        return all(
            bool((starts[:, graph] <= errors[graph]).any())
            or is_beyond(float(errors[graph]), starts[:, graph])
            for graph in candidates
        )

    def _draw(self) -> None:
        problem, read = self._problem, self._problem.read
        varies = all(block.vary.reads for block in problem.blocks)
        with problem.faster():
            for start in itertools.islice(self._starts, FIRST):
                if read is None:
                    activations = problem.activations(start)
                else:
                    reads = read.of(start if varies else problem.inputs)
                    activations = read.activations(reads, start)
                self._errors.append(errors_of(problem, activations))


def nulls_of(problem: Problem) -> Nulls:
    """The nulls of a problem, kept with it."""
    known = problem.kept
    if "nulls" not in known:
        known["nulls"] = Nulls(problem)
    return known["nulls"]


def errors_of(problem: Problem, activations: list[Tensor]) -> Float[Tensor, " graphs"]:
    """The error of each graph, the mean over the layers: FVU, or Eq. 5 where there is no spread."""
    match = problem.match
    by_layer = match.fvu if match.by_fvu else match.activation_errors
    return by_layer(activations).mean(0).cpu()


def is_impossible(problem: Problem) -> bool:
    """Whether it is proved that all graphs that match within tol lie next to the reference.

    An error at or below tol means ‖h' − h‖² ≤ layers · tol · Σ spread, and so, with the least gain
    σ of an affine layer, ‖X' − X‖ ≤ √(layers · tol · Σ spread) / σ. This must be below a fifth of
    ‖X‖.
    """
    if "impossible" not in problem.kept:
        problem.kept["impossible"] = _is_impossible(problem)
    return problem.kept["impossible"]


def _is_impossible(problem: Problem) -> bool:
    match, blocks = problem.match, problem.blocks
    readable = len(blocks) == 1 and blocks[0].vary.reads and problem.graphs == 1
    if not readable or any(tap.rows is not None for tap in match.taps):
        return False
    x = blocks[0].value(problem.inputs)
    if sum(tap.target.numel() for tap in match.taps) < x.numel():  # fewer equations than features
        return False
    room = sum((tap.spread or tap.size) * len(tap.target) for tap in match.taps)
    reach = (len(match.taps) * match.tol * room) ** 0.5
    return reach < least_gain(problem.session, problem.targets) * NEAR * float(x.norm())


@torch.no_grad()
def judged(
    problem: Problem,
    activations: list[Tensor],
    ended: list[Ended],
    trivial: list[float],
) -> list[Judgement]:
    """The outcome of each graph.

    Args:
        problem: What was searched.
        activations: Of what was found.
        ended: Why each graph's search ended.
        trivial: Whether each graph is only the reference: 1, 0, or NaN where that is unknown.
    """
    errors = errors_of(problem, activations)
    starts = nulls_of(problem).drawn(errors)
    shares = _row_shares(problem, activations)
    silent = _silence(problem)
    found: list[Judgement] = []
    for graph, error in enumerate(errors.tolist()):
        start = starts[:, graph]
        others = [float(each[graph]) for each in problem.null_errors]
        outcome, reason = Outcome.NOT_MATCHED, ended[graph].remedy
        if is_impossible(problem):
            outcome, reason = Outcome.IMPOSSIBLE, IMPOSSIBLE
        elif silent:
            outcome, reason = Outcome.UNINFORMATIVE, silent
        elif error <= problem.match.tol:
            tol = problem.match.tol
            outcome, reason = _matched(error, tol, start, others, shares[graph], trivial[graph])
        found.append(Judgement(outcome, reason, shares[graph], _chance(error, start)))
    return found


def _matched(
    error: float, tol: float, starts: Tensor, others: list[float], share: float, trivial: float
) -> tuple[Outcome, str]:
    """The outcome where the error is at or below tol."""
    if 2 * int((starts <= tol).sum()) >= len(starts):
        return Outcome.UNINFORMATIVE, STARTS_MATCH
    as_near = int((starts <= error).sum())
    if trivial == 1:
        return Outcome.TRIVIAL, TRIVIAL
    if as_near:
        return Outcome.NOT_MATCHED, UNRELATED.format(
            what=f"{as_near} of {len(starts)} random starts are"
        )
    nearer = sum(other <= error for other in others)
    if nearer:
        return Outcome.NOT_MATCHED, UNRELATED.format(
            what=f"{nearer} of {len(others)} graphs of null_graphs are"
        )
    if share < SHARE:
        return Outcome.NOT_MATCHED, FEW_ROWS.format(share=share)
    return Outcome.MATCHED, MATCHED if share >= SHARE else ONE_ROW


MATCHED = "The error is at or below tol, below that of every unrelated graph, and row by row."
ONE_ROW = (
    "The error is at or below tol, and below that of every unrelated graph. There is one row, "
    "which cannot be compared with others."
)
IMPOSSIBLE = (
    "It is proved that no graph but those next to the reference has this activation. "
    "Let more of the graph vary, or choose another layer."
)
TRIVIAL = (
    "What was found is the reference, as it is or with equal nodes exchanged. "
    "Let more of the graph vary, or try another seed."
)
STARTS_MATCH = (
    "At least half of the random starts are at or below tol as well, so a match says nothing. "
    "Choose a smaller tol, or another layer."
)
UNRELATED = (
    "The error is at or below tol, but {what} as near. Give the search more steps, or choose a "
    "smaller tol."
)
FEW_ROWS = (
    "The error is at or below tol, but only {share:.0%} of the rows are nearer to their own "
    "activation than other rows are; 90 % are needed. Choose a smaller tol."
)
NO_SPREAD = (
    "The layer has one row, so that there is no spread to measure its error by, and only Eq. 5 can "
    "be given. Hand in null_graphs=, or the graph in a batch with others."
)
SAME_ROWS = (
    "The layer hardly varies between rows: all are the same to rounding, so a match says nothing. "
    "Choose another layer."
)


def _silence(problem: Problem) -> str:
    """Why the layer cannot tell anything, or nothing."""
    for tap in problem.match.taps:
        if tap.rows is None and len(tap.target) == 1 and tap.spread == 0:
            return NO_SPREAD
        if tap.spread <= (ROUNDING * torch.finfo(tap.precision).eps) ** 2 * tap.size:
            return SAME_ROWS
    return ""


def _row_shares(problem: Problem, activations: list[Tensor]) -> list[float]:
    """Of each graph the share of its rows that match beyond chance, the least of all layers."""
    shares: list[Tensor] = []
    for tap, h in zip(problem.match.taps, activations, strict=True):
        if len(tap.target) < 2:
            shares.append(torch.full((problem.graphs,), math.nan))
            continue
        generator = torch.Generator().manual_seed(SEED)
        found = node_match(
            tap.target, tap.of(h), level=LEVEL, samples=COMPARED, generator=generator
        )
        shares.append(tap.units.mean(found.matched.double()).cpu())
    least = torch.stack(shares).nan_to_num(math.inf).amin(0)
    return torch.where(least < math.inf, least, math.nan).tolist()


def _chance(error: float, starts: Tensor) -> float:
    """By rank among the starts, or by Cantelli's inequality, whichever is smaller."""
    by_rank = p_value(error, starts)
    gap = float(starts.mean()) - error
    spread = float(starts.std())
    if not gap > 0 or not spread > 0:
        return by_rank
    return min(by_rank, 1 / (1 + (gap / spread) ** 2))
