"""The searches on the command line: --search, --steps, --lr and --seek."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch_geometric.nn.models import GCN

from graph_metamers import cli, zoo
from helpers import toy_graph

OWN = """
import torch
from torch import nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GCN


def make():
    torch.manual_seed(0)
    return GCN(24, 8, 2, 3)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.conv = nn.LayerNorm(24), GCNConv(24, 8)

    def forward(self, x, edge_index):
        return self.conv(self.norm(x), edge_index)
"""
GRAPH = ("--data", "graph.pt", "--model", "own.py:make", "--layer", "act", "--seeds", "2")
REAL = ("--data", "real.pt", *GRAPH[2:])
NORMED = ("--model", "own.py:Normed", "--layer", "conv", "--seeds", "1")


class Told(NamedTuple):
    code: Any
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Told]:
    """Runs the command line in a folder with a binary and a real-valued graph."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    torch.save(toy_graph(), "graph.pt")
    x = torch.rand(40, 24, generator=torch.Generator().manual_seed(0))
    torch.save(toy_graph(x=x), "real.pt")

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.modules.pop("own", None)
        return Told(ended.value.code, *capsys.readouterr())

    return run


def rows() -> list[dict[str, Any]]:
    return json.loads(Path("audit/audit.json").read_text())["rows"]


@pytest.mark.parametrize(
    ("arguments", "search"),
    [
        ((*GRAPH, "--steps", "3"), "Swap(steps=3)"),
        ((*REAL, "--search", "auto"), "Exact"),
        (("--data", "real.pt", *NORMED, "--steps", "4"), "GaussNewton(steps=4)"),
        (("--data", "graph.pt", *NORMED, "--steps", "4"), "Swap(steps=4)"),
        ((*GRAPH, "--search", "adam", "--lr", "0.05", "--steps", "5"), "Adam(lr=0.05, steps=5)"),
        (
            (*GRAPH, "--search", "swap", "--steps", "3", "--seek", "farthest"),
            "Swap(steps=3, seek='farthest')",
        ),
        ((*GRAPH, "--steps", "3", "--seek", "random"), "Swap(steps=3, seek='random')"),
        ((*REAL, "--search", "exact", "--steps", "20"), "Exact(steps=20)"),
        ((*REAL, "--search", "exact", "--seek", "random"), "Exact(seek='random')"),
        ((*REAL, "--search", "gauss_newton", "--steps", "3"), "GaussNewton(steps=3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_search_that_was_asked_for(arguments, search, run):
    told = run(*arguments)
    assert told.code == 0, told.err
    assert {row["search"] for row in rows()} == {search}
    assert "Traceback" not in told.err
    assert Path("audit/report.html").is_file()
    if "farthest" in search:
        assert {row["feature_similarity"] for row in rows()} == {0.0}


@pytest.mark.filterwarnings("ignore:Sparse ")  # PyTorch's notice on first use
def test_the_default_on_csbm(run, monkeypatch):
    """As someone types it first: the named graph and the named model, trained for a moment."""
    monkeypatch.setattr(zoo.GCN, "default_training", zoo.Training(lr=0.01, epochs=2))
    told = run("--layer", "1", "--seeds", "1", "--steps", "2")
    assert told.code == 0, told.err
    assert {row["search"] for row in rows()} == {"Swap(steps=2)"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (*GRAPH, "--lr", "0.1"),
            r"--lr does not go with --search auto\. It goes with 'adam', 'blocks'\.",
        ),
        ((*GRAPH, "--search", "swap", "--lr", "0.1"), r"--lr does not go with --search swap\."),
        (
            (*GRAPH, "--search", "adam", "--seek", "random"),
            r"--seek does not go with --search adam\. It goes with 'auto', 'swap', 'exact'\.",
        ),
        (
            (*REAL, "--search", "gauss_newton", "--seek", "farthest"),
            r"--seek does not go with --search gauss_newton\.",
        ),
        ((*GRAPH, "--seek", "far"), r"seek must be one of .*'farthest'; got 'far'\."),
        ((*GRAPH, "--search", "swap", "--steps", "0"), r"steps must be a whole number of at least"),
        ((*GRAPH, "--search", "adam", "--lr", "0"), r"lr must be positive and finite; got 0\.0"),
        ((*GRAPH, "--search", "exact"), r"Exact moves real numbers .*; got BinaryFeatures\(.*auto"),
        ((*GRAPH, "--search", "gauss_newton"), r"GaussNewton moves real numbers and needs"),
        ((*REAL, "--search", "swap"), r"Swap exchanges ones and zeros.*ContinuousFeatures\(.*auto"),
        (
            ("--data", "real.pt", *NORMED, "--seek", "farthest"),
            r"seek='farthest' needs binary features of fixed number, or continuous ones",
        ),
    ],
)
def test_what_does_not_go_together(arguments, sentence, run, monkeypatch):
    import jaxtyping

    # As for a user, whose values of wrong types no type check stops.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    told = run(*arguments)
    assert re.search(sentence, told.err), told.err
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert (told.code, told.out) == (2, "")
    assert not Path("audit").exists()


def test_an_unknown_search(run):
    told = run(*GRAPH, "--search", "newton")
    assert "Invalid value for '--search'" in re.sub(r"\s+", " ", told.err)
    assert "Traceback" not in told.err
    assert told.code == 2


def test_accuracy_is_shown_and_that_no_weights_were_given(run):
    told = run(*GRAPH, "--steps", "2")
    assert re.search(r"Accuracy of the model: [\d.]+% train, [\d.]+% val, [\d.]+% test\.", told.out)
    assert "No --weights were given: the model is as its factory returns it." in told.out
    torch.save(GCN(24, 8, 2, 3).state_dict(), "weights.pt")
    told = run(*GRAPH, "--steps", "2", "--weights", "weights.pt", "--out", "other")
    assert told.code in (None, 0)
    assert "No --weights" not in told.out
