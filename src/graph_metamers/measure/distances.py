"""By how much two graphs differ: a table of distances and similarities, open to one's own.

All take (reference, graph), two `Data` over the same nodes, so that those of features and those
of edges are asked alike. NaN says that a figure is not defined there.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

from torch_geometric.data import Data

from graph_metamers.errors import InputError, listing
from graph_metamers.measure.edge_distances import (
    degrees_apart,
    edge_jaccard,
    edge_similarity,
    edges_kept,
    spectra_apart,
    weight_cosine,
)
from graph_metamers.measure.feature_distances import (
    centred_feature_cosine,
    feature_cosine,
    feature_hamming,
    feature_jaccard,
    node_similarity_quantile,
    relative_feature_distance,
    weighted_feature_cosine,
)

Kind = Literal["features", "structure", "weights"]
KINDS = get_args(Kind)
ALIKE = ("high", "low")


@dataclass(frozen=True)
class Distance:
    """One way to say how far a graph is from its reference.

    Attributes:
        name: Its name in rows and in `DISTANCES`.
        title: What it is, in a few words.
        symbol: What plots call it.
        kind: Whether it compares features, edges ("structure") or edge weights: it is measured
            where these vary.
        formula: Its definition.
        low: The smallest value it can have.
        high: The largest; may be infinite.
        alike: Whether a high or a low value says that two graphs are alike.
        function: Takes the reference and the other graph.
    """

    name: str
    title: str
    symbol: str
    kind: Kind
    formula: str
    low: float
    high: float
    alike: Literal["high", "low"]
    function: Callable[[Data, Data], float]


DISTANCES: dict[str, Distance] = {}
_built_in: list[str] = []


def register(distance: Distance) -> None:
    """Add a distance to `DISTANCES`, or put it in the place of an own one of the same name.

    Raises:
        InputError: Its name is that of a built-in one, or its `kind` or `alike` is not one that
            is known.

    Example:
        >>> from graph_metamers import datasets
        >>> data = datasets.csbm(nodes=30, features=20)
        >>> DISTANCES["feature_hamming"].function(data, data)
        0.0

    One of your own, measured in every `metamer` and `audit` from then on (not run here):

        register(Distance("topic_words", "Share of topic words kept", "topics", "features",
                          "|T ∧ T'| / |T|", 0, 1, "high", topic_words_kept))
    """
    if distance.name in _built_in:
        raise InputError(
            f"A distance named '{distance.name}' is there already. Give yours another name; "
            f"taken are {listing(_built_in)}."
        )
    for what, value, known in (("kind", distance.kind, KINDS), ("alike", distance.alike, ALIKE)):
        if value not in known:
            raise InputError(
                f"{what} of the distance '{distance.name}' must be one of {listing(known)}; "
                f"got {value!r}."
            )
    DISTANCES[distance.name] = distance


for _distance in (
    Distance(
        name="feature_similarity",
        title="Cosine of all features",
        symbol="S_feat",
        kind="features",
        formula="⟨X, X'⟩ / (‖X‖ ‖X'‖)",
        low=-1.0,
        high=1.0,
        alike="high",
        function=feature_cosine,
    ),
    Distance(
        name="centred_feature_similarity",
        title="Cosine of all features less the column means",
        symbol="S_feat − mean",
        kind="features",
        formula="⟨X − 1c, X' − 1c⟩ / (‖X − 1c‖ ‖X' − 1c‖), c the column means of X",
        low=-1.0,
        high=1.0,
        alike="high",
        function=centred_feature_cosine,
    ),
    Distance(
        name="weighted_feature_similarity",
        title="Cosine of all features, rare ones weighing more",
        symbol="S_feat, rare",
        kind="features",
        formula="Σ w_j x_vj x'_vj / √(Σ w_j x_vj² · Σ w_j x'_vj²), w_j = −log((1 + n_j) / (1 + n))",
        low=-1.0,
        high=1.0,
        alike="high",
        function=weighted_feature_cosine,
    ),
    Distance(
        name="feature_distance",
        title="Distance of the features, relative to their size",
        symbol="‖X' − X‖ / ‖X‖",
        kind="features",
        formula="‖X' − X‖ / ‖X‖",
        low=0.0,
        high=math.inf,
        alike="low",
        function=relative_feature_distance,
    ),
    Distance(
        name="feature_jaccard",
        title="Share of the binary features in common",
        symbol="J_feat",
        kind="features",
        formula="|X ∧ X'| / |X ∨ X'|",
        low=0.0,
        high=1.0,
        alike="high",
        function=feature_jaccard,
    ),
    Distance(
        name="feature_hamming",
        title="Share of the binary entries that differ",
        symbol="H_feat",
        kind="features",
        formula="|X ⊕ X'| / (n d)",
        low=0.0,
        high=1.0,
        alike="low",
        function=feature_hamming,
    ),
    *(
        Distance(
            name=f"node_similarity_{name}",
            title=f"Cosine of a node's features, {share:.0%} quantile",
            symbol=f"S_node, {share:.0%}",
            kind="features",
            formula=f"{share:.0%} quantile over v of ⟨x_v, x'_v⟩ / (‖x_v‖ ‖x'_v‖)",
            low=-1.0,
            high=1.0,
            alike="high",
            function=partial(node_similarity_quantile, share=share),
        )
        for name, share in (("low", 0.05), ("median", 0.5), ("high", 0.95))
    ),
    Distance(
        name="structure_similarity",
        title="Weisfeiler–Lehman similarity",
        symbol="S_struct",
        kind="structure",
        formula="k(G, G') / √(k(G, G) k(G', G')), k the Weisfeiler–Lehman subtree kernel",
        low=0.0,
        high=1.0,
        alike="high",
        function=edge_similarity,
    ),
    Distance(
        name="edges_kept",
        title="Share of the edges kept",
        symbol="kept",
        kind="structure",
        formula="|E ∩ E'| / |E|",
        low=0.0,
        high=1.0,
        alike="high",
        function=edges_kept,
    ),
    Distance(
        name="edge_jaccard",
        title="Share of all edges in common",
        symbol="J_edge",
        kind="structure",
        formula="|E ∩ E'| / |E ∪ E'|",
        low=0.0,
        high=1.0,
        alike="high",
        function=edge_jaccard,
    ),
    Distance(
        name="degree_distance",
        title="Distance of the sorted degrees",
        symbol="D_degree",
        kind="structure",
        formula="Σ |d_(i) − d'_(i)| / Σ d_(i)",
        low=0.0,
        high=math.inf,
        alike="low",
        function=degrees_apart,
    ),
    Distance(
        name="spectral_distance",
        title="Distance of the small Laplacian eigenvalues",
        symbol="D_spectral",
        kind="structure",
        formula="‖λ − λ'‖ / ‖λ‖",
        low=0.0,
        high=math.inf,
        alike="low",
        function=spectra_apart,
    ),
    Distance(
        name="weight_similarity",
        title="Cosine of the edge weights",
        symbol="S_weight",
        kind="weights",
        formula="⟨w, w'⟩ / (‖w‖ ‖w'‖)",
        low=-1.0,
        high=1.0,
        alike="high",
        function=weight_cosine,
    ),
):
    register(_distance)
_built_in.extend(DISTANCES)
