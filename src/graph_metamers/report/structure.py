"""Small graphs, a node and its neighbours, and degrees, as plots."""

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from graph_metamers.inputs import Inputs
from graph_metamers.report.pictures import Picture, both, edges_at, node_classes
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
)
from graph_metamers.report.words import noun, run_title
from graph_metamers.result import Metamer

NEIGHBOURS = 12
DRAWN_NODES = 60
HEAVY = 8  # times the median is the greatest degree of a heavy-tailed graph

Pair = tuple[int, int]


def plot_graph(
    metamer: Metamer, show: Picture, ax: Axes, *, graph: int | None = None, node: int | None = None
) -> None:
    """A small graph, or a node and its neighbours, at the same places in all three pictures.

    Edges of both graphs are grey, those of the reference alone blue and dashed, those of the
    metamer alone orange. A node whose features differ has a ring. Its colour is its class in `y`;
    without classes, the one feature that each node has.
    """
    before, after = both(metamer, graph)
    old, new = (_joined(each) for each in (before, after))
    shown = range(before.nodes()) if node is None else _around(node, old, new)
    places = _places(shown, old if node is None else old | new)
    looks: list[tuple[set[Pair], str, Any]] = [(old & new, SHARED, "-")]
    if show != "metamer":
        looks.append((old - new, REFERENCE, DASHED))
    if show != "reference":
        looks.append((new - old, METAMER, "-"))
    for pairs, color, style in looks:
        for pair in sorted(pairs):
            if set(pair) <= places.keys():
                ends = np.array([places[one] for one in pair]).T
                ax.plot(*ends, color=color, linestyle=style, linewidth=1.5, zorder=2)
    changed, fills = _node_looks(before, after, show)
    nodes = list(places)
    ax.scatter(
        *np.array([places[one] for one in nodes]).T,
        s=[110 if one == node else 50 for one in nodes],
        c=[fills[one] for one in nodes],
        edgecolors=[METAMER if changed[one] else PAPER for one in nodes],
        linewidths=[1.8 if changed[one] else 0.8 for one in nodes],
        zorder=3,
    )
    ax.set_axis_off()
    ax.set_aspect("equal")
    title = run_title(metamer, show, graph)
    set_title(ax, title if node is None else f"Node {node}, {title[0].lower()}{title[1:]}")


def is_drawable(inputs: Inputs) -> bool:
    """Whether `plot_graph` can draw a graph whole."""
    one_kind = inputs.node_types == [""] and "edge_index" in inputs
    return one_kind and inputs.nodes() <= DRAWN_NODES


def plot_degrees(metamer: Metamer, ax: Axes) -> None:
    """What share of the nodes has at least which number of incoming edges, in both graphs.

    Logarithmic where the greatest degree is over eight times the median.
    """
    at, before = next(iter(metamer.varied)), metamer.original
    nodes = before.nodes(before.ends(at)[1])
    ends = [edges_at(each, at)[1] for each in (before, metamer.inputs)]
    degrees = [np.bincount(each, minlength=nodes) for each in ends]
    same = bool((degrees[0] == degrees[1]).all())
    looks: tuple[dict[str, Any], ...] = (
        {"color": REFERENCE, "linewidth": 3.2, "label": "reference"},
        {
            "color": METAMER,
            "linewidth": 1.4,
            "label": noun(metamer),
            "linestyle": DASHED if same else "-",
        },
    )
    for degree, look in zip(degrees, looks, strict=True):
        values, counts = np.unique(degree, return_counts=True)
        share = counts[::-1].cumsum()[::-1] / nodes
        ax.step([*values, values[-1]], [*share, 0], where="pre", **look)
    most = max(int(degree.max()) for degree in degrees)
    if most > HEAVY * max(1.0, float(np.median(degrees[0]))):
        log_axis(ax, "x", 0.9, most * 1.3)
        log_axis(ax, "y", 0.6 / nodes, 1.6)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_ylim(0, 1.05)
    label_axes(ax, "degree", "share with at least this degree")
    fate = "every node keeps its own" if same else f"{nodes:,} nodes"
    set_title(ax, f"Seed {metamer.seed}: {fate}")
    legend(ax)


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
