"""The one loop of all searches: look, judge, step; with its checkpoint, its trail and its best."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from graph_metamers.digests import same_answers
from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs
from graph_metamers.progress import Watch
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Ended, Rules, Solution, Walk
from graph_metamers.storage import load_tensors, save_tensors
from graph_metamers.vary import Changed

CHECKPOINT_SECONDS = 20.0
FEWER = 0.8  # share of the graphs at which those that are done are left out
NUMBERS = ("best", "best_steps", "going", "alive")  # one for each graph

Graphs = NDArray[Any]  # numbers of graphs, or a mask of them


def run(
    walk: Walk,
    rules: Rules,
    generator: torch.Generator,
    *,
    checkpoint: Path | None = None,
    watch: Watch | None = None,
) -> Solution:
    """Walk until every graph is done.

    Args:
        walk: Where it begins.
        rules: When it ends.
        generator: The only source of chance, whose state belongs to a checkpoint.
        checkpoint: A file that the state is saved to now and then and resumed from.
        watch: Called after every step.
    """
    problem = walk.problem
    device = problem.inputs.device
    saving = _Saving(checkpoint if walk.saved else None, problem)
    record = _Record(problem)
    saved = saving.resumed(device)
    if saved is not None:
        record.resume(saved["record"])
        if len(record.alive) < problem.graphs:
            walk = walk.of(torch.from_numpy(record.alive).to(device)) or walk
        walk.resume(saved["walk"])
        generator.set_state(saved["generator"].cpu())

    while True:
        step = len(record.history)
        record.see(walk.look(), walk)
        if walk.problem is problem:
            saving.see(step, record.history[-1], walk.changed)
        record.judge(rules, step, walk)
        if watch is not None:
            watch(step, rules.steps, float(record.best.mean()))
        going = record.going[record.alive]
        if walk.finished or not going.any():
            break
        if going.sum() <= FEWER * len(going):
            smaller = walk.of(torch.from_numpy(going.nonzero()[0]).to(device))
            if smaller is not None:
                if walk.monotone:
                    record.keep(~going, walk)
                record.restrict(going)
                walk, going = smaller, going[going]
        walk.step(torch.from_numpy(going).to(device), step + 1)
        saving.offer(
            lambda: {
                "walk": walk.state(),  # noqa: B023, called at once
                "generator": generator.get_state(),
                "record": record.state(),
            }
        )

    saving.remove()
    if walk.monotone:
        record.keep(np.ones(len(record.alive), dtype=bool), walk)
    return Solution(
        inputs=record.inputs(),
        errors=torch.from_numpy(record.best),
        ended=record.ends(rules, len(record.history) - 1),
        history=record.history,
        steps=len(record.history) - 1,
        best_steps=record.best_steps.tolist(),
        seconds=saving.seconds,
        notes=walk.notes(),
        trail=saving.trail,
    )


class _Record:
    """The errors of all graphs so far, and the best values found.

    Attributes:
        history: The error of every step, the mean over the graphs.
        best: The least error of each graph.
        best_steps: The step at which it was found.
        going: Whether the graph is searched on.
        alive: The numbers of the graphs that the walk is of.
    """

    def __init__(self, problem: Problem) -> None:
        count = problem.graphs
        self._problem, self._tol = problem, problem.match.tol
        self.history: list[float] = []
        self.best = np.full(count, np.inf)
        self.best_steps = np.zeros(count, dtype=np.int64)
        self.going = np.ones(count, dtype=bool)
        self.alive = np.arange(count)
        self._ended: list[Ended | None] = [None] * count
        self._lowest: list[Graphs] = []  # the least error of each graph up to each step
        self._kept: Changed = {}
        self._graphs: dict[str, Tensor] = {}  # of the rows of what is kept
        self._rows: dict[str, Tensor] = {}  # of what is kept, where those of the walk stand

    def see(self, errors: Float[Tensor, " graphs"], walk: Walk) -> None:
        """Note the errors of a step, and keep what is better than before."""
        first = not self.history
        self._now = self.best.copy()  # also of the graphs that are done
        going = self.going[self.alive]
        self._now[self.alive[going]] = errors.numpy(force=True)[going]
        better = self._now < self.best
        self.best[better] = self._now[better]
        self.best_steps[better] = len(self.history)
        self.history.append(float(self._now.mean()))
        self._lowest.append(self.best.copy())
        if not walk.monotone and (first or better.any()):
            self.keep(better[self.alive] | first, walk)

    def judge(self, rules: Rules, step: int, walk: Walk) -> None:
        """Decide which graphs are done."""
        reached = self.best <= self._tol
        broken = ~(self._now < np.inf)
        done = (self.best <= rules.enough) | (reached & rules.stop_at_tol)
        stalled = np.zeros_like(done)
        if rules.patience is not None and step >= rules.patience:
            before = self._lowest[-rules.patience - 1]
            stalled = (self.best > (1 - rules.fall) * before) & ~done & ~broken & self.going
        if stalled.any() and walk.is_early(step):
            stalled[:] = False
        elif (stalled & ~reached).any() and step < rules.steps and walk.look_closer(step):
            stalled &= reached
        spent = np.full_like(done, step == rules.steps)
        if not ((broken | done | spent | stalled) & self.going).any():
            return
        for ended, which in (
            (Ended.NONFINITE, broken),
            (Ended.REACHED, done),
            (Ended.BUDGET_SPENT, spent),
            (Ended.STALLED, stalled),
        ):
            for graph in (which & self.going).nonzero()[0].tolist():
                self._ended[graph] = Ended.REACHED if reached[graph] else ended
            self.going &= ~which

    def ends(self, rules: Rules, step: int) -> list[Ended]:
        """Why each graph's search ended."""
        rest = Ended.BUDGET_SPENT if step >= rules.steps else Ended.STALLED
        reached = (self.best <= self._tol).tolist()
        return [
            Ended.REACHED if fine else (ended or rest)
            for ended, fine in zip(self._ended, reached, strict=True)
        ]

    def keep(self, which: Graphs, walk: Walk) -> None:
        """Keep the values of some of the walk's graphs."""
        changed = {key: value.detach() for key, value in walk.changed().items()}
        if not self._kept or (which.all() and len(which) == self._problem.graphs):
            self._kept = {key: value.clone() for key, value in changed.items()}
            return  # the first time all graphs are at hand
        chosen = torch.from_numpy(which).to(self._problem.inputs.device)
        for key, value in changed.items():
            to, graph = self._places(key)
            these = chosen[graph]
            along = value.dim() - 1 if key.endswith("edge_index") else 0
            kept = self._kept[key].movedim(along, 0)
            kept[to[these]] = value.movedim(along, 0)[these]

    def _places(self, key: str) -> tuple[Tensor, Tensor]:
        """Where the walk's rows of an input stand among all, and of which of its graphs each is.

        A search leaves the number of rows of every graph, and their order, as they are.
        """
        if key not in self._graphs:
            inputs = self._problem.inputs.replaced(self._kept)
            self._graphs[key] = inputs.units_of(key).graph
        if key not in self._rows:
            graph = self._graphs[key]
            place = torch.full((self._problem.graphs,), -1, device=graph.device)
            place[torch.from_numpy(self.alive).to(place)] = torch.arange(len(self.alive)).to(place)
            rows = (place[graph] >= 0).nonzero().view(-1)
            self._rows[key] = torch.stack([rows, place[graph[rows]]])
        rows, graph = self._rows[key]
        return rows, graph

    def restrict(self, going: Graphs) -> None:
        self.alive = self.alive[going]
        self._rows = {}

    def inputs(self) -> Inputs:
        """The best graphs. What stayed is copied: a change to them never reaches the reference."""
        return self._problem.inputs.cloned().replaced(self._kept)

    def state(self) -> dict[str, Any]:
        return {
            "history": self.history,
            "ended": [None if ended is None else str(ended) for ended in self._ended],
            "lowest": torch.from_numpy(np.stack(self._lowest)),
            "kept": self._kept,
        } | {name: torch.from_numpy(getattr(self, name)) for name in NUMBERS}

    def resume(self, state: dict[str, Any]) -> None:
        self.history, self._kept = state["history"], dict(state["kept"])
        self._ended = [None if ended is None else Ended(ended) for ended in state["ended"]]
        self._lowest = list(state["lowest"].numpy(force=True))
        for name in NUMBERS:
            setattr(self, name, state[name].numpy(force=True))


class _Saving:
    """Saves and resumes one search; without a path it only keeps the time and the trail."""

    def __init__(self, path: Path | None, problem: Problem) -> None:
        self._path, self._problem = path, problem
        self.trail: list[tuple[int, float, float]] = []
        self._spent, self._began = 0.0, time.perf_counter()
        self._saved = self._began

    @property
    def seconds(self) -> float:
        return self._spent + time.perf_counter() - self._began

    def resumed(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was saved, or None.

        Raises:
            InputError: The file belongs to another search.
        """
        if self._path is None or not self._path.exists():
            return None
        state = load_tensors(self._path, kind="a checkpoint", map_location=device)
        answers, held = self._problem.answers, state.get("answers", {})
        same = all(same_answers(seen, held.get(at)) for at, seen in answers.items())
        if state.get("identity") != self._problem.identity or not same:
            raise InputError(
                f"The checkpoint '{self._path}' belongs to another search (model, graph, layer, "
                "settings or seed differ). Remove it, or name another file."
            )
        self._spent, self.trail = float(state["seconds"]), list(state["trail"])
        return state

    def see(self, step: int, error: float, changed: Callable[[], Changed]) -> None:
        """Write down how similar the graph of this step is, at steps 0, 1, 2, 4, 8 and so on."""
        if step & (step - 1) == 0 and (not self.trail or step > self.trail[-1][0]):
            inputs = self._problem.inputs.replaced(changed())
            self.trail.append((step, error, self._problem.similarity(inputs)))

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save the state if the last time is long ago."""
        if self._path is None or time.perf_counter() - self._saved <= CHECKPOINT_SECONDS:
            return
        own = {
            "identity": self._problem.identity,
            "answers": self._problem.answers,
            "seconds": self.seconds,
            "trail": self.trail,
        }
        save_tensors(self._path, own | state())
        self._saved = time.perf_counter()

    def remove(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
