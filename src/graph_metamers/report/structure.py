"""Edges as plots: where they are, those of one node, whole small graphs, and the degrees.

As everywhere, blue is the reference, orange the metamer, and grey what both share.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graph_metamers.errors import InputError, listing
from graph_metamers.inputs import Inputs
from graph_metamers.report.pictures import (
    Crop,
    Picture,
    class_axis,
    node_classes,
    pair_of,
    plot_crop,
)
from graph_metamers.report.style import (
    DASHED,
    METAMER,
    MUTED,
    PAPER,
    REFERENCE,
    SERIES,
    SHARED,
    label_axes,
    legend,
    log_axis,
    set_title,
    styled,
)
from graph_metamers.report.words import noun, run_title
from graph_metamers.result import Metamer
from graph_metamers.vary.pairs import two_sides

PAIRS, CELLS = 200, 110  # nodes up to which each has a row; else rows of many nodes
NEIGHBOURS = 12
DRAWN_NODES = 60
HEAVY = 8  # times the median is the greatest degree of a heavy-tailed graph

Pair = tuple[int, int]


def plot_adjacency(
    metamer: Metamer,
    show: Picture = "difference",
    ax: Axes | None = None,
    *,
    at: str | None = None,
    graph: int | None = None,
) -> Axes:
    """Edges as a picture: rows are senders, columns receivers, a cell a pair of nodes.

    Over 200 nodes a cell stands for many pairs. The nodes stand by class, then by their degree in
    the reference, the greatest first; without classes by the side of a graph that has two. The
    three pictures show them in the same order. Where edge weights varied a cell is their sum.

    Args:
        metamer: The metamer.
        show: "reference", "metamer" or "difference": blue where the reference has an edge (or
            more of them), orange where the metamer does, grey where both have the same one.
        ax: Axes to draw on; new ones by default.
        at: The input, such as `author-writes-paper.edge_index`; by default the first that varied.
        graph: The graph of a batch; by default all together.

    Returns:
        The axes. Opacity is the number of edges in a cell, up to the 99th percentile.
    """
    ax = styled(ax)
    crop = adjacency(metamer, at, graph)
    plot_crop(ax, crop, show, metamer, graph)
    ax.set_aspect("equal", adjustable="box")
    class_axis(ax, crop.classes, both=crop.reference.shape[0] == crop.reference.shape[1])
    label_axes(ax, *crop.names)
    return ax


def adjacency(metamer: Metamer, at: str | None = None, graph: int | None = None) -> Crop:
    """How many edges there are in each cell of a picture of both graphs, or their weight."""
    before, after, at = pair_of(metamer, at, graph)
    weighted = not at.endswith("edge_index")
    senders, receivers = (_Order.of(before, at, end) for end in (0, 1))
    counts: list[NDArray[np.float64]] = []
    for each in (before, after):
        source, target = edges_at(each, at)
        cells = senders.cell[source] * receivers.cells + receivers.cell[target]
        weights = each[at].detach().double().cpu().reshape(len(source), -1).sum(1).numpy()
        size = senders.cells * receivers.cells
        found = np.bincount(cells, weights if weighted else None, minlength=size)
        counts.append(found.astype(float).reshape(senders.cells, receivers.cells))
    return Crop.made(
        *counts,
        classes=senders.classes,
        names=(f"{receivers.name}, receiving", f"{senders.name}, sending"),
    )


@dataclass(frozen=True)
class _Order:
    """In which row or column each node of an end stands."""

    cell: NDArray[np.int64]
    cells: int
    classes: NDArray[np.int64] | None
    name: str

    @classmethod
    def of(cls, inputs: Inputs, at: str, end: int) -> "_Order":
        kind = inputs.ends(index_of(inputs, at))[end]
        edges, nodes = edges_at(inputs, at), inputs.nodes(kind)
        one_kind = len(set(inputs.ends(index_of(inputs, at)))) == 1
        degree = np.bincount(edges[1 if one_kind else end], minlength=nodes)
        classes, by = node_classes(inputs, kind), "class, then degree"
        if classes is None and one_kind:
            classes, by = two_sides(torch.from_numpy(edges), nodes), "side, then degree"
        groups = None if classes is None else classes.numpy()
        order = np.lexsort((-degree,) if groups is None else (-degree, groups))
        cells = nodes if nodes <= PAIRS else CELLS
        cell = np.empty(nodes, dtype=np.int64)
        cell[order] = np.arange(nodes) * cells // nodes
        first = order[-(-np.arange(cells) * nodes // cells)]  # the first node of each cell
        name = f"{nodes:,} {f'{kind} nodes'.strip()}, by {'degree' if groups is None else by}"
        return cls(cell, cells, None if groups is None else groups[first], name)


def plot_graph(
    metamer: Metamer,
    show: Picture = "difference",
    ax: Axes | None = None,
    *,
    graph: int | None = None,
    node: int | None = None,
) -> Axes:
    """A small graph, or a node and its neighbours, at the same places in all three pictures.

    Args:
        metamer: The metamer.
        show: "reference", "metamer" or "difference", which has the edges of both.
        ax: Axes to draw on; new ones by default.
        graph: The graph of a batch.
        node: Draw this node and at most 12 of those joined to it in either graph.

    Returns:
        The axes. Edges of both graphs are grey, those of the reference alone blue and dashed,
        those of the metamer alone orange. A node whose features differ has a ring. Its colour is
        its class in `y`; without classes, the one feature that each node has.

    Raises:
        InputError: The graph has nodes of several types, no edges, more than 60 nodes where no
            node is named, or not that node.
    """
    before, after, _ = pair_of(metamer, None, graph)
    nodes = before.nodes(before.node_types[0])
    if not is_drawable(before, nodes if node is None else 0):
        raise InputError(
            f"plot_graph draws graphs of one node type, with edge_index and at most {DRAWN_NODES} "
            f"nodes; this one has {nodes:,} and {listing(before.keys)}. Name a node=, or use "
            "plot_adjacency or plot_features."
        )
    if node is not None and not 0 <= node < nodes:
        raise InputError(f"node must be one of the graph's, 0 to {nodes - 1}; got {node}.")
    ax = styled(ax)
    ax.set_axis_off()
    ax.set_aspect("equal")
    pairs = [_joined(each) for each in (before, after)]
    shown = range(nodes) if node is None else _around(node, *pairs)
    places = _places(shown, pairs[0] if node is None else pairs[0] | pairs[1])
    for pair in sorted(pairs[0] | pairs[1]):
        look = _look(pair, show, *pairs)
        if look is not None and set(pair) <= places.keys():
            color, style = look
            ends = np.array([places[one] for one in pair]).T
            ax.plot(*ends, color=color, linestyle=style, linewidth=1.5, zorder=2)
    changed, fills = _node_looks(before, after, show)
    for one, place in places.items():
        ax.scatter(
            *place,
            s=110 if one == node else 50,
            c=fills[one],
            edgecolors=METAMER if changed[one] else PAPER,
            linewidths=1.8 if changed[one] else 0.8,
            zorder=3,
        )
    title = run_title(metamer, show, graph)
    set_title(ax, title if node is None else f"Node {node}, {title[0].lower()}{title[1:]}")
    return ax


def is_drawable(inputs: Inputs, nodes: int | None = None) -> bool:
    """Whether `plot_graph` can draw a graph, or so many nodes of it."""
    if inputs.node_types != [""] or "edge_index" not in inputs:
        return False
    return (inputs.nodes() if nodes is None else nodes) <= DRAWN_NODES


def plot_degrees(metamer: Metamer, ax: Axes | None = None, *, at: str | None = None) -> Axes:
    """What share of the nodes has at least which degree, in the reference and in the metamer.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.
        at: The edges; by default the first input that varied.

    Returns:
        The axes, logarithmic where the greatest degree is over eight times the median. The degree
        is the number of edges that end at a node.
    """
    ax = styled(ax)
    before, after, at = pair_of(metamer, at, None)
    nodes = before.nodes(before.ends(at)[1])
    both = [np.bincount(edges_at(each, at)[1], minlength=nodes) for each in (before, after)]
    same = bool((both[0] == both[1]).all())
    lines: list[Line2D] = []
    looks: tuple[dict[str, Any], ...] = (
        {"color": REFERENCE, "linewidth": 3.2, "label": "reference"},
        {"color": METAMER, "linewidth": 1.4, "label": noun(metamer)},
    )
    for degree, look in zip(both, looks, strict=True):
        values, counts = np.unique(degree, return_counts=True)
        share = counts[::-1].cumsum()[::-1] / nodes
        lines += ax.step([*values, values[-1]], [*share, 0], where="pre", **look)
    lines[1].set_linestyle(DASHED if same else "-")
    most = max(int(degree.max()) for degree in both)
    if most > HEAVY * max(1.0, float(np.median(both[0]))):
        log_axis(ax, "x", 0.9, most * 1.3)
        log_axis(ax, "y", 0.6 / nodes, 1.6)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_ylim(0, 1.05)
    label_axes(ax, "degree", "share with at least this degree")
    fate = "every node keeps its own" if same else f"{nodes:,} nodes"
    set_title(ax, f"Seed {metamer.seed}: {fate}")
    legend(ax, lines)
    return ax


def index_of(inputs: Inputs, at: str) -> str:
    """The name of the edges that an input belongs to."""
    return inputs.beside(at, "edge_index")


def edges_at(inputs: Inputs, at: str) -> NDArray[np.int64]:
    """Where each edge begins and ends, [2, edges].

    Raises:
        InputError: The data has none.
    """
    return inputs[index_of(inputs, at)].detach().cpu().numpy()


def _joined(inputs: Inputs) -> set[Pair]:
    """The pairs of nodes, each once, that an edge joins."""
    ends = np.sort(edges_at(inputs, "edge_index"), axis=0).T
    return {(int(low), int(high)) for low, high in ends if low != high}


def _around(node: int, before: set[Pair], after: set[Pair]) -> list[int]:
    """A node and at most 12 neighbours: kept, removed and added ones in turn."""
    sorts = (before & after, before - after, after - before)
    near = [sorted(sum(pair) - node for pair in pairs if node in pair) for pairs in sorts]
    turns = itertools.chain(*itertools.zip_longest(*near))
    return [node, *[one for one in turns if one is not None][:NEIGHBOURS]]


def _places(nodes: Iterable[int], pairs: set[Pair]) -> dict[int, NDArray[np.float64]]:
    import networkx as nx  # matrices need none

    drawn = nx.Graph()
    drawn.add_nodes_from(nodes)
    drawn.add_edges_from(sorted(pair for pair in pairs if set(pair) <= set(drawn)))
    return nx.spring_layout(drawn, seed=0, iterations=100)


def _look(pair: Pair, show: Picture, before: set[Pair], after: set[Pair]) -> tuple[str, Any] | None:
    """Colour and line of an edge; None where the picture does not have it."""
    if pair in before and pair in after:
        return SHARED, "-"
    if pair in before:
        return None if show == "metamer" else (REFERENCE, DASHED)
    return None if show == "reference" else (METAMER, "-")


def _node_looks(before: Inputs, after: Inputs, show: Picture) -> tuple[list[bool], list[str]]:
    """Which nodes have other features, and each node's colour."""
    nodes = before.nodes()
    both = [each["x"].detach().cpu() for each in (before, after) if "x" in each.feature_keys]
    changed = (both[0] != both[1]).any(1).tolist() if both else [False] * nodes
    kinds = node_classes(before)
    if kinds is None and both and all(bool(((x != 0).sum(1) == 1).all()) for x in both):
        kinds = both[0 if show == "reference" else 1].abs().argmax(1)
    if kinds is None:
        return changed, [MUTED] * nodes
    return changed, [SERIES[int(kind) % len(SERIES)] for kind in kinds]
