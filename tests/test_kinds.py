"""Every kind of graph and answer: what is said of a metamer holds by the author's own call.

Nothing here reads a model through the library: the activations come from PyTorch's own hooks on
the user's untouched model, and every figure is computed again from them.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.nn import GCN, GATConv, GCNConv

import graph_metamers as gm
from helpers import CLASSES, FEATURES, HIDDEN, left_as_found, same_metamer, seeded, toy_graph

SHORT = gm.zoo.Training(lr=0.01, epochs=3)
TOL = 0.3  # large, so that some of the few steps lead below it
ADAM, EDGE_SWAP = gm.Adam(lr=0.1, steps=25), gm.EdgeSwap(steps=12)
WRITES, WRITTEN_BY = "author-writes-paper.edge_index", "paper-written_by-author.edge_index"


@dataclass(frozen=True)
class Kind:
    """A model and a graph, how their author calls them, and what is to be read of them."""

    build: Callable[[], tuple[nn.Module, Any]]
    call: Callable[[nn.Module, Any], Any]
    layer: str
    task: str
    units: str
    vary: Any = None
    search: Any = ADAM
    answer: Callable[[Any], Tensor] = lambda output: output
    graph_of_rows: Callable[[Any], Tensor] | None = None  # of a batch


# ----------------------------------------------------------------------------- models and graphs


FEW = gm.zoo.Training(lr=0.01, epochs=3)


def recipe(name: str) -> Callable[[], tuple[nn.Module, Any]]:
    def build() -> tuple[nn.Module, Any]:
        graph = gm.datasets.hetero_csbm(papers=60, authors=30, words=40, density=0.1)
        if name == "lightgcn":
            graph = gm.datasets.bipartite(users=30, items=20, degree=2.0)
        trained, graph = gm.zoo.train_recipe(name, graph, training=FEW, progress=False)
        return trained.model, graph

    return build


def motifs(target: Any) -> Callable[[], tuple[nn.Module, Any]]:
    def build() -> tuple[nn.Module, Any]:
        batch = gm.datasets.motifs(graphs=9, nodes=(17, 20), target=target)
        trained, batch = gm.zoo.train_recipe("motif_gin", batch, training=FEW, progress=False)
        return trained.model, batch

    return build


class Squeezed(GCN):
    """One number a node, [nodes]."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return super().forward(x, edge_index).squeeze(-1)


class Links(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GCNConv(FEATURES, HIDDEN)

    def encode(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)

    def decode(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        return (z[edge_label_index[0]] * z[edge_label_index[1]]).sum(1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = GATConv(FEATURES, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index, return_attention_weights=True)[0]


class Several(nn.Module):
    """Returns its embedding first, and its class scores after it."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.lin, self.pack = GCNConv(FEATURES, HIDDEN), nn.Linear(HIDDEN, CLASSES), pack

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        h = self.conv(x, edge_index)
        return self.pack(h, self.lin(h))


def toy(build: Callable[[], nn.Module], **changes: Any) -> Callable[[], tuple[nn.Module, Data]]:
    return lambda: (seeded(build).eval(), toy_graph(**changes))


def gcn(columns: int, cls: type[GCN] = GCN) -> Callable[[], nn.Module]:
    return lambda: cls(FEATURES, HIDDEN, 2, columns)


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def batch_of_types() -> tuple[nn.Module, Batch]:
    model, data = recipe("hgt")()
    other = gm.datasets.hetero_csbm(papers=45, authors=20, words=40, density=0.1, seed=1)
    return model, Batch.from_data_list([data, other])


def arguments() -> tuple[nn.Module, dict[str, Any]]:
    model, data = toy(gcn(CLASSES))()
    return model, {"x": data.x, "edge_index": data.edge_index}


def arguments_by_type() -> tuple[nn.Module, dict[str, Any]]:
    model, data = recipe("hgt")()
    return model, {"x_dict": data.x_dict, "edge_index_dict": data.edge_index_dict}


def plainly(model: nn.Module, data: Data) -> Any:
    return model(data.x, data.edge_index)


def by_type(model: nn.Module, data: HeteroData) -> Any:
    return model(data.x_dict, data.edge_index_dict)


def by_relation(model: nn.Module, data: Data) -> Any:
    return model(data.x, data.edge_index, data.edge_type)


def by_batch(model: nn.Module, data: Batch) -> Any:
    return model(data.x, data.edge_index, data.batch)


def by_pairs(model: nn.Module, data: Data) -> Any:
    return model(data.edge_index, data.edge_label_index)


def by_name(model: nn.Module, data: dict[str, Any]) -> Any:
    return model(**data)


def encoded(model: Any, data: Data) -> Any:
    return model.decode(model.encode(data.x, data.edge_index), data.edge_label_index)


YES = (toy_graph().y > 0).long()
LABELLED_PAIRS = {
    "edge_label_index": torch.randint(40, (2, 55), generator=torch.Generator().manual_seed(0)),
    "edge_label": (random(55) > 0.5).float(),
}
OF_NODES: dict[str, Any] = {"call": by_batch, "graph_of_rows": lambda data: data.batch}
OF_GRAPHS: dict[str, Any] = {"call": by_batch, "graph_of_rows": lambda data: torch.arange(9)}
EDGES: dict[str, Any] = {"vary": gm.Edges(), "search": EDGE_SWAP}

KINDS = {
    "HGT": Kind(recipe("hgt"), by_type, "conv1", "classes", "paper nodes"),
    "HGT, edges": Kind(
        recipe("hgt"), by_type, "conv1", "classes", "paper nodes", {WRITES: gm.Edges()}, EDGE_SWAP
    ),
    "SAGE by to_hetero": Kind(recipe("hetero_sage"), by_type, "gnn", "classes", "paper nodes"),
    "SAGE, words of authors": Kind(
        recipe("hetero_sage"),
        by_type,
        "output",
        "classes",
        "paper nodes",
        {"author.x": gm.BinaryFeatures()},
    ),
    "batch of types": Kind(
        batch_of_types,
        by_type,
        "lin",
        "classes",
        "paper nodes",
        graph_of_rows=lambda data: data["paper"].batch,
    ),
    "HAN": Kind(recipe("han"), by_type, "conv", "classes", "paper nodes"),
    "RGCN": Kind(recipe("rgcn"), by_relation, "conv1", "classes", "nodes"),
    "RGCN, edges": Kind(recipe("rgcn"), by_relation, "conv1", "classes", "nodes", **EDGES),
    "LightGCN": Kind(recipe("lightgcn"), by_pairs, "output", "links", "pairs", **EDGES),
    "GIN, pooled": Kind(
        motifs("presence"), layer="pool", task="classes", units="graphs", **OF_GRAPHS
    ),
    "GIN, nodes": Kind(
        motifs("presence"), layer="layer2", task="classes", units="nodes", **OF_NODES
    ),
    "GIN, edges": Kind(
        motifs("presence"), layer="pool", task="classes", units="graphs", **OF_GRAPHS, **EDGES
    ),
    "graph regression": Kind(
        motifs("count"), layer="head", task="regression", units="graphs", **OF_GRAPHS
    ),
    "labels of graphs": Kind(
        motifs("colours"), layer="head", task="multilabel", units="graphs", **OF_GRAPHS
    ),
    "node regression": Kind(toy(gcn(2), y=random(40, 2)), plainly, "act", "regression", "nodes"),
    "labels of nodes": Kind(
        toy(gcn(3), y=(random(40, 3) > 0.5).float()), plainly, "act", "multilabel", "nodes"
    ),
    "logit [n, 1]": Kind(toy(gcn(1), y=YES), plainly, "output", "binary", "nodes"),
    "logit [n]": Kind(toy(gcn(1, Squeezed), y=YES.float()), plainly, "output", "binary", "nodes"),
    "encode and decode": Kind(
        toy(Links, **LABELLED_PAIRS), encoded, "conv", "links", "nodes", vary=None
    ),
    "pairs": Kind(toy(Links, **LABELLED_PAIRS), encoded, "output", "links", "pairs"),
    "no labels": Kind(toy(gcn(5), y=None), plainly, "act", "embedding", "nodes"),
    "arguments": Kind(arguments, by_name, "act", "embedding", "nodes"),
    "arguments by type": Kind(arguments_by_type, by_name, "conv1", "embedding", "paper nodes"),
    "attention": Kind(toy(Attention), plainly, "conv", "classes", "nodes"),
    "a tuple": Kind(
        toy(lambda: Several(lambda h, scores: (h, scores))),
        plainly,
        "output",
        "classes",
        "nodes",
        answer=lambda output: output[1],
    ),
    "a dictionary": Kind(
        toy(lambda: Several(lambda h, scores: {"h": h, "scores": scores, "loss": h.sum()})),
        plainly,
        "conv",
        "classes",
        "nodes",
        answer=lambda output: output["scores"],
    ),
}


@functools.cache
def made(name: str) -> tuple[nn.Module, Any, gm.Metamer]:
    kind = KINDS[name]
    model, data = kind.build()
    with left_as_found(model):
        m = gm.metamer(
            model, data, kind.layer, vary=kind.vary, search=kind.search, tol=TOL, progress=False
        )
    return model, data, m


every_kind = pytest.mark.parametrize("name", KINDS)


# ----------------------------------------------------------------------------- computed again


@torch.no_grad()
def read(kind: Kind, model: nn.Module, data: Any) -> tuple[dict[str, Tensor], Tensor]:
    """The layer's tensors by label, as [rows, units] in float64, and the answers."""
    seen: list[Any] = []
    if kind.layer == "output":
        output = kind.call(model, data)
        seen.append(output)
    else:
        module = model.get_submodule(kind.layer)
        handle = module.register_forward_hook(lambda m, a, found: seen.append(copy.copy(found)))
        output = kind.call(model, data)
        handle.remove()
    found = labelled(kind.layer, seen[0])
    tensors = {label: h.double().reshape(len(h), -1) for label, h in found.items()}
    return tensors, kind.answer(output).double()


def labelled(label: str, value: Any) -> dict[str, Tensor]:
    if isinstance(value, Tensor):
        return {label: value} if value.is_floating_point() else {}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    tensors = {key: part[1] if isinstance(part, tuple) else part for key, part in parts}
    return {f"{label}[{key}]": part for key, part in tensors.items()}


def errors(h: Tensor, g: Tensor, graph: Tensor | None) -> tuple[Tensor, Tensor]:
    """FVU and Eq. 5 of each graph."""
    graph = torch.zeros(len(h), dtype=torch.long) if graph is None else graph
    spread = (h - h.mean(0)).square().sum() / len(h)
    rows = [graph == one for one in graph.unique()]
    squares = torch.stack([(g - h)[these].square().sum() for these in rows])
    sizes = torch.tensor([int(these.sum()) for these in rows])
    return squares / sizes / spread, squares / torch.stack([h[r].square().sum() for r in rows])


def rows_matched(h: Tensor, g: Tensor) -> Tensor:
    """Which rows are equal to rounding, or nearer to their own reference than 99 % of the others.

    Others whose reference is the same to rounding are not compared.
    """
    rounding = 1e-5 * h.square().sum(1).mean().sqrt()
    own, others = (g - h).norm(dim=1), (h[:, None] - g[None]).norm(dim=2)
    compared = (h[:, None] - h[None]).norm(dim=2) > rounding
    nearer = ((others <= own[:, None]) & compared).sum(1)
    count = compared.sum(1)
    beyond = (1 + nearer) / (1 + count) <= (1 / (1 + count)).clamp(min=0.01) + 1e-12
    return (beyond & (count > 0)) | (own <= rounding)


def kept(task: str, a: Tensor, b: Tensor) -> Tensor:
    """The share of each row's answer that stays."""
    if task == "classes":
        return (a.argmax(1) == b.argmax(1)).double()
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    if task == "regression":
        return ((b - a).abs() <= 0.1 * a.std(0, correction=0)).double().mean(1)
    if task == "embedding":
        near = [torch.cdist(h, h).fill_diagonal_(1e9).topk(10, largest=False)[1] for h in (a, b)]
        rows = zip(*(n.tolist() for n in near), strict=True)
        return torch.tensor([len(set(one) & set(other)) / 10 for one, other in rows]).double()
    chances = all(0 <= float(h.min()) <= float(h.max()) <= 1 for h in (a, b))
    bound = 0.5 if chances else 0.0
    return ((a > bound) == (b > bound)).double().mean(1)


@every_kind
def test_every_error_is_what_a_hook_on_the_users_model_says(name):
    kind, (model, data, m) = KINDS[name], made(name)
    before, after = (read(kind, model, graph)[0] for graph in (data, m.data))
    graph = None if kind.graph_of_rows is None else kind.graph_of_rows(data)
    found = {label: errors(h, after[label], graph) for label, h in before.items()}
    assert m.layer == " + ".join(found)
    by_layer = {label: float(fvu.mean()) for label, (fvu, _) in found.items()}
    assert m.layer_errors == pytest.approx(by_layer, rel=1e-3)
    fvu, eq5 = (torch.stack(each).mean(0) for each in zip(*found.values(), strict=True))
    assert m.fvu == pytest.approx(float(fvu.mean()), rel=1e-3)
    assert m.activation_error == pytest.approx(float(eq5.mean()), rel=1e-3)
    assert [item["fvu"] for item in m.items] == pytest.approx(fvu.tolist(), rel=1e-3)
    assert [item["activation_error"] for item in m.items] == pytest.approx(eq5.tolist(), rel=1e-3)
    assert m.fvu < m.scores["start_fvu"]


def test_some_are_matched_and_some_not():
    """Else the test below would show little."""
    outcomes = [item["outcome"] for name in KINDS for item in made(name)[2].items]
    assert 10 < outcomes.count("matched") < len(outcomes) - 10


@every_kind
def test_the_outcome_follows_from_the_errors_the_nulls_and_the_rows(name):
    kind, (model, data, m) = KINDS[name], made(name)
    before, after = (read(kind, model, graph)[0] for graph in (data, m.data))
    rows = [rows_matched(h, after[label]).double() for label, h in before.items()]
    graph_of = kind.graph_of_rows or (lambda data: None)
    shares = torch.stack([means(each, graph_of(data)) for each in rows]).amin(0)
    assert [item["node_match"] for item in m.items] == pytest.approx(shares.tolist())
    for item, share in zip(m.items, shares.tolist(), strict=True):
        fine = item["fvu"] <= TOL and share >= 0.9
        if len(m.items) == 1:
            fine = fine and item["fvu"] < float(m.nulls["start"].min())
            assert (m.outcome, m.reason) == (item["outcome"], item["reason"])
        if item["outcome"] == gm.Outcome.MATCHED:
            assert fine
        else:
            assert not fine or "andom starts" in item["reason"]
    assert m.share_matched == sum(i["outcome"] == "matched" for i in m.items) / len(m.items)
    assert m.matched == (m.share_matched >= 0.9)


def means(values: Tensor, graph: Tensor | None) -> Tensor:
    if graph is None:
        return values.mean(0, keepdim=True)
    return torch.stack([values[graph == one].mean() for one in graph.unique()])


@every_kind
def test_the_task_is_inferred_and_its_agreement_right(name):
    kind, (model, data, m) = KINDS[name], made(name)
    assert (m.task, m.units) == (kind.task, kind.units)
    answers = [read(kind, model, graph)[1] for graph in (data, m.data)]
    expected = kept(kind.task, *answers)
    assert torch.allclose(m.row_agreement, expected)
    assert m.scores["prediction_match"] == pytest.approx(float(expected.mean()))
    assert ("consistency" in m.scores) == (kind.task == "classes")  # where the paper defines it
    assert ("prediction_change" in m.scores) == (kind.task == "regression")


@every_kind
def test_the_authors_type_comes_back_and_only_what_varies_differs(name):
    _, data, m = made(name)
    assert type(m.data) is type(m.reference) is type(data)
    before, after = m.original, m.inputs
    assert before.keys == after.keys
    for key in before.keys:
        value, other = before[key], after[key]
        if key == WRITTEN_BY and WRITES in m.varied:  # the same pairs the other way round
            assert torch.equal(sorted_pairs(other.flip(0)), sorted_pairs(after[WRITES]))
        elif key not in m.varied:
            assert torch.equal(value, other)
        else:
            assert not torch.equal(value, other)
            assert (value.shape, value.dtype) == (other.shape, other.dtype)
            if m.varied[key] == "features":
                assert set(other.unique().tolist()) == {0.0, 1.0}
                assert other.sum() == value.sum()
            else:
                assert sorted_pairs(other).shape == sorted_pairs(value).shape


def sorted_pairs(edges: Tensor) -> Tensor:
    return edges.unique(dim=1)


@every_kind
def test_a_saved_metamer_of_every_kind_comes_back(name, tmp_path):
    _, data, m = made(name)
    m.save(tmp_path / "m.pt")
    again = gm.load(tmp_path / "m.pt")
    same_metamer(m, again)
    assert type(again.data) is type(data)
    if isinstance(data, Batch):
        for ours, theirs in zip(again.graphs, m.graphs, strict=True):
            for store, other in zip(ours.stores, theirs.stores, strict=True):
                assert list(store.keys()) == list(other.keys())
                assert all(torch.equal(value, other[key]) for key, value in store.items())


@every_kind
def test_an_audit_of_every_kind_gives_the_same_metamer(name):
    kind, (model, data, m) = KINDS[name], made(name)
    with left_as_found(model):
        audit = gm.audit(
            model,
            data,
            layers=[kind.layer],
            vary=kind.vary,
            search=kind.search,
            seeds=1,
            tol=TOL,
            progress=False,
        )
    (found,) = audit.metamers
    assert found.items == m.items
    assert (found.fvu, found.outcome, found.history) == (m.fvu, m.outcome, m.history)
    assert audit.rows[0]["units"] == kind.units
    assert audit.document()["items"] == [m.items]
    has_labels = kind.task != "embedding"
    assert bool(audit.quality) == has_labels


# ----------------------------------------------------------------------------- edges


@pytest.mark.parametrize("degrees", ["free", "fixed"])
def test_no_edge_leaves_its_graph(degrees):
    model, batch = motifs("presence")()
    m = gm.metamer(model, batch, "pool", vary=gm.Edges(degrees=degrees), search=EDGE_SWAP)
    source, target = batch.batch[m.data.edge_index]
    assert torch.equal(source, target)
    assert torch.equal(torch.bincount(source), torch.bincount(batch.batch[batch.edge_index[0]]))
    for ours, theirs in zip(m.graphs, batch.to_data_list(), strict=True):
        assert ours.is_undirected()
        assert int(ours.edge_index.max()) < ours.num_nodes == theirs.num_nodes
        if degrees == "fixed":
            assert torch.equal(*(g.edge_index[0].bincount() for g in (ours, theirs)))


def test_each_graphs_ones_stay_its_own():
    model, batch = motifs("presence")()
    m = gm.metamer(model, batch, "pool", search=ADAM)
    ones = [torch.zeros(9).index_add(0, batch.batch, g.x.sum(1)) for g in (batch, m.data)]
    assert torch.equal(*ones)


@pytest.mark.parametrize("degrees", ["free", "fixed"])
def test_edges_between_types_keep_their_sides(degrees):
    model, data = recipe("hgt")()
    way = {WRITES: gm.Edges(degrees=degrees)}
    m = gm.metamer(model, data, "conv1", vary=way, search=EDGE_SWAP)
    key = ("author", "writes", "paper")
    ours, theirs = m.data[key].edge_index, data[key].edge_index
    assert bool((ours.max(1).values < torch.tensor([30, 60])).all())
    assert not torch.equal(ours, theirs)
    if degrees == "fixed":
        for end in (0, 1):
            assert torch.equal(ours[end].bincount(minlength=60), theirs[end].bincount(minlength=60))


def test_users_take_items_only():
    _, data, m = made("LightGCN")
    assert data.is_undirected()
    assert m.data.is_undirected()
    users = m.data.edge_index < 30
    assert bool((users[0] != users[1]).all())


def test_an_edges_type_stays_with_its_place():
    _, data, m = made("RGCN, edges")
    assert torch.equal(m.data.edge_type, data.edge_type)
    for relation in data.edge_type.unique():
        ours, theirs = (g.edge_index[:, g.edge_type == relation] for g in (m.data, data))
        assert sorted_pairs(ours).shape == sorted_pairs(theirs).shape


# ----------------------------------------------------------------------------- index=, task=


@pytest.mark.parametrize("mask", [False, True])
def test_rows_of_index_must_match_and_no_others(mask):
    model, data = toy(gcn(CLASSES))()
    rows = torch.tensor([3, 4, 17])
    index = torch.zeros(40, dtype=torch.bool).index_fill(0, rows, value=True) if mask else rows
    m = gm.metamer(model, data, "act", index=index, search=gm.Adam(lr=0.1, steps=40))
    with torch.no_grad():
        h, g = (model.act(model.convs[0](d.x, d.edge_index)).double() for d in (data, m.data))
    squares, spread = (g - h).square().sum(1), (h - h.mean(0)).square().sum(1).mean()
    assert m.fvu == pytest.approx(float(squares[rows].mean() / spread), rel=1e-4)
    assert m.row_errors.tolist() == pytest.approx((squares[rows] / spread).tolist(), rel=1e-4)
    assert float(squares[rows].mean()) < 0.3 * float(squares.mean())  # the others are free


def test_index_in_a_batch_asks_for_a_row_of_each_graph():
    model, batch = motifs("presence")()
    first = batch.ptr[:-1]
    m = gm.metamer(model, batch, "layer2", index=first, search=ADAM)
    with torch.no_grad():
        layer = at_layer2(model, batch), at_layer2(model, m.data)
    h, g = (each.double() for each in layer)
    spread = (h - h.mean(0)).square().sum(1).mean()
    expected = (g - h)[first].square().sum(1) / spread
    assert [item["fvu"] for item in m.items] == pytest.approx(expected.tolist(), rel=1e-3)
    with pytest.raises(gm.InputError, match="index"):
        gm.metamer(model, batch, "layer2", index=first[1:], search=ADAM)


def at_layer2(model: Any, data: Batch) -> Tensor:
    return model.layer2(model.layer1(data.x, data.edge_index), data.edge_index)


@pytest.mark.parametrize("index", [[], [40], [-1], torch.ones(7, dtype=torch.bool), [0.5]])
def test_an_index_that_names_no_rows(index):
    model, data = toy(gcn(CLASSES))()
    with pytest.raises(gm.InputError, match="index must name rows of act, 0 to 39, or be a mask"):
        gm.metamer(model, data, "act", index=index)


@pytest.mark.parametrize(
    ("asked", "columns"),
    [("classes", 5), ("multilabel", 5), ("regression", 5), ("embedding", 5), ("binary", 1)],
)
def test_the_task_can_be_said(asked, columns):
    model, data = toy(gcn(columns), y=None)()
    m = gm.metamer(model, data, "act", task=asked, search=ADAM)
    with torch.no_grad():
        outputs = [plainly(model, graph).double() for graph in (data, m.data)]
    assert m.task == asked
    assert m.scores["prediction_match"] == pytest.approx(float(kept(asked, *outputs).mean()))


def test_a_configured_task():
    model, data = toy(gcn(1), y=YES)()
    task = gm.task.Binary(threshold=0.1)
    m = gm.metamer(model, data, "act", task=task, search=ADAM)
    a, b = (plainly(model, graph).detach() > 0.1 for graph in (data, m.data))
    assert m.scores["prediction_match"] == pytest.approx(float((a == b).double().mean()))
    with pytest.raises(gm.InputError, match="task='clases' is not a task"):
        gm.metamer(model, data, "act", task="clases")


# ----------------------------------------------------------------------------- batches


def test_a_list_of_graphs_is_their_batch():
    model, batch = motifs("presence")()
    graphs = batch.to_data_list()
    of_batch, of_list = (gm.metamer(model, g, "pool", search=ADAM) for g in (batch, graphs))
    assert isinstance(of_list.data, Batch)
    assert torch.equal(of_list.data.x, of_batch.data.x)
    assert of_list.items == of_batch.items


def test_lists_of_a_batch_come_back_with_it(tmp_path):
    """PyG keeps what it cannot join, such as tensors of other widths, as a list."""
    model, batch = motifs("presence")()
    graphs = batch.to_data_list()
    for place, graph in enumerate(graphs):
        graph.name = f"graph {place}"
        graph.rings = [torch.arange(place + 1), torch.ones(2)]
    m = gm.metamer(model, Batch.from_data_list(graphs), "pool", search=ADAM)
    m.save(tmp_path / "m.pt")
    again = gm.load(tmp_path / "m.pt")
    assert again.data.name == [f"graph {place}" for place in range(9)]
    for place, graph in enumerate(again.graphs):
        assert graph.name == f"graph {place}"
        assert torch.equal(graph.rings[0], torch.arange(place + 1))


def test_rows_that_are_of_no_graph_are_told():
    """Attention weights come with self-loops: they are neither nodes nor edges of the batch."""
    batch = Batch.from_data_list([toy_graph(), toy_graph()])
    model = seeded(Attention).eval()
    with pytest.raises(gm.InputError, match=r"rows of conv\[1\]"):
        gm.metamer(model, batch, "conv", search=ADAM)
    m = gm.metamer(model, batch, "conv[0]", search=ADAM)
    assert len(m.items) == 2
