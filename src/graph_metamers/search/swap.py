"""Discrete search for binary features: move ones, in many nodes at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_count
from graph_metamers.probe.reads import LinearRead
from graph_metamers.progress import Watch
from graph_metamers.search.base import (
    Best,
    Problem,
    Search,
    Seek,
    Solution,
    Status,
    check_seek,
    ended,
    features,
    signs,
    whole_read,
)
from graph_metamers.search.checkpoint import Checkpoint
from graph_metamers.search.feature_gains import (
    ROUNDING,
    Changes,
    Proposals,
    balanced,
    joined,
    trust,
)
from graph_metamers.vary import BinaryFeatures, Vary, with_features

SHARE, LEAST_SHARE = 0.4, 0.02  # of the nodes that are looked at in a sweep
SHORTLIST = 12  # of the ones, and of the zeros, of a node whose pairs are weighed exactly
PROBES, FRESH = 32, 2  # gradients of random combinations kept, and drawn anew in each sweep
PROBE_ENTRIES = 1 << 27  # at most, for all of them
CHUNK_ENTRIES = 1 << 24  # scores in memory at a time
CLOSE_ENTRIES = 1 << 21  # and where all pairs are looked at: so many stay near the processor
CLOSE_UNITS = 512  # of Y at most, where the curvature of a row is written out
ATTEMPTS = 4  # each with a quarter of the changes of the one before


@dataclass(frozen=True)
class Swap(Search):
    """Exchange ones for zeros wherever that lowers the activation error of binary features.

    A swap in node u adds feature a and removes feature r. It moves u's row of Y = X W, W the maps
    through which the layer reads the features, by δ = W_a − W_r, and the error by about

        g_u · δ + κ δᵀ H_u δ,   g = ∂L_act/∂Y,   H_u = Σ_v J_vuᵀ J_vu / ‖h‖²,   J = ∂h/∂Y.

    H_u is the Gauss–Newton curvature of one row, estimated without bias from gradients of random
    combinations ξ of the activations (E[Jᵀξ ξᵀJ] = JᵀJ, ξ = ±1) that are kept from sweep to sweep.
    Of every node in a random share, the best pair of a shortlist is proposed. With
    `BinaryFeatures(density="fixed")` a one may also go from node to node: each does what gains
    most, a swap, one more (δ = W_a) or one less (δ = −W_r), and who takes a one is paid for it, by
    who gives one, what makes as many want more as want less. All changes that promise a gain
    beyond what rounding alone may promise are carried out together if the **true** error falls,
    else the most promising quarter of them, and so on. When the promise was not kept, since rows
    that share neighbours add up, κ grows and the share shrinks; when it was, the other way round.
    So the error never rises, and the number of ones stays: that of the whole matrix, and with
    `density="per_node"` that of each node.

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

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.patience is not None:
            check_count("patience", self.patience)
        check_seek(self.seek)

    def check(self, vary: Vary) -> None:
        if not swappable(vary):
            raise InputError(
                "Swap exchanges ones and zeros, keeps their number and knows no margin: it needs "
                f"vary=BinaryFeatures(); got {vary!r}. Use search='auto'."
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
        x, allowed = self._start(problem, generator)
        read = problem.find_read() or whole_read(problem)
        moves = isinstance(problem.vary, BinaryFeatures) and problem.vary.density == "fixed"
        walk = _Walk.begun(x, allowed, read, moves=moves)
        history: list[float] = []
        saved = saving.resumed(x.device)
        if saved is not None:
            walk = replace(walk, **saved["walk"])
            generator.set_state(saved["generator"].cpu())
            history.extend(saved["history"])

        status = None
        while status is None:
            error, gradient = walk.look(problem, generator)
            history.append(error)
            step = len(history) - 1
            saving.see(step, error, lambda: with_features(problem.data, walk.features()))
            waiting = self.patience is not None and step < walk.since + self.patience
            status = ended(
                history,
                problem.tol,
                steps=self.steps,
                stop_at_tol=self.stop_at_tol,
                patience=None if waiting else self.patience,
                fall=0.01,
            )
            if status is Status.STALLED and walk.look_closer(step):
                status = None
            if watch is not None:
                watch(step, self.steps, error)
            if status is None:
                walk.sweep(problem, gradient, error, generator)
                saving.offer(
                    lambda: {
                        "walk": walk.state(),
                        "generator": generator.get_state(),
                        "history": history,
                    }
                )

        saving.remove()
        best = Best(problem.data)
        best.offer(with_features(problem.data, walk.features()), history[-1], len(history) - 1)
        return Solution(
            graph=best.graph,
            error=history[-1],
            status=status,
            history=history,
            steps=len(history) - 1,
            best_step=history.index(history[-1]),
            seconds=saving.seconds,
            trail=saving.trail,
        )

    def _start(self, problem: Problem, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """The features to begin with, and which entries may become ones (None: all)."""
        x = features(problem.vary.start(problem.data, generator).render()).clone()
        avoided = [*problem.avoid, *([features(problem.data)] if self.seek == "farthest" else [])]
        if not avoided and self.seek == "nearest":
            return x, None
        allowed = torch.stack([other == 0 for other in avoided]).all(dim=0) if avoided else None
        if allowed is not None:
            full = x.sum(dim=1) > allowed.sum(dim=1)
            if bool(full.any()):
                raise InputError(
                    f"{int(full.sum())} nodes have more ones than entries that are zero in every "
                    "graph to keep away from. Give fewer graphs in avoid=, or another seek=."
                )
        return _placed(x, allowed, generator, keep=self.seek != "random"), allowed


def swappable(vary: Vary) -> bool:
    """Whether what varies are ones and zeros whose number stays."""
    return isinstance(vary, BinaryFeatures) and vary.density != "learned" and vary.margin == 0


@dataclass
class _Walk:
    """Where the search stands: the ones of each node, and what it knows of the curvature."""

    read: LinearRead
    allowed: Bool[Tensor, "nodes features"] | None
    moves: bool  # whether a node may hand a one to another
    ones: Int[Tensor, "nodes most"]  # their columns; behind `count` of them the first is repeated
    count: Int[Tensor, " nodes"]
    probes: Float[Tensor, "nodes probes units"]
    drawn: int  # probes so far
    kappa: float
    share: float
    since: int = 0  # the sweep at which it began to look as it does now
    trust: Float[Tensor, "units units"] | None = None  # in the curvature's entries; None: in all

    @classmethod
    def begun(cls, x: Tensor, allowed: Tensor | None, read: LinearRead, *, moves: bool) -> "_Walk":
        count = x.sum(dim=1).long()
        most = int(count.max())
        ones = x.topk(most, dim=1).indices
        units = read.weight.shape[1]
        kept = max(4, min(PROBES, PROBE_ENTRIES // (len(x) * units)))
        probes = x.new_zeros(len(x), kept, units)
        walk = cls(read, allowed, moves, ones, count, probes, drawn=0, kappa=1.0, share=SHARE)
        walk._repeat(slice(None))
        return walk

    def state(self) -> dict[str, Any]:
        """What a resumed search needs."""
        names = ("ones", "count", "probes", "drawn", "kappa", "share", "since", "trust")
        return {name: getattr(self, name) for name in names}

    def features(self) -> Tensor:
        """X, dense."""
        x = self.probes.new_zeros(len(self.ones), len(self.read.weight))
        nodes, places = self._filled(slice(None)).nonzero(as_tuple=True)
        x[nodes, self.ones[nodes, places]] = 1
        return x

    def rows(self, nodes: Tensor | slice) -> Tensor:
        """Rows of Y = X W: sums of the rows of W where X is one."""
        summed = self.read.weight[self.ones[nodes]]
        return (summed * self._filled(nodes).unsqueeze(2)).sum(dim=1)

    def look(self, problem: Problem, generator: torch.Generator) -> tuple[float, Tensor]:
        """The error and its gradient at Y; fresh probes on the way."""
        y = torch.cat([self.rows(part) for part in self._chunks()]).requires_grad_()
        activations = self.read.activations(y)
        loss = problem.mean_error(activations)
        (gradient,) = torch.autograd.grad(loss, y, retain_graph=True)
        kept = self.probes.shape[1]
        scale = [(kept * len(activations) * norm) ** -0.5 for norm in problem.norms]
        for _ in range(FRESH if self.drawn else kept):
            drawn = [signs(h, generator) * s for h, s in zip(activations, scale, strict=True)]
            (probe,) = torch.autograd.grad(activations, y, drawn, retain_graph=True)
            self.probes[:, self.drawn % kept] = probe
            self.drawn += 1
        self.y = y.detach()
        return loss.item(), gradient

    def look_closer(self, step: int) -> bool:
        """Weigh all pairs from now on, by less noisy curvatures; False if that was so before."""
        if self.trust is not None or self.probes.shape[2] > CLOSE_UNITS:
            return False
        self.trust, self.since = trust(self.probes), step
        return True

    def sweep(
        self, problem: Problem, gradient: Tensor, error: float, generator: torch.Generator
    ) -> None:
        """Propose a change for each of a random share of the nodes; carry out what helps."""
        order = torch.randperm(len(gradient), generator=generator).to(gradient.device)
        nodes = order[: max(2, round(self.share * len(order)))]  # two can hand on a one
        features, units = self.read.weight.shape
        most = self.ones.shape[1]
        if self.trust is None:
            size = max(1, CHUNK_ENTRIES // max(features, units * most))
        else:
            size = max(1, CLOSE_ENTRIES // max(features * most, units**2))
        found = [self._proposals(part, gradient[part]) for part in nodes.split(size)]
        changes = balanced(nodes, joined(found), moves=self.moves)
        if len(changes.gain) == 0:
            self.kappa = max(1.0, 0.7 * self.kappa)
            self.share = min(SHARE, 1.2 * self.share)
            return
        promised = float(changes.gain.sum())
        for attempt in range(ATTEMPTS):
            nodes = changes.nodes
            before = self.ones[nodes], self.count[nodes]
            self._carry_out(changes)
            y = self.y.index_copy(0, nodes, self.rows(nodes))
            with torch.no_grad():
                after = problem.mean_error(self.read.activations(y)).item()
            if after < error:
                kept_promise = (after - error) / promised if attempt == 0 else 0.0
                break
            self._restore(nodes, *before)
            changes = changes.best(max(1, len(changes.gain) // 4))
        else:
            kept_promise = 0.0
        if kept_promise > 0.6:
            self.kappa = max(0.5, 0.8 * self.kappa)
            self.share = min(SHARE, 1.2 * self.share)
        elif kept_promise < 0.3:
            self.kappa *= 1.3
            self.share = max(LEAST_SHARE, 0.8 * self.share)

    def _carry_out(self, changes: Changes) -> None:
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
        self._repeat(changes.nodes)

    def _restore(self, nodes: Tensor, ones: Tensor, count: Tensor) -> None:
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
        weight, probes = self.read.weight, self.probes[nodes]
        curvature = self.kappa * probes.square().sum(dim=1)
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
            partners = self._partners(nodes, add, lost @ hessian)
            adds = torch.cat([adds, partners], dim=1)
            slots = torch.arange(held.shape[1], device=held.device).expand_as(held)
        removes = held.gather(1, slots)
        # Of shortlists and pairs, by the whole of H_u: (W_a − W_r)ᵀ H_u (W_a − W_r)
        moves = torch.cat([weight[adds], -weight[removes]], dim=1)
        if hessian is None:
            left = right = moves @ probes.transpose(1, 2)  # [nodes, both shortlists, probes]
        else:
            left, right = moves @ hessian, moves
        alone = (moves @ gradient.unsqueeze(2)).squeeze(2) + self.kappa * (left * right).sum(2)
        rounding = ROUNDING * alone.abs().amax(dim=1)
        impossible = torch.cat([add.gather(1, adds), remove.gather(1, slots)], dim=1).isinf()
        alone.masked_fill_(impossible, torch.inf)
        count = adds.shape[1]
        both = left[:, :count] @ right[:, count:].transpose(1, 2)
        change = alone[:, :count, None] + alone[:, None, count:] + 2 * self.kappa * both
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
            pressed: H_u W_r of each one, [some, most, units].
        """
        node, slot = self._filled(nodes).nonzero(as_tuple=True)
        both = torch.addmm(
            add[node], pressed[node, slot], self.read.weight.T, alpha=-2 * self.kappa
        )
        partners = self.ones[nodes]
        partners[node, slot] = both.argmin(dim=1)
        return partners

    def _chunks(self) -> Iterator[slice]:
        entries = self.ones.shape[1] * self.read.weight.shape[1]
        size = max(1, CHUNK_ENTRIES // entries)
        return (slice(first, first + size) for first in range(0, len(self.ones), size))


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
