"""Where a search stands, when it ends, and what it gives back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor

from graph_metamers.inputs import Inputs
from graph_metamers.search.problem import Problem
from graph_metamers.vary import Changed


class Ended(StrEnum):
    """Why a search ended; `remedy` says what to do about it."""

    REACHED = "reached"
    BUDGET_SPENT = "budget_spent"
    STALLED = "stalled"
    NONFINITE = "nonfinite"

    @property
    def remedy(self) -> str:
        """The end in a sentence, with the next step."""
        return {
            Ended.REACHED: "The error is at or below tol.",
            Ended.BUDGET_SPENT: (
                "The error was still above tol when all steps were spent. "
                "Give the search more steps, try another search or seed, or accept a larger tol."
            ),
            Ended.STALLED: (
                "The error stopped falling above tol. Try another seed, and with Adam a larger lr; "
                "accept a larger tol; or match a narrower layer such as the output. Binary "
                "features and edges match a wide layer less well than real ones do."
            ),
            Ended.NONFINITE: (
                "The error or its gradient became NaN or infinite. "
                "Try a smaller learning rate, and look for divisions by zero in the model."
            ),
        }[self]


@dataclass(frozen=True)
class Solution:
    """The best graphs that a search found.

    Attributes:
        inputs: The best *hard* graph or graphs, as the model sees them.
        errors: The error of each graph, as the search summed it.
        ended: Why the search of each graph ended.
        history: The error of every step, the mean over the graphs, the start first.
        steps: Steps taken.
        best_steps: The step at which each graph was found.
        seconds: Time spent, over all resumed parts.
        notes: Further figures that this kind of search gives.
        trail: Step, error and similarity of graphs on the way.
    """

    inputs: Inputs
    errors: Float[Tensor, " graphs"]
    ended: list[Ended]
    history: list[float]
    steps: int
    best_steps: list[int]
    seconds: float
    notes: dict[str, float] = field(default_factory=dict[str, float])
    trail: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])


@dataclass(frozen=True)
class Rules:
    """When the search of a graph ends.

    Attributes:
        steps: Steps at most.
        stop_at_tol: Whether it ends at the tolerance.
        patience: Steps over which the least error must fall; None for no such rule.
        fall: The share by which it must.
        enough: Error at which nothing is left to do.
    """

    steps: int
    stop_at_tol: bool
    patience: int | None
    fall: float
    enough: float = 0.0


class Walk(ABC):
    """Where a search stands.

    Attributes:
        problem: What is searched; some of the graphs where the others are done.
        monotone: Whether no step makes a graph worse, so that the last is the best.
        finished: Whether no step is left to take.
        saved: Whether checkpoints are written.
    """

    monotone: ClassVar[bool] = True
    saved: ClassVar[bool] = True
    problem: Problem
    finished: bool = False

    @abstractmethod
    def look(self) -> Float[Tensor, " graphs"]:
        """The error of each graph at hand."""

    @abstractmethod
    def step(self, active: Bool[Tensor, " graphs"], number: int) -> None:
        """Take a step with the active graphs; `number` counts from 1."""

    @abstractmethod
    def changed(self) -> Changed:
        """The hard values at hand of what varies."""

    def state(self) -> dict[str, Any]:
        """What a resumed search needs."""
        return {}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        vars(self).update(state)

    def is_early(self, step: int) -> bool:
        """Whether it is too early to call a search stalled."""
        return False

    def look_closer(self, step: int) -> bool:
        """Go on in another way, if there is one, where a search stalled above the tolerance."""
        return False

    def of(self, graphs: Int[Tensor, " some"]) -> "Walk | None":
        """The same with some of the graphs; None where that is not to be had."""
        return None

    def notes(self) -> dict[str, float]:
        """Further figures at the end."""
        return {}
