"""Something people can look at: plots, and one page for an audit."""

from graph_metamers.report.html import write_report
from graph_metamers.report.pictures import plot_features
from graph_metamers.report.plots import (
    plot_loss,
    plot_null,
    plot_similarity,
    plot_spectrum,
    plot_trail,
)
from graph_metamers.report.rows import plot_graph_errors, plot_row_errors, plot_row_similarity
from graph_metamers.report.structure import (
    plot_adjacency,
    plot_degrees,
    plot_graph,
)

__all__ = [
    "plot_adjacency",
    "plot_degrees",
    "plot_features",
    "plot_graph",
    "plot_graph_errors",
    "plot_loss",
    "plot_null",
    "plot_row_errors",
    "plot_row_similarity",
    "plot_similarity",
    "plot_spectrum",
    "plot_trail",
    "write_report",
]
