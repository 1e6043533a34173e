"""Exact metamers of PubMed: how exact, at the first layer and at the output, how far.

    python benchmarks/exact.py --json benchmarks/results/exact.json

Every model in float32 and float64 from the random start, and the farthest metamer of a GCN. Rows
that the JSON holds already are not made again.
"""

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch

import graph_metamers as gm
from graph_metamers.paper.grid import MODELS
from machine import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="pubmed", choices=gm.datasets.NAMES)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=gm.zoo.MODELS)
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {(row["model"], row["dtype"], row["seek"]) for row in rows}
    data = gm.datasets.load(arguments.dataset)
    for model in arguments.models:
        for dtype, seek in (
            ("float32", "nearest"),
            ("float64", "nearest"),
            ("float32", "farthest"),
        ):
            if (model, dtype, seek) in known or (seek == "farthest" and model != "gcn"):
                continue
            graph = copy.copy(data)
            graph.x = data.x.to(getattr(torch, dtype))
            trained = gm.zoo.train(model, data).model.to(graph.x.dtype)
            m = gm.metamer(trained, graph, "layer1", search=gm.Exact(seek=seek))
            rows.append(
                {"model": model, "dtype": dtype, "seek": seek, "dataset": arguments.dataset}
                | {"least_feature": float(m.data.x.min()), **m.row(), **m.notes}
                | {"environment": provenance(data)}
            )
            print(m, m.activation_error, m.scores["output_error"], m.notes, m.seconds, flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
