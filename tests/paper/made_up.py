"""Results that no search made, to see what sheets, claims and pictures make of them."""

import random
from collections.abc import Callable
from typing import Any

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import Item


def row(seed: int, **changed: Any) -> Row:
    """What a search's job returns, as it might be."""
    made = random.Random(seed)
    values: Row = {
        "layer": "layer1",
        "vary": "BinaryFeatures",
        "search": "Adam(patience=None)",
        "seed": seed,
        "outcome": "matched",
        "activation_error": 0.009,
        "null_activation_error": 0.4,
        "prediction_match": 0.96 + made.uniform(-0.01, 0.01),
        "start_prediction_match": 0.3,
        "consistency": 0.14 + made.uniform(-0.01, 0.01),
        "start_consistency": 0.7,
        "activation_correlation": 0.99,
        "accuracy_test": 0.8,
        "feature_similarity": 0.11 + made.uniform(-0.01, 0.01),
        "start_feature_similarity": 0.09,
    }
    return values | changed


def result(job: Job, **changed: Any) -> Result:
    """A result of a search's job."""
    return Result(job, [row(job.arguments["seed"], **changed)], 10.0, {"torch": "2", "commit": "a"})


def rows_of(
    item: Item,
    options: Options,
    change: Callable[[dict[str, Any]], Row] = lambda asked: {},
    keep: Callable[[dict[str, Any]], bool] = lambda asked: True,
) -> list[Row]:
    """The cells of an item, of results that depend on what the jobs were asked."""
    made = [
        result(job, **{"layer": asked.get("layer", "layer1"), **change(asked)})
        for job in item.grid(options)
        if keep(asked := job.arguments)
    ]
    return item.summary(made, options)


def fill(store: Store, item: Item, options: Options, **always: Any) -> None:
    """Put a result of every job of an item into a store."""
    for job in item.grid(options):
        changed: Row = {"layer": job.arguments.get("layer", "layer1"), **always}
        if job.arguments.get("vary") == "structure":
            structure = ("structure_similarity", "start_structure_similarity", "edges_kept")
            changed |= dict(zip(structure, (0.9, 0.9, 0.01), strict=True))
        if job.task.endswith("transfer_rows"):
            seed = job.arguments["seed"]
            changed |= {"plain": 0.78 + seed / 1000, "retrained": 0.75, "shown": 0.7}
            changed["shown_match"] = 0.9
        store.put(result(job, **changed))
