"""Edges that are exchanged many at a time, in memory O(edges)."""

import copy
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch_geometric.data import Data

Pairs = Int[Tensor, "2 pairs"]
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
    def joined(cls, parts: "list[Exchanges]") -> "Exchanges":
        """Those of all parts, which are of one kind."""
        return cls(*(torch.cat([getattr(p, f.name) for p in parts], -1) for f in fields(cls)))


class Rewiring:
    """The edges of a graph as pairs of nodes, ready to be exchanged.

    Self-loops stay. Of an undirected graph a pair (u, v) with u < v stands for both directions.

    Args:
        data: The reference graph, without repeated edges.
    """

    def __init__(self, data: Data) -> None:
        edges: Tensor = data["edge_index"]
        self.nodes = len(data["x"])
        self.undirected = is_symmetric(edges, self.nodes)
        loops = edges[0] == edges[1]
        self._data, self._loops = data, edges[:, loops]
        self.pairs = edges[:, edges[0] < edges[1] if self.undirected else ~loops].clone()
        self._sorted = self.keys(self.pairs).sort().values
        self._reference = self._sorted
        degree = torch.bincount(self.pairs.reshape(-1), minlength=self.nodes)
        self._seats = degree.clamp(min=1)

    def keys(self, pairs: Int[Tensor, "2 *some"]) -> Int[Tensor, "*some"]:
        """One number for each pair, the same for (v, u) where edges have no direction."""
        u, v = pairs[0], pairs[1]
        if self.undirected:
            u, v = torch.minimum(u, v), torch.maximum(u, v)
        return u * self.nodes + v

    def graph(self, pairs: Pairs | None = None) -> Data:
        """The graph with these pairs, by default its own."""
        pairs = self.pairs if pairs is None else pairs
        parts = [pairs, *([pairs.flip(0)] if self.undirected else []), self._loops]
        graph = copy.copy(self._data)
        graph.edge_index = torch.cat(parts, dim=1)
        return graph

    def in_reference(self, pairs: Int[Tensor, "2 *some"]) -> Bool[Tensor, "*some"]:
        """Which pairs the reference has too."""
        return _holds(self._reference, self.keys(pairs))

    def place(self, pairs: Pairs) -> None:
        """Take these pairs for the edges."""
        self.pairs = pairs
        self._sorted = self.keys(pairs).sort().values

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
        if self.undirected:
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
        self, slots: Int[Tensor, " tries"], d: Int[Tensor, " tries"], generator: torch.Generator
    ) -> Exchanges:
        """(a, b) → (a, d): an edge gets another end, the number of edges stays.

        Args:
            slots: Place of the pair of each.
            d: The new end of each.
            generator: Chooses which end stays.
        """
        a, b = self.pairs[:, slots]
        turned = _coins(len(a), generator).to(a.device)
        a, b = torch.where(turned, b, a), torch.where(turned, a, b)  # a stays, b goes
        none = torch.full_like(a, -1)
        ends = torch.stack([a, b, d])
        if self.undirected:
            new = torch.stack([a, d])
            receivers = ends
            comes, goes = torch.stack([d, none, a]), torch.stack([b, a, none])
        else:  # b → a becomes d → a where turned, a → b becomes a → d elsewhere
            new = torch.stack([torch.where(turned, d, a), torch.where(turned, a, d)])
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
        fine = (new[0] != new[1]).all(dim=0) & ~_holds(self._sorted, self.keys(new)).any(dim=0)
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
            if self.undirected:
                turned = _coins(len(again), generator).to(pairs.device)
                chosen = torch.where(turned, chosen.flip(0), chosen)
            order = torch.randperm(len(again), generator=generator).to(pairs.device)
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

    def random_nodes(self, count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
        """Nodes, all equally likely."""
        return torch.randint(self.nodes, (count,), generator=generator).to(self.pairs.device)

    def random_slots(self, generator: torch.Generator) -> Int[Tensor, "2 tries"]:
        """All places in random order, two and two."""
        count = self.pairs.shape[1]
        order = torch.randperm(count, generator=generator)[: count // 2 * 2]
        return order.view(2, -1).to(self.pairs.device)


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


def is_symmetric(edges: Int[Tensor, "2 edges"], nodes: int) -> bool:
    """Whether every edge also goes the other way."""
    there = (edges[0] * nodes + edges[1]).unique()
    back = (edges[1] * nodes + edges[0]).unique()
    return torch.equal(there, back)


def _holds(values: Int[Tensor, " sorted"], keys: Tensor) -> Tensor:
    places = torch.searchsorted(values, keys.contiguous()).clamp(max=len(values) - 1)
    return values[places] == keys


def _coins(count: int, generator: torch.Generator) -> Bool[Tensor, " count"]:
    return torch.rand(count, generator=generator) < 0.5
