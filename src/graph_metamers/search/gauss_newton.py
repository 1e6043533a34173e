"""Gauss–Newton search for continuous features, at any layer of a differentiable model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from graph_metamers.errors import InputError, check_count
from graph_metamers.search.base import Search, check_budget
from graph_metamers.search.exact import boxes_of
from graph_metamers.search.gradient import backward
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Rules, Walk
from graph_metamers.vary import Changed, Vary

Values = list[Tensor]  # one for each input that varies

NO_SECOND_DERIVATIVE = (
    "search=GaussNewton() needs second derivatives, which an operation of this model lacks. "
    "Use search=Adam()."
)
ENOUGH = 1e-12  # error that no one looks below


@dataclass(frozen=True)
class GaussNewton(Search):
    """Levenberg–Marquardt steps on the activation error of continuous features, matrix-free.

    With the residual r(X) = (h(X) − h) / ‖h‖ and its derivative J in X, a step is

        δ = −D Jᵀz,   (J D Jᵀ + μ I) z = r,   X ← clip(X + δ),

    D the entries that the bounds leave free to move. The system has as many unknowns as there are
    activations and is solved by conjugate gradients, each of which costs one product with Jᵀ and
    one with J, by automatic differentiation. μ falls after a step that lowered the true error and
    grows after one that did not, which is then not taken. Each graph of a batch has its own μ.

    Args:
        steps: Steps at most.
        inner: Conjugate gradient iterations a step at most.
        stop_at_tol: End as soon as the activation error is at or below `tol`.
        patience: End when the error has fallen by less than a tenth over this many steps; None
            never ends early.

    Raises:
        InputError: A setting is out of range; on use, what varies are no continuous features, or
            the model has an operation without a second derivative.

    Example:
        >>> GaussNewton(steps=10)
        GaussNewton(steps=10, inner=40, stop_at_tol=False, patience=10)
    """

    steps: int = 50
    inner: int = 40
    stop_at_tol: bool = False
    patience: int | None = 10

    name: ClassVar[str] = "gauss_newton"
    needs: ClassVar[str] = "moves real numbers and needs vary=ContinuousFeatures()"

    def __post_init__(self) -> None:
        check_count("inner", self.inner)
        check_budget(self.steps, self.patience)

    def suits(self, vary: Vary) -> bool:
        return vary.bounds is not None

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        rules = Rules(self.steps, self.stop_at_tol, self.patience, fall=0.1, enough=ENOUGH)
        return _NewtonWalk(problem, generator, self.inner), rules


class _NewtonWalk(Walk):
    """The features, and the damping of each graph."""

    def __init__(self, problem: Problem, generator: torch.Generator, inner: int) -> None:
        self.problem, self._inner = problem, inner
        self._keys = [block.at for block in problem.blocks]
        self._boxes = boxes_of(problem)
        start = problem.start(generator)
        self._xs = [start[key].detach().clone() for key in self._keys]
        self._read = problem.read_or_whole
        self._weights = [self._read.weights[key] for key in self._keys]
        self._graphs = [problem.inputs.units_of(key).graph for key in self._keys]
        self._of_residual = problem.match.graph_of_residual()
        self._damping = torch.full((problem.graphs,), 1e-2, dtype=torch.float64)
        self._damping = self._damping.to(problem.inputs.device)
        self._fell = torch.ones_like(self._damping, dtype=torch.bool)
        self._parts = self._parts_of(self._xs)

    def look(self) -> Tensor:
        return self.problem.match.errors(self._parts)

    def step(self, active: Tensor, number: int) -> None:
        moves = self._move()
        moved = [
            (x + move).clamp_(*box)
            for x, move, box in zip(self._xs, moves, self._boxes, strict=True)
        ]
        parts = self._parts_of(moved)
        better = (parts.mean(0) < self._parts.mean(0)) & active
        self._xs = [
            new if bool(better.all()) else torch.where(better[graph][:, None], new, old)
            for old, new, graph in zip(self._xs, moved, self._graphs, strict=True)
        ]
        self._parts = torch.where(better, parts, self._parts)
        # After a failure the next success does not lower the damping: it would fail again.
        fallen = torch.where(self._fell, self._damping / 2, self._damping)
        self._damping = torch.where(better, fallen, 4 * self._damping)
        self._fell = better

    @torch.no_grad()
    def _parts_of(self, xs: Values) -> Tensor:
        reads = {
            key: x @ weight for key, x, weight in zip(self._keys, xs, self._weights, strict=True)
        }
        return self.problem.match.parts(self._read.activations(reads, self.problem.inputs))

    def _move(self) -> Values:
        """The move δ = −D Jᵀz of one Levenberg–Marquardt step."""
        ys = [
            (x @ weight).requires_grad_() for x, weight in zip(self._xs, self._weights, strict=True)
        ]
        reads = dict(zip(self._keys, ys, strict=True))
        residual = self.problem.match.residual(self._read.activations(reads, self.problem.inputs))
        # Jᵀw is linear in w: its derivative along v, taken in w, is J v.
        w = torch.zeros_like(residual, requires_grad=True)
        transposed = backward(
            residual, ys, w, create_graph=True, allow_unused=True, materialize_grads=True
        )
        transposed = [part for part in transposed if part.requires_grad]
        if len(transposed) < len(ys):
            raise InputError(NO_SECOND_DERIVATIVE)
        now = residual.detach()

        def back(z: Tensor) -> Values:
            """Jᵀz, for each X."""
            gradients = backward(residual, ys, z, retain_graph=True)
            return [g @ weight.T for g, weight in zip(gradients, self._weights, strict=True)]

        def forth(vs: Values) -> Tensor:
            """J v, of a move of each X."""
            seen = [v @ weight for v, weight in zip(vs, self._weights, strict=True)]
            (change,) = backward(transposed, w, seen, retain_graph=True)
            return change

        slopes = back(now)
        free = [
            ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))
            for x, slope, (low, high) in zip(self._xs, slopes, self._boxes, strict=True)
        ]

        def freed(vs: Values) -> Values:
            return [v * f for v, f in zip(vs, free, strict=True)]

        def system(z: Tensor) -> Tensor:
            return forth(freed(back(z))) + mu * z

        # In units of the curvature along the residual, so that damping has no dimension.
        try:
            along = forth(freed(slopes))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(NO_SECOND_DERIVATIVE) from error
        scale = self._norms(along) / self._norms(now).clamp(min=1e-30)
        mu = (self._damping * scale.double()).to(now)
        mu = mu if len(mu) == 1 else mu[self._of_residual]
        z = _conjugate_gradients(system, now, self._inner, self._dots)
        return [-v for v in freed(back(z))]

    def _dots(self, a: Tensor, b: Tensor) -> Tensor:
        """⟨a, b⟩ over the entries of a graph, for each entry of that graph."""
        if self.problem.graphs == 1:
            return (a * b).sum()
        sums = a.new_zeros(self.problem.graphs)
        return sums.index_add_(0, self._of_residual, a * b)[self._of_residual]

    def _norms(self, values: Tensor) -> Tensor:
        """The norm of the entries of each graph."""
        if self.problem.graphs == 1:
            return values.norm().view(1)
        sums = values.new_zeros(self.problem.graphs)
        return sums.index_add_(0, self._of_residual, values.square()).sqrt()

    def changed(self) -> Changed:
        return dict(zip(self._keys, self._xs, strict=True))

    def state(self) -> dict[str, Any]:
        return {"xs": self._xs, "damping": self._damping, "fell": self._fell}

    def resume(self, state: dict[str, Any]) -> None:
        self._xs, self._damping, self._fell = state["xs"], state["damping"], state["fell"]
        self._parts = self._parts_of(self._xs)


def twice_differentiable(problem: Problem) -> bool:
    """Whether every operation up to the layers has a second derivative, which J v needs."""
    xs = {b.at: b.value(problem.inputs).clone().requires_grad_() for b in problem.blocks}
    residual = problem.match.residual(problem.activations(problem.inputs.replaced(xs)))
    if not residual.requires_grad:
        return False
    w = torch.zeros_like(residual, requires_grad=True)
    transposed = torch.autograd.grad(
        residual, list(xs.values()), w, create_graph=True, allow_unused=True
    )
    if any(part is None for part in transposed):  # pyright: ignore[reportUnnecessaryComparison]
        return False
    try:
        torch.autograd.grad(torch.stack([part.sum() for part in transposed]).sum(), w)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # what lacks one says so in many ways
        return False
    return True


def _conjugate_gradients(
    system: Callable[[Tensor], Tensor],
    goal: Tensor,
    iterations: int,
    dots: Callable[[Tensor, Tensor], Tensor],
    enough: float = 1e-3,
) -> Tensor:
    """Solve for each graph on its own: `dots` gives the products over the entries of a graph."""
    z, rest = torch.zeros_like(goal), goal.clone()
    direction, size = rest.clone(), dots(rest, rest)
    first = size
    for _ in range(iterations):
        going = size > enough**2 * first
        if not bool(going.any()):
            break
        image = system(direction)
        length = torch.where(going, size / dots(direction, image), 0.0)
        z += length * direction
        rest -= length * image
        before, size = size, dots(rest, rest)
        direction = rest + torch.where(going, size / before, 0.0) * direction
    return z
