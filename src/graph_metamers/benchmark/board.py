"""The leaderboard: a line for each model, graph and layer, kept in one table."""

import datetime
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, Row
from graph_metamers.jobs.store import read_table, write_table
from graph_metamers.report.numbers import number
from graph_metamers.storage import one_at_a_time

KEY = ("model", "dataset", "layer", "protocol")  # what a line is replaced by
FILE = "leaderboard.parquet"
SCORES = ("feature_similarity", "start_feature_similarity", "prediction_match", "consistency")


def invariance(similarity: float, start: float) -> float:
    """How far a metamer is from its graph, on a scale that chance sets:

        1 − (S_feat − S_start) / (1 − S_start),

    with S_start the similarity of the random start. It is 1 where a metamer is no more like the
    graph than chance is, and 0 where only the graph itself matches. It exceeds 1 where a metamer
    is less like the graph than chance. NaN where chance is the graph.

    Args:
        similarity: S_feat of the metamer, in [−1, 1].
        start: S_feat of the random start it was found from.

    >>> invariance(0.2, 0.2), invariance(1.0, 0.2), invariance(0.6, 0.2), invariance(1.0, 1.0)
    (1.0, 0.0, 0.5, nan)
    """
    return math.nan if start >= 1 else 1 - (similarity - start) / (1 - start)


def summarise(rows: Sequence[Row], failed: Sequence[Job] = ()) -> list[Row]:
    """The lines of the leaderboard that runs give.

    Args:
        rows: What `benchmark_rows` returned, of any models.
        failed: Jobs of it that ended in an error. They count as runs of their line, if it has
            one: without a row there is none.

    Returns:
        One dictionary for each model, graph, layer and protocol: `runs`, `matched` (but for trivial
        ones), `trivial`, `impossible` and `failed` count; accuracy and activation error are means
        over all runs, the null is the least of an unrelated graph; `invariance` and the scores are
        means over the **matched** runs, NaN where there is none. `<name>_std` is a sample's
        standard deviation, NaN for a single run.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row), []).append(row)
    return [_line(group, sum(_same(job, group[0]) for job in failed)) for group in groups.values()]


def read_board(folder: Path) -> list[Row]:
    """The lines of a leaderboard, by graph, layer and invariance; none where there is no file.

    Raises:
        InputError: The file is no leaderboard, or pyarrow is missing.
    """
    path = folder / FILE
    lines = read_table(path) if path.exists() else []
    if any(name not in line for line in lines for name in KEY):
        raise InputError(
            f"'{path}' must be a leaderboard; it has other columns. Remove it, or copy it anew."
        )
    return in_order(lines)


def update_board(folder: Path, lines: Sequence[Row]) -> list[Row]:
    """Add lines to a folder's leaderboard, in place of older ones of the same key.

    Processes that add to one leaderboard at the same time wait for each other.

    Returns:
        All lines that it holds now, in order.
    """
    new = {_key(line) for line in lines}
    with one_at_a_time(folder / FILE):
        kept = [line for line in read_board(folder) if _key(line) not in new]
        board = in_order([*kept, *lines])
        write_table(folder / FILE, board)
    return board


def in_order(lines: Sequence[Row]) -> list[Row]:
    """Lines by graph and layer, the least invariant model first, those without a figure last."""

    def place(line: Row) -> tuple[Any, ...]:
        figure = number(line, "invariance")
        missing = math.isnan(figure)
        return line["dataset"], line["layer"], missing, 0 if missing else figure, line["model"]

    return sorted(lines, key=place)


def _same(job: Job, row: Row) -> bool:
    """Whether a job is of the same line as a row; where its layer is, an error does not tell."""
    return all(job.arguments[name] == row[name] for name in KEY)


def _line(rows: list[Row], failed: int) -> Row:
    first = rows[0]
    counted = [row for row in rows if row["matched"] and not row["trivial"]]
    line: Row = {name: first[name] for name in KEY}
    line |= {"place": first["place"], "search": first["search"]}
    line |= {"runs": len(rows) + failed, "failed": failed, "matched": len(counted)}
    # Where no other graph matches, the run ends with the graph itself: said once.
    line["trivial"] = sum(row["trivial"] and not row["impossible"] for row in rows)
    line["impossible"] = sum(row["impossible"] for row in rows)
    figures = [
        invariance(row["feature_similarity"], row["start_feature_similarity"]) for row in counted
    ]
    line |= _spread("invariance", figures)
    # A figure that is no number is not kept in a row.
    line |= _spread("accuracy", [number(row, "accuracy") for row in rows])
    line |= _spread("activation_error", [number(row, "activation_error") for row in rows])
    line["null_activation_error"] = min(number(row, "null_activation_error") for row in rows)
    for name in SCORES:
        line |= _spread(name, [number(row, name) for row in counted])
    return line | {"date": datetime.date.today().isoformat()}


def _spread(name: str, values: list[float]) -> dict[str, float]:
    several = len(values) > 1 and all(math.isfinite(value) for value in values)
    return {
        name: statistics.fmean(values) if values else math.nan,
        f"{name}_std": statistics.stdev(values) if several else math.nan,
    }


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEY)
