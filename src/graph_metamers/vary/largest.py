"""The largest of very many values, without sorting them."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def largest(
    values: Float[Tensor, " entries"], count: int, *, guess: float = -math.inf
) -> Int[Tensor, " count"]:
    """Indices of the `count` largest values, ascending; the first of equal ones; NaN is least.

    The same set as `torch.topk`, without sorting: a threshold that lies a little below the one
    wanted is guessed, and only what exceeds it is looked at closely.

    Args:
        values: Any values.
        count: How many.
        guess: A value believed to lie a little below the count-th largest; a bad one costs time
            and changes nothing. Without one, a sample of the values gives it.

    >>> largest(torch.tensor([0.1, 0.9, 0.5, 0.5, 0.2]), 2)
    tensor([1, 2])
    """
    values = values.detach()
    candidates = _above(values, guess, count)
    if candidates is None:
        candidates = _above(values, _sampled_guess(values, count), count)
    chosen = values if candidates is None else values[candidates]
    threshold = chosen.kthvalue(len(chosen) - count + 1).values
    places = (chosen >= threshold).nonzero().view(-1)
    if len(places) > count:  # ties
        above = (chosen > threshold).nonzero().view(-1)
        ties = (chosen == threshold).nonzero().view(-1)[: count - len(above)]
        places = torch.cat([above, ties]).sort().values
    if len(places) < count:  # NaN compares with nothing
        return largest(values.masked_fill(values.isnan(), -math.inf), count)
    return places if candidates is None else candidates[places]


def _above(values: Tensor, guess: float, count: int) -> Tensor | None:
    if not math.isfinite(guess):
        return None
    # NumPy's has one thread, and is as fast as PyTorch's with three.
    known = values.is_cpu and values.dtype in (torch.float32, torch.float64)
    if known and torch.get_num_threads() < 4:
        candidates = torch.from_numpy(np.flatnonzero(values.numpy() >= guess))
    else:
        candidates = (values >= guess).nonzero().view(-1)
    return candidates if len(candidates) >= count else None


def _sampled_guess(values: Tensor, count: int, sample: int = 1 << 14) -> float:
    if len(values) < 4 * sample:
        return -math.inf
    # Multiples of a large prime, so that all rows and columns are met alike.
    places = torch.arange(sample, device=values.device) * 2_654_435_761 % len(values)
    expected = count / len(values) * sample
    rank = math.ceil(expected + 5 * math.sqrt(expected) + 5)
    if rank >= sample // 2:
        return -math.inf
    return float(values[places].kthvalue(sample - rank + 1).values)
