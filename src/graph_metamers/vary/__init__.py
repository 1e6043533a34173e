"""What of a graph may vary: start → render → penalty."""

from graph_metamers.vary.base import Variable, Vary
from graph_metamers.vary.edges import Edges, EdgeWeights
from graph_metamers.vary.features import (
    BinaryFeatures,
    ContinuousFeatures,
    FeatureVariable,
    random_features,
    vary_features,
    with_features,
)
from graph_metamers.vary.operators import operator_of, soft_edges

__all__ = [
    "BinaryFeatures",
    "ContinuousFeatures",
    "EdgeWeights",
    "Edges",
    "FeatureVariable",
    "Variable",
    "Vary",
    "operator_of",
    "random_features",
    "soft_edges",
    "vary_features",
    "with_features",
]
