"""The Python that makes an audit again, ready to paste."""

import re
from typing import Any

from graph_metamers import datasets, zoo
from graph_metamers.zoo.recipes import RECIPES


def snippet(question: dict[str, Any]) -> str:
    """An audit as Python, as far as its settings say it."""
    layers = [part.split(" + ") if " + " in part else part for part in question["layers"]]
    ways = ", ".join(_way(way) for way in question["vary"])
    seeds = question["seeds"]
    seeds = len(seeds) if seeds == list(range(len(seeds))) else seeds
    return (
        f"import graph_metamers as gm\n\n{_made(question['model'], question['dataset'])}\n"
        "report = gm.audit(\n    model,\n    data,\n"
        f"    layers={layers!r},\n    vary=[{ways}],\n"
        f"    search={_constructor(question['search'])},\n"
        f"    seeds={seeds!r},\n    tol={question['tol']!r},\n    task={question['task']!r},\n"
        f"    dataset={question['dataset']!r},\n    name={question['model']!r},\n"
        ')\ngm.write_report(report, "report.html")\n'
    )


def _made(model: str, dataset: str) -> str:
    """How graph and model are had: by name where they have one.

    >>> print(_made("hgt", "hetero_csbm"))
    data = gm.datasets.load('hetero_csbm')
    trained, data = gm.zoo.train_recipe('hgt', data)
    model = trained.model
    """
    name, _, undirected = dataset.partition(", ")
    if name in datasets.NAMES and undirected in ("", "undirected"):
        loaded = f"data = gm.datasets.load({name!r}{', undirected=True' * bool(undirected)})\n"
        if model in RECIPES and RECIPES[model].dataset == name:
            recipe = f"trained, data = gm.zoo.train_recipe({model!r}, data)\n"
            return f"{loaded}{recipe}model = trained.model"
        if model in zoo.MODELS:
            return f"{loaded}model = gm.zoo.train({model!r}, data).model"
    return "model, data = ...  # yours, with the digests below"


def _way(way: dict[str, str]) -> str:
    """What varies, by name.

    >>> _way({"x": "BinaryFeatures"})
    "{'x': gm.BinaryFeatures()}"
    """
    parts = (f"{at!r}: {_constructor(setting)}" for at, setting in way.items())
    return f"{{{', '.join(parts)}}}"


def _constructor(setting: str) -> str:
    """`gm.Adam(steps=200)` for "Adam(steps=200)"; a class of the user's own stays as it is.

    >>> _constructor("Adam"), _constructor("Mine(x=1)")
    ('gm.Adam()', 'Mine(x=1)')
    """
    import graph_metamers

    call = setting if "(" in setting else f"{setting}()"
    return re.sub(
        r"\b([A-Z]\w*)(?=\()",
        lambda name: f"gm.{name[0]}" if name[0] in graph_metamers.__all__ else name[0],
        call,
    )
