"""Matrices as pictures: node features, and what other entries there are."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.report.style import (
    METAMER,
    MUTED,
    REFERENCE,
    RULE,
    SHARED,
    label_axes,
    set_title,
    styled,
    thinned,
)
from graph_metamers.report.words import noun, verdict_text
from graph_metamers.result import Metamer

SHOWN_NODES, SHOWN_FEATURES = 90, 90
SHOWN_CLASSES = 12

Picture = Literal["reference", "metamer", "difference"]


def plot_features(metamer: Metamer, show: Picture = "difference", ax: Axes | None = None) -> Axes:
    """Node features as a picture: rows are nodes, columns are features.

    Shown are at most 90 nodes, evenly spread over all nodes sorted by class, and the 90 features
    that most nodes of the reference have, grouped by the class that has each most often and then
    the most frequent first. Without classes in `data.y` the nodes stand in their own order and
    the features by frequency. The three pictures show the same nodes and features.

    Args:
        metamer: The metamer.
        show: "reference", "metamer" or "difference": blue where only the reference has a feature
            (or has more of it), orange where only the metamer does, grey where both do.
        ax: Axes to draw on; new ones by default.

    Returns:
        The axes. Opacity is the size of an entry, up to the 99th percentile of those shown.
    """
    ax = styled(ax)
    crop = Crop.of(metamer)
    plot_crop(ax, crop, show, metamer)
    class_axis(ax, crop.classes)
    nodes, features = metamer.reference.num_nodes or 0, metamer.reference.num_features
    rows, columns = crop.reference.shape
    order = ", by class" if crop.classes is not None else ""
    label_axes(
        ax,
        f"{columns:,} of {features:,} features{order}",
        f"{rows:,} of {nodes:,} nodes{order}",
    )
    return ax


@dataclass(frozen=True)
class Crop:
    """The part of two matrices that a picture shows.

    Attributes:
        reference: Entries of the reference, [nodes shown, features shown].
        metamer: The same of the metamer.
        classes: Class of each node shown, or None.
        binary: Whether all entries shown are 0 or 1.
        scale: Size of an entry that is drawn in full colour.
    """

    reference: NDArray[np.float64]
    metamer: NDArray[np.float64]
    classes: NDArray[np.int64] | None
    binary: bool
    scale: float

    @classmethod
    def of(cls, metamer: Metamer) -> "Crop":
        """Choose the nodes and the features."""
        x, y = _features(metamer.reference), _features(metamer.data)
        classes = node_classes(metamer.reference)
        order = torch.arange(len(x)) if classes is None else classes.argsort(stable=True)
        rows = order[torch.from_numpy(thinned(len(x), SHOWN_NODES))]
        columns = _shown_columns(x, classes)
        crops = [
            part.index_select(0, rows.to(part.device))
            .index_select(1, columns.to(part.device))
            .double()
            .cpu()
            .numpy()
            for part in (x, y)
        ]
        sizes = np.abs(np.concatenate([crop.ravel() for crop in crops]))
        sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
        binary = all(bool(((crop == 0) | (crop == 1)).all()) for crop in crops)
        return cls(
            reference=crops[0],
            metamer=crops[1],
            classes=None if classes is None else classes[rows].numpy(),
            binary=binary,
            scale=1.0 if binary or not len(sizes) else float(np.quantile(sizes, 0.99)),
        )

    def difference(self) -> NDArray[np.float64]:
        """Blue where the reference has more, orange where the metamer has; grey what is kept."""
        change = self.metamer - self.reference
        image = np.where(
            (change > 0)[..., None],
            _shaded(change, METAMER, self.scale),
            _shaded(change, REFERENCE, self.scale),
        )
        if self.binary:
            kept = (self.metamer != 0) & (self.reference != 0)
            image[kept] = _shaded(np.ones(1), SHARED, 1.0)[0]
        return image


def plot_crop(ax: Axes, crop: Crop, show: Picture, metamer: Metamer) -> None:
    """One of the three pictures of a crop, with its title."""
    pictures = {
        "reference": lambda: _shaded(crop.reference, REFERENCE, crop.scale),
        "metamer": lambda: _shaded(crop.metamer, METAMER, crop.scale),
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
    verdict = f"seed {metamer.seed}: {verdict_text(metamer)}"
    titles = {
        "reference": "Reference",
        "metamer": f"{noun(metamer).capitalize()}, {verdict}",
        "difference": f"Difference, {verdict}",
    }
    set_title(ax, titles[show])


def node_classes(data: Data) -> Tensor | None:
    """Class of each node, [nodes], or None where `data.y` does not say it in whole numbers."""
    y = data.y
    if not isinstance(y, Tensor) or y.numel() != data.num_nodes:
        return None
    y = y.detach().reshape(-1).cpu()
    return y.long() if bool((y == y.long()).all()) else None


def _shown_columns(x: Tensor, classes: Tensor | None) -> Tensor:
    """The most frequent features; grouped by the class that has each most often, if few enough."""
    frequency = torch.count_nonzero(x, dim=0).cpu()
    columns = frequency.argsort(descending=True, stable=True)[:SHOWN_FEATURES]
    if classes is None:
        return columns
    names, place, sizes = classes.unique(return_inverse=True, return_counts=True)
    if len(names) > SHOWN_CLASSES:
        return columns
    held = (x.index_select(1, columns.to(x.device)) != 0).float().cpu()
    counts = torch.zeros(len(names), len(columns)).index_add_(0, place, held)
    return columns[(counts / sizes[:, None]).argmax(0).argsort(stable=True)]


def _features(data: Data) -> Tensor:
    if data.x is None:
        raise InputError("data.x must be a floating point matrix [nodes, features]; data has none.")
    return data.x.detach()


def _shaded(values: NDArray[np.float64], color: str, scale: float) -> NDArray[np.float64]:
    """One colour, as opaque as the value is large; no entry, no ink."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    image = np.empty((*values.shape, 4))
    image[..., :3] = rgb
    image[..., 3] = np.clip(np.nan_to_num(np.abs(values)) / scale, 0, 1)
    return image


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
