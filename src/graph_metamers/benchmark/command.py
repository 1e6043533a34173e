"""The command line's `graph-metamers benchmark`."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from graph_metamers import datasets as graphs
from graph_metamers import zoo
from graph_metamers.benchmark.board import read_board, summarise, update_board
from graph_metamers.benchmark.entrant import Entrant, entrant, made
from graph_metamers.benchmark.page import write_page
from graph_metamers.benchmark.protocol import PROTOCOL, protocol_jobs
from graph_metamers.benchmark.task import first_layer
from graph_metamers.errors import InputError, check_count, listing, suggestion
from graph_metamers.jobs import Job, Result, Row, Store, local, progress, run, told_apart
from graph_metamers.metamer import preflight
from graph_metamers.options import DeviceOption, load_graphs, stoppable, usable_device
from graph_metamers.report.numbers import number
from graph_metamers.storage import one_at_a_time

PAGE = "leaderboard.html"


def benchmark_command(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help=f"{', '.join(zoo.MODELS)}, or your own FILE.py:FACTORY, which is trained alike.",
        ),
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option("--datasets", help="Only these, one or several: --datasets cora pubmed."),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="Runs of each: trainings and random starts.")
    ] = PROTOCOL.seeds,
    layer: Annotated[
        str | None,
        typer.Option(
            "--layer",
            help="Of your own model: which layer is the first (default: the first searchable).",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", help="Jobs at a time; they share the processors.")
    ] = 1,
    device: DeviceOption = "cpu",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for leaderboard.html, its table and runs/.")
    ] = Path("benchmark"),
) -> None:
    """Measure a model's over-invariance by the fixed protocol; add it to a leaderboard."""
    who = entrant(model)
    names = _known(datasets)
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


def _known(asked: list[str] | None) -> list[str]:
    names = [name.lower() for name in asked or PROTOCOL.datasets]
    for name in names:
        if name not in graphs.NAMES:
            raise InputError(
                f"--datasets {name} is not a dataset.{suggestion(name, graphs.NAMES)} "
                f"Choose among {listing(graphs.NAMES)}."
            )
    return list(dict.fromkeys(names))


def _check_layer(who: Entrant, layer: str | None, dataset: str) -> None:
    """Whether an own model can be built and has a first layer, before it is trained many times."""
    if who.source is None:
        if layer is not None:
            raise InputError(
                f"--layer goes with your own model, FILE.py:FACTORY; got --model {who.name}. "
                "Of the zoo's models the first layer is layer1."
            )
        return
    data = graphs.load(dataset)
    try:
        network = zoo.fit(
            lambda: made(who.source or {}, data),
            data,
            training=zoo.Training(epochs=1),
            progress=False,
        ).model
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
        preflight(network, data, layer, search=PROTOCOL.search, tol=PROTOCOL.tol)


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
    title = f"Leaderboard, protocol {PROTOCOL.version}"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("model", overflow="fold")
    for name in ("graph", "layer"):
        table.add_column(name, no_wrap=True)
    for name in (
        "invar.",
        "acc.",
        "matched",
        "error",
        "S_feat",
        "start",
    ):  # 80 columns hold no more
        table.add_column(name, justify="right", no_wrap=True)
    for line in board:
        table.add_row(
            line["model"],
            line["dataset"],
            line["layer"],
            _text(line, "invariance"),
            _text(line, "accuracy"),
            "impossible"
            if line["impossible"] == line["runs"]
            else f"{line['matched']} of {line['runs']}",
            f"{number(line, 'activation_error'):.1e}",
            _text(line, "feature_similarity"),
            _text(line, "start_feature_similarity"),
            style="bold" if line["model"] == who.name else None,
        )
    return table


def _text(line: Row, name: str) -> str:
    value = number(line, name)
    return f"{value:.3f}" if value == value else "–"
