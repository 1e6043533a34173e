"""The leaderboard: a line for each model, graph and layer, in one table and on a page."""

import datetime
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_metamers.benchmark.task import PROTOCOL
from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, Row
from graph_metamers.jobs.store import read_table, write_table
from graph_metamers.paper.cells import mean, outcome
from graph_metamers.paper.table import Column, cell_text, sorted_by
from graph_metamers.report.numbers import number, score_text
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import setting
from graph_metamers.storage import one_at_a_time, write_text

KEY = ("model", "dataset", "layer", "protocol")  # what a line is replaced by
FILE = "leaderboard.parquet"
INVARIANCE = Column("invariance", "invar.", "score")
ACCURACY = Column("accuracy", "acc.", "score")
ERROR = Column("activation_error", "error", "error")
NULL = Column("null_activation_error", "null", "error")
SIMILARITY = Column("feature_similarity", "S_feat", "score")
START = Column("start_feature_similarity", "start", "score")
MATCH = Column("prediction_match", "S_match", "score")
CONSISTENCY = Column("consistency", "CS", "score")
SCORES = (SIMILARITY, START, MATCH, CONSISTENCY)


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
    """The lines of the leaderboard that the rows of `benchmark_rows` give.

    Args:
        rows: Of any models.
        failed: Jobs that ended in an error. They count as runs of their line, if it has one.

    Returns:
        A line for each model, graph, layer and protocol: `runs`, `matched`, `trivial`, `impossible`
        and `failed` count; accuracy and activation error are means over all runs, the null is the
        least of an unrelated graph; `invariance` and the scores are means over the **matched**
        runs, NaN where there is none. `<name>_std` is the standard deviation, NaN for one run.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(_key(row), []).append(row)
    broken = Counter(_key(job.arguments) for job in failed)
    return [_line(group, broken[key]) for key, group in groups.items()]


def _line(rows: list[Row], failed: int) -> Row:
    counts = Counter(map(outcome, rows))
    matched = [
        row | {"invariance": invariance(row[SIMILARITY.name], row[START.name])}
        for row in rows
        if outcome(row) == "matched"
    ]
    line: Row = {name: rows[0][name] for name in (*KEY, "place", "search")}
    line |= {"runs": len(rows) + failed, "failed": failed}
    line |= {name: counts[name] for name in ("matched", "trivial", "impossible")}
    line |= mean("invariance", matched) | mean("accuracy", rows) | mean(ERROR.name, rows)
    line["null_activation_error"] = min(number(row, "null_activation_error") for row in rows)
    for column in SCORES:
        line |= mean(column.name, matched)
    return line | {"date": datetime.date.today().isoformat()}


def read_board(folder: Path) -> list[Row]:
    """The lines of a leaderboard, by graph, layer and invariance; none where there is no file."""
    path = folder / FILE
    lines = read_table(path) if path.exists() else []
    if any(name not in line for line in lines for name in KEY):
        raise InputError(
            f"'{path}' must be a leaderboard; it has other columns. Remove it, or copy it anew."
        )
    return in_order(lines)


def update_board(folder: Path, lines: Sequence[Row]) -> list[Row]:
    """Add lines to a folder's leaderboard, in place of older ones of the same key; return all.

    Processes that add to one leaderboard at the same time wait for each other.
    """
    with one_at_a_time(folder / FILE):
        board = {_key(line): line for line in (*read_board(folder), *lines)}
        ordered = in_order(list(board.values()))
        write_table(folder / FILE, ordered)
    return ordered


def in_order(lines: Sequence[Row]) -> list[Row]:
    """Lines by graph and layer, the least invariant model first, those without a figure last."""

    def place(line: Row) -> tuple[Any, ...]:
        figure = number(line, "invariance")
        figure = math.inf if math.isnan(figure) else figure
        return line["dataset"], line["layer"], figure, line["model"]

    return sorted(lines, key=place)


def _key(row: Row) -> tuple[Any, ...]:
    """What a line is known by; where its layer is, it does not tell."""
    return tuple(row[name] for name in KEY)


def write_page(path: Path, lines: Sequence[Row]) -> None:
    """Write lines, in their order, as an HTML page."""
    page = rendered(
        "leaderboard.html",
        lines=lines,
        figures=(ERROR, NULL, *SCORES),
        invariance=INVARIANCE,
        accuracy=ACCURACY,
        text=cell_text,
        value=sorted_by,
        spread=_spread,
        matched=matched_text,
        several=any(line["protocol"] != PROTOCOL.version for line in lines),
        protocol=PROTOCOL,
        search=setting(PROTOCOL.search),
        script=inline_script("table.js"),
    )
    write_text(path, page)


def matched_text(line: Row) -> str:
    """Of how many runs a line's figures are, and why it is not of all.

    >>> matched_text({"runs": 3, "matched": 1, "trivial": 1, "impossible": 0, "failed": 1})
    '1 of 3, 1 trivial, 1 failed'
    """
    reasons = (f"{line[n]} {n}" for n in ("trivial", "impossible", "failed") if line.get(n))
    return ", ".join([f"{line['matched']} of {line['runs']}", *reasons])


def _spread(line: Row, column: Column) -> str:
    """The standard deviation beside a figure, empty where there is none."""
    spread = number(line, f"{column.name}_std")
    return "" if math.isnan(spread) else score_text(spread)
