"""The paper's search: Adam on the soft graph (Eqs. 5–6)."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from graph_metamers.errors import check_count, check_positive
from graph_metamers.search.base import (
    Best,
    Problem,
    Search,
    Solution,
    Status,
    Watch,
    check_relaxation,
    narrow_error,
)
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.vary import Edges

FINITE_CHECK_STEPS = 25


@dataclass(frozen=True)
class Adam(Search):
    """Gradient descent on the activation error of the hard graph, with Adam.

        G'_{t+1} = Proj(G'_t − η ∇L),   L = L_act + penalty   (Eqs. 5, 6, 10)

    The graph scored at every step is the hard one. The best graph seen is returned, not the last.

    Args:
        lr: Learning rate η; 5e-4 in the paper.
        steps: Steps T at most. The paper does not give T; 1000 reproduces its numbers.
        stop_at_tol: End as soon as the activation error is at or below `tol`. Off as in the
            paper, which spends every step.
        patience: End as stalled when the best error has not fallen by a relative 1e-3 over this
            many steps; None never ends early.

    Raises:
        InputError: A setting is out of range.

    Example:
        >>> Adam(lr=0.01, steps=200, stop_at_tol=True)
        Adam(lr=0.01, steps=200, stop_at_tol=True, patience=200)
    """

    lr: float = 5e-4
    steps: int = 1000
    stop_at_tol: bool = False
    patience: int | None = 200

    name: ClassVar[str] = "adam"

    def __post_init__(self) -> None:
        check_positive("lr", self.lr)
        check_count("steps", self.steps)
        if self.patience is not None:
            check_count("patience", self.patience)

    def choose(self, problem: Problem) -> Search:
        if isinstance(problem.vary, Edges):
            variable = problem.vary.start(problem.data, torch.Generator().manual_seed(0))
            graph = variable.render()
            check_relaxation(problem, graph, variable.kept(graph))
        return super().choose(problem)

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        variable = problem.vary.start(problem.data, generator)
        parameters = variable.parameters
        optimizer = torch.optim.Adam(parameters, lr=self.lr, fused=True)
        best, history = Best(problem.data), list[float]()
        saving = Checkpoint(checkpoint, problem)
        saved = saving.resumed(parameters[0].device)
        if saved is not None:
            for parameter, value in zip(parameters, saved["parameters"], strict=True):
                parameter.detach().copy_(value)
            optimizer.load_state_dict(saved["optimizer"])
            generator.set_state(saved["generator"].cpu())
            best.resume(saved["best"])
            history.extend(saved["history"])
        error_of = narrow_error(problem, variable)
        lowest = list(itertools.accumulate(history, min))  # the least error up to each step

        status = None
        while status is None:
            step = len(history)
            graph = variable.render()
            loss = error_of(graph)
            error = float(loss.detach())
            history.append(error)
            lowest.append(min(error, lowest[-1]) if lowest else error)
            saving.see(step, error, lambda: variable.kept(graph))  # noqa: B023, called at once
            if not error >= best.error:
                best.offer(variable.kept(graph), error, step)
            status = self._ended(history, lowest, best, parameters, problem.tol)
            if watch is not None:
                watch(step, self.steps, best.error)
            if status is not None:
                break

            penalty = variable.penalty()
            if penalty is not None:
                loss = loss + penalty
            for parameter, gradient in zip(
                parameters,
                torch.autograd.grad(loss, parameters, allow_unused=True),
                strict=True,
            ):
                parameter.grad = gradient
            optimizer.step()

            saving.offer(
                lambda: {
                    "parameters": [p.detach() for p in parameters],
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                    "best": best.state(),
                    "history": history,
                }
            )

        saving.remove()
        return Solution(
            graph=best.graph,
            error=best.error,
            status=status,
            history=history,
            steps=len(history) - 1,
            best_step=best.step,
            seconds=saving.seconds,
            trail=saving.trail,
        )

    def _ended(
        self,
        history: list[float],
        lowest: list[float],
        best: Best,
        parameters: list[Tensor],
        tol: float,
    ) -> Status | None:
        step = len(history) - 1
        status = self._outcome(lowest, best, tol)
        look = status is not None or step % FINITE_CHECK_STEPS == 0
        if not math.isfinite(history[-1]) or (
            look and not all(bool(p.sum().isfinite()) for p in parameters)
        ):
            return Status.MATCHED if best.error <= tol else Status.NONFINITE
        return status

    def _outcome(self, lowest: list[float], best: Best, tol: float) -> Status | None:
        step = len(lowest) - 1
        matched = best.error <= tol
        if matched and (self.stop_at_tol or step == self.steps or best.error == 0):
            return Status.MATCHED
        if step == self.steps:
            return Status.BUDGET_SPENT
        if self.patience is not None and step > self.patience:
            before = lowest[-self.patience - 1]
            if best.error > before * (1 - 1e-3):
                return Status.MATCHED if matched else Status.STALLED
        return None
