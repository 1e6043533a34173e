"""Many small graphs in one call, beside one call for each.

    python benchmarks/batches.py --json benchmarks/results/batches.json

500 random graphs of 20 to 40 nodes with 16 binary features, and a GIN of three layers, at the
pooled layer and at a layer of nodes. The single calls are made for a sample of the graphs, in turn
with nothing else, and their time is taken for that of all.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GIN, SumAggregation

import graph_metamers as gm
from machine import provenance

LAYERS = {"pooled": "pool", "nodes": "gin.convs.2"}
VARIES = {"features": None, "edges": gm.Edges()}


class Net(nn.Module):
    """Three layers of GIN, summed up for each graph."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.gin, self.pool, self.head = GIN(features, 32, 3), SumAggregation(), nn.Linear(32, 2)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.head(self.pool(self.gin(x, edge_index), batch))


def graphs(count: int) -> list[Data]:
    generator = torch.Generator().manual_seed(0)
    found: list[Data] = []
    for _ in range(count):
        nodes = int(torch.randint(20, 41, (), generator=generator))
        there = torch.rand(nodes, nodes, generator=generator) < 0.06
        edges = (there | there.T).fill_diagonal_(False).nonzero().T.contiguous()
        x = (torch.rand(nodes, 16, generator=generator) < 0.25).float()
        found.append(Data(x=x, edge_index=edges))
    return found


def measure(layer: str, vary: str, count: int, sample: int) -> dict[str, Any]:
    data = graphs(count)
    torch.manual_seed(0)
    model = Net(16)
    options = {"vary": VARIES[vary], "progress": False}
    gm.metamer(model, data[:3], LAYERS[layer], **options)  # libraries load
    began, spent = time.perf_counter(), time.process_time()
    m = gm.metamer(model, data, LAYERS[layer], **options)
    together, of_processor = time.perf_counter() - began, time.process_time() - spent
    began, spent = time.perf_counter(), time.process_time()
    # A graph alone has one row at the pooled layer: others say what its spread is.
    others = [Batch.from_data_list([g]) for g in data[-9:]] if layer == "pooled" else []
    for one in data[:sample]:
        gm.metamer(model, Batch.from_data_list([one]), LAYERS[layer], null_graphs=others, **options)
    each, each_processor = (time.perf_counter() - began), (time.process_time() - spent)
    return {
        "layer": layer,
        "vary": vary,
        "graphs": count,
        "search": m.search,
        "matched": m.share_matched,
        "fvu": m.fvu,
        "together_seconds": together,
        "singly_seconds": each / sample * count,
        "ratio": each / sample * count / together,
        "processor_ratio": each_processor / sample * count / of_processor,
        "sample": sample,
        "threads": torch.get_num_threads(),
        "environment": provenance(data[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--vary", nargs="+", default=["features"], choices=VARIES)
    parser.add_argument("--graphs", type=int, default=500)
    parser.add_argument("--sample", type=int, default=15, help="graphs with a call of their own")
    parser.add_argument("--note", default="", help="what else is to be said of the machine")
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for vary in arguments.vary:
        for layer in arguments.layers:
            row = measure(layer, vary, arguments.graphs, arguments.sample)
            rows.append(row)
            print(
                f"{row['graphs']} graphs, {layer} layer, {vary}: {row['together_seconds']:.1f} s "
                f"together, {row['singly_seconds']:.0f} s singly, {row['ratio']:.1f}×; "
                f"{row['matched']:.0%} matched",
                flush=True,
            )
            if arguments.json:
                result = {"note": arguments.note, "rows": rows}
                arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
