"""Does adversarial training lower the loss under the same attack?

    python benchmarks/adversarial.py --json benchmarks/results/adversarial.json

A GCN on Cora, trained plainly and adversarially with the same settings otherwise, three seeds:
cross-entropy of the test nodes on clean features and on features that the attack of the training
perturbed to raise it, and the clean test accuracy.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.zoo import AdversarialTraining, Training
from machine import provenance


def losses(model: nn.Module, data: Data, attack: AdversarialTraining) -> dict[str, float]:
    model.requires_grad_(False)

    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(model(x, data.edge_index)[data.test_mask], data.y[data.test_mask])

    attacked = attack.perturbed(loss, data.x)
    with torch.no_grad():
        return {"clean": loss(data.x).item(), "attacked": loss(attacked).item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="cora", choices=gm.datasets.NAMES)
    parser.add_argument("--model", default="gcn", choices=gm.zoo.MODELS)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    data = gm.datasets.load(arguments.dataset)
    rows: list[dict[str, Any]] = []
    for epsilon in arguments.epsilon:
        attack = AdversarialTraining(epsilon)
        for name, adversarial in {"plain": None, "adversarial": attack}.items():
            training = Training(lr=0.01, epochs=300, patience=50, adversarial=adversarial)
            runs = [
                gm.zoo.train(arguments.model, data, seed=seed, training=training)
                for seed in range(arguments.seeds)
            ]
            measured = [losses(run.model, data, attack) for run in runs]
            rows.append(
                {"training": name, "epsilon": epsilon, "epochs": [len(r.history) for r in runs]}
            )
            for key in ("clean", "attacked"):
                rows[-1][f"{key}_loss"] = statistics.fmean(m[key] for m in measured)
                rows[-1][f"{key}_loss_runs"] = [m[key] for m in measured]
            rows[-1]["test_accuracy"] = statistics.fmean(r.accuracy["test"] for r in runs)
            print(rows[-1], flush=True)
    if arguments.json:
        result = {"dataset": arguments.dataset, "model": arguments.model, "rows": rows}
        result["environment"] = provenance(data)
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
