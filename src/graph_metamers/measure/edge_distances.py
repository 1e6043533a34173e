"""By how much the edges of two graphs differ, each as a figure of a pair of graphs.

All take (reference, graph), two `Data` over the same nodes. NaN says that a figure is not defined
there.
"""

import math

import torch
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import check_same_shape
from graph_metamers.measure.spectrum import spectral_distance
from graph_metamers.measure.structure import (
    degree_distance,
    edge_overlap,
    structure_similarity,
)

SPECTRUM_NODES = 20_000  # beyond, eigenvalues take minutes


def edge_similarity(reference: Data, graph: Data) -> float:
    """`structure_similarity` of the graphs' edges, S_struct (Eq. 16).

    Returns:
        In [0, 1]; 1 for isomorphic graphs, but about 0.9 for unrelated ones.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> edge_similarity(pair, pair)
        1.0
    """
    return structure_similarity(*_edges(reference, graph))


def edges_kept(reference: Data, graph: Data) -> float:
    """The share of the reference's edges that the other graph has too; see `edge_overlap`.

        |E ∩ E'| / |E|

    Returns:
        In [0, 1]; 1 if none was removed. NaN if the reference has no edge.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> a = Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> edges_kept(a, Data(x=a.x, edge_index=torch.tensor([[0, 2], [1, 0]])))
        0.5
    """
    return edge_overlap(*_edges(reference, graph))["edges_kept"]


def edge_jaccard(reference: Data, graph: Data) -> float:
    """The share of all edges that both graphs have; see `edge_overlap`.

        |E ∩ E'| / |E ∪ E'|

    Returns:
        In [0, 1]; 1 are the same edges. NaN if the reference has none.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> a = Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> round(edge_jaccard(a, Data(x=a.x, edge_index=torch.tensor([[0, 2], [1, 0]]))), 4)
        0.3333
    """
    return edge_overlap(*_edges(reference, graph))["edge_jaccard"]


def degrees_apart(reference: Data, graph: Data) -> float:
    """`degree_distance` of the graphs' edges.

    Returns:
        Zero or more; 0 for equal degree sequences. NaN if the reference has no edge.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> degrees_apart(pair, pair)
        0.0
    """
    return degree_distance(*_edges(reference, graph))


def spectra_apart(reference: Data, graph: Data) -> float:
    """`spectral_distance` of the graphs' edges.

    Returns:
        Zero or more; 0 for equal small eigenvalues. NaN if the reference has no edge, and beyond
        20,000 nodes, where it would take minutes.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> spectra_apart(pair, pair)
        0.0
    """
    edges, other, nodes = _edges(reference, graph)
    return spectral_distance(edges, other, nodes) if nodes <= SPECTRUM_NODES else math.nan


def weight_cosine(reference: Data, graph: Data) -> float:
    """Cosine of the weights of the same edges.

        ⟨w, w'⟩ / (‖w‖ ‖w'‖)

    Returns:
        In [−1, 1], in [0, 1] for non-negative weights; 1 is the same direction.

    Raises:
        InputError: There are not as many weights.

    Example:
        >>> a, b = Data(edge_weight=torch.ones(2)), Data(edge_weight=torch.tensor([1.0, 0.0]))
        >>> round(weight_cosine(a, b), 4)
        0.7071
    """
    w, other = (g["edge_weight"].detach().double() for g in (reference, graph))
    check_same_shape(w, other)
    return float(torch.nn.functional.cosine_similarity(w, other, dim=0))


def _edges(reference: Data, graph: Data) -> tuple[Tensor, Tensor, int]:
    return reference["edge_index"], graph["edge_index"], len(reference["x"])
