"""What an exchange of ones among the nodes promises, and which exchanges go together."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

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

    def best(self, count: int) -> "Changes":
        order = self.gain.argsort()[:count]
        return Changes(*(part[order] for part in self))


def joined(parts: list[Proposals]) -> Proposals:
    return Proposals(*(torch.cat(same, dim=1) for same in zip(*parts, strict=True)))


def balanced(nodes: Tensor, proposals: Proposals, *, moves: bool) -> Changes:
    """The changes that promise a gain; with `moves` a node may hand a one to another.

    Then each does what gains most where who takes a one is paid, by who gives one, what makes as
    many want one more as want one less; the most eager of the ones and of the others are paired.
    """
    gains, columns, slots = proposals
    gains = gains.masked_fill(~gains.isfinite(), torch.inf)  # no promise
    swap, add, remove = gains
    choice = _at_balance(gains) if moves else torch.where(swap < 0, SWAP, 0)
    swapping = (choice == SWAP).nonzero().view(-1)
    adding, removing = ((choice == way).nonzero().view(-1) for way in (ADD, REMOVE))
    pairs = min(len(adding), len(removing))
    adding = adding[add[adding].argsort()][:pairs]
    removing = removing[remove[removing].argsort()][:pairs]
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
    return changes.best(len(changes.gain))


def _at_balance(gains: Tensor) -> Int[Tensor, " nodes"]:
    """What each node chooses at the pay for a one that balances the choices: 0 is nothing."""
    _, add, remove = gains
    finite = gains[1:][gains[1:].isfinite()].abs()
    high = float(finite.max()) if len(finite) else 0.0
    low = -high
    nothing = torch.zeros_like(gains[:1])
    choice = torch.zeros_like(add, dtype=torch.long)
    for _ in range(BISECTIONS):
        pay = (low + high) / 2
        paid = torch.stack([gains[0], add - pay, remove + pay])
        choice = torch.cat([nothing, paid]).argmin(dim=0)
        surplus = int((choice == ADD).sum() - (choice == REMOVE).sum())
        if surplus == 0:
            break
        low, high = (low, pay) if surplus > 0 else (pay, high)
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
