"""What Figs. 4 and 9 share: metamers at layers 1, 2 and 3 of one model, as pictures."""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, comparable, standard_columns
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column
from graph_metamers.report.numbers import ABSENT
from graph_metamers.report.pictures import Crop, plot_crop
from graph_metamers.report.style import METAMER, SHARED, label_axes, set_title, styled
from graph_metamers.result import Metamer, load

LAYERS = ("layer1", "layer2", "layer3")
DEPTH = 4
PICTURED = (("cora", "gcn"), ("pubmed", "gat"))  # in Figs. 4 and 9


def layer_grid(options: Options, dataset: str, model: str) -> list[Job]:
    """Metamers at each of the first three layers of the model."""
    if not (chosen(options.datasets, (dataset,)) and chosen(options.models, (model,))):
        return []
    return [
        layer_job(options, dataset, model, seed, layer)
        for seed, layer in itertools.product(range(options.seeds), LAYERS)
    ]


def layer_job(options: Options, dataset: str, model: str, seed: int, layer: str) -> Job:
    """A metamer at a layer of four; of what is shown as a picture seed 0 is kept."""
    keep = seed == 0 and (dataset, model) in PICTURED
    return search_job(options, dataset, model, seed, layer=layer, depth=DEPTH, keep=keep)


def layer_columns(options: Options) -> list[Column]:
    return [
        Column("layer", "layer"),
        *standard_columns(),
        Column("activation_correlation", "correlation", "percent"),
    ]


def layer_summary(results: Sequence[Result], options: Options) -> list[Row]:
    # Where no run matched, the nearest graph that was found is shown all the same.
    return cells(results, options, ("dataset", "model", "layer"), every_run=True)


def layer_claim(
    claim: str,
    threshold: str,
    name: str,
    holds: Callable[[list[float]], bool | None],
    rows: Sequence[Row],
    options: Options,
) -> Claim:
    """A claim about a score at the three layers; open where one of them has no figure.

    At equal activation error it is open as well where a run did not match.
    """
    values = [row[name] for row in rows]
    whole = len(values) == len(LAYERS) and all(map(math.isfinite, values))
    if options.search == "paper":
        threshold += ", whatever the activation error"
    else:
        whole = whole and all(row["matched"] == row["runs"] for row in rows)
        whole = whole and all(comparable(a, b) for a, b in itertools.pairwise(rows))
        threshold += "; every run matches, all at one activation error"
    texts = (ABSENT if math.isnan(value) else f"{100 * value:.2f} %" for value in values)
    runs = ", ".join(str(n) for n in sorted({row["averaged"] for row in rows}))
    found = f"Layer by layer: {', '.join(texts)} (mean of {runs}, without a test)."
    starts = [row.get(f"start_{name}", math.nan) for row in rows]
    if starts and all(map(math.isfinite, starts)):
        found += f" The random start has {100 * statistics.fmean(starts):.2f} %."
    return Claim(claim, f"{threshold}.", found, holds(values) if whole else None)


def falls(values: list[float]) -> bool | None:
    """Whether each is below the one before by more than chance; None where that cannot be told.

    >>> falls([0.3, 0.2, 0.1]), falls([0.3, 0.2, 0.199]), falls([0.3, 0.1, 0.2])
    (True, None, False)
    """
    drops = [a - b for a, b in itertools.pairwise(values)]
    least, chance = min(drops), CHANCE["feature_similarity"]
    return True if least > chance else False if least < -chance else None


def draw_layers(figure: Figure, jobs: Sequence[Job], store: Store) -> None:
    """The reference's features, and below the metamers', with each node's similarity."""
    paths = [store.left(job) / "metamer.pt" for job in jobs]
    kept = [load(path) for path in paths if path.exists()]
    if not kept:
        return
    pictures, curves = figure.subplots(2, 1 + len(kept), height_ratios=(3, 1.2), squeeze=False)
    ax = styled(pictures[0])
    plot_crop(ax, Crop.of(kept[0]), "reference", kept[0])
    set_title(ax, "reference")
    curves[0].set_axis_off()
    for m, picture, curve in zip(kept, pictures[1:], curves[1:], strict=True):
        plot_crop(styled(picture), Crop.of(m), "metamer", m)
        set_title(picture, f"{m.layer}, error {m.activation_error:.1e}")
        _similarities(curve, m)
    label_axes(pictures[0], "features", "nodes, by class")


def _similarities(ax: Axes, m: Metamer) -> None:
    """How many nodes are how similar, and where the random start's mean stands."""
    ax = styled(ax)
    ax.hist(100 * m.node_similarity.numpy(), bins=40, range=(0, 100), color=METAMER)
    start = 100 * m.scores["start_feature_similarity"]
    ax.axvline(start, color=SHARED, linestyle="--")
    ax.yaxis.set_major_locator(MaxNLocator(2))
    label_axes(ax, "similarity of a node, %", "nodes")


def layer_note(rows: Sequence[Row], options: Options) -> list[str]:
    return [
        "Means are over all runs, matched or not. The picture is that of seed 0.",
        "Rows are nodes and columns features, a sample of both. Below: how many nodes are how "
        "similar to themselves in the reference; the dashed line is the random start's S_feat.",
    ]
