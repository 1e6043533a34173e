"""The paper's models, trained as it trains them."""

from graph_metamers.zoo.adversarial import AdversarialTraining
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.models import ACTIVATIONS, GAT, GCN, GIN, ChebNet, GraphSAGE
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.training import MODELS, Model, Trained, train

__all__ = [
    "ACTIVATIONS",
    "GAT",
    "GCN",
    "GIN",
    "MODELS",
    "AdversarialTraining",
    "ChebNet",
    "GraphSAGE",
    "Graphormer",
    "Model",
    "Trained",
    "Training",
    "train",
]
