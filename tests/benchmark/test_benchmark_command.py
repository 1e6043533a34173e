"""`graph-metamers benchmark`, from the words typed to the files and the table."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import graph_metamers as gm
from graph_metamers import cli
from graph_metamers.benchmark import command
from graph_metamers.jobs.store import read_table

OWN = """
import torch
from torch_geometric.nn.models import GCN

class Blind(torch.nn.Module):
    def __init__(self, nodes, classes):
        super().__init__()
        self.table = torch.nn.Embedding(nodes, classes)

    def forward(self, x, edge_index):
        return self.table(torch.arange(len(x)))

def blind(data):
    return Blind(data.num_nodes, int(data.y.max()) + 1)

def build(data):
    return GCN(data.num_features, 8, 2, int(data.y.max()) + 1)

def narrow(data):
    return GCN(data.num_features, 8, 2, 2)

def broken(data):
    raise RuntimeError("no")

number = 3
"""


class Told(NamedTuple):
    code: Any
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys, tmp_path: Path, small) -> Callable[..., Told]:
    """Runs the command in a folder with a model's file; csbm is small, training short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    Path("mine.py").write_text(OWN)
    training = gm.zoo.Training(lr=0.01, epochs=20)
    fit = gm.zoo.fit
    monkeypatch.setattr(gm.zoo.GCN, "default_training", training)
    monkeypatch.setattr(
        gm.zoo, "fit", lambda *given, **options: fit(*given, **options | {"training": training})
    )
    load = gm.datasets.load_nodes
    monkeypatch.setattr(
        gm.datasets, "load_nodes", lambda name: small.clone() if name == "csbm" else load(name)
    )

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", "benchmark", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.modules.pop("mine", None)
        return Told(ended.value.code, *capsys.readouterr())

    return run


def test_an_own_model_beside_a_zoo_model(run):
    told = run("--model", "mine.py:build", "--datasets", "csbm", "--seeds", "2")
    assert told.code == 0, told.err
    assert "mine.py:build" in told.out
    assert "Leaderboard: benchmark/leaderboard.html" in told.out
    told = run("--model", "GCN", "--datasets", "csbm", "--seeds", "1")
    assert told.code == 0, told.err
    board = read_table(Path("benchmark/leaderboard.parquet"))
    assert {(line["model"], line["layer"], line["place"], line["runs"]) for line in board} == {
        ("mine.py:build", "first", "convs.0", 2),
        ("mine.py:build", "output", "output", 2),
        ("gcn", "first", "layer1", 1),
        ("gcn", "output", "output", 1),
    }
    page = Path("benchmark/leaderboard.html").read_text()
    assert page.count("<tr><td") == 4
    assert len(list(Path("benchmark/runs/done").iterdir())) == 6


def test_what_is_done_is_not_done_again(run, monkeypatch):
    typed = ("--model", "mine.py:build", "--datasets", "csbm", "--seeds", "1")
    assert run(*typed).code == 0
    before = read_table(Path("benchmark/leaderboard.parquet"))
    monkeypatch.setattr(gm.zoo.training, "run_epochs", None)  # nothing is trained for a job
    assert run(*typed).code == 0
    for line, old in zip(read_table(Path("benchmark/leaderboard.parquet")), before, strict=True):
        assert line == pytest.approx(old, nan_ok=True)


def test_a_job_that_fails_is_told_and_the_others_count(run, monkeypatch):
    from graph_metamers.paper import tasks

    def broken(model, layer, **options):
        if layer == "output":
            raise RuntimeError("out of luck")
        return found(model, layer, **options)

    found = tasks.pose
    monkeypatch.setattr(tasks, "pose", broken)
    told = run("--model", "gcn", "--datasets", "csbm", "--seeds", "1")
    assert told.code == 1
    assert "RuntimeError: out of luck" in told.err
    board = read_table(Path("benchmark/leaderboard.parquet"))
    assert [(line["layer"], line["matched"], line["failed"]) for line in board] == [
        ("first", board[0]["matched"], 0),
        ("output", 0, 1),
    ]


def test_ctrl_c_ends_with_a_sentence(run, monkeypatch):
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", stopped)
    told = run("--model", "gcn", "--datasets", "csbm")
    assert (told.code, told.err) == (
        130,
        "Stopped. The same command goes on from what was saved.\n",
    )
    assert not Path("benchmark/leaderboard.html").exists()


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("--model", "gcnn"), "model='gcnn' is not a zoo model. Did you mean 'gcn'?"),
        (("--model", "gcn", "--datasets", "coar"), "datasets='coar' is not a dataset. Did you"),
        (("--model", "gcn", "--seeds", "0"), "--seeds must be a whole number of at least 1"),
        (("--model", "gcn", "--layer", "act"), "--layer goes with your own model, FILE.py:FACTORY"),
        (
            ("--model", "other.py:build"),
            "model='other.py' must be a Python file; it cannot be read",
        ),
        (("--model", "mine.py"), "or name your own as FILE.py:FACTORY"),
    ],
    ids=str,
)
def test_what_cannot_be_is_told_before_anything_runs(typed, sentence, run):
    told = run(*typed, *(() if "--datasets" in typed else ("--datasets", "csbm")))
    assert told.code == 2
    assert told.err.startswith("Error: ")
    assert sentence in told.err
    assert told.err.count("\n") == 1
    assert not Path("benchmark/runs/done").exists() or not any(
        Path("benchmark/runs/done").iterdir()
    )


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (("--model", "mine.py:biuld"), "has no 'biuld'. Did you mean 'build'?"),
        (("--model", "mine.py:broken"), "failed (RuntimeError: no)"),
        (("--model", "mine.py:number"), "must return a torch.nn.Module, or be one; got int"),
        (("--model", "mine.py:narrow"), "GCN must return [60, 3] to be trained on these labels"),
        (("--model", "mine.py:build", "--layer", "x"), "layer='x' is not a layer of GCN"),
        (("--model", "mine.py:blind"), "activation at table does not depend on what varies"),
    ],
    ids=str,
)
def test_an_own_model_that_cannot_be_used_is_told(typed, sentence, run):
    told = run(*typed, "--datasets", "csbm", "--seeds", "1")
    assert told.code == 1
    assert sentence in told.err


def test_pyarrow_is_missed_before_anything_runs(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    told = run("--model", "gcn", "--datasets", "csbm")
    assert told.code == 2
    assert "needs pyarrow. Install it: pip install 'graph-metamers[paper]'." in told.err
    assert list(Path("benchmark/runs/work").iterdir()) == []
