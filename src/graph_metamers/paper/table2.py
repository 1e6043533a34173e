"""Table 2: one model's metamers, trained on by the others, and shown to them."""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.measure import holm, paired_test
from graph_metamers.paper.cells import counted, mean, tally
from graph_metamers.paper.claims import counted_of, decided
from graph_metamers.paper.grid import (
    MODELS,
    PROTOCOL,
    TASKS,
    TITLES,
    Options,
    chosen,
    model_options,
)
from graph_metamers.paper.item import Claim, Column, Item
from graph_metamers.paper.pictures import matrices
from graph_metamers.paper.reported import table2

DATASET = "pubmed"
SCORES = ("retrained", "plain", "shown", "shown_match")
CHANGES = ("retrained", "shown")
SIDES = ("source", "target")
DROP, LEVEL, NEAR = 0.02, 0.05, 0.03
PAIRS = len(MODELS) * (len(MODELS) - 1)  # of different models


def grid(options: Options) -> list[Job]:
    names = chosen(options.datasets, (DATASET,))
    models = chosen(options.models, MODELS)
    return [
        Job.of(
            f"{TASKS}:transfer_rows",
            dataset=dataset,
            source=source,
            source_options=model_options(source),
            target=target,
            target_options=model_options(target),
            seed=seed,
            search=options.search,
            steps=options.steps,
            device=options.device,
            protocol=PROTOCOL[options.search],
        )
        # The source changes fastest: workers begin with as many metamers as there are of them.
        for seed, dataset, target, source in itertools.product(
            range(options.seeds), names, models, models
        )
    ]


def columns(options: Options) -> list[Column]:
    return [
        Column("source", "metamers of", "name"),
        Column("target", "seen by", "name"),
        Column("matched", "match", "count"),
        Column("activation_error", "error", "error"),
        Column("null_activation_error", "null", "error"),
        Column("plain", "trained on the graph", "percent", "acc."),
        Column("retrained", "trained on metamers", "percent", "trained"),
        Column("retrained_difference", "change", "points"),
        Column("retrained_p", "p", "p", ""),
        Column("paper_accuracy", "paper", "percent"),
        Column("within", "near"),
        Column("shown", "shown metamers", "percent", "shown"),
        Column("shown_difference", "change", "points"),
        Column("shown_p", "p", "p", ""),
        Column("shown_match", "same class", "percent", "same"),
    ]


def summary(results: Sequence[Result], options: Options) -> list[Row]:
    reported = table2()
    grouped: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        asked = result.job.arguments
        grouped.setdefault((asked["source"], asked["target"]), []).append(result)
    pairs = [pair for pair in itertools.product(MODELS, MODELS) if pair in grouped]
    rows = [_cell(*pair, grouped[pair], options) for pair in pairs]
    for row in rows:
        paper = reported[row["source"], row["target"]]
        row |= {"paper_accuracy": paper["accuracy"], "paper_accuracy_std": paper["accuracy_std"]}
        far = abs(row["retrained"] - paper["accuracy"]) > NEAR
        row["within"] = None if math.isnan(row["retrained"]) else "no" if far else "yes"
    for name in CHANGES:
        tested = [row for row in rows if not math.isnan(row[f"{name}_p"])]
        for row, p in zip(tested, holm([row[f"{name}_p"] for row in tested]), strict=True):
            row[f"{name}_p"] = p
    return rows


def _cell(source: str, target: str, members: Sequence[Result], options: Options) -> Row:
    counts, told = tally(members, options.search == "paper")
    cell: Row = {"source": source, "target": target} | counts
    for name in SCORES:
        cell |= mean(name, told)
    plain = [run["plain"] for run in told]
    for name in CHANGES:
        after = [run[name] for run in told]
        cell[f"{name}_difference"] = cell[name] - cell["plain"]
        cell[f"{name}_p"] = paired_test(after, plain).t_p if len(told) > 1 else math.nan
        cell[f"{name}_changes"] = {str(run["seed"]): run[name] - run["plain"] for run in told}
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
    rows = [row for row in rows if not math.isnan(row["retrained"])]
    if not rows:
        return []
    other = [row for row in rows if row["source"] != row["target"]]
    theirs = {claim.claim: "yes" if claim.holds else "no" for claim in _of_the_paper()}
    return [
        replace(each, found=f"{each.found} By the paper’s own figures: {theirs[each.claim]}.")
        if each.claim in theirs
        else each
        for each in (
            _own(rows),
            _costs(other, "retrained", "Training on another model’s metamers costs accuracy."),
            _costs(other, "shown", "Shown another model’s metamers, a model loses accuracy."),
            *_by_model(other),
        )
    ]


def _own(rows: Sequence[Row]) -> Claim:
    own = [row for row in rows if row["source"] == row["target"]]
    kept = [row for row in own if row["retrained_difference"] >= -DROP]
    return Claim(
        "A model trained on its own metamers classifies the graph as before.",
        f"On the diagonal accuracy falls by at most {100 * DROP:.0f} points, for each of the "
        f"{len(MODELS)} models.",
        counted_of(len(kept), len(own), len(MODELS), "models"),
        decided(len(kept), len(own), len(MODELS), len(MODELS)),
    )


def _by_model(other: Sequence[Row]) -> list[Claim]:
    """Which model's metamers, or which model that is trained on them, loses most or least."""
    return [
        _first(other, "target", "chebnet", "ChebNet stays best on metamers of others."),
        _first(other, "target", "graphsage", "GraphSAGE loses most on metamers of others."),
        _first(other, "source", "gat", "GAT’s metamers are the most disruptive."),
        _worst_pair(other),
    ]


def _costs(rows: Sequence[Row], name: str, claim: str) -> Claim:
    """A paired test over the seeds, of the mean change over all pairs of different models."""
    threshold = (
        "Over the seeds, the mean change over all pairs of different models is negative "
        f"(Student’s paired t, p < {LEVEL}); open where it is neither negative nor positive, "
        f"or where some of the {PAIRS} pairs are missing."
    )
    changes = [row[f"{name}_changes"] for row in rows]
    seeds = [seed for seed in changes[0] if all(seed in each for each in changes)] if rows else []
    if not seeds:
        return Claim(claim, threshold, "No seed of all pairs.", None)
    means = [statistics.fmean(each[seed] for each in changes) for seed in seeds]
    if len(seeds) == 1:
        found = f"{100 * means[0]:+.1f} points over {len(rows)} pairs, at one seed, without a test."
        found += f" The grid has {PAIRS} pairs." * (not _whole(rows))
        return Claim(claim, threshold, found, None)
    test = paired_test(means, [0.0] * len(means))
    found = (
        f"{100 * test.difference:+.1f} points over {len(rows)} pairs, {len(seeds)} seeds, "
        f"p = {test.t_p:.2g}."
    )
    found += f" The grid has {PAIRS} pairs." * (not _whole(rows))
    clear = _whole(rows) and test.t_p < LEVEL
    return Claim(claim, threshold, found, test.difference < 0 if clear else None)


def _first(rows: Sequence[Row], by: str, who: str, claim: str) -> Claim:
    """Whether a model's part in the changes is least of all; of ChebNet, greatest."""
    parts = effects(rows)[by]
    best = who == "chebnet"
    threshold = (
        "Change of accuracy = a part of the model whose metamer it is + a part of the one that is "
        "trained on it, by least squares over the pairs of different models: of all models’ parts "
        f"its own is the {'greatest' if best else 'least'}; no test."
    )
    if not rows:
        return Claim(claim, threshold, "No pair was run.", None)
    ordered = sorted(parts, key=lambda name: parts[name], reverse=best)
    told = ", ".join(f"{TITLES[name]} {100 * parts[name]:+.1f}" for name in ordered)
    found = f"Parts in points, from their mean: {told}."
    return Claim(claim, threshold, found, ordered[0] == who if _whole(rows) else None)


def effects(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """What each model adds as the source of metamers, and as the target that is trained on them.

    The pairs of different models are not balanced: each model's metamers are missing from its own
    mean. Least squares of change = source + target tells the two apart; each is from its mean.

    Args:
        rows: Cells of pairs of different models.

    Returns:
        For "source" and for "target" each model's part in `retrained_difference`, a share of the
        test nodes: below 0 where it costs more accuracy than the mean of the models.

    Example:
        >>> pairs = itertools.permutations(["gcn", "gin", "gat"], 2)
        >>> harm = {"gcn": 0.0, "gin": 0.0, "gat": -0.3}
        >>> rows = [{"source": s, "target": t, "retrained_difference": harm[s]} for s, t in pairs]
        >>> {name: round(part, 6) + 0.0 for name, part in effects(rows)["source"].items()}
        {'gcn': 0.1, 'gin': 0.1, 'gat': -0.2}
        >>> {name: round(part, 6) + 0.0 for name, part in effects(rows)["target"].items()}
        {'gin': 0.0, 'gat': 0.0, 'gcn': 0.0}
    """
    columns = list(dict.fromkeys((by, row[by]) for by in SIDES for row in rows))
    design = np.array([[float(row[by] == name) for by, name in columns] for row in rows])
    changes = np.array([row["retrained_difference"] for row in rows])
    # Of all solutions the shortest; they differ by what is moved from all sources to all targets.
    parts = np.linalg.lstsq(design, changes, rcond=None)[0] if rows else np.array([])
    found: dict[str, dict[str, float]] = {by: {} for by in SIDES}
    for (by, name), part in zip(columns, parts.tolist(), strict=True):
        found[by][name] = part
    return {by: _centred(each) for by, each in found.items()}


def _centred(parts: dict[str, float]) -> dict[str, float]:
    middle = statistics.fmean(parts.values()) if parts else 0.0
    return {name: part - middle for name, part in parts.items()}


def _whole(rows: Sequence[Row]) -> bool:
    """Whether all pairs of different models are there."""
    return len(rows) == PAIRS


def _worst_pair(rows: Sequence[Row]) -> Claim:
    claim = "GAT’s metamers impair GraphSAGE in particular."
    threshold = "Of all pairs of different models this one loses most; no test."
    if not rows:
        return Claim(claim, threshold, "No pair was run.", None)
    worst = min(rows, key=lambda row: row["retrained_difference"])
    found = (
        f"{TITLES[worst['target']]} on {TITLES[worst['source']]}’s loses most, "
        f"{100 * worst['retrained_difference']:+.1f} points."
    )
    changes = {(row["source"], row["target"]): row["retrained_difference"] for row in rows}
    ours = changes.get(("gat", "graphsage"))
    if ours is None:
        return Claim(claim, threshold, found, None)
    # What is missing may be worse, but not better for it.
    holds = False if min(changes.values()) < ours else True if _whole(rows) else None
    return Claim(claim, threshold, found, holds)


def note(rows: Sequence[Row], options: Options) -> list[str]:
    return [
        counted(options),
        "Accuracies are of the test nodes. Trained on metamers: as the paper does, the model is "
        "trained on the features of the other's metamer and shown the graph itself. Shown "
        "metamers: it is trained on the graph and shown the metamer, as Feather et al. (2023) do; "
        "same class is the share of all nodes to which it then gives the class it gives in the "
        "graph.",
        *_own_accuracies(rows),
        "p: paired test over the runs against the model trained on the graph and shown it, "
        "corrected for the cells of its column that have more than one run (Holm); with few runs "
        "hardly any can be small. near: within 3 points of the paper’s.",
        *_far(rows),
    ]


def _far(rows: Sequence[Row]) -> list[str]:
    """The cells that are not near the paper's, by whether the model is near without metamers."""
    reported = table2()
    cells: dict[bool, list[str]] = {False: [], True: []}
    for row in rows:
        if row["within"] == "no":
            own = reported["original", row["target"]]["accuracy"]
            name = f"{TITLES[row['target']]} on {TITLES[row['source']]}’s"
            cells[abs(row["plain"] - own) > NEAR].append(name)
    whys = {True: "as far without any metamer", False: "not known"}
    return [f"Not near, {whys[why]}: {', '.join(names)}." for why, names in cells.items() if names]


def _of_the_paper() -> list[Claim]:
    """The sentences that the paper's own figures can tell, by the same thresholds."""
    reported = table2()
    rows = [
        {"source": source, "target": target, "retrained_difference": changed - before}
        for source, target in itertools.product(MODELS, MODELS)
        for changed in [reported[source, target]["accuracy"]]
        for before in [reported["original", target]["accuracy"]]
    ]
    return [_own(rows), *_by_model([row for row in rows if row["source"] != row["target"]])]


def _own_accuracies(rows: Sequence[Row]) -> list[str]:
    """Of the models without any metamer, by which a cell may differ from the paper's."""
    reported = table2()
    found = {row["target"]: row["plain"] for row in rows if not math.isnan(row["plain"])}
    told = (
        f"{TITLES[name]} {100 * share:.1f} ({100 * reported['original', name]['accuracy']:.1f})"
        for name, share in found.items()
    )
    sentence = "Trained on the graph and shown it, ours have, in percent (the paper's): "
    return [f"{sentence}{', '.join(told)}."] if found else []


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
