"""What the commands of the command line share: options, and what is told of them."""

import shlex
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from graph_metamers import datasets, zoo
from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, Store

LISTS = ("--datasets", "--models")  # options that take several values

DatasetOption = Annotated[
    str | None,
    typer.Option("--dataset", help=f"One of: {', '.join(datasets.NAMES)}. (default: csbm)"),
]
UndirectedOption = Annotated[
    bool,
    typer.Option("--undirected", help="Of --dataset: every edge both ways, no self-loops."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Your own graph: a PyG Data, or a dict of tensors, torch.saved."),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help=f"{', '.join(zoo.MODELS)} (trained if need be), or your own FILE.py:FACTORY.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option("--weights", help="The trained state_dict of your model."),
]
HiddenOption = Annotated[int | None, typer.Option("--hidden", help="Zoo: units of a layer.")]
DepthOption = Annotated[int | None, typer.Option("--depth", help="Zoo: number of layers.")]
ActivationOption = Annotated[
    str | None,
    typer.Option("--activation", help=f"Zoo: one of {', '.join(zoo.ACTIVATIONS)}."),
]
ResidualOption = Annotated[bool, typer.Option("--residual", help="Zoo: each layer adds its input.")]
AdversarialOption = Annotated[
    bool, typer.Option("--adversarial", help="Zoo: train on adversarially perturbed features.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, …")]


def spread_lists(words: list[str]) -> list[str]:
    """The words of a command line, with an option before each of several values.

    >>> spread_lists(["paper", "table1", "--models", "gcn", "gin", "--seeds", "2"])
    ['paper', 'table1', '--models', 'gcn', '--models', 'gin', '--seeds', '2']
    """
    spread: list[str] = []
    option = ""
    for word in words:
        if word.startswith("-"):
            option = word
        elif option in LISTS and spread[-1] != option:
            spread.append(option)
        spread.append(word)
    return spread


def load_graphs(jobs: Iterable[Job], store: Store) -> None:
    """Load the datasets of the jobs that are not done, so that one that is missing is told once.

    Raises:
        InputError: One cannot be had.
    """
    missing = (job.arguments["dataset"] for job in jobs if store.get(job) is None)
    for name in dict.fromkeys(missing):
        datasets.load(name)


@contextmanager
def stoppable() -> Generator[None]:
    """Ctrl-C ends the command with a sentence, for what goes on from where it was."""
    try:
        yield
    except KeyboardInterrupt:  # caught here: typer would end without a word
        typer.echo("Stopped. The same command goes on from what was saved.", err=True)
        raise typer.Exit(130) from None


def command_line() -> str:
    """The command that was typed, without the place of the program."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def usable_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        InputError: It cannot be used here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" holds no values
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"--device '{name}' cannot be used here ({str(error).splitlines()[0]}). Try cpu."
        ) from error
    return device
