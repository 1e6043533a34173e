"""What of a graph may vary: start → render → penalty."""

from graph_metamers.vary.base import (
    Block,
    Changed,
    Kind,
    Variable,
    Vary,
    blocks_of,
    many_random_inputs,
    random_inputs,
)
from graph_metamers.vary.edges import Edges, EdgeWeights
from graph_metamers.vary.features import (
    BinaryFeatures,
    ContinuousFeatures,
    features,
    vary_features,
)
from graph_metamers.vary.operators import soft_edges

__all__ = [
    "BinaryFeatures",
    "Block",
    "Changed",
    "ContinuousFeatures",
    "EdgeWeights",
    "Edges",
    "Kind",
    "Variable",
    "Vary",
    "blocks_of",
    "features",
    "many_random_inputs",
    "random_inputs",
    "soft_edges",
    "vary_features",
]
