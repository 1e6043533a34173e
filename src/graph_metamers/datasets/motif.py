"""Whole graphs whose label says whether a house is in them."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.data.data import BaseData

from graph_metamers.datasets.blocks import set_masks
from graph_metamers.errors import InputError, check_count, listing

Target = Literal["presence", "count", "colours"]
TARGETS: tuple[str, ...] = get_args(Target)

# Five nodes and six edges each, two nodes of degree 3 and three of degree 2. A house is a square
# with a roof, which is a triangle. Its double K_{2,3} has no triangle.
HOUSE = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 4, 4]])
DOUBLE = torch.tensor([[0, 0, 0, 1, 1, 1], [2, 3, 4, 2, 3, 4]])
SIZE = 5


def motifs(
    *,
    graphs: int = 500,
    nodes: int | tuple[int, int] = 20,
    target: Target = "presence",
    colours: int = 3,
    seed: int = 0,
) -> Batch:
    """Random graphs, some of which contain a house: a square with a triangle on top.

    A graph is a random connected bipartite graph, to which a house or its double hangs by one
    edge. The double K_{2,3} has as many nodes and edges and the same degrees, so that neither
    counts nor degrees tell the two apart. All nodes of either have one colour, as others may have
    too. A graph with doubles only is bipartite: it has no triangle and hence no house. Each house
    has one triangle, and there are no others.

    Args:
        graphs: Number of graphs.
        nodes: Nodes of a graph, or the least and the greatest number of them.
        target: What `y` says. "presence": whether the one house or double of a graph, of colour 0,
            is a house, which half of the graphs have. "count": how many of the houses or doubles,
            one of each colour, are houses: a regression. "colours": the house of which colours is
            there: several labels.
        colours: Number of colours. That of a node outside of houses and doubles is random.
        seed: Seed of the random numbers. The global random state is left as it was.

    Returns:
        A batch with `x` [nodes, colours], one-hot, undirected `edge_index`, `y` and
        `train_mask`, `val_mask`, `test_mask` [graphs] (60, 20 and 20 %), and `motif_mask`
        [nodes], true in houses and doubles. `y` is int64 [graphs] for "presence", float32
        [graphs] for "count" and float32 [graphs, colours] for "colours".

    Raises:
        InputError: A number is too small, or the target is unknown.

    Example:
        >>> batch = motifs(graphs=10)
        >>> batch.num_graphs, batch.num_nodes, int(batch.y.sum())
        (10, 200, 5)
        >>> motifs(graphs=10, target="colours").y.shape
        torch.Size([10, 3])
    """
    if target not in TARGETS:
        raise InputError(f"target must be one of {listing(TARGETS)}; got {target!r}.")
    check_count("graphs", graphs, least=5)
    check_count("colours", colours)
    places = 1 if target == "presence" else colours
    least, most = (nodes, nodes) if isinstance(nodes, int) else nodes
    check_count("nodes", least, least=SIZE * places + 2)
    check_count("nodes", most, least=least)

    generator = torch.Generator().manual_seed(int(seed))
    houses = torch.randint(2, (graphs, places), generator=generator)
    if target == "presence":
        houses = torch.randperm(graphs, generator=generator)[:, None] % 2
    sizes = torch.randint(least, most + 1, (graphs,), generator=generator)
    y = {"presence": houses[:, 0], "count": houses.sum(1).float(), "colours": houses.float()}
    parts = torch.arange(graphs).tensor_split([graphs * 3 // 5, graphs * 4 // 5])
    whole = Data()
    set_masks(whole, parts, graphs)

    made: list[BaseData] = []
    for g in range(graphs):
        own = _graph(houses[g].tolist(), int(sizes[g]), colours, generator)
        own.y = y[target][g : g + 1]
        for name, mask in whole.to_dict().items():
            own[name] = mask[g : g + 1]
        made.append(own)
    return Batch.from_data_list(made)  # pyright: ignore[reportReturnType]


def _graph(houses: list[int], nodes: int, colours: int, generator: torch.Generator) -> Data:
    """One graph: a bipartite base, and a house or double for each entry of `houses`."""
    base = nodes - SIZE * len(houses)
    colour = torch.randint(colours, (nodes,), generator=generator)
    edges = [_bipartite_base(base, generator)]
    for place, house in enumerate(houses):
        first = base + SIZE * place
        bridge = [[_below(base, generator)], [first + _below(SIZE, generator)]]
        edges += [(HOUSE if house else DOUBLE) + first, torch.tensor(bridge)]
        colour[first : first + SIZE] = place

    pairs = torch.cat(edges, dim=1)
    order = torch.randperm(nodes, generator=generator)
    rank = order.argsort()
    return Data(
        x=torch.nn.functional.one_hot(colour[order], colours).float(),
        edge_index=rank[torch.cat([pairs, pairs.flip(0)], dim=1)],
        motif_mask=order >= base,
    )


def _bipartite_base(nodes: int, generator: torch.Generator) -> Tensor:
    """A random tree with some edges more, all between nodes of even and odd depth: [2, edges]."""
    depth = [0]
    pairs: set[tuple[int, int]] = set()
    for node in range(1, nodes):
        parent = _below(node, generator)
        depth.append(depth[parent] + 1)
        pairs.add((parent, node))
    for _ in range(nodes // 3):
        u, v = sorted((_below(nodes, generator), _below(nodes, generator)))
        if (depth[u] - depth[v]) % 2:
            pairs.add((u, v))
    return torch.tensor(sorted(pairs)).T


def _below(end: int, generator: torch.Generator) -> int:
    return int(torch.randint(end, (), generator=generator))
