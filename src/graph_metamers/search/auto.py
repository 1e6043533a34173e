"""search="auto": what suits what varies and the layer."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from graph_metamers.errors import InputError, check_count
from graph_metamers.search.adam import Adam
from graph_metamers.search.base import Search, Seek, check_seek
from graph_metamers.search.edge_swap import EdgeSwap
from graph_metamers.search.exact import Exact, basis_of, solvable
from graph_metamers.search.gauss_newton import GaussNewton, twice_differentiable
from graph_metamers.search.problem import Problem
from graph_metamers.search.swap import Swap
from graph_metamers.search.walk import Rules, Walk


@dataclass(frozen=True)
class Auto(Search):
    """Pick the search by what varies and by what the layer allows.

    - edges: `EdgeSwap`;
    - binary features: `Swap`;
    - continuous features that the layer reads through linear maps alone, of lower rank than there
      are features: `Exact`;
    - other continuous features: `GaussNewton`, where the model has second derivatives;
    - anything else, and binary features with a margin: `Adam`, the paper's.

    The search that was picked stands in `Metamer.search` and in every row.

    Args:
        steps: Steps at most; by default the picked search's own.
        seek: Which of many metamers; see `Swap` and `Exact`.
        stop_at_tol: End as soon as the error is at or below `tol`.
        exact: Whether `Exact` and `GaussNewton`, which end far below `tol`, may be picked for
            continuous features; if not it is `Adam`, so that with `stop_at_tol` all runs end at
            one error and can be compared.

    Example:
        >>> Auto()
        Auto(steps=None, seek='nearest', stop_at_tol=False, exact=True)
    """

    steps: int | None = None
    seek: Seek = "nearest"
    stop_at_tol: bool = False
    exact: bool = True

    name: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        if self.steps is not None:
            check_count("steps", self.steps)
        check_seek(self.seek)

    def choose(self, problem: Problem) -> Search:
        steps: dict[str, Any] = {} if self.steps is None else {"steps": self.steps}
        budget = steps | {"stop_at_tol": self.stop_at_tol}
        ways = [block.vary for block in problem.blocks]
        if all(way.moves_edges for way in ways):
            if self.seek != "nearest":
                raise InputError(
                    f"seek='{self.seek}' is for features. Of edges Edges(keep=0.0) asks for none "
                    "in common with the reference."
                )
            return EdgeSwap(**budget).choose(problem)
        if all(way.swaps_ones for way in ways):
            return Swap(seek=self.seek, **budget).choose(problem)
        boxes = self.exact and all(way.bounds is not None for way in ways)
        if boxes and solvable(problem) and _leaves_room(problem):
            return Exact(seek=self.seek, **steps).choose(problem)
        if self.seek != "nearest" or problem.avoid:
            asked = "avoid=" if problem.avoid else f"seek='{self.seek}'"
            raise InputError(
                f"{asked} needs binary features of fixed number, or continuous ones that the layer "
                "reads through weight matrices of lower rank than there are features. Leave it "
                "out, or choose another layer."
            )
        if boxes and solvable(problem) and twice_differentiable(problem):
            return GaussNewton(**budget)
        return Adam(**budget).choose(problem)

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        return self.choose(problem).begin(problem, generator)


def _leaves_room(problem: Problem) -> bool:
    """Whether other features have the same X W: not where every W is of full rank."""
    read = problem.read
    return read is not None and any(
        basis_of(weight).shape[1] < len(weight) for weight in read.weights.values()
    )
