"""What all plots share: colours, and axes that look alike."""

import math
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from graph_metamers.report.numbers import ten

REFERENCE, METAMER, SHARED = "#2f7fd6", "#e0701f", "#858d99"
NEGATIVE = "#2c8c62"  # values below zero
INK, MUTED, RULE, PAPER = "#1a1f2b", "#5b6472", "#d5d9e0", "#ffffff"
DASHED = (0, (4, 3))
# Classes and layers: told apart from one another, and from blue, orange and grey.
SERIES = (
    "#2c8c62", "#8a55c0", "#c2457f", "#927a10", "#1c8b9c",
    "#96553a", "#b83a3a", "#5f7d22", "#5a61ad", "#6c6c6c",
)  # fmt: skip


def styled(ax: Axes) -> Axes:
    """The axes in the style of all plots."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, width=0.8, length=3)
    return ax


def label_axes(
    ax: Axes, x: str, y: str, *, place: Literal["left", "center", "right"] = "center"
) -> None:
    """Name both axes. A dollar sign is a dollar sign, here and in all that names go into."""
    ax.set_xlabel(x, fontsize=8.5, color=INK, parse_math=False, loc=place)
    ax.set_ylabel(y, fontsize=8.5, color=INK, parse_math=False, labelpad=6)


def set_title(ax: Axes, text: str) -> None:
    """A small title, at the left."""
    ax.set_title(text, fontsize=8.5, color=MUTED, loc="left", parse_math=False)


def marker(shape: str, color: str, face: str, label: str) -> Line2D:
    """A legend's entry for markers without a line."""
    look: dict[str, Any] = {
        "marker": shape,
        "color": color,
        "markerfacecolor": face,
        "linestyle": "",
    }
    return Line2D([], [], label=label, **look)


def legend(ax: Axes, *, above: bool = False) -> None:
    """What is labelled, each label once, where there is room or in a row above the axes."""
    handles, labels = ax.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    if not entries:
        return
    box = ax.legend(
        handles=list(entries.values()),
        loc="lower right" if above else "best",
        bbox_to_anchor=(1, 1) if above else None,
        ncols=len(entries) if above else 1,
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=1.2 if above else 1.6,
        handletextpad=0.5,
        columnspacing=1.2,
    )
    for text in box.get_texts():
        text.set_parse_math(False)


def log_axis(ax: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic scale between two positive bounds, with a few plain numbers."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    (ax.set_xlim if which == "x" else ax.set_ylim)(low, high)
    narrow = high / low < 30 and low > 1e-3
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if narrow else (1,), numticks=6))
    axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_locator(NullLocator())


def positive(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a logarithmic scale can hold: zero is drawn below the least value, NaN is a gap."""
    curve = np.where(np.isfinite(curve), curve, np.nan)
    above = curve[curve > 0]
    return np.where(curve <= 0, (above.min() if len(above) else 1.0) / 10, curve)


def thinned(count: int, most: int) -> NDArray[np.int64]:
    """At most so many places out of `count`, evenly spread, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _tick(value: float, _: object) -> str:
    return f"{value:g}" if 1e-3 <= value < 1e4 else ten(round(math.log10(value)))
