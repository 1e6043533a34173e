"""Graphs with other edges that a model takes for the same: models × datasets × layers × seeds.

    python benchmarks/structure_table.py --json benchmarks/results/structure_table.json
    python benchmarks/structure_table.py --models gcn --datasets cora --layers layer1 --steps 800 \
        --json benchmarks/results/structure_table.json

Every node keeps its degree and at most a hundredth of the edges stay; where no such graph is
found (Chameleon and Squirrel, whose hubs must stay joined), degrees are free. "layer1+layer2"
matches both layers jointly, "output" what the model returns. Rows that the JSON holds already are
not made again.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import graph_metamers as gm
from machine import provenance

MODELS = ("gcn", "chebnet", "graphsage", "gin", "gat")
STEPS = {"cora": 150, "citeseer": 150, "pubmed": 40, "chameleon": 120, "squirrel": 40}
LAYERS = ("layer1", "layer1+layer2", "output")
FIXED = ("cora", "citeseer", "pubmed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=gm.zoo.MODELS)
    parser.add_argument("--datasets", nargs="+", default=list(FIXED), choices=gm.datasets.NAMES)
    parser.add_argument("--layers", nargs="+", default=list(LAYERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each search, by default by the dataset")
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {tuple(row[name] for name in KEY) for row in rows}
    for seed, dataset, model, layer in itertools.product(
        range(arguments.seeds), arguments.datasets, arguments.models, arguments.layers
    ):
        steps = arguments.steps or STEPS[dataset]
        if (dataset, model, layer, seed, steps) in known:
            continue
        data = gm.datasets.load(dataset)
        trained = gm.zoo.train(model, data)
        vary = gm.Edges(degrees="fixed" if dataset in FIXED else "free", keep=0.01)
        m = gm.metamer(
            trained.model,
            data,
            layer.split("+") if "+" in layer else layer,
            vary=vary,
            search=gm.EdgeSwap(steps=steps),
            seed=seed,
        )
        row = {"dataset": dataset, "model": model, "layers": layer, "steps_asked": steps}
        row |= m.row() | {"history": m.history[:: max(1, len(m.history) // 40)]}
        rows.append(row | {"environment": provenance(data)})
        shown = ("activation_error", "edges_kept", "prediction_match", "seconds")
        print(dataset, model, layer, *(f"{name} {row[name]:.4f}" for name in shown), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


KEY = ("dataset", "model", "layers", "seed", "steps_asked")

if __name__ == "__main__":
    main()
