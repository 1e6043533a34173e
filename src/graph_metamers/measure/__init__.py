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

__all__ = [
    "activation_correlation",
    "activation_error",
    "consistency",
    "feature_similarity",
    "node_activation_error",
    "node_feature_similarity",
    "predicted_class",
    "prediction_match",
]
