"""Any graph, model and argument: a metamer, or a sentence; and everything is left as found.

`pytest tests/test_fuzz.py` tries 460 calls and 40 command lines, `-m slow` 10,000 and 100.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import (
    GCN,
    GIN,
    GATConv,
    GCNConv,
    GraphConv,
    SAGEConv,
    global_add_pool,
    to_hetero,
)

import graph_metamers as gm
from graph_metamers.cli import main
from graph_metamers.digests import digest
from helpers import left_as_found, seeded, unchecked_types

few = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

# ------------------------------------------------------------------------------------- graphs

counts = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
dtypes = st.sampled_from([torch.float32] * 20 + [torch.float64, torch.long, torch.bool, torch.half])
fillings = st.sampled_from(
    [*["binary"] * 4, *["real"] * 4, "zeros", "ones", "huge", "nan", "categories"]
)


def filled(filling: str, shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(shape, generator=generator)
    return {
        "binary": noise.round(),
        "real": noise * 4 - 2,
        "zeros": noise * 0,
        "ones": noise * 0 + 1,
        "huge": noise * 1e30,
        "nan": noise.masked_fill(noise > 0.8, float("nan")),
        "categories": (noise * 3).floor(),
    }[filling]


@st.composite
def tensors(draw: Any, rows: int, columns: int) -> Tensor:
    value = filled(draw(fillings), (rows, columns), draw(st.integers(0, 3)))
    return value.to(draw(dtypes))


@st.composite
def edges(draw: Any, senders: int, receivers: int) -> Tensor:
    wrong = draw(st.integers(0, 30)) == 30
    top = (max(senders, 1) + wrong, max(receivers, 1) + wrong)
    pairs = draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in top)), max_size=14))
    if senders == 0 or receivers == 0:
        pairs = []
    index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).t().contiguous()
    return torch.cat([index, index.flip(0)], 1) if draw(st.booleans()) else index


OTHERS: dict[str, Callable[[int, int], Any]] = {
    "edge_weight": lambda nodes, edges: torch.rand(edges),
    "edge_attr": lambda nodes, edges: torch.rand(edges, 2),
    "edge_attr ": lambda nodes, edges: torch.rand(edges),
    "edge_type": lambda nodes, edges: torch.zeros(edges, dtype=torch.long),
    "y": lambda nodes, edges: torch.zeros(nodes, dtype=torch.long),
    "y ": lambda nodes, edges: torch.rand(nodes, 2),
    "pos": lambda nodes, edges: torch.rand(nodes, 3),
    "node_type": lambda nodes, edges: torch.arange(nodes) % 2,
    "name": lambda nodes, edges: "<b>\x1b[31m",
    "extra": lambda nodes, edges: np.ones(3),
    "odd": lambda nodes, edges: torch.ones(2, device="meta"),
    "list": lambda nodes, edges: [1, "a", None],
    "function": lambda nodes, edges: lambda x: x,
    "num_nodes": lambda nodes, edges: nodes,
    "edge_weight ": lambda nodes, edges: torch.rand(edges + 1),
}


@st.composite
def plain_graphs(draw: Any, columns: int) -> Data:
    nodes = draw(counts)
    data = Data(edge_index=draw(edges(nodes, nodes)))
    if draw(st.integers(0, 9)) < 9:
        data.x = draw(tensors(nodes, columns))
    for name in draw(st.sets(st.sampled_from(sorted(OTHERS)), max_size=1)):
        data[name.strip()] = OTHERS[name](nodes, data.edge_index.shape[1])
    return data


@st.composite
def batches(draw: Any, columns: int) -> Any:
    parts = draw(st.lists(plain_graphs(columns), min_size=1, max_size=3))
    kind = draw(st.sampled_from(["list", "batch"]))
    try:
        return parts if kind == "list" else Batch.from_data_list(parts)
    except (RuntimeError, KeyError, TypeError, AttributeError, IndexError):  # PyG makes none
        return parts


@st.composite
def typed_graphs(draw: Any, columns: int) -> HeteroData:
    data = HeteroData()
    a, b = draw(counts), draw(counts)
    data["a"].x, data["b"].x = draw(tensors(a, columns)), draw(tensors(b, columns))
    data["a", "to", "b"].edge_index = draw(edges(a, b))
    data["b", "of", "a"].edge_index = draw(edges(b, a))
    if draw(st.booleans()):
        data["a"].y = torch.zeros(a, dtype=torch.long)
    return data


graphs = st.integers(1, 3).flatmap(
    lambda columns: st.one_of(plain_graphs(columns), batches(columns), typed_graphs(columns))
)

# ------------------------------------------------------------------------------------- models


class Wired(nn.Module):
    """A convolution, and what is done around it."""

    def __init__(self, width: int, forward: Callable[[Any, Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.inner = GraphConv(width, 4), forward

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.inner(self.conv, x, edge_index)


class Pooled(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gin = GIN(width, 4, 2)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return global_add_pool(self.gin(x, edge_index), batch)


class Weighted(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = GCNConv(width, 3)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Any = None) -> Tensor:
        return self.conv(x, edge_index, edge_weight)


class Whole(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = GATConv(width, 2)

    def forward(self, batched_data: Data) -> Tensor:
        return self.conv(batched_data.x, batched_data.edge_index)


class Hetero(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = SAGEConv(width, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


class Embedded(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(3, 4), GCNConv(4 * width, 2)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(self.table(x.long()).flatten(1), edge_index)


TYPES = (["a", "b"], [("a", "to", "b"), ("b", "of", "a")])
AROUND: dict[str, Callable[[Any, Tensor, Tensor], Any]] = {
    "tuple": lambda conv, x, e: (conv(x, e), conv(x, e).relu()),
    "dict": lambda conv, x, e: {"a": conv(x, e), 2: x},
    "nothing": lambda conv, x, e: None,
    "number": lambda conv, x, e: float(conv(x, e).sum()),
    "one number": lambda conv, x, e: conv(x, e).sum(),
    "random": lambda conv, x, e: conv(x, e) + torch.rand(1),
    "no gradient": lambda conv, x, e: conv(x, e).detach(),
    "classes": lambda conv, x, e: conv(x, e).argmax(1),
    "nan": lambda conv, x, e: conv(x, e) / 0 * 0,
    "constant": lambda conv, x, e: conv(x, e) * 0 + 1,
    "raises": lambda conv, x, e: conv(x, e) / (1 if float(x.float().sum()) > 2 else 1 // 0),
    "in place": lambda conv, x, e: conv(x.mul_(2), e),
    "half": lambda conv, x, e: conv(x, e).half(),
    "sparse": lambda conv, x, e: conv(x, e).to_sparse(),
    "squeezed": lambda conv, x, e: conv(x, e)[:, 0],
    "deep": lambda conv, x, e: conv(x, e)[None, None],
}
MODELS: dict[str, Callable[[int], nn.Module]] = {
    "GCN": lambda width: GCN(width, 4, 2, 3),
    "pooled": Pooled,
    "weighted": Weighted,
    "whole graph": Whole,
    "hetero": lambda width: to_hetero(Hetero(width), TYPES),
    "embedding": Embedded,
    "MLP": lambda width: nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, 2)),
    **{name: lambda width, f=f: Wired(width, f) for name, f in AROUND.items()},
}

# ---------------------------------------------------------------------------------- arguments

numbers = st.sampled_from([0.01, 1, 0, -1, float("nan"), float("inf"), 10**400, "a", None, True])
LAYERS = ("output", "conv", "act", "convs.0", "nothing", "", "conv:0", "gin", "output[a]")
layers = st.one_of(
    st.just("output"),
    st.just("output"),
    st.sampled_from(LAYERS),
    st.sampled_from([["output", "conv"], [], 5, None, lambda model, data: data.x]),
)
ways = st.one_of(
    st.none(),
    st.just(gm.Edges()),
    st.sampled_from(
        [
            gm.Edges(),
            gm.Edges(degrees="fixed", keep=0.5),
            gm.EdgeWeights(),
            gm.BinaryFeatures(),
            gm.BinaryFeatures(density="per_node"),
            gm.ContinuousFeatures(),
            gm.ContinuousFeatures(low=None),
            5,
            {"x": gm.ContinuousFeatures(low=None), "edge_index": gm.Edges()},
            {"nothing": gm.Edges()},
            {"edge_attr": gm.ContinuousFeatures(low=None)},
            {"a.x": gm.ContinuousFeatures(low=None)},
            {"a-to-b.edge_index": gm.Edges()},
        ]
    ),
)
searches = st.sampled_from(
    [
        gm.Adam(steps=2),
        gm.Swap(steps=2),
        gm.Auto(steps=2),
        gm.EdgeSwap(steps=2),
        gm.Exact(steps=2),
        gm.GaussNewton(steps=1),
        "swop",
        None,
    ]
)
OPTIONS: dict[str, Any] = {
    "tol": numbers,
    "seed": st.sampled_from([0, np.int64(3), -1, 0.5, "a"]),
    "index": st.sampled_from([[0], [], [99], torch.tensor([True, False]), "all", np.arange(2)]),
    "task": st.sampled_from(["classes", "regression", "embedding", "links", "nothing", 5]),
    "call": st.sampled_from(["x, edge_index", "data", "x", "x, (", "y, x", 5]),
    "forward": st.sampled_from([lambda m, d: m(d.x, d.edge_index), lambda m, d: d.x, 5]),
    "null_graphs": st.sampled_from([[], [Data()], 5, [5]]),
    "avoid": st.sampled_from([[], [Data()], None]),
}
names = st.one_of(st.just(()), st.just(()), st.sets(st.sampled_from(sorted(OPTIONS)), max_size=2))
more = names.flatmap(lambda chosen: st.fixed_dictionaries({n: OPTIONS[n] for n in chosen}))
options = st.tuples(st.fixed_dictionaries({"vary": ways, "search": searches}), more).map(
    lambda pair: pair[0] | pair[1]
)


def held(data: Any) -> Any:
    parts = data if isinstance(data, list) else [data]
    return [digest(part.to_dict()) for part in parts]


def try_a_call(name: str, data: Any, layer: Any, options: dict[str, Any]) -> bool:
    """Whether a metamer was made; any other exception than a sentence fails."""
    whole = data[0] if isinstance(data, list) else data
    x = whole["a"].x if isinstance(whole, HeteroData) else getattr(whole, "x", None)
    model = seeded(lambda: MODELS[name](1 if x is None else x.shape[1]))
    before = held(data)
    with unchecked_types(), left_as_found(model):
        try:
            m: gm.Metamer | None = gm.metamer(model, data, layer, **options, progress=False)
        except gm.InputError:
            m = None
    assert held(data) == before
    assert m is None or len(m.items) == m.inputs.graphs
    return m is not None


@st.composite
def problems(draw: Any) -> tuple[str, Any]:
    """A model and a graph, most of the time of its kind."""
    data = draw(graphs)
    known = [name for name in sorted(MODELS) if name != "hetero"]
    fitting = ["hetero"] if isinstance(data, HeteroData) else known
    return draw(st.sampled_from(fitting * 5 + sorted(MODELS))), data


calls = given(problems(), layers, options)


def tried(count: int) -> tuple[int, Callable[..., None]]:
    made: list[bool] = []

    @settings(few, max_examples=count)
    @calls
    def run(problem: tuple[str, Any], layer: Any, options: dict[str, Any]) -> None:
        name, data = problem
        made.append(try_a_call(name, copy.deepcopy(data), layer, options))

    run()
    return sum(made), run


@pytest.mark.filterwarnings("ignore")  # of PyTorch and PyG, about the odd inputs
@pytest.mark.parametrize(
    "count", [460, pytest.param(10_000, marks=pytest.mark.slow)], ids=["460", "10000"]
)
def test_any_call_ends_in_a_metamer_or_a_sentence(count):
    made, _ = tried(count)
    assert made >= count / 20  # not all are refused


# ------------------------------------------------------------------------------- command lines

words = st.lists(
    st.sampled_from(
        [
            *("audit", "layers", "summary", "models", "datasets", "paper", "nothing", "--help"),
            *("--data", "graph.pt", "broken.pt", "missing.pt", "--model", "m.py:build", "gcn"),
            *("m.py:nothing", "m.py", ":", "--weights", "w.pt", "--layer", "act", "nowhere", "1"),
            *("--vary", "structure", "x=features", "=", "--keep", "0.5", "2", "--seeds", "--steps"),
            *("--tol", "nan", "-1", "--search", "swap", "swop", "--task", "classes", "--call"),
            *("x, edge_index", "x, (", "--device", "cpu", "cuda:99", "meta", "--dataset", "csbm"),
            *("--model-args", "--hidden 3", "--out", "out", "\x1b[31m", "[bold]", "ü→", ""),
        ]
    ),
    max_size=9,
)
OWN = """
import torch
from torch_geometric.nn import GCN
def build(data):
    torch.manual_seed(0)
    return GCN(data.num_features, 4, 2, 3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.save(gm.datasets.csbm(nodes=20, features=8, density=0.2, degree=3.0), "graph.pt")
    Path("broken.pt").write_bytes(Path("graph.pt").read_bytes()[:500])
    torch.save({"state_dict": {"a": torch.ones(1)}}, "w.pt")
    Path("m.py").write_text(OWN)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "count", [40, pytest.param(100, marks=pytest.mark.slow)], ids=["40", "100"]
)
def test_any_command_line_ends_in_an_answer_or_a_sentence(count, folder, capsys):
    good = ["--data", "graph.pt", "--model", "m.py:build", "--seeds", "1", "--steps", "1"]

    @settings(few, max_examples=count)
    @given(words, st.booleans())
    def run(given: list[str], helped: bool) -> None:
        line = [given[0] if given else "layers", *good, *given[1:]] if helped else given
        code = 0
        with unchecked_types(), mock.patch.object(sys, "argv", ["graph-metamers", *line]):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        told = capsys.readouterr()
        assert code in (0, 1, 2), (line, told.err)
        assert code == 0 or told.err or told.out
        assert "\x1b]" not in told.out + told.err
        assert "Traceback" not in told.err

    run()
