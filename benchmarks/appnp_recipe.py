"""How APPNP's weight decay was chosen: on the validation nodes of the benchmark's graphs.

    python benchmarks/appnp_recipe.py --json benchmarks/results/appnp_recipe.json

What the JSON holds is not run again.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import graph_metamers as gm
from graph_metamers.benchmark import PROTOCOL
from graph_metamers.storage import write_json
from machine import provenance

DECAYS = (5e-4, 1e-3, 5e-3)
RECIPE = gm.zoo.MODELS["appnp"].default_training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows are kept")
    path = parser.parse_args().json
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {(row["dataset"], row["weight_decay"], row["seed"]) for row in rows}
    for dataset in PROTOCOL.datasets:
        data = gm.datasets.load(dataset)
        for decay in DECAYS:
            for seed in range(PROTOCOL.seeds):
                if (dataset, decay, seed) in done:
                    continue
                training = replace(RECIPE, weight_decay=decay)
                trained = gm.zoo.train("appnp", data, seed=seed, training=training, progress=False)
                rows.append({"dataset": dataset, "weight_decay": decay, "seed": seed})
                rows[-1] |= {"accuracy": trained.accuracy, "environment": provenance(data)}
                write_json(path, {"rows": rows})
    for decay in DECAYS:
        print(f"{decay:g}: {100 * validation(rows, decay):.1f} % on average")


def validation(rows: list[dict], decay: float) -> float:
    return statistics.fmean(row["accuracy"]["val"] for row in rows if row["weight_decay"] == decay)


if __name__ == "__main__":
    main()
