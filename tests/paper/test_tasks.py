"""What a job of the paper's grids does, on the built-in graph."""

import functools

import pytest
import torch

import graph_metamers as gm
from graph_metamers.jobs import Inline, Job, Store, run
from graph_metamers.paper import tasks
from graph_metamers.paper.grid import MODELS, PROTOCOL, Options, model_options, search_job
from graph_metamers.paper.tasks import EPOCHS, configured, search_rows, trained_model
from graph_metamers.search import run as running

ONE = Options(seeds=1)
FEW = 30  # epochs, where it is not their number that is tested


@pytest.fixture
def few_epochs(monkeypatch):
    monkeypatch.setattr(tasks, "trained_model", functools.partial(trained_model, epochs=FEW))


def short(job: Job) -> Job:
    """The job with three steps of its search."""
    return Job.of(job.task, **job.arguments | {"steps": 3})


def found(store: Store, job: Job):
    (result,) = run([job], store, Inline())
    assert result.error == ""
    (row,) = result.rows
    return row


def test_a_search_is_that_of_the_library(tmp_path):
    row = found(Store(tmp_path), short(search_job(ONE, "csbm", "gcn", 1)))
    data = gm.datasets.load("csbm")
    training = gm.zoo.Training(epochs=500, patience=None, validate_every=50)
    model = gm.zoo.train("gcn", data, seed=1, hidden=32, training=training, progress=False).model
    m = gm.metamer(model, data, "layer1", search=gm.Adam(steps=3, patience=None), seed=1)
    assert row["activation_error"] == m.activation_error
    assert row["feature_similarity"] == m.scores["feature_similarity"]
    assert (row["outcome"], row["seed"]) == ("not_matched", 1)
    assert 0.5 < row["accuracy_test"] <= 1
    assert "seconds" not in row
    # The tolerance and the null are those of an activation error of 0.01, whatever an FVU is there.
    scale = m.activation_error / m.fvu
    assert row["tol"] * scale == pytest.approx(tasks.TOL)
    assert row["null_activation_error"] == pytest.approx(m.null_error * scale)


def test_trainings_and_searches_are_those_of_the_protocol():
    """Whoever changes one of these raises PROTOCOL too, so that no older run passes for a new."""
    assert PROTOCOL == {"paper": 2, "auto": 5}
    assert EPOCHS == 500
    recipes = {name: gm.zoo.MODELS[name].default_training for name in MODELS}
    assert {name: (recipe.lr, recipe.weight_decay) for name, recipe in recipes.items()} == (
        dict.fromkeys(MODELS, (1e-3, 5e-4))
    )
    assert repr(gm.zoo.AdversarialTraining()) == (
        "AdversarialTraining(epsilon=1.0, steps=5, step_size=None, norm='l2')"
    )
    assert repr(configured("paper", None)) == (
        "Adam(lr=0.0005, steps=1000, stop_at_tol=False, patience=None)"
    )
    assert repr(configured("auto", None)) == (
        "Auto(steps=None, seek='nearest', stop_at_tol=True, exact=True)"
    )
    # what that picks, with the defaults that it leaves to them
    assert [repr(kind()) for kind in (gm.Swap, gm.Exact, gm.GaussNewton, gm.EdgeSwap)] == [
        "Swap(steps=1000, stop_at_tol=False, patience=20, seek='nearest')",
        "Exact(steps=150, seek='nearest')",
        "GaussNewton(steps=50, inner=40, stop_at_tol=False, patience=10)",
        "EdgeSwap(steps=2000, temperature=0.0, stop_at_tol=False, patience=100)",
    ]
    assert gm.Adam().patience == 200


def test_options_reach_the_model_and_its_training():
    data = gm.datasets.csbm(nodes=60, features=40)
    options = {"hidden": 8, "depth": 3, "adversarial": True}
    trained = trained_model("gcn", data, 0, options, epochs=20)
    assert trained.model.layer_names == ["layer1", "layer2", "layer3"]
    assert trained.provenance["options"] == {"hidden": 8, "depth": 3}
    training = trained.provenance["training"]
    assert (training["epochs"], training["patience"], training["lr"]) == (20, None, 1e-3)
    assert training["adversarial"] is not None


def test_a_metamer_that_is_to_be_shown_is_kept(tmp_path, few_epochs):
    store = Store(tmp_path)
    asked = short(search_job(ONE, "csbm", "gcn", 0))
    job = Job.of(asked.task, **asked.arguments | {"keep": True})
    row = found(store, job)
    m = gm.load(store.left(job) / "metamer.pt")
    assert m.activation_error == row["activation_error"]


def test_a_model_that_was_trained_anew_begins_its_search_anew(tmp_path, monkeypatch, few_epochs):
    """What another model's search left in the job's folder does not stop it."""
    monkeypatch.setattr(running, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(running._Saving, "remove", lambda self: None)
    arguments = short(search_job(ONE, "csbm", "gcn", 0)).arguments
    (before,) = search_rows(tmp_path, **arguments)
    monkeypatch.setattr(tasks, "trained_model", functools.partial(trained_model, epochs=2 * FEW))
    (after,) = search_rows(tmp_path, **arguments)
    assert before["activation_error"] != after["activation_error"]
    assert len(list(tmp_path.glob("search-*.checkpoint"))) == 2


def test_edges_vary_on_the_undirected_graph(tmp_path, few_epochs):
    job = search_job(Options(search="auto"), "csbm", "gcn", 0, vary="structure")
    row = found(Store(tmp_path), short(job))
    assert row["search"].startswith("EdgeSwap")
    assert 0 <= row["edges_kept"] < 1


def test_a_metamer_is_shown_to_another_model_and_trained_on(tmp_path, few_epochs):
    asked = {"dataset": "csbm", "source": "gcn", "target": "gin", "seed": 0, "search": "auto"}
    asked |= {"steps": 5, "device": "cpu", "protocol": 1}
    asked |= {f"{who}_options": model_options(asked[who]) for who in ("source", "target")}
    job = Job.of("graph_metamers.paper.tasks:transfer_rows", **asked)
    row = found(Store(tmp_path), job)
    data = gm.datasets.load("csbm")
    gcn, gin = (
        tasks.trained_model(name, data, 0, model_options(name)).model for name in ("gcn", "gin")
    )
    search = gm.Auto(steps=5, stop_at_tol=True, exact=False)
    m = gm.metamer(gcn, data, "layer1", search=search)
    again = tasks.trained_model("gin", m.data, 0, model_options("gin")).model

    def classes(model, graph):
        with torch.no_grad():
            return model(graph.x, graph.edge_index).argmax(1)

    def accuracy(predicted):
        return float((predicted == data.y)[data.test_mask].double().mean())

    assert row["activation_error"] == m.activation_error
    assert row["plain"] == accuracy(classes(gin, data))
    assert row["shown"] == accuracy(classes(gin, m.data))
    assert row["retrained"] == accuracy(classes(again, data))
    agreement = (classes(gin, data) == classes(gin, m.data)).double().mean()
    assert row["shown_match"] == pytest.approx(float(agreement))
