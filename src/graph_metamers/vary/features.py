"""Node features vary, the edges stay."""

import copy
import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.vary.base import Variable, Vary
from graph_metamers.vary.gradients import Matrix, rendered, rendered_product
from graph_metamers.vary.largest import largest


@dataclass(frozen=True)
class BinaryFeatures(Vary):
    """Binary node features vary; the number of ones stays.

    Each entry has a soft value, started at the mean and spread of its column (Eq. 7),

        X_soft = μ + τ ⊙ ε,   ε ~ N(0, 1),   P = sigmoid(slope · X_soft)   (Eq. 8);

    the ρ·n·d largest entries of P over the whole matrix are the ones, and the gradient goes
    straight through P (Eq. 9): X' = P + stopgrad(X_hard − P).

    Args:
        slope: s > 0 of Eq. 8.
        margin: λ ≥ 0 of Eq. 10, the weight of mean(P (1 − P)) in the loss. As the equation
            stands, lowering it drives P towards 0 and 1, where the paper's words say it prevents
            that; 0 reproduces its numbers.
        density: "fixed" keeps exactly the reference's number of ones, over the whole matrix;
            "per_node" that of each node. "learned" lets the search
            move it: no gradient reaches ρ in Eqs. 8–9 (a count is an integer), so ρ gets the
            surrogate ∂L/∂ρ = n·d · mean of ∂L/∂X' over the entries nearest the threshold, the
            next ones to be switched by a change of ρ. This surrogate is ours, not the paper's.

    Raises:
        InputError: A setting is out of range, or (on use) the features are not binary.

    Example:
        >>> data = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> variable = BinaryFeatures().start(data, torch.Generator().manual_seed(0))
        >>> variable.render().x.sum() == data.x.sum()
        tensor(True)
    """

    slope: float = 1.0
    margin: float = 0.0
    density: Literal["fixed", "per_node", "learned"] = "fixed"

    def __post_init__(self) -> None:
        if not (self.slope > 0 and math.isfinite(self.slope)):
            raise InputError(f"slope must be positive and finite; got {self.slope}. Try 1.0.")
        if not (self.margin >= 0 and math.isfinite(self.margin)):
            raise InputError(f"margin must be zero or more and finite; got {self.margin}. Try 0.0.")
        if self.density not in ("fixed", "per_node", "learned"):
            raise InputError(
                f"density must be 'fixed', 'per_node' or 'learned'; got {self.density!r}."
            )

    def check(self, data: Data) -> None:
        x = _features(data)
        if not is_binary(x):
            odd = x[(x != 0) & (x != 1)]
            raise InputError(
                f"BinaryFeatures needs data.x with entries 0 and 1 only; it holds {len(odd)} "
                f"others, such as {float(odd[0]):.4g}. Use vary=ContinuousFeatures()."
            )
        if not 0 < int(x.count_nonzero()) < x.numel():
            raise InputError(
                "BinaryFeatures needs data.x with both zeros and ones; every entry is "
                f"{int(x[0, 0])}, so its number of ones allows only the reference itself."
            )

    def start(self, data: Data, generator: torch.Generator) -> "BinaryVariable":
        self.check(data)
        return BinaryVariable(self, data, generator)

    def randoms(self, data: Data, generator: torch.Generator) -> Iterator[Data]:
        return _redrawn(self.start(data, generator), _features(data), generator)


class FeatureVariable(Variable):
    """One run in which node features vary."""

    @abstractmethod
    def product(self, graph: Data, weight: Float[Tensor, "features units"]) -> Tensor:
        """X' W of the graph that `render` returned last, [nodes, units], with its gradient.

        Ones and zeros are summed, not multiplied, and their gradient is made block by block, in
        memory that every product and `render` of this run share: backward goes through one of
        them at a time.
        """


class BinaryVariable(FeatureVariable):
    """One run of `BinaryFeatures`: soft values, and the density if it is learned."""

    def __init__(self, vary: BinaryFeatures, data: Data, generator: torch.Generator) -> None:
        x = _features(data)
        self._vary, self._data = vary, data
        self._soft = random_features(x, generator).requires_grad_()
        self._ones = int(x.count_nonzero())
        self._by_node = x.count_nonzero(dim=1) if vary.density == "per_node" else None
        self._hard, self._gradient = _like(x), _like(x)
        self._places = torch.empty(0, dtype=torch.long, device=x.device)  # of the ones in `_hard`
        self._threshold = self._guess = -math.inf
        self.parameters = [self._soft]
        if vary.density == "learned":
            self._density_logit = torch.logit(x.double().mean()).to(x).requires_grad_()
            self.parameters.append(self._density_logit)

    def render(self) -> Data:
        density = None
        if self._vary.density == "learned":
            density = self._density_logit.sigmoid()
            entries = self._hard.numel()
            self._ones = min(max(round(float(density.detach()) * entries), 1), entries - 1)
        self._place_ones()
        x = rendered(self._soft, self._hard, self._gradient, self._pull)
        if density is not None:
            x = cast(Tensor, _Density.apply(x, density, self._soft.detach(), self._ones))
        return with_features(self._data, x)

    def product(self, graph: Data, weight: Float[Tensor, "features units"]) -> Tensor:
        if self._vary.density == "learned":
            return graph["x"] @ weight
        nodes, width = self._hard.shape
        first = torch.searchsorted(
            self._places, width * torch.arange(nodes, device=self._places.device)
        )
        product = F.embedding_bag(self._places % width, weight, first, mode="sum")
        return rendered_product(self._soft, product, weight, self._gradient, self._pull)

    def _pull(self, soft: Tensor, gradient: Tensor, out: Tensor) -> None:
        """dP/dX_soft = s P (1 − P)."""
        slope = self._vary.slope
        p = torch.sigmoid(soft if slope == 1 else soft * slope)
        torch.ops.aten.sigmoid_backward.grad_input(gradient, p, grad_input=out)
        if slope != 1:
            out.mul_(slope)

    def _place_ones(self) -> None:
        # The sigmoid is monotone: the largest entries of P are the largest of X_soft.
        soft, hard = self._soft.detach().view(-1), self._hard.view(-1)
        hard.index_fill_(0, self._places, 0)
        if self._by_node is not None:
            self._places = _largest_of_rows(self._soft.detach(), self._by_node)
            hard.index_fill_(0, self._places, 1)
            return
        self._places = largest(soft, self._ones, guess=self._guess)
        hard.index_fill_(0, self._places, 1)
        # From step to step the threshold drifts a little, and mostly steadily.
        threshold = float(soft[self._places].min())
        self._guess = threshold - 3 * abs(threshold - self._threshold)
        self._threshold = threshold

    def penalty(self) -> Tensor | None:
        if self._vary.margin == 0:
            return None
        p = torch.sigmoid(self._vary.slope * self._soft)
        return self._vary.margin * (p * (1 - p)).mean()


class _Density(Function):
    """Passes X' on; backward, ρ gets its surrogate gradient."""

    @staticmethod
    def forward(ctx: Any, x: Matrix, density: Tensor, soft: Matrix, ones: int) -> Tensor:
        ctx.save_for_backward(soft)
        ctx.ones = ones
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (soft,) = ctx.saved_tensors
        marginal = _marginal(soft.view(-1), ctx.ones)
        return grads[0], soft.numel() * grads[0].reshape(-1)[marginal].mean(), None, None


def _largest_of_rows(values: Matrix, counts: Int[Tensor, " nodes"]) -> Int[Tensor, " count"]:
    """Flat indices of the `counts` largest values of each row, ascending."""
    most = int(counts.max())
    order = values.topk(most, dim=1).indices
    rows, ranks = (torch.arange(most, device=values.device) < counts[:, None]).nonzero(
        as_tuple=True
    )
    return (rows * values.shape[1] + order[rows, ranks]).sort().values


def _marginal(values: Tensor, ones: int) -> Tensor:
    band = max(1, ones // 20)
    order = largest(values, min(ones + band, len(values)))
    inner = values[order].argsort()[: min(2 * band, len(order))]
    return order[inner]


@dataclass(frozen=True)
class ContinuousFeatures(Vary):
    """Real-valued node features vary within bounds.

    Started at the mean and spread of each column (Eq. 7) and clipped to the bounds:

        X_soft = μ + τ ⊙ ε,   ε ~ N(0, 1),   X' = clip(X_soft, low, high);

    with the default bounds X' = ReLU(X_soft), as in the paper. No gradient passes an entry at a
    bound, so one that starts there stays.

    Args:
        low: Least value, None for no bound.
        high: Greatest value, None for no bound.

    Raises:
        InputError: The bounds leave nothing between them, or the reference lies outside them.

    Example:
        >>> data = Data(x=torch.rand(30, 2), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> variable = ContinuousFeatures(high=1.0).start(data, torch.Generator().manual_seed(0))
        >>> x = variable.render().x
        >>> bool((x >= 0).all() and (x <= 1).all())
        True
    """

    low: float | None = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        if any(bound is not None and math.isnan(bound) for bound in (self.low, self.high)):
            raise InputError(
                f"low and high must be numbers; got low={self.low}, high={self.high}. "
                "None leaves a side open."
            )
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(
                f"low must be less than high; got low={self.low}, high={self.high}. "
                "None leaves a side open."
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value, infinite where there is none."""
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    def check(self, data: Data) -> None:
        x = _features(data)
        least, greatest = float(x.min()), float(x.max())
        if (self.low is not None and least < self.low) or (
            self.high is not None and greatest > self.high
        ):
            raise InputError(
                f"ContinuousFeatures(low={self.low}, high={self.high}) must hold the reference; "
                f"data.x goes from {least:.4g} to {greatest:.4g}. Widen the bounds, or use None."
            )

    def start(self, data: Data, generator: torch.Generator) -> "ContinuousVariable":
        self.check(data)
        return ContinuousVariable(self, data, generator)

    def randoms(self, data: Data, generator: torch.Generator) -> Iterator[Data]:
        return _redrawn(self.start(data, generator), _features(data), generator)


class ContinuousVariable(FeatureVariable):
    """One run of `ContinuousFeatures`."""

    def __init__(self, vary: ContinuousFeatures, data: Data, generator: torch.Generator) -> None:
        x = _features(data)
        self._vary, self._data = vary, data
        self._soft = random_features(x, generator).requires_grad_()
        self._hard, self._gradient = _like(x), _like(x)
        self.parameters = [self._soft]

    def render(self) -> Data:
        torch.clamp(self._soft.detach(), *self._vary.bounds, out=self._hard)
        x = rendered(self._soft, self._hard, self._gradient, self._pull)
        return with_features(self._data, x)

    def product(self, graph: Data, weight: Float[Tensor, "features units"]) -> Tensor:
        product = graph["x"].detach() @ weight
        return rendered_product(self._soft, product, weight, self._gradient, self._pull)

    def _pull(self, soft: Tensor, gradient: Tensor, out: Tensor) -> None:
        """No gradient passes an entry at a bound."""
        low, high = self._vary.bounds
        torch.ops.aten.threshold_backward.grad_input(gradient, soft, low, grad_input=out)
        if high < math.inf:
            out.mul_(soft < high)


def random_features(x: Matrix, generator: torch.Generator) -> Matrix:
    """A random matrix with the column means and standard deviations of `x` (Eq. 7)."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    mean, spread = _moments(x)
    return noise.mul_(spread).add_(mean)


def _moments(x: Matrix) -> tuple[Tensor, Tensor]:
    mean = x.mean(dim=0)
    return mean, x.std(dim=0) if len(x) > 1 else torch.zeros_like(mean)


def _redrawn(variable: FeatureVariable, x: Matrix, generator: torch.Generator) -> Iterator[Data]:
    """What the variable renders, and then again with other soft values, in the same memory."""
    mean, spread = _moments(x)
    soft, noise = variable.parameters[0].detach(), torch.empty(x.shape, dtype=x.dtype)
    while True:
        yield variable.render()
        soft.copy_(noise.normal_(generator=generator)).mul_(spread).add_(mean)


def with_features(data: Data, x: Matrix) -> Data:
    """The same graph with other features; everything else is shared, not copied."""
    graph = copy.copy(data)
    graph.x = x
    return graph


def is_binary(x: Matrix) -> bool:
    """Whether every entry is 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())


def vary_features(data: Data) -> BinaryFeatures | ContinuousFeatures:
    """What varies when nothing is said: read from `data.x`.

    Entries that are all 0 or 1 are `BinaryFeatures`; others are `ContinuousFeatures`, from 0 up
    if no entry is negative, else unbounded.
    """
    x = _features(data)
    if is_binary(x):
        return BinaryFeatures()
    return ContinuousFeatures(low=0.0 if float(x.min()) >= 0 else None)


def _features(data: Data) -> Matrix:
    if data.x is None:
        raise InputError("data.x must be a floating point matrix [nodes, features]; data has none.")
    return data.x.detach()


def _like(x: Matrix) -> Matrix:
    return torch.zeros_like(x, memory_format=torch.contiguous_format)
