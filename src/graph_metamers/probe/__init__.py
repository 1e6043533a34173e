"""Read a trained model on a graph and leave no trace."""

from graph_metamers.probe.call import Call, Forward, How, how_of
from graph_metamers.probe.checks import check_inputs, check_model
from graph_metamers.probe.flows import Flow, record_flows
from graph_metamers.probe.layers import Layer, LayerFunction, LayerInfo, Layers, Target
from graph_metamers.probe.reads import LinearRead, find_linear_read
from graph_metamers.probe.session import Session, layers

__all__ = [
    "Call",
    "Flow",
    "Forward",
    "How",
    "Layer",
    "LayerFunction",
    "LayerInfo",
    "Layers",
    "LinearRead",
    "Session",
    "Target",
    "check_inputs",
    "check_model",
    "find_linear_read",
    "how_of",
    "layers",
    "record_flows",
]
