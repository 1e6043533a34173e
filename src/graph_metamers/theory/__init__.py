"""The paper's theory, measured: what a layer does not see, and what it collapses."""

from graph_metamers.theory.layer import Theory, theory
from graph_metamers.theory.manifold import MetamerDimension, least_gain, metamer_dimension
from graph_metamers.theory.volume import ActivationVolume, activation_volume

__all__ = [
    "ActivationVolume",
    "MetamerDimension",
    "Theory",
    "activation_volume",
    "least_gain",
    "metamer_dimension",
    "theory",
]
