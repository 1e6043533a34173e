"""One Adam step: the paper's loop as a user would write it, and ours, side by side.

    python benchmarks/adam_step.py --dataset cora

Both walk the same steps from the same random features, in turn for every seed, in one process.
Prints JSON with the median milliseconds a step, their ratio and both activation errors at the
end; `--json FILE` also writes it.
"""

import argparse
import itertools
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.pose import opened, pose
from graph_metamers.vary.features import random_features
from machine import provenance


@dataclass(frozen=True)
class Walk:
    """Milliseconds of every step, and the activation error after the last."""

    milliseconds: list[float]
    error: float


def literal(model: nn.Module, data: Data, *, steps: int, seed: int, lr: float) -> Walk:
    """The paper's Eqs. 5–9 written down plainly."""
    x = data.x
    soft = random_features(x, torch.Generator().manual_seed(seed)).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=lr)
    binary = bool(((x == 0) | (x == 1)).all())
    ones = int(x.sum())
    with torch.no_grad():
        h = model.layer1(x, data.edge_index)

    times = [time.perf_counter()]
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
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        times.append(time.perf_counter())
    return _walk(times, loss.item())


def ours(model: nn.Module, data: Data, *, steps: int, seed: int, lr: float) -> Walk:
    """The library's search, told to walk every step."""
    with opened(model, data, None, None) as open_model:
        problem = pose(open_model, "layer1", tol=1e-2)
        times = [time.perf_counter()]
        solution = gm.Adam(lr=lr, steps=steps, patience=None).run(
            problem,
            torch.Generator().manual_seed(seed),
            watch=lambda done, total, error: times.append(time.perf_counter()),
        )
    # The loop walks on Eq. 5, of which the FVU is a multiple.
    return _walk(times, solution.history[-1] / float(problem.match.errors(torch.ones(1, 1))))


def _walk(times: list[float], error: float) -> Walk:
    # The first step sets up memory and the optimiser; it is not one of many.
    return Walk([1000 * (b - a) for a, b in itertools.pairwise(times)][2:], error)


def measure(dataset: str, *, steps: int, seeds: int, lr: float = 5e-4) -> dict[str, Any]:
    data = gm.datasets.load(dataset)
    model = gm.zoo.train("gcn", data).model.requires_grad_(False)
    walks = [
        (
            literal(model, data, steps=steps, seed=seed, lr=lr),
            ours(model, data, steps=steps, seed=seed, lr=lr),
        )
        for seed in range(seeds)
    ]
    plain, fast = (
        statistics.median(time for walk in walks_of for time in walk.milliseconds)
        for walks_of in zip(*walks, strict=True)
    )
    return {
        "dataset": dataset,
        "model": "gcn, hidden 16, layer1",
        "steps": steps,
        "seeds": seeds,
        "literal_ms_per_step": round(plain, 2),
        "ours_ms_per_step": round(fast, 2),
        "ratio": round(plain / fast, 2),
        "literal_error": [a.error for a, _ in walks],
        "ours_error": [b.error for _, b in walks],
        "largest_relative_difference": max(abs(a.error - b.error) / a.error for a, b in walks),
        "environment": provenance(data),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cora", choices=gm.datasets.NAMES)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result = measure(arguments.dataset, steps=arguments.steps, seeds=arguments.seeds)
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
