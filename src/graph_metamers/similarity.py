"""How similar two graphs are in what varied between them."""

import math
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity
from torch_geometric.data import Data

from graph_metamers.measure import (
    degree_distance,
    edge_overlap,
    feature_similarity,
    is_isomorphic,
    node_edge_overlap,
    node_feature_similarity,
    spectral_distance,
    structure_similarity,
)
from graph_metamers.measure.distances import SPECTRUM_NODES
from graph_metamers.vary import Edges, EdgeWeights, Vary

UNCHANGED = 1e-4  # relative distance within which features are the reference's

# The Weisfeiler–Lehman similarity is high between most graphs, whatever edges they share: it is
# never shown without the share of edges kept.
SYMBOLS = {
    "feature_similarity": "S_feat",
    "structure_similarity": "S_struct",
    "edges_kept": "kept",
    "weight_similarity": "S_weight",
}


def similarities(vary: Vary, reference: Data, *graphs: Data) -> list[dict[str, float]]:
    """Of each graph the scores of what varied, that of the consistency score first."""
    return [_similarity(vary, reference, graph) for graph in graphs]


def symbols_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Name and symbol of the scores that say in short how similar a run's graphs are.

    >>> symbols_of({"edges_kept": 0.1, "structure_similarity": 0.9, "consistency": 0.9})
    {'structure_similarity': 'S_struct', 'edges_kept': 'kept'}
    """
    return {name: symbol for name, symbol in SYMBOLS.items() if name in scores}


def _similarity(vary: Vary, reference: Data, graph: Data) -> dict[str, float]:
    if isinstance(vary, Edges):
        return structure_scores(reference, graph)
    if isinstance(vary, EdgeWeights):
        weights = (g["edge_weight"].double() for g in (reference, graph))
        return {"weight_similarity": float(cosine_similarity(*weights, dim=0))}
    return {"feature_similarity": feature_similarity(reference["x"].detach(), graph["x"].detach())}


def structure_scores(reference: Data, graph: Data) -> dict[str, float]:
    """Similarities and distances of two graphs' edges."""
    nodes = len(reference["x"])
    edges = reference["edge_index"], graph["edge_index"]
    small = nodes <= SPECTRUM_NODES
    return {
        "structure_similarity": structure_similarity(*edges, nodes),
        **edge_overlap(*edges, nodes),
        "degree_distance": degree_distance(*edges, nodes),
        "spectral_distance": spectral_distance(*edges, nodes) if small else math.nan,
    }


def node_similarity(vary: Vary, reference: Data, graph: Data) -> Float[Tensor, " nodes"]:
    """Feature similarity of each node, or the overlap of its neighbours."""
    if isinstance(vary, Edges):
        nodes = len(reference["x"])
        return node_edge_overlap(reference["edge_index"], graph["edge_index"], nodes)
    return node_feature_similarity(reference["x"].detach(), graph["x"].detach())


def triviality(vary: Vary, reference: Data, graph: Data) -> dict[str, float]:
    """Whether a graph is the reference: to rounding, or with equal nodes exchanged; NaN unknown."""
    if not isinstance(vary, Edges):
        name = "edge_weight" if isinstance(vary, EdgeWeights) else "x"
        before, after = reference[name].detach(), graph[name].detach()
        same = float((after - before).norm()) <= UNCHANGED * float(before.norm())
        return {"unchanged": 1.0} if same else {}
    same = is_isomorphic(reference["edge_index"], graph["edge_index"], reference["x"].detach())
    return {"isomorphic": math.nan if same is None else float(same)}
