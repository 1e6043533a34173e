"""The edges of a graph as pairs of nodes."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch_geometric.utils import to_scipy_sparse_matrix

from graph_metamers.inputs import Inputs
from graph_metamers.vary.base import Changed

Pairs = Int[Tensor, "2 pairs"]


class EdgePairs:
    """The edges of one type as pairs of nodes.

    Self-loops stay. Of an undirected graph a pair (u, v) stands for both directions. Edges stay
    within their graph of a batch; those between two node types, and those of a graph with two
    sides of which none has edges within, stay between them. An edge that comes takes over the
    attributes of the one whose place it takes.

    Args:
        inputs: The reference, without repeated edges.
        at: The name of its `edge_index`.

    Attributes:
        senders: Nodes that edges lead from.
        receivers: Nodes that they lead to.
        offset: What is added to the number of a receiver, so that it is not that of a sender:
            zero where both are of one type.
        nodes: How many numbers of nodes there are.
        graphs: How many graphs.
        pairs: The edges as pairs, [2, pairs].
        graph_of_pairs: The graph of each pair.
        undirected: Whether each pair stands for both directions.
    """

    def __init__(self, inputs: Inputs, at: str) -> None:
        edges = inputs[at]
        source, target = inputs.ends(at)
        self.senders, self.receivers = inputs.nodes(source), inputs.nodes(target)
        self.offset = self.senders if source != target else 0
        self.nodes = self.senders + self.receivers if self.offset else self.senders
        self.graphs = inputs.graphs
        self._at = at
        edges = edges + edges.new_tensor([[0], [self.offset]])
        self.undirected = not self.offset and is_symmetric(edges, self.nodes)

        graph = inputs.graph_of_nodes(source)
        if self.offset:
            graph = torch.cat([graph, inputs.graph_of_nodes(target)])
        sides = self._sides(inputs, edges)
        self._sided = sides is not None
        proper = edges[0] < edges[1] if self.undirected else edges[0] != edges[1]
        if sides is not None and self.undirected:
            proper = sides[edges[0]] < sides[edges[1]]
        loops = edges[0] == edges[1]
        self.pairs, self._loops = edges[:, proper].clone(), edges[:, loops]
        self.graph_of_pairs = graph[self.pairs[0]]
        self._groups = graph if sides is None else 2 * graph + sides
        columns = self._columns(edges, proper, loops)
        self._attributes = {key: inputs[key][columns] for key in edge_attributes(inputs, at)}
        self._mirrors = _mirrors(inputs, at)
        for key, order in self._mirrors.items():  # edges the other way, and their attributes
            for name in edge_attributes(inputs, key):
                self._attributes[name] = inputs[name][order[columns]]
        self._order = self._by_graph(graph)

        self._sorted = self.keys(self.pairs).sort().values
        self._reference = self._sorted

    def _sides(self, inputs: Inputs, edges: Tensor) -> Int[Tensor, " nodes"] | None:
        """0 or 1 for each node where all edges lead from one side to the other.

        The sides are those of `node_type` where the data has two. Otherwise, which side an
        isolated node is on has to be guessed: by its number, where one side comes first.
        """
        if self.offset:
            return (torch.arange(self.nodes, device=edges.device) >= self.senders).long()
        if not self.undirected or bool((edges[0] == edges[1]).any()):
            return None
        kinds = inputs.get("node_type")
        if isinstance(kinds, Tensor) and kinds.shape == (self.nodes,):
            u, v = kinds[edges]
            if len(kinds.unique()) == 2 and bool((u != v).all()):
                return (kinds == kinds.max()).long()
        return two_sides(edges, self.nodes)

    def _columns(self, edges: Tensor, proper: Tensor, loops: Tensor) -> Int[Tensor, " edges"]:
        """The reference's columns, in the order in which `changed` writes the edges."""
        columns = [proper.nonzero().view(-1)]
        if self.undirected:
            keys = edges[0] * self.nodes + edges[1]
            order = keys.argsort()
            back = self.pairs[1] * self.nodes + self.pairs[0]
            columns.append(order[torch.searchsorted(keys[order], back)])
        columns.append(loops.nonzero().view(-1))
        return torch.cat(columns)

    def _by_graph(self, graph: Tensor) -> Int[Tensor, " edges"] | None:
        """The order of the edges in which those of a graph stand together."""
        if self.graphs == 1:
            return None
        parts = [self.graph_of_pairs] * (2 if self.undirected else 1)
        order = torch.cat([*parts, graph[self._loops[0]]]).argsort(stable=True)
        self._attributes = {key: value[order] for key, value in self._attributes.items()}
        return order

    def keys(self, pairs: Int[Tensor, "2 *some"]) -> Int[Tensor, "*some"]:
        """One number for each pair, the same for (v, u) where edges have no direction."""
        u, v = pairs[0], pairs[1]
        if self.undirected:
            u, v = torch.minimum(u, v), torch.maximum(u, v)
        return u * self.nodes + v

    def changed(self, pairs: Pairs | None = None) -> Changed:
        """The inputs that change when these pairs, by default the present ones, are the edges."""
        pairs = self.pairs if pairs is None else pairs
        parts = [pairs, *([pairs.flip(0)] if self.undirected else []), self._loops]
        edges = torch.cat(parts, dim=1)
        if self._order is not None:
            edges = edges[:, self._order]
        if self.offset:
            edges = edges - edges.new_tensor([[0], [self.offset]])
        mirrored = dict.fromkeys(self._mirrors, edges.flip(0))
        return {self._at: edges} | self._attributes | mirrored

    def in_reference(self, pairs: Int[Tensor, "2 *some"]) -> Bool[Tensor, "*some"]:
        """Which pairs the reference has too."""
        return holds(self._reference, self.keys(pairs))

    def place(self, pairs: Pairs) -> None:
        """Take these pairs for the edges."""
        self.pairs = pairs
        self._sorted = self.keys(pairs).sort().values


def edge_attributes(inputs: Inputs, at: str) -> list[str]:
    """Names of what the edges of an `edge_index` have a row of, each."""
    count, prefix = inputs[at].shape[1], inputs.beside(at, "edge_")
    return [
        key
        for key in inputs.keys
        if key.startswith(prefix)
        and key.rpartition(".")[2] not in ("edge_index", "edge_label", "edge_label_index")
        and inputs[key].shape[:1] == (count,)
    ]


def two_sides(edges: Int[Tensor, "2 edges"], nodes: int) -> Int[Tensor, " nodes"] | None:
    """0 or 1 for each node such that every edge joins a 0 and a 1; None where there is no way.

    A graph has two sides where in its double cover, two copies of each node with every edge leading
    from one copy to the other, no node is connected with its own copy. Where all nodes of one side
    are numbered before those of the other, nodes without edges are on the side of their number.

    >>> two_sides(torch.tensor([[0, 1], [1, 2]]), 3), two_sides(torch.tensor([[0], [0]]), 1)
    (tensor([0, 1, 0]), None)
    """
    from scipy.sparse.csgraph import connected_components

    low, high = edges.aminmax(dim=0)
    if edges.shape[1] and bool(low.max() < high.min()):
        return (torch.arange(nodes, device=edges.device) >= high.min()).long()
    u, v = edges.cpu()
    cover = torch.stack([torch.cat([u, u + nodes]), torch.cat([v + nodes, v])])
    _, label = connected_components(
        to_scipy_sparse_matrix(cover, num_nodes=2 * nodes), directed=False
    )
    own, copy = torch.as_tensor(label[:nodes]), torch.as_tensor(label[nodes:])
    return None if bool((own == copy).any()) else (own > copy).long().to(edges.device)


def _mirrors(inputs: Inputs, at: str) -> dict[str, Int[Tensor, " edges"]]:
    """Names of edges that are the same pairs turned round, with their column for each of `at`."""
    source, target = inputs.ends(at)
    edges, nodes = inputs[at], max(inputs.nodes(source), inputs.nodes(target))
    wanted = edges[1] * nodes + edges[0]
    found: dict[str, Tensor] = {}
    for key in inputs.edge_keys:
        if key == at or inputs.ends(key) != (target, source) or inputs[key].shape != edges.shape:
            continue
        held, order = (inputs[key][0] * nodes + inputs[key][1]).sort()
        if torch.equal(held, wanted.sort().values):
            found[key] = order[torch.searchsorted(held, wanted)]
    return found


def is_symmetric(edges: Int[Tensor, "2 edges"], nodes: int) -> bool:
    """Whether every edge also goes the other way."""
    return _same(edges, edges.flip(0), nodes)


def _same(edges: Tensor, others: Tensor, nodes: int) -> bool:
    """Whether two sets of edges are the same."""
    sets = [(ends[0] * nodes + ends[1]).unique() for ends in (edges, others)]
    return torch.equal(*sets)


def holds(values: Int[Tensor, " sorted"], keys: Tensor) -> Tensor:
    """Which keys are among the values."""
    places = torch.searchsorted(values, keys.contiguous()).clamp(max=len(values) - 1)
    return values[places] == keys
