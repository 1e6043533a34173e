"""Any forward gets its graph by the names of its arguments; any output gives its tensors."""

import re
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.probe import Session
from graph_metamers.probe.call import named_tensors, readings
from helpers import weighted_path, with_adj_t


def call(model: nn.Module, data: Any, forward: Any = None) -> Any:
    inputs = Inputs.of(data)
    return readings(model, inputs, forward)[0].run(model, inputs)


class Returns(nn.Module):
    """Its forward is the function handed in, whose arguments are what is tested."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.forward = forward


def annotated(anything: Data):
    return anything


def annotated_batch(anything: Batch):
    return anything


def annotated_in_words(anything: "torch_geometric.data.Data"):  # type: ignore[name-defined]
    return anything


@pytest.mark.parametrize(
    "forward",
    [
        lambda data: data,
        lambda g: g,
        lambda batch: batch,
        lambda batched_data: batched_data,
        lambda data, /: data,
        lambda data, temperature=1.0, *, verbose=False: data,
        annotated,
        annotated_batch,
        annotated_in_words,
    ],
    ids=["data", "g", "batch", "batched_data", "position", "options", "Data", "Batch", "words"],
)
def test_a_forward_that_takes_the_whole_graph(forward):
    data = weighted_path()
    assert call(Returns(forward), data) is data


@pytest.mark.parametrize(
    "forward",
    [
        lambda x, edge_index: {"x": x, "edge_index": edge_index},
        lambda edge_index, x: {"x": x, "edge_index": edge_index},
        lambda x, edge_index, edge_weight: {"x": x, "edge_weight": edge_weight},
        lambda x, edge_index, /, edge_weight: {"x": x, "edge_weight": edge_weight},
        lambda *, x, edge_index: {"x": x, "edge_index": edge_index},
        lambda x, color: {"x": x, "color": color},
        lambda x, *args, **kwargs: {"x": x} | dict.fromkeys(args, 1) | kwargs,
    ],
    ids=["usual", "turned", "weights", "position", "name", "own", "rest"],
)
def test_an_argument_named_like_an_attribute_receives_it(forward):
    data = weighted_path()
    data.color = torch.tensor([1.0, 2.0, 3.0])
    found = call(Returns(forward), data)
    assert found
    assert all(value is data[name] for name, value in found.items())


def test_what_stays_empty_and_what_is_made_up():
    data = weighted_path()
    data.y = torch.tensor([0, 1, 0])
    del data.edge_weight
    given = call(Returns(lambda x, edge_weight=None, y=None: (edge_weight, y)), data)
    assert given == (None, None)  # a label would turn the forward into a loss
    made = call(
        Returns(lambda x, batch, num_nodes, num_graphs: (batch, num_nodes, num_graphs)), data
    )
    assert made[0].tolist() == [0, 0, 0]
    assert made[1:] == (3, 1)
    data.batch = torch.tensor([0, 0, 1])
    assert call(Returns(lambda x, batch: batch), data) is data.batch
    assert call(Returns(lambda x, num_graphs: num_graphs), data) == 2


def test_the_users_own_call_has_the_last_word():
    data = weighted_path()
    assert call(Returns(lambda a, b: a), data, lambda model, d: model(d.x, 0)) is data.x


# ------------------------------------------------------------------------------------- readings


class Scaled(nn.Module):
    """A convolution whose result an optional argument scales."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.lin, self.inner = nn.Linear(2, 2), forward

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.inner(self.lin, *args, **kwargs)


class Weighted(Scaled):
    def forward(self, x, edge_index, edge_weight=None):
        return self.inner(self.lin(x), edge_weight)


class Typed(Scaled):
    def forward(self, x, edge_index, node_type=None):
        return self.inner(self.lin(x), node_type)


class Both(Scaled):
    def forward(self, x, edge_index, edge_weight=None, edge_attr=None):
        return self.inner(self.lin(x), edge_weight)


def scaled(h: Tensor, by: Tensor | None) -> Tensor:
    return h if by is None else h * by.float().mean()


def ignored(h: Tensor, by: Tensor | None) -> Tensor:
    return h


def graph(**more: Tensor) -> Data:
    plain = weighted_path()
    return Data(x=plain.x, edge_index=plain.edge_index, **more)


WEIGHT, TYPE = torch.tensor([0.2, 0.3, 0.7]), torch.tensor([1, 2, 1])


@pytest.mark.parametrize(
    ("model", "data", "text"),
    [
        (Weighted(scaled), graph(edge_attr=WEIGHT), "edge_weight=edge_attr"),
        (Weighted(scaled), graph(edge_attr=WEIGHT[:, None]), "edge_weight=edge_attr"),
        (Weighted(scaled), graph(edge_weight=WEIGHT), "edge_weight"),
        (Typed(scaled), graph(node_type=TYPE), "node_type"),
    ],
    ids=["edge_attr", "column", "edge_weight", "node_type"],
)
def test_of_two_calls_with_other_results_one_is_asked_for(model, data, text):
    full = f"x, edge_index, {text}"
    with pytest.raises(gm.InputError, match=f"call='x, edge_index' or call='{full}'"):
        gm.layers(model, data)
    for call in ("x, edge_index", full):  # both remedies work
        with Session(model, data, call) as session, torch.no_grad():
            scale = 1.0 if call != full else data[text.split("=")[-1]].float().mean()
            assert torch.allclose(session.output(session.inputs), model.lin(data.x) * scale)
            assert session.call.asked == call


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (Weighted(ignored), graph(edge_weight=WEIGHT)),
        (Weighted(scaled), graph(edge_attr=torch.rand(3, 3))),
        (Weighted(scaled), graph(y=TYPE, train_mask=TYPE > 1)),
        (Both(scaled), graph(edge_attr=WEIGHT)),
    ],
    ids=["ignored", "several columns", "labels", "its own argument"],
)
def test_where_both_calls_give_the_same_nothing_is_asked(model, data):
    with Session(model, data) as session, torch.no_grad():
        assert torch.equal(session.output(session.inputs), model.lin(data.x))
        assert session.call.text.startswith("model(x, edge_index")


def test_what_varies_is_handed_over():
    m = gm.metamer(
        Weighted(lambda h, w: h if w is None else h * w.mean()),
        graph(),
        "output",
        vary=gm.EdgeWeights(),
        tol=10.0,
    )
    assert m.varied == {"edge_weight": "weights"}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("x, edge_index, edge_weight=nothing", "names 'nothing', which data lacks"),
        ("x, edge_index, 1 + 1", "must name arguments and the graph's attributes"),
        ("__import__('os').system('true')", "must name arguments and the graph's attributes"),
        ("x, *edge_index", "must name arguments and the graph's attributes"),
        ("x, **edge_index", "must name arguments and the graph's attributes"),
        ("x, (", "must name arguments and the graph's attributes"),
        ("x, edge_index, x, x, x", r"does not fit Weighted\.forward\(x, edge_index, edge_weight"),
        ("x, edge_indices=edge_index", r"does not fit Weighted\.forward"),
    ],
)
def test_a_call_that_cannot_be_made(call, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        gm.layers(Weighted(scaled), graph(), call=call)


@pytest.mark.parametrize(
    "call",
    ["x, edge_index, 2.5", "model(x, edge_index, edge_weight=2.5)", "data.x, data.edge_index, 2.5"],
)
def test_plain_values_and_the_shown_call_are_taken(call):
    model = Weighted(lambda h, w: h * w)
    with Session(model, graph(), call) as session, torch.no_grad():
        assert torch.equal(session.output(session.inputs), model.lin(graph().x) * 2.5)


def test_call_and_forward_exclude_each_other():
    both: dict[str, Any] = {"call": "x, edge_index", "forward": lambda model, data: data.x}
    with pytest.raises(gm.InputError, match="call and forward both say"):
        gm.layers(Weighted(scaled), graph(), **both)


def test_a_forward_over_another_model_is_told():
    model, other = Weighted(scaled), Weighted(scaled)
    with pytest.raises(gm.InputError, match="forward must call the model that it is handed"):
        gm.layers(model, graph(), forward=lambda model, data: other(data.x, data.edge_index))


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
def test_an_adjacency_matrix_is_not_made_up():
    """Each of the calls that the sentence shows works when it is pasted."""

    class Dense(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(2, 2)

        def forward(self, x, adj):
            return adj @ self.lin(x)

    model, data = Dense(), graph()
    with pytest.raises(gm.InputError, match="needs 'adj'") as told:
        gm.layers(model, data)
    shown = re.findall(r"(lambda model, data: model\(.*?\)\)) for", str(told.value))
    assert len(shown) == 2
    for text in shown:
        call = eval(text, {"torch_geometric": torch_geometric})
        assert gm.layers(model, data, forward=call).names == ["lin", "output"]
    data.adj = torch.eye(3)
    assert gm.layers(model, data).names == ["lin", "output"]


# ------------------------------------------------------------------------------------- adj_t


def test_adj_t_is_built_from_directed_weighted_unsorted_edges():
    def forward(x, adj_t):
        return adj_t @ x

    # Row i sums over the senders j of j→i, by hand.
    data = weighted_path()
    sums = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 3.0]])
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert torch.equal(call(Returns(forward), data), sums)
    assert [str(w.message) for w in seen] == []
    del data.edge_weight
    ones = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(call(Returns(forward), data), ones)


def test_adj_t_is_built_again_only_when_the_edges_change():
    inputs, model = Inputs.of(weighted_path()), Returns(lambda x, adj_t: adj_t)
    run = readings(model, inputs, None)[0].run
    first = run(model, inputs)
    assert run(model, inputs.replaced({"x": inputs["x"] + 1})) is first
    weighted = inputs.replaced({"edge_weight": inputs["edge_weight"] * 2})
    doubled = run(model, weighted)
    assert torch.equal(doubled.to_dense(), 2 * first.to_dense())
    turned = weighted.replaced({"edge_index": inputs["edge_index"].flip(0)})
    assert torch.equal(run(model, turned).to_dense(), doubled.to_dense().T)


def test_adj_t_that_the_graph_has_is_passed_on():
    both, alone = with_adj_t(weighted_path(), keep_edges=True), with_adj_t(weighted_path())
    assert call(Returns(lambda x, adj_t: adj_t), both) is both.adj_t
    found = call(Returns(lambda x, edge_index, batch: (edge_index, batch)), alone)
    assert found[0] is alone.adj_t
    assert found[1].tolist() == [0, 0, 0]


# ------------------------------------------------------------------------------ types and pairs


def library() -> HeteroData:
    data = HeteroData()
    data["paper"].x, data["author"].x = torch.ones(3, 4), torch.ones(2, 5)
    data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1, 1], [0, 1, 2]])
    return data


@pytest.mark.parametrize(
    "forward",
    [
        lambda x_dict, edge_index_dict: (x_dict, edge_index_dict),
        lambda x, edge_index: (x, edge_index),  # as `to_hetero` names them
    ],
)
def test_what_is_held_by_type(forward):
    data = library()
    xs, edges = call(Returns(forward), data)
    assert list(xs) == ["paper", "author"]
    assert xs["paper"] is data["paper"].x
    assert edges["author", "writes", "paper"] is data["author", "writes", "paper"].edge_index
    assert call(Returns(lambda data: data), data) is data


def test_a_dictionary_of_arguments_is_handed_on():
    x, edges = library().x_dict, library().edge_index_dict
    given = {"features": x["paper"], "x_dict": x, "edge_index_dict": edges, "k": 3}
    found = call(Returns(lambda **kwargs: kwargs), given)
    assert found["features"] is x["paper"]
    assert found["k"] == 3
    assert all(found["x_dict"][kind] is x[kind] for kind in x)
    assert found["edge_index_dict"].keys() == edges.keys()


class Links(nn.Module):
    def encode(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x.clone().index_add(0, edge_index[1], x[edge_index[0]])

    def decode(self, z: Tensor, edge_label_index: Tensor) -> Tensor:
        return (z[edge_label_index[0]] * z[edge_label_index[1]]).sum(1)


def test_a_model_that_encodes_and_decodes():
    """Sums at 0, 1, 2: (1 0), (1 1) and (1 1) + (1 0) + (0 1) = (2 2)."""
    data = weighted_path()
    data.edge_label_index = torch.tensor([[0, 1, 2], [2, 0, 2]])
    assert call(Links(), data).tolist() == [2, 1, 8]


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        (
            lambda x, edge_index, edge_type: x,
            r"needs 'edge_type', which data lacks\. data has 'edge_index', 'edge_weight', 'x'\. ",
        ),
        (lambda *args: args, r"Returns does not say what its forward takes.*forward="),
        (lambda: 1, "does not say what its forward takes"),
        (lambda temperature=1: 1, "does not say what its forward takes"),
    ],
    ids=["edge_type", "args", "nothing", "option"],
)
def test_an_argument_that_cannot_be_filled(forward, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        call(Returns(forward), weighted_path())


# -------------------------------------------------------------------------------------- outputs


@dataclass
class Answer:
    scores: Tensor
    hidden: list[Tensor]
    steps: int = 3


ONE, TWO, WHOLE = torch.ones(1), torch.full((2,), 2.0), torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (ONE, {"": ONE}),
        ((ONE, TWO), {"[0]": ONE, "[1]": TWO}),
        ([None, TWO], {"": TWO}),  # the only one needs no name
        ((WHOLE, TWO), {"": TWO}),
        ({"labels": WHOLE, "scores": TWO}, {"[scores]": TWO}),
        ({"paper": ONE, "author": TWO}, {"[paper]": ONE, "[author]": TWO}),
        ({("a", "to", "b"): TWO}, {"[a-to-b]": TWO}),
        ((ONE, {"hidden": [(), (WHOLE, TWO)]}), {"[0]": ONE, "[1][hidden]": TWO}),
        (SimpleNamespace(logits=TWO, loss=ONE), {"": TWO}),
        (Answer(ONE, [TWO, ONE]), {"[scores]": ONE, "[hidden][0]": TWO, "[hidden][1]": ONE}),
        (WHOLE, {}),
        (None, {}),
        ("text", {}),
    ],
)
def test_named_tensors(value, found):
    named = named_tensors(value)
    assert list(named) == list(found)
    assert all(named[place] is tensor for place, tensor in found.items())
