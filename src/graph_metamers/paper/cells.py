"""From single runs to cells: mean, spread, and how many of the runs matched."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from graph_metamers.jobs import Job, Result, Row
from graph_metamers.measure import equal_error
from graph_metamers.paper.grid import Options
from graph_metamers.paper.item import Column

CS = "consistency"
SCORES = (
    "feature_similarity",
    "start_feature_similarity",
    "structure_similarity",
    "start_structure_similarity",
    "edges_kept",
    "prediction_match",
    CS,
    "activation_correlation",
    "accuracy_test",
)
EVERY_RUN = "Means are over all runs, matched or not, as in the paper."
MATCHED = (
    "Means are over the matched runs alone, but for error, which is that of all runs. The search "
    "ended each at an activation error of 0.01, or far below where it is exact; only cells at "
    "equal error are compared."
)
EQUAL = 1.2  # errors are equal that lie within this factor, or are of rounding alone


def counted(options: Options) -> str:
    """Over which runs the means are, in a sentence."""
    return EVERY_RUN if options.search == "paper" else MATCHED


def setting(job: Job) -> Row:
    """What a search's job asks for, the model's options among the rest."""
    asked = job.arguments
    return {**asked["options"], **asked}


def cells(
    results: Sequence[Result],
    options: Options,
    names: Sequence[str],
    *,
    every_run: bool = False,
) -> list[Row]:
    """One row for each combination of `names`, in the order in which they come.

    Args:
        results: Results of searches.
        options: Of the grid. At the paper's setting all runs are averaged, as it does; else those
            that matched and are not trivial.
        names: What tells the cells apart.
        every_run: Whether to average all runs in any case.

    Returns:
        Of each cell: `runs`, `matched`, `failed`, `averaged` (over how many the means are);
        `activation_error` (mean over all runs), `null_activation_error` (the least), and of each
        score mean and `_std`; and by seed, of the averaged runs, `errors` and `consistencies`.
    """
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        asked = setting(result.job)
        grouped.setdefault(tuple(asked[name] for name in names), []).append(result)
    return [
        dict(zip(names, key, strict=True)) | _cell(members, every_run or options.search == "paper")
        for key, members in grouped.items()
    ]


def _cell(members: Sequence[Result], every_run: bool) -> Row:
    cell, told = tally(members, every_run)
    cell["errors"] = values("activation_error", told)
    cell["consistencies"] = values(CS, told)
    searches = dict.fromkeys(row["search"] for result in members for row in result.rows)
    cell["search"] = ", ".join(searches)
    for name in SCORES:
        cell |= mean(name, told)
    return cell


def tally(members: Sequence[Result], every_run: bool) -> tuple[Row, list[Row]]:
    """What every cell tells of its runs, and the runs over which its means are."""
    rows = [row for result in members for row in result.rows]
    told = [row for row in rows if every_run or is_metamer(row)]
    cell: Row = {
        "runs": len(members),
        "matched": sum(map(is_metamer, rows)),
        "failed": sum(bool(result.error) for result in members),
        "averaged": len(told),
    }
    cell |= mean("activation_error", rows)
    nulls = values("null_activation_error", rows)
    cell["null_activation_error"] = min(nulls.values(), default=math.nan)
    return cell, told


def values(name: str, rows: Sequence[Row]) -> dict[str, float]:
    """A value by seed, of the runs in which it is a number."""
    return {str(row["seed"]): row[name] for row in rows if name in row}


def mean(name: str, rows: Sequence[Row]) -> Row:
    """Mean and standard deviation of a value, NaN where it is not a number in every run."""
    known = list(values(name, rows).values())
    whole = len(known) == len(rows)
    return {
        name: statistics.fmean(known) if known and whole else math.nan,
        f"{name}_std": statistics.stdev(known) if len(known) > 1 and whole else math.nan,
    }


def comparable(a: Row, b: Row) -> list[str]:
    """The seeds at which two cells can be compared: all that both have, at equal error, or none."""
    seeds = [seed for seed in a["errors"] if seed in b["errors"]]
    ours, theirs = ([cell["errors"][seed] for seed in seeds] for cell in (a, b))
    return seeds if seeds and equal_error(ours, theirs, EQUAL) else []


def standard_columns(similarity: str = "feature", *, reported: bool = False) -> list[Column]:
    """The columns that every table of searches has, with the paper's figures where they exist."""
    symbol = {"feature": "S_feat", "structure": "S_struct"}[similarity]
    # A narrow terminal has no room for a third.
    brief = {f"{similarity}_similarity": None, "prediction_match": None, CS: ""}
    paper = {
        name: [Column(f"paper_{name}", "paper", "percent", short)] if reported else []
        for name, short in brief.items()
    }
    return [
        Column("matched", "match", "count"),
        Column("activation_error", "error", "error"),
        Column("null_activation_error", "null", "error"),
        Column(f"start_{similarity}_similarity", "start", "percent"),
        Column(f"{similarity}_similarity", symbol, "percent"),
        *paper[f"{similarity}_similarity"],
        Column("prediction_match", "S_match", "percent"),
        *paper["prediction_match"],
        Column(CS, "CS", "percent"),
        *paper[CS],
    ]


def is_metamer(row: Row) -> bool:
    """Whether a run ended with a metamer that is not the graph itself."""
    return bool(row["matched"]) and not row["trivial"]
