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

from graph_metamers.measure.distances import Kind
from graph_metamers.report.numbers import error_text, score_text, shorten
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
from graph_metamers.report.words import kind_of, similarity_name
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory

CURVE_POINTS = 2000
PERFECT = 1e-4  # share of tol at which even smaller errors are drawn, zero among them
SIMILARITY_AXES: dict[Kind, str] = {
    "features": "feature similarity S_feat (1 = the same features)",
    "structure": "S_struct, and share of edges kept (1 = the same)",
    "weights": "weight similarity S_weight (1 = the same weights)",
}
TRAIL_AXES: dict[Kind, str] = {
    "features": "feature similarity (1 = the same)",
    "structure": "share of edges kept (1 = all)",
    "weights": "weight similarity (1 = the same)",
}
NULL_ROWS = {"start": "random starts", "permuted": "permutations", "other": "other graphs"}
ROOM = 22  # letters of a layer's name in one line beside the overview


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
            _dot(ax, m, found, place)
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
            *_dots(lines),
        ],
        above=True,
    )
    return ax


def plot_loss(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """Activation error against the step, a line for each seed, on a logarithmic scale.

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
    label_axes(ax, "step", "activation error (lower is closer)")
    matched = sum(m.matched for m in group)
    set_title(ax, f"{shorten(group[0].layer)}: {matched} of {len(group)} matched")
    legend(
        ax,
        [
            *([Line2D([], [], color=METAMER, label="matched")] if matched else []),
            *([Line2D([], [], color=SHARED, label="not matched")] if _unmatched(group) else []),
            marker("o", MUTED, MUTED, "best step"),
            _tol_entry(tol),
        ],
    )
    return ax


def plot_null(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """The activation error of each run beside those of unrelated graphs, on a logarithmic scale.

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
    errors = [_at_least(m.activation_error, tol) for m in group]
    drawn = [tol, *(error for error in errors if math.isfinite(error))]
    for row, null in enumerate(nulls.values(), start=1):
        values = [_at_least(float(value), tol) for value in null]
        strokes = np.array([[value, value, math.nan] for value in values]).ravel()
        heights = np.tile([row - 0.28, row + 0.28, math.nan], len(values))
        ax.plot(strokes, heights, color=SHARED, linewidth=0.8, alpha=0.7)
        drawn += filter(math.isfinite, values)
    ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    for m, error in zip(group, errors, strict=True):
        _dot(ax, m, error, 0)
    _tol_line(ax, tol)
    _error_axis(ax, drawn, tol)
    rows = [f"{len(null)} {NULL_ROWS[name]}" for name, null in nulls.items()]
    ax.set_yticks(
        range(len(rows) + 1), ["1 run" if len(group) == 1 else f"{len(group)} runs", *rows]
    )
    ax.set_ylim(-0.6, len(rows) + 0.6)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    legend(ax, [*_dots([group]), _tol_entry(tol)], above=True)
    return ax


def plot_trail(metamers: Metamer | Sequence[Metamer], ax: Axes | None = None) -> Axes:
    """How similar the graph still was at which activation error, along each search.

    Args:
        metamers: A metamer, or those of several seeds, in which the same varied.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. A line leads from a random start (diamond) to the graph returned (dot, hollow if
        it did not match); the dashed line is `tol`. Where edges varied the similarity is the
        share of edges kept. The number is the mean over the runs that matched.
    """
    ax = styled(ax)
    group = _group(metamers)
    tol, least, drawn = group[0].tol, 0.0, [group[0].tol]
    for m in group:
        errors = [_at_least(error, tol) for error, _ in way(m)]
        shares = [share for _, share in way(m)]
        color = METAMER if m.matched else SHARED
        ax.plot(errors, shares, color=color, linewidth=1.1, alpha=0.9)
        ax.plot(errors[0], shares[0], "D", color=SHARED, markersize=5, markerfacecolor="none")
        _dot(ax, m, errors[-1], shares[-1])
        drawn += filter(math.isfinite, errors)
        least = min([least, *filter(math.isfinite, shares)])
    ends = [(_at_least(m.activation_error, tol), m.trail[-1][2]) for m in group if m.matched]
    if ends:
        nearest, highest = min(error for error, _ in ends), max(share for _, share in ends)
        mean = score_text(statistics.fmean(share for _, share in ends))
        _number(ax, mean, nearest, highest, offset=(0, -9 if highest > 0.8 else 9))
    _tol_line(ax, tol)
    _error_axis(ax, drawn, tol, TRAIL_AXES[kind_of(group[0])])
    ax.set_ylim(least - 0.03, 1.03)
    entries = [marker("D", SHARED, "none", "start"), *_dots([group]), _tol_entry(tol)]
    legend(ax, entries, above=True)
    return ax


def way(m: Metamer) -> list[tuple[float, float]]:
    """Activation error and similarity from a random start to the graph that was returned.

    A search in closed form has no graph on the way: it leads there from its random start.
    """
    start = m.scores["start_activation_error"], m.scores[f"start_{similarity_name(m)}"]
    points = [(error, similarity) for _, error, similarity in m.trail]
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


def _at_least(error: float, tol: float) -> float:
    """An error where a logarithmic axis has a place for it; NaN where it is none."""
    return max(error, PERFECT * tol) if math.isfinite(error) else math.nan


def _error_axis(ax: Axes, drawn: Sequence[float], tol: float, up: str = "") -> None:
    """Activation errors to the right, with room for a number beside the least."""
    low, high = min(drawn), max(drawn)
    room = max(1.8, (high / low) ** 0.08)
    log_axis(ax, "x", low / room, high * room)
    floor = PERFECT * tol
    less = f"\nleft end: {error_text(floor)} or less" if low <= floor else ""
    label_axes(ax, f"activation error (lower is closer){less}", up)


def _dot(ax: Axes, m: Metamer, x: float, y: float) -> None:
    face = METAMER if m.matched else "none"
    ax.plot(x, y, "o", color=METAMER, markersize=6.5, markerfacecolor=face, zorder=4)


def _dots(lines: Sequence[Sequence[Metamer]]) -> list[Line2D]:
    """The legend's entries for runs."""
    runs = [m for line in lines for m in line]
    return [
        *([marker("o", METAMER, METAMER, "metamer")] if any(m.matched for m in runs) else []),
        *([marker("o", METAMER, "none", "not matched")] if _unmatched(runs) else []),
    ]


def _tol_line(ax: Axes, tol: float) -> None:
    ax.axvline(tol, color=INK, linewidth=0.9, linestyle=DASHED, zorder=0)


def _tol_entry(tol: float) -> Line2D:
    return Line2D([], [], color=INK, linestyle=DASHED, linewidth=0.9, label=f"tol {tol:g}")


def _row_names(rows: Sequence[tuple[Sequence[Metamer], str]]) -> list[str]:
    """The layer; what varied and what was measured only where that differs."""
    several = len({m.vary for line, _ in rows for m in line}) > 1
    apart = len({name for _, name in rows}) > 1
    symbols = [line[0].symbols[measured] if apart else "" for line, measured in rows]
    room = ROOM - max(map(len, symbols))
    names: list[str] = []
    for (line, _), symbol in zip(rows, symbols, strict=True):
        where = line[0].layer + (f", {line[0].vary}" if several else "")
        lines = textwrap.wrap(where, room, max_lines=2, placeholder="…")
        names.append("\n".join(lines) + f" {symbol}".rstrip())
    return names


def _beside(ax: Axes, line: Sequence[Metamer], name: str, place: int) -> None:
    """The mean over the runs that matched, on the side of the dots that has room."""
    values = [m.scores.get(name, math.nan) for m in line if m.matched]
    mean = statistics.fmean(values) if values else math.nan
    if not math.isfinite(mean):
        return
    right = mean < 0.8
    values = [m.scores.get(name, math.nan) for m in line]
    end = (max if right else min)(value for value in values if math.isfinite(value))
    _number(ax, f"{mean:.2f}", end, place, offset=(8 if right else -8, 0))


def _number(ax: Axes, text: str, x: float, y: float, offset: tuple[float, float]) -> None:
    """A number beside a point: below or above it, at its right or left."""
    across, up = offset
    ax.annotate(
        text,
        (x, y),
        xytext=offset,
        textcoords="offset points",
        ha="center" if not across else "left" if across > 0 else "right",
        va="center" if not up else "bottom" if up > 0 else "top",
        fontsize=8.5,
        color=INK,
        bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"},
    )


def _grouped(groups: Sequence[Metamer] | Sequence[Sequence[Metamer]]) -> list[list[Metamer]]:
    return [[g] if isinstance(g, Metamer) else list(g) for g in groups]


def _unmatched(runs: Sequence[Metamer]) -> bool:
    return any(not m.matched for m in runs)
