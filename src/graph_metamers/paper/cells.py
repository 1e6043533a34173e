"""From single runs to cells: mean, spread, and how many of the runs matched."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from graph_metamers.jobs import Result, Row
from graph_metamers.measure.statistics import equal_error
from graph_metamers.paper.grid import Options
from graph_metamers.report.numbers import number

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
EQUAL = 1.2  # errors are equal that lie within this factor, or are of rounding alone


def outcome(row: Row) -> str:
    """What became of a run; older rows have a `verdict`, and say whether they are `trivial`.

    >>> outcome({"verdict": "matched", "trivial": True}), outcome({"outcome": "impossible"})
    ('trivial', 'impossible')
    """
    trivial = row.get("trivial") and row.get("verdict") != "impossible"
    return str(row.get("outcome") or ("trivial" if trivial else row["verdict"]))


def cells(
    results: Sequence[Result],
    options: Options,
    names: Sequence[str],
    *,
    every_run: bool = False,
    scores: Sequence[str] = SCORES,
) -> list[Row]:
    """One row for each combination of `names`, in the order in which they come.

    The names are arguments of the jobs, or options of their models. Means and `_std` of scores are
    over the `averaged` runs: all at the paper's setting and with `every_run`, else those that
    matched; `errors` and `consistencies` are theirs by seed. The activation error is the mean over
    all runs, the null's is the least.
    """
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        asked = result.job.arguments
        asked = asked.get("options", {}) | asked
        grouped.setdefault(tuple(asked[name] for name in names), []).append(result)
    found: list[Row] = []
    for key, members in grouped.items():
        rows = [row for result in members for row in result.rows]
        averaged = averaged_runs(members, options, every_run=every_run)
        cell = dict(zip(names, key, strict=True)) | {
            "runs": len(members),
            "matched": sum(outcome(row) == "matched" for row in rows),
            "failed": sum(bool(result.error) for result in members),
            "averaged": len(averaged),
            "null_activation_error": min(
                values("null_activation_error", rows).values(), default=math.nan
            ),
            "errors": values("activation_error", averaged),
            "consistencies": values(CS, averaged),
            "search": ", ".join(dict.fromkeys(row["search"] for row in rows)),
        }
        cell |= mean("activation_error", rows)
        for name in scores:
            cell |= mean(name, averaged)
        found.append(cell)
    return found


def averaged_runs(
    members: Sequence[Result], options: Options, *, every_run: bool = False
) -> list[Row]:
    """The rows over which a cell's means are."""
    rows = [row for result in members for row in result.rows]
    every_run = every_run or not options.equal
    return [row for row in rows if every_run or outcome(row) == "matched"]


def values(name: str, rows: Sequence[Row]) -> dict[str, float]:
    """A value by seed, of the runs in which it is a number."""
    return {str(row["seed"]): row[name] for row in rows if name in row}


def mean(name: str, rows: Sequence[Row]) -> Row:
    """Mean and standard deviation of a value, NaN where it is not a number in every run."""
    known = [number(row, name) for row in rows]
    whole = all(map(math.isfinite, known))
    return {
        name: statistics.fmean(known) if known and whole else math.nan,
        f"{name}_std": statistics.stdev(known) if len(known) > 1 and whole else math.nan,
    }


def comparable(a: Row, b: Row) -> list[str]:
    """The seeds at which two cells can be compared: all that both have, at equal error, or none."""
    seeds = [seed for seed in a["errors"] if seed in b["errors"]]
    ours, theirs = ([cell["errors"][seed] for seed in seeds] for cell in (a, b))
    return seeds if seeds and equal_error(ours, theirs, EQUAL) else []
