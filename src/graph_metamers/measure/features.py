"""How similar two feature matrices of the same shape are. NaN says that it is not defined there."""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import check_same_shape

Matrix = Float[Tensor, "nodes features"]

ENTRIES = 1 << 20  # of float64 that are held at a time


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
    return _cosine(x, y)


def node_feature_similarity(x: Matrix, y: Matrix) -> Float[Tensor, " nodes"]:
    """Cosine between each node's features in the two graphs (Eq. 13, row by row).

    Returns:
        One value a node in [−1, 1]; NaN where a node has no feature in one of the graphs.

    Example:
        >>> node_feature_similarity(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    return torch.cat(
        [(a * b).sum(1) / (a.square().sum(1) * b.square().sum(1)).sqrt() for a, b in _blocks(x, y)]
    )


def node_similarity_quantile(x: Matrix, y: Matrix, *, share: float) -> float:
    """A quantile of `node_feature_similarity`, over the nodes that have features in both graphs.

    Args:
        x: Features of the reference.
        y: Features of the other graph.
        share: The share of nodes that are less alike, in [0, 1].

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
    first = x[0].detach().double()  # so that the mean of equal rows is exact
    mean = first + _sums(lambda a, _: (a - first).sum(0), x, y) / len(x)
    return _cosine(x, y, centre=mean)


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
    count = _sums(lambda a, _: (a != 0).sum(0), x, y)
    return _cosine(x, y, weight=-((1 + count.double()) / (1 + len(x))).log())


def feature_distance(x: Matrix, y: Matrix) -> float:
    """How far the features moved, in relation to their size: ‖X' − X‖ / ‖X‖.

    Returns:
        Zero or more; 0 are equal features, √2 unrelated sparse ones of equal size. Infinite, or
        NaN for equal features, if the reference's are all zero.

    Example:
        >>> feature_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 3.0]]))
        0.2
    """
    squares = _sums(lambda a, b: torch.stack([(b - a).square().sum(), a.square().sum()]), x, y)
    moved, size = squares.sqrt()
    return float(moved / size)


def feature_jaccard(x: Matrix, y: Matrix) -> float:
    """Share of the ones of two binary feature matrices that both have: |X ∧ X'| / |X ∨ X'|.

    Returns:
        In [0, 1]; 1 are equal features, 0 no one in common. NaN if an entry of either is neither
        0 nor 1, and where neither has a one.

    Example:
        >>> feature_jaccard(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]]))
        0.5
    """
    common, mine, theirs = _binary_counts(x, y)
    either = mine + theirs - common
    return common / either if either else math.nan


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
    common, mine, theirs = _binary_counts(x, y)
    return (mine + theirs - 2 * common) / x.numel()


def _cosine(
    x: Matrix, y: Matrix, *, centre: Tensor | None = None, weight: Tensor | None = None
) -> float:
    """⟨X, X'⟩ / (‖X‖ ‖X'‖), less a row and weighted by column where these are given."""

    def products(a: Matrix, b: Matrix) -> Float[Tensor, " 3"]:
        if centre is not None:
            a, b = a - centre, b - centre
        left, right = (a, b) if weight is None else (a * weight, b * weight)
        return torch.stack([(left * b).sum(), (left * a).sum(), (right * b).sum()])

    both, mine, theirs = _sums(products, x, y)
    return float(both / (mine * theirs).sqrt())


def _binary_counts(x: Matrix, y: Matrix) -> list[float]:
    """How many ones both have, the first and the second; NaN if an entry is neither 0 nor 1."""

    def counts(a: Matrix, b: Matrix) -> Float[Tensor, " 3"]:
        found = torch.stack([(a * b).sum(), a.sum(), b.sum()])
        binary = all(bool(((m == 0) | (m == 1)).all()) for m in (a, b))
        return found if binary else torch.full_like(found, math.nan)

    return _sums(counts, x, y).tolist()


def _sums(of: Callable[[Matrix, Matrix], Tensor], x: Matrix, y: Matrix) -> Tensor:
    return torch.stack([of(a, b) for a, b in _blocks(x, y)]).sum(0)


def _blocks(x: Matrix, y: Matrix) -> Iterator[tuple[Matrix, Matrix]]:
    """Some rows of both at a time, in float64: a large matrix is never copied whole."""
    check_same_shape(x, y)
    rows = max(1, ENTRIES // max(1, x.shape[1]))
    for a, b in zip(x.detach().split(rows), y.detach().split(rows), strict=True):
        yield a.double(), b.double()
