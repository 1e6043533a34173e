"""Axes-level plots of metamers: each draws on `ax`, or on new pyplot axes, and returns the axes.

Orange is the metamer and blue the reference, everywhere; grey is what both share, and the null.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graph_metamers.errors import InputError
from graph_metamers.report.glossary import Kind
from graph_metamers.report.style import (
    DASHED,
    INK,
    METAMER,
    MUTED,
    PAPER,
    RULE,
    SHARED,
    label_axes,
    legend,
    log_axis,
    marker,
    set_title,
    styled,
    thinned,
)
from graph_metamers.report.words import kind_of, noun, shorten
from graph_metamers.result import Metamer

CURVE_POINTS = 2000
BINS = 40
SIMILARITY_AXES: dict[Kind, str] = {
    "features": "feature similarity S_feat (1 = the same features)",
    "structure": "S_struct, and share of edges kept (1 = the same)",
    "weights": "weight similarity S_weight (1 = the same weights)",
}
TITLE_ROOM = 44  # letters that fit above a plot
BAR_ROOM = 0.74  # share of a histogram's height; the legend stands above


def plot_similarity(
    groups: Sequence[Metamer] | Sequence[Sequence[Metamer]], ax: Axes | None = None
) -> Axes:
    """How similar metamers are to the reference in what varied, beside their random starts.

    Where edges varied there are two lines each: S_struct, and the share of edges kept.

    Args:
        groups: Metamers, or groups of them such as `Audit.groups()`: a line for each.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A dot is a metamer (hollow if it did not match), a diamond a random start.
    """
    ax = styled(ax)
    lines = _grouped(groups)
    rows = [(line, name) for line in lines for name in line[0].symbols]
    least = 0.0
    for place, (line, name) in enumerate(rows):
        ax.axhline(place, color=RULE, linewidth=0.8, zorder=0)
        for m in line:
            found = m.scores.get(name, math.nan)
            start = m.scores.get(f"start_{name}", math.nan)
            least = min([least, *(v for v in (found, start) if math.isfinite(v))])
            ax.plot(start, place, "D", color=SHARED, markersize=5, markerfacecolor="none")
            face = METAMER if m.matched else "none"
            ax.plot(found, place, "o", color=METAMER, markersize=6.5, markerfacecolor=face)
        _beside(ax, line, name, place)
    ax.set_yticks(range(len(rows)), _row_names(rows), parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(least - 0.03, 1.03)
    kinds: list[Kind] = [kind_of(line[0]) for line in lines]
    alike = kinds.count(kinds[0]) == len(kinds)
    text = SIMILARITY_AXES[kinds[0]] if alike else "similarity (1 = the same)"
    label_axes(ax, text, "", long=True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    legend(
        ax,
        [
            marker("D", SHARED, "none", "random start"),
            *([marker("o", METAMER, METAMER, "metamer")] if _matched(lines) else []),
            *([marker("o", METAMER, "none", "not matched")] if _unmatched(lines) else []),
        ],
        above=True,
    )
    return ax


def _row_names(rows: Sequence[tuple[Sequence[Metamer], str]]) -> list[str]:
    """The layer; what varied and what was measured only where that differs."""
    several = len({m.vary for line, _ in rows for m in line}) > 1
    names: list[str] = []
    for line, measured in rows:
        where = line[0].layer + (f", {line[0].vary}" if several else "")
        symbol = line[0].symbols[measured] if len({name for _, name in rows}) > 1 else ""
        names.append(f"{shorten(where, 21 - len(symbol) if symbol else 22)} {symbol}".strip())
    return names


def plot_loss(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """Activation error against the step, a line for each seed, on a logarithmic scale.

    Args:
        metamers: A metamer, or those of several seeds.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A dot marks the step whose graph was returned, the dashed line is `tol`.
    """
    ax = styled(ax)
    group = [metamers] if isinstance(metamers, Metamer) else list(metamers)
    curves = [_positive(np.asarray(m.history, dtype=float)) for m in group]
    tol = group[0].tol
    for m, curve in zip(group, curves, strict=True):
        steps = thinned(len(curve), max(60, CURVE_POINTS // len(group)))
        color = METAMER if m.matched else SHARED
        ax.plot(steps, curve[steps], color=color, linewidth=1.1, alpha=0.9)
        if m.best_step < len(curve):
            ax.plot(m.best_step, curve[m.best_step], "o", color=color, markersize=5, zorder=4)
    ax.axhline(tol, color=INK, linewidth=0.9, linestyle=DASHED, zorder=1)

    finite = np.concatenate([curve[np.isfinite(curve)] for curve in curves] + [[tol]])
    log_axis(ax, "y", float(finite.min()) / 1.6, float(finite.max()) * 1.6)
    last = max(1, *(len(curve) - 1 for curve in curves))
    ax.set_xlim(-0.02 * last, 1.04 * last)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_axes(ax, "step", "activation error (lower is closer)")
    matched = sum(m.matched for m in group)
    set_title(ax, f"{shorten(group[0].layer)}: {matched} of {len(group)} matched")
    legend(
        ax,
        [
            *([Line2D([], [], color=METAMER, label="matched")] if matched else []),
            *([Line2D([], [], color=SHARED, label="not matched")] if _unmatched([group]) else []),
            marker("o", MUTED, MUTED, "best step"),
            Line2D([], [], color=INK, linestyle=DASHED, linewidth=0.9, label=f"tol {tol:g}"),
        ],
    )
    return ax


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
    status = "matched" if metamer.matched else "not matched"
    text = f"Seed {metamer.seed}, {status}: {', '.join(notes)}"
    if len(text) > TITLE_ROOM:
        text = f"Seed {metamer.seed}, {status}: {notes[0]},\n{', '.join(notes[1:])}"
    set_title(ax, text)


def _positive(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a logarithmic scale can hold: zero is drawn below the least value, NaN is a gap."""
    curve = np.where(np.isfinite(curve), curve, np.nan)
    above = curve[curve > 0]
    return np.where(curve <= 0, (above.min() if len(above) else 1.0) / 10, curve)


def _beside(ax: Axes, line: Sequence[Metamer], name: str, place: int) -> None:
    """The mean as a number, on the side of the dots that has room."""
    values = [m.scores.get(name, math.nan) for m in line]
    mean = sum(values) / len(values)
    if not math.isfinite(mean):
        return
    right = mean < 0.8
    ax.annotate(
        f"{mean:.2f}",
        (max(values) if right else min(values), place),
        xytext=(8 if right else -8, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=8.5,
        color=INK,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
    )


def _grouped(groups: Sequence[Metamer] | Sequence[Sequence[Metamer]]) -> list[list[Metamer]]:
    return [[g] if isinstance(g, Metamer) else list(g) for g in groups]


def _matched(lines: Sequence[Sequence[Metamer]]) -> bool:
    return any(m.matched for line in lines for m in line)


def _unmatched(lines: Sequence[Sequence[Metamer]]) -> bool:
    return any(not m.matched for line in lines for m in line)
