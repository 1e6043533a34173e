"""What the discrete searches share: how far promises are trusted, and which exchanges are kept."""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ATTEMPTS = 4  # each with a quarter of the exchanges of the one before
KEPT, BROKEN = 0.6, 0.3  # shares of a promised gain that came true
TRUSTED, DOUBTED = 0.8, 1.3  # by how much the curvature counts less or more afterwards
LEAST, MOST = 0.5, 100.0  # between which it counts

Set = TypeVar("Set")


def trusted(
    kappa: Float[Tensor, " graphs"], kept: Float[Tensor, " graphs"], *, most: float = torch.inf
) -> Float[Tensor, " graphs"]:
    """How much the curvature counts after a promise: less where it was kept, more where not.

    Args:
        kappa: How much it counted.
        kept: The share of the promised gain that came true; NaN where nothing was promised.
        most: Above which it never grows.
    """
    kappa = torch.where(kept > KEPT, (TRUSTED * kappa).clamp(min=LEAST), kappa)
    return torch.where(kept < BROKEN, (DOUBTED * kappa).clamp(max=most), kappa)


def carried_out(
    exchanges: Set,
    *,
    attempt: Callable[[Set, int], Bool[Tensor, " graphs"]],
    rest: Callable[[Set, Bool[Tensor, " graphs"]], Set | None],
) -> None:
    """Carry exchanges out together where that lowers the true error of their graph.

    Else the most promising quarter of them is tried, and so on, four times at most.

    Args:
        exchanges: All that promise a gain.
        attempt: Carries them out, takes back those of graphs whose error did not fall, and tells
            where it fell; with the number of the attempt.
        rest: The best quarter of those of graphs whose error did not fall; None if none is left.
    """
    remaining: Set | None = exchanges
    for number in range(ATTEMPTS):
        if remaining is None:
            return
        remaining = rest(remaining, attempt(remaining, number))
