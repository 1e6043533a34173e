"""The leaderboard: its figures by hand, what makes a line, and its order."""

import math

import pytest

from graph_metamers.benchmark import invariance, protocol_jobs, summarise, write_board
from graph_metamers.jobs import Job, Result, Store
from graph_metamers.jobs.store import read_table

(JOB,) = (
    job
    for job in protocol_jobs("gcn", datasets=["cora"], seeds=1)
    if job.arguments["layer"] == "first"
)


def run(seed=0, *, similarity=0.2, start=0.2, outcome="matched", asked=None, **changes):
    """A result of the benchmark; `asked` changes its job."""
    row = {
        "place": "layer1",
        "search": "Swap",
        "seed": seed,
        "accuracy": 0.8,
        "activation_error": 0.01,
        "null_activation_error": 0.5,
        "feature_similarity": similarity,
        "start_feature_similarity": start,
        "prediction_match": 0.9,
        "consistency": 0.26,
        "outcome": outcome,
    }
    job = Job.of(JOB.task, **JOB.arguments | {"seed": seed} | (asked or {}))
    return Result(job, [row | changes], 1.0, {})


@pytest.mark.parametrize(
    ("similarity", "start", "figure"),
    [
        (0.1, 0.1, 1.0),  # as chance
        (1.0, 0.1, 0.0),  # the graph itself
        (0.55, 0.1, 0.5),  # half the way
        (0.0, 0.2, 1.25),  # farther than chance
        (-0.5, 0.0, 1.5),  # features with signs
        (1.0, 1.0, math.nan),  # chance is the graph
    ],
)
def test_invariance_by_hand(similarity, start, figure):
    assert invariance(similarity, start) == pytest.approx(figure, nan_ok=True)


def test_a_line_by_hand():
    runs = [
        run(0, similarity=0.2, start=0.2, accuracy=0.8),  # invariance 1
        run(1, similarity=0.6, start=0.2, accuracy=0.7),  # invariance 1/2
        run(2, similarity=0.9, outcome="not_matched", accuracy=0.6, null_activation_error=0.3),
    ]
    (line,) = summarise(runs)
    assert (line["runs"], line["matched"], line["uncounted"]) == (3, 2, "1 not matched")
    assert line["invariance"] == pytest.approx(0.75)
    assert line["invariance_std"] == pytest.approx(math.sqrt(0.125))
    assert line["feature_similarity"] == pytest.approx(0.4)  # of the matched runs
    assert line["accuracy"] == pytest.approx(0.7)  # of all
    assert line["accuracy_std"] == pytest.approx(0.1)
    assert line["null_activation_error"] == 0.3
    assert line["place"] == "layer1"


def test_a_run_that_failed_is_not_forgotten():
    broken = Result(run(2).job, [], 1.0, {}, "RuntimeError: no")
    (line,) = summarise([run(0), run(1), broken])
    assert (line["runs"], line["matched"], line["failed"]) == (3, 2, 1)
    assert line["uncounted"] == "1 failed"
    (alone,) = summarise([broken])
    assert (alone["runs"], alone["matched"]) == (1, 0)
    assert math.isnan(alone["accuracy"])


@pytest.mark.parametrize("outcome", ["not_matched", "trivial", "uninformative", "impossible"])
def test_runs_that_do_not_count(outcome):
    other = run(1, similarity=1.0, outcome=outcome)
    (line,) = summarise([run(0), other])
    assert line["invariance"] == pytest.approx(1.0)
    assert math.isnan(line["invariance_std"])
    assert line["uncounted"] == f"1 {outcome.replace('_', ' ')}"
    (none,) = summarise([other])
    assert math.isnan(none["invariance"])
    assert none["accuracy"] == 0.8


def test_a_line_is_of_jobs_that_differ_in_the_seed_alone():
    source = {"file": "mine.py", "factory": "build", "digest": "a"}
    keys = [{}, {"model": "gat"}, {"dataset": "pubmed"}, {"layer": "output"}, {"protocol": 2}]
    keys += [{"source": source}, {"source": source | {"digest": "b"}}, {"first": "conv"}]
    lines = summarise([run(seed, asked=key) for key in keys for seed in range(2)])
    assert [line["runs"] for line in lines] == [2] * len(keys)


def test_the_board_is_of_all_runs_of_its_folder(tmp_path):
    store = Store(tmp_path / "runs")
    outcomes = {"none": "not_matched", "high": "matched", "low": "matched"}
    for model, outcome in outcomes.items():
        similarity = {"low": 0.8, "high": 0.2}.get(model, 0.9)
        store.put(run(0, asked={"model": model}, similarity=similarity, outcome=outcome))
    store.put(run(0, asked={"dataset": "chameleon"}))
    lines = write_board(tmp_path)
    assert [line["model"] for line in lines] == ["gcn", "low", "high", "none"]
    back = read_table(tmp_path / "leaderboard.parquet")
    assert [line["model"] for line in back] == ["gcn", "low", "high", "none"]
    assert math.isnan(back[-1]["invariance"])


@pytest.mark.parametrize(
    ("verdict", "trivial", "told"),
    [
        ("matched", False, ""),
        ("matched", True, "1 trivial"),
        ("not_matched", False, "1 not matched"),
        ("impossible", True, "1 impossible"),  # it ends with the graph itself
    ],
)
def test_rows_from_before_there_was_an_outcome(verdict, trivial, told):
    (line,) = summarise([run(0, outcome="", verdict=verdict, trivial=trivial)])
    assert line["uncounted"] == told
