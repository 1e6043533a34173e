"""Feature metamers of the first layer for the paper's models, at its settings.

    python benchmarks/paper_models.py --datasets cora --seeds 3 --json FILE
    python benchmarks/paper_models.py --datasets cora --models gat --hidden 128 --json FILE

One audit for each dataset and model, kept under `--out`, so a run that was stopped goes on where
it was. Rows of other datasets, models and widths that the JSON holds stay.
"""

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import graph_metamers as gm
from graph_metamers.paper.grid import MODELS
from machine import provenance

KEYS = ("dataset", "model", "hidden")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in gm.datasets.NAMES if name != "csbm"]
    parser.add_argument("--datasets", nargs="+", default=names, choices=names)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=gm.zoo.MODELS)
    parser.add_argument("--hidden", type=int, nargs="+", help="widths to try; each model's own")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("paper_models"))
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()

    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    if arguments.json and arguments.json.exists():
        held = json.loads(arguments.json.read_text())["rows"]
        rows = {tuple(row[name] for name in KEYS): row for row in held}
    for dataset in arguments.datasets:
        data = gm.datasets.load(dataset)
        for model in arguments.models:
            for hidden in arguments.hidden or [None]:
                options = {} if hidden is None else {"hidden": hidden}
                trained = gm.zoo.train(model, data, **options)
                label = "-".join(map(str, [dataset, model, hidden or "own", arguments.steps]))
                audit = gm.audit(
                    trained.model,
                    data,
                    layers=["layer1"],
                    search=gm.Adam(steps=arguments.steps),
                    seeds=arguments.seeds,
                    dataset=dataset,
                    name=model,
                    accuracy=trained.accuracy,
                    out=arguments.out / label,
                )
                (summary,) = audit.summary()
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                row = {"hidden": hidden, "accuracy": trained.accuracy, "peak_gib": peak}
                row |= {"steps": arguments.steps, **summary, "environment": provenance(data)}
                rows[tuple(row[name] for name in KEYS)] = row
                print(audit, flush=True)
                if arguments.json:
                    text = json.dumps({"rows": list(rows.values())}, indent=1)
                    arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
