"""Users and items: a bipartite stochastic block model, and which pairs are held out."""

import torch
from torch_geometric.data import Data

from graph_metamers.datasets.blocks import (
    check_probability,
    edge_probabilities,
    flips,
    set_masks,
)
from graph_metamers.errors import check_count, check_number, check_positive


def bipartite(
    *,
    users: int = 300,
    items: int = 200,
    groups: int = 4,
    degree: float = 20.0,
    homophily: float = 0.8,
    held_out: float = 0.4,
    seed: int = 0,
) -> Data:
    """A stochastic block model of users and items.

    User u is of group u mod `groups`, and item i of group i mod `groups`. A user takes an item of
    the own group with a higher probability than another.

    Args:
        users: Number of users.
        items: Number of items.
        groups: Number of groups.
        degree: Expected number of items that a user takes.
        homophily: Expected share of pairs within a group, in [0, 1].
        held_out: Share of these pairs that are held out, in [0, 1].
        seed: Seed of the random numbers. The global random state is left as it was.

    Returns:
        Users 0 … users − 1 and after them the items, without features. `edge_index` has each pair
        that is not held out in both directions. `edge_label_index` [2, pairs] has users in its
        first row and items in its second: the pairs that are held out, and as many that no user
        took. `edge_label` [pairs] is 1.0 for the former, 0.0 for the latter; `train_mask`,
        `val_mask` and `test_mask` [pairs] mark half, a quarter and a quarter of them. `node_type`
        [nodes] is 0 for users and 1 for items.

    Raises:
        InputError: A parameter is out of range, or no such graph can be.

    Example:
        >>> data = bipartite(users=60, items=40, degree=4.0)
        >>> data.num_nodes, data.is_undirected(), float(data.edge_label.mean())
        (100, True, 0.5)
    """
    check_count("groups", groups, least=2)
    check_count("users", users, least=groups)
    check_count("items", items, least=groups)
    check_positive("degree", degree)
    check_number("homophily", homophily, 0, 1)
    check_number("held_out", held_out, 0, 1)

    generator = torch.Generator().manual_seed(int(seed))
    alike = torch.arange(users)[:, None] % groups == torch.arange(items) % groups
    within, pairs = float(alike.sum()), float(users * items)
    likely = edge_probabilities(homophily, users * degree, within, pairs)
    check_probability("degree", degree, max(likely), most=0.5)  # as many false pairs must be left
    taken = flips(torch.where(alike, *likely), generator)
    true, false = (which.nonzero() for which in (taken, ~taken))
    true, false = (rows[torch.randperm(len(rows), generator=generator)] for rows in (true, false))
    count = max(1, round(held_out * len(true)))
    first = torch.tensor([[0], [users]])  # the first user, the first item
    seen = true[count:].T + first

    order = torch.randperm(2 * count, generator=generator)
    data = Data(
        edge_index=torch.cat([seen, seen.flip(0)], dim=1),
        edge_label_index=torch.cat([true[:count], false[:count]])[order].T + first,
        edge_label=(order < count).float(),
        node_type=(torch.arange(users + items) >= users).long(),
        num_nodes=users + items,
    )
    set_masks(data, torch.arange(2 * count).tensor_split([count, count * 3 // 2]), 2 * count)
    return data
