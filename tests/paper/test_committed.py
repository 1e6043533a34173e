"""The committed tables, figures and pages are those of the committed runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from graph_metamers.jobs import Row, Store
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import Sheet
from graph_metamers.storage import finite
from helpers import ROOT

SHEETS = sorted((ROOT / "results").glob("*.json"))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "results" / "index.parquet", folder)
    return Store(folder)


def test_every_item_is_there_at_both_settings():
    assert {path.stem for path in SHEETS} == {f"{n}-{s}" for n in ITEMS for s in ("paper", "auto")}


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
def test_a_sheet_is_what_its_runs_give(path: Path, committed: Store):
    sheet = Sheet.load(path)
    item, options = ITEMS[sheet.item], Options(search=sheet.search, seeds=sheet.made["seeds"])
    ours = Sheet.of(item, options, committed.results(item.grid(options)))
    assert (ours.made, ours.claims, ours.notes) == (sheet.made, sheet.claims, sheet.notes)
    assert list(map(rounded, ours.rows)) == list(map(rounded, sheet.rows))


def rounded(row: Row) -> Any:
    """As JSON keeps it, to nine digits: p-values are scipy's, whose versions differ by rounding."""
    return json.loads(json.dumps(finite(row)), parse_float=lambda text: f"{float(text):.9g}")
