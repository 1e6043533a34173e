"""Exchanges of edges: what they keep, what they say of the messages that change."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.vary.pairs import is_symmetric, two_sides
from graph_metamers.vary.rewiring import Exchanges, Rewiring, disjoint

quick = settings(deadline=None, max_examples=20)
graphs = given(
    nodes=st.integers(4, 16),
    density=st.floats(0.1, 0.6),
    seed=st.integers(0, 1000),
    directed=st.booleans(),
    loops=st.booleans(),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(
    nodes: int, density: float, seed: int, directed: bool, loops: bool, width: int = 1
) -> Data:
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
    return Data(x=torch.ones(nodes, width), edge_index=there.nonzero().T.contiguous())


def rewired(data: Data) -> Rewiring:
    return Rewiring(Inputs(data), "edge_index")


def counts(edges: Tensor, nodes: int) -> Tensor:
    """How often each edge is there, [nodes, nodes]."""
    one = torch.ones(edges.shape[1], dtype=torch.long)
    return torch.zeros(nodes, nodes, dtype=torch.long).index_put(tuple(edges), one, accumulate=True)


def adjacency(rewiring: Rewiring, pairs: Tensor | None = None) -> Tensor:
    return counts(rewiring.changed(pairs)["edge_index"], rewiring.nodes)


def tried(rewiring: Rewiring, kind: str, seed: int) -> Exchanges:
    """Many random exchanges, those that are not allowed too."""
    count = rewiring.pairs.shape[1]
    slots = torch.randint(count, (2, 60), generator=generator(seed))
    if kind == "moves":
        ends = rewiring.new_ends(slots[0], generator(seed + 1), pool=1000)
        return rewiring.moves(slots[0], ends, generator(seed))
    partners = rewiring.partners(slots[0], generator(seed + 1), pool=1000)
    return rewiring.double_swaps(torch.stack([slots[0], partners]), generator(seed))


def some(rewiring: Rewiring, kind: str, seed: int, keep: float = 1.0) -> Exchanges:
    proposed = tried(rewiring, kind, seed)
    return rewiring.allowed(proposed, torch.zeros(len(proposed)), keep)[0]


kinds = pytest.mark.parametrize("kind", ["double swaps", "moves"])


@quick
@graphs
def test_pairs_and_back(nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = rewired(data)
    assert rewiring.undirected == is_symmetric(data.edge_index, nodes)
    assert torch.equal(adjacency(rewiring), counts(data.edge_index, nodes))
    assert bool(rewiring.in_reference(rewiring.pairs).all())


@kinds
@quick
@graphs
def test_each_exchange_keeps_what_it_promises(kind, nodes, density, seed, directed, loops):
    data = random_graph(nodes, density, seed, directed, loops)
    rewiring = rewired(data)
    before = counts(data.edge_index, nodes)
    found = some(rewiring, kind, seed)
    for k in range(len(found)):
        after = adjacency(rewiring, rewiring.exchanged(found.of(torch.tensor([k]))))
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
    rewiring = rewired(data)
    proposed = tried(rewiring, kind, seed)
    fine = set(rewiring.allowed(proposed, torch.arange(60).float(), 1.0)[1].int().tolist())
    here = {tuple(sorted(p) if rewiring.undirected else p) for p in rewiring.pairs.T.tolist()}
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
    rewiring = rewired(data)
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
    after = adjacency(rewiring, rewiring.exchanged(found.of(chosen)))
    before = counts(data.edge_index, nodes)
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
    rewiring = rewired(data)
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
    star = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    data = Data(x=torch.zeros(9, 1), edge_index=torch.cat([star, star.flip(0)], dim=1))
    data.edge_index = torch.cat(
        [data.edge_index, torch.tensor([[1, 2], [2, 1]])], dim=1
    )  # one side
    rewiring = rewired(data)
    slots = (rewiring.pairs == 0).any(dim=0).nonzero().view(-1)
    most = 0
    for seed in range(50):
        ends = torch.tensor([5, 6, 7, 8]).expand(2, -1)
        found = rewiring.moves(slots, ends, generator(seed))
        found, order = rewiring.allowed(found, torch.rand(4), keep=1.0)
        most = max(most, len(rewiring.together(found, order, generator(seed))))
    assert most == 4


def test_symmetric_and_two_sides():
    assert is_symmetric(torch.tensor([[0, 1, 2], [1, 0, 2]]), 3)
    assert not is_symmetric(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3)
    even, odd = (torch.stack([torch.arange(n), (torch.arange(n) + 1) % n]) for n in (6, 5))
    assert two_sides(even, 6).tolist() == [0, 1, 0, 1, 0, 1]
    assert two_sides(odd, 5) is None


def test_joined():
    rewiring = rewired(random_graph(10, 0.4, 0, False, False))
    found = some(rewiring, "moves", 0)
    parts = [found.of(torch.arange(3)), found.of(torch.arange(3, len(found)))]
    again = Exchanges.joined(parts)
    assert torch.equal(again.new, found.new)
    assert torch.equal(again.goes, found.goes)


# ---------------------------------------------------------- batches, types, sides, attributes


def many(seed: int, directed: bool, loops: bool) -> Batch:
    return Batch.from_data_list(
        [random_graph(n, 0.2, seed + n, directed, loops, width=2) for n in (5, 9, 7, 5)]
    )


def users_and_items() -> Data:
    """Users 0 to 7 and items 8 to 13, both ways; the last of both have no edge."""
    links = torch.rand(8, 6, generator=generator(3)) < 0.4
    links[7], links[:, 5] = False, False
    users, items = links.nonzero().T
    edges = torch.stack([users, items + 8])
    return Data(edge_index=torch.cat([edges, edges.flip(0)], dim=1), num_nodes=14)


def library() -> HeteroData:
    """Who wrote what, the same turned round, and who cites whom."""
    data, draw = HeteroData(), generator(5)
    data["author"].x, data["paper"].x = torch.rand(7, 2), torch.rand(10, 2)
    pairs = (torch.rand(7, 10, generator=draw) < 0.3).nonzero().T
    data["author", "writes", "paper"].edge_index = pairs
    data["paper", "by", "author"].edge_index = pairs.flip(0)[:, torch.randperm(pairs.shape[1])]
    data["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    return data


ways = pytest.mark.parametrize(
    "vary", [gm.Edges(), gm.Edges(degrees="fixed")], ids=["free", "fixed"]
)


@ways
@pytest.mark.parametrize("loops", [False, True])
@pytest.mark.parametrize("directed", [False, True])
def test_each_graph_of_a_batch_keeps_its_own_edges(directed, loops, vary):
    moved = False
    for seed in range(8):
        inputs = Inputs.of(many(seed, directed, loops))
        changed = vary.random(inputs, "edge_index", generator(seed))
        graphs = inputs.replaced(changed).restored().to_data_list()
        for own, reference in zip(graphs, inputs.restored().to_data_list(), strict=True):
            nodes = len(own.x)
            assert 0 <= int(own.edge_index.min()) <= int(own.edge_index.max()) < nodes
            after, before = (counts(g.edge_index, nodes) for g in (own, reference))
            assert int(after.max()) == 1
            assert int(after.sum()) == int(before.sum())
            assert torch.equal(after.diagonal(), before.diagonal())
            assert directed or torch.equal(after, after.T)
            if vary.degrees == "fixed":
                assert torch.equal(after.sum(0), before.sum(0))
                assert torch.equal(after.sum(1), before.sum(1))
            moved |= not torch.equal(after, before)
    assert moved


@kinds
@pytest.mark.parametrize("directed", [False, True])
def test_exchanges_of_a_batch_stay_within_their_graphs(kind, directed):
    inputs = Inputs.of(many(0, directed, False))
    rewiring, graph = Rewiring(inputs, "edge_index"), inputs.graph_of_nodes()
    found = some(rewiring, kind, 0)
    assert len(found) > 5
    assert torch.equal(graph[found.new[0]], graph[found.new[1]])
    chosen = rewiring.together(found, torch.rand(len(found)), generator())
    pairs = rewiring.exchanged(found.of(chosen))
    sizes = torch.bincount(graph[inputs["edge_index"][0]])
    edges = rewiring.changed(pairs)["edge_index"]
    assert torch.equal(torch.bincount(graph[edges[0]]), sizes)
    assert torch.equal(graph[edges[0]], graph[edges[1]])
    assert torch.equal(graph[edges[0]], graph[edges[0]].sort().values)  # as the batch's slices
    slots = rewiring.random_slots(generator())
    assert torch.equal(*rewiring.graph_of_pairs[slots])
    assert len(slots.unique()) == slots.numel()


@ways
def test_two_sides_stay_two_sides(vary):
    data = users_and_items()
    for seed in range(20):
        edges = vary.random(Inputs(data), "edge_index", generator(seed))["edge_index"]
        assert bool(((edges < 8).sum(dim=0) == 1).all())  # one user, one item
        after, before = counts(edges, 14), counts(data.edge_index, 14)
        assert torch.equal(after, after.T)
        assert int(after.max()) == 1
        assert not torch.equal(after, before)
        if vary.degrees == "fixed":
            assert torch.equal(after.sum(0), before.sum(0))


@ways
def test_edges_between_two_types(vary):
    """They stay between them, and what leads the other way is turned round with them."""
    inputs = Inputs.of(library())
    at, back = "author-writes-paper.edge_index", "paper-by-author.edge_index"
    for seed in range(20):
        changed = vary.random(inputs, at, generator(seed))
        assert changed.keys() == {at, back}
        edges = changed[at]
        assert edges.shape == inputs[at].shape
        assert not torch.equal(edges, inputs[at])
        assert int(edges[0].max()) < 7
        assert int(edges[1].max()) < 10
        assert len(edges.T.unique(dim=0)) == edges.shape[1]
        assert torch.equal(changed[back], edges.flip(0))
        if vary.degrees == "fixed":
            for end in (0, 1):
                assert torch.equal(torch.bincount(edges[end]), torch.bincount(inputs[at][end]))
    # What is not the same turned round is left alone.
    other = inputs.replaced({back: inputs[back][:, 1:]})
    assert vary.random(other, at, generator()).keys() == {at}


@ways
@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize(
    "build", [lambda d: random_graph(9, 0.4, 2, d, True), lambda d: many(2, d, True)]
)
def test_attributes_travel_with_their_place(build, directed, vary):
    """Each edge's number: that of a loop is the loop's, each graph keeps its own, none is lost."""
    data = build(directed)
    count = data.edge_index.shape[1]
    data.edge_type = torch.arange(count) % 3
    data.edge_attr = torch.arange(count)[:, None].float()
    inputs = Inputs.of(data)
    graph = inputs.graph_of_nodes()
    same = Rewiring(inputs, "edge_index").changed()
    order = same["edge_attr"][:, 0].long()
    assert torch.equal(same["edge_index"], data.edge_index[:, order])  # nothing moved
    for seed in range(5):
        changed = vary.random(inputs, "edge_index", generator(seed))
        number, edges = changed["edge_attr"][:, 0].long(), changed["edge_index"]
        assert number.sort().values.tolist() == list(range(count))
        assert torch.equal(changed["edge_type"], number % 3)
        u, v = data.edge_index[:, number]
        assert torch.equal(u == v, edges[0] == edges[1])
        assert torch.equal(graph[u], graph[edges[0]])
        assert torch.equal(u[u == v], edges[0, u == v])
        if not directed:  # both directions came from both directions of one pair
            there = {(a, b): n for a, b, n in zip(*edges.tolist(), number.tolist(), strict=True)}
            before = data.edge_index.T.tolist()
            assert all(before[there[b, a]] == before[n][::-1] for (a, b), n in there.items())
