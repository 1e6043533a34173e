"""The pictures of the tables and figures, in one style."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from graph_metamers.jobs import Row
from graph_metamers.paper.table import TITLES
from graph_metamers.report.numbers import number
from graph_metamers.report.pictures import Crop, plot_crop
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
from graph_metamers.result import Metamer

HOLLOW = "hollow: no run matched; no mark: no run to show"


def beside(figure: Figure, rows: Sequence[Row], score: str, name: str) -> None:
    """Ours beside the paper's: one panel a dataset, one line a model, with the random start."""
    models = _all(rows, "model")
    for place, (ax, here) in enumerate(_panels(figure, rows)):
        y = [models.index(row["model"]) for row in here]
        _marks(ax, here, y, f"paper_{score}", "D", REFERENCE, PAPER)
        _marks(ax, here, y, f"start_{score}", "|", SHARED, SHARED)
        _marks(ax, here, y, score, "o", METAMER, METAMER)
        ax.set_yticks(range(len(models)), [TITLES[model] for model in models])
        ax.set_ylim(len(models) - 0.5, -0.5)
        shown = [100 * number(r, n) for r in here for n in (score, f"paper_{score}")]
        ax.set_xlim(0, 5 + max(value for value in shown if not math.isnan(value)))
        label_axes(ax, name if place == len(_all(rows, "dataset")) // 2 else "", "")
    _below(
        figure,
        [
            marker("o", METAMER, METAMER, "ours, mean ± standard deviation"),
            marker("D", REFERENCE, PAPER, "the paper’s"),
            marker("|", SHARED, SHARED, "random start"),
        ],
    )


def panels(
    figure: Figure,
    rows: Sequence[Row],
    *,
    across: str,
    series: str,
    score: str,
    y: str,
    x: str | None = None,
) -> None:
    """One panel a dataset: a score along the categories `across`, one colour a series.

    `x` names categories that follow one another, so that lines join them; others stand side by
    side.
    """
    steps, names = _all(rows, across), _all(rows, series)
    steps = sorted(steps) if x else steps
    shift = 0.0 if x or len(names) < 2 else 0.28
    shifts = np.linspace(-shift, shift, len(names))
    for place, (ax, here) in enumerate(_panels(figure, rows)):
        for color, one, shift in zip(SERIES, names, shifts.tolist(), strict=False):
            mine = [row for row in here if row[series] == one]
            at = [steps.index(row[across]) + shift for row in mine]
            if x:
                ax.plot(at, [100 * number(row, score) for row in mine], color=color, linewidth=1.2)
            _marks(ax, mine, at, score, "o", color, color, upright=True)
        titles = [TITLES.get(str(step), str(step).removeprefix("layer")) for step in steps]
        slant: dict[str, Any] = {} if x else {"rotation": 60, "ha": "right"}
        ax.set_xticks(range(len(steps)), titles, **slant)
        ax.set_xlim(-0.3, len(steps) - 0.7) if x else ax.set_xlim(-0.5, len(steps) - 0.5)
        middle = place == len(_all(rows, "dataset")) // 2
        label_axes(ax, x if x and middle else "", "" if place else y)
        ax.grid(axis="y", alpha=0.3)
    entries = [marker("o", c, c, TITLES.get(n, n)) for c, n in zip(SERIES, names, strict=False)]
    _below(figure, entries)


def layers(figure: Figure, metamers: Sequence[Metamer]) -> None:
    """The reference's features, and below the metamers', with each node's similarity."""
    if not metamers:
        return
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


def matrices(figure: Figure, rows: Sequence[Row], scores: Mapping[str, str]) -> None:
    """Accuracies by source and target, as numbers on a colour that is the same in all panels."""
    sources, targets = _all(rows, "source"), _all(rows, "target")
    found = {(row["source"], row["target"]): row for row in rows}
    values = {
        score: np.array(
            [[100 * number(found.get((s, t), {}), score) for t in targets] for s in sources]
        )
        for score in scores
    }
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
        label_axes(ax, "seen by", "" if place else "metamers of")
    figure.supxlabel("numbers and colour: accuracy on the test nodes, %", fontsize=8, color=MUTED)


def _panels(figure: Figure, rows: Sequence[Row]) -> list[tuple[Axes, list[Row]]]:
    """Axes for each dataset, side by side, with its rows."""
    datasets = _all(rows, "dataset")
    axes = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
    pairs = zip(axes, datasets, strict=True)
    panels = [(styled(ax), [row for row in rows if row["dataset"] == name]) for ax, name in pairs]
    for ax, here in panels:
        set_title(ax, f"{TITLES[here[0]['dataset']]}, n = {_runs(here)}")
    return panels


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
        at = (place, value) if upright else (value, place)
        bar: dict[str, Any] = {} if math.isnan(spread) else {"yerr" if upright else "xerr": spread}
        ax.errorbar(
            *at,
            **bar,
            fmt=shape,
            color=color,
            markerfacecolor=PAPER if own and not row["matched"] else face,
            markersize=5,
            linewidth=1,
        )


def _below(figure: Figure, handles: list[Line2D]) -> None:
    handles = [*handles, marker("o", MUTED, PAPER, HOLLOW)]
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
