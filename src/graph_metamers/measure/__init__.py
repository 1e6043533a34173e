"""What a metamer means: pure functions of tensors."""

from graph_metamers.measure.agreement import (
    activation_correlation,
    activation_error,
    consistency,
    node_activation_error,
    predicted_class,
    prediction_match,
)
from graph_metamers.measure.distances import DISTANCES, Distance, register
from graph_metamers.measure.features import feature_similarity, node_feature_similarity
from graph_metamers.measure.null import (
    NodeMatch,
    Verdict,
    graph_null,
    match_figures,
    node_match,
    p_value,
    permuted_null,
    verdict,
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
    structure_similarity_by_iteration,
)

__all__ = [
    "DISTANCES",
    "Distance",
    "Interval",
    "NodeMatch",
    "PairedTest",
    "Verdict",
    "activation_correlation",
    "activation_error",
    "consistency",
    "degree_distance",
    "edge_overlap",
    "equal_error",
    "feature_similarity",
    "graph_null",
    "holm",
    "interval",
    "is_isomorphic",
    "match_figures",
    "node_activation_error",
    "node_edge_overlap",
    "node_feature_similarity",
    "node_match",
    "p_value",
    "paired_test",
    "permuted_null",
    "predicted_class",
    "prediction_match",
    "register",
    "spectral_distance",
    "structure_similarity",
    "structure_similarity_by_iteration",
    "verdict",
]
