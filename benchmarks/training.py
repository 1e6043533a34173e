"""One epoch of training: messages written and summed as PyG does, and as sparse products.

    python benchmarks/training.py --json benchmarks/results/training.json

Each pair is trained in turn in one process, from the same weights and with the same dropout.
Writes the median milliseconds an epoch, their ratio, and the largest difference of a weight,
relative to the largest in its tensor.
"""

import argparse
import contextlib
import itertools
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
from graph_metamers.storage import write_json
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


def measure(dataset: str, model: str, epochs: int) -> dict[str, Any]:
    runs = [epochs_of(dataset, model, epochs=epochs, sparse=sparse) for sparse in (False, True)]
    plain, fast = (statistics.median(times) for times, _ in runs)
    weights = zip(*(weights for _, weights in runs), strict=True)
    return {
        "dataset": dataset,
        "model": model,
        "messages_ms": round(plain, 1),
        "products_ms": round(fast, 1),
        "ratio": round(plain / fast, 2),
        "largest_relative_difference": max(
            float((a - b).detach().abs().max() / a.detach().abs().max()) for a, b in weights
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=["cora", "pubmed", "squirrel"])
    parser.add_argument("--models", nargs="+", default=["gcn", "chebnet", "gat"])
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--json", type=Path, required=True, help="where the result is written")
    asked = parser.parse_args()
    pairs = itertools.product(asked.datasets, asked.models)
    rows = [measure(dataset, model, asked.epochs) for dataset, model in pairs]
    made = provenance(gm.datasets.load(asked.datasets[0]))
    write_json(asked.json, {"epochs": asked.epochs, "rows": rows, "environment": made})


if __name__ == "__main__":
    main()
