"""The paper's search: Adam on the soft graph (Eqs. 5–6)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from graph_metamers.errors import InputError, check_positive
from graph_metamers.inputs import Inputs
from graph_metamers.search.base import Search, check_budget
from graph_metamers.search.gradient import backward, check_gradient
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Rules, Walk
from graph_metamers.vary import Changed, soft_edges

FINITE_CHECK_STEPS = 25


@dataclass(frozen=True)
class Adam(Search):
    """Gradient descent on the activation error of the hard graph, with Adam.

        G'_{t+1} = Proj(G'_t − η ∇L),   L = L_act + penalty   (Eqs. 5, 6, 10)

    The graph scored at every step is the hard one. The best graph seen is returned, not the last.
    Of a batch the errors of all graphs are lowered together, and each has its own best.

    Args:
        lr: Learning rate η; 5e-4 in the paper.
        steps: Steps T at most. The paper does not give T; 1000 reproduces its numbers.
        stop_at_tol: End as soon as the error is at or below `tol`. Off as in the paper, which
            spends every step.
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
        check_budget(self.steps, self.patience)

    def choose(self, problem: Problem) -> Search:
        if any(block.vary.moves_edges for block in problem.blocks):
            _check_relaxation(problem)
        return super().choose(problem)

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        rules = Rules(self.steps, self.stop_at_tol, self.patience, fall=1e-3)
        return _AdamWalk(problem, generator, self), rules


class _AdamWalk(Walk):
    """The soft values, moved by PyTorch's Adam."""

    monotone: ClassVar[bool] = False

    def __init__(self, problem: Problem, generator: torch.Generator, search: Adam) -> None:
        self.problem = problem
        self._variables = [block.start(problem.inputs, generator) for block in problem.blocks]
        self._parameters = [p for variable in self._variables for p in variable.parameters]
        self._optimizer = torch.optim.Adam(self._parameters, lr=search.lr, fused=True)
        read, readable = problem.read, all(block.vary.reads for block in problem.blocks)
        self._fixed = None if read is None or readable else read.of(problem.inputs)
        self._looks, self._last = 0, search.steps + 1

    def look(self) -> Tensor:
        self._rendered = [variable.render() for variable in self._variables]
        inputs = self.problem.inputs
        for changed in self._rendered:
            inputs = inputs.replaced(changed)
        parts = self.problem.match.parts(self._activations(inputs))
        self._loss = self.problem.match.mean(parts)
        check_gradient(self._loss, "Adam")
        errors = self.problem.match.errors(parts)
        self._looks += 1
        due = self._looks % FINITE_CHECK_STEPS == 1 or self._looks == self._last
        if due and not all(bool(p.detach().sum().isfinite()) for p in self._parameters):
            errors = torch.where(self._broken(), torch.nan, errors)
        return errors

    def _broken(self) -> Tensor:
        """Which graphs have soft values that are not finite."""
        broken = torch.zeros(self.problem.graphs, device=self.problem.inputs.device)
        for block, variable in zip(self.problem.blocks, self._variables, strict=True):
            graph = self.problem.inputs.units_of(block.at).graph
            for parameter in variable.parameters:
                rows = ~parameter.detach().isfinite().flatten(1).all(1)
                whole = len(rows) != len(graph)
                broken += (
                    rows.any()
                    if whole
                    else torch.zeros_like(broken).index_add_(0, graph, rows.to(broken))
                )
        return broken > 0

    def _activations(self, inputs: Inputs) -> list[Tensor]:
        """Through the layers' linear read where there is one.

        Some of PyG's convolutions send features along the edges before they multiply them by
        their weights; the other way round the messages are as narrow as the layer.
        """
        problem, read = self.problem, self.problem.read
        if read is None:
            return problem.activations(inputs)
        if self._fixed is not None:
            with soft_edges(problem.session.model, inputs):
                return read.activations(self._fixed, inputs)
        reads = {
            block.at: variable.product(values, read.weights[block.at])
            for block, variable, values in zip(
                problem.blocks, self._variables, self._rendered, strict=True
            )
        }
        return read.activations(reads, problem.inputs)

    def step(self, active: Tensor, number: int) -> None:
        loss = self._loss.sum() if len(active) == 1 else self._loss[active].sum()
        for variable in self._variables:
            penalty = variable.penalty()
            if penalty is not None:
                loss = loss + penalty
        gradients = backward(loss, self._parameters, allow_unused=True)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.step()

    def changed(self) -> Changed:
        kept: Changed = {}
        for variable, changed in zip(self._variables, self._rendered, strict=True):
            kept |= variable.kept(changed)
        return kept

    def state(self) -> dict[str, Any]:
        return {
            "parameters": [p.detach() for p in self._parameters],
            "optimizer": self._optimizer.state_dict(),
            "looks": self._looks,
        }

    def resume(self, state: dict[str, Any]) -> None:
        for parameter, value in zip(self._parameters, state["parameters"], strict=True):
            parameter.detach().copy_(value)
        self._optimizer.load_state_dict(state["optimizer"])
        self._looks = state["looks"]


def _check_relaxation(problem: Problem) -> None:
    """Whether soft edges reach the layers, and as exactly as hard ones."""
    generator = torch.Generator().manual_seed(0)
    soft, hard = problem.inputs, problem.inputs
    for block in problem.blocks:
        variable = block.start(problem.inputs, generator)
        rendered = variable.render()
        soft, hard = soft.replaced(rendered), hard.replaced(variable.kept(rendered))
    relaxed = problem.activations(soft)
    with torch.no_grad():
        plain = problem.activations(hard)
    exact = all(
        float((a.detach() - b).norm()) <= 1e-4 * float(b.norm())
        for a, b in zip(relaxed, plain, strict=True)
    )
    if not exact or not any(h.requires_grad for h in relaxed):
        raise InputError(
            "Soft edges do not reach this layer as hard ones do: the model has graph layers that "
            "are no PyG convolutions. Use search=EdgeSwap(), which needs none."
        )
