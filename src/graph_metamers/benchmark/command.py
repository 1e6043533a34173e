"""The command line's `graph-metamers benchmark`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer import Option

from graph_metamers import datasets as graphs
from graph_metamers import zoo
from graph_metamers.benchmark.board import COLUMNS, write_board
from graph_metamers.benchmark.task import PROTOCOL, protocol_jobs
from graph_metamers.errors import InputError, check_count
from graph_metamers.jobs import Store, local, progress, run
from graph_metamers.options import DeviceOption, load_graphs, stoppable, usable_device
from graph_metamers.paper.command import DatasetsOption, SeedsOption, WorkersOption, known_names
from graph_metamers.paper.table import terminal


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
    names = known_names("datasets", datasets, graphs.NAMES, "a dataset") or PROTOCOL.datasets
    check_count("--seeds", seeds)
    usable_device(device)
    jobs = protocol_jobs(model, datasets=names, seeds=seeds, first=layer, device=device)
    if layer is not None and ":" not in model:
        raise InputError(f"--layer goes with your own model, FILE.py:FACTORY; got --model {model}.")
    store, executor = Store(out / "runs"), local(workers)
    store.write_index()  # says that pyarrow is missing before an hour is spent
    load_graphs(jobs, store)
    with stoppable(), progress(f"benchmark {model}") as told:
        results = run(jobs, store, executor, told=told)
    failed = [result for result in results if result.error]
    board = write_board(out, failed)
    console = Console()
    title = f"Leaderboard, protocol {PROTOCOL.version}"
    console.print(terminal(title, board, COLUMNS, brief=True))
    console.print(
        "invar.: invariance in percent, 100 where a metamer is no more like the graph than chance "
        "is, 0 where only the graph itself matches. At an activation error of "
        f"{PROTOCOL.tol:g} or less; only runs that matched count. The page has all figures.",
        style="dim",
    )
    console.print(f"Leaderboard: {out / 'leaderboard.html'}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)
