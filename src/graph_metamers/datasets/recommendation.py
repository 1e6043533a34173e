"""Users and items: a bipartite block model whose Bayes-optimal recommendations are known."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.datasets.blocks import (
    check_probability,
    check_share,
    edge_probabilities,
    flips,
    set_masks,
)
from graph_metamers.errors import check_count, check_positive


def bipartite(*, seed: int = 0, **parameters: Any) -> Data:
    """A graph of `BipartiteSBM(**parameters)`, the same for a seed; see its `sample`.

    Example:
        >>> data = bipartite(users=60, items=40, degree=4.0)
        >>> data.num_nodes, data.is_undirected(), float(data.edge_label.mean())
        (100, True, 0.5)
    """
    return BipartiteSBM(**parameters).sample(seed)


@dataclass(frozen=True)
class BipartiteSBM:
    """A stochastic block model of users and items.

    Users and items belong to groups of equal size. A user takes an item of the own group with a
    higher probability than another.

    Args:
        users: Number of users.
        items: Number of items.
        groups: Number of groups.
        degree: Expected number of items that a user takes.
        homophily: Expected share of pairs within a group, in [0, 1].
        held_out: Share of these pairs that are held out, in (0, 1).

    Raises:
        InputError: A parameter is out of range, or no such graph can be.
    """

    users: int = 300
    items: int = 200
    groups: int = 4
    degree: float = 20.0
    homophily: float = 0.8
    held_out: float = 0.4

    def __post_init__(self) -> None:
        check_count("groups", self.groups, least=2)
        check_count("users", self.users, least=self.groups)
        check_count("items", self.items, least=self.groups)
        check_positive("degree", self.degree)
        check_share("homophily", self.homophily)
        check_share("held_out", self.held_out, inside=True)
        # as many false pairs must be left
        check_probability(self, "degree", max(self.edge_probabilities), most=0.5)

    @property
    def group(self) -> Int[Tensor, " nodes"]:
        """The group of each user, then of each item. Consecutive nodes are of different groups."""
        return torch.cat([torch.arange(self.users), torch.arange(self.items)]) % self.groups

    @property
    def edge_probabilities(self) -> tuple[float, float]:
        """How likely a user takes an item of the own group, and of another."""
        within, pairs = self._pairs
        return edge_probabilities(self.homophily, self.users * self.degree, within, pairs)

    @property
    def _pairs(self) -> tuple[float, float]:
        """How many pairs of a user and an item lie within a group, and how many there are."""
        users, items = self.group.split([self.users, self.items])
        return float((users[:, None] == items).sum()), float(self.users * self.items)

    def sample(self, seed: int = 0) -> Data:
        """A graph of this model.

        Args:
            seed: Seed of the random numbers. The global random state is left as it was.

        Returns:
            Users 0 … users − 1 and after them the items, without features. `edge_index` has each
            pair that is not held out in both directions. `edge_label_index` [2, pairs] has users
            in its first row and items in its second: the pairs that are held out, and as many
            that no user took. `edge_label` [pairs] is 1.0 for the former, 0.0 for the latter;
            `train_mask`, `val_mask` and `test_mask` [pairs] mark half, a quarter and a quarter of
            them. `node_type` [nodes] is 0 for users and 1 for items.
        """
        generator = torch.Generator().manual_seed(int(seed))
        users, items = self.group.split([self.users, self.items])
        probability = torch.where(users[:, None] == items, *self.edge_probabilities)
        taken = flips(probability, generator)
        true, false = (_shuffled(which.nonzero(), generator) for which in (taken, ~taken))
        count = max(1, round(self.held_out * len(true)))
        first = torch.tensor([[0], [self.users]])  # the first user, the first item
        seen = true[count:].T + first

        order = torch.randperm(2 * count, generator=generator)
        pairs = torch.cat([true[:count], false[:count]])[order].T + first
        data = Data(
            edge_index=torch.cat([seen, seen.flip(0)], dim=1),
            edge_label_index=pairs,
            edge_label=(order < count).float(),
            node_type=(torch.arange(self.users + self.items) >= self.users).long(),
            num_nodes=self.users + self.items,
        )
        set_masks(data, torch.arange(2 * count).tensor_split([count, count * 3 // 2]), 2 * count)
        return data

    def posterior(self, edge_label_index: Int[Tensor, "2 pairs"]) -> Float[Tensor, " pairs"]:
        """The Bayes-optimal probability that a pair of `edge_label_index` is a true one.

        Given the groups it is exact, up to the random numbers of pairs, of order 1 / √pairs:

            P(1 | within) = h / (h + h̄),   P(1 | between) = (1 − h) / ((1 − h) + (1 − h̄)),

        h the share of true pairs that lie within a group (`homophily`), h̄ that of the others.

        Args:
            edge_label_index: A user and an item in each column.

        Returns:
            A probability for each pair, float64.

        Example:
            >>> model = BipartiteSBM()
            >>> data = model.sample()
            >>> p = model.posterior(data.edge_label_index)
            >>> ((p > 0.5) == data.edge_label).float().mean() > 0.7
            tensor(True)
        """
        group, h = self.group, self.homophily
        within, pairs = self._pairs
        taken = self.users * self.degree
        h_false = (within - h * taken) / (pairs - taken)
        same = group[edge_label_index[0]] == group[edge_label_index[1]]
        given = h / (h + h_false), (1 - h) / ((1 - h) + (1 - h_false))
        return torch.where(same, *(torch.tensor(p, dtype=torch.double) for p in given))


def _shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)]
