"""The command line: what it does, and a mistake as one sentence on stderr with exit code 2."""

import functools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import pytest
import torch
from torch_geometric.nn.models import GCN

import graph_metamers as gm
from graph_metamers import cli, datasets, report, zoo
from helpers import toy_graph, unchecked_types

OWN = """
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GCN


def make(data):
    torch.manual_seed(0)
    return GCN(data.num_features, 8, 2, 3)


class Normed(nn.Module):
    def __init__(self, data):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.conv = nn.LayerNorm(24), GCNConv(24, 8)

    def forward(self, x, edge_index):
        return self.conv(self.norm(x), edge_index)


class Noisy(Normed):
    def forward(self, x, edge_index):
        return F.dropout(self.conv(x, edge_index), 0.5)


class Needy(Normed):
    def forward(self, x, edge_index, edge_type):
        return x


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.ModuleDict({":boom:": GCNConv(24, 3)})

    def layer_names(self):
        return ["net.:boom:"]

    def forward(self, x, edge_index):
        return self.net[":boom:"](x, edge_index)


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = GCNConv(24, 8), GCNConv(24, 3)

    def forward(self, x, edge_index):
        return {"classes": self.b(x, edge_index), "hidden": self.a(x, edge_index)}
"""


WHOLE_REPORT = report.write_report


class Told(NamedTuple):
    code: Any
    out: str
    err: str

    @property
    def words(self) -> str:
        """The output without its line breaks."""
        return " ".join(self.out.split())


Run = Callable[..., Told]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command line in a folder with graphs and models; it trains and reports in brief."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("own.py").write_text(OWN)
    torch.save(toy_graph(), "graph.pt")
    x = torch.rand(40, 24, generator=torch.Generator().manual_seed(0))
    torch.save(toy_graph(x=x), "real.pt")
    torch.save(datasets.hetero_csbm(papers=60), "typed.pt")
    short = zoo.Training(lr=0.01, epochs=3)
    for model in zoo.MODELS.values():
        monkeypatch.setattr(model, "default_training", short)
    monkeypatch.setattr(zoo, "train_recipe", functools.partial(zoo.train_recipe, training=short))
    monkeypatch.setattr(report, "write_report", lambda result, path: path.write_text("brief"))
    small = {"motifs": {"graphs": 10}, "hetero_csbm": {"papers": 60}, "bipartite": {}}
    for name, size in small.items():
        made = functools.partial(getattr(datasets, name), **size)
        monkeypatch.setitem(datasets.BUILT_IN, name, made)

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.modules.pop("own", None)
        return Told(ended.value.code or 0, *capsys.readouterr())

    return run


def audit_json(folder: str = "audit") -> dict[str, Any]:
    return json.loads(Path(folder, "audit.json").read_text())


def rows() -> list[dict[str, Any]]:
    return audit_json()["rows"]


def check(told: Told, sentence: str) -> None:
    assert re.search(sentence, told.err), told.err
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert (told.code, told.out) == (2, "")


MAKE = ("--data", "graph.pt", "--model", "own.py:make")
GRAPH = (*MAKE, "--layer", "act", "--seeds", "2")
REAL = ("--data", "real.pt", *GRAPH[2:])
NORMED = ("--model", "own.py:Normed", "--layer", "conv", "--seeds", "1")
EDGES = (*GRAPH, "--vary", "structure", "--steps", "3")
QUICK = ("--data", "graph.pt", "--steps", "3", "--seeds", "1")


# ---------------------------------------------------------------------- what is searched and how


@pytest.mark.parametrize(
    ("arguments", "vary", "search"),
    [
        ((*GRAPH, "--steps", "3"), "BinaryFeatures", "Swap(steps=3)"),
        ((*REAL, "--search", "auto"), "ContinuousFeatures", "Exact"),
        (
            ("--data", "real.pt", *NORMED, "--steps", "4"),
            "ContinuousFeatures",
            "GaussNewton(steps=4)",
        ),
        (
            (*GRAPH, "--search", "adam", "--lr", "0.05", "--steps", "5"),
            "BinaryFeatures",
            "Adam(lr=0.05, steps=5)",
        ),
        (
            (*GRAPH, "--steps", "3", "--seek", "farthest"),
            "BinaryFeatures",
            "Swap(steps=3, seek='farthest')",
        ),
        ((*REAL, "--search", "exact", "--seek", "random"), None, "Exact(seek='random')"),
        (EDGES, "Edges", "EdgeSwap(steps=3)"),
        ((*EDGES, "--search", "adam"), "Edges", "Adam(steps=3)"),
        (
            (*EDGES, "--degrees", "fixed", "--keep", "0.5"),
            "Edges(degrees='fixed', keep=0.5)",
            "EdgeSwap(steps=3)",
        ),
        ((*GRAPH, "--vary", "weights", "--steps", "3"), "EdgeWeights", "Adam(steps=3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_was_asked_for(arguments, vary, search, run):
    told = run("audit", *arguments)
    assert told.code == 0, told.err
    assert {row["search"] for row in rows()} == {search}
    assert vary is None or {row["vary"] for row in rows()} == {vary}
    assert Path("audit/report.html").is_file()
    if "farthest" in search:
        assert {row["feature_similarity"] for row in rows()} == {0.0}
    if "fixed" in (vary or ""):
        assert all(row["degree_distance"] == 0 for row in rows())
        assert all(row["edges_kept"] <= 0.5 for row in rows())


def test_inputs_vary_by_name(run):
    told = run(
        *("audit", *GRAPH, "--search", "adam", "--steps", "2"),
        *("--vary", "x=features", "--vary", "edge_index=structure"),
    )
    assert told.code == 0, told.err
    m = gm.load(next(Path("audit/metamers").glob("*.pt")))
    assert m.varied == {"x": "features", "edge_index": "structure"}
    assert not m.data.x.equal(m.reference.x)
    assert not m.data.edge_index.equal(m.reference.edge_index)


@pytest.mark.parametrize(
    ("dataset", "options", "model", "varied"),
    [
        ("motifs", ("--layer", "pool"), "motif_gin", {"x": "features"}),
        ("hetero_csbm", ("--layer", "output"), "hetero_sage", {"paper.x", "author.x"}),
        (
            "hetero_csbm",
            ("--model", "HGT", "--layer", "output", "--vary", "paper.x=features"),
            "hgt",
            {"paper.x"},
        ),
        (
            "hetero_csbm",
            (
                *("--model", "han", "--layer", "output"),
                *("--vary", "author-writes-paper.edge_index=structure"),
            ),
            "han",
            {"author-writes-paper.edge_index"},
        ),
        ("bipartite", ("--layer", "convs.1"), "lightgcn", {"edge_index"}),  # it has no features
    ],
)
def test_graphs_of_every_kind(dataset, options, model, varied, run):
    told = run("audit", "--dataset", dataset, *options, "--seeds", "1", "--steps", "2")
    assert told.code == 0, told.err
    assert audit_json()["question"]["model"] == model
    m = gm.load(next(Path("audit/metamers").glob("*.pt")))
    assert set(m.varied) == set(varied)
    assert len(m.items) == (10 if dataset == "motifs" else 1)
    assert (f"of {len(m.items)} graphs" in told.words.lower()) == (dataset == "motifs")
    assert m.agreement in told.out


@pytest.mark.parametrize("task", ["classes", "embedding", "regression"])
def test_the_task_that_was_asked_for(task, run):
    told = run("audit", *GRAPH, "--steps", "2", "--task", task)
    assert told.code == 0, told.err
    assert {row["task"] for row in rows()} == {task}
    assert gm.task.as_task(task).symbol in told.out
    assert (" CS" in told.out) == (task == "classes")


@pytest.mark.filterwarnings("ignore:Sparse ")  # PyTorch's notice on first use
def test_the_default(run, monkeypatch):
    """As someone types it first: the named graph and the named model, and the whole report."""
    monkeypatch.setattr(report, "write_report", WHOLE_REPORT)
    told = run("audit", "--layer", "1", "--seeds", "1", "--steps", "2")
    assert told.code == 0, told.err
    assert [(r["dataset"], r["model"], r["layer"]) for r in rows()] == [("csbm", "gcn", "layer1")]
    assert Path("audit/report.html").stat().st_size > 10_000


# ---------------------------------------------------------------------- what is shown


def test_the_table_of_features(run):
    # Real features, which Exact matches to rounding.
    x = torch.rand(40, 24, generator=torch.Generator().manual_seed(0))
    torch.save(toy_graph(x=x), "graph.pt")
    told = run("audit", *GRAPH)
    head = r"layer +matched +FVU +null +Eq\. 5 +S_feat +start +S_match +CS"
    assert re.search(head, told.out)
    found = [row for row in rows() if row["outcome"] == "matched"]
    assert found
    similar = sum(row["feature_similarity"] for row in found) / len(found)
    line = next(line for line in told.out.splitlines() if line.startswith("act "))
    assert f"{len(found)} of 2" in line
    assert f"{similar:.3f}" in line
    assert "layer's nodes" in told.words
    assert max(map(len, told.out.splitlines())) <= 80


def test_the_table_shows_the_edges_kept_beside_the_similarity(run):
    told = run("audit", *EDGES)
    head = r"layer +matched +FVU +null +Eq\. 5 +S_struct +start +kept +S_match +CS"
    assert re.search(head, told.out)
    assert "S_feat" not in told.out
    assert "kept: share of the reference's edges that stayed" in told.words
    assert "…" not in told.out


def test_why_runs_do_not_match(run):
    told = run("audit", *GRAPH, "--steps", "1", "--tol", "1e-9")
    assert {row["outcome"] for row in rows()} == {"not_matched"}
    (reason,) = {row["reason"] for row in rows()}
    assert f"act (2 of 2): not matched. {reason}" in told.words


def test_how_good_the_model_is_and_that_no_weights_were_given(run):
    told = run("audit", *GRAPH, "--steps", "2")
    accuracy = audit_json()["quality"]["test"]["accuracy"]
    assert f"The model on test: accuracy {accuracy:.3f}." in told.words
    assert "No --weights were given" in told.out
    torch.save(GCN(24, 8, 2, 3).state_dict(), "weights.pt")
    told = run("audit", *GRAPH, "--steps", "2", "--weights", "weights.pt", "--out", "other")
    assert told.code == 0
    assert "No --weights" not in told.out


def test_names_of_the_user_stand_for_themselves(run):
    torch.save(toy_graph(), "[red].pt")
    told = run(
        "audit", "--data", "[red].pt", "--model", "own.py:Odd", *QUICK[2:], "--out", "[b]:x:"
    )
    assert told.code == 0, told.err
    assert "Odd on [red].pt" in told.out
    assert "net.:boom:" in told.out
    assert "[b]:x:/report.html" in told.out


def test_layers_are_listed(run):
    told = run("layers", *MAKE)
    assert told == (0, "convs.0 [40, 8]\nact [40, 8]\nconvs.1 [40, 3]\n", "")


def test_each_tensor_of_a_layer_is_listed(run):
    told = run("layers", "--data", "graph.pt", "--model", "own.py:Both")
    assert {"output[classes] [40, 3]", "output[hidden] [40, 8]"} <= set(told.out.splitlines())
    told = run("audit", *QUICK, "--model", "own.py:Both", "--layer", "output[hidden]")
    assert told.code == 0, told.err
    assert [row["layer"] for row in rows()] == ["output[hidden]"]


@pytest.mark.parametrize(
    ("command", "names"),
    [("models", [*zoo.MODELS, *zoo.RECIPES]), ("datasets", list(datasets.NAMES))],
)
def test_what_there_is(command, names, run):
    told = run(command)
    assert (told.code, told.err) == (0, "")
    assert [line.split()[0] for line in told.out.splitlines()] == names
    assert all(len(line.split()) > 3 for line in told.out.splitlines())


def test_the_version_is_told(run):
    assert run("--version") == (0, f"graph-metamers {gm.__version__}\n", "")


def test_without_a_command_there_is_help(run):
    told = run()
    assert "audit" in told.out + told.err
    assert "Traceback" not in told.err


# ---------------------------------------------------------------------- the zoo's models


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_is_audited(name, run):
    told = run("audit", *QUICK, "--model", name.upper(), "--layer", "2")
    assert told.code == 0, told.err
    assert f"{name} on graph.pt" in told.out
    assert audit_json()["question"]["layers"] == ["layer2"]


def test_layers_by_number_and_jointly(run):
    assert run("audit", *QUICK, "--layer", "1+layer2").code == 0
    before = audit_json()["question"]
    told = run("audit", *QUICK, "--layer", "layer1+layer2")  # the same: nothing is done again
    assert told.code == 0, told.err
    assert audit_json()["question"] == before
    assert set(rows()[0]["layer_errors"]) == {"layer1", "layer2"}


@pytest.mark.parametrize("layer", ["0", "3", "-1", "²", "1.0", "01x", ""])
def test_a_layer_that_there_is_not(layer, run):
    check(run("audit", *QUICK, f"--layer={layer}"), f"layer='{layer}' is not a layer of GCN")
    assert not Path("audit").exists()


@pytest.mark.parametrize("factory", ["make", "Odd"])
def test_numbers_are_for_zoo_models(factory, run):
    told = run("audit", *QUICK, "--model", f"own.py:{factory}", "--layer", "1")
    check(told, r"layer='1' is not a layer of ")


def test_options_reach_the_model(run, monkeypatch):
    seen: list[Any] = []
    train = zoo.train

    def watched(name: str, data: Any, **options: Any) -> Any:
        result = train(name, data, **options)
        seen.append((name, options, result.model))
        return result

    monkeypatch.setattr(zoo, "train", watched)
    attack = zoo.AdversarialTraining()
    own = zoo.Training(lr=0.02, epochs=2, validate_every=2)
    monkeypatch.setattr(zoo.GIN, "default_training", own)
    told = run(
        *("layers", "--data", "graph.pt", "--model", "gin", "--hidden", "12", "--depth", "3"),
        *("--activation", "elu", "--residual", "--adversarial"),
    )
    assert told.code == 0, told.err
    assert {"layer1 [40, 12]", "layer2 [40, 12]", "layer3 [40, 3]"} <= set(told.out.splitlines())
    assert run("layers", "--data", "graph.pt").code == 0
    (name, options, model), second = seen
    training = options.pop("training")
    assert name == "gin"
    assert options == {"hidden": 12, "depth": 3, "activation": "elu", "residual": True}
    assert training == zoo.Training(0.02, epochs=2, validate_every=2, adversarial=attack)
    assert isinstance(model.layer1.activation, torch.nn.ELU)
    assert model.layer1.skip is not None
    assert second[:2] == ("gcn", {})  # without options the model's own defaults stand


def test_options_make_another_model(run):
    """An audit of one is not gone on with for another."""
    assert run("audit", *QUICK, "--layer", "1").code == 0
    told = run("audit", *QUICK, "--layer", "1", "--residual")
    check(told, "out='audit' already holds another audit")


# ---------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--dataset", "coara"), "Did you mean 'cora'"),
        (("--dataset", "csbm", "--data", "graph.pt"), "give one of them"),
        ((*MAKE, "--undirected"), "--undirected"),
        (("--data", "graph.pt", "--weights", "weights.pt"), "--weights goes with"),
        (("--data", "graph.pt", "--model", "gccn"), "'gccn'.* Did you mean 'gcn'"),
        (("--data", "graph.pt", "--model", "gta", "--adversarial"), "'gta'.* Did you mean 'gat'"),
        (("--dataset", "hetero_csbm", "--model", "gcn"), "Choose among 'hetero_sage'"),
        (("--dataset", "csbm", "--model", "hgt"), "Choose among 'gcn'"),
        (("--data", "typed.pt"), "Choose among 'FILE.py:FACTORY'"),
        (("--data", "no.pt"), "no such file"),
        (("--data", "."), "no such file"),
        ((*MAKE, "--weights", "no.pt"), "no such file"),
        ((*MAKE[:3], "own.py:mkae"), "Did you mean 'make'"),
        *(((*MAKE, "--device", name), "Try cpu") for name in ("quantum", "cuda:99", "meta", "")),
        (("--data", "graph.pt", "--hidden", "0"), "hidden must be .* got 0"),
        (("--data", "graph.pt", "--depth", "0"), "depth must be .* got 0"),
        (("--data", "graph.pt", "--model", "gat", "--hidden", "12"), "multiple of heads"),
        *(
            ((*MAKE, *option), "go with 'gcn'")
            for option in [("--hidden", "8"), ("--residual",), ("--adversarial",)]
        ),
        (("--dataset", "motifs", "--depth", "3"), "go with 'gcn'.* got --model motif_gin"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["layers", "audit"])
def test_a_graph_or_a_model_that_cannot_be(arguments, sentence, command, run):
    check(run(command, *arguments), sentence)
    assert not Path("audit").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((*MAKE[:3], "own.py:Noisy", "--layer", "output"), "differs between two runs"),
        ((*MAKE[:3], "own.py:Needy", "--layer", "conv"), "needs 'edge_type'"),
        ((*MAKE, "--layer", "acct"), "Did you mean 'act'"),
        ((*GRAPH, "--steps", "0"), "steps must be .* got 0"),
        ((*GRAPH, "--seeds", "-1"), "seeds must be .* got -1"),
        *(((*GRAPH, "--tol", value), "tol must be") for value in ("0", "-0.1", "nan", "inf")),
        ((*GRAPH, "--task", "sorting"), "task='sorting' is not a task"),
        ((*GRAPH, "--task", "binary"), "task='binary' needs"),
        ((*GRAPH, "--search", "newton"), "search must be one of"),
        ((*GRAPH, "--lr", "0.1"), "--lr does not go with Auto"),
        ((*GRAPH, "--search", "adam", "--lr", "0"), "lr must be"),
        ((*GRAPH, "--search", "adam", "--seek", "random"), "--seek does not go with Adam"),
        ((*GRAPH, "--seek", "far"), "seek must be"),
        ((*GRAPH, "--search", "exact"), "Exact moves real numbers"),
        ((*REAL, "--search", "swap"), "Swap exchanges ones and zeros"),
        ((*GRAPH, "--search", "edge_swap"), "EdgeSwap exchanges edges"),
        ((*GRAPH, "--vary", "colours"), "--vary must be"),
        ((*GRAPH, "--vary", "x=colours"), "--vary must be"),
        ((*GRAPH, "--vary", "features", "--vary", "structure"), "--vary must be"),
        ((*GRAPH, "--vary", "x=features", "--vary", "x=features"), "--vary must be"),
        ((*GRAPH, "--vary", "features", "--vary", "x=features"), "--vary must be"),
        ((*GRAPH, "--vary", "paper.x=features"), "has no 'paper.x'"),
        ((*GRAPH, "--degrees", "fixed"), "--degrees and --keep go with --vary structure"),
        ((*GRAPH, "--vary", "weights", "--keep", "0.1"), "go with --vary structure"),
        ((*EDGES, "--degrees", "same"), "degrees must be"),
        ((*EDGES, "--keep", "1.5"), r"got 1\.5"),
        (("--dataset", "hetero_csbm", "--vary", "structure"), "edges of 3 types"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(arguments, sentence, run):
    with unchecked_types():
        check(run("audit", *arguments), sentence)
    assert not Path("audit").exists()


@pytest.mark.parametrize("option", ["--steps=many", "--steps=1.5", "--seeds=nan", "--nonsense"])
def test_what_the_option_parser_refuses(option, run):
    told = run("audit", *GRAPH, option)
    assert option.partition("=")[0] in told.err
    assert "Traceback" not in told.err
    assert told.code == 2


@pytest.mark.parametrize(
    ("x", "sentence"),
    [(toy_graph().x.long(), "float"), (toy_graph().x / 0, r"data\.x must be finite")],
    ids=["codes", "not finite"],
)
def test_features_that_cannot_vary(x, sentence, run):
    torch.save(toy_graph(x=x).to_dict(), "graph.pt")
    check(run("audit", *GRAPH), sentence)


def test_a_dataset_that_cannot_be_downloaded(run, monkeypatch):
    def unreachable(self: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.delenv("GRAPH_METAMERS_DATA", raising=False)
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", "cache")
    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", unreachable)
    check(run("audit", "--dataset", "Cora"), r"could not be loaded \(URLError: .*\)")


@pytest.mark.parametrize("out", ["graph.pt", "graph.pt/audit", "taken", "stray", "broken"])
def test_a_place_that_cannot_be_written(out, run):
    for folder in ("taken", "stray/metamers", "broken"):
        Path(folder).mkdir(parents=True)
    Path("taken/audit.json").write_text(json.dumps({"question": {"layers": ["other"]}}))
    Path("broken/audit.json").write_text('{"question": ')
    torch.save({}, "stray/metamers/000.pt")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    check(run("audit", *GRAPH, "--steps", "2", "--out", out), out)
    assert {path: path.read_bytes() for path in before} == before


def test_brackets_in_a_sentence_are_no_markup(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # nor is a long one broken
    Path("[red]:boom:.pt").write_text("text")
    check(run("layers", "--data", "[red]:boom:.pt"), r"^Error: '\[red\]:boom:\.pt' must be a graph")


def test_stopping_says_how_to_go_on(run, monkeypatch):
    def stopped(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "audit", stopped)
    told = run("audit", *GRAPH)
    assert (told.code, told.out) == (130, "")
    assert told.err.startswith("Stopped.")


def test_as_a_program(tmp_path):
    """Once for real: another process, without the tests' type checks and settings."""
    program = "from graph_metamers.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "layers", "--data", "no.pt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    check(Told(ended.returncode, ended.stdout, ended.stderr), "'no.pt' must be a graph")
