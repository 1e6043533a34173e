"""Both graphs as matrices: features, or edges as pairs of nodes, with what differs."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from graph_metamers.inputs import Inputs
from graph_metamers.report.style import (
    METAMER,
    MUTED,
    NEGATIVE,
    REFERENCE,
    RULE,
    SHARED,
    label_axes,
    set_title,
    thinned,
)
from graph_metamers.report.words import run_title
from graph_metamers.result import Metamer
from graph_metamers.vary.pairs import two_sides

SHOWN_NODES, SHOWN_FEATURES = 90, 90
SHOWN_CLASSES = 12
PAIRS, CELLS = 200, 110  # nodes up to which each has a row; else rows of many nodes

Picture = Literal["reference", "metamer", "difference"]


@dataclass(frozen=True)
class Crop:
    """The part of two matrices that a picture shows.

    Attributes:
        reference: Entries of the reference, [rows shown, columns shown].
        metamer: The same of the metamer.
        classes: Class of each row shown, or None.
        names: What the columns are, and what the rows are.
        pairs: Whether rows and columns are nodes, and an entry the edges between them.
    """

    reference: NDArray[np.float64]
    metamer: NDArray[np.float64]
    classes: NDArray[np.int64] | None
    names: tuple[str, str]
    pairs: bool

    @classmethod
    def of(cls, metamer: Metamer, at: str | None = None, graph: int | None = None) -> "Crop":
        """Of an input, by default the first that varied, of the whole or of one graph of a batch.

        Of features at most 90 nodes, evenly spread over all nodes sorted by class, and the 90
        features that most nodes of the reference have, grouped by the class that has each most
        often. Edges are counted by pairs of nodes, sorted by class and then by degree; over 200
        nodes an entry stands for many pairs. Of edge weights an entry is their sum.
        """
        at = next(iter(metamer.varied)) if at is None else at
        crop = _of_features if metamer.varied[at] == "features" else _of_edges
        return crop(*both(metamer, graph), at)

    @property
    def binary(self) -> bool:
        """Whether all entries are 0 or 1."""
        return all(bool(((x == 0) | (x == 1)).all()) for x in (self.reference, self.metamer))

    @property
    def scale(self) -> float:
        """Size of an entry that is drawn in full colour: their 99th percentile."""
        sizes = np.abs(np.concatenate([self.reference.ravel(), self.metamer.ravel()]))
        sizes = sizes[np.isfinite(sizes) & (sizes != 0)]
        return 1.0 if self.binary or not len(sizes) else float(np.quantile(sizes, 0.99))

    @property
    def signed(self) -> bool:
        """Whether some entries are below zero."""
        return bool((self.reference < 0).any() or (self.metamer < 0).any())

    def image(self, show: Picture) -> NDArray[np.float64]:
        """Colours. The difference is blue where the reference has more, orange where the metamer.

        Grey is what binary entries have in common. Green is below zero in the two others.
        """
        if show != "difference":
            shown = self.reference if show == "reference" else self.metamer
            color = REFERENCE if show == "reference" else METAMER
            return _shaded(shown, color, NEGATIVE, self.scale)
        image = _shaded(self.metamer - self.reference, METAMER, REFERENCE, self.scale)
        if self.binary:
            kept = (self.metamer != 0) & (self.reference != 0)
            image[kept] = _shaded(np.ones(1), SHARED, SHARED, 1.0)[0]
        return image


def plot_crop(
    ax: Axes, crop: Crop, show: Picture, metamer: Metamer, graph: int | None = None
) -> None:
    """One of the three pictures of a crop, with its title."""
    rows, columns = crop.reference.shape
    extent = (0, columns, rows, 0)
    ax.imshow(crop.image(show), interpolation="none", aspect="auto", extent=extent)
    for spine in ax.spines.values():
        spine.set(color=RULE, visible=True)
    set_title(ax, run_title(metamer, show, graph))


def plot_matrix(
    ax: Axes, crop: Crop, show: Picture, metamer: Metamer, graph: int | None = None
) -> None:
    """The same with the names of both axes, and the classes of the rows with lines between them."""
    plot_crop(ax, crop, show, metamer, graph)
    rows, columns = crop.reference.shape
    label_axes(ax, *crop.names)
    ax.set_xticks([])
    ax.set_yticks([])
    if crop.pairs:
        ax.set_aspect("equal", adjustable="box")
    if crop.classes is None:
        return
    borders = np.flatnonzero(np.diff(crop.classes)) + 1
    if len(borders) >= SHOWN_CLASSES:  # too many for their names to stand apart
        return
    for border in borders:
        ax.axhline(float(border), color=MUTED, linewidth=0.6)
        if crop.pairs and rows == columns:
            ax.axvline(float(border), color=MUTED, linewidth=0.6)
    edges = itertools.pairwise([0, *borders.tolist(), rows])
    middles = [(low + high) / 2 for low, high in edges]
    ax.set_yticks(middles, [str(crop.classes[int(middle)]) for middle in middles])
    ax.tick_params(axis="y", length=0)


def both(m: Metamer, graph: int | None) -> tuple[Inputs, Inputs]:
    """The reference and the graph found, whole or one of a batch."""
    if graph is None:
        return m.original, m.inputs
    return m.original.single(graph), m.inputs.single(graph)


def node_classes(inputs: Inputs, kind: str = "") -> Tensor | None:
    """Class of each node of a type, or None where `y` does not say it in whole numbers."""
    y = inputs.get(f"{kind}.y" if kind else "y")
    if kind not in inputs.node_types or not isinstance(y, Tensor):
        return None
    if y.numel() != inputs.nodes(kind):
        return None
    y = y.detach().reshape(-1).cpu()
    return y.long() if bool((y == y.long()).all()) else None


def edges_at(inputs: Inputs, at: str) -> NDArray[np.int64]:
    """Where each of the edges that an input belongs to begins and ends, [2, edges]."""
    return inputs[inputs.beside(at, "edge_index")].detach().cpu().numpy()


def _of_features(before: Inputs, after: Inputs, at: str) -> Crop:
    x, y = (each[at].detach().cpu().reshape(len(each[at]), -1) for each in (before, after))
    classes = node_classes(before, before.kind_of(at))
    classes = None if classes is None or len(classes) != len(x) else classes
    order = torch.arange(len(x)) if classes is None else classes.argsort(stable=True)
    rows = order[torch.from_numpy(thinned(len(x), SHOWN_NODES))]
    columns = _shown_columns(x, classes)
    by = "" if classes is None else ", by class"
    return Crop(
        *(each[rows][:, columns].double().numpy() for each in (x, y)),
        classes=None if classes is None else classes[rows].numpy(),
        names=(
            f"{len(columns):,} of {x.shape[1]:,} features{by}",
            f"{len(rows):,} of {len(x):,} {before.units_of(at).noun}{by}",
        ),
        pairs=False,
    )


def _shown_columns(x: Tensor, classes: Tensor | None) -> Tensor:
    """The most frequent features; grouped by the class that has each most often, if few enough."""
    columns = torch.count_nonzero(x, dim=0).argsort(descending=True, stable=True)[:SHOWN_FEATURES]
    if classes is None:
        return columns
    names, place, sizes = classes.unique(return_inverse=True, return_counts=True)
    if len(names) > SHOWN_CLASSES:
        return columns
    held = (x[:, columns] != 0).float()
    counts = torch.zeros(len(names), len(columns)).index_add_(0, place, held)
    return columns[(counts / sizes[:, None]).argmax(0).argsort(stable=True)]


def _of_edges(before: Inputs, after: Inputs, at: str) -> Crop:
    senders, receivers = (_Order.of(before, at, end) for end in (0, 1))
    shape, counts = (senders.cells, receivers.cells), list[NDArray[np.float64]]()
    for each in (before, after):
        source, target = edges_at(each, at)
        weights = np.ones(len(source))
        if not at.endswith("edge_index"):
            weights = each[at].detach().double().cpu().reshape(len(source), -1).sum(1).numpy()
        counts.append(np.zeros(shape))
        np.add.at(counts[-1], (senders.cell[source], receivers.cell[target]), weights)
    names = f"{receivers.name}, receiving", f"{senders.name}, sending"
    return Crop(*counts, classes=senders.classes, names=names, pairs=True)


@dataclass(frozen=True)
class _Order:
    """In which row or column each node of an end stands."""

    cell: NDArray[np.int64]
    cells: int
    classes: NDArray[np.int64] | None
    name: str

    @classmethod
    def of(cls, inputs: Inputs, at: str, end: int) -> "_Order":
        ends = inputs.ends(at)
        kind, one_kind = ends[end], ends[0] == ends[1]
        edges, nodes = edges_at(inputs, at), inputs.nodes(kind)
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


def _shaded(
    values: NDArray[np.float64], above: str, below: str, scale: float
) -> NDArray[np.float64]:
    """A colour for values above zero and one for those below; no entry, no ink."""
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (above, below)])
    image = np.empty((*values.shape, 4))
    image[..., :3] = colours[(values < 0).astype(int)]
    image[..., 3] = np.clip(np.nan_to_num(np.abs(values)) / scale, 0, 1)
    return image
