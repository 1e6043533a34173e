"""The protocol, who takes part, and what a job does."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.benchmark import PROTOCOL, protocol_jobs
from graph_metamers.benchmark.task import benchmark_rows, first_layer
from graph_metamers.jobs import Job

OWN = """
from torch_geometric.nn.models import GCN

def build(data):
    return GCN(data.num_features, 8, 2, int(data.y.max()) + 1)
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def quick(monkeypatch, small):
    """Three epochs on a small graph."""
    training = gm.zoo.Training(lr=0.01, epochs=3)
    monkeypatch.setattr(gm.zoo.GCN, "default_training", training)
    monkeypatch.setattr(gm.datasets, "load_nodes", lambda name: small.clone())
    fit = gm.zoo.fit
    monkeypatch.setattr(
        gm.zoo, "fit", lambda *given, **options: fit(*given, **options | {"training": training})
    )


def arguments(**changes):
    (job,) = protocol_jobs("gcn", datasets=["csbm"], seeds=1)[:1]
    return job.arguments | changes


def test_the_protocol_is_fixed():
    """Whoever changes one of these changes the version too."""
    assert PROTOCOL.version == 3
    assert PROTOCOL.datasets == ("cora", "citeseer", "pubmed", "chameleon")
    assert PROTOCOL.layers == ("first", "output")
    assert (PROTOCOL.seeds, PROTOCOL.tol) == (3, 0.01)
    assert gm.Auto(stop_at_tol=True, exact=False) == PROTOCOL.search


def test_a_job_holds_how_its_model_is_trained(own, monkeypatch):
    """So a figure of another recipe never passes for one of this."""
    (job, *_) = before = protocol_jobs("appnp")
    assert job.arguments["training"] == asdict(gm.zoo.MODELS["appnp"].default_training)
    other = replace(gm.zoo.Training(), weight_decay=5e-3)
    monkeypatch.setattr(gm.zoo.MODELS["appnp"], "default_training", other)
    assert not {*before} & {*protocol_jobs("appnp")}
    (job, *_) = protocol_jobs(f"{own}:build")
    assert job.arguments["training"] == asdict(gm.zoo.Training())


def test_a_job_for_each_graph_layer_and_seed():
    jobs = protocol_jobs("gcn")
    assert len(jobs) == len({job.key for job in jobs}) == 4 * 2 * 3
    assert all(job.arguments["protocol"] == PROTOCOL.version for job in jobs)
    few = protocol_jobs("gcn", datasets=["csbm"], seeds=2, device="cuda")
    assert {(job.arguments["layer"], job.arguments["seed"]) for job in few} == {
        (layer, seed) for layer in ("first", "output") for seed in (0, 1)
    }
    assert {job.arguments["device"] for job in few} == {"cuda"}


def test_a_changed_file_is_another_job(own):
    before = protocol_jobs(f"{own}:build")
    asked = before[0].arguments
    assert asked["model"] == "mine.py:build"
    assert (asked["source"]["file"], asked["source"]["factory"]) == (str(own), "build")
    assert protocol_jobs(f"{own}:build") == before
    own.write_text(OWN + "\n")
    assert not {*before} & {*protocol_jobs(f"{own}:build")}


def test_a_row_of_a_zoo_model(quick, tmp_path):
    (row,) = benchmark_rows(tmp_path, **arguments())
    assert (row["model"], row["dataset"], row["layer"], row["place"]) == (
        *("gcn", "csbm", "first", "layer1"),
    )
    (again,) = benchmark_rows(tmp_path, **arguments())
    assert row == again  # the time is left out
    assert {"accuracy", "feature_similarity", "start_feature_similarity", "outcome"} <= set(row)
    training = asdict(gm.zoo.Training(lr=0.01, epochs=1))
    (less,) = benchmark_rows(tmp_path, **arguments(training=training))
    assert less["null_activation_error"] != row["null_activation_error"]
    (out,) = benchmark_rows(tmp_path, **arguments(layer="output"))
    assert out["place"] == "output"
    Job.of("graph_metamers.benchmark.task:benchmark_rows", **arguments())(tmp_path)


def test_the_seed_decides_an_own_models_training(quick, own, tmp_path):
    source = protocol_jobs(f"{own}:build")[0].arguments["source"]
    folders = [tmp_path / name for name in "abc"]
    rows = [
        benchmark_rows(folder, **arguments(source=source, model="mine", seed=seed))[0]
        for folder, seed in zip(folders, (0, 0, 1), strict=True)
    ]
    assert rows[0] == rows[1]
    assert rows[0]["place"] == "convs.0"
    (row,) = benchmark_rows(tmp_path, **arguments(source=source, first="act"))
    assert (row["layer"], row["place"]) == ("first", "act")
    assert rows[0]["null_activation_error"] != rows[2]["null_activation_error"]


def test_a_file_that_changes_on_the_way(quick, own, tmp_path):
    source = protocol_jobs(f"{own}:build")[0].arguments["source"]
    own.write_text(OWN + "# other\n")
    with pytest.raises(gm.InputError, match=r"mine\.py' was changed since the benchmark began"):
        benchmark_rows(tmp_path, **arguments(source=source))


class Late(nn.Module):
    """Its first module never sees the features."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(60, 4), GCNConv(40, 3)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        positions = self.table(torch.arange(len(x)))
        return self.conv(x, edge_index) + positions[:, :3]


def test_the_first_layer_is_one_that_can_be_searched(small):
    assert gm.layers(Late(), small).names[0] == "table"
    assert first_layer(Late(), small) == "conv"
    assert first_layer(gm.zoo.GIN(40, 3), small) == "layer1"


def test_a_model_without_such_a_layer_is_told(small):
    class Blind(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(60, 3)

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
            return self.table(torch.arange(len(x)))

    with pytest.raises(gm.InputError, match=r"Blind has no layer that can be searched\. .* table"):
        first_layer(Blind(), small)
