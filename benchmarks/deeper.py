"""Layers 2 and 3 of four-layer models on PubMed: GaussNewton beside Adam's 1000 steps.

    python benchmarks/deeper.py --json benchmarks/results/deeper.json

Rows that the JSON holds already are not made again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import graph_metamers as gm
from machine import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["gcn", "gat"], choices=gm.zoo.MODELS)
    parser.add_argument("--layers", nargs="+", default=["layer2", "layer3"])
    parser.add_argument("--searches", nargs="+", default=["gauss_newton", "adam"])
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {(row["model"], row["layer"], row["search"].partition("(")[0]) for row in rows}
    kinds = {"gauss_newton": gm.GaussNewton(), "adam": gm.Adam(patience=None)}
    data = gm.datasets.load("pubmed")
    # A hundred epochs at a larger rate: what is asked is how well a trained model is matched.
    training = gm.zoo.Training(lr=0.01, epochs=100)
    for model in arguments.models:
        trained = gm.zoo.train(model, data, depth=4, training=training)
        for layer in arguments.layers:
            for search in arguments.searches:
                if (model, layer, type(kinds[search]).__name__) in known:
                    continue
                m = gm.metamer(trained.model, data, layer, search=kinds[search])
                history = m.history[:: max(1, len(m.history) // 50)]
                rows.append({"model": model, "accuracy": trained.accuracy, **m.row()})
                rows[-1] |= {"history": history, "environment": provenance(data)}
                print(model, m, m.seconds, flush=True)
                if arguments.json:
                    arguments.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
