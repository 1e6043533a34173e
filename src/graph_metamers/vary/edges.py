"""Edges vary, the node features stay."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from graph_metamers.errors import InputError, check_number, check_positive, describe, listing
from graph_metamers.inputs import ADJACENCY, Inputs
from graph_metamers.vary.base import Bounded, Changed, Kind, Variable, Vary
from graph_metamers.vary.gradients import rendered, sigmoid_pull
from graph_metamers.vary.largest import largest
from graph_metamers.vary.pairs import edge_attributes, is_symmetric
from graph_metamers.vary.rewiring import Rewiring

DENSE_NODES = 6000  # of which a matrix holds 144 MB
NEVER = -1e6  # a soft value whose sigmoid is 0


@dataclass(frozen=True)
class Edges(Vary):
    """The edges vary; their number stays.

    Which nodes are joined is free, or free as far as every node keeps its degree. Self-loops of
    the reference stay; no others come. An undirected reference has undirected metamers, one with
    two sides such as users and items keeps them, and no edge leaves its graph of a batch. An edge
    that comes takes over the attributes (weight, type) of the one whose place it takes.

    `EdgeSwap` moves edges of graphs of any size and with any model. Up to 6000 nodes `Adam`
    relaxes them instead, as the paper does: every pair of nodes has a soft value, at first from
    N(0, 1),

        P = sigmoid(slope · A_soft)   (Eq. 11),   A' = P + stopgrad(A_hard − P)   (Eq. 12),

    symmetric and without self-loops, A_hard the reference's number of largest entries of P.

    Args:
        degrees: "free", or "fixed": every node keeps its degree (of directed edges, both).
        keep: The greatest share of the reference's edges that may stay, 0 to 1; 0 asks for a
            wholly new set of edges.
        slope: s > 0 of Eq. 11, where edges are relaxed.

    Raises:
        InputError: A setting is out of range, or (on use) the reference has repeated edges or no
            room for other edges.

    Example:
        >>> ring = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
        >>> from torch_geometric.data import Data
        >>> inputs = Inputs(Data(x=torch.eye(6), edge_index=torch.cat([ring, ring.flip(0)], 1)))
        >>> vary, generator = Edges(degrees="fixed"), torch.Generator().manual_seed(0)
        >>> edges = vary.random(inputs, "edge_index", generator)["edge_index"]
        >>> edges.shape, torch.bincount(edges[1])
        (torch.Size([2, 12]), tensor([2, 2, 2, 2, 2, 2]))
    """

    degrees: Literal["free", "fixed"] = "free"
    keep: float = 1.0
    slope: float = 1.0

    attribute: ClassVar[str] = "edge_index"
    kind: ClassVar[Kind] = "structure"
    noun: ClassVar[str] = "edges"

    @property
    def moves_edges(self) -> bool:
        """Always."""
        return True

    def __post_init__(self) -> None:
        if self.degrees not in ("free", "fixed"):
            raise InputError(f"degrees must be 'free' or 'fixed'; got {self.degrees!r}.")
        check_number("keep", self.keep, 0, 1)
        check_positive("slope", self.slope)

    def keys(self, inputs: Inputs) -> list[str]:
        found = super().keys(inputs)
        if len(found) > 1:
            named = listing(found)
            raise InputError(
                f"The data has edges of {len(found)} types; say which vary, as in "
                f"vary={{'{found[0]}': Edges()}}. They are {named}."
            )
        return found

    def check(self, inputs: Inputs, at: str) -> None:
        if at not in inputs:
            raise InputError(
                f"Edges needs {inputs.spelled(at)}; data has only adj_t. Set "
                "data.edge_index, data.edge_weight = "
                "torch_geometric.utils.to_edge_index(data.adj_t.t())."
            )
        if inputs[at].layout != torch.strided or inputs[at].shape[:1] != (2,):
            raise InputError(
                f"Edges varies an edge_index, int64 [2, edges]; {inputs.spelled(at)} is "
                f"{describe(inputs[at])}. A matrix of all pairs cannot vary: hand in edge_index, "
                "and say with forward= how the matrix is made of it."
            )
        check_distinct(inputs, at, "Edges")
        edges, (source, target) = inputs[at], inputs.ends(at)
        senders, receivers = inputs.nodes(source), inputs.nodes(target)
        proper = edges.shape[1] if source != target else int((edges[0] != edges[1]).sum())
        room = senders * (receivers if source != target else receivers - 1)
        if not 0 < proper < room:
            raise InputError(
                f"Edges needs some pairs of nodes joined and some not; {proper} of {room} are, "
                "which leaves nothing to exchange."
            )

    def random(self, inputs: Inputs, at: str, generator: torch.Generator) -> Changed:
        self.check(inputs, at)
        rewiring = Rewiring(inputs, at)
        self.scatter(rewiring, generator)
        return rewiring.changed()

    def scatter(self, rewiring: Rewiring, generator: torch.Generator) -> None:
        """Put random edges in the place of the reference's.

        Raises:
            InputError: None were found that keep as few as asked.
        """
        put = rewiring.scramble if self.degrees == "fixed" else rewiring.scatter
        put(generator, keep=float(self.keep))
        left = rewiring.surplus(float(self.keep))
        if left:
            raise InputError(
                f"keep={self.keep:g} was not reached: {left} more of the reference's "
                f"{rewiring.pairs.shape[1]} edges had to stay. Allow more"
                + (", or degrees='free'." if self.degrees == "fixed" else ".")
            )

    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> "DenseVariable":
        self.check(inputs, at)
        edges, (source, target) = inputs[at], inputs.ends(at)
        nodes = inputs.nodes(source)
        plain = source == target and inputs.graphs == 1 and "x" in inputs
        if self.degrees != "free" or self.keep < 1 or not plain or edge_attributes(inputs, at):
            raise InputError(
                "The dense relaxation of Eqs. 11–12 keeps the number of edges and nothing else: "
                f"it needs Edges(), nodes of one type with x, and one graph without edge "
                f"attributes; got {self!r}. Let the edges alone vary, with search=EdgeSwap()."
            )
        if nodes > DENSE_NODES:
            raise InputError(
                f"The dense relaxation of Eqs. 11–12 holds a value for every pair of up to "
                f"{DENSE_NODES} nodes; data has {nodes}. Use search=EdgeSwap()."
            )
        if bool((edges[0] == edges[1]).any()) or not is_symmetric(edges, nodes):
            raise InputError(
                "The dense relaxation of Eqs. 11–12 needs undirected edges without self-loops. "
                "Use torch_geometric.utils.to_undirected and remove_self_loops before training, "
                "or search=EdgeSwap()."
            )
        return DenseVariable(self, inputs, at, generator)


class DenseVariable(Variable):
    """One run of `Edges`: a soft value for every pair of nodes (Eqs. 11–12).

    The graph that it renders has `soft_adjacency` [nodes, nodes], through which the gradient
    reaches the soft values (see `graph_metamers.vary.operators`).
    """

    def __init__(self, vary: Edges, inputs: Inputs, at: str, generator: torch.Generator) -> None:
        x = inputs["x"]
        nodes = len(x)
        self._vary, self._at = vary, at
        soft = torch.randn(nodes, nodes, generator=generator, dtype=x.dtype).to(x.device)
        # Each pair once: below the diagonal P is 0, and so is its gradient.
        below = torch.ones_like(soft, dtype=torch.bool).tril()
        soft.masked_fill_(below, NEVER)
        self._edges = inputs[at].shape[1] // 2
        # The largest values go to the pairs of the graph that `Edges.random` draws.
        rewiring = Rewiring(inputs, at)
        vary.scatter(rewiring, torch.Generator().manual_seed(generator.initial_seed()))
        u, v = rewiring.pairs.sort(dim=0).values
        wanted = torch.zeros(nodes * nodes, dtype=torch.bool, device=x.device)
        there = wanted.clone()
        wanted[u * nodes + v] = True
        there[largest(soft.view(-1), self._edges)] = True
        come, go = ((a & ~b).nonzero().view(-1) for a, b in ((wanted, there), (there, wanted)))
        soft.view(-1)[torch.cat([come, go])] = soft.view(-1)[torch.cat([go, come])]
        self._soft = soft.requires_grad_()
        self.parameters = [self._soft]

    def render(self) -> Changed:
        chosen = largest(self._soft.detach().view(-1), self._edges)
        hard = torch.zeros_like(self._soft)
        hard.view(-1)[chosen] = 1
        upper = rendered(self._soft, hard, torch.empty_like(hard), sigmoid_pull(self._vary.slope))
        return {ADJACENCY: upper + upper.T}

    def kept(self, changed: Changed) -> Changed:
        return {self._at: changed[ADJACENCY].detach().nonzero().T.contiguous()}


def check_distinct(inputs: Inputs, at: str, what: str) -> None:
    """Raise where an edge is there twice."""
    edges, said = inputs[at], inputs.spelled(at)
    keys = edges[0] * (int(edges.max()) + 1 if edges.numel() else 1) + edges[1]
    repeated = len(keys) - len(keys.unique())
    if repeated:
        values = [inputs.spelled(key) for key in edge_attributes(inputs, at)]
        rest = f"[{', '.join(values)}]" if len(values) > 1 else "".join(values)
        names = f"{said}, {rest}" if rest else said
        where = " in each graph, before it is batched" if inputs.graphs > 1 else ""
        raise InputError(
            f"{what} needs a graph without repeated edges; {repeated} of {len(keys)} are. Use "
            f"{names} = torch_geometric.utils.coalesce({names}){where}."
        )


@dataclass(frozen=True)
class EdgeWeights(Bounded):
    """Real-valued weights of the reference's edges vary within bounds; the edges stay.

    Started at the mean and spread of the reference's weights (ones where it has none) and
    clipped, as features are (Eq. 7). For models that use `edge_weight`; where both directions of
    every edge have the same weight in the reference, they have in the metamer.

    Args:
        low: Least weight, None for no bound.
        high: Greatest weight, None for no bound.
        spread: Standard deviation of the random start, where the reference's weights are all
            the same.

    Raises:
        InputError: The bounds leave nothing between them, or the reference lies outside them.

    Example:
        >>> from torch_geometric.data import Data
        >>> inputs = Inputs(Data(x=torch.eye(2), edge_index=torch.tensor([[0, 1], [1, 0]])))
        >>> vary, generator = EdgeWeights(), torch.Generator().manual_seed(0)
        >>> weight = vary.random(inputs, "edge_weight", generator)["edge_weight"]
        >>> weight[0] == weight[1]
        tensor(True)
    """

    spread: float = 0.5

    attribute: ClassVar[str] = "edge_weight"
    kind: ClassVar[Kind] = "weights"
    noun: ClassVar[str] = "edge weights"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("spread", self.spread)

    def keys(self, inputs: Inputs) -> list[str]:
        found = inputs.edge_keys
        if len(found) != 1:
            raise InputError(
                f"EdgeWeights needs data.edge_index; the data has {listing(found) or 'none'}. Say "
                "which vary, as in vary={'TYPE.edge_weight': EdgeWeights()}."
            )
        return [inputs.beside(found[0], "edge_weight")]

    def prepared(self, inputs: Inputs, at: str) -> Inputs:
        """The same graph with weights: ones where it has none."""
        edges = inputs.beside(at, "edge_index")
        if at in inputs or edges not in inputs:
            return inputs  # what is missing is said later
        floats = [inputs[key] for key in inputs.feature_keys]
        ones = torch.ones(inputs[edges].shape[1], device=inputs[edges].device)
        return inputs.replaced({at: ones.to(floats[0]) if floats else ones})

    def check(self, inputs: Inputs, at: str) -> None:
        edges = inputs.beside(at, "edge_index")
        if edges not in inputs:
            raise InputError(f"EdgeWeights needs {inputs.spelled(edges)}; data has only adj_t.")
        check_distinct(inputs, edges, "EdgeWeights")
        weight, said = self.prepared(inputs, at)[at], inputs.spelled(at)
        if weight.dim() != 1 or not weight.is_floating_point():
            raise InputError(
                f"EdgeWeights needs {said} as one real number an edge; got {describe(weight)}."
            )
        self.check_within(weight, said)

    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> "WeightVariable":
        self.check(inputs, at)
        return WeightVariable(self, self.prepared(inputs, at), at, generator)


class WeightVariable(Variable):
    """One run of `EdgeWeights`: a soft weight for each edge, or pair of opposite edges."""

    def __init__(
        self, vary: EdgeWeights, inputs: Inputs, at: str, generator: torch.Generator
    ) -> None:
        self._limits, self._at = vary.limits, at
        weight = inputs[at].detach()
        edges = inputs[inputs.beside(at, "edge_index")]
        self._pair = _pairs(edges, weight, int(edges.max()) + 1)
        # The deviation of equal numbers is not quite 0 in floating point.
        deviation = 0.0 if bool((weight == weight[0]).all()) else float(weight.std())
        count = int(self._pair.max()) + 1
        noise = torch.randn(count, generator=generator, dtype=weight.dtype).to(weight.device)
        soft = weight.mean() + (deviation or vary.spread) * noise
        self._soft = soft.requires_grad_()
        self.parameters = [self._soft]

    def render(self) -> Changed:
        return {self._at: self._soft.clamp(*self._limits)[self._pair]}


def _pairs(edges: Tensor, weight: Tensor, nodes: int) -> Tensor:
    """A number for each edge, the same for both directions where their weights are."""
    keys, turned = edges[0] * nodes + edges[1], edges[1] * nodes + edges[0]
    order, back = keys.argsort(), turned.argsort()
    if torch.equal(keys[order], turned[back]) and torch.equal(weight[order], weight[back]):
        keys = torch.minimum(keys, turned)
    return keys.unique(return_inverse=True)[1]
