"""What every search is given, and what it gives back."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, listing
from graph_metamers.probe.flows import Flow
from graph_metamers.probe.reads import LinearRead
from graph_metamers.progress import Watch
from graph_metamers.vary import (
    BinaryFeatures,
    ContinuousFeatures,
    Edges,
    FeatureVariable,
    Variable,
    Vary,
    with_features,
)

Record = Callable[[Callable[[], list[Tensor]]], tuple[list[Tensor], list[Flow]]]
Seek = Literal["nearest", "random", "farthest"]


class Status(StrEnum):
    """How a search ended; `status.remedy` says what to do about it."""

    MATCHED = "matched"
    BUDGET_SPENT = "budget_spent"
    STALLED = "stalled"
    NONFINITE = "nonfinite"

    @property
    def remedy(self) -> str:
        """The outcome in a sentence, with the next step."""
        return {
            Status.MATCHED: "The activation error is at or below tol.",
            Status.BUDGET_SPENT: (
                "The activation error was still above tol when all steps were spent. "
                "Give the search more steps, try another search or seed, or accept a larger tol."
            ),
            Status.STALLED: (
                "The activation error stopped falling above tol. "
                "Ones and edges fit a layer less closely the more columns it has for them: accept "
                "a larger tol, or match a narrower layer such as the output; try another seed, "
                "and with Adam a larger lr."
            ),
            Status.NONFINITE: (
                "The activation error or its gradient became NaN or infinite. "
                "Try a smaller learning rate, and look for divisions by zero in the model."
            ),
        }[self]


@dataclass(frozen=True)
class Problem:
    """What is searched: a graph whose activation equals the target.

    Attributes:
        data: The reference graph.
        vary: What of it may vary.
        targets: The reference's activation at each layer.
        activations: Runs the model up to the layers.
        tol: Activation error at or below which a graph counts as matched.
        avoid: Feature matrices with which the metamer shall share as little as possible.
        find_read: Finds the linear maps through which the layers read the features, if any.
        similarity: How similar a graph is to the reference in what varies.
        record: Runs something, and tells what flows along the edges meanwhile.
        subject: A hash of model, graph, layers and what varies.
        identity: The same with all else that the search depends on; a checkpoint of another is
            refused.
    """

    data: Data
    vary: Vary
    targets: list[Tensor]
    activations: Callable[[Data], list[Tensor]]
    tol: float
    avoid: tuple[Tensor, ...] = ()
    find_read: Callable[[], LinearRead | None] = lambda: None
    similarity: Callable[[Data], float] = lambda graph: math.nan
    record: Record = lambda run: (run(), [])
    subject: str = ""
    identity: str = ""
    norms: list[Tensor] = field(init=False, repr=False)  # ‖h‖² at each layer

    def __post_init__(self) -> None:
        object.__setattr__(self, "norms", [t.square().sum() for t in self.targets])

    def errors(self, graph: Data) -> list[Tensor]:
        """Activation error ‖h' − h‖² / ‖h‖² at each layer (Eq. 5); the gradient reaches `graph`."""
        return self._errors(self.activations(graph))

    def error(self, graph: Data) -> Tensor:
        """The mean of the layers' activation errors: what a search lowers."""
        return self.mean_error(self.activations(graph))

    def mean_error(self, activations: list[Tensor]) -> Tensor:
        """The same, of activations that are known already."""
        errors = self._errors(activations)
        return errors[0] if len(errors) == 1 else torch.stack(errors).mean()

    def residual(self, activations: list[Tensor]) -> Tensor:
        """(h' − h) / ‖h‖ of all layers in one vector, whose squared norm is their mean error."""
        scaled = [
            ((h - target) / (len(self.targets) * norm).sqrt()).reshape(-1)
            for h, target, norm in zip(activations, self.targets, self.norms, strict=True)
        ]
        return torch.cat(scaled)

    def _errors(self, activations: list[Tensor]) -> list[Tensor]:
        return [
            (h - target).square().sum() / norm
            for h, target, norm in zip(activations, self.targets, self.norms, strict=True)
        ]


@dataclass(frozen=True)
class Solution:
    """The best graph that a search found.

    Attributes:
        graph: The best *hard* graph, as the model sees it.
        error: Its activation error.
        status: How the search ended.
        history: Activation error of every graph on the way, the start first.
        steps: Steps taken.
        best_step: The step at which the best graph was found.
        seconds: Time spent, over all resumed parts.
        notes: Further figures that this kind of search gives.
        trail: Step, error and similarity of graphs on the way.
    """

    graph: Data
    error: float
    status: Status
    history: list[float]
    steps: int
    best_step: int
    seconds: float
    notes: dict[str, float] = field(default_factory=dict[str, float])
    trail: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])


class Search(ABC):
    """How a metamer is looked for; a frozen dataclass of settings."""

    name: ClassVar[str]
    can_avoid: ClassVar[bool] = False

    def check(self, vary: Vary) -> None:  # noqa: B027, most can move anything
        """Raise `InputError` where this search cannot move what varies."""

    def choose(self, problem: Problem) -> "Search":
        """The search that will be run.

        Raises:
            InputError: It cannot do what is asked.
        """
        if problem.avoid and not self.can_avoid:
            raise InputError(
                f"{type(self).__name__} cannot keep away from other graphs (avoid=, metamers()). "
                "Swap and Exact can, where features vary and the layer allows it."
            )
        return self

    @abstractmethod
    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        """Look for a graph with the least activation error.

        Args:
            problem: What is searched.
            generator: The only source of chance (a CPU one).
            checkpoint: A file that the search's state is saved to now and then and resumed from;
                it is removed at the end.
            watch: Called after every step.
        """


class Best:
    """The best graph seen; copies only the tensors in which a graph differs from the reference."""

    def __init__(self, reference: Data) -> None:
        self.error, self.step = float("inf"), 0
        self._reference = reference
        self._changed: dict[str, Tensor] = {}

    def offer(self, graph: Data, error: float, step: int) -> None:
        """Keep `graph` if it is better than all before, or the first."""
        if self._changed and not error < self.error:
            return
        self.error, self.step = error, step
        for key, value in graph.to_dict().items():
            if isinstance(value, Tensor) and value is not self._reference.get(key):
                self._keep(key, value.detach())

    def _keep(self, key: str, value: Tensor) -> None:
        kept = self._changed.get(key)
        if kept is not None and kept.shape == value.shape:
            kept.copy_(value)
        else:
            self._changed[key] = value.clone()

    @property
    def graph(self) -> Data:
        """The best graph."""
        graph = copy.copy(self._reference)
        for key, value in self._reference.to_dict().items():
            # What stayed is copied: a change to the metamer never reaches the reference.
            if key not in self._changed and isinstance(value, Tensor):
                graph[key] = value.clone()
        return graph.update(self._changed)

    def state(self) -> dict[str, Any]:
        """All there is to save."""
        return {"error": self.error, "step": self.step, "changed": dict(self._changed)}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` saved."""
        self.error, self.step = state["error"], state["step"]
        self._changed = dict(state["changed"])


def ended(
    history: list[float],
    tol: float,
    *,
    steps: int,
    stop_at_tol: bool,
    patience: int | None,
    fall: float,
    enough: float = 0.0,
) -> Status | None:
    """How a search whose error never rises has ended, or None where it goes on.

    Args:
        history: Activation error of every step.
        tol: Activation error at or below which it counts as matched.
        steps: Steps at most.
        stop_at_tol: Whether it ends there.
        patience: Steps over which the error must fall; None for no such rule.
        fall: The share by which it must.
        enough: Activation error at which nothing is left to do.
    """
    error, step = history[-1], len(history) - 1
    if not error < float("inf"):
        return Status.NONFINITE
    outcome = Status.MATCHED if error <= tol else None
    if error <= enough or (outcome and stop_at_tol):
        return Status.MATCHED
    if step == steps:
        return outcome or Status.BUDGET_SPENT
    if patience is not None and step >= patience and error > (1 - fall) * history[-patience - 1]:
        return outcome or Status.STALLED
    return None


def check_relaxation(problem: Problem, graph: Data, plain: Data) -> None:
    """Whether soft edges reach the layers, and as exactly as hard ones.

    Args:
        problem: What is searched.
        graph: One with soft edges of weights 0 and 1.
        plain: The same with hard ones.

    Raises:
        InputError: They do not.
    """
    soft = problem.activations(graph)
    with torch.no_grad():
        hard = problem.activations(plain)
    exact = all(
        float((a.detach() - b).norm()) <= 1e-4 * float(b.norm())
        for a, b in zip(soft, hard, strict=True)
    )
    if not exact or not any(h.requires_grad for h in soft):
        raise InputError(
            "Soft edges do not reach this layer as hard ones do: the model has graph layers that "
            "are no PyG convolutions. Use search=EdgeSwap(), which needs none."
        )


def continuous(search: Search, vary: Vary) -> ContinuousFeatures:
    """What varies, where `search` needs it to be real-valued features.

    Raises:
        InputError: Something else varies.
    """
    if not isinstance(vary, ContinuousFeatures):
        raise InputError(
            f"{type(search).__name__} moves real numbers and needs vary=ContinuousFeatures(); got "
            f"{vary!r}. Use search='auto'."
        )
    return vary


def whole_read(problem: Problem) -> LinearRead:
    """X itself, for a layer that does not read it through linear maps."""
    x = features(problem.data)

    def activations(y: Tensor, graph: Data | None = None) -> list[Tensor]:
        return problem.activations(with_features(graph or problem.data, y))

    return LinearRead(torch.eye(x.shape[1], dtype=x.dtype, device=x.device), activations)


def narrow_error(problem: Problem, variable: Variable | None = None) -> Callable[[Data], Tensor]:
    """The error of a graph, through the layers' linear read where there is one.

    Some of PyG's convolutions send features along the edges before they multiply them by their
    weights; the other way round the messages are as narrow as the layer.

    Args:
        problem: What the graph is compared with.
        variable: What renders the graphs, where one does: it knows shorter ways.
    """
    if not isinstance(problem.vary, BinaryFeatures | ContinuousFeatures | Edges):
        return problem.error
    read = problem.find_read()
    if read is None:
        return problem.error
    if isinstance(problem.vary, Edges):
        y = features(problem.data) @ read.weight
        return lambda graph: problem.mean_error(read.activations(y, graph))
    if isinstance(variable, FeatureVariable):
        return lambda graph: problem.mean_error(
            read.activations(variable.product(graph, read.weight))
        )
    return lambda graph: problem.mean_error(read.activations(graph["x"] @ read.weight))


def features(data: Data) -> Tensor:
    """The features of a graph that is known to have them, without their gradient."""
    return data["x"].detach()


def check_seek(seek: str) -> None:
    """Raise where `seek` is not one of `Seek`."""
    if seek not in get_args(Seek):
        raise InputError(f"seek must be one of {listing(get_args(Seek))}; got '{seek}'.")


def signs(h: Tensor, generator: torch.Generator) -> Tensor:
    """Random ±1 of the shape of `h`, on its device."""
    return torch.randint(0, 2, h.shape, generator=generator).to(h).mul_(2).sub_(1)
