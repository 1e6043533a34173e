"""Discrete search for binary features: move ones, in many nodes at a time."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs
from graph_metamers.search.base import Search, Seek, check_budget, check_seek
from graph_metamers.search.exchange import BROKEN, KEPT, carried_out, trusted
from graph_metamers.search.gradient import backward, check_gradient
from graph_metamers.search.ones_gains import (
    ROUNDING,
    Changes,
    Proposals,
    balanced,
    joined,
    trust,
)
from graph_metamers.search.problem import Problem
from graph_metamers.search.walk import Rules, Walk
from graph_metamers.units import Units
from graph_metamers.vary import Block, Changed, Vary

SHARE, LEAST_SHARE = 0.4, 0.02  # of the nodes that are looked at in a sweep
SHORTLIST = 12  # of the ones, and of the zeros, of a node whose pairs are weighed exactly
PROBES, FRESH = 32, 2  # gradients of random combinations kept, and drawn anew in each sweep
PROBE_ENTRIES = 1 << 27  # at most, for all of them
CHUNK_ENTRIES = 1 << 24  # scores in memory at a time
CLOSE_ENTRIES = 1 << 21  # and where all pairs are looked at: so many stay near the processor
CLOSE_UNITS = 512  # of Y at most, where the curvature of a row is written out


@dataclass(frozen=True)
class Swap(Search):
    """Exchange ones for zeros wherever that lowers the activation error of binary features.

    A swap in node u adds feature a and removes feature r. It moves u's row of Y = X W, W the maps
    through which the layer reads the features, by δ = W_a − W_r, and the error by about

        g_u · δ + κ δᵀ H_u δ,   g = ∂L_act/∂Y,   H_u = Σ_v J_vuᵀ J_vu / ‖h‖²,   J = ∂h/∂Y.

    H_u is the Gauss–Newton curvature of one row, estimated without bias from gradients of random
    combinations ξ of the activations (E[Jᵀξ ξᵀJ] = JᵀJ, ξ = ±1) that are kept from sweep to sweep.
    Of every node in a random share, the best pair of a shortlist is proposed. With
    `BinaryFeatures(density="fixed")` a one may also go from node to node. A price for a one is
    found by bisection at which as many nodes want one more (δ = W_a) as want one less (δ = −W_r);
    each node takes its best option at that price. All changes that promise a gain
    beyond what rounding alone may promise are carried out together if the **true** error falls,
    else the most promising quarter of them, and so on. When the promise was not kept, since rows
    that share neighbours add up, κ grows and the share shrinks; when it was, the other way round.
    So the error never rises, and the number of ones stays: that of each graph, and with
    `density="per_node"` that of each node. Each graph of a batch has its own error, κ and share,
    and no one goes from graph to graph. Where several inputs vary, sweeps take turns.

    Where that no longer helps above `tol`, the sweeps after it look closer. The shortlist is then
    the best zero for each one, out of all, and the entries of H_u are shrunk towards what all
    nodes together show to be more than the chance of K random gradients:

        H_u,ij max(0, 1 − 1 / (K r_ij)),   r_ij = mean over u of H_u,ij² / (H_u,ii H_u,jj),

    as r_ij = 1/K for units whose gradients have nothing to do with each other (James and Stein's
    shrinkage). This is left out where Y has more than 512 columns.

    Works at any layer of any model; where no linear maps are found (see
    `graph_metamers.probe.find_linear_read`) Y is X itself, which takes more time and memory. A
    sweep costs a few forwards and backwards with as many features as W has columns, one product
    [share of nodes, units] · [units, features], and memory for 32 gradients of Y. Once it looks
    closer, there is such a product with a row for each of the ones of those nodes, too.

    Args:
        steps: Sweeps over the nodes at most.
        stop_at_tol: End as soon as the activation error is at or below `tol`.
        patience: Look closer, and then end, when the error has fallen by less than a hundredth
            over this many sweeps; None does neither.
        seek: "nearest" starts from the random graph of what varies; "random" from ones placed
            anywhere; "farthest" shares no one with the reference, neither at the start nor
            later, so its feature similarity is 0, the least possible.

    Raises:
        InputError: A setting is out of range, or (on use) the features that vary are not binary.

    Example:
        >>> Swap(steps=100, stop_at_tol=True)
        Swap(steps=100, stop_at_tol=True, patience=20, seek='nearest')
    """

    steps: int = 1000
    stop_at_tol: bool = False
    patience: int | None = 20
    seek: Seek = "nearest"

    name: ClassVar[str] = "swap"
    can_avoid: ClassVar[bool] = True
    needs: ClassVar[str] = (
        "exchanges ones and zeros, keeps their number and knows no margin: it needs "
        "vary=BinaryFeatures()"
    )

    def __post_init__(self) -> None:
        check_budget(self.steps, self.patience)
        check_seek(self.seek)

    def suits(self, vary: Vary) -> bool:
        return vary.swaps_ones

    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        start = problem.start(generator)
        blocks = [self._begun(problem, block, start, generator) for block in problem.blocks]
        rules = Rules(self.steps, self.stop_at_tol, self.patience, fall=0.01)
        return _SwapWalk(problem, blocks, generator, self.patience), rules

    def _begun(
        self, problem: Problem, block: Block, start: Inputs, generator: torch.Generator
    ) -> "_Ones":
        """The ones to begin with, and which entries may become ones (None: all)."""
        x, reference = start[block.at].detach().clone(), block.value(problem.inputs)
        avoided = [*(other[block.at] for other in problem.avoid)]
        avoided += [reference] if self.seek == "farthest" else []
        allowed = None
        if avoided or self.seek != "nearest":
            if avoided:
                allowed = torch.stack([other.to(x) == 0 for other in avoided]).all(dim=0)
                _check_room(x, allowed)
            x = _placed(x, allowed, generator, keep=self.seek != "random")
        weight = problem.read_or_whole.weights[block.at]
        units = problem.inputs.units_of(block.at)
        moves = not block.vary.row_by_row
        return _Ones(block.at, x, allowed, weight, units, moves=moves)


def _check_room(x: Tensor, allowed: Tensor) -> None:
    full = x.sum(dim=1) > allowed.sum(dim=1)
    if bool(full.any()):
        raise InputError(
            f"{int(full.sum())} nodes have more ones than entries that are zero in every "
            "graph to keep away from. Give fewer graphs in avoid=, or another seek=."
        )


class _SwapWalk(Walk):
    """The ones of all inputs that vary, swept in turn."""

    def __init__(
        self,
        problem: Problem,
        ones: "list[_Ones]",
        generator: torch.Generator,
        patience: int | None,
    ) -> None:
        self.problem, self._ones = problem, ones
        for each in ones:  # all inputs see the same probes
            each.kept = min(other.kept for other in ones)
            each.probes = each.probes[:, : each.kept]
        self._generator, self._patience = generator, patience
        self._read = problem.read_or_whole
        self._since = 0  # the sweep at which it began to look as it does now
        self._loss = torch.zeros(problem.graphs, device=problem.inputs.device)

    def look(self) -> Tensor:
        """The errors and their gradient at every Y; fresh probes on the way."""
        match = self.problem.match
        ys = [ones.all_rows().requires_grad_() for ones in self._ones]
        activations = match.chosen(self._activations(ys))
        parts = match.parts(activations, chosen=True)
        loss = match.mean(parts)
        check_gradient(loss, "Swap")
        total = loss.sum() if len(loss) > 1 else loss[0]
        gradients = backward(total, ys, retain_graph=True, materialize_grads=True)
        first = self._ones[0]
        for _ in range(FRESH if first.drawn else first.kept):
            drawn = match.probes(self._generator, first.kept)
            probes = backward(activations, ys, drawn, retain_graph=True, materialize_grads=True)
            for ones, probe in zip(self._ones, probes, strict=True):
                ones.add_probe(probe)
        for ones, y, gradient in zip(self._ones, ys, gradients, strict=True):
            ones.y, ones.gradient = y.detach(), gradient
        self._loss = loss.detach()
        return match.errors(parts)

    def step(self, active: Tensor, number: int) -> None:
        """Propose a change for each of a random share of the nodes; carry out what helps."""
        place = (number - 1) % len(self._ones)
        ones = self._ones[place]
        changes = ones.proposed(active, self._generator)
        if changes is None:
            return
        error, ys = self._loss, [each.y for each in self._ones]
        kept_promise = torch.full_like(error, torch.nan)
        promised = ones.sums(changes.gain, changes.gaining)

        def attempt(changes: Changes, number: int) -> Tensor:
            nodes = changes.nodes
            before = ones.ones[nodes], ones.count[nodes]
            ones.carry_out(changes, nodes)
            tried = list(ys)
            tried[place] = ys[place].index_copy(0, nodes, ones.rows(nodes))
            with torch.no_grad():
                after = self.problem.match.loss(self._activations(tried))
            better = after < error
            if number == 0:
                touched = ones.touched(changes.gaining)
                kept = torch.where(better, (after - error) / promised, 0.0)
                kept_promise.copy_(torch.where(touched, kept, torch.nan))
            if bool(better.all()):
                ys[place] = tried[place]
                return better
            back = ~better[ones.units.graph[nodes]]
            ones.restore(nodes[back], *(part[back] for part in before))
            if bool(better.any()):
                ys[place] = torch.where(better[ones.units.graph][:, None], tried[place], ys[place])
            return better

        def rest(changes: Changes, better: Tensor) -> Changes | None:
            return changes.quarter(~better, ones.units)

        carried_out(changes, attempt=attempt, rest=rest)
        ones.learn(kept_promise)

    def _activations(self, ys: list[Tensor]) -> list[Tensor]:
        reads = {ones.at: y for ones, y in zip(self._ones, ys, strict=True)}
        return self._read.activations(reads, self.problem.inputs)

    def is_early(self, step: int) -> bool:
        return self._patience is not None and step < self._since + self._patience

    def look_closer(self, step: int) -> bool:
        closer = [ones.look_closer() for ones in self._ones]
        if any(closer):
            self._since = step
        return any(closer)

    def of(self, graphs: Tensor) -> "Walk | None":
        problem = self.problem
        plain = problem.inputs.divisible and all(tap.rows is None for tap in problem.match.taps)
        if not plain:
            return None
        smaller = problem.of(graphs.tolist())
        ones = [each.of(graphs) for each in self._ones]
        walk = _SwapWalk(smaller, ones, self._generator, self._patience)
        walk._since = self._since
        walk._read = self._read
        walk._loss = self._loss[graphs]
        return walk

    def changed(self) -> Changed:
        return {ones.at: ones.features() for ones in self._ones}

    def state(self) -> dict[str, Any]:
        return {"ones": [ones.state() for ones in self._ones], "since": self._since}

    def resume(self, state: dict[str, Any]) -> None:
        self._since = state["since"]
        for ones, saved in zip(self._ones, state["ones"], strict=True):
            vars(ones).update(saved)


class _Ones:
    """The ones of a feature matrix, and what is known of the curvature at its rows of Y.

    Attributes:
        ones: Their columns; behind `count` of them the first is repeated.
        count: How many each node has.
        units: What the rows are of.
        moves: Whether a node may hand a one to another.
        probes: Gradients of random combinations, [nodes, kept, units].
        kappa: How much the curvature counts, of each graph.
        share: Of the nodes that are looked at in a sweep, of each graph.
        trust: In the curvature's entries; None: in all.
        y: Y, looked at last.
        gradient: Of the error at Y.
    """

    y: Tensor
    gradient: Tensor

    def __init__(
        self,
        at: str,
        x: Tensor,
        allowed: Bool[Tensor, "nodes features"] | None,
        weight: Float[Tensor, "features units"],
        units: Units,
        *,
        moves: bool,
    ) -> None:
        self.at, self.allowed, self.weight, self.units = at, allowed, weight, units
        self.moves, self.drawn = moves, 0
        self.trust: Tensor | None = None
        self.count = x.sum(dim=1).long()
        self.ones: Int[Tensor, "nodes most"] = x.topk(int(self.count.max()), dim=1).indices
        self.kept = max(4, min(PROBES, PROBE_ENTRIES // (len(x) * weight.shape[1])))
        self.probes = x.new_zeros(len(x), self.kept, weight.shape[1])
        self.y = self.gradient = self.probes[:, 0]  # until it has looked
        self.kappa = torch.ones(units.graphs, dtype=torch.float64, device=x.device)
        self.share = torch.full_like(self.kappa, SHARE)
        self._repeat(slice(None))

    def state(self) -> dict[str, Any]:
        names = ("ones", "count", "probes", "drawn", "kappa", "share", "trust")
        return {name: getattr(self, name) for name in names}

    def of(self, graphs: Tensor) -> "_Ones":
        rows, units = self.units.only(graphs)
        some = object.__new__(_Ones)
        vars(some).update(vars(self))
        some.units = units
        for name in ("ones", "count", "probes", "y", "gradient"):
            setattr(some, name, getattr(self, name)[rows])
        some.allowed = None if self.allowed is None else self.allowed[rows]
        some.kappa, some.share = self.kappa[graphs], self.share[graphs]
        return some

    def features(self) -> Tensor:
        """X, dense."""
        x = self.probes.new_zeros(len(self.ones), len(self.weight))
        nodes, places = self._filled(slice(None)).nonzero(as_tuple=True)
        x[nodes, self.ones[nodes, places]] = 1
        return x

    def all_rows(self) -> Tensor:
        """Y = X W."""
        size = max(1, CHUNK_ENTRIES // (self.ones.shape[1] * self.weight.shape[1]))
        parts = (slice(first, first + size) for first in range(0, len(self.ones), size))
        return torch.cat([self.rows(part) for part in parts])

    def add_probe(self, probe: Tensor) -> None:
        self.probes[:, self.drawn % self.kept] = probe
        self.drawn += 1

    def sums(self, values: Tensor, nodes: Tensor) -> Float[Tensor, " graphs"]:
        return self.units.of(nodes).total(values)

    def touched(self, nodes: Tensor) -> Bool[Tensor, " graphs"]:
        found = torch.zeros_like(self.kappa, dtype=torch.bool)
        found[self.units.graph[nodes]] = True
        return found

    def learn(self, kept: Float[Tensor, " graphs"]) -> None:
        """Trust promises more or less by what became of them."""
        self.kappa = trusted(self.kappa, kept.double())
        grown = (1.2 * self.share).clamp(max=SHARE)
        shrunk = (0.8 * self.share).clamp(min=LEAST_SHARE)
        self.share = torch.where(kept > KEPT, grown, self.share)
        self.share = torch.where(kept < BROKEN, shrunk, self.share)

    def look_closer(self) -> bool:
        """Weigh all pairs from now on, by less noisy curvatures; False if that was so before."""
        if self.trust is not None or self.probes.shape[2] > CLOSE_UNITS:
            return False
        self.trust = trust(self.probes)
        return True

    def proposed(self, active: Tensor, generator: torch.Generator) -> Changes | None:
        """Changes of a random share of each active graph's nodes; None where none promises any."""
        nodes = self._drawn_nodes(active, generator)
        features, units = self.weight.shape
        most = self.ones.shape[1]
        if self.trust is None:
            size = max(1, CHUNK_ENTRIES // max(features, units * most))
        else:
            size = max(1, CLOSE_ENTRIES // max(features * most, units**2))
        found = [self._proposals(part, self.gradient[part]) for part in nodes.split(size)]
        changes = balanced(nodes, joined(found), self.units.of(nodes), moves=self.moves)
        idle = ~self.touched(changes.gaining) & active
        if bool(idle.any()):
            self.kappa = torch.where(idle, (0.7 * self.kappa).clamp(min=1.0), self.kappa)
            self.share = torch.where(idle, (1.2 * self.share).clamp(max=SHARE), self.share)
        return changes if len(changes.gain) else None

    def _drawn_nodes(self, active: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(self.ones), generator=generator).to(self.ones.device)
        # Two can hand on a one.
        quota = (self.share * self.units.counts).round().clamp(min=2) * active
        return self.units.first(order, quota)

    def rows(self, nodes: Tensor | slice) -> Tensor:
        """Rows of Y = X W: sums of the rows of W where X is one."""
        summed = self.weight[self.ones[nodes]]
        return (summed * self._filled(nodes).unsqueeze(2)).sum(dim=1)

    def carry_out(self, changes: Changes, nodes: Tensor) -> None:
        """Take the ones away, then place the new ones, each behind its node's others."""
        self.count[changes.losing] -= 1
        last = self.ones[changes.losing, self.count[changes.losing]]
        self.ones[changes.losing, changes.slot] = last
        places = self.count[changes.gaining]
        missing = int(places.max()) + 1 - self.ones.shape[1]
        if missing > 0:
            self.ones = torch.cat([self.ones, self.ones[:, :1].expand(-1, missing)], dim=1)
        self.ones[changes.gaining, places] = changes.column
        self.count[changes.gaining] += 1
        self._repeat(nodes)

    def restore(self, nodes: Tensor, ones: Tensor, count: Tensor) -> None:
        """Undo `carry_out` for some nodes."""
        self.ones[nodes, : ones.shape[1]], self.count[nodes] = ones, count
        self._repeat(nodes)

    def _repeat(self, nodes: Tensor | slice) -> None:
        """Behind the ones of a node its first is repeated."""
        ones = self.ones[nodes]
        self.ones[nodes] = torch.where(self._filled(nodes), ones, ones[:, :1])

    def _filled(self, nodes: Tensor | slice) -> Bool[Tensor, "some most"]:
        places = torch.arange(self.ones.shape[1], device=self.ones.device)
        return places < self.count[nodes].unsqueeze(1)

    def _proposals(self, nodes: Tensor, gradient: Tensor) -> Proposals:
        """The best swap of each node, the best one to add and the best one to remove."""
        weight, probes = self.weight, self.probes[nodes]
        kappa = self.kappa[self.units.graph[nodes]].to(weight)[:, None]
        curvature = kappa * probes.square().sum(dim=1)
        # Of one entry alone, by the diagonal of H_u: [nodes, features] and [nodes, most]
        add = (
            torch.cat([gradient, curvature], dim=1) @ torch.cat([weight, weight.square()], dim=1).T
        )
        held = self.ones[nodes]
        # A node without ones may have any.
        taken = torch.where(self.count[nodes, None] > 0, torch.inf, add.gather(1, held))
        add.scatter_(1, held, taken)
        if self.allowed is not None:
            add.masked_fill_(~self.allowed[nodes], torch.inf)
        lost = weight[held]
        remove = (lost.square() @ curvature.unsqueeze(2) - lost @ gradient.unsqueeze(2)).squeeze(2)
        remove.masked_fill_(~self._filled(nodes), torch.inf)

        adds = add.topk(min(SHORTLIST, add.shape[1]), dim=1, largest=False).indices
        slots = remove.topk(min(SHORTLIST, remove.shape[1]), dim=1, largest=False).indices
        hessian = None  # H_u written out, [nodes, units, units]
        if self.trust is not None:
            hessian = probes.transpose(1, 2) @ probes * self.trust
            partners = self._partners(nodes, add, lost @ hessian * kappa[:, :, None])
            adds = torch.cat([adds, partners], dim=1)
            slots = torch.arange(held.shape[1], device=held.device).expand_as(held)
        removes = held.gather(1, slots)
        # Of shortlists and pairs, by the whole of H_u: (W_a − W_r)ᵀ H_u (W_a − W_r)
        moves = torch.cat([weight[adds], -weight[removes]], dim=1)
        if hessian is None:
            left = right = moves @ probes.transpose(1, 2)  # [nodes, both shortlists, probes]
        else:
            left, right = moves @ hessian, moves
        alone = (moves @ gradient.unsqueeze(2)).squeeze(2) + kappa * (left * right).sum(2)
        rounding = ROUNDING * alone.abs().amax(dim=1)
        impossible = torch.cat([add.gather(1, adds), remove.gather(1, slots)], dim=1).isinf()
        alone.masked_fill_(impossible, torch.inf)
        count = adds.shape[1]
        both = left[:, :count] @ right[:, count:].transpose(1, 2)
        change = alone[:, :count, None] + alone[:, None, count:] + 2 * kappa[:, :, None] * both
        swap, pair = change.flatten(1).min(dim=1)
        swap = torch.where(swap.abs() > rounding, swap, 0.0)  # equal features weigh the same
        add, a = alone[:, :count].min(dim=1)
        remove, r = alone[:, count:].min(dim=1)
        return Proposals(
            gains=torch.stack([swap, add, remove]),
            columns=adds.gather(1, torch.stack([pair // slots.shape[1], a], dim=1)).T,
            slots=slots.gather(1, torch.stack([pair % slots.shape[1], r], dim=1)).T,
        )

    def _partners(self, nodes: Tensor, add: Tensor, pressed: Tensor) -> Int[Tensor, "some most"]:
        """For each one of the nodes the best zero in its place.

        Args:
            nodes: Which nodes.
            add: What an entry does alone, infinite where it cannot be added, [some, features].
            pressed: κ H_u W_r of each one, [some, most, units].
        """
        node, slot = self._filled(nodes).nonzero(as_tuple=True)
        both = torch.addmm(add[node], pressed[node, slot], self.weight.T, alpha=-2)
        partners = self.ones[nodes]
        partners[node, slot] = both.argmin(dim=1)
        return partners


def _placed(x: Tensor, allowed: Tensor | None, generator: torch.Generator, *, keep: bool) -> Tensor:
    """As many ones in each row, where they are if that is allowed, else anywhere that is."""
    chance = torch.rand(x.shape, generator=generator).to(x)
    if keep:
        chance += x
    if allowed is not None:
        chance.masked_fill_(~allowed, -1)
    count = x.sum(dim=1).long()
    most = int(count.max())
    wanted = torch.arange(most, device=x.device) < count.unsqueeze(1)
    nodes, places = wanted.nonzero(as_tuple=True)
    placed = torch.zeros_like(x)
    placed[nodes, chance.topk(most, dim=1).indices[nodes, places]] = 1
    return placed
