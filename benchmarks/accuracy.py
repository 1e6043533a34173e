"""Test accuracy of the zoo's models, on every dataset.

    python benchmarks/accuracy.py --json benchmarks/results/accuracy.json

Trains what the cache does not hold yet, so a run that was stopped goes on where it was. Rows of
other models and datasets that the JSON holds stay.
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path
from typing import Any

import graph_metamers as gm
from graph_metamers.paper.grid import MODELS
from machine import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=gm.zoo.MODELS)
    names = [name for name in gm.datasets.NAMES if name != "csbm"]
    parser.add_argument("--datasets", nargs="+", default=names, choices=names)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()

    rows: dict[tuple[str, str], dict[str, Any]] = {}
    if arguments.json and arguments.json.exists():
        held = json.loads(arguments.json.read_text())["rows"]
        rows = {(row["model"], row["dataset"]): row for row in held}
    for model, dataset in itertools.product(arguments.models, arguments.datasets):
        data = gm.datasets.load(dataset)
        runs = [gm.zoo.train(model, data, seed=seed) for seed in range(arguments.seeds)]
        accuracy = [run.accuracy["test"] for run in runs]
        rows[model, dataset] = {
            "model": model,
            "dataset": dataset,
            "test_accuracy": statistics.fmean(accuracy),
            "test_accuracy_std": statistics.stdev(accuracy) if len(runs) > 1 else None,
            "runs": accuracy,
            "training": runs[0].provenance["training"],
            "environment": provenance(data),
        }
        print(f"{dataset:10} {model:10} {100 * statistics.fmean(accuracy):.1f}", flush=True)
        if arguments.json:
            text = json.dumps({"rows": list(rows.values())}, indent=1)
            arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
