"""The paper's structure metamers (Fig. 5): GCN and ChebNet, Cora and Chameleon, layer 1.

    python benchmarks/structure_paper.py --json benchmarks/results/structure_paper.json

The dense relaxation of Eqs. 11–12 with Adam (5e-4, and for comparison a hundred times that), 1000
steps, edges made undirected and loop-free. Rows that the JSON holds already are not made again.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import graph_metamers as gm
from machine import provenance

KEY = ("dataset", "model", "lr", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["gcn", "chebnet"])
    parser.add_argument("--datasets", nargs="+", default=["cora", "chameleon"])
    parser.add_argument("--rates", nargs="+", type=float, default=[5e-4, 5e-2])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {tuple(row[name] for name in KEY) for row in rows}
    for seed, dataset, model, lr in itertools.product(
        range(arguments.seeds), arguments.datasets, arguments.models, arguments.rates
    ):
        if (dataset, model, lr, seed) in known:
            continue
        data = gm.datasets.load(dataset, undirected=True)
        trained = gm.zoo.train(model, data)
        m = gm.metamer(
            trained.model,
            data,
            "layer1",
            vary=gm.Edges(),
            search=gm.Adam(lr=lr, patience=None),
            seed=seed,
        )
        row = {"dataset": dataset, "model": model, "lr": lr, "accuracy": trained.accuracy}
        row |= m.row() | {"history": m.history[::25]}
        rows.append(row | {"environment": provenance(data)})
        print(
            *(row[k] for k in (*KEY, "activation_error", "structure_similarity", "edges_kept")),
            row["prediction_match"],
            row["seconds"],
            flush=True,
        )
        if arguments.json:
            arguments.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
