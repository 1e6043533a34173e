"""Fig. 4: metamers of the first three layers as pictures."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Row, Store
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options
from graph_metamers.paper.item import Claim, Item
from graph_metamers.paper.layers import (
    PICTURED,
    draw_layers,
    falls,
    layer_claim,
    layer_columns,
    layer_grid,
    layer_note,
    layer_summary,
)


def grid(options: Options) -> list[Job]:
    return layer_grid(options, *PICTURED[0])


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    draw_layers(figure, grid(options)[:3], store)


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    return [
        layer_claim(
            "The deeper the layer, the less a metamer is like the graph.",
            "S_feat falls from layer 1 to 2 and from 2 to 3, by more than "
            f"{100 * CHANCE['feature_similarity']:.1f} points each (open where a change is less)",
            "feature_similarity",
            falls,
            rows,
            options,
        )
    ]


ITEM = Item(
    name="fig4",
    title="Fig. 4: metamers of the first three layers",
    shows="features of metamers at layers 1, 2 and 3 of a GCN with four layers on Cora",
    grid=grid,
    columns=layer_columns,
    summary=layer_summary,
    draw=draw,
    claims=claims,
    note=layer_note,
)
