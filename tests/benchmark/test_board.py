"""The leaderboard: its figures by hand, what replaces what, and its order."""

import math
import threading

import pytest

import graph_metamers as gm
from graph_metamers.benchmark import (
    entrant,
    invariance,
    protocol_jobs,
    read_board,
    summarise,
    update_board,
)
from graph_metamers.benchmark.board import FILE, in_order, matched_text
from graph_metamers.jobs.store import write_table
from graph_metamers.storage import one_at_a_time


def row(seed=0, *, similarity=0.2, start=0.2, outcome="matched", **changes):
    return {
        "model": "gcn",
        "dataset": "cora",
        "layer": "first",
        "place": "layer1",
        "protocol": 1,
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
    } | changes


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
    rows = [
        row(0, similarity=0.2, start=0.2, accuracy=0.8),  # invariance 1
        row(1, similarity=0.6, start=0.2, accuracy=0.7),  # invariance 1/2
        row(2, similarity=0.9, outcome="not_matched", accuracy=0.6, null_activation_error=0.3),
    ]
    (line,) = summarise(rows)
    assert (line["runs"], line["matched"], line["trivial"], line["impossible"]) == (3, 2, 0, 0)
    assert line["invariance"] == pytest.approx(0.75)
    assert line["invariance_std"] == pytest.approx(math.sqrt(0.125))
    assert line["feature_similarity"] == pytest.approx(0.4)  # of the matched runs
    assert line["accuracy"] == pytest.approx(0.7)  # of all
    assert line["accuracy_std"] == pytest.approx(0.1)
    assert line["null_activation_error"] == 0.3
    assert line["place"] == "layer1"


def test_a_run_that_failed_is_not_forgotten():
    jobs = [
        job
        for job in protocol_jobs(entrant("gcn"), datasets=["cora"])
        if job.arguments["layer"] == "first"
    ]
    rows = [row(seed, protocol=jobs[0].arguments["protocol"]) for seed in (0, 1)]
    (line,) = summarise(rows, jobs[2:])
    assert (line["runs"], line["matched"], line["failed"]) == (3, 2, 1)
    assert matched_text(line) == "2 of 3, 1 failed"
    (other,) = summarise([one | {"dataset": "citeseer"} for one in rows], jobs[2:])
    assert (other["runs"], other["failed"]) == (2, 0)


@pytest.mark.parametrize("outcome", ["not_matched", "trivial", "uninformative", "impossible"])
def test_runs_that_do_not_count(outcome):
    other = row(1, similarity=1.0, outcome=outcome)
    (line,) = summarise([row(0), other])
    assert line["invariance"] == pytest.approx(1.0)
    assert math.isnan(line["invariance_std"])
    words = {"trivial": "1 of 2, 1 trivial", "impossible": "1 of 2, 1 impossible"}
    assert matched_text(line) == words.get(outcome, "1 of 2")
    (none,) = summarise([other])
    assert math.isnan(none["invariance"])
    assert none["accuracy"] == 0.8


def test_lines_are_by_model_graph_layer_and_protocol():
    keys = [{}, {"model": "gat"}, {"dataset": "pubmed"}, {"layer": "output"}, {"protocol": 2}]
    lines = summarise([row(seed, **key) for key in keys for seed in range(2)])
    assert [line["runs"] for line in lines] == [2] * 5


def test_a_line_replaces_the_older_one(tmp_path):
    assert read_board(tmp_path) == []
    update_board(tmp_path, summarise([row(0), row(0, layer="output"), row(0, model="gat")]))
    before = {(line["model"], line["layer"]): line for line in read_board(tmp_path)}
    update_board(tmp_path, summarise([row(0, similarity=0.6), row(0, protocol=2)]))
    lines = read_board(tmp_path)
    assert len(lines) == 4
    key = ("gcn", "first", 1)
    (new,) = [x for x in lines if (x["model"], x["layer"], x["protocol"]) == key]
    assert new["invariance"] == pytest.approx(0.5)
    update_board(tmp_path, summarise([row(0, place="conv1")]))  # another layer as the first
    (other,) = [x for x in read_board(tmp_path) if (x["model"], x["layer"], x["protocol"]) == key]
    assert other["place"] == "conv1"
    (kept,) = [line for line in lines if line["model"] == "gat"]
    assert kept == pytest.approx(before["gat", "first"], nan_ok=True)


def test_who_adds_lines_waits_for_who_is_at_it(tmp_path):
    lines = summarise([row(0, model="gat")])
    other = threading.Thread(target=update_board, args=(tmp_path, lines))
    with one_at_a_time(tmp_path / FILE):
        other.start()
        other.join(0.3)
        assert other.is_alive()
        write_table(tmp_path / FILE, summarise([row(0)]))
    other.join(60)
    assert {line["model"] for line in read_board(tmp_path)} == {"gcn", "gat"}


def test_nan_is_kept_and_comes_last(tmp_path):
    rows = [
        row(0, model="none", similarity=0.9, outcome="not_matched"),
        row(0, model="high", similarity=0.2),
        row(0, model="low", similarity=0.8),
        row(0, model="other", dataset="chameleon"),
    ]
    lines = update_board(tmp_path, summarise(rows))
    assert [line["model"] for line in lines] == ["other", "low", "high", "none"]
    back = read_board(tmp_path)
    assert [line["model"] for line in back] == ["other", "low", "high", "none"]
    assert math.isnan(back[-1]["invariance"])
    missing = [line | {"invariance": None} if line["model"] == "low" else line for line in back]
    assert [line["model"] for line in in_order(missing)][1:] == ["high", "low", "none"]


def test_a_damaged_table(tmp_path):
    (tmp_path / "leaderboard.parquet").write_text("no table")
    with pytest.raises(gm.InputError, match=r"leaderboard\.parquet' must be a parquet file"):
        read_board(tmp_path)
    line = {"model": "gcn", "dataset": "cora", "layer": "layer1", "place": "1"}  # no protocol
    write_table(tmp_path / "leaderboard.parquet", [line])
    with pytest.raises(gm.InputError, match=r"leaderboard\.parquet' must be a leaderboard; it has"):
        read_board(tmp_path)


@pytest.mark.parametrize(
    ("verdict", "trivial", "outcome"),
    [
        ("matched", False, "matched"),
        ("matched", True, "trivial"),
        ("not_matched", False, "not_matched"),
        ("impossible", True, "impossible"),  # it ends with the graph itself
    ],
)
def test_rows_from_before_there_was_an_outcome(verdict, trivial, outcome):
    old = row(0)
    del old["outcome"]
    (line,) = summarise([old | {"verdict": verdict, "trivial": trivial}])
    counts = {name: line[name] for name in ("matched", "trivial", "impossible")}
    assert counts == {name: int(name == outcome) for name in counts}
