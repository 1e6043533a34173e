"""The paper's models and some since, trained as it trains them."""

from graph_metamers.zoo.adversarial import AdversarialTraining
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.models import ACTIVATIONS, GAT, GCN, GIN, ChebNet, GraphSAGE
from graph_metamers.zoo.modern import APPNP, GCNII, GATv2, GraphGPS
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.training import MODELS, Model, Trained, fit, train

__all__ = [
    "ACTIVATIONS",
    "APPNP",
    "GAT",
    "GCN",
    "GCNII",
    "GIN",
    "MODELS",
    "AdversarialTraining",
    "ChebNet",
    "GATv2",
    "GraphGPS",
    "GraphSAGE",
    "Graphormer",
    "Model",
    "Trained",
    "Training",
    "fit",
    "train",
]
