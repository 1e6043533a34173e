"""What is run: the options of all tables and figures, and the jobs they become."""

import inspect
from dataclasses import dataclass
from typing import Any

from graph_metamers import zoo
from graph_metamers.jobs import Job

TASKS = "graph_metamers.paper.tasks"
DATASETS = ("cora", "citeseer", "pubmed", "squirrel", "chameleon")
MODELS = ("gcn", "chebnet", "graphsage", "gin", "gat", "graphormer")


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
    """The job of one search; equal for all tables and figures that need the same one."""
    return Job.of(
        f"{TASKS}:search_rows",
        dataset=dataset,
        model=model,
        seed=seed,
        search=options.search,
        options=_changed(model, zoo_options),
        layer=layer,
        vary=vary,
        steps=options.steps,
        device=options.device,
        keep=keep,
    )


def _changed(model: str, zoo_options: dict[str, Any]) -> dict[str, Any]:
    """The options that are not the model's own defaults anyway.

    >>> _changed("gcn", {"hidden": 16, "depth": 4}), _changed("gat", {"hidden": 16})
    ({'depth': 4}, {'hidden': 16})
    """
    defaults = {"adversarial": False}
    for kind in reversed(zoo.MODELS[model].__mro__):
        for name, parameter in inspect.signature(kind.__init__).parameters.items():
            defaults[name] = parameter.default
    return {name: value for name, value in zoo_options.items() if defaults[name] != value}
