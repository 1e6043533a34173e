"""How long until a metamer is found: the paper's loop, plenoptic, our Adam and search="auto".

    python benchmarks/search.py --json benchmarks/results/search.json --picture docs/search.png

For each model and dataset, in one process and from the same random features at the first layer:

- the paper's loop written down plainly walks `--limit` seconds, or to the end of its 1000 steps.
  Where it was stopped, its time for all steps is that of its median step, and the error at which
  it ends that of our Adam, which walks the same path (`path_difference` says how nearly);
- search="auto", plenoptic's `Metamer` (continuous features only, extra `bench`) and our Adam are
  timed until they reach that error, plenoptic for at most 20 seconds.

Times include the start and, for ours, finding the maps through which the layer reads; "auto" is
the median of three starts. Pairs that the JSON holds already are not run again.
"""

import argparse
import contextlib
import io
import itertools
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.environment import environment
from graph_metamers.options import command_line
from graph_metamers.pose import opened, pose
from graph_metamers.search import Search
from graph_metamers.vary.features import random_features

Trace = list[tuple[float, float]]  # seconds, activation error
MODELS = ("gcn", "chebnet", "graphsage", "gin", "gat")
DATASETS = ("cora", "citeseer", "pubmed")
LR = 5e-4
STYLES = {"literal": "-", "plenoptic": "--", "adam": "-.", "auto": "-"}


class Enough(Exception):
    """The time is over, or the error is reached."""


def literal(model: nn.Module, data: Data, *, seed: int, steps: int, limit: float) -> Trace:
    """The paper's Eqs. 5–9 written down plainly."""
    began, trace = _now(), Trace()
    x = data.x
    soft = random_features(x, torch.Generator().manual_seed(seed)).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=LR)
    binary = bool(((x == 0) | (x == 1)).all())
    ones = int(x.sum())
    with torch.no_grad():
        h = model.layer1(x, data.edge_index)
    for step in range(steps + 1):
        if binary:
            p = torch.sigmoid(soft)
            hard = torch.zeros_like(p)
            hard.view(-1)[p.view(-1).topk(ones).indices] = 1
            features = p + (hard - p).detach()
        else:
            features = torch.relu(soft)
        activation = model.layer1(features, data.edge_index)
        loss = (activation - h).square().sum() / h.square().sum()
        trace.append((_now() - began, loss.item()))
        if trace[-1][0] > limit:
            break
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return trace


def plenoptic(model: nn.Module, data: Data, *, seed: int, goal: float, limit: float) -> Trace:
    """plenoptic's `Metamer` at the same learning rate, negative features penalised."""
    import plenoptic as po

    class Layer(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return model.layer1(image[0, 0], data.edge_index)[None, None]

    began, trace = _now(), Trace()
    reference = data.x[None, None]
    with torch.no_grad():
        size = model.layer1(data.x, data.edge_index).square().sum()
    start = random_features(data.x, torch.Generator().manual_seed(seed)).relu()[None, None]

    def loss(h: Tensor, target: Tensor) -> Tensor:
        error = (h - target).square().sum() / size
        trace.append((_now() - began, error.item()))
        if trace[-1][1] <= goal or trace[-1][0] > limit:
            raise Enough
        return error

    metamer = po.Metamer(
        reference,
        Layer().eval(),
        loss_function=loss,
        penalty_function=lambda x: x.clamp(max=0).square().sum(),
    )
    trace.clear()
    metamer.setup(initial_image=start, optimizer_kwargs={"lr": LR})
    with contextlib.suppress(Enough), contextlib.redirect_stderr(io.StringIO()):
        metamer.synthesize(max_iter=10**6, stop_criterion=0)
    return trace


def ours(
    model: nn.Module, data: Data, search: Search, *, seed: int, goal: float
) -> tuple[Trace, str]:
    """One of the library's searches, to its own end; its errors as Eq. 5, as the loop's."""
    trace = Trace()
    with opened(model, data, None, None) as open_model:
        problem = pose(open_model, "layer1", tol=1e-30)
        ratio = float(problem.match.errors(torch.ones(1, 1)))  # of the FVU to Eq. 5
        problem.match.tol = max(goal * ratio, 1e-30)
        began = _now()
        chosen = search.choose(problem)
        chosen.run(
            problem,
            torch.Generator().manual_seed(seed),
            watch=lambda step, total, error: trace.append((_now() - began, error / ratio)),
        )
    return trace, type(chosen).__name__


def measure(name: str, dataset: str, device: str, steps: int, limit: float) -> dict[str, Any]:
    data = gm.datasets.load(dataset).to(device)
    model = gm.zoo.train(name, data).model.requires_grad_(False)
    literal(model, data, seed=9, steps=2, limit=limit)  # libraries load, memory is mapped
    ours(model, data, gm.Auto(steps=2), seed=9, goal=0)

    walked = literal(model, data, seed=0, steps=steps, limit=limit)
    path, _ = ours(model, data, gm.Adam(steps=steps, patience=None), seed=0, goal=0)
    difference = max(abs(a - b) / a for (_, a), (_, b) in zip(walked, path, strict=False))
    whole = len(walked) == steps + 1
    a_step = statistics.median(b[0] - a[0] for a, b in itertools.pairwise(walked))
    spent = walked[-1][0] if whole else steps * a_step
    goal = walked[-1][1] if whole else path[-1][1]
    runs = [ours(model, data, gm.Auto(), seed=seed, goal=goal) for seed in (0, 1, 2)]
    traces = {"literal": walked, "adam": path, "auto": runs[0][0]}
    times = [_reached(trace, goal) or math.inf for trace, _ in runs]
    row: dict[str, Any] = {
        "model": name,
        "dataset": dataset,
        "search": runs[0][1],
        "literal_steps": steps,
        "literal_steps_walked": len(walked) - 1,
        "literal_ms_per_step": 1000 * a_step,
        "literal_seconds": spent,
        "literal_error": goal,
        "path_difference": difference,
        "auto_seconds": statistics.median(times),
        "auto_seconds_runs": times,
        "auto_final_error": traces["auto"][-1][1],
        "auto_final_seconds": traces["auto"][-1][0],
        "adam_seconds": path[-1][0],
    }
    row["ratio"] = spent / row["auto_seconds"]
    if row["search"] == "Exact":
        patience = min(20.0, spent)
        with torch.enable_grad():
            traces["plenoptic"] = plenoptic(model, data, seed=0, goal=goal, limit=patience)
        row["plenoptic_seconds"] = _reached(traces["plenoptic"], goal)
        row["plenoptic_error"] = traces["plenoptic"][-1][1]
    row["traces"] = {key: _thinned(trace) for key, trace in traces.items()}
    return row


def _reached(trace: Trace, goal: float) -> float | None:
    return next((seconds for seconds, error in trace if error <= goal), None)


def _thinned(trace: Trace, most: int = 60) -> list[list[float]]:
    every = max(1, len(trace) // most)
    kept = trace[::every] + ([] if (len(trace) - 1) % every == 0 else trace[-1:])
    return [[float(f"{a:.4g}"), float(f"{b:.4g}")] for a, b in kept]


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, grid = plt.subplots(
        len(datasets), len(models), figsize=(3 * len(models), 2.6 * len(datasets)),
        squeeze=False, sharex="row", layout="constrained",
    )  # fmt: skip
    for row in rows:
        axes = grid[datasets.index(row["dataset"])][models.index(row["model"])]
        for place, (key, style) in enumerate(STYLES.items()):
            if key in row["traces"]:
                seconds, errors = zip(*row["traces"][key], strict=True)
                axes.plot(seconds, errors, style, color=f"C{place}", label=key)
        axes.axhline(row["literal_error"], color="0.7", linewidth=0.8)
        axes.set(xscale="log", yscale="log")
        axes.set_title(f"{row['model']}, {row['dataset']}: {row['ratio']:.0f}×", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    for axes in grid[:, 0]:
        axes.set_ylabel("activation error")
    labels: dict[str, Any] = {}
    for axes in grid.flat:
        lines, names = axes.get_legend_handles_labels()
        labels |= dict(zip(names, lines, strict=True))
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS), choices=gm.datasets.NAMES)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--limit", type=float, default=100.0, help="seconds of the paper's loop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, required=True, help="written after every pair")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.json.read_text())["rows"] if arguments.json.exists() else []
    known = {(row["model"], row["dataset"]) for row in rows}
    for pair in itertools.product(arguments.models, arguments.datasets):
        if pair in known:
            continue
        row = measure(*pair, arguments.device, arguments.steps, arguments.limit)
        made = environment(arguments.device) | {"command": command_line()}
        rows.append(row | {"environment": made})
        print(*(f"{k} {v}" for k, v in row.items() if k != "traces"), sep="\n  ", flush=True)
        ratios = [row["ratio"] for row in rows]
        mean = statistics.geometric_mean(ratios)
        result = {"geometric_mean_ratio": mean, "least_ratio": min(ratios), "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.picture:
        draw(rows, arguments.picture)


if __name__ == "__main__":
    main()
