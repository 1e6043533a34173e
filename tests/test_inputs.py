"""Inputs: tensors by flat names, changed and given back in the author's own type."""

from typing import Any

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from helpers import unchecked_types


def path(nodes: int, value: float = 0.0, **rest: Any) -> Data:
    ends = torch.arange(nodes - 1)
    return Data(x=torch.full((nodes, 2), value), edge_index=torch.stack([ends, ends + 1]), **rest)


def library() -> HeteroData:
    """Three papers, two authors; who wrote what."""
    data = HeteroData()
    data["paper"].x, data["paper"].y = torch.rand(3, 4), torch.tensor([0, 1, 0])
    data["author"].x = torch.rand(2, 5)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 1], [0, 1, 2]])
    return data


def batch() -> Batch:
    return Batch.from_data_list([path(2, 1.0), path(4, 2.0), path(3, 3.0)])


def arguments() -> dict[str, Any]:
    edges = {("a", "to", "b"): torch.tensor([[0, 1], [1, 2]])}
    x = {"a": torch.rand(2, 3), "b": torch.rand(3, 3)}
    return {"x_dict": x, "edge_index_dict": edges, "scale": torch.ones(1)}


WRITES = "author-writes-paper.edge_index"
KINDS: dict[str, tuple[Any, list[str], type, str]] = {
    "Data": (lambda: path(3), ["x", "edge_index"], Data, "x"),
    "HeteroData": (library, ["paper.x", "paper.y", "author.x", WRITES], HeteroData, "author.x"),
    "Batch": (batch, ["x", "edge_index", "batch", "ptr"], Batch, "edge_index"),
    "arguments": (lambda: dict(path(3).to_dict()), ["x", "edge_index"], dict, "x"),
    "arguments by type": (
        arguments,
        ["scale", "a.x", "b.x", "a-to-b.edge_index"],
        dict,
        "a-to-b.edge_index",
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """All tensors of a graph or of a dictionary of arguments."""
    if isinstance(value, Data | HeteroData):
        value = value.to_dict()
    if not isinstance(value, dict):
        return {place: value}
    return {k: v for key, part in value.items() for k, v in leaves(part, f"{place}/{key}").items()}


@kinds
def test_names(kind):
    build, names, _, _ = KINDS[kind]
    inputs = Inputs.of(build())
    assert inputs.keys == names
    assert all(name in inputs for name in names)
    assert "nothing" not in inputs
    assert inputs.get("nothing") is None
    assert Inputs.of(inputs) is inputs


@kinds
def test_another_tensor_in_the_authors_own_type(kind):
    build, names, kept_type, changed = KINDS[kind]
    given = build()
    before = leaves(given)
    inputs = Inputs.of(given)
    value = inputs[changed] + 1
    other = inputs.replaced({changed: value})
    restored = other.restored()
    assert isinstance(restored, kept_type)
    after = leaves(restored)
    assert after.keys() == before.keys()
    new = [place for place in after if after[place] is not before[place]]
    assert [after[place] is value for place in new] == [True]  # the rest is shared
    assert leaves(given).keys() == before.keys()  # and the author's own is as it was
    assert all(leaves(given)[place] is tensor for place, tensor in before.items())
    shared = {inputs[name].data_ptr() for name in names}
    assert not shared & {inputs.cloned()[name].data_ptr() for name in names}


def test_a_list_of_graphs_is_a_batch():
    inputs = Inputs.of([path(2), path(4)])
    assert inputs.graphs == 2
    assert inputs.graph_of_nodes().tolist() == [0, 0, 1, 1, 1, 1]


def test_types_and_ends():
    inputs = Inputs.of(library())
    assert inputs.node_types == ["paper", "author"]
    assert inputs.ends(WRITES) == ("author", "paper")
    assert inputs.kind_of(WRITES) == "author-writes-paper"
    assert inputs.feature_keys == ["paper.x", "author.x"]
    assert inputs.beside(WRITES, "edge_attr") == "author-writes-paper.edge_attr"
    assert inputs.spelled("paper.x") == "data['paper'].x"
    assert inputs.spelled(WRITES) == "data[('author', 'writes', 'paper')].edge_index"
    assert inputs.nodes("author") == 2


# ------------------------------------------------------------------------------ rows, by number


@pytest.mark.parametrize(
    ("build", "rows", "hint", "noun"),
    [
        (lambda: path(5), 5, "", "nodes"),
        (lambda: path(5), 4, "", "edges"),
        (lambda: path(5), 1, "", "graphs"),
        (lambda: path(5), 9, "", "rows"),
        (lambda: path(5, edge_label_index=torch.zeros(2, 7).long()), 7, "", "pairs"),
        (batch, 9, "", "nodes"),
        (batch, 3, "", "graphs"),
        (batch, 6, "", "edges"),
        (library, 2, "", "author nodes"),
        (library, 3, "paper", "paper nodes"),
        (library, 3, "author-writes-paper", "author-writes-paper edges"),
        (library, 2, "paper", "rows"),  # said to be papers, of which there are three
        (library, 2, "0", "author nodes"),  # the place in a tuple is no type
    ],
)
def test_units_by_number_of_rows(build, rows, hint, noun):
    assert Inputs.of(build()).units(torch.zeros(rows, 2), hint).noun == noun


def test_units_know_the_graph_of_each_row():
    inputs = Inputs.of(batch())
    nodes, edges, graphs = (inputs.units(torch.zeros(rows)) for rows in (9, 6, 3))
    assert nodes.graph.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert edges.graph.tolist() == [0, 1, 1, 1, 2, 2]
    assert graphs.graph.tolist() == [0, 1, 2]
    assert inputs.units_of("edge_index").graph.tolist() == edges.graph.tolist()
    assert inputs.units_of("x").graph.tolist() == nodes.graph.tolist()
    two = Inputs.of(Batch.from_data_list([library(), library()]))
    assert two.units_of(WRITES).graph.tolist() == [0, 0, 0, 1, 1, 1]
    assert two.units(torch.zeros(4), "author").graph.tolist() == [0, 0, 1, 1]


# ------------------------------------------------------------------------------ graphs of a batch


def same(a: Data, b: Data) -> bool:
    a, b = a.to_dict(), b.to_dict()
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_one_graph_and_some():
    inputs = Inputs.of(batch())
    singles = [path(2, 1.0), path(4, 2.0), path(3, 3.0)]
    assert inputs.divisible
    assert all(same(inputs.single(place).graph, g) for place, g in enumerate(singles))
    some = inputs.subset([0, 2])
    assert some.graphs == 2
    assert [same(a, b) for a, b in zip(some.graph.to_data_list(), singles[::2], strict=True)] == [
        True,
        True,
    ]
    alone = Inputs.of(path(3))
    assert not alone.divisible
    assert alone.single(0) is alone
    assert not Inputs.of(Batch(x=torch.ones(2, 1), batch=torch.tensor([0, 1]))).divisible


@pytest.mark.parametrize("build", [batch, lambda: Batch.from_data_list([library(), library()])])
def test_a_changed_batch_is_taken_apart_as_changed(build):
    inputs = Inputs.of(build())
    edges = inputs.edge_keys[0]
    weight = inputs.beside(edges, "edge_weight")
    count = inputs[edges].shape[1]
    turned = inputs.replaced({edges: inputs[edges], weight: torch.arange(float(count))})
    features = {key: inputs[key] + 7 for key in inputs.feature_keys}
    graphs = [Inputs.of(g) for g in turned.replaced(features).restored().to_data_list()]
    assert [len(g[weight]) for g in graphs] == [g[edges].shape[1] for g in graphs]
    assert torch.equal(torch.cat([g[weight] for g in graphs]), torch.arange(float(count)))
    for key in inputs.feature_keys:
        assert torch.equal(torch.cat([g[key] for g in graphs]), inputs[key] + 7)
    assert all(int(g[edges].max()) < 4 for g in graphs)
    assert torch.equal(turned.subset([1])[weight], graphs[1][weight])
    assert weight not in Inputs.of(inputs.restored().to_data_list()[0])


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("value", [None, 3, "graph", [], [1, 2], torch.ones(2)])
def test_what_is_no_graph(value):
    with unchecked_types(), pytest.raises(gm.InputError, match="data must be a torch_geometric"):
        Inputs.of(value)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda i: i["y"], r"The data has no 'y'\. .*It has 'x', 'edge_index'"),
        (lambda i: i.replaced({"z": torch.ones(1)}), r"The data has no 'z'"),
        (lambda i: i["name"], r"'name' must be a tensor of plain numbers; the data holds str"),
    ],
)
def test_names_that_are_none(use, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        use(Inputs.of(path(3, name="a path")))


def test_only_arguments_by_type_hold_types():
    with pytest.raises(gm.InputError, match=r"only arguments named \*_dict hold types"):
        Inputs.of({"features": {"a": torch.ones(2)}})


def test_a_batch_with_a_type_that_holds_no_tensor():
    graph = HeteroData()
    graph["a"].x, graph["b"].num_nodes = torch.rand(6, 4), 3
    graph["a", "to", "b"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 2]])
    whole = Inputs.of([graph, graph])
    alone = whole.single(1)
    assert alone.graph["a", "to", "b"].edge_index.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert (alone.nodes("a"), alone.nodes("b"), alone.graphs) == (6, 3, 1)
