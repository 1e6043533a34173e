"""Users' own models: each gives a real metamer, whose scores hold up when computed by hand."""

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
    GATConv,
    GCNConv,
    JumpingKnowledge,
    Sequential,
    SGConv,
    TransformerConv,
    global_mean_pool,
)
from torch_geometric.nn.models import GAT, GCN, GIN, GraphSAGE

import graph_metamers as gm
from helpers import (
    CLASSES,
    FEATURES,
    HIDDEN,
    SEARCH,
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


@dataclass
class Case:
    """A model, a layer of it, and how to read that layer without the library."""

    build: Callable[[], nn.Module]
    layer: Any
    read: Read
    graph: Callable[[], Data] = toy_graph
    run: Any = forward_of  # (model, data) -> class scores
    forward: Any = None
    label: str | None = None


def check(case: Case, mode: Any = nullcontext) -> gm.Metamer:
    """Build the metamer of a case and hold all of it against what is computed by hand."""
    model, data = seeded(case.build), case.graph()
    edges = {name: value for name, value in data.to_dict().items() if name != "x"}
    with left_as_found(model):
        m = gm.metamer(model, data, case.layer, search=SEARCH, forward=case.forward, progress=False)

    # The activation error fell clearly, and the graph is another one of the same kind.
    assert m.activation_error < 0.5 * m.history[0]
    assert m.activation_error == pytest.approx(min(m.history), rel=1e-4)
    assert not torch.equal(m.data.x, data.x)
    assert m.data.x.sum() == data.x.sum()
    assert set(m.data.x.unique().tolist()) == {0.0, 1.0}
    for name, value in edges.items():
        assert m.data[name] is value or torch.equal(m.data[name].to_dense(), value.to_dense())

    # Its scores are what the untouched model says.
    expected = by_hand(model, m, case.read, case.run)
    assert m.activation_error == pytest.approx(expected.pop("activation_error"), rel=1e-3)
    assert {name: m.scores[name] for name in expected} == pytest.approx(expected, rel=1e-3)
    # The search may sum in another order than the model.
    assert m.scores["start_activation_error"] == pytest.approx(m.history[0], rel=1e-5)
    near = m.activation_error <= m.tol
    assert m.matched == (near and m.activation_error < m.null_activation_error)
    assert m.layer == (case.label or case.layer)
    assert list(m.layer_errors.values()) == [m.activation_error]
    x, y = data.x.double(), m.data.x.double()
    cosine = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    assert torch.allclose(m.node_similarity, cosine, equal_nan=True)
    return m


def pyg(cls, layers: int = 2, **options):
    return lambda: cls(FEATURES, HIDDEN, layers, CLASSES, **options)


def output(model: nn.Module, data: Data) -> Tensor:
    return forward_of(model, data)


BASIC = {
    **{f"{c.__name__}-act": Case(pyg(c), "act", at("act")) for c in (GCN, GAT, GraphSAGE)},
    # GIN calls one activation everywhere, inside its convolutions too.
    **{f"GIN-act:{i}": Case(pyg(GIN), f"act:{i}", at("act", i)) for i in range(3)},
    **{
        f"{c.__name__}-convs.0": Case(pyg(c), "convs.0", at("convs.0"))
        for c in (GCN, GAT, GraphSAGE, GIN)
    },
    **{f"{c.__name__}-output": Case(pyg(c), "output", output) for c in (GCN, GAT, GraphSAGE, GIN)},
    "hidden-lin": Case(pyg(GCN), "convs.0.lin", at("convs.0.lin")),
}


@pytest.mark.parametrize("case", BASIC.values(), ids=BASIC.keys())
def test_models_of_pyg(case):
    m = check(case)
    assert m.node_errors is not None
    assert float(m.node_errors.mean()) == pytest.approx(m.activation_error, rel=1e-4)
    assert m.predictions_agree is not None
    assert float(m.predictions_agree.double().mean()) == m.scores["prediction_match"]


ACTIVATIONS = {
    "reused-act:0": Case(pyg(GCN, 3), "act:0", at("act", 0)),
    "reused-act:1": Case(pyg(GCN, 3), "act:1", at("act", 1)),
    "elu": Case(pyg(GCN, act="elu"), "act", at("act")),
    "in-place-module": Case(
        lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)), "relu", at("relu")
    ),
    "before-in-place-module": Case(
        lambda: TwoLayers(lambda m, h: m.relu(h), relu=nn.ReLU(inplace=True)),
        "conv1",
        at("conv1"),
    ),
    "F.relu": Case(TwoLayers, "F.relu:0", lambda m, d: at("conv1")(m, d).relu(), label="F.relu"),
    "F.relu-in-place": Case(
        lambda: TwoLayers(lambda m, h: F.relu(h, inplace=True)),
        "F.relu",
        lambda m, d: at("conv1")(m, d).relu(),
    ),
    "before-F.relu-in-place": Case(
        lambda: TwoLayers(lambda m, h: F.relu(h, inplace=True)), "conv1", at("conv1")
    ),
    "relu_": Case(
        lambda: TwoLayers(lambda m, h: h.relu_()),
        "F.relu_",
        lambda m, d: at("conv1")(m, d).relu(),
    ),
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
}


@pytest.mark.parametrize("case", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())
def test_activations(case):
    check(case)


def trained_norm() -> nn.Module:
    """Batch norm with statistics of its own, and everything left in training mode."""
    model = GCN(FEATURES, HIDDEN, 2, CLASSES, norm="batch_norm", dropout=0.5)
    data = toy_graph()
    for _ in range(20):
        model(data.x, data.edge_index)
    assert model.training
    return model


class Jumping(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.convs = nn.ModuleList([GCNConv(FEATURES, HIDDEN), GCNConv(HIDDEN, HIDDEN)])
        self.jump = JumpingKnowledge(mode, HIDDEN, 2)
        self.lin = nn.Linear(2 * HIDDEN if mode == "cat" else HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        xs = []
        for conv in self.convs:
            x = conv(x, edge_index).relu()
            xs.append(x)
        return self.lin(self.jump(xs))


STATE = {
    "batch-norm-left-in-training": Case(trained_norm, "norms.0", at("norms.0")),
    "dropout-left-in-training": Case(
        lambda: GCN(FEATURES, HIDDEN, 2, CLASSES, dropout=0.9).train(), "output", output
    ),
    "functional-dropout": Case(
        lambda: TwoLayers(lambda m, h: F.dropout(h, 0.9, m.training)).train(), "output", output
    ),
    "jumping-cat": Case(lambda: Jumping("cat"), "jump", at("jump")),
    "jumping-max": Case(lambda: Jumping("max"), "jump", at("jump")),
    "jumping-lstm": Case(lambda: Jumping("lstm"), "jump", at("jump")),
    "pyg's-jumping": Case(pyg(GCN, jk="cat"), "jk", at("jk")),
    "frozen": Case(
        lambda: GCN(FEATURES, HIDDEN, 2, CLASSES).requires_grad_(False), "act", at("act")
    ),
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


@pytest.mark.parametrize("case", STATE.values(), ids=STATE.keys())
def test_states_and_architectures(case):
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
    graph = {"fresh": None, "this": toy_graph(), "another": other}[stale]
    if graph is not None:
        model(graph.x, graph.edge_index)
    return model


@pytest.mark.parametrize("convolution", ["GCNConv", "SGConv"])
@pytest.mark.parametrize("stale", ["fresh", "this", "another"])
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
        pyg(GCN), "act", at("act", run=run_weighted), weighted_graph, run_weighted
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


def test_edge_weights_matter():
    # Else the case above could not tell whether they are passed.
    plain, weighted = (
        gm.metamer(seeded(pyg(GCN)), graph(), "act", search=SEARCH)
        for graph in (toy_graph, weighted_graph)
    )
    assert plain.history[0] != weighted.history[0]


def scores(key):
    return lambda m, d: forward_of(m, d)[key]


RETURNS = {
    "tuple": Case(
        lambda: Calls(lambda m, x, e: (m.conv(x, e), x.sum())),
        "output",
        scores(0),
        run=scores(0),
        label="output",
    ),
    "dict": Case(
        lambda: Calls(lambda m, x, e: {"ids": e, "scores": 2 * m.conv(x, e), "loss": x.sum()}),
        "output",
        scores("scores"),
        run=scores("scores"),
    ),
    "attention-inside": Case(
        lambda: Calls(
            lambda m, x, e: m.conv(x, e, return_attention_weights=True)[0],
            conv=GATConv(FEATURES, CLASSES),
        ),
        "conv",
        at("conv"),
    ),
}


@pytest.mark.parametrize("case", RETURNS.values(), ids=RETURNS.keys())
def test_what_a_model_or_a_layer_returns(case):
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
        return data.x.sum(dim=0)

    model, data = seeded(pyg(GCN)), toy_graph()
    with left_as_found(model):
        m = gm.metamer(model, data, ["convs.0", "output", words], search=SEARCH)
    assert m.layer == "convs.0 + output + words"
    reads = {"convs.0": at("convs.0"), "output": output, "words": words}
    expected = {name: by_hand(model, m, read)["activation_error"] for name, read in reads.items()}
    correlations = [by_hand(model, m, read)["activation_correlation"] for read in reads.values()]
    assert m.layer_errors == pytest.approx(expected, rel=1e-3)
    assert len(set(m.layer_errors.values())) == 3
    assert m.activation_error == pytest.approx(sum(expected.values()) / 3, rel=1e-3)
    assert m.scores["activation_correlation"] == pytest.approx(sum(correlations) / 3, rel=1e-3)
    assert m.activation_error < 0.5 * m.history[0]
    assert m.node_errors is None  # `words` has no row for each node


def test_a_float64_model():
    model = seeded(pyg(GCN)).double()
    data = toy_graph(x=toy_graph().x.double())
    m = gm.metamer(model, data, "act", search=SEARCH)
    assert m.data.x.dtype == torch.float64
    assert m.activation_error < 0.5 * m.history[0]
    error = by_hand(model, m, at("act"))["activation_error"]
    assert m.activation_error == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_under_the_modes_of_the_user(mode):
    expected = check(BASIC["GCN-act"])
    m = check(BASIC["GCN-act"], mode)
    assert m.history == expected.history
    assert torch.equal(m.data.x, expected.data.x)


@pytest.mark.parametrize("build", [pyg(GraphSAGE), pyg(GIN)], ids=["GraphSAGE", "GIN"])
def test_a_graph_that_was_made_in_inference_mode(build):
    with torch.inference_mode():
        data = toy_graph()
    assert data.edge_index.is_inference()
    check(Case(build, "convs.0", at("convs.0"), lambda: data))


def test_continuous_features():
    noise = torch.rand((40, FEATURES), generator=torch.Generator().manual_seed(0))
    data, model = toy_graph(x=noise), seeded(pyg(GCN))
    with left_as_found(model):
        m = gm.metamer(model, data, "act", search=SEARCH)
    assert m.vary.startswith("ContinuousFeatures")
    assert float(m.data.x.min()) >= 0
    assert m.activation_error < 0.5 * m.history[0]
    error = by_hand(model, m, at("act"))["activation_error"]
    assert m.activation_error == pytest.approx(error, rel=1e-3)


def test_one_score_for_a_whole_graph():
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = GCNConv(FEATURES, CLASSES)

        def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
            return global_mean_pool(self.conv(x, edge_index), batch)

    def run(model, data):
        return model(data.x, data.edge_index, torch.zeros(40, dtype=torch.long))

    m = check(Case(Pooled, "output", run, run=run))
    assert m.scores["prediction_match"] == 1.0
    assert m.predictions_agree is None
    assert m.node_errors is None


def test_a_model_with_hand_set_weights():
    # Node 0 sends to 1 and 2, node 1 to 2. The second of act's outputs is [4 0] at node 2 and 0
    # elsewhere (see helpers): what reaches it is 3·relu(2·2·x₀[0] − 2) of node 1, so a metamer
    # keeps x₀[0] = 1 and is free in all the rest. From starts without it no gradient leads there.
    data = weighted_path()
    search = gm.Adam(lr=0.1, steps=200, stop_at_tol=True)
    m = gm.metamer(Diffuse(), data, "act:1", search=search, seed=1)
    assert m.matched
    assert m.activation_error == 0.0
    assert m.data.x[0, 0] == 1
    assert m.data.x.sum() == 4


def test_a_saved_metamer_of_a_sparse_graph_comes_back(tmp_path):
    m = gm.metamer(seeded(pyg(GCN)), sparse_graph(), "act", search=gm.Adam(lr=0.05, steps=5))
    m.save(tmp_path / "m.pt")
    back = gm.load(tmp_path / "m.pt")
    assert torch.equal(back.data.x, m.data.x)
    assert torch.equal(back.data.adj_t.to_dense(), m.data.adj_t.to_dense())
    assert by_hand(seeded(pyg(GCN)), back, at("act", run=run_sparse), run_sparse) == by_hand(
        seeded(pyg(GCN)), m, at("act", run=run_sparse), run_sparse
    )


def test_a_layer_that_does_not_depend_on_the_features():
    model = seeded(
        lambda: Calls(
            lambda m, x, e: m.conv(x, e) + m.places(torch.arange(40)),
            places=nn.Embedding(40, CLASSES),
        )
    )
    sentence = (
        r"The activation at places does not depend on what varies \(BinaryFeatures\), so every "
        r"such graph is a metamer there\. Choose among 'conv', 'output'\."
    )
    with left_as_found(model), pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, toy_graph(), "places")


def test_of_several_outputs_the_user_says_which_holds_the_scores():
    """Taking the first would score S_match on an embedding."""
    model = Calls(lambda m, x, e: (x, m.conv(x, e)))
    with pytest.raises(gm.InputError, match="returns 2 tensors with a row for each node"):
        gm.metamer(model, toy_graph(), "conv", search=SEARCH)
    m = gm.metamer(
        model, toy_graph(), "conv", search=SEARCH, forward=lambda m, d: m(d.x, d.edge_index)[1]
    )
    scores = [model(d.x, d.edge_index)[1].argmax(1) for d in (m.reference, m.data)]
    assert m.scores["prediction_match"] == (scores[0] == scores[1]).double().mean()


def test_what_a_forward_does_to_its_graph_reaches_nobody():
    def forward(m, d):
        d.x = d.x * 0.5
        return m.conv(d.x, d.edge_index)

    reference = toy_graph()
    x = reference.x.clone()
    model = Calls(lambda m, x, e: m.conv(x, e))
    m = gm.metamer(model, reference, "conv", search=SEARCH, forward=forward)
    assert reference.x.equal(x)
    assert m.activation_error < m.scores["start_activation_error"]


def test_a_forward_that_overwrites_its_features():
    reference = toy_graph()
    x = reference.x.clone()
    overwriting = Calls(lambda m, x, e: m.conv(x.mul_(0.5), e))
    plain = Calls(lambda m, x, e: m.conv(x * 0.5, e))
    plain.load_state_dict(overwriting.state_dict())
    m = gm.metamer(overwriting, reference, "conv", search=SEARCH)
    assert reference.x.equal(x)
    assert m.data.x.equal(gm.metamer(plain, reference, "conv", search=SEARCH).data.x)


def test_features_in_column_order():
    reference = toy_graph()
    m = gm.metamer(Calls(lambda m, x, e: m.conv(x, e)), reference, "conv", search=SEARCH)
    columns = toy_graph()
    columns.x = columns.x.t().contiguous().t()
    assert not columns.x.is_contiguous()
    model = Calls(lambda m, x, e: m.conv(x, e))
    assert gm.metamer(model, columns, "conv", search=SEARCH).activation_error < 1
    assert m.data.x.shape == columns.x.shape


def test_two_functions_of_one_name():
    model = Calls(lambda m, x, e: m.conv(x, e))
    both = [lambda m, d: m.conv(d.x, d.edge_index), lambda m, d: m.conv(d.x, d.edge_index) * 2]
    m = gm.metamer(model, toy_graph(), both, search=SEARCH)
    assert list(m.layer_errors) == ["<lambda>:0", "<lambda>:1"]
