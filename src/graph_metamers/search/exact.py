"""Exact metamers of continuous features: the nearest graph with the same X W."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_count
from graph_metamers.progress import Watch
from graph_metamers.search.base import (
    Best,
    Problem,
    Search,
    Seek,
    Solution,
    Status,
    check_seek,
    continuous,
    features,
)
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.vary import Vary, with_features

NO_READ = (
    "search=Exact() needs a layer that meets data.x only through weight matrices; this one does "
    "more with it. Use search=GaussNewton() or Adam()."
)
CHUNK_ENTRIES = 1 << 25  # of features and of curvatures in memory at a time
FAR = (1.0, 10.0, 100.0)  # prices of overlap, in units of distance, when the farthest is sought
PATIENCE = 100  # steps after which a node is believed to have no other features


@dataclass(frozen=True)
class Exact(Search):
    """The point nearest to a start at which the layer reads exactly what it reads of the reference.

    A layer that meets the features X only through linear maps W (see
    `graph_metamers.probe.find_linear_read`) cannot tell X' from X if X'W = XW, and neither can
    **any** layer behind it, nor the model's output. For each node u, with Q an orthonormal basis
    of W's columns and X0 the start,

        min ‖x'_u − x0_u‖²   with   Qᵀx'_u = Qᵀx_u,   low ≤ x'_u ≤ high.

    Without bounds this has a closed form. With them its dual is concave and piecewise quadratic in
    rank(W) unknowns a node, x' = clip(x0 + Qλ), and is solved by a damped semi-smooth Newton
    method for all nodes at once, a line search for each. About ten steps reach rounding. A node
    for which a hundred do not suffice, since its features are the only ones within the bounds, or
    nearly so, keeps the reference's. `Metamer.notes["pinned_nodes"]` counts the nodes whose
    features are the reference's; where W has as many independent columns as there are features,
    those are all.

    A step costs O(nodes · features · rank²) time, and memory for one chunk of nodes.

    Args:
        steps: Newton steps at most, for each start.
        seek: "nearest" is the metamer nearest to the random start of what varies; "random" that
            nearest to the reference's own features handed to its nodes in random order;
            "farthest" the one that overlaps least with the reference, min ⟨x_u, x'_u⟩ for each
            node, approached by the nearest points to X0 − t X for t = 1, 10 and 100; without
            bounds it is the reflection X' = 2 X QQᵀ − X, of the same length.

    Raises:
        InputError: A setting is out of range; on use, what varies are no continuous features, or
            the layer does not read them through linear maps.

    Example:
        >>> Exact(steps=20)
        Exact(steps=20, seek='nearest')
    """

    steps: int = 150
    seek: Seek = "nearest"

    name: ClassVar[str] = "exact"
    can_avoid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_seek(self.seek)

    def check(self, vary: Vary) -> None:
        continuous(self, vary)

    def choose(self, problem: Problem) -> Search:
        if problem.find_read() is None:
            raise InputError(NO_READ)
        return self

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,  # it takes seconds: none is saved
        watch: Watch | None = None,
    ) -> Solution:
        low, high = continuous(self, problem.vary).bounds
        clock = Checkpoint(None, problem)
        read = problem.find_read()
        if read is None:
            raise InputError(NO_READ)
        x = features(problem.data)
        starts = self._starts(problem, low, high, basis_of(read.weight), generator)
        basis = basis_of(read.weight.to(starts[0].dtype))
        to_units = basis.T @ read.weight.to(basis.dtype)  # X W = (X Q) (Qᵀ W)
        goal = x.to(basis.dtype) @ basis
        history: list[float] = []

        @torch.no_grad()
        def measure(reads: Tensor) -> None:
            activations = read.activations((reads @ to_units).to(x.dtype))
            history.append(problem.mean_error(activations).item())
            if watch is not None:
                watch(len(history) - 1, self.steps * len(starts), min(history))

        found, open_nodes = x.to(basis.dtype, copy=True), torch.arange(len(x), device=x.device)
        for start in starts:
            newton = _Newton(start, goal, basis, low, high)
            newton.solve(self.steps, measure)
            missed = newton.missed()
            solved = torch.ones(len(x), dtype=torch.bool, device=x.device)
            solved[missed] = False
            open_nodes = open_nodes[~solved[open_nodes]]
            if self.steps < PATIENCE and start is starts[0]:  # as far as it came
                solved[open_nodes] = True
            found[solved] = newton.solution()[solved]

        found = found.to(x.dtype).clamp_(low, high)
        moved = (found - x).norm(dim=1) > 1e-4 * x.norm(dim=1)
        graph = with_features(problem.data, found)
        with torch.no_grad():
            history[-1] = float(problem.error(graph))
        best = Best(problem.data)
        best.offer(graph, history[-1], len(history) - 1)
        return Solution(
            graph=best.graph,
            error=history[-1],
            status=_status(history[-1], problem.tol),
            history=history,
            steps=len(history) - 1,
            best_step=len(history) - 1,
            seconds=clock.seconds,
            notes={"pinned_nodes": float((~moved).sum())},
        )

    def _starts(
        self,
        problem: Problem,
        low: float,
        high: float,
        basis: Tensor,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Points of which the nearest metamer is sought; a node keeps the last that it reached."""
        x = features(problem.data)
        start = features(problem.vary.start(problem.data, generator).render())
        if self.seek == "random":
            order = torch.randperm(len(x), generator=generator).to(x.device)
            start = torch.empty_like(x)
            start[order] = x[order.roll(1)]  # no node gets its own
        avoided = [*problem.avoid, *([x] if self.seek == "farthest" else [])]
        if not avoided:
            return [start.clone()]
        if low == -torch.inf and high == torch.inf:
            # The metamer nearest to −X is the reflection. Of several, only what the layer does
            # not read can differ: there the start is made orthogonal to each of them.
            return [_orthogonal(start, avoided, basis) if problem.avoid else -x]
        overlap = torch.stack(avoided).sum(dim=0)
        # The nearest point to X0 − t X is the least overlap ⟨X, X'⟩, up to ‖X' − X0‖² / 2t; the
        # larger t, the harder it is to reach, and the more rounding counts.
        return [start.double() - t * overlap.double() for t in FAR]


class _Newton:
    """The dual problems of all nodes, each with its own λ and its own line search.

    The dual of a node is θ(λ) = ½‖z‖² − ½‖z − x'‖² − λ·b with z = x0 + Qλ, x' = clip(z), b = Qᵀx;
    its gradient is g = Qᵀx' − b, its generalised Hessian QᵀDQ, D the entries within the bounds.
    """

    def __init__(self, start: Tensor, goal: Tensor, basis: Tensor, low: float, high: float) -> None:
        if low == -torch.inf and high == torch.inf:  # closed form
            start = start + (goal - start @ basis) @ basis.T
        self._start, self._goal, self._basis = start, goal, basis
        self._low, self._high = low, high
        rank = basis.shape[1]
        # QᵀDQ is symmetric: only its upper triangle is summed.
        upper = torch.triu_indices(rank, rank, device=basis.device)
        self._products = basis[:, upper[0]] * basis[:, upper[1]]
        numbers = torch.arange(upper.shape[1], device=basis.device)
        self._places = torch.zeros(rank, rank, dtype=torch.long, device=basis.device)
        self._places[upper[0], upper[1]] = numbers
        self._places[upper[1], upper[0]] = numbers

        self._kept = torch.zeros_like(goal)  # λ accepted last
        self._step = torch.zeros_like(goal)  # to be tried from there
        self._value = goal.new_full((len(goal),), torch.inf)  # θ there
        self._length = goal.new_full((len(goal),), torch.inf)  # ‖g‖ there
        self._promise = goal.new_zeros(len(goal))  # g · step
        self._reads = torch.zeros_like(goal)  # Qᵀx', looked at last
        eps = torch.finfo(goal.dtype).eps
        self._enough = 10 * eps * (goal.norm(dim=1) + start.norm(dim=1)) + eps**2
        self._damping = eps**0.5
        self._alive = torch.arange(len(goal), device=goal.device)

    def solve(self, steps: int, measure: Callable[[Tensor], None]) -> None:
        """Step until every node reads what it should, to rounding, or the steps are spent.

        Args:
            steps: Steps at most.
            measure: Is shown Qᵀx' of all nodes, [nodes, rank], now and then.
        """
        for step in range(steps + 1):
            reads = self._look()
            ended = step == steps or len(self._alive) == 0
            # The last few nodes take the most steps and change the error least.
            if ended or len(self._alive) > 0.01 * len(reads):
                measure(reads)
            if ended:
                return

    def _look(self) -> Float[Tensor, "nodes rank"]:
        """What every node reads where its step led; the next step is prepared."""
        entries = self._start.shape[1] + len(self._basis.T) ** 2
        chunks = self._alive.split(max(1, CHUNK_ENTRIES // entries))
        self._alive = torch.cat([self._look_at(nodes) for nodes in chunks])
        return self._reads

    def _look_at(self, nodes: Tensor) -> Tensor:
        tried = self._kept[nodes] - self._step[nodes]
        z = torch.addmm(self._start[nodes], tried, self._basis.T)
        x = z.clamp(self._low, self._high)
        reads = x @ self._basis
        gradient = reads - self._goal[nodes]
        length = gradient.norm(dim=1)
        # ½‖z‖² − ½‖z − x‖² = x·z − ½‖x‖²
        value = (x * (z - x / 2)).sum(dim=1) - (tried * self._goal[nodes]).sum(dim=1)
        fell = value <= self._value[nodes] - 1e-4 * self._promise[nodes]
        good = fell | (length <= 0.9 * self._length[nodes]) | (length <= self._enough[nodes])
        self._reads[nodes] = reads
        self._step[nodes[~good]] /= 2
        self._promise[nodes[~good]] /= 2

        better = nodes[good]
        gradient, length = gradient[good], length[good]
        free = ((z > self._low) & (z < self._high)).to(z.dtype)[good]
        hessian = (free @ self._products)[:, self._places.view(-1)]
        hessian = hessian.view(len(better), *self._places.shape)
        # The farther from the goal, the more damped; where few entries are free it is singular.
        relative = length / (length + self._goal[better].norm(dim=1) + 1e-30)
        hessian.diagonal(dim1=1, dim2=2).add_((self._damping * (1e-3 + relative)).unsqueeze(1))
        step = torch.linalg.solve_ex(hessian, gradient.unsqueeze(2)).result.squeeze(2)
        self._kept[better], self._step[better] = tried[good], step
        self._value[better], self._length[better] = value[good], length
        self._promise[better] = (gradient * step).sum(dim=1)
        return nodes[self._length[nodes] > self._enough[nodes]]

    def missed(self) -> Int[Tensor, " missed"]:
        """The nodes that read something else than they should, by more than rounding explains."""
        most = max(1e-6, 100 * torch.finfo(self._goal.dtype).eps)
        return self._alive[self._length[self._alive] > most * self._goal[self._alive].norm(dim=1)]

    def solution(self) -> Float[Tensor, "nodes features"]:
        """X' at the λ accepted last."""
        z = torch.addmm(self._start, self._kept, self._basis.T)
        return z.clamp_(self._low, self._high)


def _orthogonal(start: Tensor, others: list[Tensor], basis: Tensor) -> Tensor:
    """What of the start the layer does not read, orthogonal to the same of each other."""
    unread = [x - (x @ basis) @ basis.T for x in (*others, start)]
    kept: list[Tensor] = []
    for x in unread:
        for other in kept:
            x = x - (x * other).sum() / other.square().sum().clamp(min=1e-30) * other
        kept.append(x)
    return kept[-1]


def basis_of(weight: Tensor) -> Float[Tensor, "features rank"]:
    """An orthonormal basis of the columns of W."""
    left, values, _ = torch.linalg.svd(weight.double(), full_matrices=False)
    eps = torch.finfo(weight.dtype).eps
    return left[:, values > values[0] * eps * max(weight.shape)].to(weight.dtype)


def _status(error: float, tol: float) -> Status:
    if not error < float("inf"):
        return Status.NONFINITE
    return Status.MATCHED if error <= tol else Status.BUDGET_SPENT
