"""The leaderboard: a line for each model, graph and layer, in one table and on a page."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graph_metamers.benchmark.task import PROTOCOL
from graph_metamers.jobs import Result, Row, Store
from graph_metamers.jobs.store import write_table
from graph_metamers.paper.cells import cells
from graph_metamers.paper.grid import DATA
from graph_metamers.paper.table import columns, table_cells
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import setting
from graph_metamers.storage import one_at_a_time, write_text

COLUMNS = columns(DATA["leaderboard"]["columns"])


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


def summarise(results: Sequence[Result]) -> list[Row]:
    """The lines of the leaderboard that results of `protocol_jobs` give, of any models.

    Returns:
        A line for jobs that differ in the seed alone: `runs`, `matched` and `failed` count, and
        `uncounted` says what the other runs were; accuracy and activation error are means over all
        runs, the null is the least of an unrelated graph; `invariance` and the scores are means
        over the **matched** runs, NaN where there is none. `<name>_std` is the standard deviation,
        NaN for one run. By graph and layer, the least invariance first, those without one last.
    """
    scores = ("feature_similarity", "start_feature_similarity")
    known = [
        replace(r, rows=[w | {"invariance": invariance(*(w[s] for s in scores))} for w in r.rows])
        for r in results
    ]

    def place(line: Row) -> tuple[Any, ...]:
        figure = line["invariance"]
        return line["dataset"], line["layer"], math.isnan(figure), figure, line["model"]

    return sorted(cells(known, DATA["leaderboard"]), key=place)


def write_board(folder: Path, failed: Sequence[Result] = ()) -> list[Row]:
    """Write the leaderboard of all results in FOLDER/runs, and return its lines.

    It stands in FOLDER/leaderboard.parquet and on a page that sorts, FOLDER/leaderboard.html.

    Args:
        folder: The folder.
        failed: Results that are errors, which the store has not. They count as runs.
    """
    with one_at_a_time(folder / "leaderboard.parquet"):  # the last one has all that others have
        lines = summarise([*Store(folder / "runs").results(), *failed])
        write_table(folder / "leaderboard.parquet", lines)
        write_text(folder / "leaderboard.html", page(lines))
    return lines


def page(lines: Sequence[Row]) -> str:
    """Lines, in their order, as an HTML page."""
    return rendered(
        "leaderboard.html",
        columns=COLUMNS,
        rows=table_cells(lines, COLUMNS),
        protocol=PROTOCOL,
        search=setting(PROTOCOL.search),
        script=inline_script("table.js"),
    )
