"""How similar two feature matrices are."""

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import check_same_shape

Matrix = Float[Tensor, "nodes features"]


def feature_similarity(x: Matrix, y: Matrix) -> float:
    """Cosine of the two flattened feature matrices, S_feat (Eq. 13).

        S_feat = ⟨X, X'⟩ / (‖X‖ ‖X'‖)

    Args:
        x: Features of one graph.
        y: Features of the other.

    Returns:
        In [−1, 1], in [0, 1] for non-negative features; 1 is the same direction. NaN if one of
        them is all zero. Read it beside that of a random start: unrelated sparse matrices with
        the same column means are not at 0.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> round(feature_similarity(torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])), 4)
        0.7071
    """
    check_same_shape(x, y)
    return float(_cosine(x.reshape(1, -1), y.reshape(1, -1)))


def node_feature_similarity(x: Matrix, y: Matrix) -> Float[Tensor, " nodes"]:
    """Cosine between each node's features in the two graphs (Eq. 13, row by row).

    Args:
        x: Features of one graph.
        y: Features of the other.

    Returns:
        One value a node in [−1, 1]; NaN where a node has no feature in one of the graphs.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> node_feature_similarity(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        tensor([1., 0.], dtype=torch.float64)
    """
    check_same_shape(x, y)
    return _cosine(x, y)


def _cosine(x: Tensor, y: Tensor, entries: int = 1 << 20) -> Float[Tensor, " rows"]:
    # In float64, a block at a time: a large matrix is never copied whole.
    parts: list[Tensor] = []
    if len(x) == 1:
        blocks = list(zip(x[0].split(entries), y[0].split(entries), strict=True))
        dots = torch.zeros(3, dtype=torch.float64, device=x.device)
        for a, b in blocks:
            dots += _dots(a[None].double(), b[None].double())[:, 0]
        return (dots[0] / (dots[1] * dots[2]).sqrt())[None]
    rows = max(1, entries // x.shape[1])
    for a, b in zip(x.split(rows), y.split(rows), strict=True):
        ab, aa, bb = _dots(a.double(), b.double())
        parts.append(ab / (aa * bb).sqrt())
    return torch.cat(parts)


def _dots(a: Tensor, b: Tensor) -> Tensor:
    return torch.stack([(a * b).sum(1), (a * a).sum(1), (b * b).sum(1)])
