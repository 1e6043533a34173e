"""Fig. 8: the layer that is matched, in models of four layers."""

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, counted, standard_columns
from graph_metamers.paper.claims import finder, paired, rises
from graph_metamers.paper.grid import DATASETS, Options, chosen
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.layers import LAYERS, layer_job
from graph_metamers.paper.pictures import CS_AXIS, lines

MODELS = ("gcn", "chebnet", "graphsage", "gin")
CELL = ("dataset", "model", "layer")


def grid(options: Options) -> list[Job]:
    return [
        layer_job(options, dataset, model, seed, layer)
        # Models change fastest: so workers begin with as many trainings, which later jobs share.
        for seed, dataset, layer, model in itertools.product(
            range(options.seeds),
            chosen(options.datasets, DATASETS),
            LAYERS,
            chosen(options.models, MODELS),
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("dataset", "dataset", "name"),
        Column("model", "model", "name"),
        Column("layer", "layer"),
        Column("accuracy_test", "acc.", "percent"),
        *standard_columns(),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    rows = cells(results, options, CELL)  # in the grid's order, a model's layers apart
    return sorted(
        rows, key=lambda row: (DATASETS.index(row["dataset"]), MODELS.index(row["model"]))
    )


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    lines(
        figure,
        rows,
        along="layer",
        score="consistency",
        x="layer matched",
        y=CS_AXIS,
    )


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    find, equal = finder(rows, CELL), options.search != "paper"
    pairs = paired(
        [row for row in rows if row["layer"] != LAYERS[0]],
        lambda row: find(row, layer=LAYERS[LAYERS.index(row["layer"]) - 1]),
        whole=len(DATASETS) * len(MODELS) * (len(LAYERS) - 1),
        equal=equal,
    )
    return [rises("CS falls from layer to layer.", pairs, sign=-1, equal=equal)]


def note(rows: Sequence[Row], options: Options) -> list[str]:
    return [counted(options), "The paper names no models; these are the four without attention."]


ITEM = Item(
    name="fig8",
    title="Fig. 8: the layer that is matched",
    shows="CS at layers 1, 2 and 3 of four models with four layers",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
