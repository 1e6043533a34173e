"""The committed leaderboard and pages are what the committed runs and result files give."""

import shutil
from pathlib import Path

import pytest

from graph_metamers.benchmark import read_board, summarise
from graph_metamers.benchmark.board import in_order
from graph_metamers.jobs import Row, Store
from helpers import ROOT, script

BOARD = ROOT / "benchmarks" / "results" / "leaderboard"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the documents, and of the index of the leaderboard's runs."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "README.md", tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.copy(BOARD / "runs" / "index.parquet", tmp_path / "runs")
    shutil.copy(BOARD / "leaderboard.parquet", tmp_path)
    return tmp_path


def test_the_leaderboard_is_of_its_runs(folder: Path):
    rows = [row for result in Store(folder / "runs").results() for row in result.rows]
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
    ("name", "pages"),
    [
        ("results_page", ["README.md", "docs/results.md"]),
        ("leaderboard_page", ["docs/benchmark.md"]),
    ],
)
def test_a_page_is_what_its_script_writes(name, pages, folder, monkeypatch):
    made = script(name)
    monkeypatch.setattr(made, "ROOT", folder)
    if name == "leaderboard_page":
        monkeypatch.setattr(made, "PAGE", folder / "docs" / "benchmark.md")
        monkeypatch.setattr(made, "FOLDER", folder)
    made.main()
    for page in pages:
        assert (folder / page).read_text() == (ROOT / page).read_text()
