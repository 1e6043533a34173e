"""The one table writer: columns say how values are written on a terminal, in Markdown and HTML."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich import box
from rich.table import Table

from graph_metamers.jobs import Row
from graph_metamers.paper.grid import DATA
from graph_metamers.report.numbers import ABSENT, error_text, number, p_text, score_text

TITLES: dict[str, str] = DATA["titles"]
# Percent is of a share, points a difference of shares in percent, a count "2 of 3" with the 3 in
# `runs`, a name that of a dataset or model.
Form = Literal["text", "name", "score", "percent", "error", "count", "points", "p"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str  # of the value in each row; `<name>_std` is its spread where there is one
    title: str  # what stands above it
    form: Form = "text"  # how it is written
    brief: str | None = None  # its title on a narrow terminal; empty where it is left out there


def columns(names: str) -> list[Column]:
    """Columns of items.toml, by their names."""
    return [Column(*DATA["columns"][name]) for name in names.split()]


def cell_text(row: Row, column: Column, *, brief: bool = False) -> str:
    """A cell as text; `brief` for a narrow terminal: no spread, and errors to one digit.

    >>> row = {"s": 0.1138, "s_std": 0.0005, "matched": 2, "runs": 3, "e": 0.0065, "d": -0.021}
    >>> cell_text(row, Column("s", "", "percent")), cell_text(row, Column("matched", "", "count"))
    ('11.4 ± 0.1', '2 of 3')
    >>> cell_text(row, Column("e", "", "error")), cell_text(row, Column("d", "", "points"))
    ('0.00650', '−2.1')
    """
    value: Any = row.get(column.name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    match column.form:
        case "percent":
            std = number(row, f"{column.name}_std")
            spread = "" if brief or math.isnan(std) else f" ± {100 * std:.1f}"
            return f"{100 * value:.1f}{spread}".replace("-", "−")
        case "points":
            return f"{100 * value:+.1f}".replace("-", "−")
        case "score":
            return score_text(value)
        case "error":
            return f"{value:.0e}" if brief else error_text(value)
        case "count":
            return f"{value}/{row['runs']}" if brief else f"{value} of {row['runs']}"
        case "p":
            return p_text(value)
        case "name":
            return TITLES.get(str(value), str(value))
        case "text":
            return str(value).partition(": ")[0] if brief else str(value)


def table_cells(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[tuple[str, str]]]:
    """Each cell of a page's table: its text, and the number or text that it is sorted by."""

    def key(row: Row, column: Column) -> str:
        if column.form in ("name", "text"):
            return cell_text(row, column)
        value = number(row, column.name)
        return repr(value) if math.isfinite(value) else ""

    return [[(cell_text(row, column), key(row, column)) for column in columns] for row in rows]


def markdown(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """The table in Markdown.

    >>> print(markdown([{"model": "gcn", "s": 0.5}], [Column("model", "model", "name")]))
    | model |
    |---|
    | GCN |
    """
    written = ([cell_text(row, column) for column in columns] for row in rows)
    head, *body = (f"| {' | '.join(cells)} |" for cells in ([c.title for c in columns], *written))
    return "\n".join([head, "|" + "---|" * len(columns), *body])


def terminal(title: str, rows: Sequence[Row], columns: Sequence[Column], *, brief: bool) -> Table:
    """The table for a terminal, `brief` for a narrow one.

    Where it is brief, a dataset's or model's name that comes first stands in a line of its own.
    """
    padding = (0, 0 if brief else 1, 0, 0)
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=padding)
    first = columns[0]
    apart = brief and first.form == "name"
    shown = [c for c in columns[apart:] if not (brief and c.brief == "")]
    for column in shown:
        side = "left" if column.form in ("text", "name") else "right"
        wraps: dict[str, Any] = {"no_wrap": column.form != "text", "overflow": "fold"}
        table.add_column((brief and column.brief) or column.title, justify=side, **wraps)
    above = ""
    for row in rows:
        name = cell_text(row, first)
        if apart and name != above:
            table.add_row(above := name, *[""] * (len(shown) - 1), style="bold")
        table.add_row(*(cell_text(row, column, brief=brief) for column in shown))
    return table
