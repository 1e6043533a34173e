"""The paper's theory, measured: how many directions of the features a layer does not see."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_count, listing
from graph_metamers.measure.rank import (
    effective_rank,
    numerical_rank,
    singular_values,
    stable_rank,
)
from graph_metamers.probe import Forward, Layer, Probe
from graph_metamers.theory.graph_rank import estimated_rank, estimated_spectrum, sparse_rank
from graph_metamers.theory.jacobian import Reading, dense, frozen, opened, reading
from graph_metamers.theory.nodes import fields_of, of_fields, of_nodes

Of = Literal["node", "receptive_field", "graph"]
OF = ("node", "receptive_field", "graph")

SAMPLE = 200  # nodes whose receptive field is looked at
RTOL = 1e-5
DENSE = 4000  # activations up to which the Jacobian is written down


@dataclass(frozen=True, eq=False)
class MetamerDimension:
    """Local dimension of the features with the same activation, and of what the layer sees.

    Per node the numbers are means over nodes.

    Attributes:
        of: Of which map: "node", "receptive_field" or "graph".
        layer: At which layer.
        dimension: Free directions, total − rank.
        total: Of how many: d, nodes of the receptive field × d, or n·d.
        rank: Rank of the Jacobian.
        tolerance: Singular values count above this share of the largest.
        effective_rank: exp of the entropy of the normalised singular values.
        stable_rank: ‖J‖_F² / ‖J‖₂².
        singular_values: [nodes, units] or [units], largest first; none where not computed.
        exact: Whether each rank was computed, not estimated from random vectors.
        standard_error: Of `dimension`: of the mean over sampled nodes; of an estimate with half
            the width within which small singular values are not told from zero.
        nodes: Which nodes, where per node.
        node_dimension: The dimension of each.
        node_rank: The rank of each.
    """

    of: Of
    layer: str
    dimension: float
    total: float
    rank: float
    tolerance: float
    effective_rank: float
    stable_rank: float
    singular_values: Float[Tensor, "*nodes units"] = field(repr=False)
    exact: bool = True
    standard_error: float = 0.0
    nodes: Int[Tensor, " nodes"] | None = None
    node_dimension: Int[Tensor, " nodes"] | None = None
    node_rank: Int[Tensor, " nodes"] | None = None

    @property
    def minimum(self) -> float:
        """The smallest dimension of a node; of the graph its own."""
        return float(self.dimension if self.node_dimension is None else self.node_dimension.min())

    @property
    def maximum(self) -> float:
        """The largest dimension of a node; of the graph its own."""
        return float(self.dimension if self.node_dimension is None else self.node_dimension.max())

    def __repr__(self) -> str:
        error = f" ± {self.standard_error:,.1f}" if self.standard_error else ""
        among = (
            ""
            if self.nodes is None
            else f" (mean of {len(self.nodes)} nodes, {self.minimum:,.0f} to {self.maximum:,.0f})"
        )
        return (
            f"MetamerDimension({self.layer}, of {self.of}: {self.dimension:,.1f}{error} of "
            f"{self.total:,.1f} directions are free{among}, rank {self.rank:,.1f} "
            f"{'exact' if self.exact else 'estimated'} at {self.tolerance:.0e}, "
            f"effective rank {self.effective_rank:,.1f}, stable rank {self.stable_rank:,.1f})"
        )


def metamer_dimension(
    model: nn.Module,
    data: Data,
    layer: Layer,
    *,
    of: Of = "node",
    nodes: Sequence[int] | Int[Tensor, " nodes"] | None = None,
    rtol: float = RTOL,
    seed: int = 0,
    frozen_attention: bool = False,
    forward: Forward | None = None,
) -> MetamerDimension:
    """Local dimension of the set of feature matrices with the activation of `data` (Eqs. 18–22).

    By the rank–nullity theorem it is the number of features less the rank of the activation's
    Jacobian J in them. Three maps can be meant:

    - `of="node"`, the paper's: from a node's aggregated features x̃_v = Σ_u α_uv x_u to its
      activation h_v (Eqs. 18–19), d − rank Df(x̃_v), for every node. For a layer that sums
      features once. α does not move (attention is frozen), all heads' sums move along with the
      same x̃, and features that the node reads of itself beside the sum (GraphSAGE) stay.
    - `of="receptive_field"`: from all features that h_v depends on, (their nodes)·d − rank
      ∂h_v/∂X, with attention's own derivative, for a sample of nodes. At any layer.
    - `of="graph"`: n·d − rank ∂h/∂X. Exact up to 4,000 activations, and for layers of which
      each unit reads its own columns of X W of the neighbours alone (GCN, GraphSAGE: sparse
      factorisations); there a linear layer h = S X W has the rank rank(S)·rank(W). Otherwise
      stochastic Lanczos quadrature gives an estimate and its standard error.

    J is found in float64 where the model runs in that. Time: "node" one backward pass a unit,
    "receptive_field" three a node and one a unit for each set of nodes that share nothing,
    "graph" as many as the largest neighbourhood and a factorisation a unit, or about a thousand
    products with J.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: Where; a list is seen jointly.
        of: Which map.
        nodes: Which nodes, for "node" (all by default) and "receptive_field" (200 drawn).
        rtol: Singular values count above this share of the largest (for blocks of "graph": of
            ∂h/∂XW, whose rank is the same), in [1e-7, 1).
        seed: Of the sample of nodes and of the random vectors.
        frozen_attention: Whether attention coefficients are held, for comparison.
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        The dimension and the ranks; zero or more.

    Raises:
        InputError: Something handed in cannot be used, or the layer does not suit `of`.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=60, features=40)
        >>> metamer_dimension(zoo.GCN(40, 3, hidden=8), data, "layer2").dimension
        Traceback (most recent call last):
        ...
        graph_metamers.errors.InputError: of='node' needs a layer at which a node's activation ...
        >>> metamer_dimension(zoo.GCN(40, 3, hidden=8), data, "layer1.conv").dimension
        32.0
    """
    if of not in OF:
        raise InputError(f"of must be one of {listing(OF)}; got {of!r}.")
    if not 1e-7 <= rtol < 1:
        raise InputError(f"rtol must be in [1e-7, 1); got {rtol!r}.")
    check_count("seed", seed, least=0)
    generator = torch.Generator().manual_seed(seed)
    with opened(model, data, layer, forward) as probe:
        targets = probe.targets(layer)
        label = " + ".join(target.label for target in targets)
        read = reading(probe, targets)
        if of != "graph" and not read.by_node:
            raise InputError(
                f"of='{of}' needs an activation with a row for each node; {label} has none. "
                "Use of='graph'."
            )
        chosen = _chosen(nodes, of, len(read.y), generator)
        features = probe.data.num_features
        if of == "node":
            total = torch.full((len(chosen),), features)
            values = of_nodes(probe, read, label, chosen)
            return _per_node(of, label, chosen, values, total, rtol, population=0)
        fields = fields_of(read, chosen, generator) if of == "receptive_field" else []
        with frozen(probe.model) if frozen_attention else nullcontext():
            if of == "receptive_field":
                total = features * torch.tensor([len(each) for each in fields])
                values = of_fields(read, fields, chosen)
                return _per_node(of, label, chosen, values, total, rtol, population=len(read.y))
            return _of_graph(probe, read, label, rtol, generator)


def least_gain(
    model: nn.Module, data: Data, layer: Layer, *, forward: Forward | None = None
) -> float:
    """By how much at least an affine layer moves when the features do.

        σ = min ‖h(X') − h(X)‖ / ‖X' − X‖,   the least singular value of ∂h/∂X

    Of a layer that is affine in the features, h = S X W + b, the Jacobian is the same everywhere,
    so that σ > 0 proves it injective: graphs with nearly the same activation have nearly the same
    features, ‖X' − X‖ ≤ ‖h' − h‖ / σ. Tried in float64 where the model runs in that.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: Where; a list is seen jointly.
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        σ; zero where the layer is not affine or not injective, and beyond 4,000 activations, where
        it is not computed.

    Raises:
        InputError: Something handed in cannot be used.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=30, features=5)
        >>> model = zoo.GCN(5, 3, hidden=8)
        >>> least_gain(model, data, "layer1.conv") > 0, least_gain(model, data, "layer1")
        (True, 0.0)
    """
    with opened(model, data, layer, forward) as probe:
        read = reading(probe, probe.targets(layer))
        entries = probe.data["x"].numel()
        with torch.no_grad():
            size = read.activate(read.y).numel()
        narrow = size < entries or read.y.shape[1] < probe.data.num_features
        if narrow or size > DENSE or not _is_affine(read):
            return 0.0
        jacobian = dense(read).double()
        values = singular_values(jacobian.T @ jacobian).cpu()
        return float(values[-1]) if int(numerical_rank(values, RTOL)) == entries else 0.0


@torch.no_grad()
def _is_affine(read: Reading) -> bool:
    """Whether steps in Y change h by as much from anywhere, tried at random points near and far."""
    generator = torch.Generator().manual_seed(0)
    size = float(read.y.abs().max()) or 1.0
    tolerance = 1e-4 if read.y.dtype == torch.float32 else 1e-9
    for scale in (1.0, 100.0):
        here, step = (
            scale * size * torch.randn(read.y.shape, generator=generator).to(read.y) for _ in "ab"
        )
        changes = [read.activate(y + step) - read.activate(y) for y in (read.y, here)]
        if not float((changes[0] - changes[1]).norm()) <= tolerance * float(changes[0].norm()):
            return False
    return True


def _chosen(nodes: Any, of: str, count: int, generator: torch.Generator) -> Tensor:
    if nodes is None:
        drawn = torch.randperm(count, generator=generator)[:SAMPLE]
        return torch.arange(count) if of == "node" else drawn.sort().values
    chosen = torch.as_tensor(nodes)
    whole = not chosen.is_floating_point() and chosen.dtype != torch.bool and chosen.dim() == 1
    if not whole or len(chosen) == 0 or int(chosen.min()) < 0 or int(chosen.max()) >= count:
        raise InputError(
            f"nodes must be a list of numbers of nodes, 0 to {count - 1}; got {nodes!r}."
        )
    if of == "graph":
        raise InputError("of='graph' is of all nodes together; leave nodes= out.")
    return chosen.long().cpu()


def _per_node(
    of: Of,
    label: str,
    chosen: Tensor,
    values: Tensor,
    total: Tensor,
    rtol: float,
    *,
    population: int,
) -> MetamerDimension:
    rank = numerical_rank(values, rtol)
    dimension = total - rank
    error = 0.0
    if 1 < len(chosen) < population:
        error = float(dimension.double().std()) * (1 / len(chosen) - 1 / population) ** 0.5
    return MetamerDimension(
        of=of,
        layer=label,
        dimension=float(dimension.double().mean()),
        total=float(total.double().mean()),
        rank=float(rank.double().mean()),
        tolerance=rtol,
        effective_rank=float(effective_rank(values).mean()),
        stable_rank=float(stable_rank(values).mean()),
        singular_values=values,
        standard_error=error,
        nodes=chosen,
        node_dimension=dimension,
        node_rank=rank,
    )


def _of_graph(
    probe: Probe, read: Reading, label: str, rtol: float, generator: torch.Generator
) -> MetamerDimension:
    with torch.no_grad():
        size = read.activate(read.y).numel()
    total = float(probe.data["x"].numel())
    if size <= DENSE:
        jacobian = dense(read).double()
        values = singular_values(jacobian @ jacobian.T).cpu()
        rank = float(numerical_rank(values, rtol))
        return MetamerDimension(
            of="graph",
            layer=label,
            dimension=total - rank,
            total=total,
            rank=rank,
            tolerance=rtol,
            effective_rank=float(effective_rank(values)),
            stable_rank=float(stable_rank(values)),
            singular_values=values,
        )
    rank, error, tolerance = sparse_rank(probe, read, rtol, generator), 0.0, rtol
    exact = rank is not None
    if rank is None:
        tolerance = max(rtol, torch.finfo(read.y.dtype).eps ** 0.5)
        rank, error = estimated_rank(read, tolerance, generator)
    effective, stable = estimated_spectrum(read, generator)
    return MetamerDimension(
        of="graph",
        layer=label,
        dimension=total - rank,
        total=total,
        rank=rank,
        tolerance=tolerance,
        effective_rank=effective,
        stable_rank=stable,
        singular_values=torch.zeros(0, dtype=torch.float64),
        exact=exact,
        standard_error=error,
    )
