"""Table 1: feature metamers of the first layer, six models on five datasets."""

import itertools
import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, counted, standard_columns
from graph_metamers.paper.grid import DATASETS, MODELS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import beside
from graph_metamers.paper.reported import table1

NEAR = {"feature_similarity": 0.03, "prediction_match": 0.05}  # what counts as reproduced


def grid(options: Options) -> list[Job]:
    return [
        search_job(options, dataset, model, seed)
        for seed, dataset, model in itertools.product(
            range(options.seeds),
            chosen(options.datasets, DATASETS),
            chosen(options.models, MODELS),
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("dataset", "dataset", "name"),
        Column("model", "model", "name"),
        Column("accuracy_test", "acc.", "percent"),
        *standard_columns(reported=True),
        Column("within", "near"),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    reported = table1()
    rows = cells(results, options, ("dataset", "model", "hidden"))
    for row in rows:
        paper = reported[row["dataset"], row["model"]]
        row |= {f"paper_{name}": value for name, value in paper.items()}
        far = [name for name, near in NEAR.items() if not abs(row[name] - paper[name]) <= near]
        for name in NEAR:
            row[f"difference_{name}"] = row[name] - paper[name]
        signs = {"feature_similarity": "S_feat", "prediction_match": "S_match"}
        row["within"] = "yes" if not far else "no: " + ", ".join(signs[name] for name in far)
    return rows


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    beside(figure, rows, "feature_similarity", "feature similarity S_feat, % (100: the same)")


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    told = [row for row in rows if row["feature_similarity"] == row["feature_similarity"]]
    if not told:
        return []
    high = [r for r in told if r["prediction_match"] >= 0.8 and r["feature_similarity"] <= 0.5]
    near = [row for row in told if row["within"] == "yes"]
    found = [
        Claim(
            "The models are over-invariant: features that are mostly different give the same "
            "classes.",
            "In 9 of 10 cells S_feat is at most 50 % and S_match at least 80 %.",
            f"{len(high)} of {len(told)} cells.",
            len(high) >= 0.9 * len(told),
        ),
    ]
    if options.search == "paper":
        found.insert(
            0,
            Claim(
                "The figures of Table 1.",
                "In 22 of 30 cells S_feat is within 3 points of the paper's and S_match within 5.",
                f"{len(near)} of {len(told)} cells.",
                len(near) >= 22 / 30 * len(told),
            ),
        )
    pubmed = {r["model"]: r["feature_similarity"] for r in told if r["dataset"] == "pubmed"}
    wide = [pubmed[model] for model in ("gat", "graphormer") if model in pubmed]
    rest = [value for model, value in pubmed.items() if model not in ("gat", "graphormer")]
    if wide and rest:
        found.append(
            Claim(
                "On PubMed the metamers of attention (GAT, Graphormer) are most like the graph.",
                "Each of their S_feat is above the greatest of the other models.",
                f"{100 * min(wide):.1f} % against {100 * max(rest):.1f} %.",
                min(wide) > max(rest),
            )
        )
    return found


def note(rows: Sequence[Row], options: Options) -> list[str]:
    starts = [r["start_feature_similarity"] for r in rows if r["runs"] > r["failed"]]
    if not starts:
        return []
    return [
        counted(options),
        f"start is the S_feat of the random start, {100 * min(starts):.1f} to "
        f"{100 * max(starts):.1f} %: what one gets without any search, here "
        f"{100 * statistics.fmean(starts):.1f} % on average.",
        "A cell is near where S_feat is within 3 points of the paper's and S_match within 5.",
    ]


ITEM = Item(
    name="table1",
    title="Table 1: feature metamers of the first layer",
    shows="S_feat, S_match and CS of six models on five datasets",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
