"""How similar two feature matrices of the same shape are. NaN says that it is not defined there."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import check_same_shape

Matrix = Float[Tensor, "nodes features"]


def feature_similarity(x: Matrix, y: Matrix) -> float:
    """Cosine of the two flattened feature matrices, S_feat (Eq. 13).

        S_feat = ⟨X, X'⟩ / (‖X‖ ‖X'‖)

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if one of
        them is all zero. Read it beside that of a random start: unrelated sparse matrices with
        the same column means are not at 0.

    Example:
        >>> round(feature_similarity(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])), 4)
        0.7071
    """
    return _cosine(*_doubles(x, y))


def node_feature_similarity(x: Matrix, y: Matrix) -> Float[Tensor, " nodes"]:
    """Cosine between each node's features in the two graphs (Eq. 13, row by row).

    Returns:
        One value a node in [−1, 1]; NaN where a node has no feature in one of the graphs.

    Example:
        >>> node_feature_similarity(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    a, b = _doubles(x, y)
    return torch.linalg.vecdot(a, b) / (a.norm(dim=1) * b.norm(dim=1))


def node_similarity_quantile(x: Matrix, y: Matrix, *, share: float) -> float:
    """A quantile of `node_feature_similarity`, over the nodes that have features in both graphs.

    `share` is that of the nodes that are less alike, in [0, 1].

    Returns:
        In [−1, 1]. NaN if no node has features in both graphs.

    Example:
        >>> b = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        >>> node_similarity_quantile(torch.eye(3), b, share=0.5)  # 1, 0, and one without features
        0.5
    """
    return float(node_feature_similarity(x, y).nanquantile(share))


def centred_feature_similarity(x: Matrix, y: Matrix) -> float:
    """Cosine of the features less the reference's column means: Eq. 13 without what all share.

        ⟨X − 1c, X' − 1c⟩ / (‖X − 1c‖ ‖X' − 1c‖),   c the column means of X

    Unrelated features are near 0 here, also those of a random start, which has the same column
    means: on Cora it is at 0.002, and at 0.09 in S_feat.

    Returns:
        In [−1, 1]; 1 is the same deviation from the mean node, 0 an unrelated one. NaN if all
        nodes of the reference are alike, or all of the other graph are the mean node.

    Example:
        >>> a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # deviations ±1/2
        >>> centred_feature_similarity(a, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        0.0
    """
    a, b = _doubles(x, y)
    mean = a[0] + (a - a[0]).mean(0)  # so that the mean of equal rows is exact
    return _cosine(a - mean, b - mean)


def weighted_feature_similarity(x: Matrix, y: Matrix) -> float:
    """Cosine of the features in which rare ones count more (Eq. 13, weighted by column).

        Σ w_j x_vj x'_vj / √(Σ w_j x_vj² · Σ w_j x'_vj²),   w_j = −log((1 + n_j) / (1 + n))

    n_j of the reference's n nodes have feature j at all. The weight is what the presence of
    feature j tells, in nats: nothing if all nodes have it, log(1 + n) at most.

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if one of
        them is all zero, and where every node has every feature: none of them is rare.

    Example:
        >>> a = torch.tensor([[1.0, 1.0], [1.0, 0.0]])  # all nodes have the first feature
        >>> b = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
        >>> round(weighted_feature_similarity(a, b), 4), round(feature_similarity(a, b), 4)
        (1.0, 0.5774)
    """
    a, b = _doubles(x, y)
    weight = -((1 + a.count_nonzero(dim=0).double()) / (1 + len(a))).log()
    return _cosine(a * weight.sqrt(), b * weight.sqrt())


def feature_distance(x: Matrix, y: Matrix) -> float:
    """How far the features moved, in relation to their size: ‖X' − X‖ / ‖X‖.

    Returns:
        Zero or more; 0 are equal features, √2 unrelated sparse ones of equal size. Infinite, or
        NaN for equal features, if the reference's are all zero.

    Example:
        >>> feature_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 3.0]]))
        0.2
    """
    a, b = _doubles(x, y)
    return float((b - a).norm() / a.norm())


def feature_jaccard(x: Matrix, y: Matrix) -> float:
    """Share of the ones of two binary feature matrices that both have: |X ∧ X'| / |X ∨ X'|.

    Returns:
        In [0, 1]; 1 are equal features, 0 no one in common. NaN if an entry of either is neither
        0 nor 1, and where neither has a one.

    Example:
        >>> feature_jaccard(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        0.5
    """
    different, common = _binary_counts(x, y)
    return common / (common + different) if common + different else math.nan


def feature_hamming(x: Matrix, y: Matrix) -> float:
    """Share of the entries in which two binary feature matrices differ: |X ⊕ X'| / (n d).

    Sparse features differ in few entries however unrelated they are, in a share of 2ρ(1 − ρ) if
    a share of ρ is one.

    Returns:
        In [0, 1]; 0 are equal features. NaN if an entry of either is neither 0 nor 1.

    Example:
        >>> feature_hamming(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        0.5
    """
    return _binary_counts(x, y)[0] / x.numel()


def _binary_counts(x: Matrix, y: Matrix) -> tuple[float, float]:
    """How many entries differ, and how many are one in both; NaN if one is neither 0 nor 1."""
    check_same_shape(x, y)
    if not all(bool(((m == 0) | (m == 1)).all()) for m in (x, y)):
        return math.nan, math.nan
    return float((x != y).sum()), float((x * y).count_nonzero())


def _doubles(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    check_same_shape(x, y)
    return x.detach().double(), y.detach().double()


def _cosine(a: Matrix, b: Matrix) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))
