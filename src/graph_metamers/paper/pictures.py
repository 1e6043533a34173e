"""The pictures of the tables and figures, in one style."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graph_metamers.jobs import Row
from graph_metamers.paper.table import TITLES
from graph_metamers.report.numbers import number
from graph_metamers.report.pictures import Crop, plot_crop
from graph_metamers.report.style import (
    METAMER,
    MUTED,
    PAPER,
    SERIES,
    SHARED,
    label_axes,
    marker,
    set_title,
    styled,
)
from graph_metamers.result import Metamer

HOLLOW = "hollow: no run matched; no mark: no run to show"


def panels(
    figure: Figure,
    rows: Sequence[Row],
    *,
    across: str,
    y: str,
    series: str = "series",
    score: str = "value",
    scores: Mapping[str, str] | None = None,
    panel: str = "dataset",
    x: str | None = None,
) -> None:
    """One panel a dataset: a score along the categories `across`, one colour a series.

    `scores` shows several as the series of one picture, by their titles. `x` names categories that
    follow one another, so that lines join them; others stand side by side.
    """
    if scores:
        rows = [_of_score(row, *named) for row in rows for named in scores.items()]
    parts, names, steps = (list(dict.fromkeys(r[n] for r in rows)) for n in (panel, series, across))
    steps = sorted(steps) if x else steps
    shift = 0.0 if x or len(names) < 2 else 0.28
    colors = dict(zip(names, SERIES, strict=False))
    axes = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for place, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        here = [row for row in rows if row[panel] == part]
        counts = sorted({row["averaged"] for row in here} - {0}) or [0]
        runs = "–".join(str(n) for n in dict.fromkeys([counts[0], counts[-1]]))
        set_title(styled(ax), f"{TITLES[part]}, n = {runs}")
        for name, moved in zip(names, np.linspace(-shift, shift, len(names)), strict=True):
            mine = [row for row in here if row[series] == name]
            at = [steps.index(row[across]) + moved for row in mine]
            values = [100 * number(row, score) for row in mine]
            if x:
                ax.plot(at, values, color=colors[name], linewidth=1.2)
            for row, *point in zip(mine, at, values, strict=True):
                face = colors[name] if row["matched"] else PAPER
                spread = 100 * number(row, f"{score}_std")
                style = {"markerfacecolor": face, "markersize": 5, "linewidth": 1}
                ax.errorbar(*point, yerr=spread, fmt="o", color=colors[name], **style)
        titles = [TITLES.get(str(step), str(step).removeprefix("layer")) for step in steps]
        ax.set_xticks(range(len(steps)), titles, **({} if x else {"rotation": 60, "ha": "right"}))
        ax.set_xlim(-0.5, len(steps) - 0.5)
        label_axes(ax, x if x and place == len(parts) // 2 else "", "" if place else y)
        ax.grid(axis="y", alpha=0.3)
    handles = [marker("o", c, c, TITLES.get(str(n), str(n))) for n, c in colors.items()]
    handles.append(marker("o", MUTED, PAPER, HOLLOW))
    told = {"ncols": min(len(handles), 6), "frameon": False, "fontsize": 8, "labelcolor": MUTED}
    for text in figure.legend(handles=handles, loc="outside lower center", **told).get_texts():
        text.set_parse_math(False)


def _of_score(row: Row, name: str, title: str) -> Row:
    """A row with one of its scores as `value`; the paper’s and the start’s are none of runs."""
    matched = row["matched"] or name.startswith(("paper_", "start_"))
    spread = number(row, f"{name}_std")
    found = {"series": title, "value": number(row, name), "value_std": spread, "matched": matched}
    return row | found


def layers(figure: Figure, metamers: Sequence[Metamer]) -> None:
    """The reference's features, and below the metamers', with each node's similarity."""
    pictures, curves = figure.subplots(2, 1 + len(metamers), height_ratios=(3, 1.2), squeeze=False)
    plot_crop(styled(pictures[0]), Crop.of(metamers[0]), "reference", metamers[0])
    set_title(pictures[0], "reference")
    curves[0].set_axis_off()
    for m, picture, ax in zip(metamers, pictures[1:], curves[1:], strict=True):
        plot_crop(styled(picture), Crop.of(m), "metamer", m)
        set_title(picture, f"{m.layer}, error {m.activation_error:.1e}")
        styled(ax).hist(100 * m.row_similarity.numpy(), bins=40, range=(0, 100), color=METAMER)
        ax.axvline(100 * m.scores["start_feature_similarity"], color=SHARED, linestyle="--")
        ax.yaxis.set_major_locator(MaxNLocator(2))
        label_axes(ax, "similarity of a node, %", "nodes")
    label_axes(pictures[0], "features", "nodes, by class")
