"""What a metamer means: pure functions of tensors."""

from graph_metamers.measure.agreement import (
    activation_correlation,
    activation_error,
    consistency,
    node_activation_error,
    predicted_class,
    prediction_match,
)
from graph_metamers.measure.features import feature_similarity, node_feature_similarity
from graph_metamers.measure.structure import (
    degree_distance,
    edge_overlap,
    is_isomorphic,
    node_edge_overlap,
    spectral_distance,
    structure_similarity,
    structure_similarity_by_iteration,
)

__all__ = [
    "activation_correlation",
    "activation_error",
    "consistency",
    "degree_distance",
    "edge_overlap",
    "feature_similarity",
    "is_isomorphic",
    "node_activation_error",
    "node_edge_overlap",
    "node_feature_similarity",
    "predicted_class",
    "prediction_match",
    "spectral_distance",
    "structure_similarity",
    "structure_similarity_by_iteration",
]
