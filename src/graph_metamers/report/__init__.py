"""Something people can look at: plots, and one page for an audit."""

from graph_metamers.report.html import write_report
from graph_metamers.report.pictures import plot_features
from graph_metamers.report.plots import (
    plot_loss,
    plot_node_errors,
    plot_node_similarity,
    plot_similarity,
)
from graph_metamers.report.structure import (
    plot_adjacency,
    plot_degrees,
    plot_edges_kept,
    plot_neighbours,
)

__all__ = [
    "plot_adjacency",
    "plot_degrees",
    "plot_edges_kept",
    "plot_features",
    "plot_loss",
    "plot_neighbours",
    "plot_node_errors",
    "plot_node_similarity",
    "plot_similarity",
    "write_report",
]
