"""What an exchange of ones among the nodes promises, and which exchanges go together."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from graph_metamers.units import Units, place_within

SWAP, ADD, REMOVE = 1, 2, 3  # what a node can do
BISECTIONS = 30
TRUST_ENTRIES = 1 << 22  # of curvatures in memory at a time
ROUNDING = 1e-6  # share of its terms up to which a sum of them may be rounding alone


class Proposals(NamedTuple):
    """What each node could do, and what change of the error that promises: negative is a gain."""

    gains: Float[Tensor, "3 nodes"]  # of a swap, of one more, of one less
    columns: Int[Tensor, "2 nodes"]  # to add: in a swap, and as one more
    slots: Int[Tensor, "2 nodes"]  # to remove: in a swap, and as one less


class Changes(NamedTuple):
    """Changes that keep the number of ones, the most promising first.

    Each places a one at `gaining`, `column`, and takes away that in `losing`, `slot`; in a swap
    the two are the same node. No node has part in two changes.
    """

    gaining: Int[Tensor, " changes"]
    column: Int[Tensor, " changes"]
    losing: Int[Tensor, " changes"]
    slot: Int[Tensor, " changes"]
    gain: Float[Tensor, " changes"]

    @property
    def nodes(self) -> Tensor:
        return torch.cat([self.gaining, self.losing]).unique()

    def quarter(self, graphs: Bool[Tensor, " graphs"], units: Units) -> "Changes | None":
        """The most promising quarter of those in some graphs, one of each at least."""
        order = self.gain.argsort()
        graph = units.graph[self.gaining[order]]
        count = (torch.bincount(graph, minlength=units.graphs) // 4).clamp(min=1)
        order = order[(place_within(graph, units.graphs) < count[graph]) & graphs[graph]]
        return Changes(*(part[order] for part in self)) if len(order) else None


def joined(parts: list[Proposals]) -> Proposals:
    return Proposals(*(torch.cat(same, dim=1) for same in zip(*parts, strict=True)))


def balanced(nodes: Tensor, proposals: Proposals, units: Units, *, moves: bool) -> Changes:
    """The changes that promise a gain; with `moves` a node may hand a one to another of its graph.

    A price for a one is found by bisection, in each graph its own, at which as many nodes want to
    gain a one as to lose one; each node takes its best option at that price. The most eager of the
    ones and of the others are paired.

    Args:
        nodes: The nodes that were looked at.
        proposals: What each could do.
        units: What the nodes are, and of which graph each is.
        moves: Whether ones may go from node to node.
    """
    gains, columns, slots = proposals
    gains = gains.masked_fill(~gains.isfinite(), torch.inf)  # no promise
    swap, add, remove = gains
    choice = _at_balance(gains, units) if moves else torch.where(swap < 0, SWAP, 0)
    swapping = (choice == SWAP).nonzero().view(-1)
    adding, removing = _paired(choice, add, remove, units)
    gain, terms = add[adding] + remove[removing], add[adding].abs() + remove[removing].abs()
    real = gain.abs() > ROUNDING * terms  # else they would trade places for nothing
    adding, removing = adding[real], removing[real]
    changes = Changes(
        gaining=nodes[torch.cat([swapping, adding])],
        column=torch.cat([columns[0, swapping], columns[1, adding]]),
        losing=nodes[torch.cat([swapping, removing])],
        slot=torch.cat([slots[0, swapping], slots[1, removing]]),
        gain=torch.cat([swap[swapping], gain[real]]),
    )
    order = changes.gain.argsort()
    return Changes(*(part[order] for part in changes))


def _paired(choice: Tensor, add: Tensor, remove: Tensor, units: Units) -> tuple[Tensor, Tensor]:
    """Who gains a one and who loses one, pair by pair within each graph, the most eager first."""
    chosen: list[Tensor] = []
    counts: list[Tensor] = []
    for way, gain in ((ADD, add), (REMOVE, remove)):
        some = (choice == way).nonzero().view(-1)
        some = some[gain[some].argsort()]
        chosen.append(some[units.graph[some].argsort(stable=True)] if units.graphs > 1 else some)
        counts.append(torch.bincount(units.graph[some], minlength=units.graphs))
    pairs = torch.minimum(*counts)
    return units.first(chosen[0], pairs), units.first(chosen[1], pairs)


def _at_balance(gains: Tensor, units: Units) -> Int[Tensor, " nodes"]:
    """What each node chooses at the price for a one that balances the choices: 0 is nothing."""
    swap, add, remove = gains
    finite = torch.where(gains[1:].isfinite(), gains[1:].abs(), 0).amax(0).double()
    highest = finite.new_zeros(units.graphs).scatter_reduce_(0, units.graph, finite, "amax")
    high = highest.numpy(force=True)
    low = -high
    options = torch.stack([torch.zeros_like(swap), swap, add, remove])
    received = torch.tensor([0, 0, 1, -1], device=gains.device)  # ones, by choice
    choice = torch.zeros_like(add, dtype=torch.long)
    for _ in range(BISECTIONS):
        price = (low + high) / 2
        pay = units.spread(torch.from_numpy(price).to(gains))
        torch.sub(add, pay, out=options[ADD])
        torch.add(remove, pay, out=options[REMOVE])
        choice = options.argmin(dim=0)
        surplus = units.total(received.index_select(0, choice)).numpy(force=True)
        if not surplus.any():
            break
        # Where the choices are balanced the price, and so the choices, stay.
        high = np.where(surplus > 0, price, high)
        low = np.where(surplus < 0, price, low)
    return choice


def trust(probes: Float[Tensor, "nodes probes units"]) -> Float[Tensor, "units units"]:
    """How far each entry of the nodes' curvatures PᵀP is more than chance, from 0 to 1.

    Two units that have nothing to do with each other have in K probes a squared correlation of 1/K
    in the mean; what the nodes' mean r_ij has above that is real: max(0, 1 − 1 / (K r_ij)).
    """
    _, count, units = probes.shape
    total, nodes = probes.new_zeros(2, units, units)
    for part in probes.split(max(1, TRUST_ENTRIES // units**2)):
        curvature = part.transpose(1, 2) @ part
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        scale = diagonal.unsqueeze(1) * diagonal.unsqueeze(2)
        total += torch.where(scale > 0, curvature.square() / scale, 0.0).sum(dim=0)
        nodes += (scale > 0).sum(dim=0)
    share = 1 - nodes.clamp_min(1) / (count * total)
    return share.clamp_min(0).fill_diagonal_(1)
