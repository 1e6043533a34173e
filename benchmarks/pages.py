"""Write docs/results.md, reproduction.md and benchmark.md, and the README's figures, from results.

    python benchmarks/pages.py

The tables of results.md stand in its template, docs/results.md.in. With the pages the sheets and
pictures in results/ are written, and the costs that `graph-metamers paper list` tells.
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
from graph_metamers.benchmark import PROTOCOL, read_board
from graph_metamers.jobs import Job, Row, Store
from graph_metamers.measure.agreement import consistency
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options, reported
from graph_metamers.paper.items import ITEMS, NEAR, Item
from graph_metamers.paper.produce import (
    SETTINGS,
    Sheet,
    outcomes,
    read_sheets,
    whole_command,
    write_page,
    written,
)
from graph_metamers.paper.table import TITLES, Column, markdown
from graph_metamers.report.numbers import ABSENT
from graph_metamers.storage import read_json

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks" / "results"
SEEDS = {"paper": 1, "auto": 3} | {"table1-paper": 3, "table1-auto": 5}
# The commits of runs from before `Swap` looked closer where it stalls
COARSE = {"073f443", "2f03f41", "8800cfb", "a2eb349", "b1848ef"}
WIDTH = {"gat": 64, "graphormer": 32}  # the zoo's own; 16 for the others
WIDE = ("gcn", "graphsage", "gin")  # shown at several widths


def main() -> None:
    store = Store(ROOT / "results")
    write_sheets(store)
    write_page(ROOT / "results")
    for name, text in pages(store).items():
        (ROOT / name).write_text(text)
    costs = ROOT / "src" / "graph_metamers" / "paper" / "costs.json"
    costs.write_text(json.dumps(hours(store), indent=1) + "\n")


def pages(store: Store) -> dict[str, str]:
    """By its name, each page that is made from results."""
    results = results_context()
    return {
        "docs/results.md": template("results.md.in", results),
        "docs/reproduction.md": template("reproduction.md.in", reproduction_context(store)),
        "docs/benchmark.md": template("benchmark.md.in", board_context(BENCHMARKS / "leaderboard")),
        "README.md": filled((ROOT / "README.md").read_text(), results),
    }


def template(name: str, context: Mapping[str, Any]) -> str:
    """A page of docs/, filled in; what is missing is an error."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {
        "fixed": written_by("{:.{}f}".format),
        "percent": written_by(lambda value, digits=1: f"{100 * value:.{digits}f}"),
        "error": written_by(lambda value, digits=1: f"{value:.{digits}e}"),
    }
    return environment.from_string((ROOT / "docs" / name).read_text()).render(context)


def written_by(way: Callable[..., str]) -> Callable[..., str]:
    """How a number is written; nothing where there is none."""
    return lambda value, *digits: "" if value is None else way(value, *digits)


# docs/results.md and the README


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


def filled(readme: str, context: Mapping[str, Any]) -> str:
    """The README with its figures: the audits of the GCN, and its farthest metamers."""
    audits = {name: context["results"][f"gcn_{name}"]["summary"][0] for name in context["datasets"]}
    head, errors = "| Graph | Matched | Activation error | S_feat | S_match |", "activation_error"
    lines = [head, "|---" * 5 + "|"]
    for name, s in audits.items():
        scores = ("feature_similarity", "prediction_match")
        beside = (f"{100 * s[k]:.1f} ({100 * s[f'start_{k}']:.1f})" for k in scores)
        cells = (name, f"{s['matched']} of {s['runs']}", f"{s[errors]:.1e}", *beside)
        lines.append(f"| {' | '.join(cells)} |")
    readme = replaced(re.escape(head) + r"\n(\|.*\n)+", "\n".join(lines) + "\n", readme)
    cora, pubmed = (
        context["results"][f"farthest_gcn_{name}"]["summary"][0] for name in ("cora", "pubmed")
    )
    similarity = max(s["feature_similarity"] for s in (cora, pubmed))
    told = (
        f"S_feat {100 * similarity:.1f} at a prediction match of "
        f"{100 * cora['prediction_match']:.1f} % on Cora (activation error {cora[errors]:.1e}) and "
        f"of {100 * pubmed['prediction_match']:.1f} % on PubMed ({pubmed[errors]:.1e}"
    )
    return replaced(r"(?<=for: )S_feat .* on Cora .* on PubMed \([^,]*", told, readme)


def replaced(pattern: str, told: str, text: str) -> str:
    found, count = re.subn(pattern, told, text)
    if count != 1:
        raise ValueError(f"The README must have '{pattern}' once; it has it {count} times.")
    return found


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
        (row["dataset"], row["model"], row["activation"]): row
        for row in rows
        if row["hidden"] is None and row["collapsed_share"] is not None
    }
    pairs = (
        (row, known.get((dataset, model, "elu")))
        for (dataset, model, activation), row in known.items()
        if activation == "relu"
    )
    return [(row, other) for row, other in pairs if other is not None]


# docs/reproduction.md


def reproduction_context(store: Store) -> dict[str, Any]:
    sheets = {sheet.name: sheet for sheet in read_sheets(ROOT / "results")}
    tried = read_json(BENCHMARKS / "paper_settings.json")["rows"]
    apart = processors_apart(store)
    return {
        "items": ITEMS,
        "sheets": sheets.values(),
        "titles": TITLES,
        "counts": outcomes(list(sheets.values())),
        "coverage": coverage(store),
        "claimed": claimed(sheets.values()),
        "coarse": coarse(store),
        "chance": CHANCE,
        "pairs": len(apart),
        "apart": {name: max(each[name] for each in apart) for name in CHANCE},
        "tried": sorted(tried, key=itemgetter("dataset", "model")),
        "widths": widths(sheets["fig7-paper"]),
        "far": [r for r in sheets["table1-paper"].rows if r["within"] not in ("yes", None)],
        "pictures": {path.stem for path in (ROOT / "results").glob("*.svg")},
        "markdown": markdown,
    }


def write_sheets(store: Store) -> None:
    """Make the sheets and pictures anew from all runs that are there."""
    for item in ITEMS.values():
        for search in SETTINGS:
            options = wanted(item, search)
            results = store.results(item.grid(options))
            if results:
                written(item, options, results, store, command=whole_command(item, options))


def wanted(item: Item, search: str) -> Options:
    """The whole grid, with as many seeds as are to be run."""
    return Options(seeds=SEEDS.get(f"{item.name}-{search}", SEEDS[search]), search=search)


def coverage(store: Store) -> list[Row]:
    """How many runs of each grid are there, and which are not."""
    lines: list[Row] = []
    seconds = mean_seconds(store)
    for item in ITEMS.values():
        for search, setting in SETTINGS.items():
            options = wanted(item, search)
            jobs = item.grid(options)
            there = {result.job for result in store.results(jobs)}
            missing = [job for job in jobs if job not in there]
            counts = Counter(map(cell_name, missing))
            line = {"item": item.title.split(":")[0], "setting": setting, "seeds": options.seeds}
            line |= {"there": len(there), "of": len(jobs), "hours": remaining(missing, seconds)}
            line["missing"] = "; ".join(f"{name} {n}" for name, n in counts.items()) or "none"
            lines.append(line)
    return lines


def mean_seconds(store: Store) -> dict[tuple[str, ...], float]:
    """Of the runs of each kind that are there."""
    seconds: dict[tuple[str, ...], list[float]] = {}
    for result in store.results():
        seconds.setdefault(kind(result.job), []).append(result.seconds)
    return {name: statistics.fmean(each) for name, each in seconds.items()}


def remaining(missing: list[Job], seconds: dict[tuple[str, ...], float]) -> str:
    """Hours of what is missing: of each job the mean of those of its kind.

    Variants of a model that cost more make it more, models that are in the cache less.
    """
    known = estimated(missing, seconds)
    told = [f"{math.fsum(known) / 3600:.1f}"] if known or not missing else []
    unknown = len(missing) - len(known)
    told += [f"unknown for {unknown} runs: none like them was run"] if unknown else []
    return "; ".join(told)


def estimated(missing: Iterable[Job], seconds: dict[tuple[str, ...], float]) -> list[float]:
    """Seconds of those jobs of whose kind some were run."""
    return [seconds[kind(job)] for job in missing if kind(job) in seconds]


def kind(job: Job) -> tuple[str, ...]:
    """Jobs of about the same cost, but for variants of a model."""
    asked = job.arguments
    models = [asked[name] for name in ("model", "source", "target") if name in asked]
    return job.task, asked["search"], asked["dataset"], *models, asked.get("vary", "")


def cell_name(job: Job) -> str:
    """By which a job that is missing is counted: its graph, or the model that sees a metamer."""
    asked = job.arguments
    heavy = {asked.get(name) for name in ("model", "source", "target")} & {"graphormer"}
    return TITLES["graphormer"] if heavy else TITLES[asked.get("target", asked["dataset"])]


def claimed(sheets: Iterable[Sheet]) -> dict[tuple[str, str], dict[str, str]]:
    """What became of each claim at either setting, empty where it is not asked."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for sheet in sheets:
        for claim in sheet.claims:
            name = ITEMS[sheet.item].title.split(":")[0], claim.claim
            found.setdefault(name, dict.fromkeys(SETTINGS, ""))[sheet.search] = claim.outcome
    return found


def coarse(store: Store) -> str:
    """How many stalled runs of `Swap` have not looked closer, by graph."""
    counts = Counter(
        TITLES[result.job.arguments["dataset"]]
        for result in store.results()
        if result.environment.get("commit") in COARSE
        for row in result.rows
        if row.get("status") == "stalled" and str(row["search"]).startswith("Swap")
    )
    listed = ", ".join(f"{count} on {name}" for name, count in sorted(counts.items()))
    return f"{counts.total()}" + (f" ({listed})" if counts else "")


def processors_apart(store: Store) -> list[dict[str, float]]:
    """By how much CS and S_feat of the same search and seed differ between two processors."""
    there = {
        (asked["dataset"], asked["model"], asked["options"]["hidden"]): result
        for name in ("table1", "fig7")
        for result in store.results(ITEMS[name].grid(Options(seeds=1)))
        if (asked := result.job.arguments)
    }
    apart: list[dict[str, float]] = []
    for row in read_json(BENCHMARKS / "paper_settings.json")["rows"]:
        other = there.get((row["dataset"], row["model"], row["units"]))
        if (row["epochs"], row["steps"]) != (500, 1000) or other is None:
            continue
        machine, theirs = row["environment"], other.environment
        if machine["threads"] != theirs["threads"] or machine["processor"] == theirs["processor"]:
            continue
        row["consistency"] = consistency(*(row[name] for name in NEAR))
        (found,) = other.rows
        apart.append({name: abs(row[name] - found[name]) for name in CHANCE})
    return apart


def widths(sheet: Sheet) -> str:
    """How many cells of Fig. 7 are near Table 1 at each width."""
    paper = reported("table1")
    near: dict[int, list[bool]] = {}
    for row in sheet.rows:
        theirs = paper[row["dataset"], row["model"]]
        close = all(abs(row[name] - theirs[name]) <= far for name, far in NEAR.items())
        near.setdefault(row["hidden"], []).append(close)
    told = (f"{sum(near[w])} of {len(near[w])} with {w} units" for w in sorted(near))
    return ", ".join(told)


def hours(store: Store) -> dict[str, object]:
    """Hours of one seed of each item; a run that is missing takes as long as like ones do."""
    found: dict[str, str] = {}
    processors: dict[str, None] = {}
    usual = mean_seconds(store)
    for item in ITEMS.values():
        for search in SETTINGS:
            jobs = item.grid(Options(seeds=1, search=search))
            results = store.results(jobs)
            processors |= {result.environment["processor"]: None for result in results}
            missing = set(jobs) - {result.job for result in results}
            known = estimated(missing, usual)
            total = math.fsum([*known, *(result.seconds for result in results)]) / 3600
            sign = ">" if len(known) < len(missing) else "~" if missing else ""
            text = f"{sign}{total:.1f}"
            found[f"{item.name}-{search}"] = "–" if text == ">0.0" else text
    return {"hours": found, "machine": " or ".join(processors) + ", one core"}


# docs/benchmark.md


def board_context(folder: Path) -> dict[str, Any]:
    """Of the committed leaderboard."""
    board = [line for line in read_board(folder) if line["protocol"] == PROTOCOL.version]
    results = Store(folder / "runs").results()
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
    rows: dict[str, Row] = {}
    for line in lines:
        rows.setdefault(line["model"], {"model": f"`{line['model']}`"})
        rows[line["model"]][line["dataset"]] = board_cell(line, name)
    graphs = [Column(g, TITLES[g]) for g in PROTOCOL.datasets if any(g in r for r in rows.values())]
    ordered = [rows[model] for model in zoo.MODELS if model in rows]
    return markdown(ordered, [Column("model", "Model"), *graphs])


def board_cell(line: Row, name: str) -> str:
    if math.isnan(line[name]):
        return f"{line['matched']} of {line['runs']}"
    spread = line[f"{name}_std"]
    text = f"{100 * line[name]:.1f}" + ("" if math.isnan(spread) else f" ± {100 * spread:.1f}")
    whole = line["matched"] == line["runs"] == PROTOCOL.seeds or name != "invariance"
    return text if whole else f"{text} ({line['matched']} of {line['runs']})"


if __name__ == "__main__":
    main()
