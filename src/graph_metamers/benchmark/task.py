"""The protocol, who goes through it, and what one of its jobs does."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import Data

from graph_metamers import datasets, zoo
from graph_metamers.digests import digest
from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.jobs import Job, Row
from graph_metamers.own import load_model
from graph_metamers.paper.tasks import job_metamer, metamer_row
from graph_metamers.pose import opened, pose
from graph_metamers.probe import layers
from graph_metamers.search import Auto, Search

SEARCH = Auto(stop_at_tol=True, exact=False)


@dataclass(frozen=True)
class Protocol:
    """What makes two lines of the leaderboard comparable; those of two versions are not."""

    version: int = 3  # goes up with every change of what is measured
    datasets: tuple[str, ...] = ("cora", "citeseer", "pubmed", "chameleon")
    layers: tuple[str, ...] = ("first", "output")  # see `first_layer`; the class scores
    seeds: int = 3  # runs of each cell, each a training and a random start
    tol: float = 1e-2  # activation error at which models are compared, and each search ends
    search: Search = SEARCH


PROTOCOL = Protocol()


@dataclass(frozen=True)
class Entrant:
    """A model that takes part."""

    name: str  # on the leaderboard
    # Of one's own its "file", "factory" and the "digest" of its text: a changed file is another.
    source: dict[str, str] | None = None

    @property
    def training(self) -> zoo.Training:
        """How it is trained: a zoo model its own way, any other as the paper does."""
        return zoo.Training() if self.source else zoo.MODELS[self.name].default_training


def entrant(spec: str) -> Entrant:
    """Who takes part: a zoo model's name, or FILE.py:FACTORY.

    >>> entrant("GCN")
    Entrant(name='gcn', source=None)
    """
    if ":" not in spec and not spec.endswith(".py"):
        name = spec.lower()
        if name not in zoo.MODELS:
            raise InputError(
                f"--model {spec} is not a zoo model.{suggestion(name, zoo.MODELS)} Choose among "
                f"{listing(zoo.MODELS)}, or name your own as FILE.py:FACTORY."
            )
        return Entrant(name)
    file, _, factory = spec.rpartition(":")
    if not file or not factory:
        raise InputError(f"--model '{spec}' must be FILE.py:FACTORY, or one of the zoo's models.")
    path = Path(file)
    source = {"file": str(path.resolve()), "factory": factory, "digest": _digest_of(path)}
    return Entrant(f"{path.name}:{factory}", source)


def made(source: dict[str, str], data: Data) -> nn.Module:
    """An own model, with its first weights, on the graph's device."""
    path = Path(source["file"])
    if _digest_of(path) != source["digest"]:
        raise InputError(f"'{path}' was changed since the benchmark began. Begin it again.")
    return load_model(f"{path}:{source['factory']}", None, data)


def _digest_of(path: Path) -> str:
    try:
        return digest(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--model must name a Python file; '{path}' cannot be read ({error})."
        ) from error


def protocol_jobs(
    model: Entrant,
    *,
    datasets: Sequence[str] = PROTOCOL.datasets,
    seeds: int = PROTOCOL.seeds,
    first: str | None = None,
    device: str = "cpu",
) -> list[Job]:
    """The jobs of a model, one for each graph, layer and seed.

    `first` is which layer of a model of one's own is the "first".

    >>> jobs = protocol_jobs(entrant("gcn"), datasets=["cora"], seeds=1)
    >>> [job.arguments["layer"] for job in jobs]
    ['first', 'output']
    """
    return [
        Job.of(
            "graph_metamers.benchmark.task:benchmark_rows",
            model=model.name,
            source=model.source,
            dataset=dataset,
            layer=layer,
            first=first,
            seed=seed,
            device=device,
            protocol=PROTOCOL.version,
            training=asdict(model.training),
        )
        # Seeds change fastest: so workers begin with as many trainings, which later jobs share.
        for dataset in datasets
        for layer in PROTOCOL.layers
        for seed in range(seeds)
    ]


def benchmark_rows(
    work: Path,
    *,
    model: str,
    source: dict[str, str] | None,
    dataset: str,
    layer: str,
    first: str | None,
    seed: int,
    device: str,
    protocol: int,
    training: dict[str, Any],
) -> list[Row]:
    """One training and one search, whose state `work` keeps.

    `source` says where a model of one's own is (see `Entrant`), `first` which layer is its "first"
    (None finds it), and `training` is a `zoo.Training` in plain values.
    """
    if protocol != PROTOCOL.version:
        raise InputError(
            f"This is a job of protocol {protocol}; this version runs protocol "
            f"{PROTOCOL.version}. Begin the benchmark again."
        )
    data = datasets.load_nodes(dataset).to(device)
    asked: dict[str, Any] = {"training": zoo.Training(**training), "seed": seed, "progress": False}
    if source is None:
        trained = zoo.train(model, data, **asked)
    else:
        build = functools.partial(made, source, data)
        trained = zoo.fit(build, data, cache_key=digest(source), **asked)
    place = layer if layer == "output" else first or first_layer(trained.model, data)
    settings: dict[str, Any] = {"search": PROTOCOL.search, "tol": PROTOCOL.tol, "seed": seed}
    m = job_metamer(work, trained.model, data, place, **settings)
    names = {"model": model, "dataset": dataset, "layer": layer, "place": place}
    return [metamer_row(m) | names | {"protocol": protocol, "accuracy": trained.accuracy["test"]}]


def first_layer(model: nn.Module, data: Data) -> str:
    """The layer that is compared as the first: layer1, or the first that can be searched."""
    if isinstance(model, zoo.Model):
        return model.layer_names[0]
    reason: InputError | None = None
    for name in layers(model, data).names:
        try:
            check_layer(model, data, name)
            return name
        except InputError as error:
            reason = reason or error
    raise reason or InputError(
        f"{type(model).__name__} has no layer that can be searched; name one with --layer."
    )


def check_layer(model: nn.Module, data: Data, layer: str) -> None:
    """Raise an InputError where a layer cannot be searched by the protocol."""
    with opened(model, data, None, None) as open_model:
        PROTOCOL.search.choose(pose(open_model, layer, tol=PROTOCOL.tol))
