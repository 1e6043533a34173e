"""The committed tables, figures and pages are those of the committed runs."""

import json
import math
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from graph_metamers.jobs import Job, Result, Row, Store
from graph_metamers.measure import consistency
from graph_metamers.paper.claims import CHANCE
from graph_metamers.paper.grid import Options
from graph_metamers.paper.item import Sheet
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.table1 import NEAR
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
    """The script that writes the page."""
    return script("reproduction_page")


def test_every_item_is_there_at_both_settings():
    assert {path.stem for path in SHEETS} == {f"{n}-{s}" for n in ITEMS for s in ("paper", "auto")}


@pytest.mark.parametrize("path", SHEETS, ids=lambda path: path.stem)
def test_a_sheet_is_what_its_runs_give(path: Path, committed: Store):
    sheet = Sheet.load(path)
    item, options = ITEMS[sheet.item], Options(search=sheet.search, seeds=sheet.made["seeds"])
    jobs = item.grid(options)
    results = committed.results(jobs)
    rows = item.summary(results, options)
    assert sheet.made["runs"] == f"{len(results)} of {len(jobs)}"
    assert len(rows) == len(sheet.rows)
    for ours, theirs in zip(rows, sheet.rows, strict=True):
        assert rounded(ours) == rounded(theirs)
    assert item.claims(rows, options) == sheet.claims


def rounded(row: Row) -> Any:
    """As JSON keeps it, to nine digits: p-values are scipy's, whose versions differ by rounding."""
    return json.loads(json.dumps(finite(row)), parse_float=lambda text: f"{float(text):.9g}")


def test_the_page_tells_of_these_runs_and_claims(committed: Store, page: Any):
    text = (ROOT / "docs" / "reproduction.md").read_text()
    sheets = [Sheet.load(path) for path in SHEETS]
    told = page.coverage_rows(committed), page.outcome_rows(sheets), page.claim_rows(sheets)
    for line in [*chain(*told), *page.far_rows(sheets)]:
        assert line in text
    costs = read_json(ROOT / "src" / "graph_metamers" / "paper" / "costs.json")
    assert page.hours(committed) == costs


def test_two_machines_differ_by_less_than_counts_as_a_change(committed: Store):
    """Each figure that a claim compares: of the same search, the same seed and one thread."""
    there = {
        (asked["dataset"], asked["model"], asked["options"]["hidden"]): result
        for name in ("table1", "fig7")
        for result in committed.results(ITEMS[name].grid(Options(seeds=1)))
        if (asked := result.job.arguments)
    }
    rows = read_json(ROOT / "benchmarks" / "results" / "paper_settings.json")["rows"]
    pairs = [
        (row | {"consistency": consistency(*(row[name] for name in NEAR))}, other.rows[0])
        for row in rows
        if (row["epochs"], row["steps"]) == (500, 1000)
        and (other := there.get((row["dataset"], row["model"], row["units"]))) is not None
        and other.environment["processor"] != row["environment"]["processor"]
    ]
    assert len(pairs) >= 5
    for name, chance in CHANCE.items():
        assert 0 < max(abs(one[name] - two[name]) for one, two in pairs) < chance


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
    assert page.remaining(jobs[1:], usual) == "2.0, and 4 runs of kinds that were never run"
    (table1, *_) = page.coverage_rows(store)
    assert "| 3 | 2 of 90 | CiteSeer 15; " in table1.replace("Cora 13; Graphormer 15; ", "")
    assert math.isclose(sum(usual.values()), 10800)
