"""Edges as plots: where they are, those of one node, and the degrees.

As everywhere, blue is the reference, orange the metamer, and grey what both share.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.report.pictures import Crop, Picture, class_axis, node_classes, plot_crop
from graph_metamers.report.style import (
    DASHED,
    METAMER,
    MUTED,
    PAPER,
    REFERENCE,
    RULE,
    SERIES,
    SHARED,
    label_axes,
    legend,
    log_axis,
    set_title,
    styled,
)
from graph_metamers.report.words import noun, verdict_text
from graph_metamers.result import Metamer

PAIRS, CELLS = 200, 110  # nodes up to which each pair has a cell; else cells of many pairs, a side
NEIGHBOURS = 12
HEAVY = 8  # times the median is the greatest degree of a heavy-tailed graph


def plot_adjacency(metamer: Metamer, show: Picture = "difference", ax: Axes | None = None) -> Axes:
    """Edges as a picture: a cell is a pair of nodes, in graphs of over 200 nodes many pairs.

    The nodes stand by class, then by their degree in the reference, the greatest first; without
    classes in `data.y` by degree. The three pictures show them in the same order.

    Args:
        metamer: The metamer.
        show: "reference", "metamer" or "difference": blue where the reference has an edge (or
            more edges), orange where the metamer does, grey where both have the same one.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Opacity is the number of edges in a cell, up to the 99th percentile.
    """
    ax = styled(ax)
    crop = adjacency(metamer)
    plot_crop(ax, crop, show, metamer)
    ax.set_aspect("equal", adjustable="box")
    class_axis(ax, crop.classes, both=True)
    order = "by degree" if crop.classes is None else "by class, then degree"
    label_axes(ax, f"{metamer.reference.num_nodes:,} nodes, {order}", "the same nodes")
    return ax


def adjacency(metamer: Metamer) -> Crop:
    """How many edges there are in each cell of a picture of both graphs."""
    nodes = metamer.reference.num_nodes or 0
    cells = nodes if nodes <= PAIRS else CELLS
    degree, classes = _degrees(metamer.reference), node_classes(metamer.reference)
    order = np.lexsort((-degree,) if classes is None else (-degree, classes.numpy()))
    place = np.empty(nodes, dtype=np.int64)
    place[order] = np.arange(nodes) * cells // nodes
    counts = [
        np.bincount(place[target] * cells + place[source], minlength=cells**2).astype(float)
        for source, target in (_edges(metamer.reference), _edges(metamer.data))
    ]
    sizes = np.concatenate(counts)
    sizes = sizes[sizes > 0]
    first = order[-(-np.arange(cells) * nodes // cells)]  # the first node of each cell
    return Crop(
        reference=counts[0].reshape(cells, cells),
        metamer=counts[1].reshape(cells, cells),
        classes=None if classes is None else classes.numpy()[first],
        binary=cells == nodes,
        scale=1.0 if cells == nodes or not len(sizes) else float(np.quantile(sizes, 0.99)),
    )


def plot_neighbours(
    metamer: Metamer,
    node: int,
    show: Literal["reference", "metamer"] = "metamer",
    ax: Axes | None = None,
) -> Axes:
    """A node and those joined to it (in a directed graph: those that send to it).

    At most 12 neighbours of either graph are drawn, kept, removed and added ones in turn, at the
    same places in both pictures; where a neighbour of the other graph would be is a ring.

    Args:
        metamer: The metamer.
        node: The node in the middle.
        show: The graph: "reference" or "metamer".
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Lines are grey and thick to neighbours in both graphs, blue and dashed to those
        only in the reference, orange to those only in the metamer, thin between neighbours.
        Number and colour of a node are its class in `data.y`.

    Raises:
        InputError: There is no such node.
    """
    if not 0 <= node < (metamer.reference.num_nodes or 0):
        raise InputError(
            f"node must be one of the graph's, 0 to {(metamer.reference.num_nodes or 0) - 1}; "
            f"got {node}."
        )
    ax = styled(ax)
    ax.set_axis_off()
    ax.set_aspect("equal")
    around = Neighbours.of(metamer, node)
    drawn = around.drawn()
    angles = 2 * np.pi * np.arange(len(drawn)) / max(1, len(drawn))
    places = dict(zip(drawn, np.stack([np.cos(angles), np.sin(angles)], axis=1), strict=True))
    places[node] = np.zeros(2)
    other = around.removed if show == "reference" else around.added
    present = [one for one in drawn if one in around.kept or one in other]
    for pair in _among(metamer.reference if show == "reference" else metamer.data, present):
        ax.plot(*np.array([places[one] for one in pair]).T, color=RULE, linewidth=0.9, zorder=1)
    new = (REFERENCE, DASHED) if show == "reference" else (METAMER, "-")
    for one in present:
        color, style = (SHARED, "-") if one in around.kept else new
        width = 2.4 if one in around.kept else 1.6
        line = np.array([places[node], places[one]]).T
        ax.plot(*line, color=color, linestyle=style, linewidth=width, zorder=2)
    classes = node_classes(metamer.reference)
    for one in drawn:
        _disc(ax, places[one], one, classes, absent=one not in present)
    _disc(ax, places[node], node, classes, size=17)
    ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
    graph, fate = "Reference", "removed"
    if show == "metamer":
        graph, fate = noun(metamer).capitalize(), "added"
    set_title(ax, f"{graph}, node {node}: {len(around.kept)} kept, {len(other)} {fate}")
    return ax


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of a node in both graphs, in the reference only, in the metamer only."""

    kept: list[int]
    removed: list[int]
    added: list[int]

    @classmethod
    def of(cls, metamer: Metamer, node: int) -> "Neighbours":
        """Those that send to a node, itself left out."""
        before, after = (
            set(source[target == node].tolist()) - {node}
            for source, target in (_edges(metamer.reference), _edges(metamer.data))
        )
        return cls(sorted(before & after), sorted(before - after), sorted(after - before))

    @property
    def count(self) -> int:
        """How many there are in either graph."""
        return len(self.kept) + len(self.removed) + len(self.added)

    def drawn(self) -> list[int]:
        """At most 12, some of each kind, those of one kind side by side."""
        turns = itertools.zip_longest(self.kept, self.removed, self.added)
        in_turn = [one for one in itertools.chain(*turns) if one is not None]
        chosen = set(in_turn[:NEIGHBOURS])
        return [one for one in (*self.kept, *self.removed, *self.added) if one in chosen]


def plot_degrees(metamer: Metamer, ax: Axes | None = None) -> Axes:
    """What share of the nodes has at least which degree, in the reference and in the metamer.

    Args:
        metamer: The metamer.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes, logarithmic where the greatest degree is over eight times the median. The degree
        is the number of edges that end at a node.
    """
    ax = styled(ax)
    both = [_degrees(metamer.reference), _degrees(metamer.data)]
    most = max(int(degree.max()) for degree in both)
    same = bool((both[0] == both[1]).all())
    heavy = most > HEAVY * max(1.0, float(np.median(both[0])))
    low, floor = (0.9, 0.1 / len(both[0])) if heavy else (0.0, 0.0)
    lines: list[Line2D] = []
    for degree, color, width, style, name in (
        (both[0], REFERENCE, 3.2, "-", "reference"),
        (both[1], METAMER, 1.4, DASHED if same else "-", noun(metamer)),
    ):
        values, counts = np.unique(degree, return_counts=True)
        share = counts[::-1].cumsum()[::-1][values > 0] / len(degree)
        values = values[values > 0]
        lines += ax.step(
            [low, *values, values[-1]],
            [share[0] if heavy else 1, *share, floor],
            where="pre",
            color=color,
            linewidth=width,
            linestyle=style,
            label=name,
        )
    if heavy:
        log_axis(ax, "x", 0.9, most * 1.3)
        log_axis(ax, "y", 0.6 / len(both[0]), 1.6)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.set_ylim(0, 1.05)
    label_axes(ax, "degree", "share with at least this degree")
    fate = "every node keeps its own" if same else f"n = {len(both[0]):,} nodes"
    set_title(ax, f"Seed {metamer.seed}, {verdict_text(metamer)}: {fate}")
    legend(ax, lines)
    return ax


def _disc(
    ax: Axes,
    place: NDArray[np.float64],
    node: int,
    classes: Tensor | None,
    *,
    absent: bool = False,
    size: float = 13,
) -> None:
    """A node, its class as number and colour; a ring where it is no neighbour."""
    if absent:
        ax.plot(*place, "o", markersize=7, color=RULE, markerfacecolor=PAPER, zorder=3)
        return
    text = "" if classes is None else str(int(classes[node]))
    color = MUTED if classes is None else SERIES[int(classes[node]) % len(SERIES)]
    ax.plot(*place, "o", markersize=size, color=color, markeredgecolor=PAPER, zorder=4)
    ax.annotate(
        text, tuple(place), ha="center", va="center_baseline", fontsize=8, color=PAPER, zorder=5
    )


def _among(data: Data, nodes: Sequence[int]) -> set[tuple[int, int]]:
    """The pairs of nodes, each once, that an edge joins."""
    source, target = _edges(data)
    inside = np.isin(source, nodes) & np.isin(target, nodes) & (source != target)
    pairs = np.stack([source, target])[:, inside]
    return {(int(low), int(high)) for low, high in np.sort(pairs, axis=0).T}


def _degrees(data: Data) -> NDArray[np.int64]:
    return np.bincount(_edges(data)[1], minlength=data.num_nodes or 0)


def _edges(data: Data) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each edge begins and ends."""
    if data.edge_index is None:
        raise InputError("data.edge_index must hold the edges, [2, edges]; data has none.")
    source, target = torch.as_tensor(data.edge_index).detach().cpu().numpy()
    return source, target
