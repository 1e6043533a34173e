"""What `summary` says is the call that is made."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN

import graph_metamers as gm
from helpers import FEATURES, HIDDEN, left_as_found, seeded, toy_graph


def test_a_summary_tells_call_task_inputs_and_layers():
    model, data = seeded(lambda: GCN(FEATURES, HIDDEN, 2, 3)), toy_graph()
    with left_as_found(model):
        told = gm.summary(model, data)
    assert told.call == "model(x, edge_index)"
    assert {"edge_weight", "edge_attr", "batch"} <= set(told.defaults)
    assert told.layers == gm.layers(model, data)
    assert told.inputs["edge_index"] == f"int64 [2, {data.num_edges}], of the edges"
    assert told.inputs["x"].endswith("of the nodes; varies as BinaryFeatures")
    for word in (told.call, told.task, *told.inputs, *told.layers.names):
        assert word in str(told)


def test_the_call_that_is_shown_is_taken():
    data = Data(x=torch.rand(4, 3), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))
    data.edge_attr = torch.rand(3)
    model = seeded(lambda: GCN(3, 4, 1))
    asked = "x, edge_index, edge_weight=edge_attr"
    told = gm.summary(model, data, call=asked)
    assert told.call == "model(x, edge_index, edge_weight=data.edge_attr)"
    assert gm.summary(model, data, call=told.call) == told
    with torch.no_grad():
        by_hand = model(data.x, data.edge_index, data.edge_attr)
    m = gm.metamer(model, data, "output", call=told.call, search=gm.Adam(steps=2))
    with torch.no_grad():
        found = model(m.data.x, m.data.edge_index, m.data.edge_attr)
    error = (found - by_hand).square().sum() / by_hand.square().sum()
    assert m.activation_error == pytest.approx(float(error), rel=1e-4)  # single precision
