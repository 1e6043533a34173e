"""Structure on the command line: --vary, --degrees and --keep."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import graph_metamers as gm
from graph_metamers import cli

OWN = """
import torch
import graph_metamers as gm


def make():
    torch.manual_seed(0)
    return gm.zoo.GCN(40, 3)
"""
GRAPH = ("--data", "graph.pt", "--model", "own.py:make", "--seeds", "2", "--steps", "3")
STRUCTURE = (*GRAPH, "--layer", "layer1", "--vary", "structure")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    """Runs `audit` in a folder with a graph and a model; exit code, output, complaints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "own.py").write_text(OWN)
    torch.save(gm.datasets.csbm(nodes=60, features=40), "graph.pt")

    def run(*arguments: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", "audit", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.modules.pop("own", None)
        return (ended.value.code, *capsys.readouterr())

    return run


def rows() -> list[dict[str, Any]]:
    return json.loads(Path("audit/audit.json").read_text())["rows"]


@pytest.mark.parametrize(
    ("arguments", "vary", "search"),
    [
        (STRUCTURE, "Edges", "EdgeSwap(steps=3)"),
        ((*STRUCTURE, "--search", "edge_swap"), "Edges", "EdgeSwap(steps=3)"),
        ((*STRUCTURE, "--search", "adam"), "Edges", "Adam(steps=3)"),
        ((*STRUCTURE, "--search", "blocks"), "Edges", "Blocks(steps=3)"),
        (
            (*STRUCTURE, "--degrees", "fixed", "--keep", "0.5"),
            "Edges(degrees='fixed', keep=0.5)",
            "EdgeSwap(steps=3)",
        ),
        ((*GRAPH, "--layer", "layer1", "--vary", "weights"), "EdgeWeights", "Adam(steps=3)"),
    ],
)
def test_what_varies(arguments, vary, search, run):
    code, _, complaints = run(*arguments)
    assert code == 0, complaints
    assert {row["vary"] for row in rows()} == {vary}
    assert {row["search"] for row in rows()} == {search}
    assert Path("audit/report.html").is_file()
    if "fixed" in vary:
        assert all(row["degree_distance"] == 0 for row in rows())
        assert all(row["edges_kept"] <= 0.5 for row in rows())


def test_the_table_shows_the_edges_kept_beside_the_similarity(run):
    _, out, _ = run(*STRUCTURE, "--tol", "1")
    assert re.search(r"layer +matched +error +null +S_struct +start +kept +S_match +CS", out)
    assert "S_feat" not in out
    assert "…" not in out
    words = " ".join(out.split())
    assert "S_struct: structure similarity, 1 is a graph of the same shape" in words
    assert "kept: share of the reference's edges that stayed" in words
    kept = sum(row["edges_kept"] for row in rows()) / 2
    assert f" {kept:.3f} " in words


def test_the_table_of_weights(run):
    _, out, _ = run(*GRAPH, "--layer", "layer1", "--vary", "weights")
    assert re.search(r"layer +matched +error +null +S_weight +start +S_match +CS", out)
    assert "S_weight: similarity of the edge weights" in " ".join(out.split())


@pytest.mark.parametrize("trivial", [True, False])
def test_a_trivial_metamer_is_told(run, monkeypatch, trivial):
    whole = gm.audit

    def audit(*arguments: Any, **options: Any) -> gm.Audit:
        found = whole(*arguments, **options)
        told = [replace(m, notes=m.notes | {"isomorphic": float(trivial)}) for m in found.metamers]
        return replace(found, metamers=told)

    monkeypatch.setattr(cli, "audit", audit)
    words = " ".join(run(*STRUCTURE)[1].split())
    sentence = (
        "layer1, seed 1: the graph found is the reference with equal nodes exchanged, a trivial "
        "metamer."
    )
    assert (sentence in words) == trivial


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (*GRAPH, "--degrees", "fixed"),
            r"--degrees does not go with --vary features\. It goes with 'structure'\.",
        ),
        (
            (*GRAPH, "--vary", "weights", "--keep", "0.1"),
            r"--keep does not go with --vary weights\. It goes with 'structure'\.",
        ),
        ((*STRUCTURE, "--degrees", "same"), r"degrees must be 'free' or 'fixed'; got 'same'\."),
        ((*STRUCTURE, "--keep", "1.5"), r"keep is the share of the edges that may stay.*got 1\.5"),
        ((*STRUCTURE, "--search", "swap"), r"Swap exchanges ones and zeros.*got Edges"),
        ((*GRAPH, "--search", "edge_swap"), r"EdgeSwap exchanges edges and needs vary=Edges\(\)"),
        (
            (*STRUCTURE, "--seek", "farthest", "--search", "edge_swap"),
            r"--seek does not go with --search edge_swap\.",
        ),
    ],
)
def test_what_does_not_go_together(arguments, sentence, run, monkeypatch):
    import jaxtyping

    # As for a user, whose values of wrong types no type check stops.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    code, out, complaints = run(*arguments)
    assert re.search(sentence, complaints), complaints
    assert complaints.startswith("Error: ")
    assert complaints.count("\n") == 1
    assert (code, out) == (2, "")
    assert not Path("audit").exists()


def test_undirected_goes_with_a_dataset(run: Callable[..., tuple[Any, str, str]]) -> None:
    code, _, complaint = run(*STRUCTURE, "--undirected")
    assert code == 2
    assert re.search("--undirected goes with --dataset; got --data", complaint)


def test_layers_are_matched_jointly(run: Callable[..., tuple[Any, str, str]]) -> None:
    run(*GRAPH, "--layer", "1+layer2", "--vary", "structure")
    row = rows()[0]
    assert row["layer"] == "layer1 + layer2"
    assert set(row["layer_errors"]) == {"layer1", "layer2"}
