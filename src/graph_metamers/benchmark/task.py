"""What a job of the benchmark does: train a model, look for a metamer, return a row."""

import functools
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import Data

from graph_metamers import datasets, zoo
from graph_metamers.benchmark.entrant import made
from graph_metamers.benchmark.protocol import PROTOCOL
from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.jobs import Row
from graph_metamers.measure import Verdict
from graph_metamers.metamer import metamer, preflight
from graph_metamers.probe import layers
from graph_metamers.result import Metamer


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
    """One training and one search.

    Args:
        work: The job's folder; it keeps the search's state there.
        model: Name of the model.
        source: Where a model of one's own is; see `Entrant`.
        dataset: Name of the graph.
        layer: "first" or "output".
        first: Which layer is the "first"; None finds it.
        seed: Seed of the training and of the random start.
        device: Where it runs.
        protocol: Version of the protocol that asks.
        training: How the model is trained, a `zoo.Training` in plain values.

    Raises:
        InputError: The protocol is another by now, or the model cannot be used.
    """
    if protocol != PROTOCOL.version:
        raise InputError(
            f"This is a job of protocol {protocol}; this version runs protocol "
            f"{PROTOCOL.version}. Begin the benchmark again."
        )
    data = datasets.load(dataset).to(device)
    recipe = zoo.Training(**training)
    if source is None:
        trained = zoo.train(model, data, training=recipe, seed=seed, progress=False)
    else:
        key, build = digest(source), functools.partial(made, source, data)
        trained = zoo.fit(build, data, training=recipe, seed=seed, cache_key=key, progress=False)
    network, accuracy = trained.model, trained.accuracy["test"]
    place = layer if layer == "output" else first or first_layer(network, data)
    m = metamer(
        network,
        data,
        place,
        search=PROTOCOL.search,
        tol=PROTOCOL.tol,
        seed=seed,
        # A model that was trained anew with other bits begins another search.
        checkpoint=work / f"search-{digest(network)}.checkpoint",
        progress=False,
    )
    names = {
        "model": model,
        "dataset": dataset,
        "layer": layer,
        "place": place,
        "protocol": protocol,
    }
    return [names | {"accuracy": accuracy} | _figures(m)]


def first_layer(model: nn.Module, data: Data) -> str:
    """The layer that is compared as the first: layer1, or the first that can be searched.

    Raises:
        InputError: None can be searched; the sentence says why the first cannot.
    """
    if isinstance(model, zoo.Model):
        return model.layer_names[0]
    reason: InputError | None = None
    for name in layers(model, data).names:
        try:
            preflight(model, data, name, search=PROTOCOL.search, tol=PROTOCOL.tol)
            return name
        except InputError as error:
            reason = reason or error
    raise reason or InputError(
        f"{type(model).__name__} has no layer that can be searched; name one with --layer."
    )


def _figures(m: Metamer) -> Row:
    """A run's figures, but for the time, which is never twice the same."""
    row = {name: value for name, value in m.row().items() if name not in ("layer", "layer_errors")}
    del row["seconds"]
    verdict = {"matched": m.matched, "impossible": m.verdict is Verdict.IMPOSSIBLE}
    return row | verdict | {"trivial": m.trivial}
