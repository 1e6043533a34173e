"""The derivative of a layer's activation in the features, never written down as a whole."""

import copy
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GATv2Conv, MessagePassing, TransformerConv

from graph_metamers.errors import InputError
from graph_metamers.probe import Forward, Layer, Probe, Target, find_linear_read

Matrix = Float[Tensor, "nodes columns"]
Product = Callable[[Tensor], Tensor]
Sparse = Any  # a SciPy csr_array; SciPy takes a moment to import that few need

ATTENTION = (GATConv, GATv2Conv, TransformerConv)


@dataclass(frozen=True, eq=False)
class Reading:
    """An activation as a function of what is read of the features, Y = X W.

    Attributes:
        y: Y at the reference, [nodes, columns]; X itself where nothing less is read.
        weight: W, [features, columns], or None for the identity.
        activate: h as a function of Y, [rows, units].
        by_node: Whether h has a row for each node.
    """

    y: Matrix
    weight: Float[Tensor, "features columns"] | None
    activate: Callable[[Tensor], Tensor]
    by_node: bool

    @property
    def factor(self) -> Float[Tensor, "columns directions"] | None:
        """R with R Rᵀ = Wᵀ W: ∂h/∂X has the singular values of ∂h/∂Y (I ⊗ R)."""
        return None if self.weight is None else torch.linalg.qr(self.weight).R.T

    def basis(self, rtol: float) -> Float[Tensor, "columns directions"] | None:
        """V, orthonormal, with the range of Wᵀ; None where that is everything.

        ∂h/∂X has the rank of ∂h/∂Y (I ⊗ V), whatever the condition of W.
        """
        if self.weight is None:
            return None
        _, values, right = torch.linalg.svd(self.weight, full_matrices=False)
        rank = int((values > rtol * values.max()).sum())
        return None if rank == self.y.shape[1] else right[:rank].T.contiguous()


@contextmanager
def opened(model: nn.Module, data: Data, layer: Layer, forward: Forward | None) -> Generator[Probe]:
    """A probe of the model's twin in float64, where it runs in that, else of the model itself."""
    with Probe(model, data, forward) as probe, ExitStack() as stack:
        try:
            twin = copy.deepcopy(probe.model).double()
            graph = copy.copy(probe.data).apply(_doubled)
            opened = stack.enter_context(Probe(twin, graph, forward))
            with torch.no_grad():
                opened.activations(opened.targets(layer), graph)
        except Exception:  # what makes float32 numbers of its own, or cannot be copied
            opened = probe
        yield opened


def _doubled(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def reading(probe: Probe, targets: list[Target]) -> Reading:
    """How the activations at `targets` depend on the features."""
    read = find_linear_read(probe, targets)
    x: Tensor = probe.data["x"].detach()
    found = probe.activations(targets, probe.data)
    by_node = all(h.dim() > 0 and len(h) == len(x) for h in found)

    def of_features(x: Tensor) -> list[Tensor]:
        graph = copy.copy(probe.data)
        graph.x = x
        return probe.activations(targets, graph)

    activations: Callable[[Tensor], list[Tensor]] = read.activations if read else of_features

    def activate(y: Tensor) -> Tensor:
        rows = len(y) if by_node else 1
        return torch.cat([h.reshape(rows, -1) for h in activations(y)], dim=1)

    weight = None if read is None else read.weight
    return Reading(x if weight is None else x @ weight, weight, activate, by_node)


@contextmanager
def frozen(model: nn.Module) -> Generator[None]:
    """Attention coefficients let no gradient through.

    Raises:
        InputError: The model has no attention that is known here.
    """
    attentive = [module for module in model.modules() if isinstance(module, ATTENTION)]
    if not attentive:
        raise InputError(
            f"frozen_attention=True needs a GATConv, GATv2Conv or TransformerConv; "
            f"{type(model).__name__} has none. Leave it out."
        )
    handles = [
        conv.register_propagate_forward_pre_hook(_detach_queries)
        if isinstance(conv, TransformerConv)
        else conv.register_edge_update_forward_hook(_detach_coefficients)
        for conv in attentive
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _detach_coefficients(_: MessagePassing, __: Any, alpha: Tensor) -> Tensor:
    return alpha.detach()


def _detach_queries(_: MessagePassing, inputs: Any) -> Any:
    edges, size, kwargs = inputs
    parts = {name: kwargs[name].detach() for name in ("query", "key")}
    return edges, size, kwargs | parts


def backward(h: Tensor, y: Tensor, seed: Tensor) -> Tensor:
    """Jᵀ seed at y, zeros where h does not depend on y."""
    if not h.requires_grad:
        return torch.zeros_like(y)
    (gradient,) = torch.autograd.grad(h, y, seed, retain_graph=True, materialize_grads=True)
    return gradient


def products(read: Reading) -> tuple[Product, Product, torch.Size]:
    """V ↦ J v, w ↦ Jᵀ w for J = ∂h/∂Y at the reference, and the shape of h.

    Raises:
        InputError: An operation of the model has no second derivative.
    """
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    if not h.requires_grad:
        return lambda v: torch.zeros_like(h), lambda w: torch.zeros_like(y), h.shape
    # Jᵀw is linear in w: its derivative along v, taken in w, is J v.
    w = torch.zeros_like(h, requires_grad=True)
    (transposed,) = torch.autograd.grad(h, y, w, create_graph=True)
    if not transposed.requires_grad:
        raise InputError(NO_SECOND_DERIVATIVE)

    def forth(v: Tensor) -> Tensor:
        try:
            (change,) = torch.autograd.grad(transposed, w, v, retain_graph=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise InputError(NO_SECOND_DERIVATIVE) from error
        return change

    return forth, lambda w: backward(h, y, w), h.shape


NO_SECOND_DERIVATIVE = (
    "of='graph' needs second derivatives on a graph of this size, which an operation of this "
    "model lacks. Use of='receptive_field'."
)


def dense(read: Reading) -> Float[Tensor, "outputs directions"]:
    """∂h/∂Y (I ⊗ R), a row at a time: it has the singular values of ∂h/∂X."""
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    factor = read.factor
    seeds = torch.zeros_like(h)
    rows: list[Tensor] = []
    for place in range(h.numel()):
        seeds.view(-1)[place] = 1.0
        gradient = backward(h, y, seeds)
        rows.append((gradient if factor is None else gradient @ factor).reshape(-1))
        seeds.view(-1)[place] = 0.0
    return torch.stack(rows)


def blocks(
    read: Reading,
    edges: Int[Tensor, "2 edges"],
    generator: torch.Generator,
    fits: Callable[[int, int, int], bool],
) -> list[Sparse] | None:
    """∂h/∂Y as sparse blocks on its diagonal, where each node reads its neighbours alone.

    Units that share no columns of Y make a block each. Nodes without a common neighbour are
    differentiated in one backward pass (Curtis, Powell and Reid 1974). That a node reads its
    neighbours alone is not assumed but tried, on a random combination of all rows.

    Args:
        read: The activation.
        edges: The graph's.
        generator: Draws the combination.
        fits: Whether a block of so many rows, columns and entries (at most) is wanted.

    Returns:
        Blocks of units that share columns; None where nodes read farther than that, or where a
        block does not fit.
    """
    y = read.y.clone().requires_grad_()
    h = read.activate(y)
    groups = _groups(h, y, generator)
    pattern = _pattern(edges, len(y))
    for units, columns in groups:
        entries = pattern.nnz * len(units) * len(columns)
        if not fits(len(y) * len(units), len(y) * len(columns), entries):
            return None
    senders = torch.as_tensor(pattern.indices, dtype=torch.long)
    receivers = torch.arange(len(y)).repeat_interleave(torch.as_tensor(np.diff(pattern.indptr)))
    colours = torch.as_tensor(_colours(pattern))

    turns = max(len(units) for units, _ in groups)
    values = torch.zeros(turns, len(senders), y.shape[1], dtype=torch.float64)
    for turn in range(turns):
        active = torch.zeros(h.shape[1], dtype=torch.bool)
        active[[units[turn] for units, _ in groups if turn < len(units)]] = True
        for colour in range(int(colours.max()) + 1):
            chosen = (colours == colour).to(h.device)
            seed = (chosen[:, None] & active.to(h.device)).to(h.dtype)
            gradient = backward(h, y, seed).double().cpu()
            pairs = (colours[receivers] == colour).nonzero().view(-1)
            values[turn, pairs] = gradient[senders[pairs]]

    import scipy.sparse

    found: list[Sparse] = []
    trial = torch.randn(h.shape, generator=generator, dtype=torch.float64)
    promised = torch.zeros(y.shape, dtype=torch.float64)
    for units, columns in groups:
        entries = values[: len(units)][:, :, columns]
        turn, pair, column = entries.nonzero(as_tuple=True)
        row, place = receivers[pair] * len(units) + turn, senders[pair] * len(columns) + column
        shape = len(y) * len(units), len(y) * len(columns)
        block = scipy.sparse.csr_array(
            (entries[turn, pair, column].numpy(), (row.numpy(), place.numpy())), shape=shape
        )
        image = block.T @ trial[:, units].reshape(-1).numpy()
        promised[:, columns] = torch.as_tensor(image).view(len(y), len(columns))
        found.append(block)
    true = backward(h, y, trial.to(h)).double().cpu()
    tolerance = 1e-4 if h.dtype == torch.float32 else 1e-9
    return found if float((promised - true).norm()) <= tolerance * float(true.norm()) else None


def _groups(h: Tensor, y: Tensor, generator: torch.Generator) -> list[tuple[list[int], list[int]]]:
    """Units, and the columns of Y that they read, that have nothing to do with the others."""
    units, columns = h.shape[1], y.shape[1]
    weights = torch.randn(h.shape, generator=generator, dtype=torch.float64).to(h)
    reads = torch.zeros(units, columns)
    for unit in range(units):
        seed = torch.zeros_like(h)
        seed[:, unit] = weights[:, unit]
        reads[unit] = (backward(h, y, seed) != 0).any(dim=0).float().cpu()
    whole = np.zeros((units + columns, units + columns))
    whole[:units, units:] = reads.numpy()
    from scipy.sparse import csgraph

    count, label = csgraph.connected_components(whole, directed=False)
    members = [np.flatnonzero(label == each) for each in range(count)]
    return [
        (each[each < units].tolist(), (each[each >= units] - units).tolist())
        for each in members
        if (each < units).any()
    ]


def _pattern(edges: Tensor, nodes: int) -> Sparse:
    """Who may read whom: neighbours either way, and each node itself."""
    own = np.arange(nodes)
    ends = edges.cpu().numpy()
    rows = np.concatenate([ends[0], ends[1], own])
    columns = np.concatenate([ends[1], ends[0], own])
    import scipy.sparse

    pattern = scipy.sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes))
    pattern.sum_duplicates()
    return pattern


def _colours(pattern: Sparse) -> NDArray[np.int64]:
    """Greedy: two nodes of one colour have no neighbour in common."""
    import scipy.sparse

    near = scipy.sparse.csr_array(pattern @ pattern.T)
    colours = np.full(len(near.indptr) - 1, -1)
    for node in np.argsort(-np.diff(near.indptr)):
        taken = set(colours[near.indices[near.indptr[node] : near.indptr[node + 1]]].tolist())
        colour = 0
        while colour in taken:
            colour += 1
        colours[node] = colour
    return colours
