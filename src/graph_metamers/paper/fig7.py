"""Fig. 7: the width of the hidden layer."""

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, counted, standard_columns
from graph_metamers.paper.claims import finder, paired, rises
from graph_metamers.paper.grid import DATASETS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import CS_AXIS, lines

MODELS = ("gcn", "chebnet", "graphsage", "gin")
UNITS = (16, 32, 64)
CELL = ("dataset", "model", "hidden")


def grid(options: Options) -> list[Job]:
    return [
        search_job(options, dataset, model, seed, hidden=units)
        for seed, dataset, model, units in itertools.product(
            range(options.seeds),
            chosen(options.datasets, DATASETS),
            chosen(options.models, MODELS),
            UNITS,
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("dataset", "dataset", "name"),
        Column("model", "model", "name"),
        Column("hidden", "width"),
        Column("accuracy_test", "acc.", "percent"),
        *standard_columns(),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    return cells(results, options, CELL)


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    lines(
        figure,
        rows,
        along="hidden",
        score="consistency",
        x="units of layer 1",
        y=CS_AXIS,
    )


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    find, equal = finder(rows, CELL), options.search != "paper"
    pairs = paired(
        [row for row in rows if row["hidden"] != UNITS[0]],
        lambda row: find(row, hidden=row["hidden"] // 2),
        whole=len(DATASETS) * len(MODELS) * (len(UNITS) - 1),
        equal=equal,
    )
    return [rises("CS rises with the width of the hidden layer.", pairs, equal=equal)]


def note(rows: Sequence[Row], options: Options) -> list[str]:
    return [counted(options), "The paper names no models; these are the four without attention."]


ITEM = Item(
    name="fig7",
    title="Fig. 7: width of the hidden layer",
    shows="CS of four models with 16, 32 and 64 units",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
