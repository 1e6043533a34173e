"""Which exchanges of ones go together."""

import pytest
import torch

from graph_metamers.search.feature_gains import Proposals, balanced, trust

NODES = torch.tensor([3, 5, 8])
COLUMNS, SLOTS = torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([[0, 0, 0], [1, 1, 1]])


def proposals(swap, add, remove):
    return Proposals(torch.tensor([swap, add, remove]), COLUMNS, SLOTS)


def test_a_one_goes_to_who_gains_most_from_who_loses_least():
    inf = torch.inf
    found = balanced(NODES, proposals([inf] * 3, [-5.0, -4, 9], [9.0, 9, 1]), moves=True)
    assert (found.gaining.tolist(), found.column.tolist()) == ([3], [3])
    assert (found.losing.tolist(), found.slot.tolist()) == ([8], [1])
    assert found.gain.tolist() == [-4]


def test_without_moves_each_node_swaps_on_its_own():
    found = balanced(NODES, proposals([-1.0, 2, -3], [-9.0] * 3, [-9.0] * 3), moves=False)
    assert found.gaining.tolist() == found.losing.tolist() == [8, 3]
    assert found.gain.tolist() == [-3, -1]


@pytest.mark.parametrize(("rest", "changes"), [(1e-7, 0), (1e-3, 1)])
def test_what_is_left_by_rounding_is_no_gain(rest, changes):
    """Two nodes that trade places: what one gains the other loses, but for the last bits."""
    inf = torch.inf
    found = balanced(NODES, proposals([inf] * 3, [-1 - rest, 9, 9], [9.0, 1, 9]), moves=True)
    assert len(found.gain) == changes


@pytest.mark.parametrize("count", [4, 32])
def test_curvatures_are_trusted_where_units_go_together(count):
    """Units 0 and 1 share their gradients, 2 is on its own, 3 is off; so over many nodes."""
    drawn = torch.randn(4000, count, 2, generator=torch.Generator().manual_seed(0))
    probes = torch.stack(
        [drawn[..., 0], -3 * drawn[..., 0], drawn[..., 1], torch.zeros(4000, count)], dim=2
    )
    probes *= torch.rand(4000, 1, 1, generator=torch.Generator().manual_seed(1))
    probes[:500] = 0  # nodes that the layer does not see
    found = trust(probes)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4))
    # r is 1 of the first two, and 1/K within 5 standard errors, √(2/3500), of those that are apart
    assert found[0, 1] == pytest.approx(1 - 1 / count, abs=1e-5)
    assert found[:2, 2].max() < 5 * (2 / 3500) ** 0.5
    assert torch.equal(found[3], torch.tensor([0.0, 0, 0, 1]))
