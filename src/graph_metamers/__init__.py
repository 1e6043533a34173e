"""graph-metamers: which different graphs does a trained graph neural network take for the same?"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from graph_metamers import datasets, task, zoo
from graph_metamers.auditing import audit
from graph_metamers.audits import Audit
from graph_metamers.baseline import Baseline, baselines
from graph_metamers.comparison import Comparison, compare
from graph_metamers.errors import InputError
from graph_metamers.making import metamer, metamers
from graph_metamers.measure import Outcome
from graph_metamers.probe import layers
from graph_metamers.referents import Referent, bayes_referent, model_referent, referent
from graph_metamers.result import Metamer, load
from graph_metamers.search import Adam, Auto, EdgeSwap, Exact, GaussNewton, Swap
from graph_metamers.summarising import Summary, summary
from graph_metamers.theory import (
    ActivationVolume,
    MetamerDimension,
    activation_volume,
    metamer_dimension,
)
from graph_metamers.vary import BinaryFeatures, ContinuousFeatures, Edges, EdgeWeights

if TYPE_CHECKING:
    from graph_metamers.report import write_report

__version__ = version("graph-metamers")

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


def __getattr__(name: str) -> Any:
    if name == "write_report":  # Matplotlib takes a second to import
        from graph_metamers.report import write_report

        return write_report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
