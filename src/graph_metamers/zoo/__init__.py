"""The paper's models, trained as it trains them."""

from graph_metamers.zoo.adversarial import AdversarialTraining
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.models import GAT, GCN, GIN, ChebNet, GraphSAGE
from graph_metamers.zoo.training import MODELS, Trained, Training, train

__all__ = [
    "GAT",
    "GCN",
    "GIN",
    "MODELS",
    "AdversarialTraining",
    "ChebNet",
    "GraphSAGE",
    "Graphormer",
    "Trained",
    "Training",
    "train",
]
