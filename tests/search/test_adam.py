"""Adam against a literal loop, relaxed edges, and what a user writes to vary."""

from dataclasses import dataclass, field

import pytest
import torch
from search_cases import Poser, generator, random_graph
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.search import Adam, Ended
from graph_metamers.vary import Variable, Vary
from helpers import Calls, seeded


def gcn(dtype: torch.dtype = torch.float32) -> nn.Module:
    return seeded(lambda: GCNConv(10, 8)).to(dtype)


def literal_loop(data: Data, kind: str, lr: float, steps: int, seed: int):
    """Eqs. 5–9 as one would write them down: topk, torch.optim.Adam, the whole forward."""
    model = gcn(data.x.dtype).requires_grad_(False)
    target = model(data.x, data.edge_index)
    noise = torch.randn(data.x.shape, generator=generator(seed), dtype=data.x.dtype)
    soft = (data.x.mean(0) + data.x.std(0) * noise).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=lr)
    graphs, losses = [], []
    for _ in range(steps + 1):
        if kind == "binary":
            p = torch.sigmoid(soft)
            hard = torch.zeros_like(p)
            hard.view(-1)[p.view(-1).topk(int(data.x.sum())).indices] = 1
            x = p + (hard - p).detach()
        else:
            x = hard = torch.relu(soft)
        loss = ((model(x, data.edge_index) - target) ** 2).sum() / (target**2).sum()
        graphs.append(hard.detach().clone())
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return graphs, losses, target


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", ["binary", "real"])
def test_equals_the_literal_loop(kind, dtype, pose: Poser):
    data, steps, lr = random_graph(30, kind=kind), 50, 0.02
    data.x = data.x.to(dtype)
    expected, losses, h = literal_loop(data, kind, lr, steps, seed=3)
    problem = pose(gcn(dtype), data, tol=1e-9)
    found = Adam(lr=lr, steps=steps).run(problem, generator(3))
    # Every step sees the same error, up to the constant factor between Eq. 5 and the FVU.
    factor = h.square().sum() / (h - h.mean(0)).square().sum()
    assert found.history == pytest.approx([float(factor) * loss for loss in losses], rel=1e-4)
    assert losses[-1] < 0.7 * losses[0]  # it did move
    best = expected[found.best_steps[0]]
    # The fused Adam rounds otherwise: some ulp a step of size lr.
    torch.testing.assert_close(found.inputs["x"], best, rtol=0, atol=1e-5)


def test_a_margin_drives_soft_values_apart_in_each_graph_as_alone(pose: Poser):
    """Two equal graphs have twice the loss and twice the penalty of one."""
    (block,) = pose(gcn(), random_graph(20), vary=gm.BinaryFeatures(margin=0.5)).blocks
    one = block.start(Inputs.of(random_graph(20)), generator())
    two = block.start(Inputs.of([random_graph(20)] * 2), generator())
    two.parameters[0].data.copy_(torch.cat([one.parameters[0].data] * 2))
    p = torch.sigmoid(one.parameters[0].detach())
    assert float(one.penalty().detach()) == pytest.approx(0.5 * float((p * (1 - p)).mean()))
    assert float(two.penalty().detach()) == pytest.approx(2 * float(one.penalty().detach()))


class RowNorm(nn.Module):
    """Its gradient is NaN for a node without features, its output is finite."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(10, 8)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-6), edge_index)


@pytest.mark.parametrize("steps", [1, 10, 40])
def test_a_nan_gradient_is_found_and_the_number_of_ones_stays(steps, pose: Poser):
    data = random_graph(60)
    data.x = data.x * (torch.rand(60, 1, generator=generator(9)) < 0.3)
    found = Adam(lr=0.05, steps=steps).run(pose(seeded(RowNorm), data), generator())
    assert found.ended == [Ended.NONFINITE]
    assert found.inputs["x"].sum() == data.x.sum()
    assert found.errors.item() < torch.inf


# -------------------------------------------------------------------------------- soft edges


@pytest.mark.parametrize("name", ["gcn", "chebnet"])
def test_relaxed_edges_are_as_exact_as_hard_ones(name, pose: Poser):
    model = seeded(lambda: gm.zoo.MODELS[name](10, 3, hidden=8))
    problem = pose(model, random_graph(30), "layer2", vary=gm.Edges(), tol=1e-9)
    search = Adam(lr=0.3, steps=40)
    assert search.choose(problem) is search
    found = search.run(problem, generator())
    true = problem.match.fvu(problem.activations(found.inputs)).mean()
    assert found.errors.item() == pytest.approx(float(true), rel=1e-3)
    assert found.errors.item() < 0.7 * found.history[0]
    assert found.inputs["edge_index"].shape == problem.inputs["edge_index"].shape


@pytest.mark.parametrize(
    ("layer", "data", "sentence"),
    [
        ("layer1", [random_graph(30)] * 2, r"needs Edges.*EdgeSwap"),
        ("layer1", random_graph(30, directed=True), r"undirected .*EdgeSwap"),
    ],
)
def test_where_edges_cannot_be_relaxed(layer, data, sentence, pose: Poser):
    problem = pose(seeded(lambda: gm.zoo.GCN(10, 3)), data, layer, vary=gm.Edges())
    with pytest.raises(gm.InputError, match=sentence):
        Adam().choose(problem)


def test_models_that_relaxed_edges_do_not_reach(pose: Poser):
    def dense(model, x: Tensor, edge_index: Tensor) -> Tensor:
        there = x.new_zeros(len(x), len(x)).index_put(tuple(edge_index), x.new_ones(()))
        return there.T @ model.lin(x)

    model = seeded(lambda: Calls(dense, lin=nn.Linear(10, 8)))
    with pytest.raises(gm.InputError, match=r"Soft edges do not reach this layer .*EdgeSwap"):
        Adam().choose(pose(model, random_graph(30), vary=gm.Edges()))
    model = seeded(lambda: gm.zoo.MODELS["gat"](10, 3))
    with pytest.raises(gm.InputError, match=r"is a GATConv\. Use search=EdgeSwap"):
        Adam().choose(pose(model, random_graph(30), "layer1", vary=gm.Edges()))


# ---------------------------------------------------------------------------- one's own Vary


@dataclass(frozen=True)
class Along(Vary):
    """x = base + scale · direction: one number varies, written by a user."""

    base: Tensor
    direction: Tensor
    noise: float = 0.0

    attribute = "x"
    kind = "features"
    noun = "one number"

    def check(self, inputs: Inputs, at: str) -> None:
        if inputs[at].shape != self.base.shape:
            raise gm.InputError("Along needs features of the shape of its base.")

    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> "AlongVariable":
        return AlongVariable(self, at, generator)


@dataclass
class AlongVariable(Variable):
    vary: Along
    at: str
    generator: torch.Generator
    parameters: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        scale = torch.randn((), generator=self.generator).requires_grad_()
        self.parameters = [scale, torch.ones(2).requires_grad_()]  # the second reaches nothing

    def render(self) -> dict[str, Tensor]:
        scale = self.parameters[0] + self.vary.noise * torch.randn((), generator=self.generator)
        return {self.at: self.vary.base + scale * self.vary.direction}


def test_a_users_own_way_to_vary():
    data = random_graph(30, kind="real")
    base, direction = torch.rand(2, *data.x.shape, generator=generator(4))
    data.x = base + 2 * direction
    with pytest.raises(gm.InputError, match="Along needs features"):
        gm.metamer(gcn(), data, "output", vary=Along(base[1:], direction[1:]))
    search = Adam(lr=0.05, steps=300)
    m = gm.metamer(gcn(), data, "output", vary=Along(base, direction), search=search, tol=1e-4)
    assert m.fvu < 1e-4
    # The layer is linear, so only scale = 2 matches; the error is (scale − 2)² times a constant.
    torch.testing.assert_close(m.data.x, data.x, rtol=0, atol=0.03)


@pytest.mark.usefixtures("always_saved")
def test_chance_during_the_search_is_resumed_and_settings_are_part_of_it(pose: Poser, tmp_path):
    data, path = random_graph(30, kind="real"), tmp_path / "c.pt"
    base, direction = torch.rand(2, *data.x.shape, generator=generator(4))
    search, stop = Adam(lr=0.02, steps=9), RuntimeError()

    def problem(direction: Tensor):
        return pose(gcn(), data, vary=Along(base, direction, noise=0.1))

    def watch(step: int, total: int, error: float) -> None:
        if step == 4:
            raise stop

    undisturbed = search.run(problem(direction), generator())
    with pytest.raises(RuntimeError):
        search.run(problem(direction), generator(), checkpoint=path, watch=watch)
    nearly = direction.clone()
    nearly[10, 5] += 1e-3  # too little, and too far inside, for the tensor's repr to show
    assert (
        search.run(problem(direction), generator(), checkpoint=path).history == undisturbed.history
    )
    with pytest.raises(RuntimeError):
        search.run(problem(direction), generator(), checkpoint=path, watch=watch)
    with pytest.raises(gm.InputError, match="belongs to another search"):
        search.run(problem(nearly), generator(), checkpoint=path)
