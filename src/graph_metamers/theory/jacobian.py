"""A layer's activation as a function of the features, and its derivative."""

import copy
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graph_metamers.errors import InputError, listing
from graph_metamers.probe import Session, Target, find_linear_read

Matrix = Float[Tensor, "nodes columns"]
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Reading:
    """An activation as a function of what is read of the features, Y = X W."""

    y: Matrix  # at the reference; X itself where nothing less is read
    weight: Float[Tensor, "features columns"] | None  # W, or None for the identity
    activate: Callable[[Tensor], Tensor]  # h as a function of Y, [rows, units]
    by_node: bool  # whether h has a row for each node

    @cached_property
    def factor(self) -> Float[Tensor, "columns directions"] | None:
        """R with R Rᵀ = Wᵀ W: ∂h/∂X has the singular values of ∂h/∂Y (I ⊗ R)."""
        return None if self.weight is None else torch.linalg.qr(self.weight).R.T

    def projected(self, gradient: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows _"]:
        """∂h/∂Y (I ⊗ R) from rows of ∂h/∂Y."""
        return gradient if self.factor is None else gradient @ self.factor

    @property
    def features(self) -> int:
        """How many features a node has."""
        return self.y.shape[1] if self.weight is None else self.weight.shape[0]


@contextmanager
def opened(session: Session, targets: list[Target]) -> Generator[tuple[nn.Module, Reading]]:
    """The model in float64, if it runs in that, and the activations at `targets`."""
    if len(session.inputs.feature_keys) != 1:
        raise InputError(
            "The theory is of one feature matrix data.x; the data has "
            f"{listing(session.inputs.feature_keys) or 'none'}."
        )
    with ExitStack() as stack:
        chosen = session
        try:
            twin = copy.deepcopy(session.model).double()
            floats = [k for k in session.inputs.keys if session.inputs[k].is_floating_point()]
            doubled = session.inputs.replaced({k: session.inputs[k].double() for k in floats})
            chosen = stack.enter_context(Session(twin, doubled, session.call))
            with torch.no_grad():
                chosen.activations(targets, chosen.inputs)
        except Exception:  # the model makes float32 numbers of its own, or cannot be copied
            chosen = session
        yield chosen.model, _reading(chosen, targets)


def _reading(session: Session, targets: list[Target]) -> Reading:
    """How the activations at `targets` depend on the features."""
    (key,) = session.inputs.feature_keys
    x = session.inputs[key].detach()
    read = find_linear_read(session, targets, [key])
    found = session.activations(targets, session.inputs)
    by_node = all(h.dim() > 0 and len(h) == len(x) for h in found)

    def activate(y: Tensor) -> Tensor:
        rows = len(y) if by_node else 1
        if read is None:
            activations = session.activations(targets, session.inputs.replaced({key: y}))
        else:
            activations = read.activations({key: y})
        return torch.cat([h.reshape(rows, -1) for h in activations], dim=1)

    weight = None if read is None else read.weight
    return Reading(x if weight is None else x @ weight, weight, activate, by_node)


def backward(h: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    """Jᵀ seed at y, zeros where h does not depend on y."""
    if not h.requires_grad:
        return torch.zeros_like(y)
    (gradient,) = torch.autograd.grad(h, y, seed, retain_graph=True, materialize_grads=True)
    return gradient


def rounding(values: Tensor) -> float:
    """A relative difference that rounding may make in this precision."""
    return 1e-4 if values.dtype == torch.float32 else 1e-9


def products(read: Reading) -> tuple[Product, Product]:
    """V ↦ J v and w ↦ Jᵀ w for J = ∂h/∂Y at the reference."""
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    if not h.requires_grad:
        return lambda v: torch.zeros_like(h), lambda w: torch.zeros_like(y)
    # Jᵀw is linear in w: its derivative along v, taken in w, is J v.
    w = torch.zeros_like(h, requires_grad=True)
    (transposed,) = torch.autograd.grad(h, y, w, create_graph=True)

    def forth(v: Tensor) -> Tensor:
        try:
            (change,) = torch.autograd.grad(transposed, w, v, retain_graph=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError("An operation of this model has no second derivative.") from error
        return change

    return forth, lambda w: backward(h, y, w)


def dense(read: Reading) -> Float[Tensor, "outputs directions"]:
    """∂h/∂Y (I ⊗ R): it has the singular values of ∂h/∂X."""
    whole: Any = torch.autograd.functional.jacobian(read.activate, read.y)
    by_output = whole.reshape(-1, *read.y.shape)
    return read.projected(by_output).flatten(1)
