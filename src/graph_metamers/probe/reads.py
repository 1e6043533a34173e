"""The linear maps through which layers read the features, found in any model and verified."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch_geometric.data import Data

from graph_metamers.probe.layers import Target
from graph_metamers.probe.probe import Probe

Matrix = Float[Tensor, "nodes units"]


@dataclass(frozen=True, eq=False)
class LinearRead:
    """Activations that depend on the features X only through X W.

    Whatever a graph layer does with its neighbours, where it meets the features it multiplies
    them by weights, W = [W_1 … W_K], one for each such map. Two graphs with equal X W are the
    same to every layer behind; and a change of one entry of X is a change of one row of X W.

    Attributes:
        weight: W, [features, units].
        activations: The activations as a function of X W, [nodes, units], differentiable, on the
            reference's edges or those of a graph that is given. It costs a forward with `units`
            features in place of all of them.
        picks: What takes the place of the model's weights when it is given X W: by the names of
            the weights, in the order of their columns in W.
    """

    weight: Float[Tensor, "features units"]
    activations: Callable[..., list[Tensor]]  # (Matrix, graph: Data | None = None)
    picks: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def find_linear_read(probe: Probe, targets: list[Target]) -> LinearRead | None:
    """Find the maps through which `targets` read the features, or None where there are none.

    Every weight matrix with as many rows or columns as there are features is taken for such a
    map, and replaced by one that picks its own part of X W. That the activations are then the
    same is not assumed but tried, on the graph's features and on random ones.

    Args:
        probe: The opened model.
        targets: What is read.
    """
    fitting, idle = _maps(probe, targets)
    # A later layer whose width is the number of features by chance looks like a map of X.
    names = list(fitting)
    tries = [names[:count] for count in range(len(names), 0, -1)]
    if len(names) <= 4:
        tries = [
            list(chosen)
            for count in range(len(names), 0, -1)
            for chosen in itertools.combinations(names, count)
        ]
    for chosen in tries:
        read = _reduced(probe, targets, {name: fitting[name] for name in chosen}, idle)
        if _is_exact(probe, targets, read):
            return read
    return None


def _maps(probe: Probe, targets: list[Target]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights that fit the features' width: those that matter to the targets, and the others."""
    width = probe.data.num_features
    tables = [m.weight for m in probe.model.modules() if isinstance(m, nn.Embedding)]
    weights = {
        name: weight.detach().requires_grad_()
        for name, weight in probe.model.named_parameters()
        if weight.dim() == 2
        and width in weight.shape
        and weight.is_floating_point()
        and not any(weight is table for table in tables)
    }
    if not weights:
        return {}, {}
    x: Tensor = probe.data["x"].detach().requires_grad_()  # as hooks of the user's expect it
    with torch.enable_grad():
        activations = functional_call(_Call(probe, targets), _within(weights), (x,))
        total = torch.stack([h.sum() for h in activations]).sum()
    if not total.requires_grad:  # the layers behind a layer that is a function of the graph alone
        return {}, {}
    gradients = torch.autograd.grad(total, list(weights.values()), allow_unused=True)
    fitting: dict[str, Tensor] = {}
    idle: dict[str, Tensor] = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        idles = gradient is None  # pyright: ignore[reportUnnecessaryComparison]
        (idle if idles else fitting)[name] = weight.detach()
    return fitting, idle


def _reduced(
    probe: Probe, targets: list[Target], maps: dict[str, Tensor], idle: dict[str, Tensor]
) -> LinearRead:
    width = probe.data.num_features
    columns = {name: w.T if w.shape[1] == width else w for name, w in maps.items()}
    weight = torch.cat(list(columns.values()), dim=1).contiguous()
    units = weight.shape[1]
    picks: dict[str, Tensor] = {}
    first = 0
    for name, w in columns.items():
        pick = w.new_zeros(units, w.shape[1])
        pick[first : first + w.shape[1]] = torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
        picks[name] = pick.T.contiguous() if maps[name].shape[1] == width else pick
        first += w.shape[1]
    call = _Call(probe, targets)
    # A branch that the targets do not see may still run, and must be able to.
    others = {
        name: w.new_zeros(len(w), units) if w.shape[1] == width else w.new_zeros(units, w.shape[1])
        for name, w in idle.items()
    }
    whole = _within(picks | others)

    def activations(y: Matrix, graph: Data | None = None) -> list[Tensor]:
        return functional_call(call, whole, (y, graph))

    return LinearRead(weight, activations, picks)


@torch.no_grad()
def _is_exact(probe: Probe, targets: list[Target], read: LinearRead) -> bool:
    """Whether the activations of X W are those of X, to rounding."""
    reference: Tensor = probe.data["x"]
    if read.weight.dtype != reference.dtype:
        return False
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    call = _Call(probe, targets)
    # float32 sums over thousands of features and neighbours differ by 1e-6 with their order.
    tolerance = 1e-4 if reference.dtype == torch.float32 else 1e-9
    for x in (reference, noise.to(reference) * (float(reference.std()) or 1.0)):
        try:
            reduced = read.activations(x @ read.weight)
        except Exception:  # what a model makes of another width is open; it then has no such maps
            return False
        for h, other in zip(call(x), reduced, strict=True):
            if h.shape != other.shape:
                return False
            if not float((h - other).norm()) <= tolerance * float(h.norm()):
                return False
    return True


class _Call(nn.Module):
    """The activations as a function of the features: a module, as `functional_call` wants it."""

    def __init__(self, probe: Probe, targets: list[Target]) -> None:
        super().__init__()
        self.model = probe.model
        self._probe, self._targets = probe, targets

    def forward(self, x: Tensor, graph: Data | None = None) -> list[Tensor]:
        graph = copy.copy(self._probe.data if graph is None else graph)
        graph.x = x
        return self._probe.activations(self._targets, graph)


def _within(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": weight for name, weight in weights.items()}
