"""From single runs to cells: mean, spread, and how many of the runs matched."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from graph_metamers.jobs import Result, Row
from graph_metamers.measure import equal_error
from graph_metamers.paper.grid import DATA, Options
from graph_metamers.report.numbers import number

EQUAL = 1.2  # errors are equal that lie within this factor, or are of rounding alone


def outcome(row: Row) -> str:
    """What became of a run; older rows have a `verdict`, and say whether they are `trivial`.

    >>> outcome({"verdict": "matched", "trivial": True}), outcome({"outcome": "impossible"})
    ('trivial', 'impossible')
    """
    trivial = row.get("trivial") and row.get("verdict") != "impossible"
    return str(row.get("outcome") or ("trivial" if trivial else row["verdict"]))


def cells(results: Sequence[Result], options: Options, item: str) -> list[Row]:
    """One row for each combination of what the item's `cells` are by, in the order of the results.

    These are arguments of the jobs, or options of their models. Means and `_std` of scores are over
    the `averaged` runs: all at the paper's setting and of items with `every_run`, else those that
    matched; values by seed are theirs too. The activation error is the mean over all runs, the
    null's is the least.
    """
    own = DATA[item]
    every_run = not options.equal or own.get("every_run", False)
    grouped: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        asked = result.job.arguments
        asked = asked.get("options", {}) | asked
        grouped.setdefault(tuple(asked[name] for name in own["cells"]), []).append(result)
    found: list[Row] = []
    for key, members in grouped.items():
        rows = [row for result in members for row in result.rows]
        averaged = [row for row in rows if every_run or outcome(row) == "matched"]
        nulls = by_seed("null_activation_error", rows).values()
        cell = dict(zip(own["cells"], key, strict=True)) | {
            "runs": len(members),
            "matched": sum(outcome(row) == "matched" for row in rows),
            "failed": sum(bool(result.error) for result in members),
            "averaged": len(averaged),
            "null_activation_error": min(nulls, default=math.nan),
            "search": ", ".join(dict.fromkeys(row["search"] for row in rows)),
        }
        values = own.get("by_seed", {}) | DATA["by_seed"]
        cell |= {told: by_seed(name, averaged) for told, name in values.items()}
        cell |= mean("activation_error", rows)
        for name in own.get("scores", DATA["scores"]):
            cell |= mean(name, averaged)
        found.append(cell)
    return found


def by_seed(name: str, rows: Sequence[Row]) -> dict[str, float]:
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


def finder(rows: Sequence[Row], names: Sequence[str]) -> Callable[..., Row | None]:
    """Look a cell up by some of its values, with others in their place."""
    known = {tuple(row[name] for name in names): row for row in rows}

    def find(row: Row, **changed: Any) -> Row | None:
        return known.get(tuple(changed.get(name, row[name]) for name in names))

    return find
