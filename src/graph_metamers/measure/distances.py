"""By how much two graphs differ: a table of distances and similarities, open to one's own.

Those of features and of weights take the values of the reference and of the other graph; those of
edges take (edges, other edges, nodes). NaN says that a figure is not defined there.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Any, Literal, get_args

from torch import Tensor

from graph_metamers.errors import InputError, listing
from graph_metamers.measure.features import (
    centred_feature_similarity,
    feature_distance,
    feature_hamming,
    feature_jaccard,
    feature_similarity,
    node_similarity_quantile,
    weighted_feature_similarity,
)
from graph_metamers.measure.spectrum import spectral_distance
from graph_metamers.measure.structure import degree_distance, edge_overlap, structure_similarity

SPECTRUM_NODES = 20_000  # beyond, eigenvalues take minutes
Kind = Literal["features", "structure", "weights"]
Alike = Literal["high", "low"]


@dataclass(frozen=True)
class Distance:
    """One way to say how far a graph is from its reference."""

    name: str  # in rows and in `DISTANCES`
    title: str  # what it is, in a few words
    symbol: str  # what plots call it
    kind: Kind  # what it compares: it is measured where this varies
    formula: str
    low: float  # the smallest value it can have
    high: float  # the largest; may be infinite
    alike: Alike  # which values say that two graphs are alike
    # Of the values of the reference and of the other graph; of edges, also the number of nodes.
    function: Callable[..., float]


def register(distance: Distance) -> None:
    """Add a distance to `DISTANCES`, or put it in the place of an own one of the same name.

    Raises:
        InputError: Its name is that of a built-in one, or its `kind` or `alike` is not one that
            is known.

    Example:
        >>> import torch
        >>> DISTANCES["feature_hamming"].function(torch.eye(3), torch.eye(3))
        0.0

    One of your own, measured in every `metamer` and `audit` from then on (not run here):

        register(Distance("topic_words", "Share of topic words kept", "topics", "features",
                          "|T ∧ T'| / |T|", 0, 1, "high", topic_words_kept))
    """
    if distance.name in _FUNCTIONS:
        raise InputError(
            f"A distance named '{distance.name}' is there already. Give yours another name; "
            f"taken are {listing(_FUNCTIONS)}."
        )
    for what, value, known in (("kind", distance.kind, Kind), ("alike", distance.alike, Alike)):
        if value not in get_args(known):
            raise InputError(
                f"{what} of the distance '{distance.name}' must be one of "
                f"{listing(get_args(known))}; got {value!r}."
            )
    DISTANCES[distance.name] = distance


def _weights_alike(weights: Tensor, other: Tensor) -> float:
    return feature_similarity(weights.reshape(-1, 1), other.reshape(-1, 1))


def _overlap(edges: Tensor, other: Tensor, nodes: int, *, share: str) -> float:
    return edge_overlap(edges, other, nodes)[share]


def _spectra_apart(edges: Tensor, other: Tensor, nodes: int) -> float:
    return spectral_distance(edges, other, nodes) if nodes <= SPECTRUM_NODES else math.nan


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "feature_similarity": feature_similarity,
    "centred_feature_similarity": centred_feature_similarity,
    "weighted_feature_similarity": weighted_feature_similarity,
    "feature_distance": feature_distance,
    "feature_jaccard": feature_jaccard,
    "feature_hamming": feature_hamming,
    "node_similarity_low": partial(node_similarity_quantile, share=0.05),
    "node_similarity_median": partial(node_similarity_quantile, share=0.5),
    "node_similarity_high": partial(node_similarity_quantile, share=0.95),
    "structure_similarity": structure_similarity,
    "edges_kept": partial(_overlap, share="edges_kept"),
    "edge_jaccard": partial(_overlap, share="edge_jaccard"),
    "degree_distance": degree_distance,
    "spectral_distance": _spectra_apart,
    "weight_similarity": _weights_alike,
}


def _built_in() -> dict[str, Distance]:
    """What `distances.csv` says of each function above."""
    with (files("graph_metamers.measure") / "distances.csv").open(encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        row |= {"low": float(row["low"]), "high": float(row["high"])}
    return {row["name"]: Distance(**row, function=_FUNCTIONS[row["name"]]) for row in rows}


DISTANCES = _built_in()
