"""What every search promises, on one graph and on several at once."""

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from search_cases import (
    CASES,
    ITERATED,
    TOGETHER,
    Case,
    Poser,
    alone,
    fvu_by_hand,
    generator,
    several,
)
from torch import Tensor
from torch_geometric.data import Batch

import graph_metamers as gm
from graph_metamers.search import Ended, Problem, Solution, run
from graph_metamers.storage import save_tensors
from helpers import left_as_found

DATA = {"one graph": alone, "five graphs": several}
BOTH = [(name, of) for name in CASES for of in DATA if of == "one graph" or name in TOGETHER]
RESUMED = [(name, of) for name, of in BOTH if name in ITERATED]


def of_graphs(data) -> list:
    return data.to_data_list() if isinstance(data, Batch) else [data]


def same(a: Solution, b: Solution, key: str) -> bool:
    """Whether all but the time is equal, bit for bit."""
    return (
        a.history == b.history
        and torch.equal(a.inputs[key], b.inputs[key])
        and torch.equal(a.errors, b.errors)
        and (a.ended, a.steps, a.best_steps, a.notes) == (b.ended, b.steps, b.best_steps, b.notes)
        and a.trail == b.trail
    )


def check_in_domain(case: Case, found, reference) -> None:
    """Hard values, of the promised kind in every graph, and nothing else changed."""
    assert found.keys() == reference.keys()
    for a, b in zip(of_graphs(found), of_graphs(reference), strict=True):
        if case.key == "edge_index":
            assert a.num_edges == b.num_edges
            assert a.has_self_loops() == b.has_self_loops()
            assert a.is_undirected() == b.is_undirected()
            assert a.is_coalesced() or len(a.edge_index.unique(dim=1)[0]) == a.num_edges
            if case.vary.degrees == "fixed":
                degrees = (torch.bincount(g.edge_index[0], minlength=len(g.x)) for g in (a, b))
                assert torch.equal(*degrees)
            assert torch.equal(a.x, b.x)
            continue
        assert torch.equal(a.edge_index, b.edge_index)
        if case.kind == "real":
            assert float(a.x.min()) >= 0
            continue
        assert set(a.x.unique().tolist()) <= {0.0, 1.0}
        assert a.x.sum() == b.x.sum()
        if case.vary == gm.BinaryFeatures(density="per_node"):
            assert torch.equal(a.x.sum(1), b.x.sum(1))
        if getattr(case.search, "seek", "") == "farthest":
            assert float((a.x * b.x).sum()) == 0


@pytest.mark.parametrize(("name", "of"), BOTH)
def test_the_best_graph_is_returned_hard_and_its_error_is_true(name: str, of: str, pose: Poser):
    case, reference = CASES[name], DATA[of](CASES[name].kind)
    before, model = reference.clone(), case.model()
    problem = case.problem(pose, reference)
    with left_as_found(model):
        found = case.search.run(problem, generator())
    graph = found.inputs.restored()
    assert type(graph) is type(reference)
    check_in_domain(case, graph, reference)
    assert found.errors.tolist() == pytest.approx(
        fvu_by_hand(model, reference, graph), rel=1e-3, abs=1e-9
    )
    assert all(found.errors < found.history[0] * 3)
    assert found.errors.mean() < 0.9 * found.history[0]
    assert len(found.history) == found.steps + 1
    if of == "one graph":
        assert found.errors.item() == min(found.history) == found.history[found.best_steps[0]]
    if not name.startswith(("adam", "edge_swap, hot", "exact")):
        assert all(b <= a for a, b in pairwise(found.history))
    graph[case.key].zero_()
    for key in before.keys():  # noqa: SIM118
        assert torch.equal(torch.as_tensor(reference[key]), torch.as_tensor(before[key]))
        assert key == case.key or torch.equal(problem.inputs.graph[key], before[key])


@pytest.mark.parametrize("name", CASES)
def test_the_seed_decides(name: str, pose: Poser):
    case = CASES[name]
    problem = case.problem(pose, alone(case.kind))
    state = torch.get_rng_state()
    a, b, c = (case.search.run(problem, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(a, b, case.key)
    assert not torch.equal(a.inputs[case.key], c.inputs[case.key])


@pytest.mark.parametrize("name", ITERATED)
def test_the_budget_is_kept_and_every_step_is_watched(name: str, pose: Poser):
    case, seen = CASES[name], []
    problem = case.problem(pose, alone(case.kind), tol=1e-30)
    search = replace(case.search, steps=5)
    found = search.run(problem, generator(), watch=lambda *step: seen.append(step))
    assert (found.ended, found.steps) == ([Ended.BUDGET_SPENT], 5)
    assert seen == [(k, 5, min(found.history[: k + 1])) for k in range(6)]
    assert found.seconds > 0


@pytest.mark.parametrize("name", ITERATED)
def test_it_stops_at_tol_if_asked(name: str, pose: Poser):
    case = CASES[name]
    problem = case.problem(pose, alone(case.kind))
    on = case.search.run(problem, generator())
    problem.match.tol = tol = (on.history[0] + min(on.history)) / 2
    through = case.search.run(problem, generator())
    stopped = replace(case.search, stop_at_tol=True).run(problem, generator())
    assert on.history == through.history
    assert (on.ended, through.ended, stopped.ended) == (
        [Ended.BUDGET_SPENT],
        [Ended.REACHED],
        [Ended.REACHED],
    )
    assert stopped.history == on.history[: len(stopped.history)]
    assert stopped.history[-1] <= tol < min(stopped.history[:-1])


@pytest.mark.parametrize("name", ["adam, binary", "swap", "edge_swap", "gauss_newton"])
def test_what_no_longer_falls_is_stalled(name: str, pose: Poser):
    case = CASES[name]
    problem = case.problem(pose, alone(case.kind), tol=1e-30)
    slow = {"lr": 1e-12} if name.startswith("adam") else {}
    found = replace(case.search, steps=400, patience=3, **slow).run(problem, generator())
    assert found.ended == [Ended.STALLED]
    assert 3 <= found.steps < 400
    assert found.errors.item() > 0.9 * found.history[-4]
    endless = replace(case.search, steps=found.steps + 2, patience=None, **slow)
    assert endless.run(problem, generator()).ended == [Ended.BUDGET_SPENT]


def breaks(problem: Problem, after: int) -> None:
    """From a number of forwards on the activations are NaN."""
    plain, count = problem.session.activations, SimpleNamespace(calls=0)

    def activations(targets, inputs) -> list[Tensor]:
        count.calls += 1
        return [h * (torch.nan if count.calls > after else 1) for h in plain(targets, inputs)]

    problem.session.activations = activations


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("after", [0, 12])
def test_where_the_model_answers_nan_the_best_before_is_kept(name: str, after: int, pose: Poser):
    case = CASES[name]
    problem = case.problem(pose, alone(case.kind))
    case.search.choose(problem)
    begun = case.search.run(problem, generator())
    breaks(problem, after)
    found = case.search.run(problem, generator())
    if after == 0:
        assert (found.ended, found.steps) == (
            [Ended.NONFINITE],
            0 if name != "exact" else found.steps,
        )
        return
    assert torch.isfinite(found.errors).all() or name == "exact"
    check_in_domain(case, found.inputs.restored(), alone(case.kind))
    if name != "exact":
        known = found.best_steps[0]
        assert found.history[: known + 1] == begun.history[: known + 1]


# --------------------------------------------------------------------------------- many graphs


@pytest.mark.parametrize("name", [n for n in TOGETHER if n in ITERATED and "hot" not in n])
def test_a_graph_that_is_done_is_left_alone(name: str, pose: Poser, monkeypatch):
    """With the others searched on it stays bit for bit; without it they reach the tolerance too."""
    case, reference = CASES[name], several(CASES[name].kind)
    problem = case.problem(pose, reference, tol=0.8 if "farthest" in name else 0.45)
    slow = {"inner": 1} if name.startswith("gauss") else {}
    ends: dict[float, Solution] = {}
    for fewer in (-1.0, 1.0):  # never left out, left out at once
        monkeypatch.setattr(run, "FEWER", fewer)
        search = replace(case.search, steps=300, stop_at_tol=True, **slow)
        found = ends[fewer] = search.run(problem, generator())
        first = min(found.best_steps)
        assert first < max(found.best_steps)
        early = replace(search, steps=max(1, first)).run(problem, generator())
        place = found.best_steps.index(first)
        alone, before = (s.inputs.single(place)[case.key] for s in (found, early))
        assert torch.equal(alone, before)
        assert found.errors.tolist() == pytest.approx(
            fvu_by_hand(case.model(), reference, found.inputs.restored()), rel=1e-3
        )
        check_in_domain(case, found.inputs.restored(), reference)
    assert ends[-1.0].ended == ends[1.0].ended


# -------------------------------------------------------------------------------------- resume


class Interrupted(Exception):
    pass


def interrupted(search, problem: Problem, path, after: int) -> int:
    """Run some steps and stop; gives the first step that it took."""
    steps: list[int] = []

    def watch(step: int, total: int, error: float) -> None:
        steps.append(step)
        if step == steps[0] + after:
            raise Interrupted

    with pytest.raises(Interrupted):
        search.run(problem, generator(), checkpoint=path, watch=watch)
    return steps[0]


@pytest.mark.usefixtures("always_saved")
@pytest.mark.parametrize(("name", "of"), RESUMED)
def test_resumed_is_bitwise_the_same(name: str, of: str, pose: Poser, tmp_path):
    case, path = CASES[name], tmp_path / "c.pt"
    problem = case.problem(pose, DATA[of](case.kind))
    undisturbed = case.search.run(problem, generator())
    done = 0
    for after in (1, 5, 3):
        assert interrupted(case.search, problem, path, after) == done  # it did not begin again
        done += after
    resumed = case.search.run(problem, generator(), checkpoint=path)
    assert same(resumed, undisturbed, case.key)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("always_saved")
def test_resumed_when_some_graphs_are_left_out(pose: Poser, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FEWER", 1.0)
    case, path = CASES["swap"], tmp_path / "c.pt"
    problem = case.problem(pose, several("binary"), tol=0.2)
    search = replace(case.search, steps=60, stop_at_tol=True)
    undisturbed = search.run(problem, generator())
    after = (min(undisturbed.best_steps) + max(undisturbed.best_steps)) // 2 + 1
    assert min(undisturbed.best_steps) < after < undisturbed.steps
    interrupted(search, problem, path, after)
    resumed = search.run(problem, generator(), checkpoint=path)
    assert same(resumed, undisturbed, "x")


@pytest.mark.usefixtures("always_saved")
def test_time_is_counted_over_all_parts(pose: Poser, tmp_path):
    case, path = CASES["adam, binary"], tmp_path / "c.pt"
    problem = case.problem(pose, alone("binary"))
    interrupted(case.search, problem, path, 3)
    state = torch.load(path, weights_only=True)
    save_tensors(path, state | {"seconds": 1000.0})
    assert case.search.run(problem, generator(), checkpoint=path).seconds > 1000


@pytest.mark.usefixtures("always_saved")
def test_a_checkpoint_of_another_search_is_refused_and_kept(pose: Poser, tmp_path):
    case, path = CASES["swap"], tmp_path / "c.pt"
    problem = case.problem(pose, alone("binary"))
    interrupted(case.search, problem, path, 3)
    for other in ({"vary": gm.BinaryFeatures(slope=2.0)}, {"index": [0, 1]}):
        with pytest.raises(gm.InputError, match=r"belongs to another search .* Remove it, or name"):
            case.search.run(
                case.problem(pose, alone("binary"), **other), generator(), checkpoint=path
            )
    changed = alone("binary")
    changed.x[0] = 1 - changed.x[0]
    with pytest.raises(gm.InputError, match="belongs to another search"):
        case.search.run(case.problem(pose, changed), generator(), checkpoint=path)
    path.write_text("not a checkpoint")
    with pytest.raises(gm.InputError, match="must be a checkpoint"):
        case.search.run(problem, generator(), checkpoint=path)
    assert path.read_text() == "not a checkpoint"
