"""What of a graph may vary: start → render → penalty."""

from graph_metamers.vary.base import Variable, Vary
from graph_metamers.vary.features import (
    BinaryFeatures,
    ContinuousFeatures,
    random_features,
    vary_features,
    with_features,
)

__all__ = [
    "BinaryFeatures",
    "ContinuousFeatures",
    "Variable",
    "Vary",
    "random_features",
    "vary_features",
    "with_features",
]
