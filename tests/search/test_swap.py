"""Swap: known answers, what it proposes, and where it stands."""

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from search_cases import EDGES, Poser, Read, generator, random_graph
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.search import Ended, Swap, swap
from graph_metamers.search.ones_gains import Proposals, balanced, trust
from graph_metamers.units import Units
from helpers import Calls, seeded


def units(graph: list[int]) -> Units:
    return Units("node", "", torch.tensor(graph), max(graph) + 1)


def found_by(pose: Poser, x: Tensor, weight: Tensor, search: Swap, *, seed: int = 0, **options):
    data = Data(x=x, edge_index=EDGES)
    problem = pose(Read(weight), data, **({"tol": 1e-9} | options))
    found = search.run(problem, generator(seed))
    return found, found.inputs["x"]


# ------------------------------------------------------------------------------ known answers


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", ["one-hot", "one column", "two ones", "own weights"])
def test_with_one_unit_a_feature_every_one_is_set_right(case, seed, pose: Poser):
    """X W is X: the error counts wrong ones, and those who gave their last one may have any."""
    x = torch.eye(5)[torch.arange(60) % 5]
    if case == "one column":
        x = torch.zeros(30, 5)
        x[:10, -1] = 1
    elif case == "two ones":
        x = torch.zeros(8, 6)
        x[:, 0] = x[:, 1] = x[0, 3] = 1
    weight = torch.eye(x.shape[1])
    if case == "own weights":
        weight = weight * torch.linspace(1, 2, 5)
    found, end = found_by(pose, x, weight, Swap(steps=150, patience=None), seed=seed)
    assert found.history[0] > 0.3
    assert torch.equal(end, x)
    assert found.ended == [Ended.REACHED]


def test_ones_go_to_the_node_that_lacks_them(pose: Poser):
    """Every feature weighs the same: only how many ones a node has can be wrong."""
    x = torch.zeros(30, 12)
    x[:10, :9] = 1
    _, end = found_by(pose, x, torch.ones(12, 1), Swap(steps=200, patience=None))
    assert torch.equal(end.sum(dim=1), x.sum(dim=1))


@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_it_ends_where_no_change_helps(density, pose: Poser):
    """One unit, rows that do not meet: a local optimum over all swaps, and all ones handed on."""
    weight = torch.randn(8, 1, generator=generator(3), dtype=torch.float64)
    x = torch.zeros(2, 8, dtype=torch.float64)
    x[0, :3] = x[1, 4:6] = 1
    vary = gm.BinaryFeatures(density=density)
    search = Swap(steps=400, patience=None, seek="random")
    _, end = found_by(pose, x, weight, search, vary=vary, tol=1e-30)

    def error(other: Tensor) -> float:
        return float(((other - x) @ weight).square().sum())

    ones, zeros = end.nonzero().tolist(), (end == 0).nonzero().tolist()
    for u, r in ones:
        for v, a in zeros:
            if u == v or density == "fixed":
                other = end.clone()
                other[u, r], other[v, a] = 0, 1
                assert error(end) <= error(other) + 1e-12


@dataclass(frozen=True, eq=False)
class Begun(gm.BinaryFeatures):
    """Starts where it is told to."""

    begun: Tensor | None = None

    def random(self, inputs, at, generator):
        return {at: self.begun.clone()}


@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_stalled_it_weighs_every_pair(density, pose: Poser):
    """Only a swap of two long rows that nearly agree helps, and each alone looks worst of all."""
    short = torch.stack([torch.zeros(20), -torch.linspace(0.1, 0.2, 20)], dim=1)
    weight = torch.cat([torch.tensor([[10.0, 0.0], [10.0, 1.0]]), short])
    start, x = torch.zeros(3, 22), torch.zeros(3, 22)
    start[:, 0] = x[:, 1] = 1
    x[2, 1], x[2, 5] = 0, 1  # so that rows differ
    start[2] = x[2]
    vary = Begun(density=density, begun=start)
    search = Swap(steps=100, patience=4, stop_at_tol=True)
    found, end = found_by(pose, x, weight, search, vary=vary)
    assert found.history[0] == found.history[4] > 0
    assert found.ended == [Ended.REACHED]
    assert torch.equal(end, x)
    _, never = found_by(pose, x, weight, Swap(steps=100, patience=None), vary=vary)
    assert torch.equal(never, start)


def test_looking_closer_goes_on_from_where_it_stalled_and_gets_further(pose: Poser, monkeypatch):
    x = (torch.rand(60, 400, generator=generator(4)) < 0.05).float()
    weight = torch.randn(400, 8, generator=generator(5))
    closer, _ = found_by(pose, x, weight, Swap(patience=5))
    monkeypatch.setattr(swap, "CLOSE_UNITS", 0)
    coarse, _ = found_by(pose, x, weight, Swap(patience=5))
    assert closer.history[: coarse.steps + 1] == coarse.history
    assert closer.steps >= coarse.steps + 5
    patient, _ = found_by(pose, x, weight, Swap(patience=20))
    assert closer.errors.item() < 0.9 * patient.errors.item()


# ------------------------------------------------------------------------------ what is proposed


@pytest.mark.parametrize("allowed", [False, True])
def test_the_best_swap_of_all_pairs_is_proposed(allowed, pose: Poser):
    """Against enumeration, with 20 ones a node, more than the shortlist holds."""
    nodes, features, width = 6, 45, 7
    x = torch.zeros(nodes, features)
    for row in x:
        row[torch.randperm(features, generator=generator(int(row.sum())))[:20]] = 1
    weight = torch.randn(features, width, generator=generator(1))
    free = torch.rand(x.shape, generator=generator(2)) < 0.5 if allowed else None
    ones = swap._Ones("x", x, free, weight, units([0] * nodes), moves=True)
    gradient = torch.randn(nodes, width, generator=generator(3))
    for k in range(ones.kept):
        ones.add_probe(torch.randn(nodes, width, generator=generator(10 + k)) / 5)
    ones.kappa[:] = 1.7
    coarse = ones._proposals(torch.arange(nodes), gradient)
    assert ones.look_closer()
    found = ones._proposals(torch.arange(nodes), gradient)
    for u in range(nodes):
        curvature = 1.7 * (ones.probes[u].T @ ones.probes[u] * ones.trust)
        best = torch.inf
        for r in x[u].nonzero().view(-1).tolist():
            for a in (x[u] == 0).nonzero().view(-1).tolist():
                if free is None or free[u, a]:
                    delta = weight[a] - weight[r]
                    best = min(best, float(gradient[u] @ delta + delta @ curvature @ delta))
        assert float(found.gains[0, u]) == pytest.approx(best, rel=1e-4)
        a, r = found.columns[0, u], ones.ones[u, found.slots[0, u]]
        delta = weight[a] - weight[r]
        assert float(gradient[u] @ delta + delta @ curvature @ delta) == pytest.approx(
            best, rel=1e-4
        )
        # A shortlist has the best of the zeros alone and of the ones alone.
        true = 1.7 * ones.probes[u].T @ ones.probes[u]
        delta = weight[coarse.columns[0, u]] - weight[ones.ones[u, coarse.slots[0, u]]]
        promised = float(gradient[u] @ delta + delta @ true @ delta)
        assert float(coarse.gains[0, u]) == pytest.approx(promised, rel=1e-4)


INF = torch.inf
NODES = torch.tensor([3, 5, 8])
COLUMNS, SLOTS = torch.tensor([[0, 1, 2], [3, 4, 5]]), torch.tensor([[0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("gains", "graphs", "moves", "gaining", "losing", "gain"),
    [
        # A one goes to who gains most from who loses least.
        ([[INF] * 3, [-5, -4, 9], [9, 9, 1]], [0, 0, 0], True, [3], [8], [-4]),
        # Not from one graph to another.
        ([[INF] * 3, [-5, -4, 9], [9, 9, 1]], [0, 0, 1], True, [], [], []),
        ([[INF] * 3, [-5, -4, 9], [9, 9, 1]], [0, 1, 1], True, [5], [8], [-3]),
        # Without moves each node swaps on its own.
        ([[-1, 2, -3], [-9] * 3, [-9] * 3], [0, 0, 0], False, [8, 3], [8, 3], [-3, -1]),
        # Two that trade places, but for the last bits, gain nothing.
        ([[INF] * 3, [-1 - 1e-7, 9, 9], [9, 1, 9]], [0, 0, 0], True, [], [], []),
        ([[INF] * 3, [-1 - 1e-3, 9, 9], [9, 1, 9]], [0, 0, 0], True, [3], [5], [-1e-3]),
    ],
)
def test_which_changes_go_together(gains, graphs, moves, gaining, losing, gain):
    proposals = Proposals(torch.tensor(gains, dtype=torch.float32), COLUMNS, SLOTS)
    found = balanced(NODES, proposals, units([*graphs]), moves=moves)
    assert found.gaining.tolist() == gaining
    assert found.losing.tolist() == losing
    assert found.gain.tolist() == pytest.approx(gain, rel=1e-3)


@pytest.mark.parametrize("count", [4, 32])
def test_curvatures_are_trusted_where_units_go_together(count):
    """Units 0 and 1 share their gradients, 2 is on its own, 3 is off; so over many nodes."""
    drawn = torch.randn(4000, count, 2, generator=generator())
    probes = torch.stack(
        [drawn[..., 0], -3 * drawn[..., 0], drawn[..., 1], torch.zeros(4000, count)], dim=2
    )
    probes *= torch.rand(4000, 1, 1, generator=generator(1))
    probes[:500] = 0  # nodes that the layer does not see
    found = trust(probes)
    assert torch.equal(found, found.T)
    assert torch.equal(found.diagonal(), torch.ones(4))
    # r is 1 of the first two, and 1/K within 5 standard errors, √(2/3500), of those that are apart
    assert found[0, 1] == pytest.approx(1 - 1 / count, abs=1e-5)
    assert found[:2, 2].max() < 5 * (2 / 3500) ** 0.5
    assert torch.equal(found[3], torch.tensor([0.0, 0, 0, 1]))


# ------------------------------------------------------------------------- any model, any features


CONVOLUTIONS = {
    "gcn": lambda: GCNConv(10, 8),
    "sage": lambda: SAGEConv(10, 8),
    "gat": lambda: GATConv(10, 4, heads=2),
    "gin": lambda: GINConv(nn.Sequential(nn.Linear(10, 8), nn.Tanh())),
    "normed": lambda: nn.ModuleList([nn.LayerNorm(10), GCNConv(10, 8)]),
}


@pytest.mark.parametrize("layer", ["conv", "output", ["conv", "output"]], ids=str)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_any_layer_of_any_model(kind, layer, pose: Poser):
    def forward(model, x, edge_index):
        if kind == "normed":
            x = model.norm(x)
        return model.head(model.conv(x, edge_index).relu(), edge_index)

    def build() -> nn.Module:
        made = CONVOLUTIONS[kind]()
        norm, conv = made if kind == "normed" else (nn.Identity(), made)
        return Calls(forward, conv=conv, norm=norm, head=GCNConv(8, 3))

    problem = pose(seeded(build), random_graph(40), layer, tol=1e-9)
    assert (problem.read is None) == (kind == "normed")
    found = Swap(steps=25).run(problem, generator())
    assert found.errors.item() < 0.5 * found.history[0]
    true = problem.match.fvu(problem.activations(found.inputs)).mean()
    assert found.errors.item() == pytest.approx(float(true), rel=1e-3)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    nodes=st.integers(2, 40),
    width=st.integers(1, 30),
    density=st.floats(0.02, 0.97),
    seek=st.sampled_from(["nearest", "random"]),
    kept=st.sampled_from(["fixed", "per_node"]),
)
def test_rows_of_any_number_of_ones(seed, nodes, width, density, seek, kept):
    x = (torch.rand(nodes, width, generator=generator(seed)) < density).double()
    x[0, 0], x[-1, -1] = 1, 0
    weight = torch.randn(width, 4, generator=generator(seed), dtype=torch.float64)
    if float(x[0, 0] - x[-1, -1]) == 0 or torch.equal(x[:1].expand_as(x), x):
        return  # one entry, or rows that are all the same
    poser = Poser()
    try:
        vary = gm.BinaryFeatures(density=kept)
        search = Swap(steps=8, seek=seek, patience=1)
        found, end = found_by(poser, x, weight, search, seed=seed, vary=vary)
    except gm.InputError as error:  # no other graph than the reference was drawn
        assert "does not depend on what varies" in str(error)  # noqa: PT017
        return
    finally:
        poser.close()
    h = x @ weight
    spread = (h - h.mean(0)).square().sum(1).mean()
    true = (end @ weight - h).square().sum(1).mean() / spread
    assert found.errors.item() == pytest.approx(float(true), rel=1e-6, abs=1e-12)
    assert end.dtype == torch.float64
    assert end.sum() == x.sum()
    if kept == "per_node":
        assert torch.equal(end.sum(dim=1), x.sum(dim=1))


# --------------------------------------------------------------------------------------- seek


def test_farthest_and_random_begin_elsewhere_with_the_ones_of_the_start(pose: Poser):
    problem = pose(seeded(lambda: GCNConv(10, 8)), random_graph(40), tol=1e-9)
    start = problem.start(generator())["x"]
    for seek in ("nearest", "random", "farthest"):
        problem.kept.clear()
        (ones,) = [
            Swap(seek=seek)._begun(problem, b, Inputs(Data(x=start)), generator())
            for b in problem.blocks
        ]
        x = ones.features()
        assert torch.equal(x.sum(1), start.sum(1))
        assert torch.equal(x, start) == (seek == "nearest")
        if seek == "farthest":
            assert float((x * problem.inputs["x"]).sum()) == 0
            free = start * (problem.inputs["x"] == 0)
            assert torch.equal(x * free, free)  # where they are if that is allowed


def test_farthest_needs_room(pose: Poser):
    data = random_graph(40)
    data.x = 1 - data.x
    problem = pose(seeded(lambda: GCNConv(10, 8)), data)
    with pytest.raises(gm.InputError, match=r"\d+ nodes have more ones than .*another seek="):
        Swap(seek="farthest").run(problem, generator())
