"""From an item to its sheet, its picture and the page: run what is missing, and write."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib.style
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.jobs import Executor, Result, Row, Store, run
from graph_metamers.jobs.run import Told
from graph_metamers.paper.claims import DATA, Claim
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS, Item
from graph_metamers.paper.pictures import layers
from graph_metamers.paper.table import Column, cell_text, sorted_by
from graph_metamers.report.figures import STYLE, adapted
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import load
from graph_metamers.storage import (
    make_folder,
    one_at_a_time,
    read_json,
    replacing,
    write_json,
    write_text,
)

SIZE = (10.0, 3.6)  # inches
PICTURED = ("fig4", "fig9")  # show the metamers of seed 0 themselves
SETTINGS: dict[str, str] = DATA["settings"]


@dataclass(frozen=True)
class Sheet:
    """A table or figure in figures: what its picture, its page and its files are made from."""

    item: str
    search: str  # "paper" or "auto"
    steps: int | None  # of each search, where they were asked for
    columns: list[Column]
    rows: list[Row]  # one a cell
    claims: list[Claim] = field(default_factory=list[Claim])
    notes: list[str] = field(default_factory=list[str])
    made: dict[str, Any] = field(default_factory=dict[str, Any])  # by whom, where, and with what
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Of its files."""
        return sheet_name(self.item, self)

    @property
    def setting(self) -> str:
        """What was asked of the searches, in words."""
        asked = "" if self.steps is None else f", but {self.steps} steps"
        where = "" if self.device == "cpu" else f", on {self.device}"
        return SETTINGS[self.search] + asked + where

    @classmethod
    def load(cls, path: Path) -> "Sheet":
        """Read the JSON of a sheet."""
        state = read_json(path)
        try:
            state["columns"] = [Column(**column) for column in state["columns"]]
            state["claims"] = [Claim(**claim) for claim in state["claims"]]
            state["made"]["seeds"] = int(state["made"]["seeds"])
            return cls(**state)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"'{path}' must be a table or figure in figures, of this version. Remove it, and "
                "it is made anew from the runs."
            ) from error


def sheet_name(item: str, asked: Options | Sheet) -> str:
    """Of the files of a sheet.

    >>> sheet_name("fig4", Options(steps=50, device="cuda:1"))
    'fig4-paper-50-steps-cuda1'
    """
    steps = "" if asked.steps is None else f"-{asked.steps}-steps"
    where = "" if asked.device == "cpu" else f"-{asked.device.replace(':', '')}"
    return f"{item}-{asked.search}{steps}{where}"


def produce(
    item: Item,
    options: Options,
    executor: Executor,
    out: Path,
    *,
    command: str,
    told: Told | None = None,
) -> Sheet:
    """Run what an item needs and is not there yet; write its sheet and picture.

    The sheet stands in `OUT/NAME-SEARCH.json`, beside its picture `.svg`; their names go on with
    the steps or the device where others than usual were asked for. It shows what was asked for,
    and what else is there of the same setting. `command` is what was typed, to be told; where the
    sheet shows more than that makes, the command for the item's whole grid is told instead.
    """
    store = Store(out)
    path = out / f"{sheet_name(item.name, options)}.json"
    _everything(options, path)  # says that the sheet cannot be read before an hour is spent
    ended = {result.job: result for result in run(item.grid(options), store, executor, told=told)}
    with one_at_a_time(path):  # it has all that another process wrote meanwhile
        whole = _everything(options, path)
        found = [ended.get(job) or store.get(job) for job in item.grid(whole)]
        results = [result for result in found if result is not None]
        if not ended.keys() >= {result.job for result in results}:  # others made the rest
            command = whole_command(item, whole)
        return written(item, whole, results, store, command=command)


def whole_command(item: Item, options: Options) -> str:
    """A command that makes the whole sheet, and what is missing of it."""
    steps = "" if options.steps is None else f" --steps {options.steps}"
    where = "" if options.device == "cpu" else f" --device {options.device}"
    asked = f"--search {options.search} --seeds {options.seeds}"
    return f"graph-metamers paper {item.name} {asked}{steps}{where}"


def _everything(options: Options, path: Path) -> Options:
    """The same setting for all datasets and models, and at least the seeds that its sheet shows.

    So a narrower command does not drop from a sheet what it shows already.
    """
    seeds = Sheet.load(path).made["seeds"] if path.exists() else 1
    return replace(options, datasets=None, models=None, seeds=max(options.seeds, seeds))


def written(
    item: Item, options: Options, results: Sequence[Result], store: Store, *, command: str
) -> Sheet:
    """The sheet and the picture of results, in the grid's order, written to the store's folder."""
    rows = item.summary(results, options)
    failed = [result for result in results if result.error]
    notes = item.note(rows, options) if rows else []
    if failed:
        reasons = dict.fromkeys(result.reason for result in failed)
        notes.append(f"{len(failed)} runs failed and are left out: {'; '.join(reasons)}")
    sheet = Sheet(
        item=item.name,
        search=options.search,
        steps=options.steps,
        columns=item.columns,
        rows=rows,
        claims=item.claims(rows, options) if rows else [],
        notes=notes,
        made=made(item, options, results, command),
        device=options.device,
    )
    make_folder(store.folder)
    path = store.folder / f"{sheet.name}.json"
    same = path.exists() and Sheet.load(path).made.get("pictured") == sheet.made["pictured"]
    write_json(path, asdict(sheet))
    _draw(item, options, sheet, store, keep=same)
    return sheet


def made(item: Item, options: Options, results: Sequence[Result], command: str) -> dict[str, Any]:
    """Where the results come from: each fact once where it is the same for all."""
    done = [result for result in results if not result.error]
    facts: dict[str, set[str]] = {}
    for result in done:
        for name, value in ({"commit": "unknown"} | result.environment).items():
            facts.setdefault(name, set()).add(str(value))
    return {name: ", ".join(sorted(values)) for name, values in facts.items()} | {
        "command": command,
        "runs": f"{len(done)} of {len(item.grid(options))}",
        "seeds": options.seeds,
        # Of what pictures show that show metamers themselves.
        "pictured": digest([r.job.key for r in done if r.job.arguments["seed"] == 0]),
        "hours": round(math.fsum(result.seconds for result in done) / 3600, 2),
    }


def _draw(item: Item, options: Options, sheet: Sheet, store: Store, *, keep: bool) -> None:
    """Draw the picture; where what it shows is gone, `keep` says whether that of before is it."""
    path = store.folder / f"{sheet.name}.svg"
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        if item.name in PICTURED:
            kept = (store.left(job) / "metamer.pt" for job in item.grid(replace(options, seeds=1)))
            layers(figure, [load(metamer) for metamer in kept if metamer.exists()])
        elif any(row["runs"] > row["failed"] for row in sheet.rows):
            item.draw(figure, sheet.rows)
        if figure.axes:
            with replacing(path) as beside:
                figure.savefig(beside, format="svg", metadata={"Date": None})
        elif not keep:
            path.unlink(missing_ok=True)


def write_page(folder: Path) -> Path:
    """Write `paper.html`, every table and figure in a folder on one page, and say where."""
    sheets, path = read_sheets(folder), folder / "paper.html"
    sections = [_section(sheet, folder) for sheet in sheets]
    told = {"outcomes": outcomes(sheets), "script": inline_script("table.js")}
    write_text(path, rendered("paper.html", sections=sections, **told))
    return path


def read_sheets(folder: Path) -> list[Sheet]:
    """The sheets in a folder, in the paper's order, its setting first."""
    names = (f"{name}-{search}*.json" for name in ITEMS for search in SETTINGS)
    return [Sheet.load(path) for name in names for path in sorted(folder.glob(name))]


def outcomes(sheets: Sequence[Sheet]) -> dict[str, str]:
    """By setting, how many claims hold."""
    told: dict[str, list[bool | None]] = {}
    for sheet in sheets:
        told.setdefault(sheet.setting, []).extend(claim.holds for claim in sheet.claims)
    return {
        setting: f"{len(each)} claims; holds: {each.count(True)}, "
        f"does not hold: {each.count(False)}, open: {each.count(None)}"
        for setting, each in told.items()
    }


def _section(sheet: Sheet, folder: Path) -> dict[str, Any]:
    item, picture = ITEMS[sheet.item], folder / f"{sheet.name}.svg"
    return {
        "sheet": sheet,
        "item": item,
        "picture": _picture(picture, item, sheet) if picture.exists() else None,
        "rows": [
            [(cell_text(row, column), sorted_by(row, column)) for column in sheet.columns]
            for row in sheet.rows
        ],
        "marks": [str(row.get("within", "")).startswith("no") for row in sheet.rows],
    }


def _picture(path: Path, item: Item, sheet: Sheet) -> Markup:
    svg = re.sub(r"^.*?(?=<svg)", "", path.read_text(encoding="utf-8"), flags=re.S)
    alt = f"{item.title}, {sheet.setting}. The same figures stand in the table."
    return adapted(svg, alt, sheet.name)
