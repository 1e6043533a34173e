"""The paper's models, trained as it trains them."""

from graph_metamers.zoo.models import GCN
from graph_metamers.zoo.training import MODELS, Trained, Training, train

__all__ = ["GCN", "MODELS", "Trained", "Training", "train"]
