"""Fig. 5: structure metamers of GCN and ChebNet."""

import itertools
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, standard_columns
from graph_metamers.paper.claims import counted_of, decided, most
from graph_metamers.paper.grid import DATASETS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import panels
from graph_metamers.paper.tasks import TOL

MODELS = ("gcn", "chebnet")
DENSE = tuple(name for name in DATASETS if name != "pubmed")  # n² entries are 389 million there


def grid(options: Options) -> list[Job]:
    return [
        search_job(options, dataset, model, seed, vary="structure")
        for seed, dataset, model in itertools.product(
            range(options.seeds),
            chosen(options.datasets, _feasible(options)),
            chosen(options.models, MODELS),
        )
    ]


def _feasible(options: Options) -> tuple[str, ...]:
    return DENSE if options.search == "paper" else DATASETS


def columns(options: Options) -> list[Column]:
    return [
        Column("dataset", "dataset", "name"),
        Column("model", "model", "name"),
        Column("accuracy_test", "acc.", "percent"),
        *standard_columns("structure"),
        Column("edges_kept", "kept", "percent"),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    # Where no edges match, the nearest graph that was found says more than an empty cell.
    return cells(results, options, ("dataset", "model"), every_run=True)


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    scores = {
        "structure_similarity": "S_struct",
        "start_structure_similarity": "S_struct of the random start",
        "prediction_match": "S_match",
        "edges_kept": "edges kept",
    }
    long = [
        {**row, "score": title, "value": row[name], "value_std": row[f"{name}_std"]}
        for row in rows
        for name, title in scores.items()
    ]
    panels(
        figure,
        long,
        across="model",
        series="score",
        score="value",
        name="score, % (100 is the same)",
    )


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    rows = [row for row in rows if row["runs"] > row["failed"]]
    if not rows:
        return []
    whole = len(_feasible(options)) * len(MODELS)
    near = [row for row in rows if row["structure_similarity"] >= 0.95]
    low = [row for row in rows if 0.7 <= row["prediction_match"] <= 0.9]
    kept = [row["edges_kept"] for row in rows]
    small = [row for row in rows if row["edges_kept"] >= 0.5]
    altered = [row for row in small if row["activation_error"] > TOL]
    matched, runs = sum(row["matched"] for row in rows), sum(row["runs"] for row in rows)
    return [
        Claim(
            "S_struct is close to 100 %.",
            "In 9 of 10 cells S_struct is at least 95 %.",
            counted_of(len(near), len(rows), whole, "cells"),
            decided(len(near), len(rows), whole, most(whole)),
        ),
        Claim(
            "S_match is only around 80 %.",
            "In 9 of 10 cells S_match lies between 70 and 90 %.",
            counted_of(len(low), len(rows), whole, "cells"),
            decided(len(low), len(rows), whole, most(whole)),
        ),
        Claim(
            "Small changes of the structure alter the activations.",
            "Of the graphs found, those that share at least half of their edges with the "
            f"reference have an activation error above {TOL:g}; open where there is none.",
            f"{len(altered)} of {len(small)}; the graphs found share "
            f"{100 * min(kept):.1f} to {100 * max(kept):.1f} % of the edges.",
            _altered(len(altered), len(small), len(rows), whole),
        ),
        Claim(
            "Structure metamers do not exist for these models.",
            "A run that matches refutes it. That none does cannot prove it, and leaves it open.",
            f"{matched} of {runs} runs match.",
            False if matched else None,
        ),
    ]


def _altered(altered: int, small: int, told: int, whole: int) -> bool | None:
    if altered < small:
        return False
    return True if small and told == whole else None


def note(rows: Sequence[Row], options: Options) -> list[str]:
    told = [
        "Means are over all runs, matched or not, so that a graph that is only near is shown too.",
        "S_struct says little without the share of edges kept: most graphs of as many nodes and "
        "edges are of similar shape, as the random start shows.",
        "Edges go both ways and there are no self-loops, as Eq. 12 makes them.",
    ]
    if options.search == "paper":
        told.append(
            "PubMed is left out: the relaxation holds all pairs of its 19,717 nodes, several times."
        )
    return told


ITEM = Item(
    name="fig5",
    title="Fig. 5: structure metamers",
    shows="S_struct and S_match of structure metamers of GCN and ChebNet",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
