"""`graph-metamers paper`, as it is typed."""

import re
import sys

import pytest
from made_up import fill

from graph_metamers import cli
from graph_metamers.jobs import Store
from graph_metamers.paper.grid import Options
from graph_metamers.paper.items import ITEMS
from graph_metamers.paper.produce import Sheet


def typed(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["graph-metamers", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_a_finished_grid_is_shown_beside_the_paper(monkeypatch, capsys, tmp_path):
    options = Options(datasets=("cora",), models=("gcn", "gin"), seeds=2)
    fill(Store(tmp_path), ITEMS["table1"], options)
    words = ("table1", "--datasets", "cora", "--models", "gcn", "gin", "--seeds", "2")
    assert typed(monkeypatch, "paper", *words, "--out", str(tmp_path)) == 0
    told = capsys.readouterr().out
    assert re.search(r"GCN +80\.0 +2/2 +9e-03 +4e-01 +9\.0 +1\d\.\d +11\.4 +9\d\.\d +96\.4", told)
    assert "open: 2 of 2 cells; the grid has 30." in told
    assert (tmp_path / "paper.html").exists()
    assert (tmp_path / "index.parquet").exists()


@pytest.mark.parametrize("name", list(ITEMS))
def test_every_table_fits_a_terminal_of_80_columns(name, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    options = Options(datasets=("cora", "pubmed"), seeds=2)
    fill(Store(tmp_path), ITEMS[name], options)
    words = ("--datasets", "cora", "pubmed", "--seeds", "2", "--out", str(tmp_path))
    assert typed(monkeypatch, "paper", name, *words) == 0
    table = capsys.readouterr().out.partition("Means")[0]
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


def test_a_narrower_command_drops_no_cells(monkeypatch, tmp_path):
    options = Options(datasets=("cora",), models=("gcn", "gin"), seeds=2)
    fill(Store(tmp_path), ITEMS["table1"], options)
    words = ("table1", "--out", str(tmp_path), "--datasets", "cora", "--models", "gcn")
    assert typed(monkeypatch, "paper", *words, "--seeds", "2") == 0
    sheet = Sheet.load(tmp_path / "table1-paper.json")
    assert [(row["model"], row["runs"]) for row in sheet.rows] == [("gcn", 2), ("gin", 2)]


def test_the_list_says_what_each_shows(monkeypatch, capsys):
    assert typed(monkeypatch, "paper", "list") == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in told.splitlines() if line.strip()}
    for name, item in ITEMS.items():
        hours = item.data["hours"]
        runs = [str(len(item.grid(Options(seeds=1, search=s)))) for s in ("paper", "auto")]
        assert lines[name][-4:] == [runs[0], hours["paper"], runs[1], hours["auto"]]
        assert item.data["shows"].split()[0] in lines[name]


def test_failed_runs_end_with_1(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("graph_metamers.paper.command.load_graphs", lambda *_: None)
    monkeypatch.setattr("graph_metamers.datasets.load_nodes", _broken)
    words = ("--datasets", "cora", "--models", "gcn", "--seeds", "1", "--out", str(tmp_path))
    assert typed(monkeypatch, "paper", "table1", *words) == 1
    assert "1 runs failed" in " ".join(capsys.readouterr().out.split())


def test_a_graph_that_cannot_be_had_is_told_once_before_the_first_run(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPH_METAMERS_DATA", str(tmp_path / "nothing"))
    for words in (("paper", "table1"), ("benchmark", "--model", "gcn")):
        assert typed(monkeypatch, *words, "--datasets", "cora", "--out", str(tmp_path / "out")) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert re.search(r"^\S* ?GRAPH_METAMERS_DATA='.*nothing' must be a folder; there is", told)


def _broken(*_: object, **__: object) -> None:
    raise RuntimeError("no such graph")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("tabel1",), "name='tabel1' is not one of the paper's tables and figures. Did you mean "
         "'table1'?"),
        (("table1", "--models", "chebnt"), "models='chebnt' is not in the paper. Did you mean "
         "'chebnet'?"),
        (("table1", "--datasets", "cora", "kora"), "datasets='kora' is not in the paper."),
        (("fig7", "--models", "gat"), "None of these datasets and models with --search "
         "paper. The graphs are 'cora', 'citeseer', 'pubmed', 'squirrel', 'chameleon'; the models "
         "'gcn', 'chebnet', 'graphsage', 'gin'."),
        (("table2", "--datasets", "cora"), "The graphs are 'pubmed'; the models 'gcn', 'chebnet', "
         "'graphsage', 'gin', 'gat', 'graphormer'."),
        (("table1", "--workers", "0"), "workers must be a whole number of at least 1; got 0."),
        (("table1", "--device", "gpu7"), "--device 'gpu7' cannot be used here"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_sentence(monkeypatch, capsys, tmp_path, words, sentence):
    assert typed(monkeypatch, "paper", *words, "--out", str(tmp_path / "out")) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
