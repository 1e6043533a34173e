"""The command line's `graph-metamers benchmark`."""

import functools
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from typer import Option

from graph_metamers import datasets as graphs
from graph_metamers import zoo
from graph_metamers.benchmark.board import (
    ACCURACY,
    ERROR,
    INVARIANCE,
    SIMILARITY,
    START,
    read_board,
    summarise,
    update_board,
    write_page,
)
from graph_metamers.benchmark.task import (
    PROTOCOL,
    Entrant,
    check_layer,
    entrant,
    first_layer,
    made,
    protocol_jobs,
)
from graph_metamers.errors import InputError, check_count
from graph_metamers.jobs import Job, Result, Row, Store, local, progress, run, told_apart
from graph_metamers.options import DeviceOption, load_graphs, stoppable, usable_device
from graph_metamers.paper.command import DatasetsOption, SeedsOption, WorkersOption, known_names
from graph_metamers.paper.table import Column, terminal
from graph_metamers.storage import one_at_a_time

PAGE = "leaderboard.html"
# 80 columns hold no more
COLUMNS = [
    Column("model", "model"),
    Column("dataset", "graph"),
    Column("layer", "layer"),
    INVARIANCE,
    ACCURACY,
    Column("told", "matched"),
    ERROR,
    SIMILARITY,
    START,
]


def benchmark_command(
    model: Annotated[
        str,
        Option(help=f"{', '.join(zoo.MODELS)}, or your own FILE.py:FACTORY, trained alike."),
    ],
    datasets: DatasetsOption = None,
    seeds: SeedsOption = PROTOCOL.seeds,
    layer: Annotated[
        str | None,
        Option(help="Of your own model: which layer is the first (default: the first searchable)."),
    ] = None,
    workers: WorkersOption = 1,
    device: DeviceOption = "cpu",
    out: Annotated[Path, Option(help="Folder for leaderboard.html, its table and runs/.")] = Path(
        "benchmark"
    ),
) -> None:
    """Measure a model's over-invariance by the fixed protocol; add it to a leaderboard."""
    who = entrant(model)
    names = known_names("--datasets", datasets, graphs.NAMES, "a dataset") or PROTOCOL.datasets
    for name, count in {"--seeds": seeds, "--workers": workers}.items():
        check_count(name, count)
    usable_device(device)
    _check_layer(who, layer, names[0])
    store = Store(out / "runs")
    store.write_index()  # says that pyarrow is missing before an hour is spent
    read_board(out)  # and that the table is damaged
    jobs = protocol_jobs(who, datasets=names, seeds=seeds, first=layer, device=device)
    load_graphs(jobs, store)
    with stoppable(), progress(f"benchmark {who.name}") as told:
        results = run(jobs, store, local(workers), told=told)
    failed = [result.job for result in results if result.error]
    update_board(out, summarise(_all_seeds(store, jobs), failed))
    with one_at_a_time(out / PAGE):  # so that the last page is of the last table
        board = read_board(out)
        write_page(out / PAGE, board)
    _tell(board, who, results, out)


def _all_seeds(store: Store, jobs: list[Job]) -> list[Row]:
    """The rows of these jobs, and of those that differ from them in the seed alone.

    So a first look with one seed does not take the place of a whole line.
    """
    asked = {_but_seed(job) for job in jobs}
    results = [result for result in store.results() if _but_seed(result.job) in asked]
    return [row for result in results for row in result.rows]


def _but_seed(job: Job) -> Job:
    return Job.of(job.task, **job.arguments | {"seed": None})


def _check_layer(who: Entrant, layer: str | None, dataset: str) -> None:
    """Whether an own model can be built and has a first layer, before it is trained many times."""
    if who.source is None:
        if layer is not None:
            raise InputError(
                f"--layer goes with your own model, FILE.py:FACTORY; got --model {who.name}. "
                "Of the zoo's models the first layer is layer1."
            )
        return
    data = graphs.load_nodes(dataset)
    try:
        build = functools.partial(made, who.source, data)
        network = zoo.fit(build, data, training=zoo.Training(epochs=1), progress=False).model
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        raise InputError(
            f"--model {who.name} could not be trained on {dataset} ({type(error).__name__}: "
            f"{error}). It must return class scores in training mode too."
        ) from error
    if layer is None:
        first_layer(network, data)
    else:
        check_layer(network, data, layer)


def _tell(board: list[Row], who: Entrant, results: list[Result], out: Path) -> None:
    console = Console()
    console.print(_table(board, who))
    console.print(
        "invar.: invariance, 1 where a metamer is no more like the graph than chance is, 0 where "
        f"only the graph itself matches. At an activation error of {PROTOCOL.tol:g} or less; only "
        "runs that matched count. The page has all figures.",
        style="dim",
    )
    console.print(f"Leaderboard: {out / PAGE}", soft_wrap=True)
    failed = [result for result in results if result.error]
    names = told_apart([result.job for result in results])
    for result in failed:
        told = f"{names[result.job]} failed: {result.reason}"
        console.print(told, style="yellow", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _table(board: list[Row], who: Entrant) -> Table:
    """The whole board, with the lines of whom it was run for in bold."""
    rows = [
        line | {"told": "impossible" if line["impossible"] == line["runs"] else matched}
        for line in board
        for matched in [f"{line['matched']} of {line['runs']}"]
    ]
    title = f"Leaderboard, protocol {PROTOCOL.version}"
    return terminal(title, rows, COLUMNS, brief=False, bold=lambda line: line["model"] == who.name)
