"""The Python that makes an audit again, ready to paste."""

import re
from typing import Any

from graph_metamers import datasets, zoo


def snippet(question: dict[str, Any]) -> str:
    """An audit as Python, as far as its settings say it."""
    layers = [part.split(" + ") if " + " in part else part for part in question["layers"]]
    ways = ", ".join(
        "{" + ", ".join(f"{at!r}: {_constructor(setting)}" for at, setting in way.items()) + "}"
        for way in question["vary"]
    )
    seeds = question["seeds"]
    settings = {
        "layers": repr(layers),
        "vary": f"[{ways}]",
        "search": _constructor(question["search"]),
        "seeds": repr(len(seeds) if seeds == list(range(len(seeds))) else seeds),
        **{name: repr(question[name]) for name in ("tol", "task", "dataset")},
        "name": repr(question["model"]),
    }
    given = "".join(f"    {name}={value},\n" for name, value in settings.items())
    return (
        f"import graph_metamers as gm\n\n{_made(question['model'], question['dataset'])}\n"
        f"report = gm.audit(\n    model,\n    data,\n{given})\n"
        'gm.write_report(report, "report.html")\n'
    )


def _made(model: str, dataset: str) -> str:
    """How graph and model are had: by name where they have one."""
    name, _, undirected = dataset.partition(", ")
    recipe = zoo.RECIPES.get(model)
    by_recipe = recipe is not None and recipe.dataset == name
    if name not in datasets.NAMES or not (by_recipe or model in zoo.MODELS):
        return "model, data = ...  # yours, with the digests below"
    loaded = f"data = gm.datasets.load({name!r}{', undirected=True' * bool(undirected)})\n"
    if by_recipe:
        trained = f"trained, data = gm.zoo.train_recipe({model!r}, data)\n"
        return f"{loaded}{trained}model = trained.model"
    return f"{loaded}model = gm.zoo.train({model!r}, data).model"


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
