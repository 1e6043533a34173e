"""The paper's models and some since, trained as it trains them; small ones for other graphs."""

from graph_metamers.zoo.adversarial import AdversarialTraining
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.models import ACTIVATIONS, GAT, GCN, GIN, ChebNet, GraphSAGE, Model
from graph_metamers.zoo.modern import APPNP, GCNII, GATv2, GraphGPS
from graph_metamers.zoo.recipes import RECIPES, Recipe, models_for, train_recipe
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.small import HAN, HGT, RGCN, HeteroSAGE, MotifGIN
from graph_metamers.zoo.training import MODELS, Trained, fit, train

__all__ = [
    "ACTIVATIONS",
    "APPNP",
    "GAT",
    "GCN",
    "GCNII",
    "GIN",
    "HAN",
    "HGT",
    "MODELS",
    "RECIPES",
    "RGCN",
    "AdversarialTraining",
    "ChebNet",
    "GATv2",
    "GraphGPS",
    "GraphSAGE",
    "Graphormer",
    "HeteroSAGE",
    "Model",
    "MotifGIN",
    "Recipe",
    "Trained",
    "Training",
    "fit",
    "models_for",
    "train",
    "train_recipe",
]
