"""How well a model's responses to two graphs agree."""

import torch
from jaxtyping import Float, Int
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

    Raises:
        InputError: The shapes differ.

    Example:
        >>> activation_error(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0]))
        0.04
    """
    check_same_shape(reference, metamer)
    h = reference.double()
    return float((metamer.double() - h).square().sum() / h.square().sum())


def node_activation_error(
    reference: Float[Tensor, "nodes units"], metamer: Float[Tensor, "nodes units"]
) -> Float[Tensor, " nodes"]:
    """The same per node, relative to the mean squared activation of a node (Eq. 5, row by row).

        e_v = ‖h'_v − h_v‖² / mean_u ‖h_u‖²

    Relative to the mean and not to the node's own, which is zero for a node whose units are all
    off. The mean of e_v over all nodes is `activation_error`.

    Args:
        reference: h.
        metamer: h'.

    Returns:
        One value a node, zero or more.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> node_activation_error(torch.tensor([[1.0], [0.0]]), torch.tensor([[1.0], [0.5]]))
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    check_same_shape(reference, metamer)
    h = reference.double()
    return (metamer.double() - h).square().sum(1) / h.square().sum(1).mean()


def activation_correlation(reference: Activation, metamer: Activation) -> float:
    """Pearson correlation of two flattened activations.

    Args:
        reference: h, of any shape.
        metamer: h', of the same shape.

    Returns:
        In [−1, 1]; 1 is a perfect match up to scale and shift. NaN if one of them is constant.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> activation_correlation(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0, 6.0]))
        1.0
    """
    check_same_shape(reference, metamer)
    h, g = reference.double().flatten(), metamer.double().flatten()
    h, g = h - h.mean(), g - g.mean()
    r = torch.dot(h, g) / (torch.dot(h, h) * torch.dot(g, g)).sqrt()
    return float(r.clamp(-1, 1))


def predicted_class(output: Float[Tensor, "nodes *classes"]) -> Int[Tensor, " nodes"]:
    """The class that each row of a model's output stands for.

    The largest of several columns. A single column is a binary classifier: a probability above
    1/2 if all values lie in [0, 1], else a logit above 0.

    Example:
        >>> predicted_class(torch.tensor([[0.1, 0.9], [2.0, -1.0]]))
        tensor([1, 0])
        >>> predicted_class(torch.tensor([[-3.0], [0.2]]))
        tensor([0, 1])
    """
    if output.dim() > 1 and output.shape[-1] > 1:
        return output.flatten(1).argmax(dim=1)
    values = output.reshape(-1)
    probability = bool(((values >= 0) & (values <= 1)).all())
    return (values > (0.5 if probability else 0.0)).long()


def prediction_match(
    reference: Float[Tensor, "nodes *classes"], metamer: Float[Tensor, "nodes *classes"]
) -> float:
    """Share of nodes whose predicted class is the same on both graphs, S_match (Eq. 14).

    Args:
        reference: The model's output on the reference.
        metamer: The model's output on the metamer.

    Returns:
        In [0, 1]; 1 is full agreement.

    Raises:
        InputError: The shapes differ.

    Example:
        >>> prediction_match(torch.eye(2), torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
        0.5
    """
    check_same_shape(reference, metamer)
    # Together, so that a single column is read as probabilities on both graphs or on neither.
    classes = predicted_class(torch.cat([reference, metamer]))
    return float((classes[: len(reference)] == classes[len(reference) :]).double().mean())


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
