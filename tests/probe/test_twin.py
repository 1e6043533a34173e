"""The user's model sees nothing of what is done on its copy, and the copy answers the same."""

import random
import threading
import types
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, SGConv
from torch_geometric.nn.models import GCN

import graph_metamers as gm
from graph_metamers.probe import Session
from graph_metamers.probe.twin import own_randomness, twin_of
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
        self.count, self.last = 0, None
        self.recent: deque[int] = deque([1, 2], maxlen=2)
        self.names: set[str] = set()
        self.tally: Counter[str] = Counter(before=1)
        self.nested = {"lists": ([0], [1])}
        self.mean = torch.zeros(CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.count += 1
        self.calls += 1
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
    return model


def network() -> nn.Module:
    return GCN(FEATURES, HIDDEN, 2, CLASSES, dropout=0.5, norm="batch_norm").train()


MODELS = {"busy": (busy, "conv"), "GCN": (network, "act")}


@pytest.fixture(params=list(MODELS))
def case(request):
    build, layer = MODELS[request.param]
    return seeded(build), layer


def opened(model: nn.Module, layer: str = "output") -> Tensor:
    """What the copy says of a graph."""
    with Session(model, toy_graph()) as session, torch.no_grad():
        return session.activations(session.targets(layer), session.inputs)[0]


# --------------------------------------------------------------------------- nothing is seen


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_search_leaves_no_trace(case, mode):
    model, layer = case
    with mode(), left_as_found(model):
        m = gm.metamer(model, toy_graph(), layer, search=gm.Adam(lr=0.05, steps=5))
    assert min(m.history) < m.history[0]


def test_mistakes_leave_no_trace(case):
    model, layer = case
    with left_as_found(model), pytest.raises(gm.InputError, match="'nope' is not a layer"):
        gm.metamer(model, toy_graph(), "nope")
    nan = toy_graph(x=torch.full((40, FEATURES), float("nan")))
    with left_as_found(model), pytest.raises(gm.InputError, match=r"data\.x must be finite"):
        gm.metamer(model, nan, layer)


class Interrupted(nn.Module):
    """Its n-th forward ends in the middle with the exception handed in."""

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


@pytest.mark.parametrize("call", [1, 30])
@pytest.mark.parametrize("error", [ZeroDivisionError("1 / 0"), KeyboardInterrupt()])
def test_an_exception_of_the_model_leaves_no_trace(error, call):
    model = seeded(lambda: Interrupted(error, call)).train()
    told = isinstance(error, ZeroDivisionError)
    with left_as_found(model), pytest.raises(gm.InputError if told else type(error)) as raised:
        gm.metamer(model, toy_graph(), "second", search=SEARCH)
    if told:
        on = "the reference graph" if call == 1 else "graphs with other values of 'x'"
        sentence = f"Interrupted must run on {on}; it raised ZeroDivisionError: 1 / 0. "
        assert str(raised.value).startswith(sentence)


class Base(nn.Module):
    """Two convolutions, between which `touch` changes something that is no tensor of its own."""

    def __init__(self, touch: Callable[["Base", Tensor], Any], **attributes: Any) -> None:
        super().__init__()
        self.a, self.b, self.touch = GCNConv(FEATURES, 8), GCNConv(8, CLASSES), touch
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.a(x, edge_index)
        self.touch(self, h)
        return self.b(h.relu(), edge_index)


def once(name: str, build: Callable[[], Any]) -> Callable[[Base, Tensor], Any]:
    return lambda model, h: hasattr(model, name) or setattr(model, name, build())


# What is made, what a forward does to it, and what is read of it.
STATE: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a module made late": ({}, once("late", lambda: nn.Linear(8, 8)), lambda m: list(m._modules)),
    "a parameter made late": (
        {},
        once("p", lambda: nn.Parameter(torch.zeros(1))),
        lambda m: list(m._parameters),
    ),
    "weights replaced": (
        {},
        lambda m, h: setattr(m.a, "bias", nn.Parameter(m.a.bias.detach() + 1)),
        lambda m: m.a.bias.tolist(),
    ),
    "modules in a plain list": (
        {"norms": [nn.BatchNorm1d(8)]},
        lambda m, h: m.norms[0].train()(h),
        lambda m: m.norms[0].running_mean.tolist(),
    ),
    "NumPy": ({"n": np.zeros(2)}, lambda m, h: m.n.__iadd__(1), lambda m: m.n.tolist()),
    "a generator": (
        {"g": torch.Generator().manual_seed(0)},
        lambda m, h: torch.rand(1, generator=m.g),
        lambda m: m.g.get_state().sum().item(),
    ),
    "an object": (
        {"o": types.SimpleNamespace(n=0)},
        lambda m, h: setattr(m.o, "n", m.o.n + 1),
        lambda m: m.o.n,
    ),
    "a gradient": (
        {},
        lambda m, h: setattr(m.a.bias, "grad", torch.ones(8)),
        lambda m: m.a.bias.grad is None,
    ),
}


@pytest.mark.parametrize("what", STATE)
def test_state_that_is_no_tensor_of_the_model(what):
    attributes, touch, read = STATE[what]
    model = seeded(lambda: Base(touch, **attributes))
    before = read(model)
    gm.layers(model, toy_graph())
    assert read(model) == before
    model.touch(model, torch.ones(40, 8))
    assert read(model) != before  # what a forward does can be seen


SEEN: dict[str, list[Any]] = {"output": []}


class Watcher:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def hook(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self.seen.append(output)


def log(seen: list[Any], module: nn.Module, arguments: Any, output: Any) -> None:
    seen.append(output)


def watched() -> dict[str, tuple[list[Any], Any]]:
    """Where a hook of the user's writes to, and the hook."""
    own, watcher = [], Watcher()

    def nested(module, arguments, output):
        (lambda: own.append(output))()

    return {
        "a list": (own, lambda *rest: own.append(rest)),
        "a global": (SEEN["output"], lambda *rest: SEEN["output"].append(rest)),
        "a global, nested": (
            SEEN["output"],
            lambda *rest: [SEEN["output"].append(r) for r in rest],
        ),
        "an object": (watcher.seen, watcher.hook),
        "partial": (own, partial(log, own)),
        "nested": (own, nested),
    }


@pytest.mark.parametrize("kind", watched())
@pytest.mark.parametrize("where", ["model", "layer", "pre"])
def test_hooks_that_watch_see_nothing(kind, where):
    seen, hook = watched()[kind]
    model = seeded(TwoLayers)
    if where == "pre":
        model.conv1.register_forward_pre_hook(lambda *rest: (hook(*rest, None), None)[1])
    else:
        (model if where == "model" else model.conv1).register_forward_hook(
            lambda *rest: (hook(*rest), None)[1]
        )
    with left_as_found(model):
        gm.metamer(model, toy_graph(), "conv1", search=gm.Adam(lr=0.05, steps=2))
    assert seen == []
    model(toy_graph().x, toy_graph().edge_index)
    assert len(seen) > 0
    seen.clear()


def test_a_hook_that_changes_the_output_is_kept():
    data, model = toy_graph(), seeded(TwoLayers)
    plain = opened(model, "conv1")
    scale = torch.tensor(3.0)
    model.conv1.register_forward_hook(lambda module, arguments, output: scale * output)
    torch.testing.assert_close(opened(model, "conv1"), 3 * plain)
    expected = model(data.x, data.edge_index).detach()
    assert torch.equal(opened(model), expected)
    m = gm.metamer(model, data, "conv1", search=gm.Adam(lr=0.05, steps=2))
    assert m.activation_error > 0


# ----------------------------------------------------------------------- the copy is a true one


@pytest.mark.parametrize("stale", [False, True])
def test_a_cached_convolution_keeps_its_cache_and_does_not_use_it(stale):
    data = toy_graph()
    model = seeded(
        lambda: TwoLayers(
            conv1=GCNConv(FEATURES, HIDDEN, cached=True), conv2=SGConv(HIDDEN, CLASSES, cached=True)
        )
    )
    if stale:
        other = gm.datasets.csbm(nodes=40, features=FEATURES, degree=9.0, seed=1)
        model(other.x, other.edge_index)
    fresh = seeded(lambda: TwoLayers(conv2=SGConv(HIDDEN, CLASSES)))
    fresh.load_state_dict(model.state_dict())
    with left_as_found(model), torch.no_grad():
        twin = twin_of(model)
        for x in (data.x, 1 - data.x):
            assert torch.equal(twin(x, data.edge_index), fresh(x, data.edge_index))


class Attributes(nn.Module):
    """A convolution with something beside it, made by the function handed in."""

    def __init__(self, add: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)
        add(self)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


def with_history(model: nn.Module) -> None:
    model.attention = model.conv.bias * 2
    model.kept = {"last": [model.conv.bias * 3, (model.conv.bias * 4,)]}


def in_inference(model: nn.Module) -> None:
    with torch.inference_mode():
        model.register_buffer("c", torch.ones(2))


ADD: dict[str, Callable[[nn.Module], Any]] = {
    "two names": lambda m: setattr(m, "layers", nn.ModuleList([m.conv])),
    "a non-leaf buffer": lambda m: m.register_buffer("c", m.conv.bias * 2),
    "tensors with a history": with_history,
    "a buffer of inference mode": in_inference,
    "a meta buffer": lambda m: m.register_buffer("c", torch.ones(2, device="meta")),
    "a scripted module": lambda m: setattr(m, "lin", torch.jit.script(nn.Linear(2, 2))),
    "weight_norm": lambda m: setattr(
        m.conv, "lin", nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES, CLASSES))
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
@pytest.mark.parametrize("what", ADD)
def test_whatever_a_model_holds(what):
    data, model = toy_graph(), seeded(lambda: Attributes(ADD[what])).train()
    flags = [p.requires_grad for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    weights = {name: weight.clone() for name, weight in model.named_parameters()}
    m = gm.metamer(model, data, "conv", search=gm.Swap(steps=2))
    assert m.steps == 2
    assert torch.equal(opened(model), model(data.x, data.edge_index))
    assert [p.requires_grad for p in model.parameters()] == flags
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(w, weights[name]) for name, w in model.named_parameters())
    twin = twin_of(model)
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in model.parameters()}
    assert not any(p.requires_grad for p in twin.parameters())
    assert not any(module.training for module in twin.modules())


def test_what_cannot_be_copied_is_told():
    model = seeded(lambda: Attributes(lambda m: setattr(m, "lock", threading.Lock())))
    sentence = r"Attributes must be a model that can be copied: .* TypeError: .*lock.*\. Remove the"
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        gm.layers(model, toy_graph())


def test_a_function_of_the_model_is_the_copys():
    """A method that was replaced by a function over the model itself."""
    model = seeded(TwoLayers)
    model.seen = []
    plain = model.forward

    def forward(x, edge_index):
        model.seen.append(len(x))
        return plain(x, edge_index)

    model.forward = forward
    gm.layers(model, toy_graph())
    assert model.seen == []


# ------------------------------------------------------------------------- chance and training


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
    seed()
    with own_randomness():
        three()
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


def test_two_threads_give_the_results_of_one():
    data, model = toy_graph(), seeded(network)

    def build(seed: int) -> gm.Metamer:
        search = gm.Adam(lr=0.05, steps=15)
        return gm.metamer(model, data, "act", search=search, seed=seed, progress=False)

    alone = [build(seed) for seed in range(4)]
    with left_as_found(model), ThreadPoolExecutor(2) as pool:
        together = list(pool.map(build, range(4)))
    for a, b in zip(alone, together, strict=True):
        assert a.history == b.history
        assert torch.equal(a.data.x, b.data.x)


# ------------------------------------------------------------------------------------ the graph


@pytest.mark.parametrize("change", ["none", "in place"])
def test_the_graph_is_not_changed(change):
    def run(model, x, edge_index):
        return model.conv(x if change == "none" else x.mul_(2), edge_index)

    data, model = toy_graph(), seeded(lambda: Calls(run))
    before, tensors = data.clone(), dict(data.to_dict())
    gm.metamer(model, data, "conv", search=gm.Adam(lr=0.05, steps=3))
    assert all(tensor is tensors[name] for name, tensor in data.to_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in data.to_dict().items())
    sparse = with_adj_t(data, keep_edges=True)
    gm.layers(model, sparse)
    assert torch.equal(sparse.x, before.x)


def test_a_model_that_changes_with_each_call_is_told():
    # Counters go on inside the copy, so a model that alternates is caught as random.
    def alternating(model, x, edge_index):
        model.turn = not getattr(model, "turn", False)
        return model.conv(x if model.turn else 1 - x, edge_index)

    model = seeded(lambda: Calls(alternating))
    with left_as_found(model), pytest.raises(gm.InputError, match="differs between two runs"):
        gm.metamer(model, toy_graph(), "conv")


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
