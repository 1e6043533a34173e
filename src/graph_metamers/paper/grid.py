"""What is run: the options of all tables and figures, and the jobs they become."""

import csv
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from graph_metamers.jobs import Job, Row

PLACE = files("graph_metamers.paper")
DATA: dict[str, Any] = tomllib.loads((PLACE / "items.toml").read_text(encoding="utf-8"))
TASKS = "graph_metamers.paper.tasks"
# Of each setting: raise it with every change of tasks, zoo or searches that changes a figure.
PROTOCOL = {"paper": 2, "auto": 5}
DATASETS: tuple[str, ...] = tuple(DATA["values"]["datasets"])
MODELS: tuple[str, ...] = tuple(DATA["values"]["models"])


@dataclass(frozen=True)
class Options:
    """What a user may narrow or change; None stands for all that the item itself has."""

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    seeds: int = 3  # runs of each cell: models trained anew and other random starts
    search: str = "paper"  # or "auto"; see `tasks.configured`
    device: str = "cpu"

    @property
    def equal(self) -> bool:
        """Whether searches end at one activation error, and cells are compared at that alone."""
        return self.search != "paper"


def search_job(
    options: Options,
    dataset: str,
    model: str,
    seed: int,
    *,
    layer: str = "layer1",
    vary: str = "features",
    **zoo_options: Any,
) -> Job:
    """The job of one search; equal for all items that need the same.

    Of what is shown as a picture the metamers of seed 0 are kept.
    """
    pictured = [DATA[name]["axes"] for name in DATA["pictured"]]
    keep = "depth" in zoo_options and seed == 0
    keep = keep and any(dataset in axes["dataset"] and model in axes["model"] for axes in pictured)
    asked = {"dataset": dataset, "model": model, "options": model_options(model, **zoo_options)}
    return _job("search_rows", options, seed, layer=layer, vary=vary, keep=keep, **asked)


def transfer_job(options: Options, dataset: str, source: str, target: str, seed: int) -> Job:
    """The job that shows one model's metamer to another."""
    models = {"source": source, "target": target}
    asked = models | {f"{role}_options": model_options(name) for role, name in models.items()}
    return _job("transfer_rows", options, seed, dataset=dataset, **asked)


def _job(task: str, options: Options, seed: int, /, **asked: Any) -> Job:
    asked |= {"search": options.search, "device": options.device, "steps": None}
    return Job.of(f"{TASKS}:{task}", seed=seed, protocol=PROTOCOL[options.search], **asked)


def model_options(model: str, **changed: Any) -> dict[str, Any]:
    """All options of a model that the paper changes, so that a job says them whatever is usual.

    >>> model_options("gat", depth=4)
    {'activation': 'relu', 'adversarial': False, 'depth': 4, 'hidden': 128, 'residual': False}
    """
    usual = {"activation": "relu", "adversarial": False, "depth": 2}
    usual |= {"hidden": DATA["widths"][model], "residual": model == "graphormer"}
    return usual | changed


def reported(table: str) -> dict[tuple[str, str], Row]:
    """The paper's own figures in shares, as far as it gives them as numbers: "table1", "table2".

    Table 1 is by dataset and model; Table 2 by the model whose metamers are trained on ("original"
    for the graph itself) and the model that is trained.

    >>> reported("table1")["cora", "gcn"]["feature_similarity"]
    0.114
    >>> reported("table2")["gat", "graphsage"]["accuracy"]
    0.7114
    """
    with (PLACE / f"{table}.csv").open(encoding="utf-8") as file:
        names, *lines = csv.reader(file)
    return {
        (first.removesuffix(" metamers").lower(), second.lower()): {
            name: round(float(value) / 100, 6)
            for name, value in zip(names[2:], values, strict=True)
        }
        for first, second, *values in lines
    }
