"""What the paper leaves open: widths, training epochs and T, and how near each comes to Table 1.

    python benchmarks/paper_settings.py --json benchmarks/results/paper_settings.json

One seed each, the model's first layer, the paper's search. What the JSON holds is not run again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import graph_metamers as gm
from graph_metamers.paper.grid import model_options
from graph_metamers.paper.reported import table1
from graph_metamers.paper.tasks import TOL, configured, trained_model
from graph_metamers.storage import write_json
from machine import provenance

SCORES = ("feature_similarity", "prediction_match")
CASE = ("dataset", "model", "units", "epochs", "steps")
# None epochs: early stopping, the best epoch's weights
CASES = [
    *[("chameleon", "gcn", 32, epochs, 1000) for epochs in (None, 200, 500, 1000)],
    *[("chameleon", "gcn", units, 500, 1000) for units in (16, 64)],
    ("chameleon", "gcn", 32, 500, 2000),
    *[("chameleon", "gin", 32, epochs, 1000) for epochs in (None, 200, 500)],
    *[("chameleon", model, 64, 500, 1000) for model in ("gin", "chebnet")],
    *[("cora", "gcn", 32, epochs, 1000) for epochs in (None, 200, 500)],
    *[("cora", "gcn", units, 500, 1000) for units in (16, 64)],
    *[("cora", "gat", units, 500, 1000) for units in (64, 128)],
    *[("chameleon", "gat", units, 500, 1000) for units in (64, 128, 256)],
    *[(dataset, "gat", 256, 500, 1000) for dataset in ("pubmed", "squirrel")],
    *[("pubmed", "gcn", 32, epochs, 1000) for epochs in (None, 500)],
    *[("pubmed", "gcn", units, 500, 1000) for units in (16, 64)],
    ("pubmed", "gcn", 32, 500, 2000),
    *[("squirrel", "gcn", 32, epochs, 1000) for epochs in (None, 500)],
    ("squirrel", "gcn", 64, 500, 1000),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows are kept")
    path = parser.parse_args().json
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    done = {tuple(row[name] for name in CASE) for row in rows}
    for case in CASES:
        if case in done:
            continue
        rows.append(dict(zip(CASE, case, strict=True)) | found(*case))
        write_json(path, {"rows": rows})
        print(rows[-1], flush=True)


def found(dataset: str, model: str, units: int, epochs: int | None, steps: int) -> dict[str, Any]:
    data = gm.datasets.load(dataset)
    trained = trained_model(model, data, 0, model_options(model, hidden=units), epochs=epochs)
    m = gm.metamer(trained.model, data, "layer1", search=configured("paper", steps), tol=TOL)
    reported = table1()[dataset, model]
    row: dict[str, Any] = {"accuracy": trained.accuracy, "activation_error": m.activation_error}
    row |= {name: m.scores[name] for name in SCORES}
    row |= {f"paper_{name}": reported[name] for name in SCORES}
    return row | {"environment": provenance(data)}


if __name__ == "__main__":
    main()
