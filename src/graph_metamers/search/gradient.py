"""The gradient of what a model computes."""

from typing import Any

import torch
from torch import Tensor

from graph_metamers.errors import InputError, told

REMEDY = "Edges can be searched without: vary=Edges(), search=EdgeSwap()."


def backward(outputs: Any, inputs: Any, vectors: Any = None, **options: Any) -> tuple[Tensor, ...]:
    """`torch.autograd.grad`; what the model raises on the way back becomes a sentence."""
    with told("The search needs the gradient of the activation in what varies", REMEDY):
        return torch.autograd.grad(outputs, inputs, vectors, **options)


def check_gradient(loss: Tensor, search: str) -> None:
    """Raise where no gradient reaches what varies."""
    if not loss.requires_grad:
        raise InputError(
            f"{search} needs the gradient of the activation in what varies, and there is none: the "
            "model computes it under torch.no_grad, detaches it, or turns it into whole numbers. "
            + REMEDY
        )
