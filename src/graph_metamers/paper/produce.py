"""From an item to its sheet, its picture and the page: run what is missing, and write."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.style
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from graph_metamers.errors import InputError
from graph_metamers.jobs import Executor, Result, Row, Store, run
from graph_metamers.jobs.run import Told
from graph_metamers.paper.claims import Claim
from graph_metamers.paper.grid import DATA, Options
from graph_metamers.paper.items import ITEMS, Item
from graph_metamers.paper.pictures import layers
from graph_metamers.paper.table import Column, table_cells
from graph_metamers.report.figures import STYLE, adapted, plain_svg
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.result import load
from graph_metamers.storage import one_at_a_time, read_json, replacing, write_json, write_text

SIZE = (10.0, 3.6)  # inches
SETTINGS: dict[str, str] = DATA["settings"]


@dataclass(frozen=True)
class Sheet:
    """A table or figure in figures: what its picture, its page and its files are made from."""

    item: str
    search: str  # "paper" or "auto"
    columns: list[Column]
    rows: list[Row]  # one a cell
    claims: list[Claim]
    notes: list[str]
    made: dict[str, Any]  # by whom, where, and with what

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.item}-{self.search}"

    @property
    def setting(self) -> str:
        """What was asked of the searches, in words."""
        return SETTINGS[self.search]

    @property
    def title(self) -> str:
        """What the paper calls it, and the setting."""
        return f"{DATA[self.item]['title']}, {self.setting}"

    @classmethod
    def of(cls, item: Item, options: Options, results: Sequence[Result]) -> "Sheet":
        """The sheet of results, in the grid's order."""
        rows = item.summary(results, options)
        notes = item.note(rows, options) if rows else []
        reasons = [result.reason for result in results if result.error]
        if reasons:
            told = "; ".join(dict.fromkeys(reasons))
            notes.append(f"{len(reasons)} runs failed and are left out: {told}")
        told = item.claims(rows, options) if rows else []
        made = _made(item, options, [result for result in results if not result.error])
        return cls(item.name, options.search, item.columns, rows, told, notes, made)

    @classmethod
    def load(cls, path: Path) -> "Sheet":
        """Read the JSON of a sheet."""
        state = read_json(path)
        try:
            state["columns"] = [Column(**column) for column in state["columns"]]
            state["claims"] = [Claim(**claim) for claim in state["claims"]]
            return cls(**state)
        except (KeyError, TypeError) as error:
            raise InputError(
                f"'{path}' must be a table or figure in figures, of this version. Remove it, and "
                "it is made anew from the runs."
            ) from error


def _made(item: Item, options: Options, done: Sequence[Result]) -> dict[str, Any]:
    """Where the results come from: each fact once where it is the same for all."""
    facts: dict[str, set[str]] = {}
    for result in done:
        for name, value in ({"commit": "unknown"} | result.environment).items():
            facts.setdefault(name, set()).add(str(value))
    where = "" if options.device == "cpu" else f" --device {options.device}"
    asked = f"--search {options.search} --seeds {options.seeds}{where}"
    return {name: ", ".join(sorted(values)) for name, values in facts.items()} | {
        "command": f"graph-metamers paper {item.name} {asked}",
        "runs": f"{len(done)} of {len(item.grid(options))}",
        "seeds": options.seeds,
        "hours": round(math.fsum(result.seconds for result in done) / 3600, 2),
    }


def produce(
    item: Item, options: Options, executor: Executor, out: Path, *, told: Told | None = None
) -> Sheet:
    """Run what an item needs and is not there yet; write its sheet and picture.

    The sheet stands in `OUT/NAME-SEARCH.json`, beside its picture `.svg`. It shows what was asked
    for, and what else is there of as many seeds at the same setting.
    """
    store = Store(out)
    run(item.grid(options), store, executor, told=told)
    return written(item, options, store)


def written(item: Item, options: Options, store: Store) -> Sheet:
    """Write the sheet and the picture of all runs of an item that are in a store."""
    options = replace(options, datasets=None, models=None)
    path = store.folder / f"{item.name}-{options.search}.json"
    with one_at_a_time(path):  # it has all that another process wrote meanwhile
        found = [store.get(job) or store.failure(job) for job in item.grid(options)]
        sheet = Sheet.of(item, options, [result for result in found if result is not None])
        write_json(path, asdict(sheet))
        _draw(item, options, sheet, store)
    return sheet


def _draw(item: Item, options: Options, sheet: Sheet, store: Store) -> None:
    """Draw the picture; metamers that are gone leave that of before."""
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=SIZE, layout="constrained")
        FigureCanvasSVG(figure)
        if "draw" in item.data:
            item.draw(figure, sheet.rows)
        else:
            kept = (store.left(job) / "metamer.pt" for job in item.grid(replace(options, seeds=1)))
            metamers = [load(path) for path in kept if path.exists()]
            if not metamers:
                return
            layers(figure, metamers)
        with replacing(store.folder / f"{sheet.name}.svg") as beside:
            figure.savefig(beside, format="svg", metadata={"Date": None})


def write_page(folder: Path) -> Path:
    """Write `paper.html`, every table and figure in a folder on one page, and say where."""
    sheets, path = read_sheets(folder), folder / "paper.html"
    sections = [_section(sheet, folder) for sheet in sheets]
    told = {"outcomes": outcomes(sheets), "script": inline_script("table.js")}
    write_text(path, rendered("paper.html", sections=sections, **told))
    return path


def read_sheets(folder: Path) -> list[Sheet]:
    """The sheets in a folder, in the paper's order, its setting first."""
    paths = (folder / f"{name}-{search}.json" for name in ITEMS for search in SETTINGS)
    return [Sheet.load(path) for path in paths if path.exists()]


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
    path, picture = folder / f"{sheet.name}.svg", None
    if path.exists():
        svg = plain_svg(path)
        alt = f"{sheet.title}. The same figures stand in the table."
        picture: Markup | None = adapted(svg, alt, sheet.name)
    return {
        "sheet": sheet,
        "item": DATA[sheet.item],
        "picture": picture,
        "rows": table_cells(sheet.rows, sheet.columns),
        "marks": [str(row.get("within", "")).startswith("no") for row in sheet.rows],
    }
