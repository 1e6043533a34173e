"""The protocol, its jobs for a model, and what one of them does."""

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import Data

from graph_metamers import datasets, zoo
from graph_metamers.digests import digest
from graph_metamers.errors import InputError, known_name
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


def protocol_jobs(
    model: str,
    *,
    datasets: Sequence[str] = PROTOCOL.datasets,
    seeds: int = PROTOCOL.seeds,
    first: str | None = None,
    device: str = "cpu",
) -> list[Job]:
    """The jobs of a model, one for each graph, layer and seed.

    Args:
        model: A zoo model, trained its own way, or FILE.py:FACTORY, trained as the paper does. A
            job belongs to the text of the file: with another text it is another job.
        datasets: Graphs by name.
        seeds: Runs of each graph and layer.
        first: Which layer of a model of one's own is the "first"; None finds it.
        device: Where they run.

    Raises:
        InputError: There is no such model or file.

    Example:
        >>> jobs = protocol_jobs("gcn", datasets=["cora"], seeds=1)
        >>> [job.arguments["layer"] for job in jobs]
        ['first', 'output']
    """
    if ":" in model:
        file, _, factory = model.rpartition(":")
        source = {"file": str(Path(file).resolve()), "factory": factory, "digest": _digest(file)}
        name, training = f"{Path(file).name}:{factory}", zoo.Training()
    else:
        more = ", or name your own as FILE.py:FACTORY"
        name = known_name("model", model, zoo.MODELS, "a zoo model", more=more)
        source, training = None, zoo.MODELS[name].default_training
    return [
        Job.of(
            "graph_metamers.benchmark.task:benchmark_rows",
            model=name,
            source=source,
            dataset=dataset,
            layer=layer,
            first=first,
            seed=seed,
            device=device,
            protocol=PROTOCOL.version,
            training=asdict(training),
        )
        # Seeds change fastest: so workers begin with as many trainings, which later jobs share.
        for dataset in datasets
        for layer in PROTOCOL.layers
        for seed in range(seeds)
    ]


def _digest(file: str) -> str:
    try:
        return digest(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        told = f"model='{file}' must be a Python file; it cannot be read ({error})."
        raise InputError(told) from error


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
    """One training and one search, whose state `work` keeps; for the arguments see `protocol_jobs`.

    `source` says where a model of one's own is, `training` is a `zoo.Training` in plain values.
    """
    data = datasets.load_nodes(dataset).to(device)
    asked: dict[str, Any] = {"training": zoo.Training(**training), "seed": seed, "progress": False}
    if source is None:
        trained = zoo.train(model, data, **asked)
    else:
        build = functools.partial(_own, source, data)
        trained = zoo.fit(build, data, cache_key=digest(source), **asked)
    place = layer if layer == "output" else first or first_layer(trained.model, data)
    settings: dict[str, Any] = {"search": PROTOCOL.search, "tol": PROTOCOL.tol, "seed": seed}
    m = job_metamer(work, trained.model, data, place, **settings)
    names = {"model": model, "dataset": dataset, "layer": layer, "place": place}
    return [metamer_row(m) | names | {"protocol": protocol, "accuracy": trained.accuracy["test"]}]


def _own(source: dict[str, str], data: Data) -> nn.Module:
    """An own model, with its first weights."""
    if _digest(source["file"]) != source["digest"]:
        raise InputError(f"'{source['file']}' was changed since the benchmark began. Begin again.")
    return load_model(f"{source['file']}:{source['factory']}", None, data)


def first_layer(model: nn.Module, data: Data) -> str:
    """The layer that is compared as the first: layer1, or the first that can be searched."""
    if isinstance(model, zoo.Model):
        return model.layer_names[0]
    reasons: list[str] = []
    for name in layers(model, data).names:
        try:
            with opened(model, data, None, None) as open_model:
                PROTOCOL.search.choose(pose(open_model, name, tol=PROTOCOL.tol))
            return name
        except InputError as error:
            reasons.append(str(error))
    first = reasons[0] if reasons else "It has none."
    raise InputError(f"{type(model).__name__} has no layer that can be searched. {first}")
