"""Structure metamers side by side, and how time and memory grow.

    python benchmarks/structure.py --json benchmarks/results/structure.json \
        --picture docs/structure.png

1. One model and layer (GCN, Cora, layer 1), as many steps for each as a trial of a few lets
   expect in as many seconds: the paper's dense relaxation, PyG's PRBCD with the activation
   error as its loss, and `EdgeSwap`. PRBCD starts at a random graph with as many edges,
   may flip twice that many, need not keep their number, and has a third of the time for each of
   three learning rates, of which the best counts; its error is that of the discrete graph that it
   returns.
2. PubMed: memory and time of `EdgeSwap`.
3. Random graphs of three sizes up to 200,000 nodes and 2 million edges: a step's time and memory.

Memory is the peak of the process above that before the search (`ru_maxrss`, each in a process of
its own).
"""

import argparse
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch_geometric.contrib.nn import PRBCDAttack
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.environment import environment
from graph_metamers.inputs import Inputs
from graph_metamers.measure import prediction_match
from graph_metamers.measure.agreement import activation_error
from graph_metamers.measure.structure import edge_overlap
from graph_metamers.options import command_line

FIXED = gm.Edges(degrees="fixed", keep=0.01)
METHODS: dict[str, tuple[gm.Edges, type[gm.Adam | gm.EdgeSwap], dict[str, Any]]] = {
    "paper (dense Adam)": (gm.Edges(), gm.Adam, {"patience": None}),
    "dense Adam, lr 0.05": (gm.Edges(), gm.Adam, {"patience": None, "lr": 0.05}),
    "EdgeSwap": (gm.Edges(), gm.EdgeSwap, {"patience": None}),
    "EdgeSwap, same degrees, at most 1 % kept": (FIXED, gm.EdgeSwap, {"patience": None}),
}
SIZES = ((50_000, 500_000), (100_000, 1_000_000), (200_000, 2_000_000))


def compare(seconds: float) -> list[dict[str, Any]]:
    data = gm.datasets.load("cora")
    model = gm.zoo.train("gcn", data).model
    rows = [prbcd(model, data, seconds)]
    for method, (vary, search, options) in METHODS.items():
        trial = gm.metamer(model, data, "layer1", vary=vary, search=search(steps=10, **options))
        steps = max(10, round(seconds / (trial.seconds / 10)))
        m = gm.metamer(model, data, "layer1", vary=vary, search=search(steps=steps, **options))
        every = max(1, len(m.history) // 100)
        least = [min(m.history[: place + 1]) for place in range(0, len(m.history), every)]
        a_step = m.seconds / max(1, m.steps)
        trace = [[round(place * every * a_step, 3), error] for place, error in enumerate(least)]
        rows.append({"method": method, "steps": steps, **m.row(), "trace": trace})
        print(*(rows[-1][key] for key in SHOWN), flush=True)
    return rows


SHOWN = ("method", "activation_error", "seconds", "edges_kept", "prediction_match")


def prbcd(model: nn.Module, data: Data, seconds: float) -> dict[str, Any]:
    """PyG's attack, turned into a search for the graph with the least activation error."""
    edges = data.edge_index.shape[1] // 2
    generator = torch.Generator().manual_seed(0)
    start = gm.Edges().random(Inputs.of(data), "edge_index", generator)["edge_index"]
    with torch.no_grad():
        target = model.layer1(data.x, data.edge_index)
        read = data.x @ model.layer1.conv.lin.weight.T  # as ours: the features multiplied once

    class Layer(nn.Module):
        def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
            conv = model.layer1.conv
            kept, conv.lin = conv.lin, nn.Identity()
            try:
                return conv(read, edge_index, edge_weight).relu()
            finally:
                conv.lin = kept

    def closeness(h: Tensor, *_: Any) -> Tensor:
        return -(h - target).square().sum() / target.square().sum()

    best: dict[str, Any] = {"activation_error": float("inf")}
    trace: list[list[float]] = []
    torch.manual_seed(0)
    began = time.perf_counter()
    for lr in (10.0, 100.0, 1000.0):
        attack = PRBCDAttack(
            Layer(), block_size=20 * edges, epochs=5, epochs_resampling=4, loss=closeness,
            lr=lr, log=False,
        )  # fmt: skip
        spent: list[float] = []
        for epochs in (5, 15):
            attack.epochs = attack.epochs_resampling = epochs
            first = time.perf_counter()
            attack.attack(data.x, start, target, 2 * edges)
            spent.append(time.perf_counter() - first)
        an_epoch = (spent[1] - spent[0]) / 10
        attack.epochs = max(10, round((seconds / 3 - spent[0]) / an_epoch) + 5)
        attack.epochs_resampling = round(0.8 * attack.epochs)
        began += sum(spent)  # they are not counted
        found, _ = attack.attack(data.x, start, target, 2 * edges)
        with torch.no_grad():
            error = activation_error(target, model.layer1(data.x, found))
        if error < best["activation_error"]:
            overlap = edge_overlap(data.edge_index, found, data.num_nodes)
            best = {"activation_error": error, "edges": found.shape[1] // 2, **overlap, "lr": lr}
            with torch.no_grad():
                outputs = (model(data.x, e) for e in (data.edge_index, found))
                best["prediction_match"] = prediction_match(*outputs)
        trace.append([round(time.perf_counter() - began, 3), best["activation_error"]])
    row = {"method": "PRBCD (PyG)", "seconds": time.perf_counter() - began, **best, "trace": trace}
    print(*(row[key] for key in SHOWN), flush=True)
    return row


def large(case: dict[str, Any]) -> dict[str, Any]:
    """One search in a process of its own: its time a step and its memory."""
    if "dataset" in case:
        data = gm.datasets.load(case["dataset"])
        model: nn.Module = gm.zoo.train("gcn", data).model
    else:
        data = random_graph(case["nodes"], case["edges"])
        model = gm.zoo.GCN(data.num_features, 5)
    before = _peak()
    search = gm.EdgeSwap(steps=case["steps"], patience=None)
    m = gm.metamer(model, data, "layer1", vary=gm.Edges(degrees="fixed"), search=search)
    row = case | {"search": m.search, "activation_error": m.activation_error}
    row |= {"start_activation_error": m.history[0]}
    row |= {"prediction_match": m.scores["prediction_match"]}
    row |= {"edges_kept": m.scores["edges_kept"], "seconds": m.seconds}
    row |= {"seconds_per_step": m.seconds / m.steps, "memory_gib": (_peak() - before) / 2**30}
    print(row, flush=True)
    return row


def random_graph(nodes: int, edges: int, features: int = 32) -> Data:
    """An undirected random graph with binary features."""
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randint(nodes, (2, edges + edges // 50), generator=generator)
    keys = (torch.minimum(u, v) * nodes + torch.maximum(u, v))[u != v].unique()
    keys = keys[torch.randperm(len(keys), generator=generator)[:edges]]
    pairs = torch.stack([keys // nodes, keys % nodes])
    x = (torch.rand(nodes, features, generator=generator) < 0.1).float()
    return Data(x=x, edge_index=torch.cat([pairs, pairs.flip(0)], dim=1))


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7.6, 3.6), layout="constrained")
    for row in rows:
        seconds, errors = zip(*(point for point in row["trace"] if point[0] > 0), strict=True)
        axes.plot(seconds, errors, label=row["method"], marker="o" if len(errors) < 5 else None)
    axes.set(xscale="log", yscale="log", xlabel="seconds", ylabel="least activation error so far")
    axes.set_title("Other edges: GCN on Cora, layer 1", fontsize=10)
    figure.legend(fontsize=8, loc="outside right upper")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=45.0, help="of each method")
    parser.add_argument("--steps", type=int, default=60, help="of the search on PubMed")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    cases = [{"dataset": "pubmed", "steps": arguments.steps}]
    cases += [{"nodes": n, "edges": e, "steps": 3} for n, e in SIZES]
    grown: list[dict[str, Any]] = []
    for case in cases:  # a fresh process each: the peak of memory never falls
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown += pool.map(large, [case])
    rows = compare(arguments.seconds)
    result = {"rows": rows, "large": grown}
    result |= {"environment": environment("cpu") | {"command": command_line()}}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.picture:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
