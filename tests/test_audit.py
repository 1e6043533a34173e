"""audit(): rows, summary, and a folder that survives being killed at any moment."""

import dataclasses
import functools
import json
import math
import os
import re
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

search = gm.Adam(lr=0.05, steps=15)
COLUMNS = {
    "dataset", "model", "layer", "vary", "search", "seed", "status", "activation_error", "steps",
    "seconds", "feature_similarity", "start_feature_similarity", "prediction_match", "consistency",
}  # fmt: skip


def network(seed: int = 0) -> GCN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GCN(40, 16, num_layers=2, out_channels=3)


run = functools.partial(
    gm.audit, layers=["act", "convs.1"], search=search, seeds=2, dataset="small", progress=False
)


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


def timeless(value):
    """Without the times, which no two runs share, and the command, which names the folder."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not k.startswith("seconds") and k != "command"}
        return {k: timeless(v) for k, v in kept.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None  # NaN is not equal to itself; JSON holds null
    return [timeless(v) for v in value] if isinstance(value, list) else value


def contents(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


FILES = {
    "audit.json",
    "report.html",
    "metamers/000-act-seed0.pt",
    "metamers/001-act-seed1.pt",
    "metamers/002-convs-1-seed0.pt",
    "metamers/003-convs-1-seed1.pt",
}


# ------------------------------------------------------------------------------------- rows


def test_one_row_for_each_run(result):
    assert [(row["layer"], row["seed"]) for row in result.rows] == [
        ("act", 0),
        ("act", 1),
        ("convs.1", 0),
        ("convs.1", 1),
    ]
    for row in result.rows:
        assert row.keys() >= COLUMNS
        assert (row["dataset"], row["model"]) == ("small", "GCN")
        assert row["vary"] == "BinaryFeatures"
        assert row["search"] == "Adam(lr=0.05, steps=15)"


def test_a_run_of_an_audit_is_that_metamer(result, small):
    alone = gm.metamer(network(), small, "convs.1", search=search, seed=1)
    assert torch.equal(result.metamers[3].data.x, alone.data.x)
    assert timeless(result.metamers[3].row()) == timeless(alone.row())


def test_summary_recomputed(small):
    """Means, sample deviations, intervals and counts, by NumPy and SciPy from the rows."""
    result = run(network(), small, tol=0.5, seeds=3)
    summary = result.summary()
    assert [s["layer"] for s in summary] == ["act", "convs.1"]
    for s in summary:
        rows = [row for row in result.rows if row["layer"] == s["layer"]]
        assert (s["runs"], s["matched"], s["impossible"]) == (3, 3, 0)
        assert (s["dataset"], s["model"]) == ("small", "GCN")
        assert {"start_consistency", "activation_correlation", "seconds"} <= s.keys()
        for name in ("activation_error", "seconds", *result.metamers[0].scores):
            values = np.array([row[name] for row in rows])
            assert s[name] == pytest.approx(values.mean(), rel=1e-12, nan_ok=True)
            spread = pytest.approx(values.std(ddof=1), rel=1e-9, abs=1e-15, nan_ok=True)
            assert s[f"{name}_std"] == spread
            if name in result.metamers[0].scores and values.std() > 0:
                ends = scipy.stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / 3**0.5)
                assert (s[f"{name}_low"], s[f"{name}_high"]) == pytest.approx(ends)


def test_summary_is_of_the_matched_runs(small):
    """The error is that of all runs, the scores those of the two that are metamers."""
    four = functools.partial(run, network(), small, layers=["act"], seeds=4)
    errors = [m.activation_error for m in four().metamers]
    tol = sorted(errors)[1]  # two of the four
    audit = four(tol=tol)
    (s,) = audit.summary()
    assert (s["matched"], s["runs"]) == (2, 4)
    assert s["activation_error"] == pytest.approx(sum(errors) / 4)
    assert s["null_activation_error"] == min(m.null_activation_error for m in audit.metamers)
    scores = [m.scores["feature_similarity"] for m in audit.metamers if m.activation_error <= tol]
    assert s["feature_similarity"] == pytest.approx(sum(scores) / 2)


def test_summary_without_a_match_has_no_scores(result):
    for s in result.summary():
        assert s["matched"] == 0
        assert math.isnan(s["feature_similarity"])
        assert math.isnan(s["start_feature_similarity"])
        assert math.isfinite(s["activation_error"])


def test_ways_to_vary_are_summarised_apart(small):
    ways = [gm.BinaryFeatures(), gm.BinaryFeatures(slope=2.0), gm.ContinuousFeatures()]
    audit = run(network(), small, layers=["act"], vary=ways, seeds=[7])
    assert [s["vary"] for s in audit.summary()] == [
        "BinaryFeatures",
        "BinaryFeatures(slope=2.0)",
        "ContinuousFeatures",
    ]
    assert all(math.isnan(s["activation_error_std"]) for s in audit.summary())
    assert [row["seed"] for row in audit.rows] == [7, 7, 7]


def test_layers_by_default(small):
    assert [row["layer"] for row in run(network(), small, layers=None, seeds=1).rows] == [
        "convs.0",
        "act",
        "convs.1",
    ]
    model = gm.zoo.train("gcn", small, training=gm.zoo.Training(epochs=2)).model
    assert [row["layer"] for row in run(model, small, layers=None, seeds=1).rows] == [
        "layer1",
        "layer2",
    ]


def test_repr_says_the_error_beside_the_scores(small):
    lines = repr(run(network(), small, tol=0.5)).splitlines()
    assert lines[0] == "Audit(GCN on small, 4 of 4 runs matched)"
    assert len(lines) == 3
    assert re.fullmatch(
        r"  act: error \d\.\de-\d\d, S_feat 0\.\d{3} \(start 0\.\d{3}\), S_match [01]\.\d{3}, "
        r"CS 0\.\d{3}, 2 of 2 matched",
        lines[1],
    )


def test_repr_says_no_scores_where_nothing_matched(result):
    expected = r"  act: error \d\.\de-\d\d, 0 of 2 matched"
    assert re.fullmatch(expected, repr(result).splitlines()[1])


def broken(model: nn.Module, data: Data) -> torch.Tensor:
    """Finite on the reference, NaN on a random start, which has entries below zero's logarithm."""
    return (data.x + 1e-3).log()


def test_runs_that_broke_stand_in_the_audit(small, tmp_path):
    audit = run(
        network(),
        small,
        layers=[broken, "act"],
        vary=gm.ContinuousFeatures(low=None),
        out=tmp_path,
    )
    assert [row["status"] for row in audit.rows[:2]] == ["nonfinite"] * 2
    assert all(math.isnan(row["activation_error"]) for row in audit.rows[:2])
    first, second = audit.summary()
    assert (first["matched"], first["runs"]) == (0, 2)
    assert math.isnan(first["activation_error"])
    assert math.isnan(first["activation_error_std"])
    assert math.isfinite(second["activation_error"])
    held = strict(tmp_path / "audit.json")
    assert [row["activation_error"] is None for row in held["rows"]] == [True, True, False, False]
    again = run(
        network(),
        small,
        layers=[broken, "act"],
        vary=gm.ContinuousFeatures(low=None),
        out=tmp_path,
    )
    assert timeless(again.rows) == timeless(audit.rows)


# ----------------------------------------------------------------------------------- folder


def test_the_folder(small, tmp_path):
    audit = run(network(), small, out=tmp_path / "out", accuracy={"test": 0.5})
    assert contents(tmp_path / "out") == FILES
    held = strict(tmp_path / "out" / "audit.json")
    assert held["schema"] == 1
    assert held["rows"] == finite(audit.rows)
    assert held["accuracy"] == {"test": 0.5}
    assert held["question"]["seeds"] == [0, 1]
    assert {"torch", "torch_geometric", "python", "graph_metamers", "device", "threads"} <= held[
        "environment"
    ].keys()
    assert held["environment"]["torch"] == torch.__version__
    assert os.uname().nodename not in (tmp_path / "out" / "audit.json").read_text()
    for m, name in zip(audit.metamers, sorted(f for f in FILES if f.endswith(".pt")), strict=True):
        assert torch.equal(gm.load(tmp_path / "out" / name).data.x, m.data.x)


def test_save_is_out(result, small, tmp_path):
    run(network(), small, out=tmp_path / "out")
    result.save(tmp_path / "saved")
    assert contents(tmp_path / "saved") == contents(tmp_path / "out") == FILES
    saved, out = (strict(tmp_path / name / "audit.json") for name in ("saved", "out"))
    assert timeless(saved) == timeless(out)
    assert [list(row) for row in saved["rows"]] == [list(row) for row in out["rows"]]
    result.save(tmp_path / "saved")  # twice is as good as once
    assert strict(tmp_path / "saved" / "audit.json") == saved


def test_a_folder_without_a_new_distance_is_refused(small, tmp_path, monkeypatch):
    run(network(), small, layers=["act"], seeds=1, out=tmp_path)
    mine = dataclasses.replace(DISTANCES["feature_distance"], name="mine")
    monkeypatch.setitem(DISTANCES, "mine", mine)
    with pytest.raises(gm.InputError, match=r"another audit \(distances differ\)"):
        run(network(), small, layers=["act"], seeds=1, out=tmp_path)


def test_what_surrounds_the_runs_is_not_measured_again(small, tmp_path, monkeypatch):
    first = run(network(), small, layers=["act"], seeds=1, out=tmp_path)
    assert len(first.baselines) == 4
    assert set(first.theory) == {"act"}

    def fail(*_, **__) -> None:
        raise AssertionError("measured again")

    for name in ("baselines", "theory"):
        monkeypatch.setattr(sys.modules["graph_metamers.audit"], name, fail)
    second = run(network(), small, layers=["act"], seeds=1, out=tmp_path)
    assert second.baselines == finite(first.baselines)
    assert second.theory == first.theory


def test_what_is_done_is_not_done_again(small, tmp_path, monkeypatch):
    first = run(network(), small, out=tmp_path)
    (tmp_path / "metamers" / "002-convs-1-seed0.pt").unlink()
    done: list[int] = []
    metamer = gm.metamer

    def counted(*arguments, **settings):
        done.append(settings["seed"])
        return metamer(*arguments, **settings)

    # By its name in sys.modules: gm.audit is the function.
    monkeypatch.setattr(sys.modules["graph_metamers.audit"], "metamer", counted)
    second = run(network(), small, out=tmp_path)
    assert done == [0]
    assert timeless(second.rows) == timeless(first.rows)
    for i in (0, 1, 3):  # these are the old ones, with their times
        assert finite(second.rows[i]) == finite(first.rows[i])


def test_what_is_done_is_in_the_folder_at_once(small, tmp_path, monkeypatch):
    done: list[int] = []
    metamer = gm.metamer

    def stopped(*arguments, **settings):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(settings["seed"])
        return metamer(*arguments, **settings)

    monkeypatch.setattr(sys.modules["graph_metamers.audit"], "metamer", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(network(), small, out=tmp_path)
    assert [row["seed"] for row in strict(tmp_path / "audit.json")["rows"]] == [0, 1]
    assert contents(tmp_path) == {"audit.json", *sorted(FILES)[1:3]}


OTHERS = {
    "layers": {"layers": ["act"]},
    "search": {"search": gm.Adam(lr=0.05, steps=16)},
    "seeds": {"seeds": [1, 0]},
    "tol": {"tol": 0.02},
    "vary": {"vary": gm.BinaryFeatures(margin=1.0)},
    "dataset": {"dataset": "other"},
    "model": {"name": "other"},
    "content of model": {"model": network(seed=1)},
    "content of data": {"data": gm.datasets.csbm(nodes=60, features=40, density=0.1, seed=1)},
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_question_is_refused(what, result, small, tmp_path):
    result.save(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    other = {"model": network(), "data": small} | OTHERS[what]
    with pytest.raises(gm.InputError, match=rf"already holds another audit \(.*{what}.* differ\)"):
        run(**other, out=tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_another_forward_is_another_question(small, tmp_path):
    def forward(scale: float):
        return lambda model, data: model(data.x * scale, data.edge_index)

    run(network(), small, forward=forward(1.0), layers=["act"], seeds=1, out=tmp_path)
    with pytest.raises(gm.InputError, match=r"another audit \(content of model differ\)"):
        run(network(), small, forward=forward(2.0), layers=["act"], seeds=1, out=tmp_path)


def test_a_folder_of_something_else_is_left_alone(result, small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(gm.InputError, match="must be a folder"):
        run(network(), small, out=tmp_path / "file")
    result.save(tmp_path / "out")
    (tmp_path / "out" / "audit.json").unlink()
    with pytest.raises(gm.InputError, match=r"holds metamers but no audit\.json"):
        run(network(), small, out=tmp_path / "out")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "audit.json").write_text("{half")
    with pytest.raises(gm.InputError, match="readable JSON"):
        run(network(), small, out=tmp_path / "json")
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "audit.json").write_text("[]")
    with pytest.raises(gm.InputError, match="already holds another audit"):
        run(network(), small, out=tmp_path / "list")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layers": ["act", "nowhere"]}, "'nowhere' is not a layer"),
        ({"layers": []}, r"layers must be a list of layers, one audit row group each; got \[\]"),
        ({"layers": "act"}, "layers must be a list of layers"),
        ({"vary": []}, "vary must name at least one way"),
        (
            {"vary": [gm.BinaryFeatures(), gm.ContinuousFeatures(low=0.5)]},
            "must hold the reference",
        ),
        ({"seeds": 0}, "seeds must be a whole number of at least 1; got 0"),
        ({"seeds": []}, r"at least one; got \[\]"),
        ({"seeds": [1, 1]}, r"different whole numbers, at least one; got \[1, 1\]"),
        ({"seeds": [-1]}, "seeds must be a whole number of at least 0; got -1"),
        ({"tol": -1.0}, "tol must be positive"),
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
import json, os, signal, sys, time
from pathlib import Path

import torch
import graph_metamers.cli
from graph_metamers.search import checkpoint

torch.set_num_threads(1)
here, marker, resumed = Path(sys.argv[1]), Path(sys.argv[1], "marker"), Path(sys.argv[1], "resumed")


def child(out, moment):
    checkpoint.CHECKPOINT_SECONDS = 0.0
    replace, resume = os.replace, checkpoint.Checkpoint.resumed
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
                print(len(state["history"]), file=file)
        return state

    os.replace, checkpoint.Checkpoint.resumed = watched, counted
    sys.argv = ["graph-metamers", "audit", "--data", str(here / "graph.pt"), "--model",
                str(here / "model.py:build"), "--layer", "act", "--seeds", "2", "--steps", "20",
                "--search", "adam",
                "--out", str(here / out)]
    try:
        graph_metamers.cli.main()
    except SystemExit as end:
        os._exit(end.code or 0)
    finally:
        os._exit(1)


def run(out, moment=None):
    pid = os.fork()
    if pid == 0:
        child(out, moment)
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


run("undisturbed")
for moment in json.loads(sys.argv[2]):
    run("killed", moment)
run("killed")
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
def test_killed_at_any_moment_it_goes_on_to_the_same_result(small, tmp_path):
    torch.save(small.to_dict(), tmp_path / "graph.pt")
    (tmp_path / "model.py").write_text(
        "import torch\n"
        "from torch_geometric.nn import GCN\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    return GCN(40, 16, num_layers=2, out_channels=3)\n"
    )
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
    expected = {
        "audit.json",
        "report.html",
        "metamers/000-act-seed0.pt",
        "metamers/001-act-seed1.pt",
    }
    folders = tmp_path / "undisturbed", tmp_path / "killed"
    for folder in folders:
        assert contents(folder) == expected  # no .part, no checkpoint
    undisturbed, killed = (strict(folder / "audit.json") for folder in folders)
    assert timeless(killed) == timeless(undisturbed)
    assert len(killed["rows"]) == 2
    for name in expected:
        if name.endswith(".pt"):
            ours, theirs = (gm.load(folder / name) for folder in folders)
            assert torch.equal(ours.data.x, theirs.data.x)
            assert ours.history == theirs.history


def test_the_same_twice_is_refused(small, tmp_path):
    model = gm.zoo.GCN(small.num_features, 3)
    with pytest.raises(
        gm.InputError, match="layers must differ from one another; got layer1 twice"
    ):
        gm.audit(model, small, layers=["layer1", "layer1"])
    with pytest.raises(gm.InputError, match="vary must differ"):
        gm.audit(model, small, layers=["layer1"], vary=[gm.BinaryFeatures(), gm.BinaryFeatures()])


def test_another_function_of_the_same_name_is_another_question(small, tmp_path):
    model = gm.zoo.GCN(small.num_features, 3)
    layers = [
        lambda model, data: model.layer1(data.x, data.edge_index),
        lambda model, data: model.layer1(data.x, data.edge_index) * 2,
    ]
    settings = {"search": gm.Adam(steps=2), "seeds": 1, "out": tmp_path / "audit"}
    gm.audit(model, small, layers=[layers[0]], **settings)
    with pytest.raises(gm.InputError, match=r"another audit .content of model differ"):
        gm.audit(model, small, layers=[layers[1]], **settings)


class Degree(torch.nn.Module):
    """One branch reads the features, the other the degrees only."""

    def __init__(self):
        super().__init__()
        self.conv = GCNConv(40, 3)
        self.degree = torch.nn.Linear(1, 3)

    def forward(self, x, edge_index):
        count = torch.zeros(len(x), 1).index_add_(
            0, edge_index[1], torch.ones(edge_index.shape[1], 1)
        )
        return self.conv(x, edge_index) + self.degree(count)


def test_layers_that_cannot_be_reached_are_left_out_and_said(small):
    result = gm.audit(Degree(), small, search=gm.Adam(steps=2), seeds=1)
    assert [m.layer for m in result.metamers] == ["conv", "output"]
    assert "does not depend on what varies" in result.question["skipped"]["degree"]
    with pytest.raises(gm.InputError, match="does not depend"):
        gm.audit(Degree(), small, layers=["degree"], search=gm.Adam(steps=2), seeds=1)


class Scaled(torch.nn.Module):
    def __init__(self, slope):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.slope = GCNConv(40, 3), slope

    def forward(self, x, edge_index):
        return torch.nn.functional.leaky_relu(self.conv(x, edge_index), self.slope)


def test_an_edited_model_is_another_question(small, tmp_path):
    """Equal weights are not an equal model."""
    settings = {"search": gm.Adam(steps=2), "seeds": 1, "out": tmp_path / "audit"}
    gm.audit(Scaled(0.1), small, layers=["output"], **settings)
    gm.audit(Scaled(0.1), small, layers=["output"], **settings)
    with pytest.raises(gm.InputError, match=r"another audit \(content of model differ"):
        gm.audit(Scaled(0.9), small, layers=["output"], **settings)

    class Edited(Scaled):
        def forward(self, x, edge_index):
            return super().forward(x, edge_index) * 2

    Edited.__qualname__ = "Scaled"
    with pytest.raises(gm.InputError, match=r"another audit \(content of model differ"):
        gm.audit(Edited(0.1), small, layers=["output"], name="Scaled", **settings)


def test_the_accuracy_of_ones_own_model_is_measured(small):
    model = gm.zoo.train("gcn", small, training=gm.zoo.Training(epochs=30))
    result = gm.audit(model.model, small, search=gm.Adam(steps=2), seeds=1)
    assert result.accuracy == pytest.approx(model.accuracy)
    unlabelled = small.clone()
    del unlabelled.y
    assert gm.audit(model.model, unlabelled, search=gm.Adam(steps=2), seeds=1).accuracy == {}
