"""The share of the nulls in the whole time of metamer(), for Exact, Swap and EdgeSwap.

    python benchmarks/nulls.py --json benchmarks/results/nulls.json

On random graphs of classes with 500 features, at the first layer of an untrained GCN with 16
units, by their processor time. Rows that the JSON holds already are not made again.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import graph_metamers as gm
from graph_metamers.judge import Nulls
from graph_metamers.search import Search
from graph_metamers.vary import Vary
from machine import provenance

FEATURES = 500
CASES: dict[str, tuple[Search, Vary]] = {
    "exact": (gm.Exact(), gm.ContinuousFeatures()),
    "swap": (gm.Swap(), gm.BinaryFeatures()),
    "edge_swap": (gm.EdgeSwap(), gm.Edges()),
}


class Clock:
    """Processor time that the nulls took, and how many there were."""

    def __init__(self) -> None:
        self.seconds, self.drawn = 0.0, 0
        self._plain = Nulls.drawn

    def __enter__(self) -> "Clock":
        def drawn(nulls: Nulls, errors: Tensor) -> Tensor:
            began = time.process_time()
            found = self._plain(nulls, errors)
            self.seconds += time.process_time() - began
            self.drawn = len(found)
            return found

        Nulls.drawn = drawn
        return self

    def __exit__(self, *_: object) -> None:
        Nulls.drawn = self._plain


def measure(name: str, nodes: int) -> dict[str, Any]:
    search, vary = CASES[name]
    data = gm.datasets.csbm(nodes=nodes, features=FEATURES, density=0.02)
    if name == "exact":
        noise = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
        data.x = data.x + 0.1 * noise
    torch.manual_seed(0)
    model = gm.zoo.GCN(FEATURES, 3)
    with Clock() as clock:
        began = time.process_time()
        m = gm.metamer(model, data, "layer1", vary=vary, search=search, progress=False)
        whole = time.process_time() - began
    return {
        "search": name,
        "nodes": nodes,
        "share": clock.seconds / whole,
        "nulls_seconds": clock.seconds,
        "whole_seconds": whole,
        "nulls": clock.drawn,
        "steps": m.steps,
        "outcome": str(m.outcome),
        "environment": provenance(data),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", nargs="+", type=int, default=[1000, 5000, 20_000])
    parser.add_argument("--searches", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--note", default="", help="what else is to be said of the machine")
    parser.add_argument("--json", type=Path, help="write the result here, after every row")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text())["rows"]
    known = {(row["search"], row["nodes"]) for row in rows}
    for name in arguments.searches:
        for nodes in arguments.nodes:
            if (name, nodes) not in known:
                rows.append(measure(name, nodes))
                result = {"note": arguments.note, "rows": rows}
                if arguments.json:
                    arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows:
        print(
            f"{row['search']:>10} {row['nodes']:>7,} nodes: {row['nulls']:>3} nulls, "
            f"{row['nulls_seconds']:7.2f} of {row['whole_seconds']:7.2f} s, {row['share']:4.0%}"
        )


if __name__ == "__main__":
    main()
