"""Random numbers of one's own: the global state is neither read nor changed."""

import torch

OWN = 0x6D6574616D6572  # "metamer"


def seeded(seed: int) -> torch.Generator:
    """A generator whose numbers are not those that follow `torch.manual_seed(seed)`.

    Who made her features with that would find them in the random start, which is to be unlike them.

    >>> torch.rand(1, generator=seeded(0)) == torch.rand(1, generator=seeded(0))
    tensor([True])
    >>> own = torch.Generator().manual_seed(0)
    >>> torch.rand(1, generator=seeded(0)) == torch.rand(1, generator=own)
    tensor([False])
    """
    return torch.Generator().manual_seed(OWN + int(seed))  # it may be one of NumPy's
