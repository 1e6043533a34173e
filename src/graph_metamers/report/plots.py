"""The report's plots of figures: each draws on the axes that it is given.

Orange is the metamer and blue the reference, everywhere; grey is what both share, and the null.
A dot is a run, hollow if it did not match; a diamond a random start; a dashed line `tol`.
"""

import math
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

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
    positive,
    set_title,
    thinned,
)
from graph_metamers.report.words import (
    NULLS,
    compared_units,
    error,
    error_name,
    first_kind,
    noun,
    similarity_name,
    similarity_symbol,
)
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory

CURVE_POINTS = 2000
PERFECT = 1e-4  # share of tol at which even smaller errors are drawn, zero among them
ROOM = 20  # letters of a layer's name in one line beside the overview
BINS = 40
BAR_ROOM = 0.74  # share of a histogram's height; the legend stands above

Group = Sequence[Metamer]


def plot_similarity(groups: Sequence[Group], ax: Axes) -> None:
    """How similar metamers are to the reference in what varied, beside their random starts.

    A line for each group and score, with the mean over the runs that matched.
    """
    rows = [(line, name) for line in groups for name in line[0].symbols]
    found = [_scores(line, name) for line, name in rows]
    starts = [_scores(line, f"start_{name}") for line, name in rows]
    for place, (line, name) in enumerate(rows):
        ax.axhline(place, color=RULE, linewidth=0.8, zorder=0)
        _starts(ax, starts[place], [place] * len(line))
        _runs(ax, line, found[place], [place] * len(line))
        matched = [m.scores[name] for m in line if m.matched]
        if matched and all(map(math.isfinite, found[place])):
            _beside(ax, statistics.fmean(matched), found[place], place)
    ax.set_yticks(range(len(rows)), _row_names(rows), parse_math=False)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(_least(*found, *starts) - 0.03, 1.03)
    symbols = dict.fromkeys(line[0].symbols[name] for line, name in rows)
    # A long name ends with the axis, so that it may begin below the names at the left.
    label_axes(ax, f"{', '.join(symbols)} (1 = the same)", "", place="right")
    _without_y_axis(ax)
    legend(ax, above=True)


def plot_loss(group: Group, ax: Axes) -> None:
    """Error against the step, a line for each seed; a dot is the step of the graph returned."""
    curves = [positive(np.asarray(m.history, dtype=float)) for m in group]
    tol, drawn = group[0].tol, [group[0].tol]
    for m, curve in zip(group, curves, strict=True):
        steps = thinned(len(curve), max(60, CURVE_POINTS // len(group)))
        color, label = (METAMER, "matched") if m.matched else (SHARED, "not matched")
        ax.plot(steps, curve[steps], color=color, linewidth=1.1, alpha=0.9, label=label)
        if m.best_step < len(curve):
            look: dict[str, Any] = {
                "color": color,
                "markersize": 5,
                "zorder": 4,
                "label": "best step",
            }
            ax.plot(m.best_step, curve[m.best_step], "o", **look)
        drawn += curve[np.isfinite(curve)].tolist()
    _tol_line(ax, tol, "y")
    log_axis(ax, "y", min(drawn) / 1.6, max(drawn) * 1.6)
    last = max(1, *(len(curve) - 1 for curve in curves))
    ax.set_xlim(-0.02 * last, 1.04 * last)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    label_axes(ax, "step", f"{error_name(group)} (lower is closer)")
    matched = sum(m.matched for m in group)
    set_title(ax, f"{shorten(group[0].layer)}: {matched} of {len(group)} matched")
    legend(ax)


def plot_null(group: Group, ax: Axes) -> None:
    """The error of each run beside those of unrelated graphs, a grey stroke each."""
    nulls, tol = group[0].nulls, group[0].tol
    errors = [_at_least(error(m), tol) for m in group]
    drawn = [tol, *errors]
    names = [f"{len(group)} run{'s' * (len(group) > 1)}"]
    for row, (name, null) in enumerate(nulls.items(), start=1):
        values = [_at_least(float(value), tol) for value in null]
        ax.vlines(values, row - 0.28, row + 0.28, color=SHARED, linewidth=0.8, alpha=0.7)
        drawn += values
        names.append(f"{len(null)} {NULLS[name]}")
    ax.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    _runs(ax, group, errors, [0] * len(group))
    _error_axis(ax, group, drawn)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    _without_y_axis(ax)
    legend(ax, above=True)


def plot_trail(group: Group, ax: Axes) -> None:
    """How similar the graph still was at which error, from each random start to the graph found."""
    ways = [way(m) for m in group]
    errors = [[_at_least(x, group[0].tol) for x, _ in points] for points in ways]
    shares = [[share for _, share in points] for points in ways]
    for m, x, y in zip(group, errors, shares, strict=True):
        color = METAMER if m.matched else SHARED
        ax.plot(x, y, color=color, linewidth=1.1, alpha=0.9)
    _starts(ax, [x[0] for x in errors], [y[0] for y in shares])
    _runs(ax, group, [x[-1] for x in errors], [y[-1] for y in shares])
    up = f"{similarity_symbol(group[0])} (1 = the same)"
    _error_axis(ax, group, [group[0].tol, *(x for line in errors for x in line)], up)
    ax.set_ylim(_least(*shares) - 0.03, 1.03)
    legend(ax, above=True)


def way(m: Metamer) -> list[tuple[float, float]]:
    """Error and similarity from a random start to the graph that was returned.

    A search in closed form has no graph on the way: it leads there from its random start.
    """
    name = "start_fvu" if math.isfinite(m.fvu) else "start_activation_error"
    start = m.scores[name], m.scores[f"start_{similarity_name(m)}"]
    points = [(x, similarity) for _, x, similarity in m.trail]
    return points if len(points) > 1 else [start, *points]


def plot_spectrum(theories: Mapping[str, Theory], ax: Axes) -> None:
    """The relative singular values of each layer, as means over the nodes."""
    least = [1.0]
    for place, (layer, found) in enumerate(theories.items()):
        values = positive(np.asarray(found.spectrum, dtype=float))
        places, color = np.arange(1, len(values) + 1), SERIES[place % len(SERIES)]
        look: dict[str, Any] = {
            "color": color,
            "linewidth": 1.2,
            "markersize": 3,
            "label": shorten(layer),
        }
        ax.plot(places, values, "o-", **look)
        least += values[np.isfinite(values)].tolist()
    log_axis(ax, "y", min(least) / 1.6, 1.6)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_axes(ax, "singular value, the largest first", "relative to the largest (log)")
    legend(ax, above=len(theories) < 3)


def plot_row_similarity(metamer: Metamer, ax: Axes) -> None:
    """How many nodes have features, or neighbours, how similar to the reference's."""
    kind, values = first_kind(metamer), metamer.row_similarity.double().numpy()
    low = -1.0 if (values < 0).any() else 0.0
    known = int(np.isfinite(values).sum())
    note = f", {len(values) - known:,} undefined" if known < len(values) else ""
    title = f"Seed {metamer.seed}: n = {known:,}{note}"
    _bars(ax, values, np.linspace(low, 1, BINS + 1), title)
    for name, text, color, style in (
        (kind.together, f"{noun(metamer)}, all {kind.noun}", INK, "-"),
        (f"start_{kind.together}", "random start", MUTED, DASHED),
    ):
        value = metamer.scores.get(name, math.nan)
        if math.isfinite(value):
            look: dict[str, Any] = {"color": color, "linewidth": 1.1, "linestyle": style}
            ax.axvline(value, 0, BAR_ROOM, label=f"{text}: {value:.2f}", **look)
    ax.set_xlim(low - 0.02, 1.02)
    label_axes(ax, f"{kind.row} (1 = the same)", compared_units(metamer))
    legend(ax)


def plot_errors(m: Metamer, errors: Sequence[float], units: str, ax: Axes) -> None:
    """How many rows of the layer, or graphs of a batch, have which error."""
    values = np.array([value for value in errors if math.isfinite(value)])
    shown = np.where(values > 0, values, np.nan)
    low, high = m.tol / 10, m.tol * 10
    if (values > 0).any():
        low = min(low, float(np.nanquantile(shown, 0.005)))
        high = max(high, float(np.nanmax(shown)))
    edges = np.geomspace(low, high * 1.001, BINS + 1)
    zeros = int((values == 0).sum())
    note = f", {zeros:,} are exactly 0" if zeros else ""
    _bars(ax, np.clip(shown, low, high), edges, f"Seed {m.seed}: n = {len(values):,}{note}")
    log_axis(ax, "x", low, high * 1.001)
    _tol_line(ax, m.tol, "x", "" if units == "graphs" else " (for the mean)", top=BAR_ROOM)
    label_axes(ax, f"{error_name([m])} of each of the {units} (lower is closer)", units)
    legend(ax)


def _bars(ax: Axes, values: NDArray[np.float64], edges: NDArray[np.float64], title: str) -> None:
    counts, _ = np.histogram(values[np.isfinite(values)], edges)
    ax.stairs(counts, edges, fill=True, color=METAMER, alpha=0.85)
    ax.set_ylim(0, max(1, counts.max()) / BAR_ROOM)
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    set_title(ax, title)


def _scores(group: Group, name: str) -> list[float]:
    return [m.scores.get(name, math.nan) for m in group]


def _least(*values: Iterable[float]) -> float:
    """The least of all that is a number, or zero."""
    return min([0.0, *(x for some in values for x in some if math.isfinite(x))])


def _at_least(value: float, tol: float) -> float:
    """An error where a logarithmic axis has a place for it; NaN where it is none."""
    return max(value, PERFECT * tol) if math.isfinite(value) else math.nan


def _error_axis(ax: Axes, group: Group, drawn: Sequence[float], up: str = "") -> None:
    """Errors to the right, with `tol`; what is below a ten-thousandth of it stands there."""
    tol = group[0].tol
    _tol_line(ax, tol, "x")
    known = [value for value in drawn if math.isfinite(value)]
    low, high = min(known), max(known)
    room = max(1.8, (high / low) ** 0.08)
    log_axis(ax, "x", low / room, high * room)
    less = f"\nleft end: {error_text(PERFECT * tol)} or less" if low <= PERFECT * tol else ""
    label_axes(ax, f"{error_name(group)} (lower is closer){less}", up)


def _tol_line(
    ax: Axes, tol: float, axis: Literal["x", "y"], note: str = "", top: float = 1
) -> None:
    line = ax.axvline if axis == "x" else ax.axhline
    look: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": DASHED, "zorder": 1}
    line(tol, 0, top, label=f"tol {tol:g}{note}", **look)


def _starts(ax: Axes, x: Sequence[float], y: Sequence[float]) -> None:
    look: dict[str, Any] = {"color": SHARED, "markersize": 5, "markerfacecolor": "none"}
    ax.plot(x, y, "D", label="random start", **look)


def _runs(ax: Axes, group: Group, x: Sequence[float], y: Sequence[float]) -> None:
    for matched, face, label in ((True, METAMER, "metamer"), (False, "none", "not matched")):
        points = [at for m, *at in zip(group, x, y, strict=True) if m.matched is matched]
        if points:
            look: dict[str, Any] = {"color": METAMER, "markersize": 6.5, "markerfacecolor": face}
            ax.plot(*zip(*points, strict=True), "o", zorder=4, label=label, **look)


def _without_y_axis(ax: Axes) -> None:
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _row_names(rows: Sequence[tuple[Group, str]]) -> list[str]:
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
