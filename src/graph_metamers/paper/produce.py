"""From an item to its sheet, its picture and the page: run what is missing, and write."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from graph_metamers.digests import digest
from graph_metamers.jobs import Executor, Result, Store, run
from graph_metamers.jobs.run import Told
from graph_metamers.paper.grid import Options
from graph_metamers.paper.item import Item, Sheet, sheet_name
from graph_metamers.report.figures import STYLE
from graph_metamers.storage import make_folder, one_at_a_time, replacing

SIZE = (10.0, 3.6)  # inches


def produce(
    item: Item,
    options: Options,
    executor: Executor,
    out: Path,
    *,
    command: str,
    told: Told | None = None,
) -> Sheet:
    """Run what an item needs and is not there yet; write its sheet and picture.

    Args:
        item: The table or figure.
        options: What the user narrowed or changed. The sheet also shows what else is there of
            the same setting.
        executor: Who runs the jobs.
        out: The folder: results are kept in it, and looked for.
        command: What was typed, to be told; where the sheet shows more than that makes, the
            command for the item's whole grid is told instead.
        told: Called after every job.

    Returns:
        The sheet, which also stands in `OUT/NAME-SEARCH.json`, beside its picture `.svg`. Their
        names go on with the steps or the device where others than usual were asked for.
    """
    store, path = Store(out), sheet_path(item, options, out)
    everything(options, path)  # says that the sheet cannot be read before an hour is spent
    ended = {result.job: result for result in run(item.grid(options), store, executor, told=told)}
    with one_at_a_time(path):  # it has all that another process wrote meanwhile
        whole = everything(options, path)
        found = [ended.get(job) or store.get(job) for job in item.grid(whole)]
        results = [result for result in found if result is not None]
        if not ended.keys() >= {result.job for result in results}:  # others made the rest
            command = whole_command(item, whole)
        return written(item, whole, results, store, command=command)


def whole_command(item: Item, options: Options) -> str:
    """A command that makes the whole sheet, and what is missing of it."""
    asked = {"search": options.search, "seeds": options.seeds}
    asked |= {"steps": options.steps} if options.steps is not None else {}
    asked |= {"device": options.device} if options.device != "cpu" else {}
    return " ".join(
        ["graph-metamers paper", item.name, *(f"--{name} {value}" for name, value in asked.items())]
    )


def everything(options: Options, path: Path) -> Options:
    """The same setting for all datasets and models, and at least the seeds that its sheet shows.

    So a narrower command does not drop from a sheet what it shows already.
    """
    seeds = Sheet.load(path).made["seeds"] if path.exists() else 1
    return replace(options, datasets=None, models=None, seeds=max(options.seeds, seeds))


def sheet_path(item: Item, options: Options, out: Path) -> Path:
    name = sheet_name(item.name, options.search, options.steps, options.device)
    return out / f"{name}.json"


def written(
    item: Item,
    options: Options,
    results: Sequence[Result],
    store: Store,
    *,
    command: str,
) -> Sheet:
    """The sheet and the picture of results, in the grid's order, written to the store's folder.

    Args:
        item: The table or figure.
        options: Of what it shows.
        results: What was run of that.
        store: Its folder.
        command: What makes it.
    """
    done = [result for result in results if not result.error]
    rows = item.summary(results, options)
    failed = [result for result in results if result.error]
    notes = item.note(rows, options) if rows else []
    if failed:
        reasons = dict.fromkeys(result.reason for result in failed)
        notes.append(f"{len(failed)} runs failed and are left out: {'; '.join(reasons)}")
    sheet = Sheet(
        item=item.name,
        search=options.search,
        steps=options.steps,
        columns=item.columns(options),
        rows=rows,
        claims=item.claims(rows, options) if rows else [],
        notes=notes,
        made=_made(done, command, options, of=len(item.grid(options))),
        device=options.device,
    )
    make_folder(store.folder)
    before = store.folder / f"{sheet.name}.json"
    same = before.exists() and Sheet.load(before).made.get("pictured") == sheet.made["pictured"]
    sheet.save(store.folder)
    _draw(item, options, sheet, store, keep=same)
    return sheet


def _made(
    results: Sequence[Result],
    command: str,
    options: Options,
    *,
    of: int,
) -> dict[str, Any]:
    """Where the results come from: each fact once where it is the same for all."""
    facts: dict[str, dict[str, None]] = {}
    for result in results:
        for name, value in result.environment.items():
            facts.setdefault(name, {})[str(value)] = None
    if any("commit" not in result.environment for result in results):
        facts.setdefault("commit", {})["unknown"] = None
    told: dict[str, Any] = {name: ", ".join(sorted(values)) for name, values in facts.items()}
    return told | {
        "command": command,
        "runs": f"{len(results)} of {of}",
        "seeds": options.seeds,
        # Of what pictures show that show metamers themselves.
        "pictured": digest([r.job.key for r in results if r.job.arguments["seed"] == 0]),
        "hours": round(math.fsum(result.seconds for result in results) / 3600, 2),
    }


def _draw(item: Item, options: Options, sheet: Sheet, store: Store, *, keep: bool) -> None:
    """Draw the picture; where what it shows is gone, `keep` says whether that of before is it."""
    path = store.folder / f"{sheet.name}.svg"
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        if any(row["runs"] > row["failed"] for row in sheet.rows):
            item.draw(figure, sheet.rows, options, store)
        if figure.axes:
            with replacing(path) as beside:
                figure.savefig(beside, format="svg", metadata={"Date": None})
        elif not keep:
            path.unlink(missing_ok=True)
