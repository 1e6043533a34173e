"""The paper's theory, measured: how many directions of the features a layer does not see."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graph_metamers.errors import InputError, check_count, known_name
from graph_metamers.inputs import Graph
from graph_metamers.measure.rank import (
    effective_rank,
    numerical_rank,
    singular_values,
    stable_rank,
)
from graph_metamers.probe import Forward, Layer, Session, Target
from graph_metamers.theory.jacobian import Reading, dense, opened, rounding
from graph_metamers.theory.nodes import fields_of, of_fields, of_nodes

Of = Literal["node", "receptive_field"]

SAMPLE = 200  # nodes whose receptive field is looked at
RTOL = 1e-5
DENSE = 4000  # activations up to which the whole Jacobian is written down


@dataclass(frozen=True, eq=False)
class MetamerDimension:
    """Local dimension of the features with the same activation, and of what the layer sees.

    The numbers are means over nodes; for the ranks see `graph_metamers.measure.rank`.
    """

    of: Of  # which map
    layer: str
    dimension: float  # free directions, total − rank
    total: float  # of how many: d, or nodes of the receptive field × d
    rank: float  # of a node's Jacobian
    tolerance: float  # singular values count above this share of the largest
    effective_rank: float
    stable_rank: float
    singular_values: Float[Tensor, "nodes units"]  # largest first
    standard_error: float  # of the mean dimension, where the nodes are a sample
    nodes: Int[Tensor, " nodes"]
    node_dimension: Int[Tensor, " nodes"]
    node_rank: Int[Tensor, " nodes"]

    def __repr__(self) -> str:
        error = f" ± {self.standard_error:,.1f}" if self.standard_error else ""
        least, most = int(self.node_dimension.min()), int(self.node_dimension.max())
        return (
            f"MetamerDimension({self.layer}, of {self.of}: {self.dimension:,.1f}{error} of "
            f"{self.total:,.1f} directions are free (mean of {len(self.nodes)} nodes, {least:,} to "
            f"{most:,}), rank {self.rank:,.1f} at {self.tolerance:.0e}, effective rank "
            f"{self.effective_rank:,.1f}, stable rank {self.stable_rank:,.1f})"
        )


def metamer_dimension(
    model: nn.Module,
    data: Graph,
    layer: Layer,
    *,
    of: Of = "node",
    nodes: Sequence[int] | Int[Tensor, " nodes"] | None = None,
    rtol: float = RTOL,
    seed: int = 0,
    forward: Forward | None = None,
) -> MetamerDimension:
    """Local dimension of the set of feature matrices with the activation of `data` (Eqs. 18–22).

    By the rank–nullity theorem it is the number of features less the rank of the activation's
    Jacobian J in them. Two maps can be meant:

    - `of="node"`, the paper's: from a node's aggregated features x̃_v = Σ_u α_uv x_u to its
      activation h_v (Eqs. 18–19), d − rank Df(x̃_v), for every node. For a layer that sums
      features once. α does not move (attention is frozen), the sums of all heads move along with
      the same x̃, and features that the node reads of itself beside the sum (GraphSAGE) stay.
    - `of="receptive_field"`: from all features that h_v depends on, (their nodes)·d − rank
      ∂h_v/∂X, with attention's own derivative, for a sample of nodes. At any layer.

    J is found in float64 where the model runs in that. Time: "node" takes one backward pass a
    unit, "receptive_field" three a node and one for each of its units.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: Where; a list is seen jointly.
        of: Which map.
        nodes: Which nodes; by default all for "node", 200 drawn for "receptive_field".
        rtol: Singular values count above this share of the largest, in [1e-7, 1).
        seed: Of the sample of nodes and of the random vectors.
        forward: How to call the model where the names of its arguments do not say so.

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
    with Session(model, data, forward) as session:
        targets = session.targets(layer)
        return dimension_of(session, targets, of=of, nodes=nodes, rtol=rtol, seed=seed)


def dimension_of(
    session: Session,
    targets: list[Target],
    *,
    of: Of = "node",
    nodes: Sequence[int] | Int[Tensor, " nodes"] | None = None,
    rtol: float = RTOL,
    seed: int = 0,
) -> MetamerDimension:
    """The same as `metamer_dimension`, of an opened model."""
    known_name("of", of, get_args(Of), "a map")
    if not 1e-7 <= rtol < 1:
        raise InputError(f"rtol must be in [1e-7, 1); got {rtol!r}.")
    check_count("seed", seed, least=0)
    generator = torch.Generator().manual_seed(seed)
    label = " + ".join(target.label for target in targets)
    with opened(session, targets) as (twin, read):
        if not read.by_node:
            raise InputError(
                f"metamer_dimension needs an activation with a row for each node; {label} has none."
            )
        count = len(read.y)
        chosen = _chosen(nodes, of, count, generator)
        if of == "node":
            total = torch.full((len(chosen),), read.features)
            values = of_nodes(twin, read, label, chosen)
        else:
            fields = fields_of(read, chosen, generator)
            total = read.features * torch.tensor([len(each) for each in fields])
            values = of_fields(read, fields, chosen)
    rank = numerical_rank(values, rtol)
    dimension = total - rank
    error = 0.0
    if of != "node" and 1 < len(chosen) < count:
        error = float(dimension.double().std()) * (1 / len(chosen) - 1 / count) ** 0.5
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


def least_gain(session: Session, targets: list[Target]) -> float:
    """By how much at least an affine layer moves when the features do.

        σ = min ‖h(X') − h(X)‖ / ‖X' − X‖,   the least singular value of ∂h/∂X

    Of a layer that is affine in the features, h = S X W + b, the Jacobian is the same everywhere,
    so that σ > 0 proves it injective: graphs with nearly the same activation have nearly the same
    features, ‖X' − X‖ ≤ ‖h' − h‖ / σ. Tried in float64 where the model runs in that.

    Returns:
        σ; zero where the layer is not affine or not injective, and beyond 4,000 activations, where
        it is not computed.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=30, features=5)
        >>> with Session(zoo.GCN(5, 3, hidden=8), data) as session:
        ...     conv, layer = (session.targets(name) for name in ("layer1.conv", "layer1"))
        ...     least_gain(session, conv) > 0, least_gain(session, layer)
        (True, 0.0)
    """
    with opened(session, targets) as (_, read):
        entries = len(read.y) * read.features
        with torch.no_grad():
            size = read.activate(read.y).numel()
        narrow = size < entries or read.y.shape[1] < read.features
        if narrow or size > DENSE or not _is_affine(read):
            return 0.0
        jacobian = dense(read).double()
        values = singular_values(jacobian.T @ jacobian)
        return float(values[-1]) if int(numerical_rank(values, RTOL)) == entries else 0.0


@torch.no_grad()
def _is_affine(read: Reading) -> bool:
    """Whether steps in Y change h by as much from anywhere, tried at random points near and far."""
    generator = torch.Generator().manual_seed(0)
    size = float(read.y.abs().max()) or 1.0
    for scale in (size, 100 * size):
        here, step = scale * torch.randn(2, *read.y.shape, generator=generator).to(read.y)
        near, far = (read.activate(y + step) - read.activate(y) for y in (read.y, here))
        if not float((near - far).norm()) <= rounding(read.y) * float(near.norm()):
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
    return chosen.long().cpu()
