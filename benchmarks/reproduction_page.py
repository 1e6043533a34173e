"""Write sheets, pictures, docs/reproduction.md and `paper list`'s costs from the results' index.

python benchmarks/reproduction_page.py
"""

import json
import math
import statistics
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from graph_metamers.jobs import Job, Store
from graph_metamers.measure import consistency
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import TITLES, Options
from graph_metamers.paper.item import SETTINGS, Item, Sheet
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.page import outcomes, read_sheets, write_page
from graph_metamers.paper.produce import whole_command, written
from graph_metamers.paper.reported import table1
from graph_metamers.paper.table1 import NEAR
from graph_metamers.paper.words import cell_text, claim_text

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results"
SETTINGS_TRIED = ROOT / "benchmarks" / "results" / "paper_settings.json"
SEEDS = {"paper": 1, "auto": 3} | {"table1-paper": 3, "table1-auto": 5}
# The commits of runs from before `Swap` looked closer where it stalls
COARSE = {"073f443", "2f03f41", "8800cfb", "a2eb349", "b1848ef"}
LONG = 40  # rows, above which a table is left to the page and to the JSON


def main() -> None:
    store = Store(RESULTS)
    write_sheets(store)
    (ROOT / "docs" / "reproduction.md").write_text(text(store))
    costs = ROOT / "src" / "graph_metamers" / "paper" / "costs.json"
    costs.write_text(json.dumps(hours(store), indent=1) + "\n")


def text(store: Store) -> str:
    """docs/reproduction.md."""
    sheets = read_sheets(RESULTS)
    page = (ROOT / "docs" / "reproduction.md.in").read_text()
    page = page.replace("{COVERAGE}", "\n".join(coverage_rows(store)))
    page = page.replace("{COARSE}", coarse_told(store))
    counts = [f"- {setting}: {told}" for setting, told in outcomes(sheets).items()]
    page = page.replace("{COUNTS}", "\n".join(counts))
    page = page.replace("{OUTCOMES}", "\n".join(outcome_rows(sheets)))
    page = page.replace("{CLAIMS}", "\n".join(claim_rows(sheets)))
    page = page.replace("{SETTINGS}", "\n".join(tried_rows()))
    page = page.replace("{WIDTHS}", widths_told(sheets))
    page = page.replace("{FAR}", "\n".join(far_rows(sheets)))
    apart = processors_apart(store)
    page = page.replace("{PAIRS}", str(len(apart)))
    for name, what in (("CS", "consistency"), ("S_FEAT", "feature_similarity")):
        page = page.replace(f"{{CHANCE_{name}}}", f"{100 * CHANCE[what]:.1f}")
        page = page.replace(f"{{APART_{name}}}", f"{100 * max(e[what] for e in apart):.2f}")
    return page.replace("{SHEETS}", "\n\n".join(section(sheet) for sheet in sheets))


def write_sheets(store: Store) -> None:
    """Make the sheets and pictures anew from all runs that are there, and the page of them."""
    for item in ITEMS.values():
        for search in SETTINGS:
            options = wanted(item, search)
            results = store.results(item.grid(options))
            command = whole_command(item, options)
            if results:
                written(item, options, results, store, command=command)
    write_page(store.folder)


def wanted(item: Item, search: str) -> Options:
    """The whole grid, with as many seeds as are to be run."""
    return Options(seeds=SEEDS.get(f"{item.name}-{search}", SEEDS[search]), search=search)


def coverage_rows(store: Store) -> list[str]:
    """How many runs of each grid are there, and which are not."""
    lines: list[str] = []
    seconds = mean_seconds(store)
    for item in ITEMS.values():
        for search, setting in SETTINGS.items():
            options = wanted(item, search)
            jobs = item.grid(options)
            there = {result.job for result in store.results(jobs)}
            missing = [job for job in jobs if job not in there]
            counts = Counter(map(cell_name, missing))
            told = "; ".join(f"{name} {count}" for name, count in counts.items()) or "none"
            cells = [item.title.split(":")[0], setting, str(options.seeds)]
            cells += [f"{len(there)} of {len(jobs)}", told, remaining(missing, seconds)]
            lines.append(f"| {' | '.join(cells)} |")
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


def outcome_rows(sheets: list[Sheet]) -> list[str]:
    """What became of each claim at either setting, empty where it is not asked."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for sheet in sheets:
        for claim in sheet.claims:
            name = ITEMS[sheet.item].title.split(":")[0], claim.claim
            found.setdefault(name, {})[sheet.search] = claim_text(claim)
    return [
        f"| {' | '.join([*name, *(each.get(search, '') for search in SETTINGS)])} |"
        for name, each in found.items()
    ]


def claim_rows(sheets: list[Sheet]) -> list[str]:
    return [
        f"| {ITEMS[sheet.item].title.split(':')[0]}, {sheet.setting} | {claim.claim} "
        f"| **{claim_text(claim)}** | {claim.found} | {claim.threshold} |"
        for sheet in sheets
        for claim in sheet.claims
    ]


def coarse_told(store: Store) -> str:
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
    for row in json.loads(SETTINGS_TRIED.read_text())["rows"]:
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


def tried_rows() -> list[str]:
    """What other settings give, by graph and model."""
    lines: list[str] = []
    rows = json.loads(SETTINGS_TRIED.read_text())["rows"] if SETTINGS_TRIED.exists() else []
    for row in sorted(rows, key=itemgetter("dataset", "model")):
        epochs = "stopped early" if row["epochs"] is None else str(row["epochs"])
        cells = [TITLES[row["dataset"]], TITLES[row["model"]], str(row["units"]), epochs]
        cells += [str(row["steps"]), f"{100 * row['accuracy']['test']:.1f}"]
        cells += [f"{row['activation_error']:.1e}"]
        cells += [" / ".join(f"{100 * row[p + n]:.1f}" for n in NEAR) for p in ("", "paper_")]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def widths_told(sheets: list[Sheet]) -> str:
    """How many cells of Fig. 7 are near Table 1 at each width."""
    reported = table1()
    near: Counter[int] = Counter()
    whole: Counter[int] = Counter()
    for row in (row for sheet in sheets if sheet.name == "fig7-paper" for row in sheet.rows):
        paper = reported[row["dataset"], row["model"]]
        whole[row["hidden"]] += 1
        near[row["hidden"]] += all(
            abs(row[name] - paper[name]) <= far for name, far in NEAR.items()
        )
    return ", ".join(
        f"{near[units]} of {whole[units]} with {units} units" for units in sorted(whole)
    )


def far_rows(sheets: list[Sheet]) -> list[str]:
    """The cells of Table 1 that are not near the paper's, with why."""
    rows = [row for sheet in sheets if sheet.name == "table1-paper" for row in sheet.rows]
    lines: list[str] = []
    for row in rows:
        if row["within"] in ("yes", None):
            continue
        cells = [TITLES[row["dataset"]], TITLES[row["model"]], f"{row['activation_error']:.1e}"]
        cells += [f"{100 * row[f'paper_{name}']:.1f}" for name in NEAR]
        cells += [f"{100 * row[name]:.1f}" for name in NEAR]
        cells.append(row["why"])
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def section(sheet: Sheet) -> str:
    item = ITEMS[sheet.item]
    lines = [f"## {item.title}, {sheet.setting}", ""]
    if (RESULTS / f"{sheet.name}.svg").exists():
        lines += [f"![{item.shows}](../results/{sheet.name}.svg)", ""]
    lines += ["\n\n".join(sheet.notes), ""]
    if len(sheet.rows) <= LONG:
        lines += [
            "| " + " | ".join(column.title for column in sheet.columns) + " |",
            "|" + "---|" * len(sheet.columns),
            *(
                "| " + " | ".join(cell_text(row, column) for column in sheet.columns) + " |"
                for row in sheet.rows
            ),
            "",
        ]
    else:
        lines += [f"Its {len(sheet.rows)} cells stand in `results/{sheet.name}.json`.", ""]
    made = sheet.made
    lines.append(
        f"`{made['command']}`: {made['runs']} runs, {made['hours']} hours of one worker after "
        f"another; {made['processor']}, threads {made['threads']}, torch {made['torch']}, "
        f"PyTorch Geometric {made['torch_geometric']}, {made['date']}, at {made['commit']}."
    )
    return "\n".join(lines)


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


if __name__ == "__main__":
    main()
