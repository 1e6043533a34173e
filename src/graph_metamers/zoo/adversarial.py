"""Adversarial training: each epoch on features that were perturbed to raise the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_count, check_positive

Matrix = Float[Tensor, "nodes features"]


@dataclass(frozen=True)
class AdversarialTraining:
    """Projected gradient descent on node features inside the training loop (Madry et al., 2018).

    Each epoch looks for the perturbation δ that raises the training loss most,

        max L(X + δ)   with every node's ‖δ_v‖ ≤ ε,

    in `steps` steps of `step_size` along the gradient (normalised per node for "l2", its sign for
    "linf"), and takes its training step there. X + δ stays between the least and greatest value
    of X. Binary features are perturbed in the relaxed space: X + δ lies in [0, 1] and is not
    rounded, so ε = 1 in "l2" is the length of one flipped word, spread over as many words as
    raises the loss most. Only nodes that the labelled nodes' outputs depend on are perturbed:
    those whose gradient at X is not zero.

    Args:
        epsilon: Radius ε of each node's ball, in units of the features.
        steps: Steps of the attack.
        step_size: Length of a step; by default 2.5 ε / steps, which can cross the ball.
        norm: "l2" or "linf".

    Raises:
        InputError: A setting is out of range.
    """

    epsilon: float = 1.0
    steps: int = 5
    step_size: float | None = None
    norm: Literal["l2", "linf"] = "l2"

    def __post_init__(self) -> None:
        check_positive("epsilon", self.epsilon)
        check_count("steps", self.steps)
        if self.step_size is not None:
            check_positive("step_size", self.step_size)
        if self.norm not in ("l2", "linf"):
            raise InputError(f"norm must be 'l2' or 'linf'; got {self.norm!r}.")

    def attack(self, loss: "Callable[[Perturbed], Tensor]", x: Matrix) -> "Perturbed":
        """Features within the ball around `x` that raise the loss.

        Args:
            loss: The loss as a function of the features, differentiable in the perturbed ones.
                It may make use of it that most nodes are clean.
            x: Clean features [nodes, features].

        Returns:
            The nodes whose gradient at X is not zero, and their features within the ball.
        """
        x = x.detach()
        low, high = float(x.min()), float(x.max())
        length = self.step_size or 2.5 * self.epsilon / self.steps
        gradient = _gradient(loss, Perturbed(x, torch.arange(len(x), device=x.device), x))
        nodes = gradient.any(dim=1).nonzero().view(-1)
        clean, gradient = x[nodes], gradient[nodes]
        at = Perturbed(x, nodes, clean)
        for number in range(self.steps):
            if number > 0:
                gradient = _gradient(loss, at)
            step = self._direction(gradient).mul_(length)
            delta = self._projected(step.add_(at.features).sub_(clean))
            at = Perturbed(x, nodes, delta.add_(clean).clamp_(low, high))
        return at

    def _direction(self, gradient: Matrix) -> Matrix:
        if self.norm == "linf":
            return gradient.sign()
        return gradient / gradient.norm(dim=1, keepdim=True).clamp_(min=1e-30)

    def _projected(self, delta: Matrix) -> Matrix:
        if self.norm == "linf":
            return delta.clamp_(-self.epsilon, self.epsilon)
        return delta.mul_((self.epsilon / delta.norm(dim=1, keepdim=True)).clamp_(max=1))


@dataclass(frozen=True, eq=False)
class Perturbed:
    """A graph's features, some nodes' perturbed.

    Attributes:
        clean: All nodes' features as they were.
        nodes: Whose are perturbed.
        features: What theirs are.
    """

    clean: Matrix
    nodes: Int[Tensor, " perturbed"]
    features: Float[Tensor, "perturbed features"]

    def whole(self) -> Matrix:
        """All nodes' features."""
        return self.clean.index_copy(0, self.nodes, self.features)


def _gradient(loss: Callable[[Perturbed], Tensor], at: Perturbed) -> Tensor:
    """That of the loss in the perturbed features."""
    features = at.features.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(Perturbed(at.clean, at.nodes, features)), features)
    return gradient
