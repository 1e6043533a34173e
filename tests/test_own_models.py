"""Users' own models: each gives a metamer whose scores hold up when computed by hand.

That a model is never entered is asked of itself: of its weights, mode, hooks and counters.
"""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import (
    ChebConv,
    GCNConv,
    Sequential,
    SGConv,
    TransformerConv,
)
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

import graph_metamers as gm
from helpers import (
    CLASSES,
    FEATURES,
    HIDDEN,
    Calls,
    Diffuse,
    TwoLayers,
    at,
    by_hand,
    forward_of,
    left_as_found,
    seeded,
    toy_graph,
    weighted_path,
    with_adj_t,
)

Read = Callable[[nn.Module, Data], Tensor]
FEW = gm.Adam(lr=0.1, steps=15)


@dataclass
class Case:
    """A model, a layer of it, and how to read that layer without the library."""

    build: Callable[[], nn.Module]
    layer: Any
    read: Read
    graph: Callable[[], Data] = toy_graph
    run: Any = forward_of  # (model, data) -> class scores
    forward: Any = None
    call: str | None = None
    label: str | None = None


def check(case: Case, mode: Any = nullcontext) -> gm.Metamer:
    """Build the metamer of a case and hold all of it against what is computed by hand."""
    model, data = seeded(case.build), case.graph()
    edges = {name: value for name, value in data.to_dict().items() if name != "x"}
    with left_as_found(model), mode():
        options: dict[str, Any] = {"forward": case.forward, "call": case.call}
        m = gm.metamer(model, data, case.layer, search=FEW, **options)

    # The error fell clearly, and the graph is another one of the same kind.
    assert m.fvu < 0.8 * m.history[0]
    assert not torch.equal(m.data.x, data.x)
    assert m.data.x.sum() == data.x.sum()
    assert set(m.data.x.unique().tolist()) == {0.0, 1.0}
    for name, value in edges.items():
        assert m.data[name] is value or torch.equal(m.data[name].to_dense(), value.to_dense())

    # Its scores are what the untouched model says. The search may sum in another order.
    expected = by_hand(model, m, case.read, case.run)
    assert m.fvu == pytest.approx(expected.pop("fvu"), rel=1e-3)
    assert m.activation_error == pytest.approx(expected.pop("activation_error"), rel=1e-3)
    assert {name: m.scores[name] for name in expected} == pytest.approx(expected, rel=1e-3)
    assert m.scores["start_fvu"] == pytest.approx(m.history[0], rel=1e-4)
    assert m.fvu == pytest.approx(min(m.history), rel=1e-4)
    assert m.layer == (case.label or case.layer)
    assert list(m.layer_errors.values()) == [m.fvu]
    return m


def pyg(cls, layers: int = 2, **options):
    return lambda: cls(FEATURES, HIDDEN, layers, CLASSES, **options)


def output(model: nn.Module, data: Data) -> Tensor:
    return forward_of(model, data)


def trained_norm() -> nn.Module:
    """Batch norm with statistics of its own, and everything left in training mode."""
    model = GCN(FEATURES, HIDDEN, 2, CLASSES, norm="batch_norm", dropout=0.5)
    data = toy_graph()
    for _ in range(20):
        model(data.x, data.edge_index)
    assert model.training
    return model


CASES = {
    **{f"{c.__name__}-act": Case(pyg(c), "act", at("act")) for c in (GCN, GAT, GraphSAGE)},
    # GIN calls one activation everywhere, inside its convolutions too.
    "GIN-act:1": Case(pyg(GIN), "act:1", at("act", 1)),
    **{f"{c.__name__}-convs.0": Case(pyg(c), "convs.0", at("convs.0")) for c in (GAT, GIN)},
    "GCN-output": Case(pyg(GCN), "output", output),
    "hidden-lin": Case(pyg(GCN), "convs.0.lin", at("convs.0.lin")),
    "reused-act:1": Case(pyg(GCN, 3), "act:1", at("act", 1)),
    "before-in-place-module": Case(
        lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)),
        "conv1",
        at("conv1"),
    ),
    "F.relu": Case(TwoLayers, "F.relu:0", lambda m, d: at("conv1")(m, d).relu(), label="F.relu"),
    "before-relu_": Case(lambda: TwoLayers(lambda m, h: h.relu_()), "conv1", at("conv1")),
    "second-F.tanh": Case(
        lambda: TwoLayers(lambda m, h: F.tanh(F.tanh(h) - 0.5)),
        "F.tanh:1",
        lambda m, d: (at("conv1")(m, d).tanh() - 0.5).tanh(),
    ),
    "method": Case(
        lambda: TwoLayers(lambda m, h: h.sigmoid()),
        "F.sigmoid",
        lambda m, d: at("conv1")(m, d).sigmoid(),
    ),
    "batch-norm-left-in-training": Case(trained_norm, "norms.0", at("norms.0")),
    "dropout-left-in-training": Case(
        lambda: GCN(FEATURES, HIDDEN, 2, CLASSES, dropout=0.9).train(), "output", output
    ),
    "jumping-lstm": Case(pyg(GCN, jk="lstm"), "jk", at("jk")),
    "cheb": Case(lambda: TwoLayers(conv1=ChebConv(FEATURES, HIDDEN, 3)), "conv1", at("conv1")),
    "transformer": Case(
        lambda: TwoLayers(conv1=TransformerConv(FEATURES, HIDDEN)), "conv1", at("conv1")
    ),
    "Sequential": Case(
        lambda: Sequential(
            "x, edge_index",
            [(GCNConv(FEATURES, 5), "x, edge_index -> x"), nn.ReLU(), nn.Linear(5, CLASSES)],
        ),
        "module_1",
        at("module_1"),
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_layers_states_and_architectures(case):
    check(case)


def cached(stale: str, convolution: str) -> nn.Module:
    made: dict[str, Callable[[], nn.Module]] = {
        "GCNConv": lambda: TwoLayers(
            conv1=GCNConv(FEATURES, HIDDEN, cached=True),
            conv2=GCNConv(HIDDEN, CLASSES, cached=True),
        ),
        # SGConv caches the *features* after propagation.
        "SGConv": lambda: TwoLayers(conv1=SGConv(FEATURES, HIDDEN, K=2, cached=True)),
    }
    model = made[convolution]()
    other = gm.datasets.csbm(nodes=40, features=FEATURES, density=0.2, degree=9.0, seed=3)
    graph = {"fresh": None, "another": other}[stale]
    if graph is not None:
        model(graph.x, graph.edge_index)
    return model


@pytest.mark.parametrize("convolution", ["GCNConv", "SGConv"])
@pytest.mark.parametrize("stale", ["fresh", "another"])
def test_a_cached_convolution(stale, convolution):
    check(Case(lambda: cached(stale, convolution), "conv1", at("conv1")))


class TakesData(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(FEATURES, HIDDEN), GCNConv(HIDDEN, CLASSES)

    def forward(self, data: Data) -> Tensor:
        return self.conv2(self.conv1(data.x, data.edge_index).relu(), data.edge_index)


class TakesAdjacency(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(FEATURES, HIDDEN), GCNConv(HIDDEN, CLASSES)

    def forward(self, x: Tensor, adj_t: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, adj_t).relu(), adj_t)


def sparse_graph() -> Data:
    return with_adj_t(toy_graph())


def weighted_graph() -> Data:
    data = toy_graph()
    weights = torch.rand(data.num_edges, generator=torch.Generator().manual_seed(0))
    return toy_graph(edge_weight=weights + 0.1)


def run_whole(model, data):
    return model(data)


def run_sparse(model, data):
    return model(data.x, data.adj_t)


def run_edges(model, data):
    # GCN treats a sparse adjacency and the same edges alike.
    return model(data.x, data.edge_index)


def run_weighted(model, data):
    return model(data.x, data.edge_index, data.edge_weight)


CALLS = {
    "data": Case(TakesData, "conv1", at("conv1", run=run_whole), run=run_whole),
    "adj_t-present": Case(
        TakesAdjacency, "conv1", at("conv1", run=run_sparse), sparse_graph, run_sparse
    ),
    "adj_t-present-with-edges": Case(
        TakesAdjacency,
        "F.relu",
        lambda m, d: at("conv1", run=run_sparse)(m, d).relu(),
        lambda: with_adj_t(toy_graph(), keep_edges=True),
        run_sparse,
    ),
    "adj_t-absent": Case(TakesAdjacency, "conv1", at("conv1", run=run_edges), run=run_edges),
    "adj_t-for-edge_index": Case(
        pyg(GCN), "act", at("act", run=run_sparse), sparse_graph, run_sparse
    ),
    "edge-weights": Case(
        pyg(GCN),
        "act",
        at("act", run=run_weighted),
        weighted_graph,
        run_weighted,
        call="x, edge_index, edge_weight",
    ),
    # These take edge weights and ignore them.
    "ignored-edge-weights": Case(pyg(GraphSAGE), "act", at("act"), weighted_graph),
    "positional-only": Case(lambda: PositionalOnly(), "conv", at("conv")),
    "forward=": Case(
        lambda: Temperature(),
        "output",
        lambda m, d: m(d.x, d.edge_index, 2.0),
        run=lambda m, d: m(d.x, d.edge_index, 2.0),
        forward=lambda m, d: m(d.x, d.edge_index, temperature=2.0),
    ),
    "forward=-picks": Case(
        lambda: Calls(lambda m, x, e: (x, m.conv(x, e))),
        "output",
        lambda m, d: forward_of(m, d)[1],
        run=lambda m, d: forward_of(m, d)[1],
        forward=lambda m, d: m(d.x, d.edge_index)[1],
    ),
    "forward=-for-anything": Case(
        lambda: nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)),
        "1",
        at("1", run=lambda m, d: m(d.x)),
        run=lambda m, d: m(d.x),
        forward=lambda m, d: m(d.x),
    ),
}


class PositionalOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, /) -> Tensor:
        return self.conv(x, edge_index)


class Temperature(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, temperature: float) -> Tensor:
        return self.conv(x, edge_index) / temperature


@pytest.mark.parametrize("case", CALLS.values(), ids=CALLS.keys())
def test_ways_to_be_called(case):
    check(case)


def test_a_function_as_layer():
    def after_the_first(model, data):
        return torch.relu(model.conv1(data.x, data.edge_index))

    case = Case(TwoLayers, after_the_first, after_the_first, label="after_the_first")
    by_name = Case(TwoLayers, "F.relu", after_the_first)
    # The very same search as at the layer that it computes.
    assert check(case).history == check(by_name).history


def test_several_layers_are_matched_jointly():
    def words(model, data):
        return data.x.sum(dim=0)[:, None]

    model, data = seeded(pyg(GCN)), toy_graph()
    m = gm.metamer(model, data, ["convs.0", "output", words], search=FEW)
    reads = {"convs.0": at("convs.0"), "output": output, "words": words}
    found = {name: by_hand(model, m, read) for name, read in reads.items()}
    assert m.layer == "convs.0 + output + words"
    assert m.layer_errors == pytest.approx({n: f["fvu"] for n, f in found.items()}, rel=1e-3)
    for name in ("activation_error", "activation_correlation"):
        mean = sum(f[name] for f in found.values()) / 3
        value = m.activation_error if name == "activation_error" else m.scores[name]
        assert value == pytest.approx(mean, rel=1e-3)
    assert m.row_errors is None  # `words` has no row for each node


def test_two_functions_of_one_name_and_a_module_as_layer():
    model = Calls(lambda m, x, e: m.conv(x, e))
    both = [lambda m, d: m.conv(d.x, d.edge_index), lambda m, d: m.conv(d.x, d.edge_index) * 2]
    m = gm.metamer(model, toy_graph(), both, search=FEW)
    assert list(m.layer_errors) == ["<lambda>:0", "<lambda>:1"]
    assert gm.metamer(model, toy_graph(), model.conv, search=FEW).layer == "conv"


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_a_model_of_another_precision(precision):
    model, data = seeded(pyg(GCN)).to(precision), toy_graph(x=toy_graph().x.to(precision))
    m = gm.metamer(model, data, "act", search=FEW)
    assert m.data.x.dtype == precision
    assert m.fvu < 0.8 * m.history[0]
    rel = 1e-12 if precision is torch.float64 else 1e-3
    assert m.fvu == pytest.approx(by_hand(model, m, at("act"))["fvu"], rel=rel)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_the_modes_of_the_user(mode):
    expected, m = check(CASES["GCN-act"]), check(CASES["GCN-act"], mode)
    assert m.history == expected.history
    with torch.inference_mode():
        data = toy_graph()
    assert data.edge_index.is_inference()
    assert check(Case(pyg(GCN), "act", at("act"), lambda: data)).history == expected.history


def test_continuous_features():
    noise = torch.rand((40, FEATURES), generator=torch.Generator().manual_seed(0))
    data, model = toy_graph(x=noise), seeded(pyg(GCN))
    m = gm.metamer(model, data, "act", search=FEW)
    assert m.vary.startswith("ContinuousFeatures")
    assert float(m.data.x.min()) >= 0
    assert m.fvu == pytest.approx(by_hand(model, m, at("act"))["fvu"], rel=1e-3)


def test_a_model_with_hand_set_weights():
    # Node 0 sends to 1 and 2, node 1 to 2. The second of act's outputs is [4 0] at node 2 and 0
    # elsewhere (see helpers): what reaches it is 3·relu(2·2·x₀[0] − 2) of node 1, so a metamer
    # keeps x₀[0] = 1 and is free in all the rest. From starts without it no gradient leads there.
    search = gm.Adam(lr=0.1, steps=200, stop_at_tol=True)
    m = gm.metamer(Diffuse(), weighted_path(), "act:1", search=search, seed=1)
    assert m.fvu == 0.0
    assert m.data.x[0, 0] == 1
    assert m.data.x.sum() == 4


def test_a_layer_that_does_not_depend_on_the_features():
    model = seeded(
        lambda: Calls(
            lambda m, x, e: m.conv(x, e) + m.places(torch.arange(40)),
            places=nn.Embedding(40, CLASSES),
        )
    )
    with pytest.raises(gm.InputError, match=r"places does not depend .* among 'conv', 'output'"):
        gm.metamer(model, toy_graph(), "places")


def test_what_a_forward_does_to_its_graph_reaches_nobody():
    def forward(m, d):
        d.x = d.x * 0.5
        return m.conv(d.x, d.edge_index)

    reference = toy_graph()
    x = reference.x.clone()
    overwriting = Calls(lambda m, x, e: m.conv(x.mul_(0.5), e))
    plain = Calls(lambda m, x, e: m.conv(x * 0.5, e))
    plain.load_state_dict(overwriting.state_dict())
    found = [
        gm.metamer(overwriting, reference, "conv", search=FEW),
        gm.metamer(plain, reference, "conv", search=FEW),
        gm.metamer(plain, reference, "conv", search=FEW, forward=forward),
    ]
    assert reference.x.equal(x)
    assert all(m.data.x.equal(found[0].data.x) for m in found)


def test_features_in_column_order():
    columns = toy_graph()
    columns.x = columns.x.t().contiguous().t()
    assert not columns.x.is_contiguous()
    model = seeded(pyg(GCN))
    found = [gm.metamer(model, graph, "act", search=FEW) for graph in (toy_graph(), columns)]
    assert found[0].data.x.equal(found[1].data.x)


# ----------------------------------------------------------------------------- it is not entered


class Watching(nn.Module):
    """Notes whoever enters it, in a counter, a buffer, a list, and by hooks into a global list."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = GCNConv(FEATURES, HIDDEN, cached=True), GCNConv(HIDDEN, CLASSES)
        self.norm, self.again = nn.BatchNorm1d(HIDDEN), self.conv2  # one module, two names
        self.calls, self.switched, self.modes, self.last = 0, 0, [], None
        self.register_buffer("count", torch.zeros(()))
        self.conv1.register_forward_hook(lambda m, a, h: SEEN.append(("forward", m.training)))
        self.conv2.register_forward_pre_hook(lambda m, a: SEEN.append("pre"))
        self.conv2.register_full_backward_hook(lambda m, a, b: SEEN.append("backward"))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.modes.append((self.training, torch.is_grad_enabled()))
        self.last = self.norm(self.conv1(x, edge_index)).relu()
        return self.again(self.last, edge_index)

    def train(self, mode: bool = True) -> "Watching":
        self.switched += 1
        return super().train(mode)


SEEN: list[Any] = []


def watching() -> Watching:
    """One that was trained a little, with gradients and a history left over."""
    model, data = seeded(Watching), toy_graph()
    model(data.x, data.edge_index).sum().backward()
    model.conv1.bias.requires_grad_(False)
    SEEN.clear()
    return model  # pyright: ignore[reportReturnType]


USES: dict[str, Callable[[nn.Module], Any]] = {
    "metamer": lambda model: gm.metamer(model, toy_graph(), "conv1", search=FEW),
    "edges": lambda model: gm.metamer(
        model, toy_graph(), "conv1", vary=gm.Edges(), search=gm.EdgeSwap(steps=2)
    ),
    "real features": lambda model: gm.metamer(
        model, toy_graph(x=toy_graph().x + 0.5), "conv1", search=gm.GaussNewton(steps=2)
    ),
    "audit": lambda model: gm.audit(model, toy_graph(), search=FEW, seeds=1),
    "layers": lambda model: gm.layers(model, toy_graph()),
    "baselines": lambda model: gm.baselines(model, toy_graph(), "conv1"),
    "metamer_dimension": lambda model: gm.metamer_dimension(model, toy_graph(), "conv1"),
    "refused": lambda model: refused(model),
}


def refused(model: nn.Module) -> None:
    with pytest.raises(gm.InputError):
        gm.metamer(model, toy_graph(), "conv9")


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_model_that_watches_itself_sees_nothing(use):
    model = watching()
    with left_as_found(model):
        use(model)
    assert SEEN == []
    assert (model.calls, len(model.modes), float(model.count), model.switched) == (1, 1, 1.0, 0)


def test_two_threads_on_one_model_give_the_results_of_one():
    model, found = seeded(pyg(GCN)), {}
    expected = [gm.metamer(model, toy_graph(), "act", search=FEW, seed=s) for s in range(3)]

    def work(seed: int) -> None:
        found[seed] = gm.metamer(model, toy_graph(), "act", search=FEW, seed=seed, progress=False)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    with left_as_found(model):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for m in expected:
        assert torch.equal(found[m.seed].data.x, m.data.x)
        assert found[m.seed].items == m.items
