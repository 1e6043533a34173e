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


def rendered(soft: Matrix, values: Matrix, gradient: Matrix, pull: Pull) -> Matrix:
    """X', which is `values`, with a gradient that reaches X_soft.

    Args:
        soft: X_soft.
        values: X'. It is not copied.
        gradient: Memory for ∂L/∂X_soft; it is used again and again.
        pull: Turns ∂L/∂X' of a block into ∂L/∂X_soft.
    """
    return _Rendered.apply(soft, values, gradient, pull)  # pyright: ignore[reportReturnType]


def rendered_product(
    soft: Matrix,
    product: Float[Tensor, "nodes units"],
    weight: Float[Tensor, "features units"],
    gradient: Matrix,
    pull: Pull,
) -> Float[Tensor, "nodes units"]:
    """X' W, which is `product`, with a gradient that reaches X_soft but not W.

    ∂L/∂X' is as large as X' and never there as a whole.

    Args:
        soft: X_soft.
        product: X' W.
        weight: W.
        gradient: As in `rendered`.
        pull: As in `rendered`.
    """
    return _RenderedProduct.apply(  # pyright: ignore[reportReturnType]
        soft, product, weight, gradient, pull
    )


class _Rendered(Function):
    @staticmethod
    def forward(ctx: Any, soft: Matrix, values: Matrix, gradient: Matrix, pull: Pull) -> Tensor:
        ctx.save_for_backward(soft)
        ctx.gradient, ctx.pull = gradient, pull
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (soft,) = ctx.saved_tensors
        for row, g, out in _blocks(soft, grads[0], ctx.gradient):
            ctx.pull(row, g, out)
        return ctx.gradient, None, None, None


class _RenderedProduct(Function):
    @staticmethod
    def forward(
        ctx: Any, soft: Matrix, product: Tensor, weight: Tensor, gradient: Matrix, pull: Pull
    ) -> Tensor:
        ctx.save_for_backward(soft, weight)
        ctx.gradient, ctx.pull = gradient, pull
        return product.view_as(product)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        soft, weight = ctx.saved_tensors
        for row, g, out in _blocks(soft, grads[0], ctx.gradient):
            torch.mm(g, weight.T, out=out)
            ctx.pull(row, out, out)
        return ctx.gradient, None, None, None, None


def _blocks(soft: Matrix, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
    entries = BLOCK_ENTRIES * torch.get_num_threads()
    size = max(1, entries // soft.shape[1]) if soft.is_cpu else len(soft)
    return zip(*(matrix.split(size) for matrix in (soft, *others)), strict=True)
