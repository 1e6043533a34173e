"""Gauss–Newton search for continuous features, at any layer of a differentiable model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import InputError, check_count
from graph_metamers.probe.reads import LinearRead
from graph_metamers.progress import Watch
from graph_metamers.search.base import (
    Best,
    Problem,
    Search,
    Solution,
    continuous,
    ended,
    features,
    whole_read,
)
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.vary import Vary, with_features

NO_SECOND_DERIVATIVE = (
    "search=GaussNewton() needs second derivatives, which an operation of this model lacks. "
    "Use search=Adam()."
)
ENOUGH = 1e-12  # activation error that no one looks below


@dataclass(frozen=True)
class GaussNewton(Search):
    """Levenberg–Marquardt steps on the activation error of continuous features, matrix-free.

    With the residual r(X) = (h(X) − h) / ‖h‖ and its derivative J in X, a step is

        δ = −D Jᵀz,   (J D Jᵀ + μ I) z = r,   X ← clip(X + δ),

    D the entries that the bounds leave free to move. The system has as many unknowns as there are
    activations and is solved by conjugate gradients, each of which costs one product with Jᵀ and
    one with J, by automatic differentiation. μ falls after a step that lowered the true error and
    grows after one that did not, which is then not taken.

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

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_count("inner", self.inner)
        if self.patience is not None:
            check_count("patience", self.patience)

    def check(self, vary: Vary) -> None:
        continuous(self, vary)

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        low, high = continuous(self, problem.vary).bounds
        x = features(problem.vary.start(problem.data, generator).render()).clone()
        read = problem.find_read() or whole_read(problem)
        damping, fell, history = 1e-2, True, list[float]()
        saving = Checkpoint(checkpoint, problem)
        saved = saving.resumed(x.device)
        if saved is not None:
            x, damping, fell = saved["x"], saved["damping"], saved["fell"]
            history.extend(saved["history"])
        else:
            history.append(_error(problem, read, x))

        while True:
            now = with_features(problem.data, x)
            saving.see(len(history) - 1, history[-1], lambda now=now: now)
            status = ended(
                history,
                problem.tol,
                steps=self.steps,
                stop_at_tol=self.stop_at_tol,
                patience=self.patience,
                fall=0.1,
                enough=ENOUGH,
            )
            if watch is not None:
                watch(len(history) - 1, self.steps, history[-1])
            if status is not None:
                break
            move = _step(problem, read, x, low, high, damping, self.inner)
            moved = (x + move).clamp_(low, high)
            error = _error(problem, read, moved)
            if error < history[-1]:
                # After a failure the next success does not lower the damping: it would fail again.
                damping, fell = (damping / 2 if fell else damping), True
                x = moved
                history.append(error)
            else:
                damping, fell = 4 * damping, False
                history.append(history[-1])
            state = {"x": x, "damping": damping, "fell": fell, "history": history}
            saving.offer(lambda state=state: state)

        saving.remove()
        best = Best(problem.data)
        best.offer(with_features(problem.data, x), history[-1], len(history) - 1)
        return Solution(
            graph=best.graph,
            error=history[-1],
            status=status,
            history=history,
            steps=len(history) - 1,
            best_step=history.index(history[-1]),
            seconds=saving.seconds,
            trail=saving.trail,
        )


def twice_differentiable(problem: Problem) -> bool:
    """Whether every operation up to the layers has a second derivative, which J v needs."""
    x = features(problem.data).clone().requires_grad_()
    residual = problem.residual(problem.activations(with_features(problem.data, x)))
    w = torch.zeros_like(residual, requires_grad=True)
    (transposed,) = torch.autograd.grad(residual, x, w, create_graph=True)
    try:
        torch.autograd.grad(transposed.sum(), w)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # what lacks one says so in many ways
        return False
    return True


@torch.no_grad()
def _error(problem: Problem, read: LinearRead, x: Tensor) -> float:
    return problem.mean_error(read.activations(x @ read.weight)).item()


def _step(
    problem: Problem,
    read: LinearRead,
    x: Float[Tensor, "nodes features"],
    low: float,
    high: float,
    damping: float,
    inner: int,
) -> Float[Tensor, "nodes features"]:
    """The move δ = −D Jᵀz of one Levenberg–Marquardt step."""
    weight = read.weight
    y = (x @ weight).requires_grad_()
    residual = problem.residual(read.activations(y))
    # Jᵀw is linear in w: its derivative along v, taken in w, is J v.
    w = torch.zeros_like(residual, requires_grad=True)
    (transposed,) = torch.autograd.grad(residual, y, w, create_graph=True)
    if not transposed.requires_grad:
        raise InputError(NO_SECOND_DERIVATIVE)
    residual_now = residual.detach()

    def back(z: Tensor) -> Tensor:
        """Jᵀz, for X."""
        (gradient,) = torch.autograd.grad(residual, y, z, retain_graph=True)
        return gradient @ weight.T

    def forth(v: Tensor) -> Tensor:
        """J v, of a move of X."""
        (change,) = torch.autograd.grad(transposed, w, v @ weight, retain_graph=True)
        return change

    slope = back(residual_now)
    free = ~(((x <= low) & (slope > 0)) | ((x >= high) & (slope < 0)))

    def system(z: Tensor) -> Tensor:
        return forth(back(z) * free) + mu * z

    # In units of the curvature along the residual, so that damping has no dimension.
    try:
        along = forth(slope * free)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise InputError(NO_SECOND_DERIVATIVE) from error
    mu = damping * float(along.norm() / residual_now.norm().clamp(min=1e-30))
    return -back(_conjugate_gradients(system, residual_now, inner)) * free


def _conjugate_gradients(
    system: Callable[[Tensor], Tensor], goal: Tensor, iterations: int, enough: float = 1e-3
) -> Tensor:
    z, rest = torch.zeros_like(goal), goal.clone()
    direction, size = rest.clone(), rest.square().sum()
    first = size
    for _ in range(iterations):
        if size <= enough**2 * first:
            break
        image = system(direction)
        length = size / (direction * image).sum()
        z += length * direction
        rest -= length * image
        before, size = size, rest.square().sum()
        direction = rest + size / before * direction
    return z
