"""The loop itself, on errors that are written down: what ends, what is kept, what is left out."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from search_cases import generator
from torch import Tensor
from torch_geometric.data import Batch, Data

from graph_metamers.inputs import Inputs
from graph_metamers.search import Ended, Problem, run
from graph_metamers.search.exchange import carried_out, trusted
from graph_metamers.search.walk import Rules, Walk

NAN, INF = torch.nan, torch.inf


class Scripted(Walk):
    """The error of graph g at step k is errors[k][g]; its features are k everywhere."""

    monotone: ClassVar[bool] = False

    def __init__(self, errors: list[list[float]], tol: float, graphs: Tensor | None = None) -> None:
        self.errors = torch.tensor(errors, dtype=torch.float64)
        self.graphs = torch.arange(self.errors.shape[1]) if graphs is None else graphs
        nodes = [Data(x=torch.zeros(int(g) + 1, 2)) for g in self.graphs]
        self.problem = object.__new__(Problem)  # no model answers here
        vars(self.problem).update(
            inputs=Inputs(Batch.from_data_list(nodes)),
            match=SimpleNamespace(tol=tol, graphs=len(nodes)),
            similarity=lambda inputs: float(inputs["x"].mean()),
            identity="",
        )
        self.number, self.active = 0, []

    def look(self) -> Tensor:
        return self.errors[self.number, self.graphs]

    def step(self, active: Tensor, number: int) -> None:
        self.number = number
        self.active.append(self.graphs[active].tolist())

    def changed(self) -> dict[str, Tensor]:
        return {"x": torch.full_like(self.problem.inputs["x"], float(self.number))}

    def of(self, graphs: Tensor) -> "Scripted":
        smaller = Scripted(self.errors.tolist(), self.problem.match.tol, self.graphs[graphs])
        smaller.number, smaller.active = self.number, self.active
        return smaller

    def state(self): ...

    def resume(self, state): ...


def walked(errors, *, tol=0.1, stop_at_tol=False, patience=None, fall=0.01, enough=0.0):
    walk = Scripted(errors, tol)
    rules = Rules(len(errors) - 1, stop_at_tol, patience, fall, enough)
    return run.run(walk, rules, generator()), walk


def alone(errors, **options):
    return walked([[float(error)] for error in errors], **options)[0]


@pytest.mark.parametrize(
    ("errors", "options", "ended", "steps", "best"),
    [
        ([3, 2, 1], {}, Ended.BUDGET_SPENT, 2, 2),
        ([3, 1, 2], {}, Ended.BUDGET_SPENT, 2, 1),
        ([1, 1, 1], {}, Ended.BUDGET_SPENT, 2, 0),  # of equals the first
        ([3, 0.1, 0.05], {}, Ended.REACHED, 2, 2),
        ([3, 0.1, 0.05], {"stop_at_tol": True}, Ended.REACHED, 1, 1),
        ([3, 0.05, 5], {}, Ended.REACHED, 2, 1),
        ([3, 0.0, 5], {}, Ended.REACHED, 1, 1),  # nothing is left to do
        ([0.0, 1, 2], {}, Ended.REACHED, 0, 0),
        ([3, NAN, 1], {}, Ended.NONFINITE, 1, 0),
        ([3, INF, 1], {}, Ended.NONFINITE, 1, 0),
        ([NAN, 1, 1], {}, Ended.NONFINITE, 0, 0),
        ([0.05, NAN, 1], {}, Ended.REACHED, 1, 0),
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, Ended.STALLED, 4, 2),
        ([3, 2, 1, 5, 0.999, 1], {"patience": 2}, Ended.STALLED, 4, 4),  # less than a hundredth
        ([3, 2, 1, 5, 0.98, 1], {"patience": 2}, Ended.BUDGET_SPENT, 5, 4),
        ([1, 0.05, 0.05, 0.05, 1], {"patience": 2}, Ended.REACHED, 3, 1),
    ],
)
def test_how_one_graph_ends(errors, options, ended, steps, best):
    found = alone(errors, **options)
    assert (found.ended, found.steps, found.best_steps) == ([ended], steps, [best])
    assert found.history == pytest.approx([float(e) for e in errors[: steps + 1]], nan_ok=True)
    assert float(found.inputs["x"][0, 0]) == best


@pytest.mark.parametrize("fewer", [-1.0, 0.5, 1.0])
def test_each_graph_of_a_batch_ends_on_its_own(fewer, monkeypatch):
    """Graph 0 is done at once, 1 at step 2, 2 breaks, 3 never ends; none changes afterwards."""
    monkeypatch.setattr(run, "FEWER", fewer)
    errors = [[0.05, 5, 5, 5], [9, 4, 4, 5], [9, 0.1, NAN, 4], [9, 0, 0, 6], [9, 0, 0, 3]]
    found, walk = walked(errors, stop_at_tol=True)
    ends = [Ended.REACHED, Ended.REACHED, Ended.NONFINITE, Ended.BUDGET_SPENT]
    assert found.ended == ends
    assert found.best_steps == [0, 2, 1, 4]
    assert found.errors.tolist() == [0.05, 0.1, 4, 3]
    values = [found.inputs.single(g)["x"].unique().tolist() for g in range(4)]
    assert values == [[0], [2], [1], [4]]
    assert walk.active == [[1, 2, 3], [1, 2, 3], [3], [3]]
    # Of the graphs that are done the least error counts; where one breaks there is no mean.
    expected = [(0.05 + 15) / 4, (0.05 + 13) / 4, NAN, (0.05 + 0.1 + 4 + 6) / 4, 7.15 / 4]
    assert found.history == pytest.approx(expected, nan_ok=True)


def test_similarities_on_the_way_stand_at_powers_of_two():
    found = alone([9, 8, 7, 6, 5, 4, 3])
    assert found.trail == [(0, 9, 0), (1, 8, 1), (2, 7, 2), (4, 5, 4)]


def test_a_stalled_search_may_look_closer_once():
    class Closer(Scripted):
        since = None

        def look_closer(self, step: int) -> bool:
            first, self.since = self.since is None, step if self.since is None else self.since
            return first

        def is_early(self, step: int) -> bool:
            return self.since is not None and step < self.since + 2

    walk = Closer([[1.0]] * 9, 0.1)
    found = run.run(walk, Rules(8, False, 2, 0.01), generator())
    assert (walk.since, found.steps, found.ended) == (2, 4, [Ended.STALLED])


# ------------------------------------------------------------------- what exchanges have in common


def test_curvature_counts_more_after_a_broken_promise():
    kappa = torch.tensor([1.0, 1, 1, 0.5, 90, 1], dtype=torch.float64)
    kept = torch.tensor([0.9, 0.5, 0.1, 0.9, -2, NAN], dtype=torch.float64)
    found = trusted(kappa, kept, most=100.0)
    assert found.tolist() == pytest.approx([0.8, 1, 1.3, 0.5, 100, 1])


def test_what_does_not_help_is_tried_again_in_quarters():
    tried: list[int] = []

    def attempt(some: Tensor, number: int) -> Tensor:
        assert number == len(tried)
        tried.append(len(some))
        return torch.tensor([len(some) <= 5])

    def rest(some: Tensor, better: Tensor) -> Tensor | None:
        return None if bool(better) else some[: len(some) // 4]

    carried_out(torch.arange(64), attempt=attempt, rest=rest)
    assert tried == [64, 16, 4]
    tried.clear()
    carried_out(torch.arange(4**6), attempt=attempt, rest=rest)
    assert tried == [4096, 1024, 256, 64]  # four times at most
