"""The committed leaderboard and pages are what the committed runs and result files give."""

import shutil
from pathlib import Path

import pytest

from graph_metamers.benchmark import read_board, summarise
from graph_metamers.benchmark.board import in_order
from graph_metamers.jobs import Row, Store
from helpers import ROOT, script

BOARD = ROOT / "benchmarks" / "results" / "leaderboard"


def test_the_leaderboard_is_of_its_runs(tmp_path: Path):
    shutil.copy(BOARD / "runs" / "index.parquet", tmp_path)
    rows = [row for result in Store(tmp_path).results() for row in result.rows]
    lines = in_order(summarise(rows))
    assert list(map(figures, read_board(BOARD))) == list(map(figures, lines))


def figures(line: Row) -> dict[str, str]:
    """What a line says; of when it was written, nothing."""
    return {
        name: f"{value:.9g}" if isinstance(value, float) else str(value)
        for name, value in line.items()
        if name != "date"
    }


@pytest.mark.parametrize(
    "name", ["README.md", "docs/results.md", "docs/reproduction.md", "docs/benchmark.md"]
)
def test_a_page_is_what_its_script_writes(name: str, pages: dict[str, str]):
    assert pages[name] == (ROOT / name).read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(ROOT / "results" / "index.parquet", folder)
    return script("pages").pages(Store(folder))
