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
from graph_metamers.jacobian import (
    Reading,
    backward,
    blocks,
    dense,
    frozen,
    opened,
    products,
    reading,
)
from graph_metamers.measure.rank import (
    count_above,
    effective_rank,
    largest_singular_value,
    numerical_rank,
    quadrature,
    singular_values,
    stable_rank,
)
from graph_metamers.probe import Forward, Layer, Probe, Target, record_flows

Of = Literal["node", "receptive_field", "graph"]
OF = ("node", "receptive_field", "graph")

SAMPLE = 200  # nodes whose receptive field is looked at
DENSE = 4000  # activations up to which the Jacobian is written down
SPARSE = 40  # entries a row, of blocks that are factorised
SMALL = 6000  # rows and columns of blocks that are factorised however full they are


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
    rtol: float = 1e-5,
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
    with opened(model, data, forward) as probe:
        targets = probe.targets(layer)
        label = " + ".join(target.label for target in targets)
        read = reading(probe, targets)
        if of != "graph" and not read.by_node:
            raise InputError(
                f"of='{of}' needs an activation with a row for each node; {label} has none. "
                "Use of='graph'."
            )
        chosen = _chosen(nodes, of, len(read.y), generator)
        if of == "node":
            return _of_nodes(probe, targets, read, label, chosen, rtol)
        fields = _fields(read, chosen, generator) if of == "receptive_field" else []
        with frozen(probe.model) if frozen_attention else nullcontext():
            if of == "receptive_field":
                found = _of_fields(read, fields, chosen, probe.data.num_features, rtol)
                return _per_node(of, label, chosen, *found, rtol, population=len(read.y))
            return _of_graph(probe, read, label, rtol, generator)


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


# Of a node: x̃ ↦ h_v


def _of_nodes(
    probe: Probe, targets: list[Target], read: Reading, label: str, chosen: Tensor, rtol: float
) -> MetamerDimension:
    h, flows = _recorded(probe, read, read.y)
    suits = len(flows) == 1 and h.requires_grad
    through = _contents_map(probe, read) if suits else None
    if through is None or not _reads_own_sum(h, flows[0].offset):
        raise InputError(
            f"of='node' needs a layer at which a node's activation depends on one sum of "
            f"features, its own; {label} does not. Use of='receptive_field'."
        )
    factor = read.factor
    through = through if factor is None else factor.T @ through  # from directions of x̃ to the sums
    by_unit: list[Tensor] = []
    for unit in range(h.shape[1]):
        seed = torch.zeros_like(h)
        seed[:, unit] = 1.0
        by_unit.append(backward(h, flows[0].offset, seed))
    values: list[Tensor] = []
    for part in chosen.to(h.device).split(2048):
        jacobians = torch.stack([gradient[part] for gradient in by_unit], dim=1).double()
        jacobians = jacobians @ through.double().T  # [nodes, units, directions]
        values.append(singular_values(jacobians @ jacobians.mT).cpu())
    total = torch.full((len(chosen),), probe.data.num_features)
    return _per_node("node", label, chosen, torch.cat(values), total, rtol, population=0)


def _recorded(probe: Probe, read: Reading, y: Tensor) -> tuple[Tensor, list[Any]]:
    (h,), flows = record_flows(probe.model, lambda: [read.activate(y)])
    return h, flows


def _contents_map(probe: Probe, read: Reading) -> Float[Tensor, "columns channels"] | None:
    """M of what each node sends, y_u M + b; None where that is something else."""
    with torch.no_grad():
        (flow,) = _recorded(probe, read, torch.zeros_like(read.y))[1]
        offset = flow.contents[0]
        rows: list[Tensor] = []
        for part in torch.eye(read.y.shape[1]).to(read.y).split(len(read.y)):
            units = torch.zeros_like(read.y)
            units[: len(part)] = part
            (flow,) = _recorded(probe, read, units)[1]
            rows.append(flow.contents[: len(part)] - offset)
        through = torch.cat(rows)
        (flow,) = _recorded(probe, read, read.y)[1]
        rest = flow.contents - offset - read.y @ through
    tolerance = 1e-4 if read.y.dtype == torch.float32 else 1e-9
    return through if float(rest.norm()) <= tolerance * float(flow.contents.norm()) else None


def _reads_own_sum(h: Tensor, offset: Tensor) -> bool:
    """Whether ∂h_u/∂z_v is zero for u ≠ v, tried on random combinations of all rows."""
    generator = torch.Generator().manual_seed(0)
    units = torch.randn(1, h.shape[1], generator=generator).to(h)
    nodes = torch.randn(len(h), 1, generator=generator).to(h)
    own = nodes * backward(h, offset, units.expand_as(h))
    tolerance = 1e-4 if h.dtype == torch.float32 else 1e-9
    rest = own - backward(h, offset, nodes * units)
    return float(rest.norm()) <= tolerance * float(own.norm())


# Of a receptive field: X ↦ h_v


def _fields(read: Reading, chosen: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The nodes that each chosen one depends on: at the reference or at random features.

    A unit that is off at the reference, and so has no derivative, is on at some of them.
    """
    noise = [torch.randn(read.y.shape, generator=generator).to(read.y) for _ in range(2)]
    scale = read.y.std() if float(read.y.std()) > 0 else 1.0
    factor = read.factor
    matters = slice(None) if factor is None else factor.any(dim=1)  # not maps of zeros
    depends = [torch.zeros(len(read.y), dtype=torch.bool) for _ in chosen]
    for point in (read.y, *(scale * draw for draw in noise)):
        y = point.clone().requires_grad_()
        h = read.activate(y)
        units = torch.randn(h.shape[1], generator=generator).to(h)
        for place, node in enumerate(chosen.tolist()):
            seed = torch.zeros_like(h)
            seed[node] = units
            depends[place] |= backward(h, y, seed)[:, matters].any(dim=1).cpu()
    return [each.nonzero().view(-1) for each in depends]


def _of_fields(
    read: Reading, fields: list[Tensor], chosen: Tensor, features: int, rtol: float
) -> tuple[Tensor, Tensor]:
    """Singular values of each ∂h_v/∂X, and how many features it is of."""
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    factor = read.factor
    values = torch.zeros(len(chosen), h.shape[1], dtype=torch.float64)
    for group in _apart(fields, len(y)):
        rows: list[list[Tensor]] = [[] for _ in group]
        for unit in range(h.shape[1]):
            seed = torch.zeros_like(h)
            seed[chosen[group].to(h.device), unit] = 1.0
            gradient = backward(h, y, seed)
            for mine, place in zip(rows, group, strict=True):
                part = gradient[fields[place].to(h.device)]
                mine.append((part if factor is None else part @ factor).reshape(-1))
        for mine, place in zip(rows, group, strict=True):
            jacobian = torch.stack(mine).double()  # [units, its nodes · directions]
            values[place] = singular_values(jacobian @ jacobian.T).cpu()
    return values, features * torch.tensor([len(each) for each in fields])


def _apart(fields: list[Tensor], nodes: int) -> list[list[int]]:
    """Sets of places whose receptive fields have no node in common."""
    groups: list[tuple[list[int], Tensor]] = []
    for place, mine in enumerate(fields):
        fitting = (each for each in groups if not each[1][mine].any())
        found = next(fitting, None)
        if found is None:
            found = [], torch.zeros(nodes, dtype=torch.bool)
            groups.append(found)
        found[0].append(place)
        found[1][mine] = True
    return [group for group, _ in groups]


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


# Of the graph: X ↦ h


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
    rank, error, tolerance = _sparse_rank(probe, read, rtol, generator), 0.0, rtol
    exact = rank is not None
    if rank is None:
        tolerance = max(rtol, torch.finfo(read.y.dtype).eps ** 0.5)
        rank, error = _estimated_rank(read, tolerance, generator)
    effective, stable = _estimated_spectrum(read, generator)
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


def _sparse_rank(
    probe: Probe, read: Reading, rtol: float, generator: torch.Generator
) -> float | None:
    """The rank of ∂h/∂X from sparse blocks of ∂h/∂Y, or None where they are none or too full."""
    edges = probe.data.get("edge_index")
    if not read.by_node or not isinstance(edges, Tensor) or read.weight is None:
        return None
    found = blocks(read, edges, generator, _factorisable)
    if found is None:
        return None
    found = [block for block in found if block.nnz]
    if not found:
        return 0.0
    same = all(_equal(block, found[0]) for block in found)  # h = S X W, up to a constant
    basis = read.basis(rtol)
    if basis is not None and not (same and len(found) == read.y.shape[1]):
        return None  # dependent columns of W tie the blocks together
    bound = rtol * max(map(largest_singular_value, found[:1] if same else found))
    if same:
        times = len(found) if basis is None else basis.shape[1]
        return float(count_above(found[0], bound) * times)
    return float(sum(count_above(block, bound) for block in found))


def _equal(block: Any, other: Any) -> bool:
    if block.shape != other.shape:
        return False
    return bool(abs(block - other).max() <= 1e-9 * abs(other).max())


def _factorisable(rows: int, columns: int, entries: int) -> bool:
    return rows + columns <= SMALL or entries <= SPARSE * rows


def _estimated_rank(read: Reading, rtol: float, generator: torch.Generator) -> tuple[float, float]:
    forth, back, shape = products(read)
    basis = read.basis(rtol)

    def apply(w: Tensor) -> Tensor:
        gradient = back(w.to(read.y).view(shape))
        change = gradient if basis is None else gradient @ basis @ basis.T
        return forth(change).double().cpu().view(-1)

    found = quadrature(apply, shape.numel(), generator, steps=150, probes=8)
    return found.count(rtol)


def _estimated_spectrum(read: Reading, generator: torch.Generator) -> tuple[float, float]:
    """Effective and stable rank of ∂h/∂X."""
    forth, back, shape = products(read)
    factor = read.factor

    def apply(w: Tensor) -> Tensor:
        gradient = back(w.to(read.y).view(shape))
        change = gradient if factor is None else gradient @ factor @ factor.T
        return forth(change).double().cpu().view(-1)

    found = quadrature(apply, shape.numel(), generator, steps=30, probes=4)
    if found.largest == 0:
        return 0.0, 0.0
    sums = float(found.trace(torch.sqrt).mean())
    # −σ log σ = −√λ log λ / 2, and zero at zero
    entropy = float(found.trace(lambda v: -v.sqrt() * v.clamp(min=1e-300).log() / 2).mean())
    effective = torch.tensor(entropy / sums).exp() * sums
    return float(effective), float(found.trace(lambda v: v).mean()) / found.largest
