"""Edges vary, the node features stay."""

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_positive
from graph_metamers.vary.base import Variable, Vary
from graph_metamers.vary.largest import largest
from graph_metamers.vary.operators import ADJACENCY, straight_through
from graph_metamers.vary.rewiring import Rewiring, is_symmetric

DENSE_NODES = 6000  # of which a matrix holds 144 MB
NEVER = -1e6  # a soft value whose sigmoid is 0


@dataclass(frozen=True)
class Edges(Vary):
    """The edges vary; their number stays.

    Which nodes are joined is free, or free as far as every node keeps its degree. Self-loops of
    the reference stay; no others come. An undirected reference has undirected metamers.

    `EdgeSwap` moves edges of graphs of any size and with any model. `Blocks` and, up to
    6000 nodes, `Adam` relax them instead; the latter is the paper's: every pair of nodes has a
    soft value, at first from N(0, 1),

        P = sigmoid(slope · A_soft)   (Eq. 11),   A' = P + stopgrad(A_hard − P)   (Eq. 12),

    symmetric and without self-loops, A_hard the reference's number of largest entries of P.

    Args:
        degrees: "free", or "fixed": every node keeps its degree (of directed edges, both).
        keep: The greatest share of the reference's edges that may stay, 0 to 1; 0 asks for a
            wholly new set of edges.
        slope: s > 0 of Eq. 11, where edges are relaxed.

    Raises:
        InputError: A setting is out of range, or (on use) the reference has edge weights or
            attributes, repeated edges, or no room for other edges.

    Example:
        >>> ring = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 0]])
        >>> data = Data(x=torch.eye(6), edge_index=torch.cat([ring, ring.flip(0)], dim=1))
        >>> graph = Edges(degrees="fixed").random(data, torch.Generator().manual_seed(0))
        >>> graph.edge_index.shape, torch.bincount(graph.edge_index[1])
        (torch.Size([2, 12]), tensor([2, 2, 2, 2, 2, 2]))
    """

    degrees: Literal["free", "fixed"] = "free"
    keep: float = 1.0
    slope: float = 1.0

    def __post_init__(self) -> None:
        if self.degrees not in ("free", "fixed"):
            raise InputError(f"degrees must be 'free' or 'fixed'; got {self.degrees!r}.")
        if not 0 <= self.keep <= 1:
            raise InputError(
                f"keep is the share of the edges that may stay, 0 to 1; got {self.keep}."
            )
        check_positive("slope", self.slope)

    def check(self, data: Data) -> None:
        edges = data.edge_index
        if edges is None:
            raise InputError(
                "Edges needs data.edge_index; data has only adj_t. Set "
                "data.edge_index = torch_geometric.utils.to_edge_index(data.adj_t.t())[0]."
            )
        # A graph that was asked remembers, and torch.load then refuses its file: ask a copy.
        kinds = copy.copy(data)
        for name in data.keys():  # noqa: SIM118, a Data is no dictionary
            if name != "edge_index" and kinds.is_edge_attr(name):
                raise InputError(
                    f"Edges cannot vary a graph with data.{name}: an edge that comes has none. "
                    f"Remove it (del data.{name}), or vary=EdgeWeights()."
                )
        check_distinct(data, "Edges")
        nodes = len(data["x"])
        proper = int((edges[0] != edges[1]).sum())
        if not 0 < proper < nodes * (nodes - 1):
            raise InputError(
                f"Edges needs some pairs of nodes joined and some not; {proper} of "
                f"{nodes * (nodes - 1)} are, which leaves nothing to exchange."
            )

    def random(self, data: Data, generator: torch.Generator) -> Data:
        self.check(data)
        rewiring = Rewiring(data)
        self.scatter(rewiring, generator)
        return rewiring.graph()

    def scatter(self, rewiring: Rewiring, generator: torch.Generator) -> None:
        """Put random edges in the place of the reference's.

        Raises:
            InputError: None were found that keep as few as asked.
        """
        if self.degrees == "fixed":
            rewiring.scramble(generator, keep=float(self.keep))
        else:
            rewiring.place(_uniform(rewiring, generator, float(self.keep)))
        left = rewiring.surplus(float(self.keep))
        if left:
            raise InputError(
                f"keep={self.keep:g} was not reached: {left} more of the reference's "
                f"{rewiring.pairs.shape[1]} edges had to stay. Allow more"
                + (", or degrees='free'." if self.degrees == "fixed" else ".")
            )

    def start(self, data: Data, generator: torch.Generator) -> "DenseVariable":
        self.check(data)
        if self.degrees != "free" or self.keep < 1:
            raise InputError(
                "The dense relaxation of Eqs. 11–12 keeps the number of edges and nothing else: "
                f"it needs Edges(); got {self!r}. Use search=EdgeSwap()."
            )
        edges: Tensor = data["edge_index"]
        if len(data["x"]) > DENSE_NODES:
            raise InputError(
                f"The dense relaxation of Eqs. 11–12 holds a value for every pair of up to "
                f"{DENSE_NODES} nodes; data has {len(data['x'])}. Use search=EdgeSwap() or "
                "Blocks()."
            )
        if bool((edges[0] == edges[1]).any()) or not is_symmetric(edges, len(data["x"])):
            raise InputError(
                "The dense relaxation of Eqs. 11–12 needs undirected edges without self-loops. "
                "Use torch_geometric.utils.to_undirected and remove_self_loops before training, "
                "or search=EdgeSwap()."
            )
        return DenseVariable(self, data, generator)


class DenseVariable(Variable):
    """One run of `Edges`: a soft value for every pair of nodes (Eqs. 11–12).

    The graph that it renders has `soft_adjacency` [nodes, nodes], through which the gradient
    reaches the soft values (see `graph_metamers.vary.operators`).
    """

    def __init__(self, vary: Edges, data: Data, generator: torch.Generator) -> None:
        x: Tensor = data["x"]
        nodes = len(x)
        self._vary, self._data = vary, data
        soft = torch.randn(nodes, nodes, generator=generator, dtype=x.dtype).to(x.device)
        # Each pair once: below the diagonal P is 0, and so is its gradient.
        below = torch.ones_like(soft, dtype=torch.bool).tril()
        soft.masked_fill_(below, NEVER)
        self._edges = data["edge_index"].shape[1] // 2
        # The largest values go to the pairs of the graph that `Edges.random` draws.
        rewiring = Rewiring(data)
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

    def render(self) -> Data:
        chosen = largest(self._soft.detach().view(-1), self._edges)
        hard = torch.zeros_like(self._soft)
        hard.view(-1)[chosen] = 1
        graph = copy.copy(self._data)
        upper = straight_through(self._soft, hard, self._vary.slope)
        graph[ADJACENCY] = upper + upper.T
        return graph

    def kept(self, graph: Data) -> Data:
        hard = copy.copy(self._data)
        hard.edge_index = graph[ADJACENCY].detach().nonzero().T.contiguous()
        return hard


def check_distinct(data: Data, what: str) -> None:
    """Raise where an edge is there twice."""
    keys = data["edge_index"][0] * len(data["x"]) + data["edge_index"][1]
    repeated = len(keys) - len(keys.unique())
    if repeated:
        raise InputError(
            f"{what} needs a graph without repeated edges; {repeated} of {len(keys)} are. Use "
            "data.edge_index = torch_geometric.utils.coalesce(data.edge_index)."
        )


def _uniform(rewiring: Rewiring, generator: torch.Generator, keep: float) -> Tensor:
    """As many pairs as the reference has, all equally likely but for those that may not stay."""
    count, nodes = rewiring.pairs.shape[1], rewiring.nodes
    device = rewiring.pairs.device
    found = torch.empty(0, dtype=torch.long, device=device)
    for _ in range(100):
        if len(found) >= count:
            break
        u, v = torch.randint(nodes, (2, 2 * count + 64), generator=generator).to(device)
        pairs = torch.stack([u, v])[:, u != v]
        if keep < 1:
            pairs = pairs[:, ~rewiring.in_reference(pairs)]
        found = torch.cat([found, rewiring.keys(pairs)]).unique()
    order = torch.randperm(len(found), generator=generator)[:count].to(device)
    pairs = torch.stack([found[order] // nodes, found[order] % nodes])
    # A dense graph: what is missing are edges of the reference.
    kept = torch.randperm(count, generator=generator)[: count - len(order)].to(device)
    return torch.cat([pairs, rewiring.pairs[:, kept]], dim=1)


@dataclass(frozen=True)
class EdgeWeights(Vary):
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
        >>> data = Data(x=torch.eye(2), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> variable = EdgeWeights().start(data, torch.Generator().manual_seed(0))
        >>> weight = variable.render().edge_weight
        >>> weight[0] == weight[1]
        tensor(True)
    """

    low: float | None = 0.0
    high: float | None = None
    spread: float = 0.5

    def __post_init__(self) -> None:
        low, high = self.bounds
        if math.isnan(low) or math.isnan(high) or not low < high:
            raise InputError(
                f"low must be less than high; got low={self.low}, high={self.high}. "
                "None leaves a side open."
            )
        check_positive("spread", self.spread)

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest weight, infinite where there is none."""
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    def prepared(self, data: Data) -> Data:
        """The same graph with weights: ones where it has none."""
        if data.get("edge_weight") is not None or data.x is None or data.edge_index is None:
            return data  # what is missing is said later
        graph = copy.copy(data)
        x: Tensor = data["x"]
        graph["edge_weight"] = x.new_ones(data["edge_index"].shape[1])
        return graph

    def check(self, data: Data) -> None:
        if data.edge_index is None:
            raise InputError("EdgeWeights needs data.edge_index; data has only adj_t.")
        check_distinct(data, "EdgeWeights")
        weight: Tensor = self.prepared(data)["edge_weight"]
        if weight.dim() != 1 or not weight.is_floating_point():
            raise InputError(
                "EdgeWeights needs data.edge_weight as one real number an edge; got "
                f"{list(weight.shape)} of {str(weight.dtype).removeprefix('torch.')}."
            )
        low, high = self.bounds
        if float(weight.min()) < low or float(weight.max()) > high:
            raise InputError(
                f"EdgeWeights(low={self.low}, high={self.high}) must hold the reference; "
                f"data.edge_weight goes from {float(weight.min()):.4g} to "
                f"{float(weight.max()):.4g}. Widen the bounds, or use None."
            )

    def start(self, data: Data, generator: torch.Generator) -> "WeightVariable":
        self.check(data)
        return WeightVariable(self, self.prepared(data), generator)


class WeightVariable(Variable):
    """One run of `EdgeWeights`: a soft weight for each edge, or pair of opposite edges."""

    def __init__(self, vary: EdgeWeights, data: Data, generator: torch.Generator) -> None:
        self._bounds, self._data = vary.bounds, data
        weight: Tensor = data["edge_weight"].detach()
        edges, nodes = data["edge_index"], len(data["x"])
        self._pair = _pairs(edges, weight, nodes)
        # The deviation of equal numbers is not quite 0 in floating point.
        deviation = 0.0 if bool((weight == weight[0]).all()) else float(weight.std())
        count = int(self._pair.max()) + 1
        noise = torch.randn(count, generator=generator, dtype=weight.dtype).to(weight.device)
        soft = weight.mean() + (deviation or vary.spread) * noise
        self._soft = soft.requires_grad_()
        self.parameters = [self._soft]

    def render(self) -> Data:
        graph = copy.copy(self._data)
        graph["edge_weight"] = self._soft.clamp(*self._bounds)[self._pair]
        return graph


def _pairs(edges: Tensor, weight: Tensor, nodes: int) -> Tensor:
    """A number for each edge, the same for both directions where their weights are."""
    keys = edges[0] * nodes + edges[1]
    both = edges.amin(dim=0) * nodes + edges.amax(dim=0)
    order, turned = keys.argsort(), (edges[1] * nodes + edges[0]).argsort()
    same = torch.equal(keys[order], (edges[1] * nodes + edges[0])[turned])
    if same and torch.equal(weight[order], weight[turned]):
        keys = both
    return keys.unique(return_inverse=True)[1]
