"""Table 1: feature metamers of the first layer, six models on five datasets."""

import itertools
import math
import statistics
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.cells import cells, comparable, counted, standard_columns
from graph_metamers.paper.grid import DATASETS, MODELS, Options, chosen, search_job
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import FEATURE_AXIS, beside
from graph_metamers.paper.reported import table1

NEAR = {"feature_similarity": 0.03, "prediction_match": 0.05}  # what counts as reproduced

SYMBOLS = {"feature_similarity": "S_feat", "prediction_match": "S_match"}


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
        differences = {name: row[name] - paper[name] for name in NEAR}
        row |= {f"difference_{name}": value for name, value in differences.items()}
        far = [SYMBOLS[name] for name, value in differences.items() if abs(value) > NEAR[name]]
        told = not math.isnan(row["feature_similarity"])  # no run matched
        row["within"] = (f"no: {', '.join(far)}" if far else "yes") if told else None
    return rows


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    beside(figure, rows, "feature_similarity", FEATURE_AXIS)


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    told = [row for row in rows if row["within"] is not None]
    if not told:
        return []
    high = [r for r in told if r["prediction_match"] >= 0.8 and r["feature_similarity"] <= 0.5]
    near = [row for row in told if row["within"] == "yes"]
    found = [
        Claim(
            "The models are over-invariant: features that are mostly different give the same "
            "classes.",
            "In 27 of the 30 cells S_feat is at most 50 % and S_match at least 80 %.",
            f"{len(high)} of {len(told)} cells.",
            _decided(len(high), len(told), 27),
        ),
    ]
    if options.search == "paper":
        found.insert(
            0,
            Claim(
                "The figures of Table 1.",
                "In 22 of the 30 cells S_feat is within 3 points of the paper’s and S_match within "
                "5.",
                f"{len(near)} of {len(told)} cells.",
                _decided(len(near), len(told), 22),
            ),
        )
    return [*found, *_attention(told, options)]


def _decided(true: int, told: int, needed: int) -> bool | None:
    """Whether enough cells are true; None where those that are missing would decide."""
    missing = len(DATASETS) * len(MODELS) - told
    if true >= needed:
        return True
    return None if true + missing >= needed else False


def _attention(told: Sequence[Row], options: Options) -> list[Claim]:
    pubmed = [row for row in told if row["dataset"] == "pubmed"]
    wide = [row for row in pubmed if row["model"] in ("gat", "graphormer")]
    rest = [row for row in pubmed if row not in wide]
    if not wide or not rest:
        return []
    least = min(wide, key=lambda row: row["feature_similarity"])
    most = max(rest, key=lambda row: row["feature_similarity"])
    equal = options.search == "paper" or bool(comparable(least, most))
    whole = equal and len(pubmed) == len(MODELS)
    return [
        Claim(
            "On PubMed the metamers of attention (GAT, Graphormer) are most like the graph.",
            "Each of their S_feat is above that of every other model.",
            f"{100 * least['feature_similarity']:.1f} % against "
            f"{100 * most['feature_similarity']:.1f} %.",
            least["feature_similarity"] > most["feature_similarity"] if whole else None,
        )
    ]


def note(rows: Sequence[Row], options: Options) -> list[str]:
    starts = [row["start_feature_similarity"] for row in rows if row["within"] is not None]
    if not starts:
        return []
    return [
        counted(options),
        "start is the S_feat of the random start, what one gets without any search, here "
        f"{100 * statistics.fmean(starts):.1f} % on average.",
        "A cell is near where S_feat is within 3 points of the paper’s and S_match within 5.",
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
