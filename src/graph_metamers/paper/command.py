"""The command line's `graph-metamers paper`."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from graph_metamers.errors import InputError, check_count, listing, suggestion
from graph_metamers.jobs import Executor, Ray, Store, local, progress
from graph_metamers.options import DeviceOption, command_line, load_graphs, stoppable, usable_device
from graph_metamers.paper.grid import DATASETS, MODELS, Options
from graph_metamers.paper.item import SETTINGS, Item, Sheet
from graph_metamers.paper.items import ITEMS, named
from graph_metamers.paper.page import write_page
from graph_metamers.paper.produce import produce
from graph_metamers.paper.words import cell_text, claim_text

WIDE = 140  # letters of a terminal that has room for standard deviations


class SearchName(StrEnum):
    PAPER = "paper"
    AUTO = "auto"


class ExecutorName(StrEnum):
    LOCAL = "local"
    RAY = "ray"


def paper_command(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(ITEMS)}, all of them, or list.", show_default=False)
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option("--datasets", help="Only these, one or several: --datasets cora pubmed."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--models", help="Only these, one or several: --models gcn gin."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Runs of each cell: trainings and random starts.")
    ] = 3,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of each search (default: the setting's).")
    ] = None,
    search: Annotated[
        SearchName,
        typer.Option(
            "--search", help="paper: its Adam and 1000 steps. auto: all at one activation error."
        ),
    ] = SearchName.PAPER,
    workers: Annotated[
        int, typer.Option("--workers", help="Jobs at a time; they share the processors.")
    ] = 1,
    executor: Annotated[
        ExecutorName, typer.Option("--executor", help="Who runs the jobs.")
    ] = ExecutorName.LOCAL,
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray cluster (default: one of its own).")
    ] = None,
    device: DeviceOption = "cpu",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for results, pictures and paper.html.")
    ] = Path("paper"),
) -> None:
    """Reproduce the paper's tables and figures, ours beside the paper's."""
    console = Console()
    if name == "list":
        console.print(_list())
        return
    items = named(name)
    check_count("--seeds", seeds)
    if steps is not None:
        check_count("--steps", steps)
    if executor is ExecutorName.LOCAL:  # a cluster's nodes have devices of their own
        usable_device(device)
    elif device not in ("cpu", "cuda"):
        raise InputError(
            f"--executor ray gives each job a device of its own, so that --device must be cpu or "
            f"cuda; got {device}."
        )
    options = Options(
        datasets=_known("--datasets", datasets, DATASETS),
        models=_known("--models", models, MODELS),
        seeds=seeds,
        steps=steps,
        search=search.value,
        device=device,
    )
    items = [item for item in items if item.grid(options)]
    if not items:
        whole = replace(options, datasets=None, models=None)
        known = [job.arguments for item in named(name) for job in item.grid(whole)]
        shown = dict.fromkeys(j["model"] if "model" in j else j["source"] for j in known)
        raise InputError(
            f"{name} has none of the datasets and models that were asked for, with --search "
            f"{search.value}. Its graphs are "
            f"{listing(dict.fromkeys(j['dataset'] for j in known))}; its models {listing(shown)}."
        )
    runner = _runner(executor, workers, address, device)
    store = Store(out)
    store.write_index()  # says what is missing before an hour is spent
    if executor is ExecutorName.LOCAL:
        load_graphs((job for item in items for job in item.grid(options)), store)
    failed = False
    for item in items:
        with stoppable(), progress(item.name) as told:
            sheet = produce(item, options, runner(), out, command=command_line(), told=told)
        _show(console, item, sheet)
        failed = failed or any(store.failure(job) for job in item.grid(options))
        write_page(out)
    Store(out).write_index()
    console.print(f"Page: {out / 'paper.html'}")
    if failed:
        raise typer.Exit(1)


def _list() -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for title in ("name", "shows", "runs", "hours", "auto: runs", "hours"):
        table.add_column(title, justify="left" if title in ("name", "shows") else "right")
    costs = json.loads((files("graph_metamers.paper") / "costs.json").read_text(encoding="utf-8"))
    for item in ITEMS.values():
        cells: list[str] = []
        for search in SETTINGS:
            runs = len(item.grid(Options(seeds=1, search=search)))
            cells += [str(runs), costs["hours"][f"{item.name}-{search}"]]
        table.add_row(item.name, item.shows, *cells)
    table.caption = (
        f"Runs of one seed at the paper's setting, and with auto; hours of one seed, one after the "
        f"other, on {costs['machine']}; > where some were not run yet, ~ where their time is that "
        "of like ones. A run that two items share is done once."
    )
    return table


def _runner(
    name: ExecutorName, workers: int, address: str | None, device: str
) -> Callable[[], Executor]:
    if name is ExecutorName.RAY:
        if workers != 1:
            raise InputError(
                f"--workers goes with --executor local; got {workers} and ray, which takes as many "
                "as the cluster has processors for."
            )
        return functools.partial(Ray, address, gpus=int(device.startswith("cuda")))
    if address is not None:
        raise InputError("--address goes with --executor ray; got --executor local.")
    check_count("--workers", workers)
    return functools.partial(local, workers)


def _known(option: str, asked: list[str] | None, known: tuple[str, ...]) -> tuple[str, ...] | None:
    if not asked:
        return None
    names = tuple(name.lower() for name in asked)
    for one in names:
        if one not in known:
            raise InputError(
                f"{option} {one} is not in the paper.{suggestion(one, known)} "
                f"Choose among {listing(known)}."
            )
    return names


def _show(console: Console, item: Item, sheet: Sheet) -> None:
    """The sheet as a table, and what became of the paper's sentences."""
    brief = console.width < WIDE
    title = f"{item.title}, {sheet.setting}"
    padding = (0, 0 if brief else 1, 0, 0)
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=padding)
    # A dataset's name stands in a line of its own, for want of room.
    apart = brief and sheet.columns[0].form == "name"
    columns = sheet.columns[1:] if apart else sheet.columns
    columns = [column for column in columns if not (brief and column.brief == "")]
    for column in columns:
        text = column.form in ("text", "name")
        title = column.brief if brief and column.brief else column.title
        table.add_column(title, justify="left" if text else "right", no_wrap=True)
    above = ""
    for row in sheet.rows:
        name = cell_text(row, sheet.columns[0], brief=brief)
        if apart and name != above:
            table.add_row(name, *[""] * (len(columns) - 1), style="bold")
            above = name
        table.add_row(*(cell_text(row, column, brief=brief) for column in columns))
    console.print(table)
    for note in sheet.notes:
        console.print(note, style="dim", markup=False, highlight=False)
    for claim in sheet.claims:
        told = f"“{claim.claim}” {claim_text(claim)}: {claim.found}"
        console.print(told, markup=False, highlight=False)
