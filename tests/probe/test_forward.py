"""Any forward gets its graph by the names of its arguments."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import graph_metamers as gm
from graph_metamers.probe.forward import bind_forward, first_tensor
from helpers import DIFFUSED, Diffuse, weighted_path, with_adj_t


def call(model: nn.Module, data: Data) -> Any:
    return bind_forward(model, data)(model, data)


class Returns(nn.Module):
    """Its forward is the function handed in, whose arguments are what is tested."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.forward = forward


def takes_data(data):
    return data


def takes_graph(graph):
    return graph


def takes_g(g):
    return g


def takes_one_named_batch(batch):
    return batch


def takes_annotated(anything: Data):
    return anything


def takes_annotated_batch(anything: Batch):
    return anything


def takes_annotated_in_words(anything: "torch_geometric.data.Data"):  # type: ignore[name-defined]
    return anything


def takes_data_and_options(data, temperature=1.0, *, verbose=False):
    assert (temperature, verbose) == (1.0, False)
    return data


@pytest.mark.parametrize(
    "forward",
    [
        takes_data,
        takes_graph,
        takes_g,
        takes_one_named_batch,
        takes_annotated,
        takes_annotated_batch,
        takes_annotated_in_words,
        takes_data_and_options,
    ],
)
def test_a_forward_that_takes_the_whole_graph(forward):
    data = weighted_path()
    assert call(Returns(forward), data) is data


def takes_the_usual(x, edge_index):
    return {"x": x, "edge_index": edge_index}


def takes_another_order(edge_index, x):
    return {"x": x, "edge_index": edge_index}


def takes_weights(x, edge_index, edge_weight=None):
    return {"x": x, "edge_index": edge_index, "edge_weight": edge_weight}


def takes_by_position(x, edge_index, /, edge_weight=None):
    return {"x": x, "edge_index": edge_index, "edge_weight": edge_weight}


def takes_by_name(*, x, edge_index):
    return {"x": x, "edge_index": edge_index}


def takes_own_attribute(x, color):
    return {"x": x, "color": color}


def takes_more_of_the_rest(x, *args, **kwargs):
    assert not args
    assert not kwargs
    return {"x": x}


@pytest.mark.parametrize(
    "forward",
    [
        takes_the_usual,
        takes_another_order,
        takes_weights,
        takes_by_position,
        takes_by_name,
        takes_own_attribute,
        takes_more_of_the_rest,
    ],
)
def test_an_argument_named_like_an_attribute_receives_it(forward):
    data = weighted_path()
    data.color = torch.tensor([1.0, 2.0, 3.0])
    for name, value in call(Returns(forward), data).items():
        assert value is data[name]


def test_an_optional_argument_stays_empty_where_the_graph_has_none():
    data = weighted_path()
    del data.edge_weight
    assert call(Returns(takes_weights), data)["edge_weight"] is None


def test_an_optional_label_is_never_filled():
    # It would turn the forward into a loss.
    data = weighted_path()
    data.y = torch.tensor([0, 1, 0])
    assert call(Returns(lambda x, edge_index, y=None: y), data) is None


def test_a_required_batch_says_that_all_nodes_are_of_one_graph():
    batch = call(Returns(lambda x, edge_index, batch: batch), weighted_path())
    assert batch.tolist() == [0, 0, 0]
    assert batch.dtype == torch.long


def test_a_batch_that_the_graph_has_is_passed_on():
    data = weighted_path()
    data.batch = torch.tensor([0, 0, 1])
    assert call(Returns(lambda x, edge_index, batch: batch), data) is data.batch


def takes_adj_t(x: Tensor, adj_t: Tensor) -> Tensor:
    return adj_t @ x


def takes_adj(x: Tensor, adj: Tensor) -> Tensor:
    return adj @ x


@pytest.mark.parametrize("forward", [takes_adj_t, takes_adj])
def test_adj_t_is_built_from_directed_weighted_unsorted_edges(forward):
    # Row i sums over the senders j of j→i, by hand.
    sums = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 3.0]])
    assert torch.equal(call(Returns(forward), weighted_path()), sums)


def test_adj_t_without_weights_has_ones():
    data = weighted_path()
    del data.edge_weight
    sums = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(call(Returns(takes_adj_t), data), sums)


def test_adj_t_is_built_again_only_when_the_edges_change():
    data = weighted_path()
    model = Returns(lambda x, adj_t: adj_t)
    forward = bind_forward(model, data)
    first = forward(model, data)
    data.x = data.x + 1
    assert forward(model, data) is first
    data.edge_weight = data.edge_weight * 2
    doubled = forward(model, data)
    assert torch.equal(doubled.to_dense(), 2 * first.to_dense())
    data.edge_index = data.edge_index.flip(0)
    assert torch.equal(forward(model, data).to_dense(), doubled.to_dense().T)


def test_building_adj_t_warns_of_nothing():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call(Returns(takes_adj_t), weighted_path())
    assert [str(w.message) for w in seen] == []


def test_adj_t_that_the_graph_has_is_passed_on():
    data = with_adj_t(weighted_path(), keep_edges=True)
    assert call(Returns(lambda x, adj_t: adj_t), data) is data.adj_t


def test_edge_index_is_adj_t_where_the_graph_has_only_that():
    data = with_adj_t(weighted_path())
    assert data.edge_index is None
    assert call(Returns(lambda x, edge_index: edge_index), data) is data.adj_t


def test_a_graph_with_adj_t_alone_needs_no_edge_index_for_its_batch():
    data = with_adj_t(weighted_path())
    batch = call(Returns(lambda x, edge_index, batch: batch), data)
    assert batch.tolist() == [0, 0, 0]


def test_the_lambda_of_the_user_has_the_last_word():
    data = weighted_path()
    infos = gm.layers(
        Diffuse(), data, forward=lambda model, d: model(d.x, d.edge_index, 0 * d.edge_weight)[:2]
    )
    assert infos[-1] == gm.probe.LayerInfo("output", (2, 2))


def test_toy_model_is_what_its_comment_says():
    data = weighted_path()
    model = Diffuse()
    probe = gm.probe.Probe(model, data)
    with probe:
        first, second = probe.activations(probe.targets(["act:0", "act:1"]), data)
    assert torch.equal(first, DIFFUSED[0])
    assert torch.equal(second, DIFFUSED[1])


@pytest.mark.parametrize(
    ("forward", "sentence"),
    [
        (
            lambda x, edge_index, edge_type: x,
            r"Returns\.forward needs 'edge_type', which data lacks\. "
            r"data has 'edge_index', 'edge_weight', 'x'\. Say how .*forward=",
        ),
        (lambda x, n_id: x, "needs 'n_id', which data lacks"),
        (lambda *args: args, r"Returns\.forward\(\*args\) does not say what it takes.*forward="),
        (lambda: 1, r"Returns\.forward\(\) does not say what it takes"),
        (lambda temperature=1: 1, "does not say what it takes"),
    ],
    ids=["edge_type", "n_id", "args", "nothing", "option"],
)
def test_an_argument_that_cannot_be_filled(forward, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        call(Returns(forward), weighted_path())


ONE, TWO, WHOLE = torch.ones(1), torch.full((2,), 2.0), torch.tensor([1, 2])


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (ONE, ONE),
        ((ONE, TWO), ONE),
        ([None, TWO], TWO),
        ((WHOLE, TWO), TWO),
        ({"labels": WHOLE, "scores": TWO}, TWO),
        ((None, {"hidden": [(), (WHOLE, ONE)]}), ONE),
        (SimpleNamespace(logits=TWO, loss=ONE), TWO),
        ((SimpleNamespace(logits=TWO), ONE), TWO),
        (WHOLE, None),
        (None, None),
        ((), None),
        ({}, None),
        ("text", None),
        (3.0, None),
    ],
)
def test_first_tensor(value, found):
    assert first_tensor(value) is found
