"""How well a model's responses to two graphs agree."""

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import check_same_shape

Activation = Float[Tensor, "..."]


def activation_error(reference: Activation, metamer: Activation) -> float:
    """Relative squared distance between two activations, L_act (Eq. 5).

        L_act = ‖h' − h‖² / ‖h‖²   (sums over all nodes and units)

    Args:
        reference: h, of any shape.
        metamer: h', of the same shape.

    Returns:
        Zero or more; 0 is a perfect match. Infinite or NaN if the reference's is all zero.

    Example:
        >>> activation_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0]))
        0.04
    """
    check_same_shape(reference, metamer)
    h = reference.double()
    return float((metamer.double() - h).square().sum() / h.square().sum())


def activation_correlation(reference: Activation, metamer: Activation) -> float:
    """Pearson correlation of two flattened activations.

    Args:
        reference: h, of any shape.
        metamer: h', of the same shape.

    Returns:
        In [−1, 1]; 1 is a perfect match up to scale and shift. NaN if one of them is constant.

    Example:
        >>> activation_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
        1.0
    """
    check_same_shape(reference, metamer)
    both = torch.stack([reference.flatten(), metamer.flatten()]).double()
    return float(torch.corrcoef(both)[0, 1])


def consistency(similarity: float, match: float) -> float:
    """Whether inputs and predictions are alike together or differ together, CS (Eqs. 15, 17).

        CS = S · S_match + (1 − S)(1 − S_match)

    It is **highest when the search fails**: a random start is unlike the reference and predicts
    other classes, so both terms agree (0.74 on Cora, where a metamer has 0.13). With S < 1/2 it
    falls as S_match grows, dCS/dS_match = 2S − 1. Compare it only between runs of equal
    activation error, and never read it without that error beside it.

    Args:
        similarity: S_feat or S_struct, in [0, 1]; below 0 (features that point the other way)
            CS leaves its range.
        match: S_match, in [0, 1].

    Returns:
        In [0, 1] for S in [0, 1]. Low at a small activation error says that the model is
        over-invariant.

    Example:
        >>> round(consistency(0.11, 0.97), 4), round(consistency(0.09, 0.20), 4)
        (0.1334, 0.746)
    """
    return similarity * match + (1 - similarity) * (1 - match)
