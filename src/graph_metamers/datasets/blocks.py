"""What the stochastic block models share: probabilities, likelihoods, masks and sentences."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.storage import NodeStorage

from graph_metamers.errors import InputError


def check_share(name: str, value: float, *, inside: bool = False) -> None:
    """Raise unless a parameter is a share in [0, 1], or strictly inside of it."""
    if not (0 < value < 1 if inside else 0 <= value <= 1):
        raise InputError(f"{name} must be in {'(0, 1)' if inside else '[0, 1]'}; got {value}.")


def check_probability(model: Any, name: str, probability: float, most: float = 1.0) -> None:
    """Raise where a parameter of a model makes a probability larger than it can be."""
    if probability > most:
        raise InputError(
            f"{type(model).__name__} cannot have {name}={getattr(model, name)}: a probability "
            f"would be {probability:.2f}, which must be at most {most:g}. Lower it, or take more "
            "nodes."
        )


def check_words(said: str, x: Tensor, shape: tuple[int, int]) -> None:
    """Raise unless features are binary and of a model's shape."""
    if x.shape != shape or not bool(((x == 0) | (x == 1)).all()):
        raise InputError(
            f"{said} must be binary {list(shape)} for this model; got {list(x.shape)} from "
            f"{float(x.min()):g} to {float(x.max()):g}."
        )


def word_probabilities(
    classes: int, words: int, density: float, signal: float
) -> Float[Tensor, "classes words"]:
    """How likely each word is in a node of each class: the own topic's `signal` times as likely."""
    topic = torch.arange(words) * classes // words
    own = torch.arange(classes)[:, None] == topic
    other = density * classes / (signal + classes - 1)
    return other * torch.where(own, signal, 1.0)


def edge_probabilities(
    homophily: float, expected: float, within: float, pairs: float
) -> tuple[float, float]:
    """How likely an edge is within a class, and between two, where so many are expected."""
    return homophily * expected / within, (1 - homophily) * expected / (pairs - within)


def flips(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """True with the probability of each entry."""
    return torch.rand(probabilities.shape, generator=generator) < probabilities


def likelihood(ones: Tensor, zeros: Tensor, p: Tensor) -> Tensor:
    """Log-likelihood of each class (row of p) for each node's ones and zeros."""
    yes, no = log_odds(p)
    return ones @ yes.T + zeros @ no.T


def log_odds(p: Tensor) -> tuple[Tensor, Tensor]:
    """Log p and log (1 − p). What is impossible is finite, so that it rules a class out."""
    tiny = torch.finfo(p.dtype).tiny
    return p.clamp(min=tiny).log(), (1 - p).clamp(min=tiny).log()


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
