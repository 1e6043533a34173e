"""Write docs/results.md, reproduction.md and benchmark.md from results.

    python benchmarks/pages.py

The tables stand in the pages' templates, docs/*.md.in. With the pages the sheets and pictures in
results/ and the committed leaderboard are written.
"""

import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from scipy.stats import spearmanr

from graph_metamers import zoo
from graph_metamers.benchmark import PROTOCOL, summarise, write_board
from graph_metamers.jobs import Job, Row, Store
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options, reported
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import (
    SETTINGS,
    Sheet,
    outcomes,
    read_sheets,
    write_page,
    written,
)
from graph_metamers.paper.table import TITLES, Column, cell_text, markdown
from graph_metamers.report.numbers import ABSENT

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks" / "results"
WIDTH = {"gat": 64, "graphormer": 32}  # the zoo's own; 16 for the others
WIDE = ("gcn", "graphsage", "gin")  # shown at several widths


def main() -> None:
    store = Store(ROOT / "results")
    write_sheets(store)
    write_page(ROOT / "results")
    write_board(BENCHMARKS / "leaderboard")
    for name, text in pages(store).items():
        (ROOT / name).write_text(text)


def write_sheets(store: Store) -> None:
    """Make the sheets and pictures anew from all runs that are there."""
    for item in ITEMS.values():
        for search in SETTINGS:
            options = Options(seeds=item.seeds(search), search=search)
            if store.results(item.grid(options)):
                written(item, options, store)


def pages(store: Store) -> dict[str, str]:
    """By its name, each page that is made from results."""
    contexts = {
        "docs/results.md": results_context(),
        "docs/reproduction.md": reproduction_context(store),
        "docs/benchmark.md": board_context(BENCHMARKS / "leaderboard"),
    }
    return {name: template(f"{name}.in", context) for name, context in contexts.items()}


def template(name: str, context: Mapping[str, Any]) -> str:
    """A page, filled in; what is missing is an error."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "fixed": written_by("{:.{}f}".format),
        "percent": written_by(lambda value, digits=1: f"{100 * value:.{digits}f}"),
        "error": written_by(lambda value, digits=1: f"{value:.{digits}e}"),
    }
    return environment.from_string((ROOT / name).read_text()).render(context)


def written_by(way: Callable[..., str]) -> Callable[..., str]:
    """How a number is written; nothing where there is none."""
    return lambda value, *digits: "" if value is None else way(value, *digits)


# docs/results.md


def results_context() -> dict[str, Any]:
    texts = {path.stem: path.read_text() for path in BENCHMARKS.glob("*.json")}
    dates = [day for text in texts.values() for day in re.findall(r'"date": "([0-9-]+)"', text)]
    found = {name: json.loads(text) for name, text in texts.items()}
    return {
        "results": found,
        "datasets": ("cora", "citeseer", "pubmed", "chameleon", "squirrel"),
        "paper": reported("table1"),
        "paper2": reported("table2"),
        "widths": defaultdict(lambda: 16, WIDTH),
        "edges": edge_rows(found["structure_table"]["rows"]),
        "ranks": rank_rows(found["claims"]["rows"]),
        "collapse": collapse_rows(found["claims"]["rows"]),
        "dates": (min(dates), max(dates)),
    }


def edge_rows(rows: list[Row]) -> list[Row]:
    """A row for each dataset, model, layer and number of steps: means over the seeds."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        degrees = "fixed" if "fixed" in row["vary"] else "free"
        key = (row["dataset"], row["model"], row["layers"], degrees, row["steps_asked"])
        groups.setdefault(key, []).append(row)
    names = ("activation_error", "edges_kept", "structure_similarity", "prediction_match")
    return [
        {"key": key, "seeds": len(group)}
        | {
            name: statistics.fmean(row[name] for row in group)
            for each in names
            for name in (each, f"start_{each}")
        }
        for key, group in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def rank_rows(rows: list[Row]) -> list[Row]:
    """Spearman's correlation of the rank with what the searches found, over matched models."""
    kinds = {
        "one per architecture": lambda row: row["hidden"] is None,
        "GCN, GraphSAGE, GIN at three widths": lambda row: row["model"] in WIDE,
    }
    told: list[Row] = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        for name, chosen in kinds.items():
            group = [
                row
                for row in rows
                if chosen(row)
                and (row["dataset"], row["activation"]) == (dataset, "relu")
                and row["matched"] == row["runs"]
                and row["of"] == "node"  # ranks of other maps are not comparable
            ]
            line: Row = {"dataset": dataset, "models": name, "n": len(group)}
            for score in ("feature_similarity", "consistency"):
                found: Any = spearmanr(*([row[key] for row in group] for key in ("rank", score)))
                line[score] = found.statistic
            told.append(line)
    return told


def collapse_rows(rows: list[Row]) -> list[tuple[Row, Row]]:
    """ReLU beside ELU, of each model of its own width whose layer ends in either."""
    known = {
        (row["activation"], row["dataset"], row["model"]): row
        for row in rows
        if row["hidden"] is None and row["collapsed_share"] is not None
    }
    return [
        (row, known["elu", *of])
        for (activation, *of), row in known.items()
        if activation == "relu" and ("elu", *of) in known
    ]


# docs/reproduction.md


def reproduction_context(store: Store) -> dict[str, Any]:
    sheets = {sheet.name: sheet for sheet in read_sheets(ROOT / "results")}
    tried = json.loads((BENCHMARKS / "paper_settings.json").read_text())["rows"]
    return {
        "items": {name: item.data for name, item in ITEMS.items()},
        "sheets": sheets.values(),
        "titles": TITLES,
        "counts": outcomes(list(sheets.values())),
        "coverage": coverage(store),
        "claimed": claimed(sheets.values()),
        "chance": CHANCE,
        "tried": sorted(tried, key=itemgetter("dataset", "model")),
        "far": [r for r in sheets["table1-paper"].rows if r["within"] not in ("yes", None)],
        "pictures": {path.stem for path in (ROOT / "results").glob("*.svg")},
        "markdown": markdown,
    }


def coverage(store: Store) -> list[Row]:
    """How many runs of each grid are there, and which are not."""
    lines: list[Row] = []
    for item in ITEMS.values():
        for search, setting in SETTINGS.items():
            seeds = item.seeds(search)
            jobs = item.grid(Options(seeds=seeds, search=search))
            there = {result.job for result in store.results(jobs)}
            counts = Counter(cell_name(job) for job in jobs if job not in there)
            missing = "; ".join(f"{name} {n}" for name, n in counts.items()) or "none"
            line = {"item": item.data["title"].split(":")[0], "setting": setting, "seeds": seeds}
            lines.append(line | {"there": len(there), "of": len(jobs), "missing": missing})
    return lines


def cell_name(job: Job) -> str:
    """By which a job that is missing is counted: its graph, or the model that sees a metamer."""
    asked = job.arguments
    heavy = "graphormer" in {asked.get(name) for name in ("model", "source", "target")}
    return TITLES["graphormer" if heavy else asked.get("target", asked["dataset"])]


def claimed(sheets: Iterable[Sheet]) -> dict[tuple[str, str], dict[str, str]]:
    """What became of each claim at either setting, empty where it is not asked."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for sheet in sheets:
        for claim in sheet.claims:
            name = sheet.title.split(":")[0], claim.claim
            found.setdefault(name, dict.fromkeys(SETTINGS, ""))[sheet.search] = claim.outcome
    return found


# docs/benchmark.md


def board_context(folder: Path) -> dict[str, Any]:
    """Of the committed leaderboard."""
    results = Store(folder / "runs").results()
    board = [line for line in summarise(results) if line["protocol"] == PROTOCOL.version]
    figures = [line for line in board if not math.isnan(line["invariance"])]
    by_layer = {
        layer: [line for line in board if line["layer"] == layer] for layer in PROTOCOL.layers
    }
    return {
        "protocol": PROTOCOL,
        "titles": TITLES,
        "absent": ABSENT,
        "runs": sum(line["runs"] for line in board),
        "hours": math.fsum(result.seconds for result in results) / 3600,
        "made": {
            name: ", ".join(sorted({str(result.environment[name]) for result in results}))
            for name in ("processor", "torch", "commit")
        },
        "figures": figures,
        "least": min(figures, key=itemgetter("invariance")),
        "high": sum(line["invariance"] >= 0.95 for line in figures),
        "invariance": {name: board_table(each, "invariance") for name, each in by_layer.items()},
        "accuracy": board_table(by_layer["output"], "accuracy"),
    }


def board_table(lines: list[Row], name: str) -> str:
    """Models against graphs, in the order of the zoo and the protocol."""
    rows: dict[str, Row] = {model: {"model": f"`{model}`"} for model in zoo.MODELS}
    for line in lines:
        whole = line["matched"] == line["runs"] == PROTOCOL.seeds or name != "invariance"
        counted = "" if whole else f"{line['matched']} of {line['runs']}"
        text = "" if math.isnan(line[name]) else cell_text(line, Column(name, "", "percent"))
        text = f"{text} ({counted})" if text and counted else text or counted
        rows[line["model"]][line["dataset"]] = text
    graphs = [Column(g, TITLES[g]) for g in PROTOCOL.datasets if any(g in r for r in rows.values())]
    ordered = [row for row in rows.values() if len(row) > 1]
    return markdown(ordered, [Column("model", "Model"), *graphs])


if __name__ == "__main__":
    main()
