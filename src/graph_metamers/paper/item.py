"""What the tables and figures share: an item, and the sheet that it becomes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from graph_metamers.errors import InputError
from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.grid import Options
from graph_metamers.storage import read_json, write_json

SETTINGS = {
    "paper": "the paper’s setting",
    "auto": "our search, ended at one activation error",
}
Form = Literal["text", "name", "percent", "error", "count", "points", "p"]


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        name: Of the value in each row; `<name>_std` is its spread where there is one.
        title: What stands above it.
        form: How it is written: percent (of a share), points (a difference in percent), error,
            count ("2 of 3", with what is counted out of in `runs`), p, name (of a dataset or
            model) or text.
        brief: What stands above it on a narrow terminal; empty where it is left to the page.
    """

    name: str
    title: str
    form: Form = "text"
    brief: str | None = None


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper's, and whether it holds here by a threshold that is stated.

    Attributes:
        claim: What the paper says.
        threshold: When we call it true.
        found: What we found, in figures.
        holds: Whether it holds; None where the runs cannot say.
    """

    claim: str
    threshold: str
    found: str
    holds: bool | None


@dataclass(frozen=True)
class Sheet:
    """A table or figure in figures: what its picture, its page and its files are made from.

    Attributes:
        item: Name of the item.
        search: "paper" or "auto".
        steps: Of each search, where they were asked for; None for the setting's own.
        columns: How the rows are shown.
        rows: One a cell.
        claims: The paper's sentences about it.
        notes: What a reader must know, in sentences.
        made: Command, machine, versions, commits, number of seeds, and hours of all jobs together.
        device: Where the searches ran.
    """

    item: str
    search: str
    steps: int | None
    columns: list[Column]
    rows: list[Row]
    claims: list[Claim] = field(default_factory=list[Claim])
    notes: list[str] = field(default_factory=list[str])
    made: dict[str, Any] = field(default_factory=dict[str, Any])
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Of its files."""
        return sheet_name(self.item, self.search, self.steps, self.device)

    @property
    def setting(self) -> str:
        """What was asked of the searches, in words."""
        asked = "" if self.steps is None else f", but {self.steps} steps"
        where = "" if self.device == "cpu" else f", on {self.device}"
        return SETTINGS[self.search] + asked + where

    def save(self, folder: Path) -> None:
        """Write it as JSON."""
        write_json(folder / f"{self.name}.json", asdict(self))

    @classmethod
    def load(cls, path: Path) -> "Sheet":
        """Read what `save` wrote.

        Raises:
            InputError: It is something else.
        """
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


def sheet_name(item: str, search: str, steps: int | None, device: str) -> str:
    """Of the files of a sheet.

    >>> sheet_name("fig4", "auto", None, "cpu"), sheet_name("fig4", "paper", 50, "cuda:1")
    ('fig4-auto', 'fig4-paper-50-steps-cuda1')
    """
    asked = "" if steps is None else f"-{steps}-steps"
    where = "" if device == "cpu" else f"-{device.replace(':', '')}"
    return f"{item}-{search}{asked}{where}"


@dataclass(frozen=True)
class Item:
    """One of the paper's tables or figures.

    Attributes:
        name: As the command line knows it.
        title: As the paper calls it.
        shows: What it shows, in a sentence.
        grid: The jobs that it needs.
        columns: How its rows are shown.
        summary: Its rows, one a cell, from the results.
        draw: Its picture from the rows, on an empty figure; the store holds what jobs left.
        claims: The paper's sentences, from the rows.
        note: What a reader must know, in sentences, from the rows.
    """

    name: str
    title: str
    shows: str
    grid: Callable[[Options], list[Job]]
    columns: Callable[[Options], list[Column]]
    summary: Callable[[Sequence[Result], Options], list[Row]]
    draw: Callable[[Figure, Sequence[Row], Options, Store], None]
    claims: Callable[[Sequence[Row], Options], list[Claim]]
    note: Callable[[Sequence[Row], Options], list[str]]
