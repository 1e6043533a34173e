"""The rank of ∂h/∂X of a whole graph, which is never written down."""

from typing import Any

import torch
from torch import Tensor

from graph_metamers.measure.rank import count_above, largest_singular_value, quadrature
from graph_metamers.probe import Probe
from graph_metamers.theory.jacobian import Reading, blocks, products

SPARSE = 40  # entries a row, of blocks that are factorised
SMALL = 6000  # rows and columns of blocks that are factorised however full they are


def sparse_rank(
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


def estimated_rank(read: Reading, rtol: float, generator: torch.Generator) -> tuple[float, float]:
    forth, back, shape = products(read)
    basis = read.basis(rtol)

    def apply(w: Tensor) -> Tensor:
        gradient = back(w.to(read.y).view(shape))
        change = gradient if basis is None else gradient @ basis @ basis.T
        return forth(change).double().cpu().view(-1)

    found = quadrature(apply, shape.numel(), generator, steps=150, probes=8)
    return found.count(rtol)


def estimated_spectrum(read: Reading, generator: torch.Generator) -> tuple[float, float]:
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
