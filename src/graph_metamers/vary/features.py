"""Node features vary, the edges stay."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_number, check_positive, describe
from graph_metamers.inputs import Inputs
from graph_metamers.units import Units
from graph_metamers.vary.base import Bounded, Changed, Kind, Variable, Vary
from graph_metamers.vary.gradients import Matrix, Pull, rendered, sigmoid_pull
from graph_metamers.vary.largest import largest


class _Features(Vary):
    """A feature matrix varies; started at the mean and spread of each column."""

    attribute: ClassVar[str] = "x"
    kind: ClassVar[Kind] = "features"
    noun: ClassVar[str] = "features"
    reads: ClassVar[bool] = True

    def randoms(self, inputs: Inputs, at: str, generator: torch.Generator) -> Iterator[Changed]:
        """What a start renders, and then again with other soft values, in the same memory."""
        variable, (mean, spread) = self.start(inputs, at, generator), _moments(features(inputs, at))
        soft = variable.parameters[0].detach()
        noise = torch.empty(soft.shape, dtype=soft.dtype)
        while True:
            yield variable.render()
            soft.copy_(noise.normal_(generator=generator)).mul_(spread).add_(mean)


class _FeatureVariable(Variable):
    """Soft values of all entries, from which a hard matrix is made in memory that stays."""

    _pull: Pull

    def __init__(self, inputs: Inputs, at: str, generator: torch.Generator) -> None:
        x, self._at = features(inputs, at), at
        self._soft = random_features(x, generator).requires_grad_()
        self._hard, self._gradient = (
            torch.zeros_like(x, memory_format=torch.contiguous_format) for _ in range(2)
        )
        self.parameters = [self._soft]

    def render(self) -> Changed:
        self._harden()
        return {self._at: rendered(self._soft, self._hard, self._gradient, self._pull)}

    def product(self, changed: Changed, weight: Float[Tensor, "features units"]) -> Tensor:
        """Its gradient is made block by block.

        Every product and `render` of this run share its memory: backward goes through one of them
        at a time.
        """
        product = self._times(weight)
        return rendered(self._soft, product, self._gradient, self._pull, weight)

    def _times(self, weight: Tensor) -> Tensor:
        return self._hard @ weight

    @abstractmethod
    def _harden(self) -> None:
        """Write the hard values."""


@dataclass(frozen=True)
class BinaryFeatures(_Features):
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
        density: "fixed" keeps exactly the reference's number of ones, over all nodes of each
            graph; "per_node" that of each node.

    Raises:
        InputError: A setting is out of range, or (on use) the features are not binary.

    Example:
        >>> from torch_geometric.data import Data
        >>> inputs = Inputs(Data(x=torch.eye(3)))
        >>> start = BinaryFeatures().random(inputs, "x", torch.Generator().manual_seed(0))
        >>> start["x"].sum().item()
        3.0
    """

    slope: float = 1.0
    margin: float = 0.0
    density: Literal["fixed", "per_node"] = "fixed"

    def __post_init__(self) -> None:
        check_positive("slope", self.slope)
        check_number("margin", self.margin, 0)
        if self.density not in ("fixed", "per_node"):
            raise InputError(f"density must be 'fixed' or 'per_node'; got {self.density!r}.")

    @property
    def row_by_row(self) -> bool:
        return self.density == "per_node"

    @property
    def swaps_ones(self) -> bool:
        """Unless a margin is asked for, which only a soft search can lower."""
        return self.margin == 0

    def check(self, inputs: Inputs, at: str) -> None:
        x, said = features(inputs, at), inputs.spelled(at)
        if not is_binary(x):
            odd = x[(x != 0) & (x != 1)]
            raise InputError(
                f"BinaryFeatures needs {said} with entries 0 and 1 only; it holds {len(odd)} "
                f"others, such as {float(odd[0]):.4g}. Use vary=ContinuousFeatures()."
            )
        if not 0 < int(x.count_nonzero()) < x.numel():
            raise InputError(
                f"BinaryFeatures needs {said} with both zeros and ones; every entry is "
                f"{int(x[0, 0])}, so its number of ones allows only the reference itself."
            )

    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> "BinaryVariable":
        self.check(inputs, at)
        return BinaryVariable(self, inputs, at, generator)


class BinaryVariable(_FeatureVariable):
    """One run of `BinaryFeatures`: soft values of all entries."""

    def __init__(
        self, vary: BinaryFeatures, inputs: Inputs, at: str, generator: torch.Generator
    ) -> None:
        super().__init__(inputs, at, generator)
        self._vary, self._units = vary, inputs.units_of(at)
        self._pull = sigmoid_pull(vary.slope)
        there = inputs[at] != 0
        self._ones = int(there.sum())
        self._by_group: Tensor | None = None  # ones of each node or graph, where these are fixed
        if vary.density == "per_node":
            self._by_group = there.sum(dim=1)
        elif self._units.graphs > 1:
            self._by_group = self._units.total(there.long())
        self._padded: tuple[Tensor, Tensor] | None = None
        self._places = torch.empty(0, dtype=torch.long, device=there.device)  # of the hard ones
        self._threshold = self._guess = -math.inf

    def _times(self, weight: Tensor) -> Tensor:
        """Ones and zeros are summed, not multiplied."""
        nodes, width = self._hard.shape
        first = torch.searchsorted(
            self._places, width * torch.arange(nodes, device=self._places.device)
        )
        return F.embedding_bag(self._places % width, weight, first, mode="sum")

    def _harden(self) -> None:
        # The sigmoid is monotone: the largest entries of P are the largest of X_soft.
        soft, hard = self._soft.detach(), self._hard.view(-1)
        hard.index_fill_(0, self._places, 0)
        if self._by_group is None:
            self._places = self._largest(soft.view(-1))
        elif self._vary.density == "per_node":
            self._places = _largest_of_rows(soft, self._by_group)
        else:
            self._places = self._largest_of_graphs(soft, self._by_group)
        hard.index_fill_(0, self._places, 1)

    def _largest(self, soft: Float[Tensor, " entries"]) -> Int[Tensor, " count"]:
        places = largest(soft, self._ones, guess=self._guess)
        # From step to step the threshold drifts a little, and mostly steadily.
        threshold = float(soft[places].min())
        self._guess = threshold - 3 * abs(threshold - self._threshold)
        self._threshold = threshold
        return places

    def _largest_of_graphs(
        self, values: Matrix, counts: Int[Tensor, " graphs"]
    ) -> Int[Tensor, " count"]:
        if self._padded is None:
            self._padded = _padded(self._units, values.shape[1])
        places, there = self._padded
        by_graph = values.reshape(-1)[places].masked_fill_(~there, -math.inf)
        graphs, chosen = _largest_of_each(by_graph, counts)
        return places[graphs, chosen].sort().values

    def penalty(self) -> Tensor | None:
        if self._vary.margin == 0:
            return None
        p = torch.sigmoid(self._vary.slope * self._soft)
        # The mean over each graph's entries, as the loss is a sum over the graphs.
        by_graph = self._units.total(p * (1 - p)) / (self._units.counts * p.shape[1])
        return self._vary.margin * by_graph.sum()


def _padded(units: Units, width: int) -> tuple[Tensor, Tensor]:
    """Where the entries of each graph stand in a matrix, [graphs, most], and which there are."""
    rows, order = int(units.counts.max()), units.graph.argsort(stable=True)
    places = torch.zeros(units.graphs, rows, dtype=torch.long, device=order.device)
    there = torch.zeros_like(places, dtype=torch.bool)
    at = units.graph[order], units.within(order)
    places[at], there[at] = order, True
    columns = torch.arange(width, device=order.device)
    entries = (places[:, :, None] * width + columns).flatten(1)
    return entries, there.repeat_interleave(width, dim=1)


def _largest_of_rows(values: Matrix, counts: Int[Tensor, " nodes"]) -> Int[Tensor, " count"]:
    """Flat indices of the `counts` largest values of each row, ascending."""
    rows, columns = _largest_of_each(values, counts)
    return (rows * values.shape[1] + columns).sort().values


def _largest_of_each(
    values: Matrix, counts: Int[Tensor, " rows"]
) -> tuple[Int[Tensor, " count"], Int[Tensor, " count"]]:
    """Rows and columns of the `counts` largest values of each row."""
    most = int(counts.max())
    order = values.topk(most, dim=1).indices
    wanted = torch.arange(most, device=values.device) < counts[:, None]
    rows, ranks = wanted.nonzero(as_tuple=True)
    return rows, order[rows, ranks]


@dataclass(frozen=True)
class ContinuousFeatures(_Features, Bounded):
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
        >>> from torch_geometric.data import Data
        >>> inputs, generator = Inputs(Data(x=torch.rand(30, 2))), torch.Generator().manual_seed(0)
        >>> x = ContinuousFeatures(high=1.0).random(inputs, "x", generator)["x"]
        >>> bool((x >= 0).all() and (x <= 1).all())
        True
    """

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest value, infinite where there is none."""
        return self.limits

    def check(self, inputs: Inputs, at: str) -> None:
        self.check_within(features(inputs, at), inputs.spelled(at))

    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> "ContinuousVariable":
        self.check(inputs, at)
        return ContinuousVariable(self, inputs, at, generator)


class ContinuousVariable(_FeatureVariable):
    """One run of `ContinuousFeatures`."""

    def __init__(
        self, vary: ContinuousFeatures, inputs: Inputs, at: str, generator: torch.Generator
    ) -> None:
        super().__init__(inputs, at, generator)
        self._bounds = vary.bounds
        self._pull = self._within

    def _harden(self) -> None:
        torch.clamp(self._soft.detach(), *self._bounds, out=self._hard)

    def _within(self, soft: Tensor, gradient: Tensor, out: Tensor) -> None:
        """No gradient passes an entry at a bound."""
        low, high = self._bounds
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


def is_binary(x: Matrix) -> bool:
    """Whether every entry is 0 or 1."""
    return bool(((x == 0) | (x == 1)).all())


def vary_features(inputs: Inputs, at: str = "x") -> BinaryFeatures | ContinuousFeatures:
    """What varies when nothing is said: read from the features.

    Entries that are all 0 or 1 are `BinaryFeatures`; others are `ContinuousFeatures`, from 0 up
    if no entry is negative, else unbounded.
    """
    x = features(inputs, at)
    if is_binary(x):
        return BinaryFeatures()
    return ContinuousFeatures(low=0.0 if float(x.min()) >= 0 else None)


def features(inputs: Inputs, at: str) -> Matrix:
    """A feature matrix, without its gradient.

    Raises:
        InputError: It is no dense floating point matrix with at least one entry.
    """
    x, said = inputs[at], inputs.spelled(at)
    wanted = f"{said} must be a dense floating point matrix [rows, features] to vary"
    if x.layout != torch.strided:
        raise InputError(f"{wanted}; got {x.layout}. Convert it with {said}.to_dense().")
    if not x.is_floating_point():
        raise InputError(f"{wanted}; got {describe(x)}. Convert it with {said}.float().")
    if x.dim() != 2:
        raise InputError(f"{wanted}; got {describe(x)}. Reshape it to one row a node.")
    if x.numel() == 0:
        raise InputError(f"{wanted}, with at least one entry; got {describe(x)}.")
    return x.detach()
