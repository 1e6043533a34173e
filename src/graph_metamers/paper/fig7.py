"""Fig. 7: the width of the hidden layer."""

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, counted, standard_columns
from graph_metamers.paper.grid import DATASETS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import CS_AXIS, lines
from graph_metamers.paper.steps import finder, rises

MODELS = ("gcn", "chebnet", "graphsage", "gin")
WIDTHS = (16, 32, 64)
CELL = ("dataset", "model", "hidden")


def grid(options: Options) -> list[Job]:
    return [
        search_job(options, dataset, model, seed, hidden=width)
        for seed, dataset, model, width in itertools.product(
            range(options.seeds),
            chosen(options.datasets, DATASETS),
            chosen(options.models, MODELS),
            WIDTHS,
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
    find = finder(rows, CELL)
    return [
        rises(
            "CS rises with the width of the hidden layer.",
            [row for row in rows if row["hidden"] != WIDTHS[0]],
            lambda row: find(row, hidden=row["hidden"] // 2),
            equal=options.search != "paper",
        )
    ]


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
