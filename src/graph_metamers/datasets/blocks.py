"""What the stochastic block models share: probabilities, masks and sentences."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.storage import NodeStorage

from graph_metamers.errors import InputError


def check_probability(name: str, value: float, probability: float, most: float = 1.0) -> None:
    """Raise where a parameter makes a probability larger than it can be."""
    if probability > most:
        raise InputError(
            f"{name}={value} cannot be: a probability would be {probability:.2f}, which must be at "
            f"most {most:g}. Lower it, or take more nodes."
        )


def word_probabilities(
    classes: int, words: int, density: float, signal: float
) -> Float[Tensor, "classes words"]:
    """How likely each word is in a node of each class: the own topic's `signal` times as likely."""
    topic = torch.arange(words) * classes // words
    own = torch.arange(classes)[:, None] == topic
    other = density * classes / (signal + classes - 1)
    probabilities = other * torch.where(own, signal, 1.0)
    check_probability("density", density, float(probabilities.max()))
    return probabilities


def edge_probabilities(
    homophily: float, expected: float, within: float, pairs: float
) -> tuple[float, float]:
    """How likely an edge is within a class, and between two, where so many are expected."""
    return homophily * expected / within, (1 - homophily) * expected / (pairs - within)


def flips(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """True with the probability of each entry."""
    return torch.rand(probabilities.shape, generator=generator) < probabilities


def mask_nodes(data: Data | NodeStorage, classes: int, generator: torch.Generator) -> None:
    """Set train, val and test masks: 20 nodes a class, at most a third; half of the rest each."""
    y: Tensor = data.y  # pyright: ignore[reportAssignmentType]
    order = torch.randperm(len(y), generator=generator)
    count = min(20, max(1, len(y) // (3 * classes)))
    train = torch.cat([order[y[order] == c][:count] for c in range(classes)])
    rest = order[~torch.isin(order, train)]
    parts = (train, rest[: len(rest) // 2], rest[len(rest) // 2 :])
    set_masks(data, parts, len(y))


def set_masks(data: Data | NodeStorage, parts: Iterable[Tensor], count: int) -> None:
    """Set `train_mask`, `val_mask`, `test_mask` [count], each true at one part's places."""
    for name, part in zip(("train_mask", "val_mask", "test_mask"), parts, strict=True):
        mask = torch.zeros(count, dtype=torch.bool)
        mask[part] = True
        data[name] = mask
