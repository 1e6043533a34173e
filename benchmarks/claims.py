"""The paper's theory beside what the searches find: ranks, collapse and similarity of metamers.

    python benchmarks/claims.py --json benchmarks/results/claims.json

Layer 1 of the paper's six models with ReLU and with ELU, and of three of them at other widths.
All searches of a dataset end at one activation error, since similarities are not comparable
otherwise: on Cora `Swap` stops at 0.01, on PubMed `Exact` reaches rounding. Rows that the JSON
holds already are not made again.

The rank is that of a node's activation in its aggregated features (Eqs. 18–22, mean over all
nodes) where the layer sums features once; of ChebNet in its receptive field, of a few nodes; of
Graphormer, which sees all nodes, none.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

from torch import nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.paper.grid import MODELS
from machine import provenance

SEARCHES: dict[str, gm.Swap | gm.Exact] = {
    "cora": gm.Swap(steps=2000, stop_at_tol=True),
    "pubmed": gm.Exact(),
}
WIDE = ("gcn", "graphsage", "gin")
FIELDS = 20  # nodes whose receptive field is looked at
KEY = ("dataset", "model", "activation", "hidden")
KEPT = ("activation_error", "null_activation_error", "matched", "runs", "feature_similarity")
KEPT += ("start_feature_similarity", "prediction_match", "consistency", "node_match")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=gm.zoo.MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {tuple(row[name] for name in KEY) for row in rows}
    for dataset in arguments.datasets:
        data = gm.datasets.load(dataset)
        for model, activation, hidden in cases(arguments.models):
            if (dataset, model, activation, hidden) in known:
                continue
            width = {} if hidden is None else {"hidden": hidden}
            trained = gm.zoo.train(model, data, activation=activation, **width).model
            row = {"dataset": dataset, "model": model, "activation": activation, "hidden": hidden}
            row |= seen(trained, data, model) | found(trained, data, dataset, arguments.seeds)
            rows.append(row | {"environment": provenance(data)})
            shown = ("rank", "collapsed_share", "activation_error", "feature_similarity", "matched")
            print(dataset, model, activation, hidden, *(row[name] for name in shown), flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def cases(models: list[str]) -> list[tuple[str, str, int | None]]:
    plain = [(model, "relu", None) for model in models]
    wide = [(model, "relu", w) for model, w in itertools.product(WIDE, (32, 64)) if model in models]
    elu = [(model, "elu", None) for model in models if model != "graphormer"]  # ends in none
    return [*plain, *wide, *elu]


def seen(model: nn.Module, data: Data, name: str) -> dict[str, Any]:
    """Ranks and collapse, with the seconds that each took."""
    began = time.perf_counter()
    if name in ("chebnet", "graphormer"):
        # Attention sees all nodes: too many to differentiate in.
        dimension = None
        if name == "chebnet":
            nodes = list(range(FIELDS))
            dimension = gm.metamer_dimension(
                model, data, "layer1", of="receptive_field", nodes=nodes
            )
    else:
        dimension = gm.metamer_dimension(model, data, "layer1", of="node")
    middle = time.perf_counter()
    try:
        volume = gm.activation_volume(model, data, "layer1")
    except gm.InputError:  # Graphormer's layer ends in none
        volume = None
    row: dict[str, Any] = {"dimension_seconds": middle - began}
    row["volume_seconds"] = time.perf_counter() - middle
    if dimension is not None:
        row |= {"of": dimension.of, "total": dimension.total, "dimension": dimension.dimension}
        row |= {"rank": dimension.rank, "effective_rank": dimension.effective_rank}
        row |= {"stable_rank": dimension.stable_rank}
    else:
        row |= {"of": None, "rank": None}
    row["collapsed_share"] = None if volume is None else volume.share
    units = 0 if volume is None else len(volume.node_log_volume)
    row["log_volume_per_node"] = None if volume is None else volume.log_volume / units
    return row


def found(model: nn.Module, data: Data, dataset: str, seeds: int) -> dict[str, Any]:
    audit = gm.audit(
        model, data, layers=["layer1"], search=SEARCHES[dataset], seeds=seeds, progress=False
    )
    (summary,) = audit.summary()
    near = {f"baseline_{row['baseline']}": row["activation_error"] for row in audit.baselines}
    return {"search": summary["search"]} | {name: summary[name] for name in KEPT} | near


if __name__ == "__main__":
    main()
