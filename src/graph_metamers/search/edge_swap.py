"""Discrete search for edges: exchange many at a time, keep what lowers the true error."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import check_number
from graph_metamers.search.base import Search, check_budget
from graph_metamers.search.edge_gains import Gains
from graph_metamers.search.exchange import carried_out
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Rules, Walk
from graph_metamers.units import place_within
from graph_metamers.vary import Block, Changed, Edges, Vary
from graph_metamers.vary.pairs import Pairs
from graph_metamers.vary.rewiring import Exchanges, Rewiring

SHARE = 0.25  # of the edges for which an exchange is looked for in a step
TRIES = 64  # candidates for each of them
CHUNK = 1 << 9  # edges looked at together
ENTRIES = 1 << 22  # channels of their candidates at most
POOL = 1 << 13  # candidates that they share
MOVES = 0.5  # share of the steps that move edges to other nodes, where degrees are free


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
    search can leave local minima. The best graph is returned. No edge leaves its graph of a batch,
    and each graph has its own error. Where edges of several types vary, steps take turns.

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
    needs: ClassVar[str] = "exchanges edges and needs vary=Edges()"

    def __post_init__(self) -> None:
        check_budget(self.steps, self.patience)
        check_number("temperature", self.temperature, 0)

    def suits(self, vary: Vary) -> bool:
        return vary.moves_edges

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        patience = self.patience if self.temperature == 0 else None
        rules = Rules(self.steps, self.stop_at_tol, patience, fall=0.01)
        return _EdgeWalk(problem, generator, self), rules


class _Seen(NamedTuple):
    """The loss of each graph, its parts, and each node's part of it by type, if it has one."""

    loss: Float[Tensor, " graphs"]
    parts: Float[Tensor, "layers graphs"]
    nodes: dict[str, Tensor] | None


class _EdgeWalk(Walk):
    """The edges, their errors, and what is known of the gains."""

    monotone: ClassVar[bool] = False

    def __init__(self, problem: Problem, generator: torch.Generator, search: EdgeSwap) -> None:
        self.problem, self._search, self._generator = problem, search, generator
        self._read = problem.read
        self._reads = {} if self._read is None else self._read.of(problem.inputs)
        self._blocks = [_Rewired(problem, block, generator) for block in problem.blocks]
        self._now = self._seen(self.changed())

    def look(self) -> Tensor:
        return self.problem.match.errors(self._now.parts)

    def step(self, active: Tensor, number: int) -> None:
        """Propose exchanges all over the graph; carry out what helps."""
        place = (number - 1) % len(self._blocks)
        block = self._blocks[place]
        rewiring, gains, generator = block.rewiring, block.gains, self._generator
        cooling = self._search.temperature * (1 - number / self._search.steps) ** 2
        heat = cooling / rewiring.nodes * float(self._now.loss.mean())
        changed = self.changed()
        gains.look(lambda: self._activations(changed), changed[block.at], generator)
        found, promised = block.proposals(active, generator)
        found, promised = _kept(found, promised, promised < _allowance(promised, heat, generator))
        chosen = rewiring.together(found, promised, generator)
        found, promised = found.of(chosen), promised[chosen]
        if len(found) == 0:
            return

        graph = block.graph_of(found)
        together = self._seen(self.changed({place: rewiring.exchanged(found)}))
        if gains.known:
            came = float((together.loss - self._now.loss).sum())
            gains.learn(found, float(promised.sum()), came)
        change = promised
        if together.nodes is not None and self._now.nodes is not None:
            # What a hub gains belongs to all exchanges that touch it.
            touching = torch.bincount(found.ends.reshape(-1), minlength=rewiring.nodes)
            moved = block.by_node(together.nodes) - block.by_node(self._now.nodes)
            each = moved / touching.clamp(min=1)
            change = each[found.ends].sum(dim=0)
        allowance = _allowance(change, heat, generator)
        better = (change < allowance).nonzero().view(-1)
        better = better[change[better].argsort()]
        accepted = better[:0]

        def attempt(some: Tensor, number: int) -> Tensor:
            nonlocal accepted
            trial = torch.cat([accepted, some])
            seen = together  # as they were weighed
            if len(trial) < len(found):
                pairs = rewiring.exchanged(found.of(trial))
                seen = self._seen(self.changed({place: pairs}))
            loss = self._now.loss
            room = torch.zeros_like(loss).index_add_(0, graph[some], allowance[some].to(loss))
            fell = seen.loss < loss + room
            accepted = torch.cat([accepted, some[fell[graph[some]]]])
            if len(accepted) == len(trial):
                rewiring.place(rewiring.exchanged(found.of(accepted)))
                self._now = seen
                accepted = accepted[:0]
            return fell

        def rest(some: Tensor, fell: Tensor) -> Tensor | None:
            count = torch.bincount(graph[some], minlength=len(fell)) // 4
            few = place_within(graph[some], len(fell)) < count[graph[some]]
            some = some[few & ~fell[graph[some]]]
            return some if len(some) else None

        if len(better):
            carried_out(better, attempt=attempt, rest=rest)
        if len(accepted):
            rewiring.place(rewiring.exchanged(found.of(accepted)))
            self._now = self._seen(self.changed())

    def changed(self, pairs: dict[int, Pairs] | None = None) -> Changed:
        """The edges at hand, with other pairs at some places."""
        found: Changed = {}
        for place, block in enumerate(self._blocks):
            found |= block.rewiring.changed((pairs or {}).get(place))
        return found

    def _activations(self, changed: Changed) -> list[Tensor]:
        inputs = self.problem.inputs.replaced(changed)
        if self._read is None:
            return self.problem.activations(inputs)
        return self._read.activations(self._reads, inputs)

    @torch.no_grad()
    def _seen(self, changed: Changed) -> _Seen:
        match = self.problem.match
        activations = match.chosen(self._activations(changed))
        parts = match.parts(activations, chosen=True)
        loss = match.mean(parts).double()
        by_type: dict[str, Tensor] = {}
        for tap, h, norms in zip(match.taps, activations, match.norms, strict=True):
            if tap.units.level != "node" or tap.rows is not None:
                return _Seen(loss, parts, None)
            scale = len(match.taps) * (norms if match.graphs == 1 else norms[tap.units.graph])
            rows = (h - tap.target).square().sum(dim=1) / scale
            kind = tap.units.kind
            by_type[kind] = by_type[kind] + rows if kind in by_type else rows
        return _Seen(loss, parts, by_type)

    def state(self) -> dict[str, Any]:
        return {"blocks": [block.state() for block in self._blocks]}

    def resume(self, state: dict[str, Any]) -> None:
        for block, saved in zip(self._blocks, state["blocks"], strict=True):
            block.resume(saved)
        self._now = self._seen(self.changed())


class _Rewired:
    """The edges of one type, and what exchanges of them promise."""

    def __init__(self, problem: Problem, block: Block, generator: torch.Generator) -> None:
        self.at, self._vary = block.at, cast(Edges, block.vary)
        self._vary.check(problem.inputs, block.at)
        self.rewiring = Rewiring(problem.inputs, block.at)
        self._vary.scatter(self.rewiring, generator)
        self.gains = Gains(problem, self.rewiring)
        self._source, self._target = problem.inputs.ends(block.at)

    def state(self) -> dict[str, Any]:
        return {"pairs": self.rewiring.pairs, "gains": self.gains.state()}

    def resume(self, state: dict[str, Any]) -> None:
        self.rewiring.place(state["pairs"])
        self.gains.resume(state["gains"])

    def graph_of(self, exchanges: Exchanges) -> Tensor:
        return self.rewiring.graph_of_pairs[exchanges.slots[0]]

    def by_node(self, errors: dict[str, Tensor]) -> Float[Tensor, " nodes"]:
        """Errors of the nodes by the numbers that the rewiring gives them; zero without any."""
        rewiring = self.rewiring
        sides = [(self._source, rewiring.senders), (self._target, rewiring.receivers)]
        some = next(iter(errors.values()))
        parts = [
            errors[kind] if kind in errors else some.new_zeros(count)
            for kind, count in (sides if rewiring.offset else sides[:1])
        ]
        return torch.cat(parts)

    def proposals(self, active: Tensor, generator: torch.Generator) -> tuple[Exchanges, Tensor]:
        """Exchanges that are allowed in active graphs, with what they promise."""
        found, promised = self.rewiring.allowed(*self._proposals(generator), self._vary.keep)
        if len(active) > 1:
            found, promised = _kept(found, promised, active[self.graph_of(found)])
        return found, promised

    def _proposals(self, generator: torch.Generator) -> tuple[Exchanges, Tensor]:
        """The best of a share of the edges; at random where nothing is known of the gains."""
        rewiring, gains = self.rewiring, self.gains
        moving = self._vary.degrees == "free" and float(torch.rand((), generator=generator)) < MOVES
        if not gains.known:
            slots, partners = rewiring.random_slots(generator)
            found = self._exchanges(slots, moving, generator, partners)
            return found, -torch.rand(len(found), generator=generator).to(slots.device)
        count = rewiring.pairs.shape[1]
        order = torch.randperm(count, generator=generator)[: max(1, round(SHARE * count))]
        # Some at a time: what is being weighed stays in the processor's cache.
        best = [
            self._best_partners(first, moving, generator)
            for first in order.to(rewiring.pairs.device).split(
                max(1, min(CHUNK, ENTRIES // (TRIES * gains.width)))
            )
        ]
        found, promised = zip(*best, strict=True)
        return Exchanges.joined(found), torch.cat(promised)

    def _best_partners(
        self, first: Tensor, moving: bool, generator: torch.Generator
    ) -> tuple[Exchanges, Tensor]:
        """Of each pair the exchange that promises most, of 64 random ones."""
        rewiring = self.rewiring
        slots = first.repeat_interleave(TRIES)
        found = self._exchanges(slots, moving, generator)
        # What comes must be new at its place; the other rules are looked at afterwards.
        same = (found.comes == found.goes) & (found.comes >= 0)
        idle = (found.new[0] == found.new[1]).any(dim=0) | same.any(dim=0)
        if moving:
            idle |= rewiring.keys(found.new[:, 0]) == rewiring.keys(rewiring.pairs[:, slots])
        promised, place = (
            self.gains.of(found).masked_fill(idle, torch.inf).view(-1, TRIES).min(dim=1)
        )
        return found.of(place + torch.arange(len(first), device=place.device) * TRIES), promised

    def _exchanges(
        self,
        slots: Tensor,
        moving: bool,
        generator: torch.Generator,
        partners: Tensor | None = None,
    ) -> Exchanges:
        """Of each pair a move to a random node, or a swap with a partner (or a random one)."""
        if moving:
            ends = self.rewiring.new_ends(slots, generator, pool=POOL)
            return self.rewiring.moves(slots, ends, generator)
        if partners is None:
            partners = self.rewiring.partners(slots, generator, pool=POOL)
        return self.rewiring.double_swaps(torch.stack([slots, partners]), generator)


def _allowance(change: Tensor, heat: float, generator: torch.Generator) -> Tensor:
    """Changes of the error below which an exchange is taken for a gain: −T ln U."""
    if heat == 0:
        return torch.zeros_like(change)
    return -heat * torch.rand(len(change), generator=generator).log().to(change)


def _kept(found: Exchanges, promised: Tensor, good: Tensor) -> tuple[Exchanges, Tensor]:
    places = good.nonzero().view(-1)
    return found.of(places), promised[places]
