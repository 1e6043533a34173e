"""What the commands of the command line share: options, and what is told of them."""

import functools
import inspect
import shlex
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from typer import Option

from graph_metamers import datasets
from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, Store
from graph_metamers.zoo import ACTIVATIONS, GCN, MODELS, AdversarialTraining

LISTS = ("--datasets", "--models")  # options that take several values

DeviceOption = Annotated[str, Option("--device", help="cpu, cuda, cuda:1, …")]


@dataclass(frozen=True)
class Subject:
    """The graph and the model that a command is about: an option for each field."""

    dataset: Annotated[
        str | None, Option(help=f"One of: {', '.join(datasets.NAMES)}. (default: csbm)")
    ] = None
    undirected: Annotated[bool, Option("--undirected", help="Edges both ways, no loops.")] = False
    data: Annotated[
        Path | None, Option(help="Your own, torch.saved: graphs of PyG or a dict of tensors.")
    ] = None
    model: Annotated[
        str | None, Option(help="See `models`; or your FILE.py:NAME, a model or what makes one.")
    ] = None
    model_args: Annotated[str, Option(help="What the file of your model parses as its own.")] = ""
    call: Annotated[str | None, Option(help="The call, as `summary` shows it.")] = None
    weights: Annotated[Path | None, Option(help="The state_dict of your model.")] = None
    hidden: Annotated[int | None, Option(help="Zoo: units of a layer.")] = None
    depth: Annotated[int | None, Option(help="Zoo: number of layers.")] = None
    activation: Annotated[str | None, Option(help=f"Zoo: {', '.join(ACTIVATIONS)}.")] = None
    residual: Annotated[bool | None, Option("--residual", help="Zoo: skip connections.")] = None
    adversarial: Annotated[bool, Option("--adversarial", help="Zoo: adversarial training.")] = False
    device: DeviceOption = "cpu"

    def zoo_options(self, model: str) -> dict[str, Any]:
        """The options of a zoo model that were given; its own defaults stand for the others."""
        names = ("hidden", "depth", "activation", "residual")
        options = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.adversarial:
            training = MODELS.get(model, GCN).default_training  # others have no options
            options["training"] = replace(training, adversarial=AdversarialTraining())
        return options


def with_subject(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for each field of the `Subject` that is its first argument."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        subject = Subject(**{field.name: given.pop(field.name) for field in fields(Subject)})
        command(subject, **given)

    own = list(inspect.signature(command).parameters.values())[1:]
    options = [*inspect.signature(Subject).parameters.values(), *own]
    run.__signature__ = inspect.Signature(options)  # pyright: ignore[reportAttributeAccessIssue]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


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
        datasets.load_nodes(name)


@contextmanager
def stoppable() -> Generator[None]:
    """Ctrl-C ends the command with a sentence, for what goes on from where it was."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:  # caught here: typer would end without a word
        typer.echo("Stopped. The same command goes on from what was saved.", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGINT, before)


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
