"""Shortest path lengths between all nodes, a byte each, computed once for a set of edges."""

import contextlib

import numpy as np
import torch
from jaxtyping import Int, Int8
from torch import Tensor

from graph_metamers.datasets import cache_folder
from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.storage import load_tensors, save_tensors

KEEP_NODES = 1000  # smaller graphs are computed again faster than they are read


def path_lengths(
    edge_index: Int[Tensor, "2 edges"], nodes: int, cap: int
) -> Int8[Tensor, "nodes nodes"]:
    """Length of the shortest path from v to u, in row u and column v.

    Lengths from `cap` on count as `cap`; `cap + 1` says that there is no path. Costs nodes² bytes
    (389 MB for 19,717 nodes); kept in memory for the last edges asked for, and on disk under
    their content hash.

    Example:
        >>> path_lengths(torch.tensor([[0, 1], [1, 2]]), 4, cap=5)
        tensor([[0, 6, 6, 6],
                [1, 0, 6, 6],
                [2, 1, 0, 6],
                [6, 6, 6, 0]], dtype=torch.int8)
    """
    key = digest(edge_index, nodes, cap)
    if key not in _memory:
        distances = _found_or_searched(key, edge_index, nodes, cap)
        _memory.clear()
        _memory[key] = distances
    return _memory[key]


_memory: dict[str, Tensor] = {}  # the last distances asked for: a training asks a thousand times


def _found_or_searched(key: str, edge_index: Tensor, nodes: int, cap: int) -> Tensor:
    path = cache_folder() / "distances" / f"{key}.pt"
    if path.exists():
        with contextlib.suppress(InputError, KeyError, TypeError, AttributeError):
            saved: Tensor = load_tensors(path, kind="a distance matrix")["distances"]
            if saved.shape == (nodes, nodes) and saved.dtype == torch.int8:
                return saved  # else it is damaged, and replaced
    distances = torch.from_numpy(_search(edge_index.cpu().numpy(), nodes, cap))
    if nodes > KEEP_NODES:
        save_tensors(path, {"distances": distances})
    return distances


def _search(edges: np.ndarray, nodes: int, cap: int, block: int = 512) -> np.ndarray:
    """Breadth-first from a block of nodes at a time, one sparse product a step."""
    import scipy.sparse  # a quarter of a second that only Graphormer needs

    reach = scipy.sparse.csr_matrix(
        (np.ones(edges.shape[1], np.float32), (edges[1], edges[0])), shape=(nodes, nodes)
    )
    distances = np.full((nodes, nodes), cap + 1, np.int8)
    for first in range(0, nodes, block):
        columns = np.arange(first, min(first + block, nodes))
        found = np.full((nodes, len(columns)), cap + 1, np.int8)
        frontier = np.zeros((nodes, len(columns)), np.float32)
        frontier[columns, columns - first] = 1
        found[columns, columns - first] = 0
        length = 0
        while frontier.any():
            length += 1
            fresh = (reach @ frontier > 0) & (found == cap + 1)
            found[fresh] = min(length, cap)
            frontier = fresh.astype(np.float32)
        distances[:, columns] = found
    return distances
