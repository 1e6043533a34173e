"""The command line's `graph-metamers paper`."""

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from typer import Option

from graph_metamers.errors import InputError, check_count, listing, suggestion
from graph_metamers.jobs import Executor, Ray, Row, Store, local, progress
from graph_metamers.options import DeviceOption, command_line, load_graphs, stoppable, usable_device
from graph_metamers.paper.grid import DATASETS, MODELS, Options
from graph_metamers.paper.items import ITEMS, Item, named
from graph_metamers.paper.produce import SETTINGS, Sheet, produce, write_page
from graph_metamers.paper.table import Column, terminal

DatasetsOption = Annotated[
    list[str] | None, Option(help="Only these, one or several: --datasets cora pubmed.")
]
SeedsOption = Annotated[int, Option(help="Runs of each: trainings and random starts.")]
WorkersOption = Annotated[int, Option(help="Jobs at a time; they share the processors.")]
WIDE = 140  # letters of a terminal that has room for standard deviations
COSTS = [Column("name", "name"), Column("shows", "shows")] + [
    Column(f"{search}_{what}", f"{before}{what}")
    for search, before in (("paper", ""), ("auto", "auto: "))
    for what in ("runs", "hours")
]


def paper_command(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(ITEMS)}, all of them, or list.", show_default=False)
    ],
    datasets: DatasetsOption = None,
    models: Annotated[
        list[str] | None, Option(help="Only these, one or several: --models gcn gin.")
    ] = None,
    seeds: SeedsOption = 3,
    steps: Annotated[
        int | None, Option(help="Steps of each search (default: the setting's).")
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
    check_count("--seeds", seeds)
    if steps is not None:
        check_count("--steps", steps)
    runner = _runner(executor, workers, address, device)
    options = Options(
        datasets=known_names("--datasets", datasets, DATASETS, "in the paper"),
        models=known_names("--models", models, MODELS, "in the paper"),
        seeds=seeds,
        steps=steps,
        search=search,
        device=device,
    )
    grids = {item: grid for item in items if (grid := item.grid(options))}
    if not grids:
        raise InputError(_nothing(name, items, options))
    store = Store(out)
    store.write_index()  # says what is missing before an hour is spent
    if executor == "local":
        load_graphs((job for grid in grids.values() for job in grid), store)
    for item in grids:
        with stoppable(), progress(item.name) as told:
            sheet = produce(item, options, runner(), out, command=command_line(), told=told)
        _tell(console, item, sheet)
        write_page(out)
    Store(out).write_index()
    console.print(f"Page: {out / 'paper.html'}")
    if any(store.failure(job) for grid in grids.values() for job in grid):
        raise typer.Exit(1)


def _tell_costs(console: Console) -> None:
    costs = json.loads((files("graph_metamers.paper") / "costs.json").read_text(encoding="utf-8"))
    rows: list[Row] = []
    for item in ITEMS.values():
        row: Row = {"name": item.name, "shows": item.shows}
        for search in SETTINGS:
            row[f"{search}_runs"] = len(item.grid(Options(seeds=1, search=search)))
            row[f"{search}_hours"] = costs["hours"][f"{item.name}-{search}"]
        rows.append(row)
    console.print(terminal("The paper’s tables and figures", rows, COSTS, brief=False))
    console.print(
        "Runs of one seed at the paper's setting, and with auto; hours of one seed, one after the "
        f"other, on {costs['machine']}; > where some were not run yet, ~ where their time is that "
        "of like ones. A run that two items share is done once.",
        style="dim",
    )


def _runner(name: str, workers: int, address: str | None, device: str) -> Callable[[], Executor]:
    """Who runs the jobs, anew for each item."""
    check_count("--workers", workers)
    if name == "local":
        if address is not None:
            raise InputError("--address goes with --executor ray; got --executor local.")
        usable_device(device)
        return functools.partial(local, workers)
    if workers != 1:
        raise InputError(
            f"--workers goes with --executor local; got {workers} and ray, which takes as many "
            "as the cluster has processors for."
        )
    if device not in ("cpu", "cuda"):  # a cluster's nodes have devices of their own
        raise InputError(
            "--executor ray gives each job a device of its own, so that --device must be cpu or "
            f"cuda; got {device}."
        )
    return functools.partial(Ray, address, gpus=int(device == "cuda"))


def _nothing(name: str, items: list[Item], options: Options) -> str:
    """Why there is nothing to run."""
    whole = replace(options, datasets=None, models=None)
    known = [job.arguments for item in items for job in item.grid(whole)]
    models = dict.fromkeys(j["model"] if "model" in j else j["source"] for j in known)
    return (
        f"{name} has none of the datasets and models that were asked for, with --search "
        f"{options.search}. Its graphs are {listing(dict.fromkeys(j['dataset'] for j in known))}; "
        f"its models {listing(models)}."
    )


def known_names(
    option: str, asked: list[str] | None, known: Iterable[str], what: str
) -> tuple[str, ...] | None:
    """The names that an option asks for, each once and each of the known; None without any."""
    names = tuple(dict.fromkeys(name.lower() for name in asked or ()))
    for one in names:
        if one not in known:
            raise InputError(
                f"{option} {one} is not {what}.{suggestion(one, known)} "
                f"Choose among {listing(known)}."
            )
    return names or None


def _tell(console: Console, item: Item, sheet: Sheet) -> None:
    """The sheet as a table, and what became of the paper's sentences."""
    title = f"{item.title}, {sheet.setting}"
    console.print(terminal(title, sheet.rows, sheet.columns, brief=console.width < WIDE))
    for note in sheet.notes:
        console.print(note, style="dim", markup=False, highlight=False)
    for claim in sheet.claims:
        told = f"“{claim.claim}” {claim.outcome}: {claim.found}"
        console.print(told, markup=False, highlight=False)
