"""What is run: the options of all tables and figures, and the jobs they become."""

import csv
import inspect
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from graph_metamers import zoo
from graph_metamers.jobs import Job, Row

DATA: dict[str, Any] = tomllib.loads(
    (files("graph_metamers.paper") / "items.toml").read_text(encoding="utf-8")
)
TASKS = "graph_metamers.paper.tasks"
# Of each setting: raise it with every change of tasks, zoo or searches that changes a figure.
PROTOCOL = {"paper": 2, "auto": 5}
DATASETS = ("cora", "citeseer", "pubmed", "squirrel", "chameleon")
HETEROPHILIC = ("squirrel", "chameleon")
PLAIN = ("gcn", "chebnet", "graphsage", "gin")  # without attention
MODELS = (*PLAIN, "gat", "graphormer")
# Units of a layer, which the paper does not give: of the widths that were tried, the nearest to
# Table 1 (docs/reproduction.md). GAT's are those of its eight heads together.
WIDTH, WIDTHS = 32, {"gat": 128, "graphormer": 128}
LAYERS = ("layer1", "layer2", "layer3")  # where layers of one model of four are compared
PICTURED = (("cora", "gcn"), ("pubmed", "gat"))  # in Figs. 4 and 9, which show metamers themselves


@dataclass(frozen=True)
class Options:
    """What a user may narrow or change; None stands for what the item itself does."""

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    seeds: int = 3  # runs of each cell: models trained anew and other random starts
    steps: int | None = None  # of each search
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
    keep = "depth" in zoo_options and seed == 0 and (dataset, model) in PICTURED
    asked = {"dataset": dataset, "model": model, "options": model_options(model, **zoo_options)}
    return _job("search_rows", options, seed, layer=layer, vary=vary, keep=keep, **asked)


def transfer_job(options: Options, dataset: str, source: str, target: str, seed: int) -> Job:
    """The job that shows one model's metamer to another."""
    models = {"source": source, "target": target}
    asked = models | {f"{role}_options": model_options(name) for role, name in models.items()}
    return _job("transfer_rows", options, seed, dataset=dataset, **asked)


def _job(task: str, options: Options, seed: int, /, **asked: Any) -> Job:
    setting = {name: getattr(options, name) for name in ("search", "steps", "device")}
    protocol = PROTOCOL[options.search]
    return Job.of(f"{TASKS}:{task}", seed=seed, protocol=protocol, **setting, **asked)


def model_options(model: str, **changed: Any) -> dict[str, Any]:
    """All options of a model that the paper changes, so that a job says them whatever is usual.

    >>> model_options("gat", depth=4)
    {'activation': 'relu', 'adversarial': False, 'depth': 4, 'hidden': 128, 'residual': False}
    """
    own: dict[str, Any] = {}
    for kind in reversed(zoo.MODELS[model].__mro__):
        own |= {p.name: p.default for p in inspect.signature(kind.__init__).parameters.values()}
    usual = {name: own[name] for name in ("activation", "depth", "residual")}
    whole = usual | {"adversarial": False, "hidden": WIDTHS.get(model, WIDTH)} | changed
    return dict(sorted(whole.items()))


def reported(table: str) -> dict[tuple[str, str], Row]:
    """The paper's own figures in shares, as far as it gives them as numbers: "table1", "table2".

    Table 1 is by dataset and model; Table 2 by the model whose metamers are trained on ("original"
    for the graph itself) and the model that is trained.

    >>> reported("table1")["cora", "gcn"]["feature_similarity"]
    0.114
    >>> reported("table2")["gat", "graphsage"]["accuracy"]
    0.7114
    """
    with (files("graph_metamers.paper") / f"{table}.csv").open(encoding="utf-8") as file:
        names, *lines = csv.reader(file)
    return {
        (first.removesuffix(" metamers").lower(), second.lower()): {
            name: round(float(value) / 100, 6)
            for name, value in zip(names[2:], values, strict=True)
        }
        for first, second, *values in lines
    }
