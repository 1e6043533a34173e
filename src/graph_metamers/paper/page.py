"""paper.html: every table and figure that was made, ours beside the paper's, on one page."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from graph_metamers.paper.item import SETTINGS, Claim, Sheet
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.words import cell_text, claim_text, outcomes_text, sorted_by
from graph_metamers.report.figures import adapted
from graph_metamers.report.page import inline_script, rendered
from graph_metamers.storage import write_text


def write_page(folder: Path) -> Path:
    """Write `paper.html` from the sheets and pictures in a folder, and say where."""
    sheets = read_sheets(folder)
    path = folder / "paper.html"
    sections = [_section(sheet, folder) for sheet in sheets]
    claims = [
        {"item": s["title"], "setting": s["setting"], "id": s["id"], **c}
        for s in sections
        for c in s["claims"]
    ]
    script = inline_script("table.js")
    told = outcomes(sheets)
    page = rendered("paper.html", sections=sections, claims=claims, outcomes=told, script=script)
    write_text(path, page)
    return path


def read_sheets(folder: Path) -> list[Sheet]:
    """The sheets in a folder, in the paper's order, its setting first."""
    paths = [
        path
        for name in ITEMS
        for search in SETTINGS
        for path in sorted(folder.glob(f"{name}-{search}*.json"))
    ]
    return [Sheet.load(path) for path in paths]


def outcomes(sheets: Sequence[Sheet]) -> dict[str, str]:
    """By setting, how many claims hold."""
    claims: dict[str, list[Claim]] = {}
    for sheet in sheets:
        claims.setdefault(sheet.setting, []).extend(sheet.claims)
    return {setting: outcomes_text(each) for setting, each in claims.items()}


def _section(sheet: Sheet, folder: Path) -> dict[str, Any]:
    item = ITEMS[sheet.item]
    picture = folder / f"{sheet.name}.svg"
    return {
        "id": sheet.name,
        "title": item.title,
        "shows": item.shows,
        "setting": sheet.setting,
        "picture": _picture(picture, sheet) if picture.exists() else None,
        "columns": sheet.columns,
        "rows": [
            [(cell_text(row, column), sorted_by(row, column)) for column in sheet.columns]
            for row in sheet.rows
        ],
        "marks": [str(row.get("within", "")).startswith("no") for row in sheet.rows],
        "claims": [
            {"claim": c.claim, "threshold": c.threshold, "found": c.found, "text": claim_text(c)}
            for c in sheet.claims
        ],
        "notes": sheet.notes,
        "made": sheet.made,
    }


def _picture(path: Path, sheet: Sheet) -> Markup:
    svg = re.sub(r"^.*?(?=<svg)", "", path.read_text(encoding="utf-8"), flags=re.S)
    item = ITEMS[sheet.item]
    alt = f"{item.title}, {sheet.setting}. The same figures stand in the table."
    return adapted(svg, alt, sheet.name)
