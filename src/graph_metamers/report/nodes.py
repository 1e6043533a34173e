"""Single nodes as histograms: how similar they are, and how well they match."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graph_metamers.errors import InputError
from graph_metamers.report.style import (
    DASHED,
    INK,
    METAMER,
    MUTED,
    label_axes,
    legend,
    log_axis,
    set_title,
    styled,
)
from graph_metamers.report.words import kind_of, noun, verdict_text
from graph_metamers.result import Metamer

BINS = 40
BAR_ROOM = 0.74  # share of a histogram's height; the legend stands above
TITLE_ROOM = 44  # letters that fit above a plot


def plot_node_similarity(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """How many nodes of a metamer have features, or neighbours, how similar to the reference's.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Lines mark the same over all nodes, of the metamer and of its random start:
        S_feat, or the share of the edges of either graph that both have.
    """
    ax = styled(ax)
    values = metamer.node_similarity.double().numpy()
    values = values[np.isfinite(values)]
    low = -1.0 if (values < 0).any() else 0.0
    _bars(ax, values, np.linspace(low, 1, BINS + 1))
    edges = kind_of(metamer) == "structure"
    together = "edge_jaccard" if edges else "feature_similarity"
    lines = (
        (together, f"{noun(metamer)}, all {'edges' if edges else 'nodes together'}", INK, "-"),
        (f"start_{together}", "random start", MUTED, DASHED),
    )
    handles: list[Line2D] = []
    for name, text, color, style in lines:
        value = metamer.scores.get(name, math.nan)
        if math.isfinite(value):
            handles.append(
                ax.axvline(value, 0, BAR_ROOM, color=color, linewidth=1.1, linestyle=style)
            )
            handles[-1].set_label(f"{text}: {value:.2f}")
    ax.set_xlim(low - 0.02, 1.02)
    text = "overlap of a node's neighbours" if edges else "feature similarity of a node"
    label_axes(ax, f"{text} (1 = {'all' if edges else 'the same'})", "nodes")
    _node_title(ax, metamer, len(values))
    legend(ax, handles)
    return ax


def plot_node_errors(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """How many nodes of a metamer have which activation error, on a logarithmic scale.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Nodes whose error is exactly zero stand in the title.

    Raises:
        InputError: The activation has no row for each node.
    """
    if metamer.node_errors is None:
        raise InputError(
            f"The activation at {metamer.layer} has no row for each node, so its nodes have no "
            "errors of their own. Use metamer.activation_error."
        )
    ax = styled(ax)
    values = metamer.node_errors.double().numpy()
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    low, high = metamer.tol / 10, metamer.tol * 10
    if len(positive):
        low = min(low, float(np.quantile(positive, 0.005)))
        high = max(high, float(positive.max()))
    edges = np.geomspace(low, high * 1.001, BINS + 1)
    _bars(ax, np.clip(positive, low, high), edges)
    log_axis(ax, "x", low, high * 1.001)
    line = ax.axvline(
        metamer.tol,
        ymax=BAR_ROOM,
        color=INK,
        linewidth=0.9,
        linestyle=DASHED,
        label=f"tol {metamer.tol:g} (for all nodes)",
    )
    label_axes(ax, "activation error of a node (lower is closer)", "nodes")
    _node_title(ax, metamer, len(values), zeros=len(values) - len(positive))
    legend(ax, [line])
    return ax


def _bars(ax: Axes, values: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    counts, _ = np.histogram(values, edges)
    ax.stairs(counts, edges, fill=True, color=METAMER, alpha=0.85)
    ax.set_ylim(0, max(1, counts.max()) / BAR_ROOM)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _node_title(ax: Axes, metamer: Metamer, count: int, zeros: int = 0) -> None:
    left = metamer.node_similarity.numel() - count
    notes = [f"n = {count:,} nodes"]
    notes += [f"{left:,} undefined"] if left else []
    notes += [f"{zeros:,} are exactly 0, not drawn"] if zeros else []
    text = f"Seed {metamer.seed}, {verdict_text(metamer)}: {', '.join(notes)}"
    if len(text) > TITLE_ROOM:
        text = f"Seed {metamer.seed}, {verdict_text(metamer)}: {notes[0]},\n{', '.join(notes[1:])}"
    set_title(ax, text)
