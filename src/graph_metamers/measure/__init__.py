"""What a metamer means: pure functions of tensors.

All raise an `InputError` where shapes do not fit.
"""

from graph_metamers.measure.distances import DISTANCES, Distance, register
from graph_metamers.measure.match import Match, Outcome

__all__ = ["DISTANCES", "Distance", "Match", "Outcome", "register"]
