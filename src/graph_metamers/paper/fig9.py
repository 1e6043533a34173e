"""Fig. 9: PubMed's features beside those of GAT's metamers."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Row, Store
from graph_metamers.paper import fig4
from graph_metamers.paper.grid import Options
from graph_metamers.paper.item import Claim, Item
from graph_metamers.paper.layers import (
    PICTURED,
    draw_layers,
    layer_claim,
    layer_columns,
    layer_grid,
    layer_note,
    layer_summary,
)

CORRELATION = 0.9871


def grid(options: Options) -> list[Job]:
    return layer_grid(options, *PICTURED[1])


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    draw_layers(figure, grid(options)[:3], store)


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    similar = layer_claim(
        "Activations stay as similar as 98.71 %.",
        f"Pearson's correlation is at least {100 * CORRELATION:.2f} % at every layer",
        "activation_correlation",
        lambda correlations: min(correlations) >= CORRELATION,
        rows,
        options,
    )
    # Not where the search is ended at an error: that decides the correlation.
    return [*fig4.claims(rows, options), *([similar] if options.search == "paper" else [])]


ITEM = Item(
    name="fig9",
    title="Fig. 9: PubMed's features and metamers of GAT",
    shows="features of metamers at layers 1, 2 and 3 of a GAT with four layers on PubMed",
    grid=grid,
    columns=layer_columns,
    summary=layer_summary,
    draw=draw,
    claims=claims,
    note=layer_note,
)
