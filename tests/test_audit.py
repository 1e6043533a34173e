"""audit(): rows, summary, and a folder that survives being killed at any moment."""

import dataclasses
import functools
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GCNConv

import graph_metamers as gm
import graph_metamers.report
from graph_metamers.measure import DISTANCES
from graph_metamers.storage import finite, write_text
from helpers import same_metamer, seeded

auditing = importlib.import_module("graph_metamers.auditing")
search = gm.Adam(lr=0.05, steps=15)
COLUMNS = {
    "dataset", "model", "layer", "vary", "search", "seed", "outcome", "reason", "fvu",
    "activation_error", "steps", "seconds", "task", "units", "graphs", "feature_similarity",
    "start_feature_similarity", "prediction_match", "consistency",
}  # fmt: skip


def network(seed: int = 0) -> nn.Module:
    return seeded(lambda: GCN(40, 16, num_layers=2, out_channels=3), seed)


run = functools.partial(
    gm.audit, layers=["act", "convs.1"], search=search, seeds=2, dataset="small", progress=False
)
few = functools.partial(run, layers=["act"], seeds=1)


@pytest.fixture(autouse=True)
def plain_report(monkeypatch):
    """The report has its own tests; here it is one line."""

    def write_report(audit: gm.Audit, path: Path) -> None:
        write_text(path, repr(audit))

    monkeypatch.setattr(graph_metamers.report, "write_report", write_report)


@pytest.fixture(scope="module")
def result(small: Data) -> gm.Audit:
    return run(network(), small)


def strict(path: Path) -> dict:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


UNLIKE = ("seconds", "command", "checksum")


def timeless(value):
    """Without the times, which no two runs share, and the command, which names the folder."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not k.startswith(UNLIKE)}
        return {k: timeless(v) for k, v in kept.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None  # NaN is not equal to itself; JSON holds null
    return [timeless(v) for v in value] if isinstance(value, list) else value


def contents(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


FILES = {
    "audit.json",
    "report.html",
    "metamers/act-49510a-seed0.pt",
    "metamers/act-49510a-seed1.pt",
    "metamers/convs-1-68d067-seed0.pt",
    "metamers/convs-1-68d067-seed1.pt",
}


# ------------------------------------------------------------------------------------- rows


def test_one_row_for_each_run_which_is_that_metamer(result, small):
    runs = [("act", 0), ("act", 1), ("convs.1", 0), ("convs.1", 1)]
    assert [(row["layer"], row["seed"]) for row in result.rows] == runs
    for row in result.rows:
        assert row.keys() >= COLUMNS
        assert (row["dataset"], row["model"]) == ("small", "GCN")
    m = result.metamers[3]
    alone = gm.metamer(network(), small, "convs.1", search=search, seed=1)
    same_metamer(dataclasses.replace(m, seconds=alone.seconds), alone)


def made_up(result: gm.Audit, outcomes: list[str], values: list[float]) -> gm.Audit:
    """The same runs at one layer with other outcomes and figures."""
    changed = [
        dataclasses.replace(
            m,
            layer="act",
            outcome=gm.Outcome(outcome),
            fvu=value,
            scores=m.scores | {"feature_similarity": value},
        )
        for m, outcome, value in zip(result.metamers, outcomes, values, strict=True)
    ]
    return dataclasses.replace(result, metamers=changed)


def test_a_summary_counts_the_outcomes_and_averages_the_matched(result):
    """Means, sample deviations and intervals, by NumPy and SciPy."""
    values = [0.1, 0.25, 0.4, 0.7]
    (s,) = made_up(result, ["matched", "matched", "matched", "trivial"], values).summary()
    counts = {outcome: s[outcome] for outcome in gm.Outcome}
    assert counts == dict.fromkeys(gm.Outcome, 0) | {"matched": 3, "trivial": 1}
    matched = np.array(values[:3])
    ends = scipy.stats.t.interval(0.95, 2, matched.mean(), matched.std(ddof=1) / 3**0.5)
    assert s["runs"] == 4
    assert s["fvu"] == pytest.approx(np.mean(values))
    assert s["feature_similarity"] == pytest.approx(matched.mean())
    assert s["feature_similarity_std"] == pytest.approx(matched.std(ddof=1))
    assert (s["feature_similarity_low"], s["feature_similarity_high"]) == pytest.approx(ends)
    (none,) = made_up(result, ["uninformative"] * 4, values).summary()
    assert math.isnan(none["feature_similarity"])
    assert none["fvu"] == pytest.approx(np.mean(values))


def test_repr_says_the_error_beside_the_scores_of_what_matched(result):
    lines = repr(made_up(result, ["matched"] * 4, [0.5] * 4)).splitlines()
    assert lines[0] == "Audit(GCN on small)"
    assert lines[1].startswith("  act: 4 of 4 matched, FVU 5.0e-01, S_feat 0.500 (start 0.")
    none = repr(made_up(result, ["not_matched"] * 4, [0.5] * 4)).splitlines()
    assert none[1] == "  act: 0 of 4 matched, FVU 5.0e-01"


def test_ways_to_vary_are_summarised_apart(small):
    ways = [gm.BinaryFeatures(), gm.BinaryFeatures(slope=2.0), {"edge_weight": gm.EdgeWeights()}]
    audit = few(network(), small, vary=ways, seeds=[7])
    said = ["BinaryFeatures", "BinaryFeatures(slope=2.0)", "EdgeWeights"]
    assert [s["vary"] for s in audit.summary()] == said
    assert all(math.isnan(s["fvu_std"]) for s in audit.summary())
    assert [row["seed"] for row in audit.rows] == [7, 7, 7]


class Degree(nn.Module):
    """One branch reads the features, the other the degrees only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.degree = GCNConv(40, 3), nn.Linear(1, 3)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index) + self.degree(edge_index[1].bincount().float()[:, None])


def test_layers_by_default_are_those_that_can_be_reached(small):
    whole = gm.audit(network(), small, search=search, seeds=1)
    assert [row["layer"] for row in whole.rows] == ["convs.0", "act", "convs.1"]
    zoo = gm.audit(gm.zoo.GCN(40, 3), small, search=search, seeds=1)
    assert [row["layer"] for row in zoo.rows] == ["layer1", "layer2"]
    result = gm.audit(Degree(), small, search=search, seeds=1)
    assert [m.layer for m in result.metamers] == ["conv", "output"]
    assert "does not depend on what varies" in result.question["skipped"]["degree"]
    with pytest.raises(gm.InputError, match="does not depend"):
        few(Degree(), small, layers=["degree"])


def broken(model: nn.Module, data: Data) -> torch.Tensor:
    """Finite on the reference, NaN on a random start, which has entries below zero's logarithm."""
    return (data.x + 1e-3).log()


def test_runs_that_broke_stand_in_the_audit(small, tmp_path):
    vary = gm.ContinuousFeatures(low=None)
    audit = run(network(), small, layers=[broken, "act"], vary=vary, out=tmp_path)
    assert ["NaN" in row["reason"] for row in audit.rows] == [True, True, False, False]
    first, second = audit.summary()
    assert (first["matched"], first["runs"]) == (0, 2)
    assert math.isnan(first["fvu"])
    assert math.isfinite(second["fvu"])
    held = strict(tmp_path / "audit.json")
    assert [row["fvu"] is None for row in held["rows"]] == [True, True, False, False]
    again = run(network(), small, layers=[broken, "act"], vary=vary, out=tmp_path)
    assert timeless(again.rows) == timeless(audit.rows)


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = seeded(lambda: GCNConv(40, 3))

    def forward(self, data):
        return data.extra(self.conv(data.x, data.edge_index))


def test_what_no_file_can_hold_is_told_before_the_search(small, tmp_path):
    data = small.clone()
    data.extra = lambda h: h * 2
    assert few(network(), data, out=tmp_path / "a").question["not_kept"] == ["extra"]
    with pytest.raises(gm.InputError, match="The model reads 'extra' of the data, which no file"):
        few(Reads(), data, layers=["conv"], out=tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert len(few(Reads(), data, layers=["conv"]).rows) == 1  # nothing is kept


def test_the_quality_of_ones_own_model_is_measured(small):
    trained = gm.zoo.train("gcn", small, training=gm.zoo.Training(epochs=30))
    measured = gm.audit(trained.model, small, search=gm.Adam(steps=2), seeds=1).quality
    assert {split: each["accuracy"] for split, each in measured.items()} == pytest.approx(
        trained.accuracy
    )
    unlabelled = small.clone()
    del unlabelled.y
    assert few(trained.model, unlabelled, layers=["layer1"]).quality == {}
    said = {"test": {"auc": 0.7}}
    assert few(trained.model, small, layers=["layer1"], quality=said).quality == said


# ----------------------------------------------------------------------------------- folder


def test_the_folder(result, small, tmp_path):
    audit = run(network(), small, out=tmp_path / "out")
    result.save(tmp_path / "saved")
    write_text(tmp_path / "saved" / "report.html", "")
    assert contents(tmp_path / "out") == contents(tmp_path / "saved") == FILES
    held, saved = (strict(tmp_path / name / "audit.json") for name in ("out", "saved"))
    assert timeless(held) == timeless(saved)
    assert held["rows"] == finite(audit.rows)
    assert held["items"] == finite([m.items for m in audit.metamers])
    assert held["question"]["seeds"] == [0, 1]
    assert held["environment"]["torch"] == torch.__version__
    assert os.uname().nodename not in (tmp_path / "out" / "audit.json").read_text()
    for m, name in zip(audit.metamers, sorted(f for f in FILES if f.endswith(".pt")), strict=True):
        same_metamer(gm.load(tmp_path / "out" / name), m)
    result.save(tmp_path / "saved")  # twice is as good as once
    assert strict(tmp_path / "saved" / "audit.json") == saved


def test_what_is_done_is_not_done_again(small, tmp_path, monkeypatch):
    first = run(network(), small, out=tmp_path)
    (tmp_path / "metamers" / "convs-1-68d067-seed0.pt").unlink()
    done: list[int] = []
    searched = auditing.searched

    def counted(problem, search, seed, **options):
        done.append(seed)
        return searched(problem, search, seed, **options)

    def never(*_, **__) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(auditing, "searched", counted)
    for name in ("baselines_of", "theory"):
        monkeypatch.setattr(auditing, name, never)
    second = run(network(), small, out=tmp_path)
    assert done == [0]
    assert timeless(second.rows) == timeless(first.rows)
    assert timeless(second.document()["theory"]) == timeless(first.document()["theory"])
    assert second.baselines == finite(first.baselines)
    for i in (0, 1, 3):  # these are the old ones, with their times
        assert finite(second.rows[i]) == finite(first.rows[i])


def test_what_is_done_is_in_the_folder_at_once(small, tmp_path, monkeypatch):
    searched = auditing.searched

    def stopped(problem, search, seed, **options):
        if problem.match.labels == ["convs.1"]:
            raise KeyboardInterrupt
        return searched(problem, search, seed, **options)

    monkeypatch.setattr(auditing, "searched", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(network(), small, out=tmp_path)
    assert [row["seed"] for row in strict(tmp_path / "audit.json")["rows"]] == [0, 1]
    assert contents(tmp_path) == {"audit.json", *sorted(FILES)[1:3]}


class Scaled(nn.Module):
    def __init__(self, slope: float) -> None:
        super().__init__()
        self.conv, self.slope = seeded(lambda: GCNConv(40, 3)), slope

    def forward(self, x, edge_index):
        return nn.functional.leaky_relu(self.conv(x, edge_index), self.slope)


class Edited(Scaled):
    def forward(self, x, edge_index):
        return super().forward(x, edge_index) * 2


Edited.__qualname__ = "Scaled"
LAYERS = [lambda model, data: data.x * 2, lambda model, data: data.x * 3]

# What was asked at first, and what then: each is told by its name.
OTHERS = {
    "search": ({}, {"search": gm.Adam(lr=0.05, steps=16)}),
    "tol": ({}, {"tol": 0.02}),
    "vary": ({}, {"vary": gm.BinaryFeatures(margin=1.0)}),
    "task": ({}, {"task": "embedding"}),
    "dataset": ({}, {"dataset": "other"}),
    "model": ({}, {"name": "other"}),
    "content of model": ({}, {"model": network(seed=1)}),
    "content of data": ({}, {"data": gm.datasets.csbm(nodes=60, features=40, density=0.1, seed=1)}),
    "what the model answers at output": (
        {"model": Scaled(0.1), "layers": ["output"]},
        {"model": Scaled(0.9), "layers": ["output"]},
    ),
    "what the model answers at output, its forward": (
        {"model": Scaled(0.1), "layers": ["output"]},
        {"model": Edited(0.1), "layers": ["output"], "name": "Scaled"},
    ),
    "what the model answers at act": (
        {"forward": lambda model, data: model(data.x, data.edge_index)},
        {"forward": lambda model, data: model(data.x * 2, data.edge_index)},
    ),
    "what the model answers at <lambda>": ({"layers": LAYERS[:1]}, {"layers": LAYERS[1:]}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_question_is_refused(what, small, tmp_path):
    model = network()
    first, then = ({"model": model, "data": small} | each for each in OTHERS[what])
    few(**first, out=tmp_path)
    few(**first, out=tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    told = what.partition(",")[0]
    with pytest.raises(gm.InputError, match=rf"already holds another audit \(.*{told}.* differ\)"):
        few(**then, out=tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_layers_and_seeds_are_added_to_a_folder(small, tmp_path, monkeypatch):
    few(network(), small, out=tmp_path)
    done: list[tuple[str, int]] = []
    searched = auditing.searched

    def counted(problem, search, seed, **options):
        done.append((problem.match.labels[0], seed))
        return searched(problem, search, seed, **options)

    monkeypatch.setattr(auditing, "searched", counted)
    grown = run(network(), small, out=tmp_path)
    assert done == [("act", 1), ("convs.1", 0), ("convs.1", 1)]
    assert contents(tmp_path) == FILES
    afresh = run(network(), small, out=tmp_path / "afresh")
    assert timeless(grown.rows) == timeless(afresh.rows)
    assert timeless(grown.baselines) == timeless(afresh.baselines)


def test_the_rounding_of_another_machine_is_no_other_model(small, tmp_path):
    class Rounded(Scaled):
        def forward(self, x, edge_index):
            return super().forward(x, edge_index) * (1 + self.off)

    model = Rounded(0.1)
    for model.off in (0.0, 1e-6):
        few(model, small, layers=["output"], out=tmp_path)
    model.off = 1e-2
    with pytest.raises(gm.InputError, match="what the model answers at output differ"):
        few(model, small, layers=["output"], out=tmp_path)


def test_a_folder_without_a_new_distance_is_refused(small, tmp_path, monkeypatch):
    few(network(), small, out=tmp_path)
    mine = dataclasses.replace(DISTANCES["feature_distance"], name="mine")
    monkeypatch.setitem(DISTANCES, "mine", mine)
    with pytest.raises(gm.InputError, match=r"another audit \(distances differ\)"):
        few(network(), small, out=tmp_path)


@pytest.mark.parametrize(
    ("place", "content", "sentence"),
    [
        ("out", "", "must be a folder"),
        ("out/metamers/act-seed0.pt", "", r"holds metamers but no audit\.json"),
        ("out/audit.json", "{half", "readable JSON"),
        ("out/audit.json", "[]", "must be as it was written"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(place, content, sentence, small, tmp_path):
    write_text(tmp_path / place, content)
    with pytest.raises(gm.InputError, match=sentence):
        few(network(), small, out=tmp_path / "out")
    assert contents(tmp_path) == {place}
    assert (tmp_path / place).read_text() == content


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layers": ["act", "nowhere"]}, "'nowhere' is not a layer"),
        ({"layers": ["act", "act"]}, "layers must differ from one another; got act twice"),
        ({"layers": []}, r"layers must be a list of layers, one audit row group each; got \[\]"),
        ({"layers": "act"}, "layers must be a list of layers"),
        ({"vary": []}, "vary must be a way to vary the graph"),
        ({"vary": [gm.BinaryFeatures()] * 2}, "vary must hold different ways"),
        (
            {"vary": [gm.BinaryFeatures(), gm.ContinuousFeatures(low=0.5)]},
            "must hold the reference",
        ),
        ({"seeds": 0}, "seeds must be a whole number of at least 1; got 0"),
        ({"seeds": []}, r"at least one; got \[\]"),
        ({"seeds": [1, 1]}, r"different whole numbers, at least one; got \[1, 1\]"),
        ({"seeds": [-1]}, "seeds must be a whole number of at least 0; got -1"),
        ({"tol": -1.0}, "tol must be positive"),
        ({"task": "clases"}, "is not a task"),
    ],
)
def test_mistakes_are_said_before_the_first_search(settings, sentence, small, tmp_path):
    with pytest.raises(gm.InputError, match=sentence):
        run(network(), small, **settings, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- killed

# One process forks all runs, so that PyTorch is imported once. In a child, the renaming of one
# file waits for ever, before or after it is done; there the parent kills it with SIGKILL.
KILLER = """
import importlib
import json, os, signal, sys, time, traceback
from pathlib import Path

import torch
import graph_metamers as gm
import graph_metamers.report
from graph_metamers.storage import write_text
from torch_geometric.nn import GCN

torch.set_num_threads(1)
run = importlib.import_module("graph_metamers.search.run")
graph_metamers.report.write_report = lambda audit, path: write_text(path, repr(audit))
here, marker, resumed = Path(sys.argv[1]), Path(sys.argv[1], "marker"), Path(sys.argv[1], "resumed")
torch.manual_seed(0)
model = GCN(40, 16, num_layers=2, out_channels=3)
data = gm.datasets.csbm(nodes=60, features=40, density=0.1)


def child(out, moment):
    run.CHECKPOINT_SECONDS = 0.0
    replace, resume = os.replace, run._Saving.resumed
    left = 0 if moment is None else moment[1]

    def watched(source, goal):
        nonlocal left
        hit = moment is not None and str(goal).endswith(moment[0])
        left -= hit
        if hit and left == 0:
            if moment[2] == "after":
                replace(source, goal)
            marker.touch()
            time.sleep(600)
        replace(source, goal)

    def counted(self, device):
        state = resume(self, device)
        if state is not None:
            with resumed.open("a") as file:
                print(len(state["record"]["history"]), file=file)
        return state

    os.replace, run._Saving.resumed = watched, counted
    gm.audit(model, data, layers=["act"], seeds=2, search=gm.Adam(steps=10), out=here / out)


def start(out, moment=None):
    pid = os.fork()
    if pid == 0:
        try:
            child(out, moment)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if moment is not None:
        end = time.monotonic() + 60
        while not marker.exists() and os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert time.monotonic() < end, moment
            time.sleep(0.005)
        assert marker.exists(), ("ended before", moment)
        os.kill(pid, signal.SIGKILL)
        marker.unlink()
    _, status = os.waitpid(pid, 0)
    assert (moment is None) == (status == 0), (status, moment)


start("undisturbed")
for moment in json.loads(sys.argv[2]):
    start("killed", moment)
start("killed")
"""

MOMENTS = [
    ("audit.json", 1, "before"),  # nothing is there yet
    ("audit.json", 1, "after"),  # the question only
    (".checkpoint", 4, "before"),  # in the first search, three steps saved
    (".checkpoint", 6, "after"),  # again, six steps later
    ("seed0.pt", 1, "before"),  # the first search has ended, its metamer is not there
    ("seed0.pt", 1, "after"),  # it is there, and not yet in audit.json
    (".checkpoint", 5, "after"),  # in the second search
    ("audit.json", 1, "before"),  # both metamers are there, audit.json knows none
    ("report.html", 1, "before"),  # all but the report
]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_killed_at_any_moment_it_goes_on_to_the_same_result(tmp_path):
    (tmp_path / "killer.py").write_text(KILLER)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "killer.py", tmp_path, json.dumps(MOMENTS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    # It went on from what was saved (3, then 3 + 6), and searched again what was not (none).
    assert [int(n) for n in (tmp_path / "resumed").read_text().split()] == [3, 9, 5]
    expected = {file for file in FILES if "convs" not in file}
    folders = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in folders:
        assert contents(folder) == expected  # no .part, no checkpoint
    undisturbed, killed = (strict(folder / "audit.json") for folder in folders)
    assert timeless(killed) == timeless(undisturbed)
    assert len(killed["rows"]) == 2
    for name in expected:
        if name.endswith(".pt"):
            ours, theirs = (gm.load(folder / name) for folder in folders)
            same_metamer(dataclasses.replace(ours, seconds=theirs.seconds), theirs)
