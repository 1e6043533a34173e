"""What is run: the options of all tables and figures, and the jobs they become."""

import inspect
from dataclasses import dataclass
from typing import Any

from graph_metamers import zoo
from graph_metamers.jobs import Job

TASKS = "graph_metamers.paper.tasks"
# Of each setting: raise it with every change of tasks, zoo or searches that changes a figure.
PROTOCOL = {"paper": 2, "auto": 5}
TITLES = {
    "cora": "Cora",
    "citeseer": "CiteSeer",
    "pubmed": "PubMed",
    "squirrel": "Squirrel",
    "chameleon": "Chameleon",
    "gcn": "GCN",
    "chebnet": "ChebNet",
    "graphsage": "GraphSAGE",
    "gin": "GIN",
    "gat": "GAT",
    "graphormer": "Graphormer",
}
DATASETS = ("cora", "citeseer", "pubmed", "squirrel", "chameleon")
MODELS = ("gcn", "chebnet", "graphsage", "gin", "gat", "graphormer")
# Units of a layer, which the paper does not give: of the widths that were tried, the nearest to
# Table 1 (docs/reproduction.md). GAT's are those of its eight heads together.
WIDTH, WIDTHS = 32, {"gat": 128, "graphormer": 128}


@dataclass(frozen=True)
class Options:
    """What a user may narrow or change; None stands for what the item itself does.

    Attributes:
        datasets: Names of the graphs.
        models: Names of the zoo's models.
        seeds: Runs of each cell: models trained anew and other random starts, counted from 0.
        steps: Steps of each search.
        search: "paper" or "auto"; see `tasks.configured`.
        device: Where it runs.
    """

    datasets: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    seeds: int = 3
    steps: int | None = None
    search: str = "paper"
    device: str = "cpu"


def chosen(asked: tuple[str, ...] | None, all_: tuple[str, ...]) -> list[str]:
    """Those of an item's datasets or models that the user asks for; all of them by default."""
    return [name for name in all_ if asked is None or name in asked]


def search_job(
    options: Options,
    dataset: str,
    model: str,
    seed: int,
    *,
    layer: str = "layer1",
    vary: str = "features",
    keep: bool = False,
    **zoo_options: Any,
) -> Job:
    """The job of one search; equal for all items that need the same, and its metamer or not."""
    return Job.of(
        f"{TASKS}:search_rows",
        dataset=dataset,
        model=model,
        seed=seed,
        search=options.search,
        options=model_options(model, **zoo_options),
        layer=layer,
        vary=vary,
        steps=options.steps,
        device=options.device,
        keep=keep,
        protocol=PROTOCOL[options.search],
    )


def model_options(model: str, **changed: Any) -> dict[str, Any]:
    """All options of a model that the paper changes, so that a job says them whatever is usual.

    >>> model_options("gat", depth=4)
    {'activation': 'relu', 'adversarial': False, 'depth': 4, 'hidden': 128, 'residual': False}
    """
    own: dict[str, Any] = {}
    for kind in reversed(zoo.MODELS[model].__mro__):
        own |= {p.name: p.default for p in inspect.signature(kind.__init__).parameters.values()}
    usual = {name: own[name] for name in ("activation", "depth", "residual")}
    usual["hidden"] = WIDTHS.get(model, WIDTH)
    whole = {"adversarial": False, **usual, **changed}
    return {name: whole[name] for name in sorted(whole)}
