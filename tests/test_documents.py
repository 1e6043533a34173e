"""The documents' programs, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"


def programs(name: str) -> list[str]:
    """The Python blocks of a document, in order."""
    return re.findall(r"^```python\n(.*?)^```", (DOCS / name).read_text(), re.M | re.S)


def started(program: str, folder: Path) -> str:
    """What it prints, run in a folder as a script of its own."""
    (folder / "program.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_grid_of_ones_own(tmp_path):
    tasks, sweep, _ = programs("reproduction.md")  # the last needs pandas
    (tmp_path / "my_tasks.py").write_text(tasks)
    printed = started(sweep, tmp_path)
    assert printed.count("'matched': True") == 6
    assert (tmp_path / "sweep" / "index.parquet").is_file()


@pytest.mark.slow
def test_a_model_of_ones_own_on_the_board(real_data, tmp_path):
    model, board = programs("benchmark.md")
    (tmp_path / "my_model.py").write_text(model)
    started(board, tmp_path)
    assert "my_model.py:build" in (tmp_path / "benchmark" / "leaderboard.html").read_text()
