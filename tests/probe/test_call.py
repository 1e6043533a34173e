"""Any forward gets its graph by the names of its arguments; any output gives its tensors."""

import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data, HeteroData

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.probe.call import bind_call, named_tensors
from helpers import weighted_path, with_adj_t


def call(model: nn.Module, data: Any, forward: Any = None) -> Any:
    inputs = Inputs.of(data)
    return bind_call(model, inputs, forward)(model, inputs)


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
        lambda x, edge_index, edge_weight=None: {"x": x, "edge_weight": edge_weight},
        lambda x, edge_index, /, edge_weight=None: {"x": x, "edge_weight": edge_weight},
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


# ------------------------------------------------------------------------------------- adj_t


@pytest.mark.parametrize("forward", [lambda x, adj_t: adj_t @ x, lambda x, adj: adj @ x])
def test_adj_t_is_built_from_directed_weighted_unsorted_edges(forward):
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
    run = bind_call(model, inputs, None)
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
        (lambda *args: args, r"Returns\..*\(\*args\) does not say what it takes.*forward="),
        (lambda: 1, r"\(\) does not say what it takes"),
        (lambda temperature=1: 1, "does not say what it takes"),
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
