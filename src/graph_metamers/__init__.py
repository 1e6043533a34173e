"""graph-metamers: which different graphs does a trained graph neural network take for the same?"""

from graph_metamers import datasets, zoo
from graph_metamers.audit import Audit, audit
from graph_metamers.errors import InputError
from graph_metamers.metamer import metamer, metamers
from graph_metamers.probe import layers
from graph_metamers.result import Metamer, load
from graph_metamers.search import Adam, Auto, Blocks, EdgeSwap, Exact, GaussNewton, Status, Swap
from graph_metamers.vary import BinaryFeatures, ContinuousFeatures, Edges, EdgeWeights

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "Audit",
    "Auto",
    "BinaryFeatures",
    "Blocks",
    "ContinuousFeatures",
    "EdgeSwap",
    "EdgeWeights",
    "Edges",
    "Exact",
    "GaussNewton",
    "InputError",
    "Metamer",
    "Status",
    "Swap",
    "audit",
    "datasets",
    "layers",
    "load",
    "metamer",
    "metamers",
    "zoo",
]
