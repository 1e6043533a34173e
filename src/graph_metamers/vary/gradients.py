"""How gradients pass from hard features to the soft values behind them, a block at a time.

A matrix of features is the largest thing in a search, larger than a processor's cache by far.
What is done to it entry by entry is done to a block of rows while that is in the cache.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

Matrix = Float[Tensor, "nodes features"]
# (block of X_soft, ∂L/∂X' there, where to write ∂L/∂X_soft: may be the second)
Pull = Callable[[Tensor, Tensor, Tensor], None]

BLOCK_ENTRIES = 1 << 18  # for each thread


def rendered(
    soft: Matrix,
    values: Float[Tensor, "nodes units"],
    gradient: Matrix,
    pull: Pull,
    weight: Float[Tensor, "features units"] | None = None,
) -> Float[Tensor, "nodes units"]:
    """X', or X' W, which is `values`, with a gradient that reaches X_soft but not W.

    With W, ∂L/∂X' is as large as X' and never there as a whole.

    Args:
        soft: X_soft.
        values: X', or X' W where there is a W. It is not copied.
        gradient: Memory for ∂L/∂X_soft; it is used again and again.
        pull: Turns ∂L/∂X' of a block into ∂L/∂X_soft.
        weight: W, or None.
    """
    return _Rendered.apply(soft, values, gradient, pull, weight)  # pyright: ignore[reportReturnType]


class _Rendered(Function):
    @staticmethod
    def forward(
        ctx: Any, soft: Matrix, values: Tensor, gradient: Matrix, pull: Pull, weight: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(soft, weight)
        ctx.gradient, ctx.pull = gradient, pull
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        soft, weight = ctx.saved_tensors
        for row, g, out in _blocks(soft, grads[0], ctx.gradient):
            ctx.pull(row, g if weight is None else torch.mm(g, weight.T, out=out), out)
        return ctx.gradient, None, None, None, None


def sigmoid_pull(slope: float) -> Pull:
    """The pull of P = sigmoid(s · X_soft), dP/dX_soft = s P (1 − P).

    >>> soft, hard = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1)
    >>> rendered(soft, hard, torch.empty(1, 1), sigmoid_pull(1.0)).backward()
    >>> soft.grad
    tensor([[0.2500]])
    """

    def pull(soft: Tensor, gradient: Tensor, out: Tensor) -> None:
        p = torch.sigmoid(soft if slope == 1 else soft * slope)
        torch.ops.aten.sigmoid_backward.grad_input(gradient, p, grad_input=out)
        if slope != 1:
            out.mul_(slope)

    return pull


def _blocks(soft: Matrix, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
    entries = BLOCK_ENTRIES * torch.get_num_threads()
    size = max(1, entries // soft.shape[1]) if soft.is_cpu else len(soft)
    return zip(*(matrix.split(size) for matrix in (soft, *others)), strict=True)
