"""The paper's theory, measured: how much of its input a nonlinearity collapses."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graph_metamers.errors import InputError, listing
from graph_metamers.inputs import Graph
from graph_metamers.probe import Forward, Layer, Session, Target
from graph_metamers.probe.trace import ACTIVATION_FUNCTIONS

OFF = 1e-6  # |σ'| at or below which a unit is collapsed


@dataclass(frozen=True, eq=False)
class ActivationVolume:
    """What the nonlinearity that ends a layer does to volume."""

    layer: str
    log_volume: float  # Σ log |σ'(z)| over all units that are on; below 0 it contracts
    collapsed: int  # how many units are off, |σ'| ≤ 1e-6
    share: float  # of all units

    def __repr__(self) -> str:
        return (
            f"ActivationVolume({self.layer}, log volume {self.log_volume:,.1f} over the units "
            f"that are on, {self.collapsed:,} collapsed ({self.share:.1%}))"
        )


def activation_volume(
    model: nn.Module, data: Graph, layer: Layer, *, forward: Forward | None = None
) -> ActivationVolume:
    """How the nonlinearity that ends a layer changes volume (Eqs. 23–24).

        log |det Dσ(z)| = Σ_i log |σ'(z_i)|

    over the units that are on, |σ'| > 1e-6; with one that is off the determinant is zero, so those
    are counted apart. σ' is the derivative at the activation's input, by autograd. One forward.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: One layer that ends in an elementwise activation, a module of torch's or a function.
        forward: How to call the model where the names of its arguments do not say so.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=60, features=40)
        >>> activation_volume(zoo.GCN(40, 3, activation="leaky_relu"), data, "layer1").collapsed
        0
    """
    with Session(model, data, forward) as session:
        return volume_of(session, session.targets(layer))


def volume_of(session: Session, targets: list[Target]) -> ActivationVolume:
    """The same as `activation_volume`, of an opened model."""
    if len(targets) > 1:
        raise InputError(
            f"activation_volume takes one layer; got {len(targets)}. Ask for each in turn."
        )
    with torch.no_grad(), _LastActivation() as last:
        (h,) = session.activations(targets, session.inputs)
    if last.output is not h:
        raise InputError(
            f"activation_volume needs a layer that ends in an elementwise activation, such "
            f"as ReLU; {targets[0].label} does not. Choose among "
            f"{listing(session.layers.names)} one that does."
        )
    slope = last.derivative().abs().double()
    off = slope <= OFF
    return ActivationVolume(
        layer=targets[0].label,
        log_volume=float(slope[~off].log().sum()),
        collapsed=int(off.sum()),
        share=float(off.double().mean()),
    )


_NAMES = ACTIVATION_FUNCTIONS | {
    *("selu_", "rrelu_", "logsigmoid", "hardshrink", "softshrink", "tanhshrink", "threshold")
}


class _LastActivation(TorchFunctionMode):
    """Remembers the activation function that was called last, with its input and its output."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Any = None
        self._input = torch.zeros(0)
        self._function: Callable[[Tensor], Tensor] = torch.clone

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if getattr(func, "__name__", "") not in _NAMES or not args:
            return func(*args, **options)
        self._input = args[0].clone()  # in place it would be overwritten
        self._function = lambda z: func(z, *args[1:], **options)
        self.output = func(*args, **options)
        return self.output

    def derivative(self) -> Tensor:
        """σ'(z), of the shape of z."""
        z = self._input.detach().requires_grad_()
        with torch.enable_grad():
            out = self._function(z.clone())
        (slope,) = torch.autograd.grad(out.sum(), z)
        return slope
