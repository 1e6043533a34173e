"""How similar two graphs are in what varied between them."""

import math
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.measure import (
    DISTANCES,
    is_isomorphic,
    node_edge_overlap,
    node_feature_similarity,
)
from graph_metamers.measure.distances import Distance, Kind
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


def similarities(vary: Vary, reference: Data, graph: Data) -> dict[str, float]:
    """All distances of what varied, that of the consistency score first."""
    return {name: d.function(reference, graph) for name, d in _distances(vary).items()}


def similarity(vary: Vary, reference: Data, graph: Data) -> float:
    """The figure that says best how similar a graph is: of edges the share kept."""
    name = "edges_kept" if isinstance(vary, Edges) else next(iter(_distances(vary)))
    return DISTANCES[name].function(reference, graph)


def _distances(vary: Vary) -> dict[str, Distance]:
    return {name: d for name, d in DISTANCES.items() if d.kind == kind_of(vary)}


def kind_of(vary: Vary) -> Kind:
    """What varies, as the distances are sorted."""
    if isinstance(vary, Edges):
        return "structure"
    return "weights" if isinstance(vary, EdgeWeights) else "features"


def symbols_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Name and symbol of the scores that say in short how similar a run's graphs are.

    >>> symbols_of({"edges_kept": 0.1, "structure_similarity": 0.9, "consistency": 0.9})
    {'structure_similarity': 'S_struct', 'edges_kept': 'kept'}
    """
    return {name: symbol for name, symbol in SYMBOLS.items() if name in scores}


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
