"""Discrete search for edges: exchange many at a time, keep what lowers the true error."""

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_count
from graph_metamers.progress import Watch
from graph_metamers.search.base import Best, Problem, Search, Solution, Status, ended, features
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.search.edge_gains import Gains
from graph_metamers.vary import Edges, Vary
from graph_metamers.vary.rewiring import Exchanges, Pairs, Rewiring

SHARE = 0.25  # of the edges for which an exchange is looked for in a step
TRIES = 64  # candidates for each of them
CHUNK = 1 << 9  # edges looked at together
ENTRIES = 1 << 22  # channels of their candidates at most
POOL = 1 << 13  # candidates that they share
MOVES = 0.5  # share of the steps that move edges to other nodes, where degrees are free
ATTEMPTS = 4  # each with a quarter of the exchanges of the one before


@dataclass(frozen=True)
class EdgeSwap(Search):
    """Exchange edges wherever that lowers the activation error.

    Two kinds of exchange keep the number of edges: double swaps (a, b), (c, d) → (a, d), (c, b),
    which keep every node's degree, and, with `Edges(degrees="free")`, moves (a, b) → (a, d). A
    convolution sums messages, z_v = Σ_u c_uv s_u, so an exchange moves z at the ends of its edges
    by known δ_v, and the error by about

        Δ = Σ_v g_v · δ_v + κ δ_vᵀ H_v δ_v,   g = ∂L_act/∂z,   H_v = diag Σ_w J_wvᵀ J_wv / ‖h‖²,

    H estimated from gradients of random combinations of the activations, as in `Swap`. Each of a
    random share of the edges gets the best of 64 random partners; of those that promise a gain as
    many are tried together as change different edges, at each node no more than it has edges in
    the reference. Those whose ends' activations come nearer in truth are carried out, if the
    **true** error falls; else the best quarter of them, and so on.

    While the temperature T = temperature · (L_act / nodes) · (1 − t)², t the share of the steps
    that is spent, is not zero, losses up to −T ln U, U uniform on (0, 1), count as gains: the
    search can leave local minima. The best graph is returned.

    Works with any model, of which it needs no gradient: where no PyG convolution is found (or the
    model cannot be differentiated) partners are chosen at random. Memory O(edges); a step costs
    about three forwards and two backwards to the layer, with features that are as many as the
    weights through which it reads them has columns (see `graph_metamers.probe.find_linear_read`),
    and sorting the edges.

    Args:
        steps: Steps at most.
        temperature: T at the start, relative to the error of a node; 0 accepts gains only.
        stop_at_tol: End as soon as the activation error is at or below `tol`.
        patience: End when the error has fallen by less than a hundredth over this many steps;
            None never ends early.

    Raises:
        InputError: A setting is out of range, or (on use) something other than edges varies.

    Example:
        >>> EdgeSwap(steps=500)
        EdgeSwap(steps=500, temperature=0.0, stop_at_tol=False, patience=100)
    """

    steps: int = 2000
    temperature: float = 0.0
    stop_at_tol: bool = False
    patience: int | None = 100

    name: ClassVar[str] = "edge_swap"

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if not 0 <= self.temperature < math.inf:
            raise InputError(
                f"temperature must be zero or more and finite; got {self.temperature}."
            )
        if self.patience is not None:
            check_count("patience", self.patience)

    def check(self, vary: Vary) -> None:
        if not isinstance(vary, Edges):
            raise InputError(
                f"EdgeSwap exchanges edges and needs vary=Edges(); got {vary!r}. Use search='auto'."
            )

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        self.check(problem.vary)
        saving = Checkpoint(checkpoint, problem)
        rewiring = Rewiring(problem.data)
        cast(Edges, problem.vary).scatter(rewiring, generator)
        walk = _Walk(problem, rewiring)
        history = [walk.error]
        best = walk.error, 0, rewiring.pairs
        saved = saving.resumed(rewiring.pairs.device)
        if saved is not None:
            walk.resume(saved["walk"])
            generator.set_state(saved["generator"].cpu())
            history, best = saved["history"], tuple(saved["best"])

        lowest = list(itertools.accumulate(history, min))  # the least error up to each step
        saving.see(0, walk.error, rewiring.graph)
        while (status := self._ended(lowest, problem.tol)) is None:
            step = len(history)
            heat = self.temperature * (1 - step / self.steps) ** 2 / rewiring.nodes
            walk.take(heat * walk.error, generator)
            history.append(walk.error)
            saving.see(step, walk.error, rewiring.graph)
            lowest.append(min(walk.error, lowest[-1]))
            if walk.error < best[0]:
                best = walk.error, step, rewiring.pairs
            if watch is not None:
                watch(step, self.steps, best[0])
            saving.offer(
                lambda: {
                    "walk": walk.state(),
                    "generator": generator.get_state(),
                    "history": history,
                    "best": list(best),  # noqa: B023, called at once
                }
            )

        saving.remove()
        found = Best(problem.data)
        found.offer(rewiring.graph(best[2]), best[0], best[1])
        return Solution(
            graph=found.graph,
            error=best[0],
            status=status,
            history=history,
            steps=len(history) - 1,
            best_step=best[1],
            seconds=saving.seconds,
            trail=saving.trail,
        )

    def _ended(self, lowest: list[float], tol: float) -> Status | None:
        return ended(
            lowest,
            tol,
            steps=self.steps,
            stop_at_tol=self.stop_at_tol,
            patience=self.patience if self.temperature == 0 else None,
            fall=0.01,
        )


class _Walk:
    """Where the search stands: the edges, their errors, and what it knows of the gains."""

    def __init__(self, problem: Problem, rewiring: Rewiring) -> None:
        read = problem.find_read()
        self._problem, self._rewiring = problem, rewiring
        self._read = read
        self._y = features(problem.data) if read is None else features(problem.data) @ read.weight
        self._gains = Gains(problem)
        self._vary = cast(Edges, problem.vary)
        self.error, self._node_errors = self._errors(rewiring.pairs)

    def state(self) -> dict[str, Any]:
        """What a resumed search needs."""
        return {"pairs": self._rewiring.pairs, "gains": self._gains.state()}

    def resume(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self._rewiring.place(state["pairs"])
        self._gains.resume(state["gains"])
        self.error, self._node_errors = self._errors(state["pairs"])

    def take(self, heat: float, generator: torch.Generator) -> None:
        """Propose exchanges all over the graph; carry out what helps."""
        rewiring = self._rewiring
        self._gains.look(self._activations, rewiring.graph(), generator)
        found, promised = self._proposals(generator)
        found, promised = _kept(found, promised, promised < _allowance(promised, heat, generator))
        chosen = rewiring.together(found, promised, generator)
        found, promised = found.of(chosen), promised[chosen]
        if len(found) == 0:
            return

        after, errors = self._errors(rewiring.exchanged(found))
        if self._gains.known:
            self._gains.learn(found, float(promised.sum()), after - self.error)
        change = promised
        if errors is not None and self._node_errors is not None:
            # What a hub gains belongs to all exchanges that touch it.
            touching = torch.bincount(found.ends.reshape(-1), minlength=rewiring.nodes)
            each = (errors - self._node_errors) / touching.clamp(min=1)
            change = each[found.ends].sum(dim=0)
        allowance = _allowance(change, heat, generator)
        tried = len(found)
        better = (change < allowance).nonzero().view(-1)
        better = better[change[better].argsort()]
        for _ in range(ATTEMPTS):
            if len(better) == 0:
                return
            pairs = rewiring.exchanged(found.of(better))
            if len(better) < tried:
                after, errors = self._errors(pairs)
            if after < self.error + float(allowance[better].sum()):
                rewiring.place(pairs)
                self.error, self._node_errors = after, errors
                return
            better = better[: len(better) // 4]

    def _proposals(self, generator: torch.Generator) -> tuple[Exchanges, Tensor]:
        """Exchanges that are allowed, with what they promise: the best of a share of the edges."""
        rewiring, gains = self._rewiring, self._gains
        moving = self._vary.degrees == "free" and float(torch.rand((), generator=generator)) < MOVES
        if not gains.known:
            slots = rewiring.random_slots(generator)
            found = (
                rewiring.moves(
                    slots[0], rewiring.random_nodes(slots.shape[1], generator), generator
                )
                if moving
                else rewiring.double_swaps(slots, generator)
            )
            return rewiring.allowed(
                found, -torch.rand(len(found), generator=generator).to(self._y), self._vary.keep
            )
        count = rewiring.pairs.shape[1]
        order = torch.randperm(count, generator=generator)[: max(1, round(SHARE * count))]
        # Some at a time: what is being weighed stays in the processor's cache.
        best = [
            self._best_partners(first, moving, generator)
            for first in order.to(rewiring.pairs.device).split(
                max(1, min(CHUNK, ENTRIES // (TRIES * gains.width)))
            )
        ]
        found = Exchanges.joined([each for each, _ in best])
        return rewiring.allowed(found, torch.cat([p for _, p in best]), self._vary.keep)

    def _best_partners(
        self, first: Tensor, moving: bool, generator: torch.Generator
    ) -> tuple[Exchanges, Tensor]:
        """Of each pair the exchange that promises most, of 64 random ones."""
        rewiring = self._rewiring
        slots = first.repeat_interleave(TRIES)
        count = rewiring.nodes if moving else rewiring.pairs.shape[1]
        # From few enough that all that is read of them stays in the processor's cache.
        pool = torch.randint(count, (min(count, POOL),), generator=generator)
        drawn = pool[torch.randint(len(pool), slots.shape, generator=generator)].to(slots)
        if moving:
            found = rewiring.moves(slots, drawn, generator)
        else:
            found = rewiring.double_swaps(torch.stack([slots, drawn]), generator)
        # What comes must be new at its place; the other rules are looked at afterwards.
        same = (found.comes == found.goes) & (found.comes >= 0)
        idle = (found.new[0] == found.new[1]).any(dim=0) | same.any(dim=0)
        if moving:
            idle |= rewiring.keys(found.new[:, 0]) == rewiring.keys(rewiring.pairs[:, slots])
        promised, place = (
            self._gains.of(found).masked_fill(idle, torch.inf).view(-1, TRIES).min(dim=1)
        )
        return found.of(place + torch.arange(len(first), device=place.device) * TRIES), promised

    def _activations(self, graph: Data) -> list[Tensor]:
        if self._read is None:
            return self._problem.activations(graph)
        return self._read.activations(self._y, graph)

    @torch.no_grad()
    def _errors(self, pairs: Pairs) -> tuple[float, Float[Tensor, " nodes"] | None]:
        """The error of the graph with these pairs, and each node's part of it, if it has one."""
        problem = self._problem
        activations = self._activations(self._rewiring.graph(pairs))
        rows = [
            (h - target).flatten(1).square().sum(dim=1) / (len(problem.targets) * norm)
            for h, target, norm in zip(activations, problem.targets, problem.norms, strict=True)
            if h.dim() > 1 and len(h) == self._rewiring.nodes
        ]
        total = float(problem.mean_error(activations))
        return total, torch.stack(rows).sum(dim=0) if len(rows) == len(activations) else None


def _allowance(change: Tensor, heat: float, generator: torch.Generator) -> Tensor:
    """Changes of the error below which an exchange is taken for a gain: −T ln U."""
    if heat == 0:
        return torch.zeros_like(change)
    return -heat * torch.rand(len(change), generator=generator).log().to(change)


def _kept(found: Exchanges, promised: Tensor, good: Tensor) -> tuple[Exchanges, Tensor]:
    places = good.nonzero().view(-1)
    return found.of(places), promised[places]
