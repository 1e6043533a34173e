"""On the command line a mistake is one sentence on stderr and exit code 2, never a traceback."""

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

from graph_metamers import cli
from helpers import BAD_FILES, BAD_GRAPHS, UNSUITABLE_GRAPHS, seeded, toy_graph

MODELS = """
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.nn import GCNConv
from torch_geometric.nn.models import GCN


def make():
    torch.manual_seed(0)
    return GCN(24, 8, 2, 3)


def fitting(data):
    return GCN(data.num_features, 8, 2, 3)


def deep():
    return GCN(24, 8, 3, 3)


def lazy():
    return GCN(-1, 8, 2, 3)


def wide():
    return GCN(24, 16, 2, 3)


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = GCNConv(24, 3)

    def forward(self, x, edge_index):
        return F.dropout(self.conv(x, edge_index), 0.5)


class Off(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = GCNConv(24, 3)
        nn.init.constant_(self.conv.bias, -100.0)

    def forward(self, x, edge_index):
        return F.relu(self.conv(x, edge_index))


class Needy(Off):
    def forward(self, x, edge_index, edge_type):
        return x


instance = make()
number = 3


def raises():
    raise KeyError("colour")


def stops():
    sys.exit("wrong number of arguments")


def nothing():
    return None


def two(data, hidden):
    return make()
"""


class Told(NamedTuple):
    code: Any
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Told]:
    """Runs the command line in a folder with a graph, a model and its weights."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODELS)
    torch.save(toy_graph(), "graph.pt")
    before = set(sys.modules)

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        for name in set(sys.modules) - before:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == tmp_path:
                del sys.modules[name]
        return Told(ended.value.code, *capsys.readouterr())

    return run


def check(told: Told, sentence: str) -> None:
    assert re.search(sentence, told.err), told.err
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert told.out == ""
    assert told.code == 2


OWN = ("--data", "graph.pt", "--model", "models.py:make")
QUICK = ("--layer", "act", "--steps", "2", "--seeds", "1")


def test_what_is_well_goes_well(run):
    torch.save(seeded_weights(), "weights.pt")
    told = run("layers", *OWN, "--weights", "weights.pt")
    assert told == (0, "convs.0 [40, 8]\nact [40, 8]\nconvs.1 [40, 3]\n", "")
    for spec in ("models.py:fitting", "models.py:instance"):
        assert run("layers", "--data", "graph.pt", "--model", spec).out == told.out


def seeded_weights() -> dict[str, torch.Tensor]:
    from torch_geometric.nn.models import GCN

    return seeded(lambda: GCN(24, 8, 2, 3)).state_dict()


@pytest.mark.parametrize("command", ["layers", "audit"])
@pytest.mark.parametrize(
    ("graph", "sentence"),
    [*BAD_GRAPHS.values(), *UNSUITABLE_GRAPHS.values()],
    ids=[*BAD_GRAPHS, *UNSUITABLE_GRAPHS],
)
def test_a_graph_that_cannot_be_used(graph, sentence, command, run):
    torch.save(graph(), "graph.pt")
    check(run(command, *OWN), sentence)


def test_a_graph_as_a_dictionary_of_tensors(run):
    torch.save({"x": toy_graph().x.long(), "edge_index": toy_graph().edge_index}, "graph.pt")
    check(run("layers", *OWN), r"got int64 \[40, 24\]\. Convert it with data\.x\.float\(\)\.")


@pytest.mark.parametrize(
    ("factory", "layer", "sentence"),
    [
        (
            "make",
            "acct",
            r"layer='acct' is not a layer of GCN\. Did you mean 'act'\? It has 'convs\.0', 'act', "
            r"'convs\.1'; see graph_metamers\.layers",
        ),
        ("make", "", r"layer='' is not a layer of GCN"),
        ("deep", "act", r"layer='act' is ambiguous: .* Choose one of 'act:0', 'act:1'\."),
        ("Noisy", "output", r"The activation at output differs between two runs .* F\.dropout"),
        ("Off", "F.relu", r"The activation at F\.relu is zero everywhere .* Choose another layer"),
        ("Needy", "conv", r"Needy\.forward needs 'edge_type', which data lacks\."),
        ("lazy", "act", r"model's 'convs\.0\.lin\.weight' has no shape yet"),
    ],
)
def test_a_model_or_a_layer_that_cannot_be_read(factory, layer, sentence, run):
    spec = f"models.py:{factory}"
    told = run("audit", "--data", "graph.pt", "--model", spec, "--layer", layer)
    check(told, sentence)
    assert not Path("audit").exists()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--steps", "0", "steps must be a whole number of at least 1; got 0"),
        ("--steps", "-5", "steps must be a whole number of at least 1; got -5"),
        ("--seeds", "0", "seeds must be a whole number of at least 1; got 0"),
        ("--seeds", "-1", "seeds must be a whole number of at least 1; got -1"),
        ("--tol", "0", "tol must be positive and finite; got 0"),
        ("--tol", "-0.1", "tol must be positive and finite; got -0.1"),
        ("--tol", "nan", "tol must be positive and finite; got nan"),
        ("--tol", "inf", "tol must be positive and finite; got inf"),
    ],
)
def test_a_number_out_of_range(option, value, sentence, run):
    check(run("audit", *OWN, "--layer", "act", option, value), re.escape(sentence))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--steps", "many"), "Invalid value for '--steps'"),
        (("--steps", "1.5"), "Invalid value for '--steps'"),
        (("--seeds", "nan"), "Invalid value for '--seeds'"),
        (("--tol", "small"), "Invalid value for '--tol'"),
        (("--vary", "colours"), "Invalid value for '--vary'"),
        (("--nonsense",), "No such option: --nonsense"),
    ],
)
def test_what_the_option_parser_refuses(arguments, sentence, run):
    told = run("audit", *OWN, *arguments)
    assert sentence in re.sub(r"\s+", " ", told.err)
    assert "Traceback" not in told.err
    assert told.code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--dataset", "coara"),
            r"dataset='coara' is not a dataset\. Did you mean 'cora'\? Choose among 'csbm', ",
        ),
        (
            ("--dataset", "csbm", "--data", "graph.pt"),
            r"--dataset and --data name two graphs; give one of them\.",
        ),
        (
            ("--data", "graph.pt", "--weights", "weights.pt"),
            r"--weights goes with your own model, --model FILE\.py:FACTORY; got --model gcn\.",
        ),
        (
            ("--data", "graph.pt", "--model", "gccn"),
            r"model='gccn' is not a zoo model\. Did you mean 'gcn'\? Choose among 'gcn'",
        ),
        (("--data", "no.pt"), r"'no\.pt' must be a graph .*; there is no such file\."),
        (("--data", "."), r"'\.' must be a graph .*; there is no such file\."),
        ((*OWN, "--device", "quantum"), r"--device 'quantum' cannot be used here \(.+\)\. Try cpu"),
        ((*OWN, "--device", "cuda:99"), r"--device 'cuda:99' cannot be used here \(.+\)\. Try cpu"),
        ((*OWN, "--device", "meta"), r"--device 'meta' cannot be used here \(.+\)\. Try cpu\."),
        ((*OWN, "--device", ""), r"--device '' cannot be used here \(.+\)\. Try cpu\."),
        ((*OWN, "--weights", "no.pt"), r"'no\.pt' must be a state_dict .*; there is no such file"),
    ],
)
@pytest.mark.parametrize("command", ["layers", "audit"])
def test_options_that_do_not_go(arguments, sentence, command, run):
    check(run(command, *arguments), sentence)


def test_a_dataset_that_cannot_be_downloaded(run, monkeypatch):
    def unreachable(self: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.delenv("GRAPH_METAMERS_DATA", raising=False)
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", "cache")
    monkeypatch.setattr("torch_geometric.datasets.Planetoid.download", unreachable)
    check(
        run("audit", "--dataset", "Cora"),
        r"dataset='cora' could not be loaded \(URLError: .*\)\. Connect to the internet, or ",
    )


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("models.py", r"--model 'models\.py' must be FILE\.py:FACTORY, or one of the zoo's models"),
        ("models.py:", r"--model 'models\.py:' must be FILE\.py:FACTORY"),
        (":make", r"--model ':make' must be FILE\.py:FACTORY"),
        ("no.py:make", r"--model 'no\.py:make': there is no file 'no\.py'\."),
        ("graph.pt:make", r"--model 'graph\.pt:make': 'graph\.pt' must be a Python file\."),
        (
            "models.py:mkae",
            r"'models\.py' has no 'mkae'\. Did you mean 'make'\? It has 'make', .*'Noisy'",
        ),
        ("models.py:number", r"'number' in 'models\.py' must be a function that returns a model"),
        (
            "models.py:nothing",
            r"'nothing' in 'models\.py' must return a torch\.nn\.Module; it returned NoneType\.",
        ),
        (
            "models.py:raises",
            r"'raises' in 'models\.py' failed \(KeyError: 'colour'\)\. It is call",
        ),
        ("models.py:stops", r"'stops' in 'models\.py' failed \(SystemExit: wrong number of arg"),
        ("models.py:two", r"'two' in 'models\.py' failed \(TypeError: .*'hidden'\)\. It is called"),
        ("syntax.py:make", r"'syntax\.py' could not be imported \(SyntaxError: .*line 1\)\)\."),
        ("name.py:make", r"'name\.py' could not be imported \(NameError: name 'undefined' is not"),
        ("script.py:make", r"'script\.py' could not be imported \(SystemExit: usage\)\."),
        ("empty.py:make", r"'empty\.py' has no 'make'\. It has nothing\."),
        ("bytes.py:make", r"'bytes\.py' could not be imported \(\w+: .*\)\."),
    ],
)
def test_a_model_file_that_cannot_be_used(spec, sentence, run):
    Path("syntax.py").write_text("def make(:\n")
    Path("name.py").write_text("undefined\n")
    Path("script.py").write_text("import sys\nsys.exit('usage')\n")
    Path("empty.py").write_text("import torch\n")
    Path("bytes.py").write_bytes(b"\x80\x04\x95\x00\x00")
    check(run("layers", "--data", "graph.pt", "--model", spec), sentence)


@pytest.mark.parametrize("option", ["--data", "--weights"])
@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_holds_something_else(content, option, run):
    path, marker = Path("file.pt"), Path("marker").resolve()
    BAD_FILES[content](path, marker)
    arguments = {"--data": (), "--weights": ("--data", "graph.pt")}[option]
    told = run("layers", *arguments, "--model", "models.py:make", option, "file.pt")
    kind = {"--data": "a graph", "--weights": "a state_dict"}[option]
    check(told, rf"'file\.pt' must be {kind} .*(it cannot be read as one|it holds )")
    if "malicious" in content:
        assert "was refused, nothing in it was run" in told.err
    assert not marker.exists()


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--data", {"x": 1.0}, r"'file\.pt' must be a graph \(.*\); it holds dict\."),
        ("--data", {"weight": torch.ones(2)}, r"data\.x must be .*; data has none"),
        ("--weights", {"weight": 1}, r"'file\.pt' must be a state_dict \(.*\); it holds dict\."),
        ("--weights", {"state_dict": [1]}, r"must be a state_dict \(.*\); it holds list\."),
    ],
)
def test_a_dictionary_of_something_else(option, value, sentence, run):
    torch.save(value, "file.pt")
    arguments = {"--data": (), "--weights": ("--data", "graph.pt")}[option]
    check(run("layers", *arguments, "--model", "models.py:make", option, "file.pt"), sentence)


@pytest.mark.parametrize("wrapped", [None, "state_dict", "model_state_dict"])
def test_weights_that_do_not_fit(wrapped, run):
    state = seeded_weights()
    torch.save(state if wrapped is None else {wrapped: state, "epoch": 3}, "weights.pt")
    assert run("layers", *OWN, "--weights", "weights.pt").code == 0
    told = run(
        *("layers", "--data", "graph.pt", "--model", "models.py:wide", "--weights", "weights.pt")
    )
    check(
        told,
        r"'weights\.pt' does not fit GCN: Error\(s\) in loading state_dict for GCN: size mismatch "
        r"for convs\.0\.bias",
    )
    told = run(
        *("layers", "--data", "graph.pt", "--model", "models.py:deep", "--weights", "weights.pt")
    )
    check(told, r"does not fit GCN: .*Missing key\(s\) in state_dict: \"convs\.2\.bias\"")


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("graph.pt", r"out='graph\.pt' must be a folder; there is a file of that name\."),
        ("graph.pt/audit", r"'graph\.pt/audit' cannot be made \(.*\)\. Choose another place\."),
        ("taken", r"out='taken' already holds another audit \(.*layers.* differ\)\. Choose an"),
        ("stray", r"out='stray' holds metamers but no audit\.json that says what they are\."),
        ("broken", r"'broken/audit\.json' must be a readable JSON file"),
    ],
)
def test_a_place_that_cannot_be_written(out, sentence, run):
    for folder in ("taken", "stray/metamers", "broken"):
        Path(folder).mkdir(parents=True)
    Path("taken/audit.json").write_text(json.dumps({"question": {"layers": ["other"]}}))
    Path("broken/audit.json").write_text('{"question": ')
    torch.save({}, "stray/metamers/000.pt")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    check(run("audit", *OWN, *QUICK, "--out", out), sentence)
    assert {p: p.read_bytes() for p in before} == before


def test_brackets_in_a_sentence_are_no_markup(run):
    Path("[red].pt").write_text("text")
    check(run("layers", "--data", "[red].pt"), r"^Error: '\[red\]\.pt' must be a graph")


def test_a_long_sentence_stays_on_one_line(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    check(run("layers", "--dataset", "coara"), "Did you mean 'cora'")


def test_stopping_says_how_to_go_on(run, monkeypatch):
    def stopped(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "audit", stopped)
    told = run("audit", *OWN)
    assert told == (130, "", "Stopped. The same command goes on from what was saved.\n")


def test_without_a_command_there_is_help(run):
    told = run()
    assert "audit" in told.out
    assert "layers" in told.out
    assert "Traceback" not in told.err


def test_as_a_program(tmp_path):
    """Once for real: another process, without the tests' type checks and settings."""
    data = toy_graph(x=toy_graph().x.long())
    torch.save(data, tmp_path / "graph.pt")
    program = "from graph_metamers.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", program, "layers", "--data", "graph.pt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "Error: data.x must be a floating point matrix [nodes, features]; got int64 [40, 24]. "
        "Convert it with data.x.float().\n"
    )
