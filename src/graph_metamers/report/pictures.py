"""Matrices as pictures: node features, and what other entries there are."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from graph_metamers.errors import InputError, listing
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
    styled,
    thinned,
)
from graph_metamers.report.words import run_title
from graph_metamers.result import Metamer

SHOWN_NODES, SHOWN_FEATURES = 90, 90
SHOWN_CLASSES = 12

Picture = Literal["reference", "metamer", "difference"]


def plot_features(
    metamer: Metamer,
    show: Picture = "difference",
    ax: Axes | None = None,
    *,
    at: str | None = None,
    graph: int | None = None,
) -> Axes:
    """Features as a picture: rows are nodes, columns are features.

    Shown are at most 90 nodes, evenly spread over all nodes sorted by class, and the 90 features
    that most nodes of the reference have, grouped by the class that has each most often and then
    the most frequent first. Without classes in `y` the nodes stand in their own order and the
    features by frequency. The three pictures show the same nodes and features.

    Args:
        metamer: The metamer.
        show: "reference", "metamer" or "difference": blue where the reference has more, orange
            where the metamer has; grey where both have the same one.
        ax: Axes to draw on; new ones by default.
        at: The input, such as `paper.x`; by default the first that varied.
        graph: The graph of a batch; by default all nodes together.

    Returns:
        The axes. Opacity is the size of an entry, up to the 99th percentile of those shown. Values
        below zero are green in the pictures of reference and metamer.
    """
    ax = styled(ax)
    crop = Crop.of(metamer, at, graph)
    plot_crop(ax, crop, show, metamer, graph)
    class_axis(ax, crop.classes)
    label_axes(ax, *crop.names)
    return ax


@dataclass(frozen=True)
class Crop:
    """The part of two matrices that a picture shows.

    Attributes:
        reference: Entries of the reference, [rows shown, columns shown].
        metamer: The same of the metamer.
        classes: Class of each row shown, or None.
        binary: Whether all entries shown are 0 or 1.
        scale: Size of an entry that is drawn in full colour.
        names: What the columns are, and what the rows are.
    """

    reference: NDArray[np.float64]
    metamer: NDArray[np.float64]
    classes: NDArray[np.int64] | None
    binary: bool
    scale: float
    names: tuple[str, str] = ("", "")

    @classmethod
    def of(cls, metamer: Metamer, at: str | None = None, graph: int | None = None) -> "Crop":
        """The part of a feature matrix: which nodes, and which features."""
        before, after, at = pair_of(metamer, at, graph)
        x, y = (_matrix(each, at) for each in (before, after))
        classes = node_classes(before, before.kind_of(at))
        classes = None if classes is None or len(classes) != len(x) else classes
        order = torch.arange(len(x)) if classes is None else classes.argsort(stable=True)
        rows = order[torch.from_numpy(thinned(len(x), SHOWN_NODES))]
        columns = _shown_columns(x, classes)
        by = "" if classes is None else ", by class"
        return cls.made(
            *(each[rows][:, columns].double().numpy() for each in (x, y)),
            classes=None if classes is None else classes[rows].numpy(),
            names=(
                f"{len(columns):,} of {x.shape[1]:,} features{by}",
                f"{len(rows):,} of {len(x):,} {before.units_of(at).noun}{by}",
            ),
        )

    @classmethod
    def made(
        cls,
        reference: NDArray[np.float64],
        metamer: NDArray[np.float64],
        *,
        classes: NDArray[np.int64] | None,
        names: tuple[str, str],
    ) -> "Crop":
        """A crop of these entries, with the scale that suits them."""
        values = np.concatenate([reference.ravel(), metamer.ravel()])
        binary = bool(((values == 0) | (values == 1)).all())
        sizes = np.abs(values[np.isfinite(values) & (values != 0)])
        scale = 1.0 if binary or not len(sizes) else float(np.quantile(sizes, 0.99))
        return cls(reference, metamer, classes, binary, scale, names)

    @property
    def signed(self) -> bool:
        """Whether some entries are below zero."""
        return bool((self.reference < 0).any() or (self.metamer < 0).any())

    def difference(self) -> NDArray[np.float64]:
        """Blue where the reference has more, orange where the metamer has; grey what is kept."""
        image = _shaded(self.metamer - self.reference, METAMER, REFERENCE, self.scale)
        if self.binary:
            kept = (self.metamer != 0) & (self.reference != 0)
            image[kept] = _shaded(np.ones(1), SHARED, SHARED, 1.0)[0]
        return image


def plot_crop(
    ax: Axes, crop: Crop, show: Picture, metamer: Metamer, graph: int | None = None
) -> None:
    """One of the three pictures of a crop, with its title."""
    pictures = {
        "reference": lambda: _shaded(crop.reference, REFERENCE, NEGATIVE, crop.scale),
        "metamer": lambda: _shaded(crop.metamer, METAMER, NEGATIVE, crop.scale),
        "difference": crop.difference,
    }
    ax.imshow(
        pictures[show](),
        interpolation="none",
        aspect="auto",
        extent=(0, crop.reference.shape[1], crop.reference.shape[0], 0),
    )
    for spine in ax.spines.values():
        spine.set(color=RULE, visible=True)
    set_title(ax, run_title(metamer, show, graph))


def pair_of(m: Metamer, at: str | None, graph: int | None) -> tuple[Inputs, Inputs, str]:
    """The reference and the graph found, whole or one of a batch, and the input to be shown.

    Raises:
        InputError: The metamer has no such input or graph.
    """
    at = next(iter(m.varied)) if at is None else at
    if at not in m.inputs:
        raise InputError(f"at='{at}' is not in the data. It has {listing(m.inputs.keys)}.")
    if graph is None:
        return m.original, m.inputs, at
    if not 0 <= graph < m.inputs.graphs:
        raise InputError(f"graph must be from 0 to {m.inputs.graphs - 1}; got {graph}.")
    return m.original.single(graph), m.inputs.single(graph), at


def node_classes(inputs: Inputs, kind: str = "") -> Tensor | None:
    """Class of each node of a type, or None where `y` does not say it in whole numbers."""
    y = inputs.get(f"{kind}.y" if kind else "y")
    if kind not in inputs.node_types or not isinstance(y, Tensor):
        return None
    if y.numel() != inputs.nodes(kind):
        return None
    y = y.detach().reshape(-1).cpu()
    return y.long() if bool((y == y.long()).all()) else None


def class_axis(ax: Axes, classes: NDArray[np.int64] | None, *, both: bool = False) -> None:
    """The classes of the rows, or of `both` rows and columns, with lines between them."""
    ax.set_xticks([])
    ax.set_yticks([])
    if classes is None:
        return
    borders = np.flatnonzero(np.diff(classes)) + 1
    if len(borders) >= SHOWN_CLASSES:  # too many for their names to stand apart
        return
    for border in borders:
        for line in (ax.axhline, ax.axvline) if both else (ax.axhline,):
            line(float(border), color=MUTED, linewidth=0.6)
    edges = [0, *borders.tolist(), len(classes)]
    middles = [(low + high) / 2 for low, high in itertools.pairwise(edges)]
    ax.set_yticks(middles, [str(classes[int(middle)]) for middle in middles])
    ax.tick_params(axis="y", length=0)


def _matrix(inputs: Inputs, at: str) -> Tensor:
    values = inputs[at].detach()
    return values.reshape(len(values), -1).cpu()


def _shown_columns(x: Tensor, classes: Tensor | None) -> Tensor:
    """The most frequent features; grouped by the class that has each most often, if few enough."""
    frequency = torch.count_nonzero(x, dim=0)
    columns = frequency.argsort(descending=True, stable=True)[:SHOWN_FEATURES]
    if classes is None:
        return columns
    names, place, sizes = classes.unique(return_inverse=True, return_counts=True)
    if len(names) > SHOWN_CLASSES:
        return columns
    held = (x[:, columns] != 0).float()
    counts = torch.zeros(len(names), len(columns)).index_add_(0, place, held)
    return columns[(counts / sizes[:, None]).argmax(0).argsort(stable=True)]


def _shaded(
    values: NDArray[np.float64], above: str, below: str, scale: float
) -> NDArray[np.float64]:
    """A colour for values above zero and one for those below; no entry, no ink."""
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in (above, below)])
    image = np.empty((*values.shape, 4))
    image[..., :3] = colours[(values < 0).astype(int)]
    image[..., 3] = np.clip(np.nan_to_num(np.abs(values)) / scale, 0, 1)
    return image
