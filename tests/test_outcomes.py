"""What an outcome means: constructions of which it is known."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCN, GCNConv, SumAggregation

import graph_metamers as gm
from helpers import seeded

FREE = gm.ContinuousFeatures(low=None)
ADAM = gm.Adam(lr=0.05, steps=60)


def network(width: int = 4) -> GCN:
    return seeded(lambda: GCN(40, width, num_layers=2, out_channels=3)).eval()


def only_x(model: nn.Module, data: Data) -> Tensor:
    return model(data.x)


def noise(nodes: int, features: int) -> Data:
    generator = torch.Generator().manual_seed(0)
    ring = torch.arange(nodes)
    edges = torch.stack([ring, ring.roll(1)])
    return Data(x=torch.rand(nodes, features, generator=generator), edge_index=edges)


# ----------------------------------------------------------------------------- matched or not


@pytest.mark.parametrize(("tol", "matched"), [(0.05, True), (1e-9, False)])
def test_above_tol_nothing_is_matched(tol, matched):
    model, search = seeded(lambda: GCNConv(30, 4)), gm.Adam(lr=0.02, steps=200)
    m = gm.metamer(model, noise(40, 30), "output", search=search, tol=tol)
    assert m.outcome is (gm.Outcome.MATCHED if matched else gm.Outcome.NOT_MATCHED)
    assert m.null_error == float(m.nulls["start"].min()) > m.fvu
    assert m.p_value < 0.05


def test_below_tol_but_no_nearer_than_random_starts(small):
    """A start that is hardly moved is as near as other starts are, whatever tol allows."""
    m = gm.metamer(network(), small, "act", search=gm.Adam(lr=1e-9, steps=1), tol=10.0)
    assert m.fvu < m.tol
    assert m.outcome is not gm.Outcome.MATCHED
    assert m.p_value > 0.01


class Shifted(nn.Module):
    """a · (h + c), and d units that are always the same."""

    def __init__(self, factor: float = 1.0, shift: float = 0.0, dead: int = 0) -> None:
        super().__init__()
        self.gcn, self.out = network(), nn.Identity()
        self.factor, self.shift, self.dead = factor, shift, dead

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.gcn.act(self.gcn.convs[0](x, edge_index))
        h = self.factor * (h + self.shift)
        return torch.cat([h, h.new_full((len(h), self.dead), 7.0)], dim=1)


@pytest.mark.parametrize(
    "change", [{"shift": 10.0}, {"factor": 100.0}, {"factor": 1e-3}, {"dead": 5}], ids=str
)
def test_constants_and_scales_change_no_outcome(change, small):
    """With 10 added to each unit, Eq. 5 says 'matched' of a graph that has little in common."""
    search = gm.Adam(lr=0.05, steps=15)
    plain, other = (
        gm.metamer(Shifted(**c), small, "output", search=search, task="embedding", seed=1)
        for c in ({}, change)
    )
    assert plain.outcome is other.outcome is gm.Outcome.NOT_MATCHED
    start = plain.scores["start_fvu"], other.scores["start_fvu"]
    assert start[0] == pytest.approx(start[1], rel=1e-3)
    assert other.fvu == pytest.approx(plain.fvu, rel=0.5)
    if change.get("shift"):
        assert other.activation_error < 1e-2 < plain.activation_error


class Loud(nn.Module):
    """Ten rows hold nearly all variance."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = seeded(lambda: nn.Linear(40, 4, bias=False))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(x) * torch.where(torch.arange(60) < 10, 100.0, 1.0)[:, None]


def test_few_matched_rows_are_no_match(small):
    """The error is small though the other fifty rows are those of the random start."""
    m = gm.metamer(Loud(), small, "output", search=gm.Swap(stop_at_tol=True), tol=0.1)
    assert m.fvu <= m.tol
    assert m.scores["node_match"] < 0.9
    assert m.outcome is gm.Outcome.NOT_MATCHED
    assert "of the rows are nearer to their own" in m.reason


# ----------------------------------------------------------------------------- uninformative


def test_a_layer_that_is_the_same_for_every_graph_says_nothing():
    """Weights of next to nothing: all rows are one, to the last bits."""
    data, model = noise(30, 20), GCNConv(20, 4)
    with torch.no_grad():
        model.lin.weight.fill_(3e-8)
        model.bias.fill_(1.0)
    m = gm.metamer(model, data, "output", search=gm.Adam(steps=5))
    assert m.outcome is gm.Outcome.UNINFORMATIVE
    assert "all are the same to rounding" in m.reason


class Deep(nn.Module):
    """Each layer averages over all neighbours: after sixteen all rows of a dense graph are one."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [seeded(lambda: GCNConv(40, 8, bias=False))]
            + [seeded(lambda i=i: GCNConv(8, 8, bias=False), seed=i) for i in range(15)]
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return x


def test_sixteen_layers_whose_rows_are_all_one():
    pairs = torch.combinations(torch.arange(30)).T
    data = Data(x=gm.datasets.csbm(nodes=30, features=40, density=0.1, degree=4.0).x)
    data.edge_index = torch.cat([pairs, pairs.flip(0)], dim=1)
    m = gm.metamer(Deep(), data, "output", search=gm.Adam(steps=5))
    assert m.outcome is gm.Outcome.UNINFORMATIVE
    assert "all are the same to rounding" in m.reason


class Blind(nn.Module):
    """Reads the degrees, and of the features next to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = seeded(lambda: nn.Linear(40, 3))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        degree = edge_index[1].bincount(minlength=len(x)).float()
        return degree[:, None] * torch.tensor([1.0, 2.0, 3.0]) + 1e-3 * self.lin(x)


def test_random_starts_that_match_say_that_nothing_depends_on_the_features(small):
    m = gm.metamer(Blind(), small, "output", search=gm.Adam(steps=5))
    assert m.fvu < m.tol
    assert m.outcome is gm.Outcome.UNINFORMATIVE
    assert "of the random starts are at or below tol as well" in m.reason


# ----------------------------------------------------------------------------- one row


class Pooled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = seeded(lambda: GCNConv(40, 4)), SumAggregation()

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.pool(self.conv(x, edge_index).relu(), batch)


def graphs(count: int) -> list[Data]:
    return [
        gm.datasets.csbm(nodes=30, features=40, density=0.1, degree=4.0, seed=s)
        for s in range(count)
    ]


def pooled(data: Data) -> Tensor:
    model = Pooled()
    with torch.no_grad():
        batch = torch.zeros(len(data.x), dtype=torch.long)
        return model(data.x, data.edge_index, batch).double()


def test_of_one_row_only_eq_5_can_be_given():
    (data,) = graphs(1)
    m = gm.metamer(Pooled(), data, "pool", search=ADAM)
    h, g = pooled(data), pooled(m.data)
    assert m.outcome is gm.Outcome.UNINFORMATIVE
    assert "null_graphs=" in m.reason
    assert "Eq. 5" in repr(m)
    assert math.isnan(m.fvu)
    assert math.isnan(m.scores["node_match"])
    assert m.activation_error == pytest.approx(float((g - h).square().sum() / h.square().sum()))


def test_null_graphs_give_the_spread_and_must_all_be_farther():
    data, *others = graphs(20)
    m = gm.metamer(Pooled(), data, "pool", search=ADAM, null_graphs=others, tol=0.1)
    rows = torch.cat([pooled(each) for each in (data, *others)])
    spread = (rows - rows.mean(0)).square().sum(1).mean()
    assert m.fvu == pytest.approx(float((pooled(m.data) - rows[0]).square().sum() / spread))
    errors = (rows[1:] - rows[0]).square().sum(1) / spread
    assert m.nulls["other"].tolist() == pytest.approx(errors.tolist())
    assert m.outcome is gm.Outcome.MATCHED
    # One that is nearer than what was found: not matched, whatever the other nineteen are.
    near = m.data.clone()
    again = gm.metamer(Pooled(), data, "pool", search=ADAM, null_graphs=[*others, near], tol=0.1)
    assert torch.equal(again.data.x, m.data.x)
    assert again.outcome is gm.Outcome.NOT_MATCHED
    assert "1 of 20 graphs of null_graphs" in again.reason


def test_in_a_batch_the_others_give_the_spread():
    batch = Batch.from_data_list(graphs(8))
    m = gm.metamer(Pooled(), batch, "pool", search=ADAM, tol=0.1)
    h, g = (torch.cat([pooled(each) for each in b.to_data_list()]) for b in (batch, m.data))
    spread = (h - h.mean(0)).square().sum(1).mean()
    expected = (g - h).square().sum(1) / spread
    assert [item["fvu"] for item in m.items] == pytest.approx(expected.tolist(), rel=1e-4)


# ----------------------------------------------------------------------------- impossible, trivial


@pytest.mark.parametrize("asked", [gm.Adam(lr=0.03, steps=5), "auto"])
def test_a_layer_that_sees_all_leaves_no_room(asked):
    """An invertible layer: it is proved that the only metamer is the reference."""
    data, model = noise(12, 6), nn.Sequential(nn.Linear(6, 6))
    nn.init.orthogonal_(model[0].weight, generator=torch.Generator().manual_seed(0))
    m = gm.metamer(model, data, "output", vary=FREE, search=asked, forward=only_x)
    assert m.outcome is gm.Outcome.IMPOSSIBLE
    assert torch.equal(m.data.x, data.x)
    assert (m.fvu, m.steps, m.matched) == (0.0, 0, False)


def test_an_injective_layer_that_barely_sees_a_direction_is_searched():
    """Injective, yet graphs far from the reference have nearly its activation."""
    data, model = noise(12, 6), nn.Sequential(nn.Linear(6, 6, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1e-3])))
    search = gm.Adam(lr=0.03, steps=5)
    m = gm.metamer(model, data, "output", vary=FREE, forward=only_x, search=search)
    assert (m.outcome is gm.Outcome.IMPOSSIBLE, m.steps) == (False, 5)


def test_the_reference_itself_is_trivial():
    data = noise(30, 8)
    data.x += 0.5
    model = seeded(lambda: gm.zoo.GCN(8, 3, hidden=16))  # weights of full rank leave no room
    m = gm.metamer(model, data, "layer1", search=gm.Exact())
    assert m.outcome in (gm.Outcome.TRIVIAL, gm.Outcome.IMPOSSIBLE)
    assert not m.matched
    assert torch.allclose(m.data.x, data.x, rtol=1e-3)


class Received(nn.Module):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])


def test_equal_nodes_exchanged_are_trivial():
    """Ten pairs of nodes, all equal but node 0: joined anew, they are ten pairs again."""
    even = torch.arange(0, 20, 2)
    data = Data(x=torch.ones(20, 1))
    data.edge_index = torch.cat([torch.stack([even, even + 1]), torch.stack([even + 1, even])], 1)
    data.x[0] = 2.0
    ways = {"vary": gm.Edges(degrees="fixed"), "search": gm.EdgeSwap(steps=20)}
    m = gm.metamer(Received(), data, "output", seed=1, **ways)
    assert m.fvu == 0
    assert m.scores["edges_kept"] < 1
    assert m.outcome is gm.Outcome.TRIVIAL
