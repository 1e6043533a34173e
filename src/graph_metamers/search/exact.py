"""Exact metamers of continuous features: the nearest graph with the same X W."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_count
from graph_metamers.inputs import Inputs
from graph_metamers.search.base import Search, Seek, check_seek
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Rules, Walk
from graph_metamers.vary import Changed, Vary

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
    needs: ClassVar[str] = "moves real numbers and needs vary=ContinuousFeatures()"
    can_avoid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        check_seek(self.seek)

    def suits(self, vary: Vary) -> bool:
        return vary.bounds is not None

    def choose(self, problem: Problem) -> Search:
        super().choose(problem)
        if problem.read is None:
            raise InputError(
                "search=Exact() needs a layer that meets data.x only through weight matrices; this "
                "one does more with it. Use search=GaussNewton() or Adam()."
            )
        if not solvable(problem):
            raise InputError(
                "search=Exact() solves linear systems, which half precision has none of. Convert "
                "model and data with .float(), or use search=Adam()."
            )
        return self

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        most = len(FAR) * (self.steps + 1)
        rules = Rules(most, stop_at_tol=False, patience=None, fall=0.0, enough=-1.0)
        return _ExactWalk(problem, generator, self), rules


class _ExactWalk(Walk):
    """The projections of all inputs that vary, a Newton step of each at a time."""

    saved: ClassVar[bool] = False  # it takes seconds

    def __init__(self, problem: Problem, generator: torch.Generator, search: Exact) -> None:
        self.problem, self._read = problem, problem.read_or_whole
        start, weights = problem.start(generator), self._read.weights
        self._projections = [
            _Projection(problem, block.at, weights[block.at], box, start, search, generator)
            for block, box in zip(problem.blocks, boxes_of(problem), strict=True)
        ]
        self.step(torch.ones(problem.graphs, dtype=torch.bool), 0)

    def look(self) -> Tensor:
        return self._errors

    @torch.no_grad()
    def step(self, active: Tensor, number: int) -> None:
        worth = [projection.look() for projection in self._projections]
        self.finished = all(projection.resting for projection in self._projections)
        if self.finished:
            activations = self.problem.activations(self.problem.inputs.replaced(self.changed()))
        elif any(worth):
            reads = {projection.at: projection.reads() for projection in self._projections}
            activations = self._read.activations(reads, self.problem.inputs)
        else:
            return
        self._errors = self.problem.match.errors(self.problem.match.parts(activations))

    def changed(self) -> Changed:
        return {projection.at: projection.found() for projection in self._projections}

    def notes(self) -> dict[str, float]:
        return {"pinned_nodes": float(sum(p.pinned() for p in self._projections))}


class _Projection:
    """The nearest features with the same X W, from one start or several; a node keeps the last."""

    def __init__(
        self,
        problem: Problem,
        at: str,
        weight: Float[Tensor, "features units"],
        box: tuple[float, float],
        start: Inputs,
        search: Exact,
        generator: torch.Generator,
    ) -> None:
        self.at, self.resting = at, False
        self._box, self._search = box, search
        self._x = problem.inputs[at].detach()
        avoided = [other[at].to(self._x) for other in problem.avoid]
        values = start[at].detach()
        starts = _starts(self._x, values, avoided, box, basis_of(weight), search.seek, generator)
        self._basis = basis_of(weight.to(starts[0].dtype))
        self._to_units = self._basis.T @ weight.to(self._basis.dtype)  # X W = (X Q) (Qᵀ W)
        self._goal = self._x.to(self._basis.dtype) @ self._basis
        self._found = self._x.to(self._basis.dtype, copy=True)
        self._open = torch.arange(len(self._x), device=self._x.device)
        self._starts, self._first = starts, True
        self._begin()

    def _begin(self) -> None:
        self._newton = _Newton(self._starts.pop(0), self._goal, self._basis, *self._box)
        self._steps = 0

    def look(self) -> bool:
        """Take a step; whether the error is worth a look afterwards."""
        if self.resting:
            return False
        self._reads = self._newton.look()
        ended = self._steps == self._search.steps or self._newton.left == 0
        # The last few nodes take the most steps and change the error least.
        worth = ended or self._newton.left > 0.01 * len(self._x)
        self._steps += 1
        if ended:
            self._collect()
        return worth

    def _collect(self) -> None:
        solved = torch.ones(len(self._x), dtype=torch.bool, device=self._x.device)
        solved[self._newton.missed()] = False
        self._open = self._open[~solved[self._open]]
        if self._search.steps < PATIENCE and self._first:  # as far as it came
            solved[self._open] = True
        self._found[solved] = self._newton.solution()[solved]
        self._first = False
        if self._starts:
            self._begin()
        else:
            self.resting = True

    def reads(self) -> Float[Tensor, "nodes units"]:
        """X' W, looked at last."""
        return (self._reads @ self._to_units).to(self._x.dtype)

    def found(self) -> Float[Tensor, "nodes features"]:
        return self._found.to(self._x.dtype).clamp_(*self._box)

    def pinned(self) -> int:
        """How many nodes have the reference's features."""
        sizes = self._x.norm(dim=1)
        least = 1e-4 * sizes.maximum(1e-3 * sizes.mean())  # of a row of zeros rounding is left
        moved = (self.found() - self._x).norm(dim=1) > least
        return int((~moved).sum())


def _starts(
    x: Tensor,
    start: Tensor,
    avoided: list[Tensor],
    box: tuple[float, float],
    basis: Tensor,
    seek: Seek,
    generator: torch.Generator,
) -> list[Tensor]:
    """Points of which the nearest metamer is sought; a node keeps the last that it reached."""
    if seek == "random":
        order = torch.randperm(len(x), generator=generator).to(x.device)
        start = torch.empty_like(x)
        start[order] = x[order.roll(1)]  # no node gets its own
    away = [*avoided, *([x] if seek == "farthest" else [])]
    if not away:
        return [start.clone()]
    if box == (-torch.inf, torch.inf):
        # The metamer nearest to −X is the reflection. Of several, only what the layer does
        # not read can differ: there the start is made orthogonal to each of them.
        return [_orthogonal(start, away, basis) if avoided else -x]
    overlap = torch.stack(away).sum(dim=0)
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

    @property
    def left(self) -> int:
        """How many nodes do not read yet what they should, to rounding."""
        return len(self._alive)

    def look(self) -> Float[Tensor, "nodes rank"]:
        """What every node reads where its step led, Qᵀx'; the next step is prepared."""
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


def boxes_of(problem: Problem) -> list[tuple[float, float]]:
    """The bounds of all that varies, where any value between them is allowed."""
    return [bounds for block in problem.blocks if (bounds := block.vary.bounds) is not None]


def solvable(problem: Problem) -> bool:
    """Whether PyTorch solves linear systems in the precision of what varies."""
    exact = (torch.float32, torch.float64)
    return all(block.value(problem.inputs).dtype in exact for block in problem.blocks)
