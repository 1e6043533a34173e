"""graph-metamers: which different graphs does a trained graph neural network take for the same?"""

from graph_metamers import datasets, zoo
from graph_metamers.audit import Audit, audit
from graph_metamers.baselines import Baseline, baselines
from graph_metamers.compare import Comparison, compare
from graph_metamers.errors import InputError
from graph_metamers.measure import Verdict
from graph_metamers.metamer import metamer, metamers
from graph_metamers.probe import layers
from graph_metamers.referent import Referent, bayes_referent, model_referent, referent
from graph_metamers.result import Metamer, load
from graph_metamers.search import Adam, Auto, Blocks, EdgeSwap, Exact, GaussNewton, Status, Swap
from graph_metamers.theory import (
    ActivationVolume,
    MetamerDimension,
    activation_volume,
    metamer_dimension,
)
from graph_metamers.vary import BinaryFeatures, ContinuousFeatures, Edges, EdgeWeights

__version__ = "0.1.0"

__all__ = [
    "ActivationVolume",
    "Adam",
    "Audit",
    "Auto",
    "Baseline",
    "BinaryFeatures",
    "Blocks",
    "Comparison",
    "ContinuousFeatures",
    "EdgeSwap",
    "EdgeWeights",
    "Edges",
    "Exact",
    "GaussNewton",
    "InputError",
    "Metamer",
    "MetamerDimension",
    "Referent",
    "Status",
    "Swap",
    "Verdict",
    "activation_volume",
    "audit",
    "baselines",
    "bayes_referent",
    "compare",
    "datasets",
    "layers",
    "load",
    "metamer",
    "metamer_dimension",
    "metamers",
    "model_referent",
    "referent",
    "zoo",
]
