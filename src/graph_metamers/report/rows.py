"""Single rows as histograms: how similar nodes are, how well rows and graphs match."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graph_metamers.errors import InputError
from graph_metamers.report.kinds import compared_units, first_kind
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
from graph_metamers.report.words import error_name, noun
from graph_metamers.result import Metamer

BINS = 40
BAR_ROOM = 0.74  # share of a histogram's height; the legend stands above


def plot_row_similarity(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """How many nodes of a metamer have features, or neighbours, how similar to the reference's.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Lines mark the same over all nodes, of the metamer and of its random start:
        S_feat, or the share of the edges of either graph that both have.
    """
    ax = styled(ax)
    kind, units = first_kind(metamer), compared_units(metamer)
    values = metamer.row_similarity.double().numpy()
    values = values[np.isfinite(values)]
    low = -1.0 if (values < 0).any() else 0.0
    _bars(ax, values, np.linspace(low, 1, BINS + 1))
    handles: list[Line2D] = []
    for name, text, color, style in (
        (kind.together, f"{noun(metamer)}, all {kind.noun}", INK, "-"),
        (f"start_{kind.together}", "random start", MUTED, DASHED),
    ):
        value = metamer.scores.get(name, math.nan)
        if math.isfinite(value):
            handles.append(
                ax.axvline(value, 0, BAR_ROOM, color=color, linewidth=1.1, linestyle=style)
            )
            handles[-1].set_label(f"{text}: {value:.2f}")
    ax.set_xlim(low - 0.02, 1.02)
    label_axes(ax, f"{kind.row} (1 = the same)", units)
    left = metamer.row_similarity.numel() - len(values)
    note = f", {left:,} undefined" if left else ""
    set_title(ax, f"Seed {metamer.seed}: n = {len(values):,}{note}")
    legend(ax, handles)
    return ax


def plot_row_errors(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """How many rows of the layer have which error, on a logarithmic scale.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Rows whose error is exactly zero stand in the title.

    Raises:
        InputError: The layers have other numbers of rows.
    """
    if metamer.row_errors is None:
        raise InputError(
            f"The layers of {metamer.layer} have other numbers of rows, so there is no error of "
            "each row. Use metamer.layer_errors."
        )
    values = metamer.row_errors.double().numpy()
    return _error_bars(metamer, values, metamer.units, f"error of each of the {metamer.units}", ax)


def plot_graph_errors(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """How many graphs of a batch have which error, on a logarithmic scale.

    Args:
        metamer: The metamer, a batch.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. The dashed line is `tol`.
    """
    name = "fvu" if math.isfinite(metamer.fvu) else "activation_error"
    values = np.array([item[name] for item in metamer.items], dtype=float)
    return _error_bars(metamer, values, "graphs", f"{error_name([metamer])} of a graph", ax)


def _error_bars(
    metamer: Metamer, values: NDArray[np.float64], units: str, label: str, ax: Axes | None
) -> Axes:
    ax = styled(ax)
    values = values[np.isfinite(values)]
    positive = values[values > 0]
    low, high = metamer.tol / 10, metamer.tol * 10
    if len(positive):
        low = min(low, float(np.quantile(positive, 0.005)))
        high = max(high, float(positive.max()))
    edges = np.geomspace(low, high * 1.001, BINS + 1)
    _bars(ax, np.clip(positive, low, high), edges)
    log_axis(ax, "x", low, high * 1.001)
    line = ax.axvline(metamer.tol, 0, BAR_ROOM, color=INK, linewidth=0.9, linestyle=DASHED)
    line.set_label(f"tol {metamer.tol:g}{' (for the mean)' * (units != 'graphs')}")
    label_axes(ax, f"{label} (lower is closer)", units)
    zeros = len(values) - len(positive)
    note = f", {zeros:,} are exactly 0" if zeros else ""
    set_title(ax, f"Seed {metamer.seed}: n = {len(values):,}{note}")
    legend(ax, [line])
    return ax


def _bars(ax: Axes, values: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    counts, _ = np.histogram(values, edges)
    ax.stairs(counts, edges, fill=True, color=METAMER, alpha=0.85)
    ax.set_ylim(0, max(1, counts.max()) / BAR_ROOM)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
