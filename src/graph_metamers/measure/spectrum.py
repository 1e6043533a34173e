"""How far apart the spectra of two graphs over the same nodes are."""

import math
import warnings
from typing import Any

import numpy as np

from graph_metamers.errors import check_count
from graph_metamers.measure.structure import Edges, edge_keys

DENSE_EIGENVALUES = 1000  # nodes up to which the whole spectrum is cheaper
MAX_ITERATIONS = 100  # some seconds for 20,000 nodes
ACCURACY = 1e-3  # by which an eigenvalue may be wrong


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
    from scipy.sparse.linalg import lobpcg

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
    if nodes <= DENSE_EIGENVALUES:
        largest = np.linalg.eigvalsh(apply(np.eye(nodes)))[-known:]
    else:
        # a block is searched, so that no copy of a repeated eigenvalue is missed
        start = np.random.default_rng(0).standard_normal((nodes, known + 5))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the five more that need not converge
            found: Any = lobpcg(apply, start, tol=1e-6, maxiter=MAX_ITERATIONS)
        order = np.argsort(found[0])[-known:]
        largest, vectors = found[0][order], found[1][:, order]
        wrong = np.linalg.norm(apply(vectors) - vectors * largest, axis=0)
        largest[wrong > ACCURACY] = math.nan
    return np.pad(1 - largest[::-1], (0, k - known))
