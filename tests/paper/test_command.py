"""`graph-metamers paper`, as it is typed."""

import json
import re
import sys
from importlib.resources import files

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


def test_a_narrower_command_drops_nothing_and_other_steps_stand_apart(monkeypatch, tmp_path):
    store = Store(tmp_path)
    options = Options(datasets=("cora",), models=("gcn", "gin"), seeds=2)
    fill(store, ITEMS["table1"], options)
    fill(store, ITEMS["table1"], Options(datasets=("cora",), models=("gcn",), seeds=1, steps=20))
    words = ("paper", "table1", "--out", str(tmp_path), "--datasets", "cora", "--models", "gcn")
    assert typed(monkeypatch, *words, "gin", "--seeds", "2") == 0
    words = (*words, "--seeds", "1")
    assert typed(monkeypatch, *words) == 0
    sheet = Sheet.load(tmp_path / "table1-paper.json")
    assert [(row["model"], row["runs"]) for row in sheet.rows] == [("gcn", 2), ("gin", 2)]
    assert typed(monkeypatch, *words, "--steps", "20") == 0
    assert Sheet.load(tmp_path / "table1-paper.json") == sheet
    short = Sheet.load(tmp_path / "table1-paper-20-steps.json")
    assert [(row["model"], row["runs"]) for row in short.rows] == [("gcn", 1)]
    page = (tmp_path / "paper.html").read_text()
    assert "the paper’s setting, but 20 steps" in page


def test_the_list_says_what_each_shows(monkeypatch, capsys):
    assert typed(monkeypatch, "paper", "list") == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in told.splitlines() if line.strip()}
    costs = json.loads((files("graph_metamers.paper") / "costs.json").read_text())["hours"]
    for name in ITEMS:
        texts = [costs[f"{name}-{search}"] for search in ("paper", "auto")]
        runs = [str(len(ITEMS[name].grid(Options(seeds=1, search=s)))) for s in ("paper", "auto")]
        assert lines[name][-4:] == [runs[0], texts[0], runs[1], texts[1]]
        assert ITEMS[name].shows.split()[0] in lines[name]
    assert all(hours == "–" or float(hours.lstrip("~>")) >= 0 for hours in costs.values())


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
        (("tabel1",), "'tabel1' is not one of the paper's tables and figures. Did you mean "
         "'table1'?"),
        (("table1", "--models", "chebnt"), "--models chebnt is not in the paper. Did you mean "
         "'chebnet'?"),
        (("table1", "--datasets", "cora", "kora"), "--datasets kora is not in the paper."),
        (("fig7", "--models", "gat"), "fig7 has none of the datasets and models that were "
         "asked for, with --search paper. Its graphs are 'cora', 'citeseer', 'pubmed', "
         "'squirrel', 'chameleon'; its models 'gcn', 'chebnet', 'graphsage', 'gin'."),
        (("table2", "--datasets", "cora"), "Its graphs are 'pubmed'; its models 'gcn', 'chebnet', "
         "'graphsage', 'gin', 'gat', 'graphormer'."),
        (("table1", "--executor", "ray", "--device", "cuda:1"), "--executor ray gives each job a "
         "device of its own, so that --device must be cpu or cuda; got cuda:1."),
        (("table1", "--workers", "0"), "workers must be a whole number of at least 1; got 0."),
        (("table1", "--steps", "0"), "steps must be a whole number of at least 1; got 0."),
        (("table1", "--address", "here:1"), "--address goes with --executor ray"),
        (("table1", "--executor", "ray", "--workers", "2"), "--workers goes with --executor local"),
        (("table1", "--device", "gpu7"), "--device 'gpu7' cannot be used here"),
    ],
)  # fmt: skip
def test_bad_input_is_told_in_a_sentence(monkeypatch, capsys, tmp_path, words, sentence):
    assert typed(monkeypatch, "paper", *words, "--out", str(tmp_path / "out")) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()
