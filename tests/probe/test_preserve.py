"""The user's model is left exactly as found, whatever happens meanwhile."""

import random
from collections import Counter, deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, SGConv
from torch_geometric.nn.models import GCN

import graph_metamers as gm
from graph_metamers.probe.preserve import preserved
from helpers import (
    CLASSES,
    FEATURES,
    HIDDEN,
    SEARCH,
    Calls,
    TwoLayers,
    left_as_found,
    seeded,
    toy_graph,
    unchecked_types,
    with_adj_t,
)


@pytest.fixture(autouse=True)
def _python_random_is_ours():
    with unchecked_types():
        yield


class Moody(nn.Module):
    """All that a forward may change: modes, weights, buffers, caches, counters, chance."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)
        self.norm = nn.BatchNorm1d(CLASSES, momentum=0.5)
        self.embedding = nn.Embedding(40, CLASSES, max_norm=0.1)  # shrinks what it looks up
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("adjacency", torch.eye(40).to_sparse_coo())
        self.register_buffer("undefined", torch.full((2,), float("nan")))
        self.count, self.last = 0, None
        self.seen: list[int] = []
        self.recent: deque[int] = deque([1, 2], maxlen=2)
        self.names: set[str] = set()
        self.tally: Counter[str] = Counter(before=1)
        self.nested = {"lists": ([0], [1])}
        self.mean = torch.zeros(CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.count += 1
        self.calls += 1
        self.seen.append(self.count)
        self.recent.append(self.count)
        self.names.add(f"call {self.count}")
        self.tally["after"] += 1
        self.nested["lists"][0].append(self.count)
        self.fresh = self.last = x
        random.random()
        np.random.rand()  # noqa: NPY002
        torch.rand(1)
        h = self.norm(self.conv(x, edge_index)) + self.embedding(torch.arange(40))
        self.mean.mul_(0.5).add_(h.detach().mean(dim=0))
        self.adjacency.mul_(1.0)
        return self.adjacency @ h


def busy() -> nn.Module:
    """Half in training mode, half frozen, with gradients and with hooks of the user's own."""
    model = Moody()
    model.train()
    model.norm.eval()
    model.conv.lin.weight.requires_grad_(False)
    model.conv.bias.grad = torch.ones(CLASSES)
    model.register_forward_hook(lambda module, arguments, output: None)
    model.conv.register_forward_pre_hook(lambda module, arguments: None)
    model.conv.register_full_backward_hook(lambda module, into, out: None)
    model.hooks_of_mine = [1]
    return model


def network() -> nn.Module:
    model = GCN(FEATURES, HIDDEN, 2, CLASSES, dropout=0.5, norm="batch_norm")
    return model.train()


MODELS = {"busy": (busy, "conv"), "GCN": (network, "act"), "plain": (TwoLayers, "conv1")}


@pytest.fixture(params=list(MODELS))
def case(request):
    build, layer = MODELS[request.param]
    return seeded(build), layer


def test_layers_leaves_no_trace(case):
    model, _ = case
    with left_as_found(model):
        gm.layers(model, toy_graph())


def test_metamer_leaves_no_trace(case):
    model, layer = case
    with left_as_found(model):
        gm.metamer(model, toy_graph(), layer, search=gm.Adam(lr=0.05, steps=5))


def test_audit_leaves_no_trace(case):
    model, layer = case
    search = gm.Adam(lr=0.05, steps=3)
    with left_as_found(model):
        gm.audit(model, toy_graph(), layers=[layer, "output"], search=search, seeds=2)


def test_a_bad_layer_leaves_no_trace(case):
    model, _ = case
    with left_as_found(model), pytest.raises(gm.InputError, match="'nope' is not a layer"):
        gm.metamer(model, toy_graph(), "nope")


def test_a_bad_graph_leaves_no_trace(case):
    model, layer = case
    with left_as_found(model), pytest.raises(gm.InputError, match=r"data\.x must be finite"):
        gm.metamer(model, toy_graph(x=torch.full((40, FEATURES), float("nan"))), layer)


class Interrupted(nn.Module):
    """Its n-th forward ends in the middle of a convolution with the exception handed in."""

    def __init__(self, error: BaseException, call: int) -> None:
        super().__init__()
        self.first, self.second = Moody(), GCNConv(CLASSES, CLASSES)
        self.error, self.left = error, call

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = F.relu(self.first(x, edge_index))
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.second(h, edge_index)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("layer", ["second", "output", ["first", "F.relu", "second"]])
def test_an_exception_at_the_fifth_forward_leaves_no_trace(error, layer):
    model = seeded(lambda: Interrupted(error, 5)).train()
    with left_as_found(model), pytest.raises(type(error)) as raised:
        gm.metamer(model, toy_graph(), layer, search=SEARCH)
    assert raised.value is error


def test_an_exception_at_the_first_forward_is_told_and_leaves_no_trace():
    model = seeded(lambda: Interrupted(ZeroDivisionError("1 / 0"), 1))
    sentence = "Interrupted must run on the reference graph; it raised ZeroDivisionError: 1 / 0"
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence) as raised:
        gm.layers(model, toy_graph())
    assert raised.value.__cause__ is model.error


def test_stopping_layers_leaves_no_trace():
    model = seeded(lambda: Interrupted(KeyboardInterrupt(), 1))
    with left_as_found(model), pytest.raises(KeyboardInterrupt):
        gm.layers(model, toy_graph())


def test_an_exception_of_the_search_leaves_no_trace(case):
    class Failing(gm.Adam):
        def run(self, problem, generator, **rest):
            problem.error(problem.data)
            raise MemoryError

    model, layer = case
    with left_as_found(model), pytest.raises(MemoryError):
        gm.metamer(model, toy_graph(), layer, search=Failing())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_mode_of_the_user_is_kept(mode, case):
    model, layer = case
    with mode(), left_as_found(model):
        m = gm.metamer(model, toy_graph(), layer, search=gm.Adam(lr=0.05, steps=5))
    assert min(m.history) < m.history[0]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("stale", ["empty", "of another graph", "of this graph"])
def test_a_cached_convolution_keeps_its_cache_and_does_not_use_it(stale, training):
    data = toy_graph()
    other = gm.datasets.csbm(nodes=40, features=FEATURES, degree=9.0, seed=1)
    graph = {"empty": None, "of another graph": other, "of this graph": data}[stale]
    model = seeded(
        lambda: TwoLayers(
            conv1=GCNConv(FEATURES, HIDDEN, cached=True), conv2=SGConv(HIDDEN, CLASSES, cached=True)
        )
    ).train(training)
    if graph is not None:
        model(graph.x, graph.edge_index)
        assert model.conv1._cached_edge_index is not None
        assert model.conv2._cached_x is not None
    fresh = seeded(lambda: TwoLayers(conv2=SGConv(HIDDEN, CLASSES)))
    fresh.load_state_dict(model.state_dict())
    with left_as_found(model), preserved(model), torch.no_grad():
        inside = model(data.x, data.edge_index)
        again = model(1 - data.x, data.edge_index)
    assert torch.equal(inside, fresh(data.x, data.edge_index))
    assert torch.equal(again, fresh(1 - data.x, data.edge_index))


def test_a_cached_sparse_adjacency_is_kept():
    data = with_adj_t(toy_graph())
    model = seeded(lambda: TwoLayers(conv1=GCNConv(FEATURES, HIDDEN, cached=True)))
    model(data.x, data.adj_t)
    assert model.conv1._cached_edge_index[0].layout == torch.sparse_csr
    with left_as_found(model):
        gm.metamer(model, data, "conv1", search=gm.Adam(lr=0.05, steps=3))


def test_inside_is_evaluation_mode_without_gradients():
    model = seeded(busy)
    with preserved(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_the_random_numbers_of_the_user_go_on_as_without_us():
    def three() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(1))]  # noqa: NPY002

    def seed() -> None:
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)

    seed()
    expected = three()
    seed()
    gm.metamer(seeded(busy), toy_graph(), "conv", search=gm.Adam(lr=0.05, steps=2))
    assert three() == expected


def test_a_training_step_is_the_same_as_without_us():
    # Everything that hides in a model shows in what its next training step makes of it.
    def trained(*, look: bool) -> dict[str, Tensor]:
        data, model = toy_graph(), seeded(network)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            for _ in range(3):
                F.cross_entropy(model(data.x, data.edge_index), data.y).backward()
                if look:
                    gm.metamer(model, data, "act", search=gm.Adam(lr=0.05, steps=2))
                optimizer.step()
        return model.state_dict()

    alone, watched = trained(look=False), trained(look=True)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


def test_a_backward_pass_that_is_under_way_goes_on():
    data, model = toy_graph(), seeded(lambda: TwoLayers(conv1=GATConv(FEATURES, HIDDEN)))
    loss = model(data.x, data.edge_index).square().sum()
    gm.metamer(model, data, "conv1", search=gm.Adam(lr=0.05, steps=2))
    loss.backward()  # would raise had a weight been written to
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_graph_is_not_changed():
    data, model = toy_graph(), seeded(TwoLayers)
    before, tensors = data.clone(), dict(data.to_dict())
    gm.metamer(model, data, "conv1", search=gm.Adam(lr=0.05, steps=5))
    assert data.to_dict().keys() == before.to_dict().keys()
    for name, tensor in data.to_dict().items():
        assert tensor is tensors[name]
        assert torch.equal(tensor, before[name])
    assert not data.x.requires_grad


def test_a_compiled_model_is_left_as_found():
    model = seeded(network)
    compiled = torch.compile(model, backend="eager")
    with left_as_found(model):
        gm.metamer(compiled, toy_graph(), "act", search=gm.Adam(lr=0.05, steps=3))


def test_the_snapshot_notices():
    """What these tests stand on: each kind of change is seen."""
    changes = {
        "weight": lambda m: m.conv.lin.weight.data.add_(1),
        "buffer": lambda m: m.norm.running_mean.add_(1),
        "mode": lambda m: m.conv.eval(),
        "frozen": lambda m: m.conv.bias.requires_grad_(False),
        "gradient": lambda m: m.conv.bias.grad.add_(1),
        "hook": lambda m: m.conv.register_forward_hook(lambda *a: None),
        "counter": lambda m: setattr(m, "count", 7),
        "list": lambda m: m.nested["lists"][1].append(2),
        "attribute": lambda m: setattr(m, "new", 1),
        "python": lambda m: random.random(),
        "numpy": lambda m: np.random.rand(),  # noqa: NPY002
        "torch": lambda m: torch.rand(1),
    }
    missed = []
    for name, change in changes.items():
        model = seeded(busy)
        try:
            with left_as_found(model):
                change(model)
        except AssertionError:
            continue
        missed.append(name)
    assert missed == []


def test_forwards_of_one_call_do_not_see_each_other():
    # Counters go on inside, so a model that alternates would be caught as random.
    def alternating(model, x, edge_index):
        model.turn = not getattr(model, "turn", False)
        return model.conv(x if model.turn else 1 - x, edge_index)

    model = seeded(lambda: Calls(alternating))
    with left_as_found(model), pytest.raises(gm.InputError, match="differs between two runs"):
        gm.metamer(model, toy_graph(), "conv")
