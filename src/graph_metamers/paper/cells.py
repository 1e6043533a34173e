"""From single runs to cells: mean, spread, and how many of the runs matched."""

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graph_metamers.jobs import Result, Row
from graph_metamers.measure.statistics import equal_error
from graph_metamers.paper.grid import DATA
from graph_metamers.report.numbers import number

EQUAL = 1.2  # errors are equal that lie within this factor, or are of rounding alone


def outcome(row: Row) -> str:
    """What became of a run; older rows have a `verdict`, and say whether they are `trivial`.

    >>> outcome({"verdict": "matched", "trivial": True}), outcome({"outcome": "impossible"})
    ('trivial', 'impossible')
    """
    trivial = row.get("trivial") and row.get("verdict") != "impossible"
    return str(row.get("outcome") or ("trivial" if trivial else row["verdict"]))


def cells(
    results: Sequence[Result], asked: Mapping[str, Any], *, every_run: bool = False
) -> list[Row]:
    """One row for each group of jobs that differ in the seed alone, in the order of the results.

    Args:
        results: Of searches.
        asked: What items.toml says of an item. `cells` names arguments of the jobs, or options of
            their models, that a row has; `means` are over all runs, `scores` over the `averaged`.
        every_run: Whether all runs are averaged, or those alone that matched.
    """
    asked, found = {**DATA["cells"], **asked}, list[Row]()
    grouped: dict[str, list[Result]] = {}
    for result in results:
        same = {**result.job.arguments, "seed": 0, "keep": 0}
        grouped.setdefault(json.dumps(same, sort_keys=True), []).append(result)
    for key, members in grouped.items():
        arguments = json.loads(key)
        arguments = arguments.get("options", {}) | arguments
        rows = [row for result in members for row in result.rows]
        averaged = [row for row in rows if every_run or outcome(row) == "matched"]
        counts = Counter(map(outcome, rows)) + Counter(failed=sum(bool(r.error) for r in members))
        others = {name.replace("_", " "): n for name, n in counts.items() if name != "matched"}
        cell: Row = {name: arguments[name] for name in asked["cells"]}
        cell |= {"runs": len(members), "averaged": len(averaged)}
        cell |= {name: counts[name] for name in ("matched", "failed")}
        cell["uncounted"] = ", ".join(f"{n} {name}" for name, n in others.items())
        nulls = [number(row, "null_activation_error") for row in rows]
        cell["null_activation_error"] = min(filter(math.isfinite, nulls), default=math.nan)
        for name in asked["words"]:
            cell[name] = ", ".join(dict.fromkeys(row[name] for row in rows))
        for told, name in asked["by_seed"].items():
            cell[told] = {str(row["seed"]): row[name] for row in averaged if name in row}
        for names, of in ((asked["means"], rows), (asked["scores"], averaged)):
            for name in names:
                cell |= mean(name, of)
        found.append(cell)
    return found


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
