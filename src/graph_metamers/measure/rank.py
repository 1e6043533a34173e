"""How many directions a matrix keeps, by its singular values: of one matrix or of a batch.

Ranks are 0 for a matrix of zeros.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

Values = Float[Tensor, "*batch m"]
Ranks = Float[Tensor, "*batch"]


def singular_values(gram: Float[Tensor, "*batch m m"]) -> Values:
    """Singular values of J from its Gram matrix J Jᵀ, in float64, largest first.

    Squaring costs half of the digits: what is below 1e-7 of the largest is rounding.

    Example:
        >>> j = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
        >>> singular_values(j @ j.T)
        tensor([4., 3.], dtype=torch.float64)
    """
    return torch.linalg.eigvalsh(gram.double()).flip(-1).clamp(min=0).sqrt()


def numerical_rank(values: Values, rtol: float) -> Int[Tensor, "*batch"]:
    """How many singular values exceed `rtol` times the largest.

    Example:
        >>> numerical_rank(torch.tensor([[2.0, 1.0, 1e-9], [0.0, 0.0, 0.0]]), 1e-5)
        tensor([2, 0])
    """
    return (values > rtol * values.amax(dim=-1, keepdim=True)).sum(dim=-1)


def effective_rank(values: Values) -> Ranks:
    """How many directions carry a matrix, were they all equal: exp of the entropy, in [1, rank].

        exp(−Σ p_i log p_i),   p_i = σ_i / Σ σ   (Roy and Vetterli, EUSIPCO 2007)

    Example:
        >>> effective_rank(torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
        tensor([2., 0.])
    """
    total = values.sum(dim=-1, keepdim=True)
    shares = values / total.clamp(min=torch.finfo(values.dtype).tiny)
    return torch.special.entr(shares).sum(dim=-1).exp() * (total.squeeze(-1) > 0)


def stable_rank(values: Values) -> Ranks:
    """‖J‖_F² / ‖J‖₂²: the rank that small singular values do not count in, in [1, rank].

    Example:
        >>> stable_rank(torch.tensor([2.0, 1.0, 0.0]))
        tensor(1.2500)
    """
    largest = values.amax(dim=-1).square()
    return values.square().sum(dim=-1) / largest.clamp(min=torch.finfo(values.dtype).tiny)
