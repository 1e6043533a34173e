"""What a metamer means: pure functions of tensors.

All raise an `InputError` where shapes do not fit or an argument is out of range.
"""

from graph_metamers.measure.agreement import (
    activation_correlation,
    activation_error,
    consistency,
)
from graph_metamers.measure.distances import DISTANCES, Distance, register
from graph_metamers.measure.features import feature_similarity, node_feature_similarity
from graph_metamers.measure.match import Match, Outcome, Tap
from graph_metamers.measure.null import (
    NodeMatch,
    is_beyond,
    match_figures,
    node_match,
    p_value,
)
from graph_metamers.measure.spectrum import spectral_distance
from graph_metamers.measure.statistics import (
    Interval,
    PairedTest,
    equal_error,
    holm,
    interval,
    paired_test,
)
from graph_metamers.measure.structure import (
    degree_distance,
    edge_overlap,
    is_isomorphic,
    node_edge_overlap,
    structure_similarity,
)

__all__ = [
    "DISTANCES",
    "Distance",
    "Interval",
    "Match",
    "NodeMatch",
    "Outcome",
    "PairedTest",
    "Tap",
    "activation_correlation",
    "activation_error",
    "consistency",
    "degree_distance",
    "edge_overlap",
    "equal_error",
    "feature_similarity",
    "holm",
    "interval",
    "is_beyond",
    "is_isomorphic",
    "match_figures",
    "node_edge_overlap",
    "node_feature_similarity",
    "node_match",
    "p_value",
    "paired_test",
    "register",
    "spectral_distance",
    "structure_similarity",
]
