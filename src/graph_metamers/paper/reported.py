"""The paper's own figures, as far as it gives them as numbers: Tables 1 and 2."""

import csv
from importlib.resources import files

from graph_metamers.jobs import Row


def table1() -> dict[tuple[str, str], Row]:
    """Table 1 by dataset and model, in shares: `feature_similarity`, `prediction_match`, …

    >>> table1()["cora", "gcn"]["feature_similarity"]
    0.114
    """
    return {
        (row["dataset"].lower(), row["model"].lower()): _shares(row, "dataset", "model")
        for row in _read("table1.csv")
    }


def table2() -> dict[tuple[str, str], Row]:
    """Table 2 by the model whose metamers are trained on and the model that is trained.

    >>> table2()["gat", "graphsage"]["accuracy"]
    0.7114
    """
    return {
        (_source(row["trained_on"]), row["evaluated_model"].lower()): _shares(
            row, "trained_on", "evaluated_model"
        )
        for row in _read("table2.csv")
    }


def _read(name: str) -> list[dict[str, str]]:
    with (files("graph_metamers.paper") / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _shares(row: dict[str, str], *names: str) -> Row:
    return {k: round(float(v) / 100, 6) for k, v in row.items() if k not in names}


def _source(name: str) -> str:
    return name.removesuffix(" metamers").lower()
