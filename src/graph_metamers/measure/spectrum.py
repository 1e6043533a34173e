"""How far apart the spectra of two graphs over the same nodes are."""

import math
from collections.abc import Callable

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

    Args:
        edges: Edges of the reference.
        other: Edges of the metamer.
        nodes: How many nodes both have.
        k: How many eigenvalues.

    Returns:
        Zero or more; 0 for the same ones, as isomorphic graphs have. NaN where the reference has
        no edge, and where the eigenvalues lie so close together that they were not found.

    Raises:
        InputError: The edges point outside, or `k` is not a positive number.

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
    from scipy.sparse.csgraph import connected_components

    edge_keys(edges, nodes)
    source, target = edges.cpu().numpy()
    loops = source == target
    source, target = source[~loops], target[~loops]
    ones = np.ones(2 * len(source))
    pairs = (np.concatenate([source, target]), np.concatenate([target, source]))
    adjacency = sp.csr_matrix((ones, pairs), shape=(nodes, nodes))
    adjacency.data[:] = 1
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    walk = sp.diags(scale) @ adjacency @ sp.diags(scale)
    # An eigenvalue 0 for each component, whose vector √d is known: sent to the far end.
    count, component = connected_components(adjacency, directed=False)
    weight = np.where(degree > 0, np.sqrt(degree), 1)
    weight /= np.sqrt(np.bincount(component, weights=weight**2, minlength=count))[component]

    def apply(v: np.ndarray) -> np.ndarray:
        v = v.ravel()
        onto = np.bincount(component, weights=weight * v, minlength=count)
        return walk @ v - 2 * weight * onto[component]

    known = min(k, nodes - count)
    found = np.zeros(k)
    if known == 0:
        return found
    if nodes <= DENSE_EIGENVALUES or known >= nodes - 1:
        dense = np.column_stack([apply(column) for column in np.eye(nodes)])
        values = np.linalg.eigvalsh(dense)[-known:]
    else:
        values = _largest_eigenvalues(apply, nodes, known)
        if values is None:
            return np.full(k, math.nan)
    found[:known] = 1 - np.sort(values)[::-1]
    return found


def _largest_eigenvalues(
    apply: Callable[[np.ndarray], np.ndarray], nodes: int, k: int
) -> np.ndarray | None:
    """The k largest of a symmetric operator with eigenvalues between −2 and 1, repeated ones too.

    Lanczos' method can miss copies of an eigenvalue. So what it found is sent to the far end, and
    the rest is searched again until nothing that belongs to the k largest is left there. None where
    a long, thin graph would take very long.
    """
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    values, vectors = np.empty(0), np.empty((nodes, 0))
    random = np.random.default_rng(0)
    while True:

        def rest(v: np.ndarray, vectors: np.ndarray = vectors) -> np.ndarray:
            return apply(v) - 4 * vectors @ (vectors.T @ v.ravel())

        operator = LinearOperator((nodes, nodes), matvec=rest, dtype=np.float64)  # pyright: ignore[reportCallIssue]
        try:
            more, directions = eigsh(
                operator,  # pyright: ignore[reportArgumentType]
                1 if len(values) else k,
                which="LA",
                ncv=min(nodes, 2 * k + 1),
                v0=random.standard_normal(nodes),
                maxiter=MAX_ITERATIONS,
                tol=1e-6,  # pyright: ignore[reportArgumentType]
            )
        except ArpackNoConvergence:
            return None
        least = np.sort(values)[-k] if len(values) >= k else -np.inf
        if more.max() <= least + 1e-6 or more.max() < -1.5:
            return np.sort(values)[-k:]
        new = more > -1.5  # at −2 and below is what was sent there
        values = np.concatenate([values, more[new]])
        vectors = np.linalg.qr(np.column_stack([vectors, directions[:, new]]))[0]
