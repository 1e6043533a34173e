"""How far apart the spectra of two graphs over the same nodes are."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graph_metamers.errors import check_count
from graph_metamers.measure.structure import Edges, edge_keys

DENSE_EIGENVALUES = 200  # nodes up to which the whole spectrum is cheaper
MAX_ITERATIONS = 300  # of Lanczos' method, some seconds for 20,000 nodes


def spectral_distance(edges: Edges, other: Edges, nodes: int, *, k: int = 20) -> float:
    """Distance of the smallest non-zero eigenvalues of the two normalised Laplacians.

        ‖λ − λ'‖ / ‖λ‖,   λ the k smallest non-zero eigenvalues of I − D^(−1/2) A D^(−1/2)

    Small ones tell how well large parts of the graph hang together. Edges are taken for
    undirected, self-loops left out; a missing eigenvalue of a small graph counts as 0.

    Returns:
        Zero or more; 0 for the same ones, as isomorphic graphs have. NaN where the reference has
        no edge, and where the eigenvalues lie so close together that they were not found.

    Example:
        >>> import torch
        >>> pair = torch.tensor([[0, 1], [1, 0]])
        >>> spectral_distance(pair, pair, 4)
        0.0
    """
    check_count("k", k)
    a, b = _small_eigenvalues(edges, nodes, k), _small_eigenvalues(other, nodes, k)
    size = float(np.linalg.norm(a))
    return float(np.linalg.norm(a - b)) / size if size else math.nan


def _small_eigenvalues(edges: Edges, nodes: int, k: int) -> np.ndarray:
    """The k smallest non-zero ones, ascending; zeros where there are fewer."""
    import scipy.sparse as sp  # a quarter of a second that only structures need
    from scipy.sparse.csgraph import connected_components, laplacian

    edge_keys(edges, nodes)
    source, target = edges[:, edges[0] != edges[1]].cpu().numpy()
    pairs = np.concatenate([source, target]), np.concatenate([target, source])
    adjacency = sp.csr_matrix((np.ones(2 * len(source)), pairs), shape=(nodes, nodes))
    adjacency.data[:] = 1
    normalised: Any = laplacian(adjacency, normed=True, return_diag=True)
    # An eigenvalue 0 for each component, whose vector √d is known: sent to the far end.
    count, component = connected_components(adjacency, directed=False)
    matrix, weight = normalised
    weight = weight / np.sqrt(np.bincount(component, weights=weight**2))[component]
    onto: Any = sp.csr_matrix((weight, (component, np.arange(nodes))), shape=(count, nodes))

    def apply(v: np.ndarray) -> np.ndarray:
        return v - matrix @ v - 2 * onto.T @ (onto @ v)

    known = min(k, nodes - count)
    if known == 0:
        return np.zeros(k)
    if nodes <= DENSE_EIGENVALUES or known >= nodes - 1:
        values = np.linalg.eigvalsh(apply(np.eye(nodes)))[-known:]
    else:
        values = _largest_eigenvalues(apply, nodes, known)
    return np.pad(1 - np.sort(values)[::-1], (0, k - known))


def _largest_eigenvalues(
    apply: Callable[[np.ndarray], np.ndarray], nodes: int, k: int
) -> np.ndarray:
    """The k largest of a symmetric operator with eigenvalues between −1 and 1, repeated ones too.

    Lanczos' method can miss copies of an eigenvalue. So what it found is sent to the far end, and
    the rest is searched again until nothing that belongs to the k largest is left there. NaN where
    a long, thin graph would take very long.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    values, vectors = np.empty(0), np.empty((nodes, 0))
    random = np.random.default_rng(0)
    search: Any = eigsh
    operator: Any = LinearOperator
    while True:

        def rest(v: np.ndarray, vectors: np.ndarray = vectors) -> np.ndarray:
            return apply(v) - 4 * vectors @ (vectors.T @ v)

        try:
            more, directions = search(
                operator((nodes, nodes), matvec=rest, dtype=np.float64),
                1 if len(values) else k,
                which="LA",
                ncv=min(nodes, 2 * k + 1),
                v0=random.standard_normal(nodes),
                maxiter=MAX_ITERATIONS,
                tol=1e-6,
            )
        except ArpackNoConvergence:
            return np.full(k, math.nan)
        least = np.sort(values)[-k] if len(values) >= k else -1.5
        if more.max() <= least + 1e-6:
            return np.sort(values)[-k:]
        new = more > -1.5  # below is what was sent there
        values = np.concatenate([values, more[new]])
        vectors = np.linalg.qr(np.column_stack([vectors, directions[:, new]]))[0]
