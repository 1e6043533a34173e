"""How similar the edges of two graphs over the same nodes are.

All take the edges of the reference and of the other graph as PyG keeps them, each undirected one
twice.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from graph_metamers.errors import InputError, check_count

Edges = Int[Tensor, "2 _"]

ISOMORPHISM_NODES = 500
ATTEMPTS = 1000  # to match two graphs node by node


def structure_similarity(
    edges: Edges,
    other: Edges,
    nodes: int,
    *,
    iterations: int = 4,
    labels: Int[Tensor, " nodes"] | None = None,
) -> float:
    """Weisfeiler–Lehman subtree kernel of two graphs, S_struct (Eq. 16).

        k(G, G') = Σ_t ⟨φ_t(G), φ_t(G')⟩,   S_struct = k(G, G') / √(k(G, G) k(G', G'))

    φ_t counts the colours after t rounds of refinement, in which a node's new colour stands for
    its own and those of the nodes that send to it. Time and memory O(iterations · edges).

    Args:
        edges: Edges of one graph.
        other: Edges of the other.
        nodes: How many nodes both have.
        iterations: Rounds of refinement after the first labels.
        labels: First labels; by default the degrees, as in the paper.

    Returns:
        In [0, 1]; 1 for isomorphic graphs. Never read it alone: a random graph with Cora's
        number of edges has 0.9 and shares 0.2 % of them. See `edge_overlap`.

    Example:
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> turned = torch.tensor([[1, 0, 0, 2], [0, 1, 2, 0]])
        >>> structure_similarity(path, turned, 3)
        1.0
    """
    own = both = others = 0.0
    for colours in _colours(edges, other, nodes, iterations, labels):
        size = int(colours.max()) + 1
        a = torch.bincount(colours[:nodes], minlength=size).double()
        b = torch.bincount(colours[nodes:], minlength=size).double()
        own, both, others = own + float(a @ a), both + float(a @ b), others + float(b @ b)
    return both / math.sqrt(own * others)


def edge_overlap(edges: Edges, other: Edges, nodes: int) -> dict[str, float]:
    """How many edges two graphs have in common.

        kept = |E ∩ E'| / |E|,   Jaccard = |E ∩ E'| / |E ∪ E'|

    Returns:
        `edges_kept` and `edge_jaccard`, both in [0, 1]; 1 is the same graph, 0 no edge in common.
        Repeated edges count once, self-loops not at all. NaN where the reference has none.

    Example:
        >>> edge_overlap(torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 2], [1, 0]]), 3)
        {'edges_kept': 0.5, 'edge_jaccard': 0.3333333333333333}
    """
    a, b = (edge_keys(e[:, e[0] != e[1]], nodes).unique() for e in (edges, other))
    shared = int(torch.isin(a, b, assume_unique=True).sum())
    return {
        "edges_kept": shared / len(a) if len(a) else math.nan,
        "edge_jaccard": shared / (len(a) + len(b) - shared) if len(a) else math.nan,
    }


def node_edge_overlap(edges: Edges, other: Edges, nodes: int) -> Float[Tensor, " nodes"]:
    """Share of each node's neighbours that are its neighbours in both graphs.

        |N_v ∩ N'_v| / |N_v ∪ N'_v|,   N_v the nodes that send to v

    Returns:
        One value a node in [0, 1]; 1 is the same neighbours. NaN where a node has none in either.

    Example:
        >>> node_edge_overlap(torch.tensor([[0, 2], [1, 1]]), torch.tensor([[0], [1]]), 3)
        tensor([   nan, 0.5000,    nan], dtype=torch.float64)
    """
    a, b = (edge_keys(e.flip(0), nodes).unique() for e in (edges, other))
    shared = a[torch.isin(a, b, assume_unique=True)]
    common, one, two = (
        torch.bincount(keys // nodes, minlength=nodes).double() for keys in (shared, a, b)
    )
    return common / (one + two - common)


def degree_distance(edges: Edges, other: Edges, nodes: int) -> float:
    """Distance of two degree sequences, whichever node has which degree.

        Σ_i |d_(i) − d'_(i)| / Σ_i d_(i),   d_(1) ≤ d_(2) ≤ … the sorted (in-)degrees:

    the earth mover's distance of the two degree distributions, relative to the mean degree.

    Returns:
        Zero or more; 0 for equal degree sequences; at most 2 for equal numbers of edges.

    Example:
        >>> star = torch.tensor([[0, 1, 0, 2, 0, 3], [1, 0, 2, 0, 3, 0]])
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> degree_distance(star, path, 4)
        0.3333333333333333
    """
    a, b = (_degrees(e, nodes).sort().values for e in (edges, other))
    total = int(a.sum())
    return float((a - b).abs().sum()) / total if total else math.nan


def is_isomorphic(edges: Edges, other: Edges, x: Float[Tensor, "nodes features"]) -> bool | None:
    """Whether two graphs differ only in which of several equal nodes is which.

    With the features fixed, exchanging nodes of equal features and the edges with them gives the
    same graph: a trivial metamer. Colour refinement tells most graphs apart at any size; what it
    cannot is decided exactly up to 500 nodes: a node of one graph is taken for each that looks
    like it in the other, the colours are refined from there, and so on until a match is found or
    none is left, 1000 times at most.

    Returns:
        True, False, or None where it is not known: equal colours in a larger graph, or in one so
        regular that all attempts were spent.

    Example:
        >>> a, b = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, 2], [2, 0]])
        >>> is_isomorphic(a, b, torch.ones(3, 1)), is_isomorphic(a, b, torch.eye(3))
        (True, False)
    """
    nodes = len(x)
    if torch.equal(edge_keys(edges, nodes).unique(), edge_keys(other, nodes).unique()):
        return True
    for labelled in (False, True):  # degrees alone tell most graphs apart
        labels = x.unique(dim=0, return_inverse=True)[1] if labelled else None
        colours = _colours(edges, other, nodes, 10, labels)[-1]
        mine, theirs = colours[:nodes], colours[nodes:]
        if not torch.equal(mine.sort().values, theirs.sort().values):
            return False
    return None if nodes > ISOMORPHISM_NODES else _matched(edges, other, colours)


def edge_keys(edges: Edges, nodes: int) -> Int[Tensor, " edges"]:
    """One number for each edge, source · nodes + target, by which edges are compared.

    Example:
        >>> edge_keys(torch.tensor([[0, 2], [1, 0]]), 3)
        tensor([1, 6])
    """
    if edges.numel() and not (int(edges.min()) >= 0 and int(edges.max()) < nodes):
        raise InputError(
            f"Edges must point to nodes 0 to {nodes - 1}; they go from {int(edges.min())} to "
            f"{int(edges.max())}."
        )
    return edges[0] * nodes + edges[1]


def _matched(edges: Edges, other: Edges, colours: Int[Tensor, " both"]) -> bool | None:
    """Whether some match of nodes of equal colours takes one graph's edges to the other's."""
    nodes = len(colours) // 2
    both, wanted = torch.cat([edges, other + nodes], dim=1), edge_keys(other, nodes).unique()
    waiting: list[tuple[Tensor, list[int]]] = [(colours, [])]
    for _ in range(ATTEMPTS):
        if not waiting:
            return False
        colours, pair = waiting.pop()
        colours = colours.clone()
        colours[pair] = len(colours)  # these two are taken for one another
        colours = _stable(both, colours)
        mine, theirs = colours[:nodes], colours[nodes:]
        order = mine.argsort(stable=True), theirs.argsort(stable=True)
        if not torch.equal(mine[order[0]], theirs[order[1]]):
            continue
        # Any match of equal colours will do where equal ones are twins, or none are left.
        match = torch.empty_like(mine).scatter_(0, *order)
        if torch.equal(edge_keys(match[edges], nodes).unique(), wanted):
            return True
        several = torch.bincount(mine)[mine] > 1
        if bool(several.any()):
            first = int(several.nonzero()[0])
            alike = (theirs == mine[first]).nonzero().view(-1) + nodes
            waiting += [(colours, [first, node]) for node in alike.tolist()]
    return None


def _stable(edges: Edges, colours: Int[Tensor, " nodes"]) -> Int[Tensor, " nodes"]:
    """The colours, refined by those of a node's senders and receivers until none is split."""
    count, colours = 0, colours.unique(return_inverse=True)[1]
    while int(colours.max()) >= count:
        count = int(colours.max()) + 1
        colours = _refined(colours, edges, edges.flip(0))
    return colours


def _colours(
    edges: Edges, other: Edges, nodes: int, iterations: int, labels: Tensor | None
) -> list[Int[Tensor, " both"]]:
    """The colours of both graphs' nodes after every round, those of the other behind."""
    check_count("iterations", iterations, least=0)
    if labels is not None and labels.shape != (nodes,):
        raise InputError(
            f"labels must be one whole number a node, [{nodes}]; got {list(labels.shape)}."
        )
    degrees = torch.cat([_degrees(each, nodes) for each in (edges, other)])
    first = degrees if labels is None else labels.long().repeat(2)
    # Both graphs are refined as one of twice the nodes.
    both = torch.cat([edges, other + nodes], dim=1)
    found = [first.unique(return_inverse=True)[1]]
    for _ in range(iterations):
        found.append(_refined(found[-1], both))
    return found


def _refined(colours: Int[Tensor, " nodes"], *along: Edges) -> Int[Tensor, " nodes"]:
    """A new colour for each own one with those of the nodes that send to it.

    A sum of random 64-bit numbers, one for each colour, stands for a multiset of colours: two
    that differ have the same sum with a chance of about 2^-64.
    """
    shape, random = (1 + len(along), int(colours.max()) + 1), torch.Generator().manual_seed(0)
    numbers = torch.randint(-(2**63), 2**63 - 1, shape, generator=random).to(colours.device)
    sums, *sent = numbers[:, colours]
    for numbers, (source, target) in zip(sent, along, strict=True):
        sums = sums.index_add(0, target, numbers[source])
    return sums.unique(return_inverse=True)[1]


def _degrees(edges: Edges, nodes: int) -> Int[Tensor, " nodes"]:
    edge_keys(edges, nodes)
    return torch.bincount(edges[1], minlength=nodes)
