"""One epoch of training: messages written and summed as PyG does, and as sparse products.

    python benchmarks/training.py --datasets cora pubmed squirrel --models gcn chebnet gat

Each pair is trained in turn in one process, from the same weights and with the same dropout.
Prints JSON with the median milliseconds an epoch, their ratio, and the largest difference of a
weight, relative to the largest in its tensor; `--json FILE` also writes it.
"""

import argparse
import contextlib
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from unittest import mock

from torch import Tensor

import graph_metamers as gm
from graph_metamers.paper.grid import model_options
from graph_metamers.zoo import loop
from machine import provenance


def epochs_of(
    dataset: str, model: str, *, epochs: int, sparse: bool
) -> tuple[list[float], list[Tensor]]:
    """Milliseconds of each epoch but the first, and the weights at the end."""
    data = gm.datasets.load(dataset)
    options = {name: v for name, v in model_options(model).items() if name != "adversarial"}
    # With the validation at the ends only, what is timed is forward, backward and Adam's step.
    recipe = gm.zoo.Training(epochs=epochs, patience=None, validate_every=epochs - 1)
    way = loop.sparse_products if sparse else contextlib.nullcontext
    times: list[float] = []

    @contextlib.contextmanager
    def clock(*_: object, **__: object) -> Generator[Callable[..., None]]:
        yield lambda *_: times.append(time.perf_counter())

    with (
        tempfile.TemporaryDirectory() as cache,
        mock.patch.object(loop, "sparse_products", way),
        mock.patch.object(loop, "progress_bar", clock),
    ):
        trained = gm.zoo.train(model, data, training=recipe, cache=cache, **options)
    return [1000 * (b - a) for a, b in itertools.pairwise(times)], list(trained.model.parameters())


def measure(dataset: str, model: str, *, epochs: int, rounds: int) -> dict[str, Any]:
    pairs = [
        [epochs_of(dataset, model, epochs=epochs, sparse=sparse) for sparse in (False, True)]
        for _ in range(rounds)
    ]
    plain, fast = (
        statistics.median(each for run in runs for each in run[0])
        for runs in zip(*pairs, strict=True)
    )
    return {
        "dataset": dataset,
        "model": model,
        "messages_ms": round(plain, 1),
        "products_ms": round(fast, 1),
        "ratio": round(plain / fast, 2),
        "largest_relative_difference": max(difference(a[1], b[1]) for a, b in pairs),
    }


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    return max(
        float((a - b).detach().abs().max() / a.detach().abs().max())
        for a, b in zip(ours, theirs, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["cora", "pubmed", "squirrel"])
    parser.add_argument("--models", nargs="+", default=["gcn", "chebnet", "gat"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the result here")
    asked = parser.parse_args()
    rows = [
        measure(dataset, model, epochs=asked.epochs, rounds=asked.rounds)
        for dataset in asked.datasets
        for model in asked.models
    ]
    result = {
        "epochs": asked.epochs,
        "rounds": asked.rounds,
        "rows": rows,
        "environment": provenance(gm.datasets.load(asked.datasets[0])),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
