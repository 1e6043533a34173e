"""The pictures of the tables and figures, in one style."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graph_metamers.jobs import Row
from graph_metamers.paper.grid import TITLES
from graph_metamers.report.numbers import number
from graph_metamers.report.style import (
    INK,
    METAMER,
    MUTED,
    PAPER,
    REFERENCE,
    SERIES,
    SHARED,
    label_axes,
    marker,
    set_title,
    styled,
)

CS_AXIS = "CS_feat, % (low: over-invariant)"
FEATURE_AXIS = "feature similarity S_feat, % (100 is the same graph)"


def beside(figure: Figure, rows: Sequence[Row], score: str, name: str) -> None:
    """Ours beside the paper's: one panel a dataset, one line a model, with the random start."""
    datasets, models = _all(rows, "dataset"), _all(rows, "model")
    panels = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for place, (ax, dataset) in enumerate(zip(panels, datasets, strict=True)):
        here = [row for row in rows if row["dataset"] == dataset]
        y = [models.index(row["model"]) for row in here]
        _marks(ax, here, y, f"paper_{score}", "D", REFERENCE, PAPER)
        _marks(ax, here, y, f"start_{score}", "|", SHARED, SHARED)
        _marks(ax, here, y, score, "o", METAMER, METAMER)
        styled(ax).set_yticks(range(len(models)), [TITLES[model] for model in models])
        ax.set_ylim(len(models) - 0.5, -0.5)
        shown = [100 * number(r, n) for r in here for n in (score, f"paper_{score}")]
        ax.set_xlim(0, 5 + max(value for value in shown if not math.isnan(value)))
        set_title(ax, f"{TITLES.get(dataset, dataset)}, n = {_runs(here)}")
        label_axes(ax, name if place == len(datasets) // 2 else "", "")
    _below(
        figure,
        [
            marker("o", METAMER, METAMER, "ours, mean ± standard deviation"),
            marker("D", REFERENCE, PAPER, "the paper’s"),
            marker("|", SHARED, SHARED, "random start"),
        ],
    )


def panels(
    figure: Figure, rows: Sequence[Row], *, across: str, series: str, score: str, name: str
) -> None:
    """One panel a dataset: a score for each of a few categories, one marker a series."""
    datasets, categories, names = (_all(rows, key) for key in ("dataset", across, series))
    axes = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    shifts = np.linspace(-0.28, 0.28, len(names)) if len(names) > 1 else [0.0]
    for place, (ax, dataset) in enumerate(zip(axes, datasets, strict=True)):
        here = [row for row in rows if row["dataset"] == dataset]
        for color, one, shift in zip(SERIES, names, shifts, strict=False):
            mine = [row for row in here if row[series] == one]
            x = [categories.index(row[across]) + shift for row in mine]
            _marks(ax, mine, x, score, "o", color, color, upright=True)
        titles = [TITLES.get(category, category) for category in categories]
        styled(ax).set_xticks(range(len(titles)), titles, rotation=60, ha="right")
        ax.set_xlim(-0.5, len(titles) - 0.5)
        set_title(ax, f"{TITLES.get(dataset, dataset)}, n = {_runs(here)}")
        label_axes(ax, "", "" if place else name)
        ax.grid(axis="y", alpha=0.3)
    _below(figure, [marker("o", SERIES[i], SERIES[i], str(one)) for i, one in enumerate(names)])


def lines(figure: Figure, rows: Sequence[Row], *, along: str, score: str, x: str, y: str) -> None:
    """One panel a dataset, one line a model: a score along widths or layers."""
    datasets, models = (_all(rows, key) for key in ("dataset", "model"))
    steps = sorted(_all(rows, along))
    axes = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    for place, (ax, dataset) in enumerate(zip(axes, datasets, strict=True)):
        here = [row for row in rows if row["dataset"] == dataset]
        for color, model in zip(SERIES, models, strict=False):
            mine = [row for row in here if row["model"] == model]
            at = [float(steps.index(row[along])) for row in mine]
            values = [100 * number(row, score) for row in mine]
            ax.plot(at, values, color=color, linewidth=1.2)
            _marks(ax, mine, at, score, "o", color, color, upright=True)
        names = [str(step).removeprefix("layer") for step in steps]
        styled(ax).set_xticks(range(len(steps)), names)
        ax.set_xlim(-0.3, len(steps) - 0.7)
        set_title(ax, f"{TITLES.get(dataset, dataset)}, n = {_runs(here)}")
        label_axes(ax, x if place == len(datasets) // 2 else "", "" if place else y)
        ax.grid(axis="y", alpha=0.3)
    entries = [marker("o", SERIES[i], SERIES[i], TITLES[m]) for i, m in enumerate(models)]
    _below(figure, entries)


def matrices(
    figure: Figure,
    rows: Sequence[Row],
    scores: Mapping[str, str],
    *,
    rows_are: str,
    columns_are: str,
) -> None:
    """Accuracies by source and target, as numbers on a colour that is the same in all panels."""
    sources, targets = _all(rows, "source"), _all(rows, "target")
    values = {
        score: np.array(
            [
                [
                    next((100 * number(r, score) for r in rows
                          if (r["source"], r["target"]) == (source, target)), np.nan)
                    for target in targets
                ]
                for source in sources
            ]
        )
        for score in scores
    }  # fmt: skip
    known = np.concatenate([value[np.isfinite(value)] for value in values.values()])
    low, high = (known.min(), known.max()) if len(known) else (0.0, 100.0)
    axes = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for place, (ax, score) in enumerate(zip(axes, scores, strict=True)):
        styled(ax).imshow(values[score], vmin=low, vmax=high, cmap="Oranges_r", aspect="auto")
        for (i, j), value in np.ndenumerate(values[score]):
            if not np.isfinite(value):
                continue
            dark = value < (low + high) / 2
            ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=7,
                    color=PAPER if dark else INK)  # fmt: skip
        ax.set_xticks(range(len(targets)), [TITLES[t] for t in targets], rotation=60, ha="right")
        ax.set_yticks(range(len(sources)), [TITLES[s] for s in sources])
        ours = "" if score.startswith("paper_") else f", n = {_runs(rows)}"
        set_title(ax, f"{scores[score]}{ours}")
        label_axes(ax, columns_are, "" if place else rows_are)
    figure.supxlabel("numbers and colour: accuracy on the test nodes, %", fontsize=8, color=MUTED)


def _marks(
    ax: Axes,
    rows: Sequence[Row],
    places: Sequence[float],
    score: str,
    shape: str,
    color: str,
    face: str,
    *,
    upright: bool = False,
) -> None:
    """A marker and its spread for each row; hollow where no run of the cell matched."""
    for row, place in zip(rows, places, strict=True):
        value, spread = 100 * number(row, score), 100 * number(row, f"{score}_std")
        own = not score.startswith(("paper_", "start_"))
        ax.errorbar(
            [place] if upright else [value],
            [value] if upright else [place],
            xerr=None if upright or spread != spread else [spread],
            yerr=[spread] if upright and spread == spread else None,
            fmt=shape,
            color=color,
            markerfacecolor=PAPER if own and not row["matched"] else face,
            markersize=5,
            linewidth=1,
        )


def _below(figure: Figure, handles: list[Line2D]) -> None:
    handles = [
        *handles,
        marker("o", MUTED, PAPER, "hollow: no run matched; no mark: no run to show"),
    ]
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=8,
        labelcolor=MUTED,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _all(rows: Sequence[Row], name: str) -> list[str]:
    return list(dict.fromkeys(row[name] for row in rows))


def _runs(rows: Sequence[Row]) -> str:
    """Over how many runs the means are that are shown."""
    counts = sorted({row["averaged"] for row in rows} - {0})
    return "–".join(str(n) for n in dict.fromkeys([counts[0], counts[-1]])) if counts else "0"
