"""By how much two graphs differ: a table of distances and similarities, open to one's own.

All take (reference, graph), two `Data` over the same nodes, so that those of features and those
of edges are asked alike. NaN says that a figure is not defined there.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_same_shape, listing
from graph_metamers.measure.features import (
    Matrix,
    feature_similarity,
    node_feature_similarity,
)
from graph_metamers.measure.structure import (
    degree_distance,
    edge_overlap,
    spectral_distance,
    structure_similarity,
)

Columns = Float[Tensor, " features"]

ENTRIES = 1 << 20  # of float64 that are held at a time
SPECTRUM_NODES = 20_000  # beyond, eigenvalues take minutes
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


def feature_cosine(reference: Data, graph: Data) -> float:
    """`feature_similarity` of the graphs' features, S_feat (Eq. 13).

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if one of
        them is all zero.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a, b = Data(x=torch.tensor([[1.0, 1.0]])), Data(x=torch.tensor([[1.0, 0.0]]))
        >>> round(feature_cosine(a, b), 4)
        0.7071
    """
    return feature_similarity(*_features(reference, graph))


def centred_feature_cosine(reference: Data, graph: Data) -> float:
    """Cosine of the features less the reference's column means: Eq. 13 without what all share.

        ⟨X − 1c, X' − 1c⟩ / (‖X − 1c‖ ‖X' − 1c‖),   c the column means of X

    Unrelated features are near 0 here, also those of a random start, which has the same column
    means: on Cora it is at 0.002, and at 0.09 in S_feat.

    Returns:
        In [−1, 1]; 1 is the same deviation from the mean node, 0 an unrelated one. NaN if all
        nodes of the reference are alike, or all of the other graph are the mean node.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a = Data(x=torch.tensor([[1.0, 0.0], [0.0, 1.0]]))  # deviations ±1/2
        >>> centred_feature_cosine(a, Data(x=torch.tensor([[1.0, 0.0], [1.0, 0.0]])))
        0.0
    """
    x, y = _features(reference, graph)
    first = x[0].double()
    # Less the first row, so that the mean of equal rows is exact.
    sums = torch.stack([(rows - first).sum(0) for rows, _ in _blocks(x, x)]).sum(0)
    return _cosine(x, y, first + sums / len(x), torch.ones_like(first))


def relative_feature_distance(reference: Data, graph: Data) -> float:
    """How far the features moved, in relation to their size.

        ‖X' − X‖ / ‖X‖

    Returns:
        Zero or more; 0 are equal features, √2 unrelated sparse ones of equal size. Infinite, or
        NaN for equal features, if the reference's are all zero.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a, b = Data(x=torch.tensor([[3.0, 4.0]])), Data(x=torch.tensor([[3.0, 3.0]]))
        >>> relative_feature_distance(a, b)
        0.2
    """
    x, y = _features(reference, graph)
    squares = [torch.stack([(b - a).square().sum(), a.square().sum()]) for a, b in _blocks(x, y)]
    moved, size = torch.stack(squares).sum(0).sqrt()
    return float(moved / size)


def feature_jaccard(reference: Data, graph: Data) -> float:
    """Share of the ones of two binary feature matrices that both have.

        |X ∧ X'| / |X ∨ X'|

    Returns:
        In [0, 1]; 1 are equal features, 0 no one in common. NaN if an entry of either is neither
        0 nor 1, as ones are not counted in continuous features, and where neither has a one.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a, b = Data(x=torch.tensor([[1.0, 1.0]])), Data(x=torch.tensor([[1.0, 0.0]]))
        >>> feature_jaccard(a, b)
        0.5
    """
    common, mine, theirs, _ = _binary_counts(*_features(reference, graph))
    either = mine + theirs - common
    return common / either if either else math.nan


def feature_hamming(reference: Data, graph: Data) -> float:
    """Share of the entries in which two binary feature matrices differ.

        |X ⊕ X'| / (n d)

    Sparse features differ in few entries however unrelated they are, in a share of 2ρ(1 − ρ) if
    a share of ρ is one.

    Returns:
        In [0, 1]; 0 are equal features. NaN if an entry of either is neither 0 nor 1, as
        continuous features differ in nearly every entry.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a, b = Data(x=torch.tensor([[1.0, 1.0]])), Data(x=torch.tensor([[1.0, 0.0]]))
        >>> feature_hamming(a, b)
        0.5
    """
    common, mine, theirs, entries = _binary_counts(*_features(reference, graph))
    return (mine + theirs - 2 * common) / entries


def weighted_feature_cosine(reference: Data, graph: Data) -> float:
    """Cosine of the features in which rare ones count more (Eq. 13, weighted by column).

        Σ w_j x_vj x'_vj / √(Σ w_j x_vj² · Σ w_j x'_vj²),   w_j = −log f_j

    with f_j = (1 + n_j) / (1 + n), and n_j how many of the reference's n nodes have feature j at
    all. −log f_j is what the presence of feature j tells, in nats: nothing if all nodes have it,
    log(1 + n) at most. With weights 1 / f_j instead, the few features of a single node, n times
    as heavy as one that all have, would decide alone.

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if one of
        them is all zero, and where every node has every feature, as dense continuous features
        do: none of them is rare.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a = Data(x=torch.tensor([[1.0, 1.0], [1.0, 0.0]]))  # all nodes have the first feature
        >>> b = Data(x=torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
        >>> round(weighted_feature_cosine(a, b), 4), round(feature_cosine(a, b), 4)
        (1.0, 0.5774)
    """
    x, y = _features(reference, graph)
    count = torch.stack([(rows != 0).sum(0) for rows, _ in _blocks(x, x)]).sum(0)
    weight = -((1 + count.double()) / (1 + len(x))).log()
    return _cosine(x, y, torch.zeros_like(weight), weight)


def node_similarity_quantile(reference: Data, graph: Data, *, share: float) -> float:
    """A quantile of `node_feature_similarity`: Eq. 13, row by row.

    Nodes that have no feature in one of the graphs are left out.

    Args:
        reference: The reference.
        graph: The other graph.
        share: The share of nodes that are less alike, in [0, 1].

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if no node
        has features in both graphs.

    Raises:
        InputError: The feature matrices differ in shape.

    Example:
        >>> a = Data(x=torch.eye(3))
        >>> b = Data(x=torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        >>> node_similarity_quantile(a, b, share=0.5)  # 1, 0, and one without features
        0.5
    """
    return float(node_feature_similarity(*_features(reference, graph)).nanquantile(share))


def edge_similarity(reference: Data, graph: Data) -> float:
    """`structure_similarity` of the graphs' edges, S_struct (Eq. 16).

    Returns:
        In [0, 1]; 1 for isomorphic graphs, but about 0.9 for unrelated ones.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> edge_similarity(pair, pair)
        1.0
    """
    return structure_similarity(*_edges(reference, graph))


def edges_kept(reference: Data, graph: Data) -> float:
    """The share of the reference's edges that the other graph has too; see `edge_overlap`.

        |E ∩ E'| / |E|

    Returns:
        In [0, 1]; 1 if none was removed. NaN if the reference has no edge.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> a = Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> edges_kept(a, Data(x=a.x, edge_index=torch.tensor([[0, 2], [1, 0]])))
        0.5
    """
    return edge_overlap(*_edges(reference, graph))["edges_kept"]


def edge_jaccard(reference: Data, graph: Data) -> float:
    """The share of all edges that both graphs have; see `edge_overlap`.

        |E ∩ E'| / |E ∪ E'|

    Returns:
        In [0, 1]; 1 are the same edges. NaN if the reference has none.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> a = Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> round(edge_jaccard(a, Data(x=a.x, edge_index=torch.tensor([[0, 2], [1, 0]]))), 4)
        0.3333
    """
    return edge_overlap(*_edges(reference, graph))["edge_jaccard"]


def degrees_apart(reference: Data, graph: Data) -> float:
    """`degree_distance` of the graphs' edges.

    Returns:
        Zero or more; 0 for equal degree sequences. NaN if the reference has no edge.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> degrees_apart(pair, pair)
        0.0
    """
    return degree_distance(*_edges(reference, graph))


def spectra_apart(reference: Data, graph: Data) -> float:
    """`spectral_distance` of the graphs' edges.

    Returns:
        Zero or more; 0 for equal small eigenvalues. NaN if the reference has no edge, and beyond
        20,000 nodes, where it would take minutes.

    Raises:
        InputError: The edges point outside.

    Example:
        >>> pair = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> spectra_apart(pair, pair)
        0.0
    """
    edges, other, nodes = _edges(reference, graph)
    return spectral_distance(edges, other, nodes) if nodes <= SPECTRUM_NODES else math.nan


def weight_cosine(reference: Data, graph: Data) -> float:
    """Cosine of the weights of the same edges.

        ⟨w, w'⟩ / (‖w‖ ‖w'‖)

    Returns:
        In [−1, 1], in [0, 1] for non-negative weights; 1 is the same direction.

    Raises:
        InputError: There are not as many weights.

    Example:
        >>> a, b = Data(edge_weight=torch.ones(2)), Data(edge_weight=torch.tensor([1.0, 0.0]))
        >>> round(weight_cosine(a, b), 4)
        0.7071
    """
    w, other = (g["edge_weight"].detach().double() for g in (reference, graph))
    check_same_shape(w, other)
    return float(torch.nn.functional.cosine_similarity(w, other, dim=0))


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


def _features(reference: Data, graph: Data) -> tuple[Matrix, Matrix]:
    x, y = reference["x"].detach(), graph["x"].detach()
    check_same_shape(x, y)
    return x, y


def _edges(reference: Data, graph: Data) -> tuple[Tensor, Tensor, int]:
    return reference["edge_index"], graph["edge_index"], len(reference["x"])


def _blocks(x: Matrix, y: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
    """Some rows of both at a time, in float64: a large matrix is never copied whole."""
    rows = max(1, ENTRIES // x.shape[1])
    for a, b in zip(x.split(rows), y.split(rows), strict=True):
        yield a.double(), b.double()


def _cosine(x: Matrix, y: Matrix, centre: Columns, weight: Columns) -> float:
    dots = torch.zeros(3, dtype=torch.float64, device=x.device)
    for a, b in _blocks(x, y):
        a, b = a - centre, b - centre
        dots += torch.stack([((p * q) @ weight).sum() for p, q in ((a, b), (a, a), (b, b))])
    return float(dots[0] / (dots[1].sqrt() * dots[2].sqrt()))


def _binary_counts(x: Matrix, y: Matrix) -> tuple[float, float, float, int]:
    """How many ones both have, the first and the second; NaN if not binary; and the entries."""
    counts = torch.zeros(3, dtype=torch.float64, device=x.device)
    for a, b in _blocks(x, y):
        if not all(bool(((m == 0) | (m == 1)).all()) for m in (a, b)):
            return math.nan, math.nan, math.nan, x.numel()
        counts += torch.stack([(a * b).sum(), a.sum(), b.sum()])
    common, mine, theirs = counts.tolist()
    return common, mine, theirs, x.numel()
