"""By how much the features of two graphs differ, each as a figure of a pair of graphs.

All take (reference, graph), two `Data` over the same nodes. NaN says that a figure is not defined
there.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import check_same_shape
from graph_metamers.measure.features import (
    Matrix,
    feature_similarity,
    node_feature_similarity,
)

Columns = Float[Tensor, " features"]

ENTRIES = 1 << 20  # of float64 that are held at a time


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


def _features(reference: Data, graph: Data) -> tuple[Matrix, Matrix]:
    x, y = reference["x"].detach(), graph["x"].detach()
    check_same_shape(x, y)
    return x, y


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
