"""Exchanges of edges: what they keep, what they say of the messages that change."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.vary.rewiring import Exchanges, Rewiring, disjoint, is_symmetric

quick = settings(deadline=None, max_examples=40)
graphs = given(
    nodes=st.integers(4, 16),
    density=st.floats(0.1, 0.6),
    seed=st.integers(0, 1000),
    directed=st.booleans(),
    loops=st.booleans(),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(nodes: int, density: float, seed: int, directed: bool, loops: bool) -> Data:
    """At least one edge and one pair without."""
    there = torch.rand(nodes, nodes, generator=generator(seed)) < density
    there = there if directed else there | there.T
    there[0, 1] = there[1, 0] = True
    there[0, 2] = there[2, 0] = False
    if directed:
        there[1, 0] = False
    there.fill_diagonal_(False)
    if loops:
        there[1, 1] = there[3, 3] = True
    return Data(x=torch.eye(nodes), edge_index=there.nonzero().T.contiguous())


def adjacency(data: Data) -> Tensor:
    nodes = len(data.x)
    counts = torch.zeros(nodes, nodes, dtype=torch.long)
    one = torch.ones(data.num_edges, dtype=torch.long)
    return counts.index_put(tuple(data.edge_index), one, accumulate=True)


def tried(rewiring: Rewiring, kind: str, seed: int) -> Exchanges:
    """Many random exchanges, those that are not allowed too."""
    count = rewiring.pairs.shape[1]
    slots = torch.randint(count, (2, 60), generator=generator(seed))
    if kind == "moves":
        return rewiring.moves(
            slots[0], rewiring.random_nodes(slots.shape[1], generator(seed + 1)), generator(seed)
        )
    return rewiring.double_swaps(slots, generator(seed))


def some(rewiring: Rewiring, kind: str, seed: int, keep: float = 1.0) -> Exchanges:
    proposed = tried(rewiring, kind, seed)
    return rewiring.allowed(proposed, torch.zeros(len(proposed)), keep)[0]


kinds = pytest.mark.parametrize("kind", ["double swaps", "moves"])


@quick
@graphs
def test_pairs_and_back(nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = Rewiring(data)
    assert rewiring.undirected == is_symmetric(data.edge_index, nodes)
    assert torch.equal(adjacency(rewiring.graph()), adjacency(data))
    assert bool(rewiring.in_reference(rewiring.pairs).all())


@kinds
@quick
@graphs
def test_each_exchange_keeps_what_it_promises(kind, nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = Rewiring(data)
    before = adjacency(data)
    found = some(rewiring, kind, seed)
    for k in range(len(found)):
        graph = rewiring.graph(rewiring.exchanged(found.of(torch.tensor([k]))))
        after = adjacency(graph)
        assert int(after.max()) == 1
        assert torch.equal(after.diagonal(), before.diagonal())
        assert int(after.sum()) == int(before.sum())
        assert not torch.equal(after, before)
        if rewiring.undirected:
            assert torch.equal(after, after.T)
        if kind == "double swaps":
            assert torch.equal(after.sum(dim=0), before.sum(dim=0))
            assert torch.equal(after.sum(dim=1), before.sum(dim=1))
        # The messages that come and go are the difference of the incoming neighbours.
        said = torch.zeros_like(before)
        for v, comes, goes in zip(
            *(rows[:, k].tolist() for rows in (found.receivers, found.comes, found.goes)),
            strict=True,
        ):
            if comes >= 0:
                said[comes, v] += 1
            if goes >= 0:
                said[goes, v] -= 1
        assert torch.equal(said, after - before)
        # Nothing else is touched, and no receiver with a change stands twice.
        changed = (after != before).any(dim=0) | (after != before).any(dim=1)
        assert set(changed.nonzero().view(-1).tolist()) <= set(found.ends[:, k].tolist())
        active = found.receivers[:, k][(found.comes[:, k] >= 0) | (found.goes[:, k] >= 0)]
        assert len(active) == len(active.unique())


@kinds
@quick
@graphs
def test_what_is_not_allowed_would_be_no_such_graph(kind, nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = Rewiring(data)
    proposed = tried(rewiring, kind, seed)
    fine = set(rewiring.allowed(proposed, torch.arange(60).float(), 1.0)[1].int().tolist())
    here = {tuple(p) for p in rewiring.pairs.T.tolist()}
    for k in range(len(proposed)):
        new = [tuple(p) for p in proposed.new[:, :, k].T.tolist()]
        if rewiring.undirected:
            new = [tuple(sorted(p)) for p in new]
        good = all(u != v for u, v in new) and not here & set(new) and len(set(new)) == len(new)
        assert (k in fine) == good


@kinds
@quick
@graphs
def test_those_chosen_can_be_carried_out_together(kind, nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = Rewiring(data)
    found = some(rewiring, kind, seed)
    order = torch.rand(len(found), generator=generator(seed))
    chosen = rewiring.together(found, order, generator(seed))
    if len(found):
        assert int(order.argmin()) in chosen.tolist()
    changed = found.slots[:, chosen].reshape(-1).tolist()
    assert len(changed) == len(set(changed))
    touched = torch.bincount(found.ends[:, chosen].reshape(-1), minlength=nodes)
    degree = torch.bincount(rewiring.pairs.reshape(-1), minlength=nodes)
    assert (touched <= degree.clamp(min=1)).all()
    after = adjacency(rewiring.graph(rewiring.exchanged(found.of(chosen))))
    before = adjacency(data)
    assert int(after.max()) == 1
    assert int(after.sum()) == int(before.sum())
    assert torch.equal(after.diagonal(), before.diagonal())
    if kind == "double swaps":
        assert torch.equal(after.sum(dim=0), before.sum(dim=0))


@kinds
@quick
@given(seed=st.integers(0, 1000), directed=st.booleans(), keep=st.floats(0, 1))
def test_keep_holds_whatever_is_carried_out(kind, seed, directed, keep):
    data = random_graph(14, 0.25, seed, directed, False)
    rewiring = Rewiring(data)
    for step in range(6):  # wander off, then come back as far as one may
        found = some(rewiring, kind, seed + step)
        chosen = rewiring.together(found, torch.arange(len(found)) * 1.0, generator(step))
        rewiring.place(rewiring.exchanged(found.of(chosen)))
    limit = max(
        int(keep * rewiring.pairs.shape[1]), int(rewiring.in_reference(rewiring.pairs).sum())
    )
    for step in range(6):
        found = some(rewiring, kind, seed + 50 + step, keep)
        chosen = rewiring.together(found, torch.arange(len(found)) * 1.0, generator(step))
        rewiring.place(rewiring.exchanged(found.of(chosen)))
        assert int(rewiring.in_reference(rewiring.pairs).sum()) <= limit


def test_disjoint_by_hand():
    """The least first; what touches it is out; what touches only that one is in again."""
    ends = torch.tensor([[0, 1, 2, 5], [1, 2, 3, 6]])
    assert disjoint(ends, torch.tensor([0.0, 1.0, 2.0, 3.0])).tolist() == [0, 2, 3]
    assert disjoint(ends, torch.tensor([1.0, 0.0, 2.0, 3.0])).tolist() == [1, 3]
    assert disjoint(ends[:, :0], torch.zeros(0)).tolist() == []


def test_a_hub_is_touched_as_often_as_it_has_edges():
    """A star with four leaves: all four edges move at once to the four nodes without edges."""
    x = torch.zeros(9, 1)
    star = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    rewiring = Rewiring(Data(x=x, edge_index=torch.cat([star, star.flip(0)], dim=1)))
    most = 0
    for seed in range(50):
        found = rewiring.moves(torch.arange(4), torch.tensor([5, 6, 7, 8]), generator(seed))
        found, order = rewiring.allowed(found, torch.rand(4), keep=1.0)
        chosen = rewiring.together(found, order, generator(seed))
        most = max(most, len(chosen))
    assert most == 4


def test_symmetric():
    assert is_symmetric(torch.tensor([[0, 1, 2], [1, 0, 2]]), 3)
    assert not is_symmetric(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)


def test_joined():
    rewiring = Rewiring(random_graph(10, 0.4, 0, False, False))
    found = some(rewiring, "moves", 0)
    parts = [found.of(torch.arange(3)), found.of(torch.arange(3, len(found)))]
    again = Exchanges.joined(parts)
    assert torch.equal(again.new, found.new)
    assert torch.equal(again.goes, found.goes)
