"""Table 2: one model's metamers, trained on by the others, and shown to them."""

import itertools
import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.measure import holm, paired_test
from graph_metamers.paper.cells import mean
from graph_metamers.paper.grid import MODELS, TASKS, Options, chosen
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import matrices
from graph_metamers.paper.reported import table2

DATASET = "pubmed"
SCORES = ("retrained", "plain", "shown", "shown_match")
DROP, LEVEL = 0.02, 0.05


def grid(options: Options) -> list[Job]:
    names = chosen(options.datasets, (DATASET,))
    models = chosen(options.models, MODELS)
    return [
        Job.of(
            f"{TASKS}:transfer_rows",
            dataset=dataset,
            source=source,
            target=target,
            seed=seed,
            search=options.search,
            steps=options.steps,
            device=options.device,
        )
        for seed, dataset, source, target in itertools.product(
            range(options.seeds), names, models, models
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("source", "metamers of", "name"),
        Column("target", "seen by", "name"),
        Column("matched", "matched", "count"),
        Column("activation_error", "error", "error"),
        Column("null_activation_error", "null", "error"),
        Column("plain", "trained on the graph", "percent"),
        Column("retrained", "trained on metamers", "percent"),
        Column("retrained_difference", "change", "points"),
        Column("retrained_p", "p", "p"),
        Column("paper_accuracy", "paper's", "percent"),
        Column("shown", "shown metamers", "percent"),
        Column("shown_p", "p", "p"),
        Column("shown_match", "same class", "percent"),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    reported = table2()
    grouped: dict[tuple[str, str], list[Row]] = {}
    for result in results:
        asked = result.job.arguments
        runs = grouped.setdefault((asked["source"], asked["target"]), [])
        runs.extend(row | {"seed": asked["seed"]} for row in result.rows)
    rows = [_cell(*pair, runs) for pair, runs in grouped.items() if runs]
    for row in rows:
        paper = reported[row["source"], row["target"]]
        row |= {"paper_accuracy": paper["accuracy"], "paper_accuracy_std": paper["accuracy_std"]}
        row["paper_plain"] = reported["original", row["target"]]["accuracy"]
    for name in ("retrained", "shown"):
        tested = [row for row in rows if not math.isnan(row[f"{name}_p"])]
        for row, p in zip(tested, holm([row[f"{name}_p"] for row in tested]), strict=True):
            row[f"{name}_p"] = p
    return rows


def _cell(source: str, target: str, runs: Sequence[Row]) -> Row:
    cell: Row = {"source": source, "target": target, "runs": len(runs)}
    cell["matched"] = sum(run["matched"] and not run["trivial"] for run in runs)
    cell["null_activation_error"] = min(run["null_activation_error"] for run in runs)
    for name in ("activation_error", *SCORES):
        cell |= mean(name, runs)
    plain = [run["plain"] for run in runs]
    for name in ("retrained", "shown"):
        values = [run[name] for run in runs]
        cell[f"{name}_difference"] = cell[name] - cell["plain"]
        cell[f"{name}_p"] = paired_test(values, plain).t_p if len(runs) > 1 else math.nan
    return cell


def draw(figure: Figure, rows: Sequence[Row], options: Options, store: Store) -> None:
    matrices(
        figure,
        rows,
        {
            "retrained": "trained on metamers, shown the graph",
            "shown": "trained on the graph, shown metamers",
            "paper_accuracy": "the paper's: trained on metamers",
        },
        rows_are="metamers of",
        columns_are="seen by",
    )


def claims(rows: Sequence[Row], options: Options) -> list[Claim]:
    if not rows:
        return []
    own = [row for row in rows if row["source"] == row["target"]]
    kept = [row for row in own if row["retrained_difference"] >= -DROP]
    return [
        Claim(
            "A model trained on its own metamers classifies the graph as before.",
            f"On the diagonal accuracy falls by at most {100 * DROP:.0f} points.",
            f"{len(kept)} of {len(own)} models.",
            len(kept) == len(own) if own else None,
        ),
        _extreme(rows, "target", "chebnet", max, "ChebNet stays best when trained on metamers of "
                 "others."),
        _extreme(rows, "target", "graphsage", min, "GraphSAGE loses most when trained on metamers "
                 "of others."),
        _extreme(rows, "source", "gat", min, "GAT's metamers are the most disruptive."),
        _significant(rows),
    ]  # fmt: skip


def _extreme(rows: Sequence[Row], by: str, who: str, pick: object, claim: str) -> Claim:
    """Whether a model's mean change, over all cells but its own, is the greatest or least."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(row[by] for row in rows):
        changes = [
            row["retrained_difference"]
            for row in rows
            if row[by] == name and row["source"] != row["target"]
        ]
        if changes:
            means[name] = sum(changes) / len(changes)
    side = "greatest" if pick is max else "least"
    threshold = f"Of all models' mean changes of accuracy its own is the {side}."
    if who not in means or len(means) < 2:
        return Claim(claim, threshold, "Not run.", None)
    ordered = sorted(means, key=lambda name: means[name], reverse=pick is max)
    told = ", ".join(f"{name} {100 * means[name]:+.1f}" for name in ordered)
    return Claim(claim, threshold, f"Mean changes in points: {told}.", ordered[0] == who)


def _significant(rows: Sequence[Row]) -> Claim:
    tested = [row for row in rows if not math.isnan(row["retrained_p"])]
    true = [r for r in tested if r["retrained_p"] < LEVEL and r["retrained_difference"] < 0]
    return Claim(
        "Training on another model's metamers costs accuracy.",
        f"Student's t of the runs' pairs, corrected for all cells (Holm), is below {LEVEL} in at "
        "least half of the cells.",
        f"{len(true)} of {len(tested)} cells." if tested else "A single run has no test.",
        2 * len(true) >= len(tested) if tested else None,
    )


def note(rows: Sequence[Row], options: Options) -> list[str]:
    return [
        "Accuracies are of the test nodes. Trained on metamers: as the paper does, the model is "
        "trained on the features of the other's metamer and shown the graph itself. Shown "
        "metamers: it is trained on the graph and shown the metamer, as Feather et al. (2023) do; "
        "same class is the share of all nodes to which it then gives the class it gives in the "
        "graph.",
        "p: paired test over the runs against the model trained on the graph and shown it, "
        "corrected for all cells (Holm).",
    ]


ITEM = Item(
    name="table2",
    title="Table 2: metamers across models",
    shows="accuracy on PubMed when trained on, or shown, the metamers of another model",
    grid=grid,
    columns=columns,
    summary=summary,
    draw=draw,
    claims=claims,
    note=note,
)
