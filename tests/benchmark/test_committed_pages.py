"""The committed leaderboard and pages are what the committed runs and result files give."""

import math
import shutil
from pathlib import Path

import pytest

from graph_metamers.benchmark import write_board
from graph_metamers.jobs import Store
from graph_metamers.jobs.store import read_table
from helpers import ROOT, script

BOARD = ROOT / "benchmarks" / "results" / "leaderboard"


def test_the_leaderboard_is_of_its_runs(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    shutil.copy(BOARD / "runs" / "index.parquet", tmp_path / "runs")
    write_board(tmp_path)
    ours, theirs = (read_table(folder / "leaderboard.parquet") for folder in (tmp_path, BOARD))
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, nan_ok=True)
    assert not any(math.isnan(line["accuracy"]) for line in ours)
    page = (tmp_path / "leaderboard.html").read_text()
    assert page == (BOARD / "leaderboard.html").read_text()


@pytest.mark.parametrize("name", ["docs/results.md", "docs/reproduction.md", "docs/benchmark.md"])
def test_a_page_is_what_its_script_writes(name: str, pages: dict[str, str]):
    assert pages[name] == (ROOT / name).read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "results" / "index.parquet", folder)
    return script("pages").pages(Store(folder))
