"""The leaderboard: a line for each model, graph and layer, in one table and on a page."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graph_metamers.benchmark.task import PROTOCOL
from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.jobs.store import write_table
from graph_metamers.paper.cells import mean, outcome
from graph_metamers.paper.table import Column, table_cells
from graph_metamers.report.numbers import number
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import setting
from graph_metamers.storage import one_at_a_time, write_text

SCORES = ("feature_similarity", "start_feature_similarity", "prediction_match", "consistency")
COLUMNS = [
    Column("model", "model"),
    Column("dataset", "graph", "name"),
    Column("layer", "layer", "name"),
    Column("place", "module", brief=""),
    Column("invariance", "invariance", "percent", "invar."),
    Column("accuracy", "accuracy", "percent", "acc."),
    Column("matched", "matched", "count", "match"),
    Column("uncounted", "not counted", brief=""),
    Column("activation_error", "activation error", "error", "error"),
    Column("null_activation_error", "null", "error", ""),
    Column("feature_similarity", "S_feat", "percent"),
    Column("start_feature_similarity", "start", "percent"),
    Column("prediction_match", "S_match", "percent", ""),
    Column("consistency", "CS", "percent", ""),
    Column("protocol", "protocol", brief=""),
]


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
    groups: dict[Job, list[Result]] = {}
    for result in results:
        job = result.job
        groups.setdefault(Job.of(job.task, **job.arguments | {"seed": None}), []).append(result)
    return sorted(map(_line, groups.values()), key=_place)


def _line(results: list[Result]) -> Row:
    rows = [row for result in results for row in result.rows]
    counts = Counter(
        "failed" if r.error else outcome(row) for r in results for row in r.rows or [{}]
    )
    matched = [
        row | {"invariance": invariance(row[SCORES[0]], row[SCORES[1]])}
        for row in rows
        if outcome(row) == "matched"
    ]
    asked = results[0].job.arguments
    line: Row = {name: asked[name] for name in ("model", "dataset", "layer", "protocol")}
    line |= {name: rows[0][name] if rows else "" for name in ("place", "search")}
    line |= {"runs": len(results), "matched": counts.pop("matched", 0), "failed": counts["failed"]}
    told = (f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    line |= {"uncounted": ", ".join(told)}
    nulls = (number(row, "null_activation_error") for row in rows)
    line |= {"null_activation_error": min(nulls, default=math.nan)}
    line |= mean("accuracy", rows) | mean("activation_error", rows) | mean("invariance", matched)
    for name in SCORES:
        line |= mean(name, matched)
    return line


def _place(line: Row) -> tuple[Any, ...]:
    figure = line["invariance"]
    figure = math.inf if math.isnan(figure) else figure
    return line["dataset"], line["layer"], figure, line["model"]


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
