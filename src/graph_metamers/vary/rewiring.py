"""Edges that are exchanged many at a time, in memory O(edges)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graph_metamers.inputs import Inputs
from graph_metamers.units import place_within
from graph_metamers.vary.pairs import EdgePairs, Pairs, holds

SHUFFLES = 300  # rounds of random exchange before what was reached is taken
ROUNDS = 3  # of greedy choice among proposals that share nodes


@dataclass(frozen=True, eq=False)
class Exchanges:
    """Exchanges of edges, one a column.

    Attributes:
        slots: Places of the pairs that go, [1 or 2, exchanges].
        new: The pairs that come in their places, [2, 1 or 2, exchanges].
        ends: The nodes that are touched, [3 or 4, exchanges].
        receivers: The nodes whose incoming messages change, [2 or 4, exchanges].
        comes: Of each receiver, the node whose message comes; -1 for none.
        goes: Of each receiver, the node whose message goes; -1 for none.
    """

    slots: Int[Tensor, "changed exchanges"]
    new: Int[Tensor, "2 changed exchanges"]
    ends: Int[Tensor, "ends exchanges"]
    receivers: Int[Tensor, "receivers exchanges"]
    comes: Int[Tensor, "receivers exchanges"]
    goes: Int[Tensor, "receivers exchanges"]

    def __len__(self) -> int:
        return self.slots.shape[1]

    def of(self, chosen: Tensor) -> "Exchanges":
        """Some of them."""
        return Exchanges(*(getattr(self, f.name)[..., chosen] for f in fields(self)))

    @classmethod
    def joined(cls, parts: "Sequence[Exchanges]") -> "Exchanges":
        """Those of all parts, which are of one kind."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts], -1) for f in fields(cls)))


class Rewiring(EdgePairs):
    """Edges as pairs, ready to be exchanged; see `EdgePairs`."""

    def __init__(self, inputs: Inputs, at: str) -> None:
        super().__init__(inputs, at)
        self._pools = _Pools.of(self._groups)
        degree = torch.bincount(self.pairs.reshape(-1), minlength=self.nodes)
        self._seats = degree.clamp(min=1)

    def exchanged(self, exchanges: Exchanges) -> Pairs:
        """The pairs after all exchanges."""
        pairs = self.pairs.clone()
        pairs[:, exchanges.slots] = exchanges.new
        return pairs

    def double_swaps(self, slots: Int[Tensor, "2 tries"], generator: torch.Generator) -> Exchanges:
        """(a, b), (c, d) → (a, d), (c, b): every node keeps its degree.

        Args:
            slots: Places of the two pairs of each.
            generator: Chooses which ends of undirected edges are exchanged.
        """
        (a, c), (b, d) = self.pairs[:, slots]
        if self.undirected and not self._sided:
            turned = _coins(len(c), generator).to(c.device)
            c, d = torch.where(turned, d, c), torch.where(turned, c, d)
        ends = torch.stack([a, b, c, d])
        new = torch.stack([torch.stack([a, c]), torch.stack([d, b])])
        receivers, comes = torch.stack([b, d]), torch.stack([c, a])
        goes = comes.flip(0)
        if self.undirected:
            receivers = torch.cat([receivers, comes])
            comes, goes = torch.cat([comes, torch.stack([b, d])]), torch.cat([goes, new[1]])
        return Exchanges(slots, new, ends, receivers, comes, goes)

    def moves(
        self, slots: Int[Tensor, " tries"], d: Int[Tensor, "2 tries"], generator: torch.Generator
    ) -> Exchanges:
        """(a, b) → (a, d): an edge gets another end, the number of edges stays.

        Args:
            slots: Place of the pair of each.
            d: The new end of each, should the first or the second of the pair go.
            generator: Chooses which end stays.
        """
        a, b = self.pairs[:, slots]
        turned = _coins(len(a), generator).to(a.device)
        a, b = torch.where(turned, b, a), torch.where(turned, a, b)  # a stays, b goes
        d = torch.where(turned, d[0], d[1])
        none = torch.full_like(a, -1)
        ends = torch.stack([a, b, d])
        new = torch.stack([torch.where(turned, d, a), torch.where(turned, a, d)])
        if self.undirected:
            new = new if self._sided else torch.stack([a, d])
            receivers = ends
            comes, goes = torch.stack([d, none, a]), torch.stack([b, a, none])
        else:  # b → a becomes d → a where turned, a → b becomes a → d elsewhere
            receivers = torch.stack([torch.where(turned, a, b), torch.where(turned, a, d)])
            comes = torch.stack([torch.where(turned, d, none), torch.where(turned, none, a)])
            goes = torch.stack([torch.where(turned, b, a), none])
        return Exchanges(slots.unsqueeze(0), new.unsqueeze(1), ends, receivers, comes, goes)

    def allowed(
        self, exchanges: Exchanges, order: Float[Tensor, " exchanges"], keep: float
    ) -> tuple[Exchanges, Float[Tensor, " allowed"]]:
        """Those that give neither loops nor repeated edges, nor more of the reference's.

        Args:
            exchanges: Of any kind.
            order: A value of each, returned of those that are allowed.
            keep: The share of the reference's edges that may be there.
        """
        new = exchanges.new
        fine = (new[0] != new[1]).all(dim=0) & ~holds(self._sorted, self.keys(new)).any(dim=0)
        if len(exchanges.slots) == 2:
            fine &= self.keys(new[:, 0]) != self.keys(new[:, 1])
        if keep < 1:
            again = self.in_reference(new).sum(dim=0)
            kept = int(self.in_reference(self.pairs).sum())
            room = int(keep * self.pairs.shape[1]) - kept
            fine &= (again == 0) | (torch.cumsum(again * fine, dim=0) <= room)
        places = fine.nonzero().view(-1)
        return exchanges.of(places), order[places]

    def together(
        self,
        exchanges: Exchanges,
        order: Float[Tensor, " exchanges"],
        generator: torch.Generator,
    ) -> Int[Tensor, " chosen"]:
        """Exchanges to carry out at once, chosen greedily.

        No two change a common pair or give the same one, and a node is touched by as many as it
        has edges in the reference: it has that many seats, of which each exchange that touches
        it takes one at random.

        Args:
            exchanges: Allowed ones.
            order: The least first.
            generator: Draws the seats.
        """
        ends, after = exchanges.ends, self._seats.cumsum(0)
        drawn = torch.rand(ends.shape, generator=generator).to(ends.device)
        seats = after[ends] - 1 - (drawn * self._seats[ends]).long()
        slots = int(after[-1]) + exchanges.slots
        _, new = self.keys(exchanges.new).unique(return_inverse=True)
        new = int(after[-1]) + self.pairs.shape[1] + new
        return disjoint(torch.cat([seats, slots, new]), order)

    def scramble(self, generator: torch.Generator, *, keep: float) -> None:
        """Random pairs with the same degrees.

        All pairs change ends at random; where that gives a loop, a repeated pair or too many of
        the reference's, those pairs and as many others do so again.
        """
        pairs = self.pairs
        everywhere = torch.arange(pairs.shape[1], device=pairs.device)
        again = everywhere
        for _ in range(SHUFFLES):
            chosen = pairs[:, again]
            if self.undirected and not self._sided:
                turned = _coins(len(again), generator).to(pairs.device)
                chosen = torch.where(turned, chosen.flip(0), chosen)
            order = self._shuffled(self.graph_of_pairs[again], generator)
            pairs = pairs.index_copy(1, again, torch.stack([chosen[0], chosen[1, order]]))
            bad = self._misplaced(pairs, keep, generator)
            if len(bad) == 0:
                self.place(pairs)
                return
            others = torch.randperm(len(everywhere), generator=generator)[: len(bad) + 10]
            again = torch.cat([bad, others.to(bad)]).unique()
        self._swap_at_random(generator, keep)

    def _misplaced(self, pairs: Pairs, keep: float, generator: torch.Generator) -> Tensor:
        """Places of loops, of all but one of equal pairs, and of the reference's beyond `keep`."""
        count = pairs.shape[1]
        keys, order = self.keys(pairs).sort(stable=True)
        wrong = torch.zeros(count, dtype=torch.bool, device=pairs.device)
        wrong[order[1:][keys[1:] == keys[:-1]]] = True
        wrong |= pairs[0] == pairs[1]
        kept = self.in_reference(pairs).nonzero().view(-1)
        surplus = len(kept) - int(keep * count)
        if surplus > 0:
            wrong[kept[torch.randperm(len(kept), generator=generator)[:surplus].to(kept)]] = True
        return wrong.nonzero().view(-1)

    def _swap_at_random(self, generator: torch.Generator, keep: float) -> None:
        """Random double swaps from the reference, in graphs so dense that few are allowed."""
        done = 0
        for _ in range(SHUFFLES):
            if done >= 10 * self.pairs.shape[1] and self.surplus(keep) == 0:
                return
            tried = self.double_swaps(self.random_slots(generator), generator)
            order = torch.rand(len(tried), generator=generator).to(tried.slots.device)
            # Mixed well, what remains of the reference's may only go.
            mixed = done >= 10 * self.pairs.shape[1]
            found, order = self.allowed(tried, order, keep=0.0 if mixed else 1.0)
            chosen = found.of(self.together(found, order, generator))
            self.place(self.exchanged(chosen))
            done += len(chosen)

    def surplus(self, keep: float) -> int:
        """How many pairs of the reference are there beyond the share `keep`."""
        kept = int(self.in_reference(self.pairs).sum())
        return max(0, kept - int(keep * self.pairs.shape[1]))

    def scatter(self, generator: torch.Generator, *, keep: float) -> None:
        """Random pairs, as many in each graph, all equally likely but for those that may not stay.

        Where a graph is so dense that too few others are found, edges of the reference stay.
        """
        if self._pools is None:
            self.place(self._uniform(generator, keep))
            return
        pairs, open_slots = self.pairs, torch.arange(self.pairs.shape[1], device=self.pairs.device)
        for _ in range(SHUFFLES):
            drawn = torch.stack([self._pools.draw(ends, generator) for ends in self.pairs])
            pairs = pairs.index_copy(1, open_slots, drawn[:, open_slots])
            open_slots = self._misplaced(pairs, keep, generator)
            if len(open_slots) == 0:
                self.place(pairs)
                return
        full = torch.zeros(self.graphs, dtype=torch.bool, device=pairs.device)
        full[self.graph_of_pairs[open_slots]] = True
        self.place(torch.where(full[self.graph_of_pairs], self.pairs, pairs))

    def _uniform(self, generator: torch.Generator, keep: float) -> Pairs:
        count, device = self.pairs.shape[1], self.pairs.device
        found = torch.empty(0, dtype=torch.long, device=device)
        for _ in range(100):
            if len(found) >= count:
                break
            u, v = torch.randint(self.nodes, (2, 2 * count + 64), generator=generator).to(device)
            pairs = torch.stack([u, v])[:, u != v]
            if keep < 1:
                pairs = pairs[:, ~self.in_reference(pairs)]
            found = torch.cat([found, self.keys(pairs)]).unique()
        order = torch.randperm(len(found), generator=generator)[:count].to(device)
        pairs = torch.stack([found[order] // self.nodes, found[order] % self.nodes])
        # A dense graph: what is missing are edges of the reference.
        kept = torch.randperm(count, generator=generator)[: count - len(order)].to(device)
        return torch.cat([pairs, self.pairs[:, kept]], dim=1)

    def partners(
        self, slots: Int[Tensor, " tries"], generator: torch.Generator, *, pool: int
    ) -> Int[Tensor, " tries"]:
        """For each pair another one of its graph, at random.

        Args:
            slots: Places of pairs.
            generator: The only source of chance.
            pool: From how many they are drawn, so that all that is read of them stays in the
                processor's cache; of several graphs from all.
        """
        if self.graphs == 1:
            return _drawn_from(pool, self.pairs.shape[1], slots, generator)
        pairs = _Pools.grouped(self.graph_of_pairs, self.graphs)
        return pairs.draw(slots, generator)

    def new_ends(
        self, slots: Int[Tensor, " tries"], generator: torch.Generator, *, pool: int
    ) -> Int[Tensor, "2 tries"]:
        """For each end of each pair another node of its graph and side, at random."""
        if self._pools is None:
            return _drawn_from(pool, self.nodes, slots, generator).expand(2, -1)
        return torch.stack([self._pools.draw(ends, generator) for ends in self.pairs[:, slots]])

    def random_slots(self, generator: torch.Generator) -> Int[Tensor, "2 tries"]:
        """All places in random order, two and two of one graph."""
        count = self.pairs.shape[1]
        order = torch.randperm(count, generator=generator).to(self.pairs.device)
        if self.graphs == 1:
            return order[: count // 2 * 2].view(2, -1)
        order = order[self.graph_of_pairs[order].argsort(stable=True)]
        place = place_within(self.graph_of_pairs[order], self.graphs)
        first = (place % 2 == 0).nonzero().view(-1)
        first = first[first + 1 < count]
        first = first[self.graph_of_pairs[order[first]] == self.graph_of_pairs[order[first + 1]]]
        return torch.stack([order[first], order[first + 1]])

    def _shuffled(self, graph: Tensor, generator: torch.Generator) -> Int[Tensor, " some"]:
        """A random order that mixes the entries of each graph among themselves."""
        order = torch.randperm(len(graph), generator=generator).to(graph.device)
        if self.graphs == 1:
            return order
        mixed = torch.empty_like(order)
        mixed[graph.argsort(stable=True)] = order[graph[order].argsort(stable=True)]
        return mixed


@dataclass(frozen=True, eq=False)
class _Pools:
    """Nodes, or pairs, in groups from which another of the same group is drawn."""

    group: Int[Tensor, " members"]
    members: Int[Tensor, " members"]  # sorted by group
    first: Int[Tensor, " groups"]
    sizes: Int[Tensor, " groups"]

    @classmethod
    def of(cls, labels: Tensor) -> "_Pools | None":
        """Groups of equal labels; None where there is one."""
        values, group = labels.unique(return_inverse=True)
        return cls.grouped(group, len(values)) if len(values) > 1 else None

    @classmethod
    def grouped(cls, group: Tensor, count: int) -> "_Pools":
        """Groups by number."""
        sizes = torch.bincount(group, minlength=count)
        return cls(group, group.argsort(stable=True), sizes.cumsum(0) - sizes, sizes)

    def draw(self, of: Tensor, generator: torch.Generator) -> Tensor:
        """For each member another of its group, or itself, at random."""
        chance = torch.rand(of.shape, generator=generator, dtype=torch.float64).to(of.device)
        group = self.group[of]
        return self.members[self.first[group] + (chance * self.sizes[group]).long()]


def _drawn_from(
    pool: int, count: int, like: Tensor, generator: torch.Generator
) -> Int[Tensor, " tries"]:
    few = torch.randint(count, (min(count, pool),), generator=generator)
    return few[torch.randint(len(few), like.shape, generator=generator)].to(like)


def disjoint(
    touched: Int[Tensor, "things exchanges"], order: Float[Tensor, " exchanges"]
) -> Int[Tensor, " chosen"]:
    """Exchanges of which no two touch a common thing, chosen greedily.

    Args:
        touched: The things that each touches, as numbers from 0.
        order: The least first.
    """
    rank = order.argsort().argsort()
    last = len(rank)
    chosen = torch.zeros(last, dtype=torch.bool, device=touched.device)
    if last == 0:
        return chosen.nonzero().view(-1)
    things = int(touched.max()) + 1
    for _ in range(ROUNDS):
        least = torch.full((things,), last, device=touched.device)
        least.scatter_reduce_(0, touched.reshape(-1), rank.repeat(len(touched)), "amin")
        won = (rank < last) & (least[touched] == rank).all(dim=0)
        chosen |= won
        used = torch.zeros(things, dtype=torch.bool, device=touched.device)
        used[touched[:, won].reshape(-1)] = True
        rank = rank.masked_fill(used[touched].any(dim=0), last)
    return chosen.nonzero().view(-1)


def _coins(count: int, generator: torch.Generator) -> Bool[Tensor, " count"]:
    return torch.rand(count, generator=generator) < 0.5
