"""The committed tables, figures and pages are those of the committed runs."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import Sheet, made
from graph_metamers.storage import finite, read_json
from helpers import ROOT, script

SHEETS = sorted((ROOT / "results").glob("*.json"))


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "results" / "index.parquet", folder)
    return Store(folder)


@pytest.fixture(scope="module")
def page() -> Any:
    """The script that writes the pages."""
    return script("pages")


def test_every_item_is_there_at_both_settings():
    assert {path.stem for path in SHEETS} == {f"{n}-{s}" for n in ITEMS for s in ("paper", "auto")}


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
def test_a_sheet_is_what_its_runs_give(path: Path, committed: Store):
    sheet = Sheet.load(path)
    item, options = ITEMS[sheet.item], Options(search=sheet.search, seeds=sheet.made["seeds"])
    results = committed.results(item.grid(options))
    rows = item.summary(results, options)
    assert sheet.made == made(item, options, results, sheet.made["command"])
    assert len(rows) == len(sheet.rows)
    for ours, theirs in zip(rows, sheet.rows, strict=True):
        assert rounded(ours) == rounded(theirs)
    assert item.claims(rows, options) == sheet.claims


def rounded(row: Row) -> Any:
    """As JSON keeps it, to nine digits: p-values are scipy's, whose versions differ by rounding."""
    return json.loads(json.dumps(finite(row)), parse_float=lambda text: f"{float(text):.9g}")


def test_the_costs_are_those_of_the_runs(committed: Store, page: Any):
    costs = read_json(ROOT / "src" / "graph_metamers" / "paper" / "costs.json")
    assert page.hours(committed) == costs


def test_what_counts_as_a_change_is_more_than_two_processors_differ_by(committed: Store, page: Any):
    apart = page.processors_apart(committed)
    assert len(apart) >= 5
    for name, chance in CHANCE.items():
        assert 0 < max(each[name] for each in apart) < chance


def test_missing_runs_are_counted_and_their_hours_are_those_of_like_ones(tmp_path: Path, page: Any):
    options = Options(seeds=1, datasets=("cora",))
    jobs = ITEMS["table1"].grid(options)
    store = Store(tmp_path)
    for job, seconds in zip(jobs[:2], (3600.0, 7200.0), strict=False):
        store.put(Result(job, [], seconds, {}))
    first, second, *_ = jobs
    again = [Job.of(job.task, **job.arguments | {"seed": 1}) for job in (first, first, second)]
    usual = page.mean_seconds(store)
    assert page.remaining(again, usual) == "4.0"
    assert page.remaining(jobs[1:], usual) == "2.0; unknown for 4 runs: none like them was run"
    (table1, *_) = page.coverage(store)
    assert [table1[name] for name in ("seeds", "there", "of")] == [3, 2, 90]
    assert table1["missing"].startswith("Cora 13; Graphormer 15; CiteSeer 15; ")
    assert math.isclose(sum(usual.values()), 10800)
