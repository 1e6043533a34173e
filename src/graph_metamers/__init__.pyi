from . import datasets, task, zoo
from .auditing import audit
from .audits import Audit
from .baseline import Baseline, baselines
from .comparison import Comparison, compare
from .errors import InputError
from .making import metamer, metamers
from .measure import Outcome
from .probe import layers
from .referents import Referent, bayes_referent, model_referent, referent
from .report import write_report
from .result import Metamer, load
from .search import Adam, Auto, EdgeSwap, Exact, GaussNewton, Swap
from .summarising import Summary, summary
from .theory import (
    ActivationVolume,
    MetamerDimension,
    activation_volume,
    metamer_dimension,
)
from .vary import BinaryFeatures, ContinuousFeatures, Edges, EdgeWeights

__all__ = [
    "ActivationVolume",
    "Adam",
    "Audit",
    "Auto",
    "Baseline",
    "BinaryFeatures",
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
    "Outcome",
    "Referent",
    "Summary",
    "Swap",
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
    "summary",
    "task",
    "write_report",
    "zoo",
]

__version__: str
