"""The zoo's models on the command line: by name, with their options, layers by number."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import graph_metamers as gm
from graph_metamers import cli, zoo

QUICK = ("--data", "graph.pt", "--steps", "3", "--seeds", "1")
OWN = """
from torch import nn
from torch_geometric.nn.models import GCN


def make(data):
    return GCN(data.num_features, 8, 2, 3)


class Numbered(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = GCN(40, 8, 2, 3)

    def layer_names(self):
        return []

    def forward(self, x, edge_index):
        return self.net(x, edge_index)
"""


class Told(NamedTuple):
    code: Any
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, small
) -> Callable[..., Told]:
    """Runs the command line in a folder with a small graph; training takes three epochs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    torch.save(small, "graph.pt")
    Path("own.py").write_text(OWN)
    for model in zoo.MODELS.values():
        monkeypatch.setattr(model, "default_training", zoo.Training(lr=0.01, epochs=3))

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["graph-metamers", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        sys.modules.pop("own", None)
        return Told(ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any], Any]]:
    """What was trained: name, options, result."""
    seen: list[tuple[str, dict[str, Any], Any]] = []
    train = zoo.train

    def watched(name: str, data: Any, **options: Any) -> Any:
        result = train(name, data, **options)
        seen.append((name, options, result.model))
        return result

    monkeypatch.setattr(zoo, "train", watched)
    return seen


def check(told: Told, sentence: str) -> None:
    assert re.search(sentence, told.err), told.err
    assert told.err.startswith("Error: ")
    assert told.err.count("\n") == 1
    assert "Traceback" not in told.err
    assert (told.code, told.out) == (2, "")


def layers_of(folder: str = "audit") -> list[str]:
    return json.loads(Path(folder, "audit.json").read_text())["question"]["layers"]


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_is_audited(name, run):
    told = run("audit", *QUICK, "--model", name, "--layer", "2")
    assert told.code == 0, told.err
    assert f"{name} on graph.pt" in told.out
    assert Path("audit/report.html").is_file()
    assert layers_of() == ["layer2"]
    assert "NaN" not in Path("audit/audit.json").read_text()


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_lists_its_layers(name, run):
    told = run("layers", "--data", "graph.pt", "--model", name.upper())
    assert told.code == 0, told.err
    listed = [line.split(" ")[0] for line in told.out.splitlines()]
    assert {"layer1", "layer2"} <= set(listed)


def test_a_layer_by_its_number(run):
    assert run("audit", *QUICK, "--layer", "1").code == 0
    before = Path("audit/audit.json").read_text()
    told = run("audit", *QUICK, "--layer", "layer1")  # the same question: nothing is done again
    assert told.code == 0, told.err
    assert (
        json.loads(Path("audit/audit.json").read_text())["question"]
        == (json.loads(before)["question"])
    )
    assert layers_of() == ["layer1"]


@pytest.mark.parametrize("layer", ["0", "3", "-1", "²", "1.0", "01x"])
def test_a_number_that_no_layer_has(layer, run):
    told = run("audit", *QUICK, f"--layer={layer}")
    check(told, rf"layer='{re.escape(layer)}' is not a layer of GCN")
    assert not Path("audit").exists()


def test_numbers_are_for_zoo_models(run):
    for factory in ("make", "Numbered"):
        told = run("audit", *QUICK, "--model", f"own.py:{factory}", "--layer", "1")
        check(told, r"layer='1' is not a layer of ")


def test_options_reach_the_model(run, trained):
    told = run(
        *("layers", "--data", "graph.pt", "--model", "gin", "--hidden", "12", "--depth", "3"),
        *("--activation", "elu", "--residual", "--adversarial"),
    )
    assert told.code == 0, told.err
    assert {"layer1 [60, 12]", "layer2 [60, 12]", "layer3 [60, 3]"} <= set(told.out.splitlines())
    ((name, options, model),) = trained
    assert name == "gin"
    training = options.pop("training")
    assert options == {"hidden": 12, "depth": 3, "activation": "elu", "residual": True}
    assert training == zoo.Training(lr=0.01, epochs=3, adversarial=zoo.AdversarialTraining())
    assert isinstance(model.layer1.activation, torch.nn.ELU)
    assert model.layer1.skip is not None


def test_without_options_the_models_own_defaults_stand(run, trained):
    assert run("layers", "--data", "graph.pt").code == 0
    assert [(name, options) for name, options, _ in trained] == [("gcn", {})]


def test_adversarial_keeps_the_models_own_training(run, trained, monkeypatch):
    own = zoo.Training(lr=0.02, epochs=2, validate_every=2)
    monkeypatch.setattr(zoo.Graphormer, "default_training", own)
    told = run("layers", "--data", "graph.pt", "--model", "Graphormer", "--adversarial")
    assert told.code == 0, told.err
    ((_, options, _),) = trained
    attack = zoo.AdversarialTraining()
    assert options == {"training": zoo.Training(0.02, epochs=2, validate_every=2,
                                                adversarial=attack)}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--hidden", "0"), r"hidden must be a whole number of at least 1; got 0\."),
        (("--depth", "0"), r"depth must be a whole number of at least 1; got 0\."),
        (("--model", "gat", "--hidden", "12"), r"hidden must be a multiple of heads=8; got 12\."),
        (("--model", "gta", "--adversarial"), r"model='gta' is not a zoo model\. Did you mean 'g"),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["layers", "audit"])
def test_options_that_cannot_be(options, sentence, command, run):
    check(run(command, "--data", "graph.pt", *options), sentence)


@pytest.mark.parametrize("command", ["layers", "audit"])
@pytest.mark.parametrize(
    "option",
    [("--hidden", "8"), ("--depth", "3"), ("--activation", "elu"), ("--residual",),
     ("--adversarial",)],
    ids=str,
)  # fmt: skip
def test_the_zoos_options_do_not_go_with_an_own_model(option, command, run):
    told = run(command, "--data", "graph.pt", "--model", "own.py:make", *option)
    check(told, r"--hidden, .* and --adversarial go with a zoo model; got --model own\.py:make\.")


def test_options_make_another_model(run):
    """An audit of one is not gone on with for another."""
    assert run("audit", *QUICK, "--layer", "1").code == 0
    told = run("audit", *QUICK, "--layer", "1", "--residual")
    check(told, r"out='audit' already holds another audit")


@pytest.mark.parametrize(
    ("command", "names"), [("models", list(zoo.MODELS)), ("datasets", list(gm.datasets.NAMES))]
)
def test_what_there_is(command, names, run):
    told = run(command)
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 3 for line in lines)


def test_the_version_is_told(run):
    told = run("--version")
    assert (told.code, told.out) == (0, f"graph-metamers {gm.__version__}\n")
