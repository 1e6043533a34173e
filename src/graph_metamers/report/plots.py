"""Axes-level plots of metamers: each draws on `ax`, or on new pyplot axes, and returns the axes.

Orange is the metamer and blue the reference, everywhere; grey is what both share, and the null.
"""

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from graph_metamers.report.numbers import error_text, shorten
from graph_metamers.report.style import (
    DASHED,
    INK,
    METAMER,
    MUTED,
    PAPER,
    RULE,
    SERIES,
    SHARED,
    label_axes,
    legend,
    log_axis,
    marker,
    positive,
    set_title,
    styled,
    thinned,
)
from graph_metamers.report.words import NULLS, error, error_name, similarity_name, similarity_symbol
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory

CURVE_POINTS = 2000
PERFECT = 1e-4  # share of tol at which even smaller errors are drawn, zero among them
ROOM = 20  # letters of a layer's name in one line beside the overview


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
    lines = [_group(group) for group in groups]
    rows = [(line, name) for line in lines for name in line[0].symbols]
    least = 0.0
    for place, (line, name) in enumerate(rows):
        found, starts = (
            [m.scores.get(key, math.nan) for m in line] for key in (name, f"start_{name}")
        )
        least = min([least, *filter(math.isfinite, (*found, *starts))])
        ax.axhline(place, color=RULE, linewidth=0.8, zorder=0)
        for m, x, start in zip(line, found, starts, strict=True):
            ax.plot(start, place, "D", color=SHARED, markersize=5, markerfacecolor="none")
            _dot(ax, m, x, place)
        matched = [x for m, x in zip(line, found, strict=True) if m.matched]
        if matched and all(map(math.isfinite, found)):
            _beside(ax, statistics.fmean(matched), found, place)
    ax.set_yticks(range(len(rows)), _row_names(rows), parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(least - 0.03, 1.03)
    symbols = dict.fromkeys(line[0].symbols[name] for line, name in rows)
    label_axes(ax, f"{', '.join(symbols)} (1 = the same)", "", long=True)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    runs = [m for line in lines for m in line]
    legend(ax, [marker("D", SHARED, "none", "random start"), *_dots(runs)], above=True)
    return ax


def plot_loss(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """Error against the step, a line for each seed, on a logarithmic scale.

    Args:
        metamers: A metamer, or those of several seeds.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A dot marks the step whose graph was returned, the dashed line is `tol`.
    """
    ax = styled(ax)
    group = _group(metamers)
    curves = [positive(np.asarray(m.history, dtype=float)) for m in group]
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
    label_axes(ax, "step", f"{error_name(group)} (lower is closer)")
    matched = sum(m.matched for m in group)
    set_title(ax, f"{shorten(group[0].layer)}: {matched} of {len(group)} matched")
    fates = ((METAMER, "matched", matched), (SHARED, "not matched", len(group) - matched))
    entries = [Line2D([], [], color=color, label=text) for color, text, count in fates if count]
    legend(ax, [*entries, marker("o", MUTED, MUTED, "best step"), _tol_entry(tol)])
    return ax


def plot_null(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """The error of each run beside those of unrelated graphs, on a logarithmic scale.

    Args:
        metamers: A metamer, or those of several seeds.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A dot is a run (hollow if it did not match), a grey stroke an unrelated graph,
        the dashed line `tol`. Errors below a ten-thousandth of `tol` are drawn there, and the
        label says so.
    """
    ax = styled(ax)
    group = _group(metamers)
    nulls, tol = group[0].nulls, group[0].tol
    errors = [_at_least(error(m), tol) for m in group]
    drawn = [tol, *filter(math.isfinite, errors)]
    for row, null in enumerate(nulls.values(), start=1):
        values = [_at_least(float(value), tol) for value in null]
        strokes = np.array([[value, value, math.nan] for value in values]).ravel()
        heights = np.tile([row - 0.28, row + 0.28, math.nan], len(values))
        ax.plot(strokes, heights, color=SHARED, linewidth=0.8, alpha=0.7)
        drawn += filter(math.isfinite, values)
    ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    for m, x in zip(group, errors, strict=True):
        _dot(ax, m, x, 0)
    _tol_line(ax, tol)
    _error_axis(ax, group, drawn)
    rows = [
        f"{len(group)} run{'s' * (len(group) > 1)}",
        *(f"{len(null)} {NULLS[name]}" for name, null in nulls.items()),
    ]
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    legend(ax, [*_dots(group), _tol_entry(tol)], above=True)
    return ax


def plot_trail(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """How similar the graph still was at which error, along each search.

    Args:
        metamers: A metamer, or those of several seeds, in which the same varied.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A line leads from a random start (diamond) to the graph returned (dot, hollow if
        it did not match); the dashed line is `tol`. Where edges varied the similarity is the
        share of edges kept.
    """
    ax = styled(ax)
    group = _group(metamers)
    tol, least, drawn = group[0].tol, 0.0, [group[0].tol]
    for m in group:
        errors = [_at_least(x, tol) for x, _ in way(m)]
        shares = [share for _, share in way(m)]
        color = METAMER if m.matched else SHARED
        ax.plot(errors, shares, color=color, linewidth=1.1, alpha=0.9)
        ax.plot(errors[0], shares[0], "D", color=SHARED, markersize=5, markerfacecolor="none")
        _dot(ax, m, errors[-1], shares[-1])
        drawn += filter(math.isfinite, errors)
        least = min([least, *filter(math.isfinite, shares)])
    _tol_line(ax, tol)
    _error_axis(ax, group, drawn, f"{similarity_symbol(group[0])} (1 = the same)")
    ax.set_ylim(least - 0.03, 1.03)
    entries = [marker("D", SHARED, "none", "start"), *_dots(group), _tol_entry(tol)]
    legend(ax, entries, above=True)
    return ax


def way(m: Metamer) -> list[tuple[float, float]]:
    """Error and similarity from a random start to the graph that was returned.

    A search in closed form has no graph on the way: it leads there from its random start.
    """
    name = "start_fvu" if math.isfinite(m.fvu) else "start_activation_error"
    start = m.scores[name], m.scores[f"start_{similarity_name(m)}"]
    points = [(x, similarity) for _, x, similarity in m.trail]
    return points if len(points) > 1 else [start, *points]


def plot_spectrum(theories: Mapping[str, Theory], ax: Axes | None = None) -> Axes:
    """The relative singular values of each layer, as means over the nodes.

    Args:
        theories: What the theory says of each layer, such as `Audit.theory`.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. How fast a line falls says how few directions of a node's features the layer
        sees well.
    """
    ax = styled(ax)
    lines: list[Line2D] = []
    for place, (layer, found) in enumerate(theories.items()):
        values = positive(np.asarray(found.spectrum, dtype=float))
        places = np.arange(1, len(values) + 1)
        color = SERIES[place % len(SERIES)]
        lines += ax.plot(places, values, "o-", color=color, linewidth=1.2, markersize=3)
        lines[-1].set_label(shorten(layer))
    finite = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines])
    finite = finite[np.isfinite(finite)]
    log_axis(ax, "y", float(finite.min()) / 1.6 if len(finite) else 0.1, 1.6)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_axes(ax, "singular value, the largest first", "relative to the largest (log)")
    legend(ax, lines, above=len(lines) < 3)
    return ax


def _group(metamers: Metamer | Sequence[Metamer]) -> list[Metamer]:
    return [metamers] if isinstance(metamers, Metamer) else list(metamers)


def _at_least(value: float, tol: float) -> float:
    """An error where a logarithmic axis has a place for it; NaN where it is none."""
    return max(value, PERFECT * tol) if math.isfinite(value) else math.nan


def _error_axis(ax: Axes, group: Sequence[Metamer], drawn: Sequence[float], up: str = "") -> None:
    """Errors to the right."""
    low, high = min(drawn), max(drawn)
    room = max(1.8, (high / low) ** 0.08)
    log_axis(ax, "x", low / room, high * room)
    floor = PERFECT * group[0].tol
    less = f"\nleft end: {error_text(floor)} or less" if low <= floor else ""
    label_axes(ax, f"{error_name(group)} (lower is closer){less}", up)


def _dot(ax: Axes, m: Metamer, x: float, y: float) -> None:
    face = METAMER if m.matched else "none"
    ax.plot(x, y, "o", color=METAMER, markersize=6.5, markerfacecolor=face, zorder=4)


def _dots(runs: Sequence[Metamer]) -> list[Line2D]:
    """The legend's entries for runs."""
    matched = [m.matched for m in runs]
    return [
        *([marker("o", METAMER, METAMER, "metamer")] if any(matched) else []),
        *([marker("o", METAMER, "none", "not matched")] if not all(matched) else []),
    ]


def _tol_line(ax: Axes, tol: float) -> None:
    ax.axvline(tol, color=INK, linewidth=0.9, linestyle=DASHED, zorder=0)


def _tol_entry(tol: float) -> Line2D:
    return Line2D([], [], color=INK, linestyle=DASHED, linewidth=0.9, label=f"tol {tol:g}")


def _row_names(rows: Sequence[tuple[Sequence[Metamer], str]]) -> list[str]:
    """The layer; what varied and what was measured only where that differs."""
    several = len({m.vary for line, _ in rows for m in line}) > 1
    apart = len({name for _, name in rows}) > 1
    names: list[str] = []
    for line, measured in rows:
        where = line[0].layer + (f", {line[0].vary}" if several else "")
        wrapped = textwrap.wrap(where, ROOM, max_lines=2, placeholder="…")
        names.append("\n".join(wrapped) + (f" {line[0].symbols[measured]}" if apart else ""))
    return names


def _beside(ax: Axes, mean: float, found: Sequence[float], place: int) -> None:
    """The mean over the runs that matched, on the side of the dots that has room."""
    right = mean < 0.8
    ax.annotate(
        f"{mean:.2f}",
        (max(found) if right else min(found), place),
        xytext=(8 if right else -8, 0),
        textcoords="offset points",
        ha="left" if right else "right",
        va="center",
        fontsize=8.5,
        color=INK,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
    )
