"""Feature metamers of the first layer for the paper's models, at its settings.

    python benchmarks/paper_models.py --datasets cora --seeds 3 --json FILE
    python benchmarks/paper_models.py --datasets cora --models gat --hidden 128 --json FILE

One audit for each dataset and model, kept under `--out`, so a run that was stopped goes on where
it was.
"""

import argparse
import json
import resource
from pathlib import Path
from typing import Any

import graph_metamers as gm
from machine import provenance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in gm.datasets.NAMES if name != "csbm"]
    parser.add_argument("--datasets", nargs="+", default=names, choices=names)
    parser.add_argument("--models", nargs="+", default=list(gm.zoo.MODELS), choices=gm.zoo.MODELS)
    parser.add_argument("--hidden", type=int, nargs="+", help="widths to try; each model's own")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("paper_models"))
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()

    rows: list[dict[str, Any]] = []
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
                rows.append({"hidden": hidden, "accuracy": trained.accuracy, "peak_gib": peak})
                rows[-1] |= {"steps": arguments.steps} | summary
                print(audit, flush=True)
    if arguments.json:
        result = {"environment": provenance(data), "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
