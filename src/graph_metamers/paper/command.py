"""The command line's `graph-metamers paper`."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from typer import Option

from graph_metamers.errors import InputError, check_count, known_name, listing
from graph_metamers.jobs import Ray, Row, Store, local, progress
from graph_metamers.options import DeviceOption, load_graphs, stoppable, usable_device
from graph_metamers.paper.grid import DATA, DATASETS, MODELS, Options
from graph_metamers.paper.items import ITEMS, named
from graph_metamers.paper.produce import SETTINGS, produce, write_page
from graph_metamers.paper.table import columns, terminal

DatasetsOption = Annotated[
    list[str] | None, Option(help="Only these, one or several: --datasets cora pubmed.")
]
SeedsOption = Annotated[int, Option(help="Runs of each: trainings and random starts.")]
WorkersOption = Annotated[int, Option(help="Jobs at a time; they share the processors.")]
WIDE = 140  # letters of a terminal that has room for standard deviations


def paper_command(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(ITEMS)}, all of them, or list.", show_default=False)
    ],
    datasets: DatasetsOption = None,
    models: Annotated[
        list[str] | None, Option(help="Only these, one or several: --models gcn gin.")
    ] = None,
    seeds: Annotated[
        int | None, Option(help="Runs of each (default: as many as docs/reproduction.md has).")
    ] = None,
    search: Annotated[
        Literal["paper", "auto"],
        Option(help="paper: its Adam and 1000 steps. auto: all at one activation error."),
    ] = "paper",
    workers: WorkersOption = 1,
    executor: Annotated[Literal["local", "ray"], Option(help="Who runs the jobs.")] = "local",
    address: Annotated[
        str | None, Option(help="Of a Ray cluster (default: one of its own).")
    ] = None,
    device: DeviceOption = "cpu",
    out: Annotated[Path, Option(help="Folder for results, pictures and paper.html.")] = Path(
        "paper"
    ),
) -> None:
    """Reproduce the paper's tables and figures, ours beside the paper's."""
    console = Console()
    if name == "list":
        _tell_costs(console)
        return
    items = named(name)
    if seeds is not None:
        check_count("--seeds", seeds)
    if executor == "local":
        usable_device(device)  # a cluster's nodes have devices of their own
        local(workers)
    options = Options(
        datasets=known_names("datasets", datasets, DATASETS, "in the paper"),
        models=known_names("models", models, MODELS, "in the paper"),
        search=search,
        device=device,
    )
    asked = {item: replace(options, seeds=seeds or item.seeds(search)) for item in items}
    grids = {item: grid for item in items if (grid := item.grid(asked[item]))}
    if not grids:
        known = [job.arguments for item in items for job in item.grid(Options(search=search))]
        graphs = dict.fromkeys(job["dataset"] for job in known)
        told = dict.fromkeys(job["model" if "model" in job else "source"] for job in known)
        raise InputError(
            f"None of these datasets and models with --search {search}. The graphs are "
            f"{listing(graphs)}; the models {listing(told)}."
        )
    store = Store(out)
    store.write_index()  # says what is missing before an hour is spent
    if executor == "local":
        load_graphs((job for grid in grids.values() for job in grid), store)
    for item in grids:
        runner = Ray(address, gpus=int(device == "cuda")) if executor == "ray" else local(workers)
        with stoppable(), progress(item.name) as told:
            sheet = produce(item, asked[item], runner, out, told=told)
        brief = console.width < WIDE
        console.print(terminal(sheet.title, sheet.rows, sheet.columns, brief=brief))
        for note in sheet.notes:
            console.print(note, style="dim", markup=False, highlight=False)
        for claim in sheet.claims:
            found = f"“{claim.claim}” {claim.outcome}: {claim.found}"
            console.print(found, markup=False, highlight=False)
        write_page(out)
    Store(out).write_index()
    console.print(f"Page: {out / 'paper.html'}")
    if any(store.failure(job) for grid in grids.values() for job in grid):
        raise typer.Exit(1)


def _tell_costs(console: Console) -> None:
    """What each item shows, and the runs and hours of one seed."""
    rows: list[Row] = [{"name": item.name, **item.data} for item in ITEMS.values()]
    for search, (item, row) in itertools.product(SETTINGS, zip(ITEMS.values(), rows, strict=True)):
        row[f"{search}_runs"] = len(item.grid(Options(seeds=1, search=search)))
        row[f"{search}_hours"] = item.data["hours"][search]
    shown = columns("item shows paper_runs paper_hours auto_runs auto_hours")
    console.print(terminal("The paper’s tables and figures", rows, shown, brief=False))
    console.print(DATA["costs"], style="dim")


def known_names(
    option: str, asked: list[str] | None, known: Iterable[str], what: str
) -> tuple[str, ...] | None:
    """The names that an option asks for, each once and each of the known; None without any."""
    known = list(known)
    return tuple({known_name(option, name, known, what): None for name in asked or ()}) or None
