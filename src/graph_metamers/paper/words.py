"""How the cells of a sheet are written, the same on a terminal, in HTML and in Markdown."""

import math
from collections.abc import Iterable
from typing import Any

from graph_metamers.jobs import Row
from graph_metamers.paper.grid import TITLES
from graph_metamers.paper.item import Claim, Column
from graph_metamers.report.numbers import ABSENT, error_text, number, p_text


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
            known = not brief and not math.isnan(std)
            return f"{100 * value:.1f}" + (f" ± {100 * std:.1f}" if known else "")
        case "points":
            return f"{100 * value:+.1f}".replace("-", "−")
        case "error":
            return f"{value:.0e}" if brief else error_text(value)
        case "count":
            return f"{value}/{row['runs']}" if brief else f"{value} of {row['runs']}"
        case "p":
            return p_text(value)
        case "name":
            return TITLES.get(str(value), str(value))
        case "text":
            return str(value).partition(":")[0] if brief else str(value)


def sorted_by(row: Row, column: Column) -> str:
    """What a cell is sorted and filtered by: its number, empty where there is none, or its text."""
    if column.form in ("name", "text"):
        return cell_text(row, column)
    value = number(row, column.name)
    return "" if math.isnan(value) else repr(value)


def outcomes_text(claims: Iterable[Claim]) -> str:
    """How many claims came out how.

    >>> claims = [Claim("", "", "", holds) for holds in (True, True, None)]
    >>> outcomes_text(claims)
    '3 claims; holds: 2, does not hold: 0, open: 1'
    """
    outcomes = [claim.holds for claim in claims]
    return (
        f"{len(outcomes)} claims; holds: {outcomes.count(True)}, "
        f"does not hold: {outcomes.count(False)}, open: {outcomes.count(None)}"
    )


def claim_text(claim: Claim) -> str:
    """What became of a claim, in a word."""
    return {True: "holds", False: "does not hold", None: "open"}[claim.holds]
