"""Something people can look at: plots, and one page for an audit."""

from graph_metamers.report.html import write_report
from graph_metamers.report.pictures import plot_features
from graph_metamers.report.plots import (
    plot_loss,
    plot_node_errors,
    plot_node_similarity,
    plot_similarity,
)

__all__ = [
    "plot_features",
    "plot_loss",
    "plot_node_errors",
    "plot_node_similarity",
    "plot_similarity",
    "write_report",
]
