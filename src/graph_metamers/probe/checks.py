"""Say what would go wrong before an hour is spent."""

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from graph_metamers.errors import InputError, describe, listing
from graph_metamers.inputs import Inputs


def check_model(model: Any) -> None:
    """Whether a model can be read.

    Raises:
        InputError: It is no module, or its weights were never initialised.
    """
    if not isinstance(model, nn.Module):
        raise InputError(
            f"model must be a torch.nn.Module; got {type(model).__name__}. "
            "Wrap a function in a module whose forward calls it."
        )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise InputError(
                f"model's '{name}' holds no numbers: it is on the meta device. Load its weights."
            )
        if is_lazy(parameter):
            raise InputError(
                f"model's '{name}' has no shape yet (a lazy module that never ran). "
                "Run the model once on the graph, then load its trained weights."
            )


def check_inputs(inputs: Inputs, model: nn.Module | None = None) -> None:
    """Whether a graph can serve as a reference, for `model` if it is given.

    Raises:
        InputError: It holds no node, its features are not finite, its edges are no matrix
            [2, edges] of node numbers, or it lies on another device or has another precision than
            the model.
    """
    if not any(inputs.nodes(kind) for kind in inputs.node_types) and not inputs.called:
        raise InputError("data must hold at least one node; an empty graph has no metamers.")
    for key in inputs.keys:
        kind, _, name = key.rpartition(".")
        if name == "x":
            _check_features(inputs, key)
        elif name == "edge_index":
            _check_edges(inputs, key)
        elif name in ("edge_weight", "edge_attr", "edge_type"):
            _check_edge_values(inputs, key)
    for kind in inputs.node_types if not inputs.called else ():
        name = f"{kind}.x" if kind else "x"
        value = inputs.get(name)
        if value is not None and name not in inputs.keys:
            raise InputError(
                f"{inputs.spelled(name)} must be a tensor; got {type(value).__name__}. Convert it "
                f"with torch.as_tensor({inputs.spelled(name)})."
            )
    if model is not None:
        _check_fit(inputs, model)


def _check_features(inputs: Inputs, key: str) -> None:
    x, said = inputs[key], inputs.spelled(key)
    if x.is_floating_point() and x.layout == torch.strided and not torch.isfinite(x).all():
        rows = (~torch.isfinite(x.reshape(len(x), -1))).any(dim=1).nonzero().view(-1)
        raise InputError(
            f"{said} must be finite; it has NaN or infinite entries in {len(rows)} of {len(x)} "
            f"rows, first in row {int(rows[0])}. Replace them, for instance with "
            f"torch.nan_to_num({said})."
        )


def _check_edges(inputs: Inputs, key: str) -> None:
    edges, said = inputs[key], inputs.spelled(key)
    if edges.layout != torch.strided:
        raise InputError(
            f"{said} must be a dense integer matrix [2, edges]; got {edges.layout}. Put a sparse "
            "adjacency into data.adj_t."
        )
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.long:
        remedy = "Its rows are the nodes that edges leave and reach."
        if edges.dim() == 2 and edges.shape[0] == edges.shape[1]:
            remedy = "A matrix of all pairs becomes one with torch_geometric.utils.dense_to_sparse."
        if edges.dim() == 2 and edges.shape[0] == 2:
            remedy = f"Convert it with {said}.long()."
        elif edges.dim() == 2 and edges.shape[1] == 2:
            remedy = f"Transpose it with {said}.t().contiguous()."
        raise InputError(
            f"{said} must be an int64 matrix [2, edges]; got {describe(edges)}. {remedy}"
        )
    if edges.shape[1] == 0:
        return
    for ends, kind in zip(edges, inputs.ends(key), strict=True):
        if kind not in inputs.node_types or (kind and not inputs.nodes(kind)):
            raise InputError(
                f"{said} leads to '{kind}' nodes, of which the data holds none. It has nodes of "
                f"the types {listing(k for k in inputs.node_types if inputs.nodes(k))}; give "
                f"data['{kind}'] its x or num_nodes."
            )
        nodes, low, high = inputs.nodes(kind), int(ends.min()), int(ends.max())
        if low < 0 or high >= nodes:
            which = f"'{kind}' nodes" if kind else "nodes"
            raise InputError(
                f"{said} must point to {which} 0 to {nodes - 1} (there are {nodes}); it holds "
                f"{low if low < 0 else high}. Relabel the nodes or add their features."
            )


def _check_edge_values(inputs: Inputs, key: str) -> None:
    value, said, edges = inputs[key], inputs.spelled(key), inputs.beside(key, "edge_index")
    if edges not in inputs.keys:
        return
    count = inputs[edges].shape[1]
    if value.shape[:1] != (count,):
        raise InputError(
            f"{said} must have one row for each of the {count} edges; got {describe(value)}. Give "
            f"each column of {inputs.spelled(edges)} its own, or remove it."
        )
    if not torch.isfinite(value).all():
        raise InputError(
            f"{said} must be finite; it has NaN or infinite entries. Replace them, for instance "
            f"with torch.nan_to_num({said})."
        )


def _check_fit(inputs: Inputs, model: nn.Module) -> None:
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    if weight is None:
        return
    for key in inputs.feature_keys:
        x, said = inputs[key], inputs.spelled(key)
        if weight.dtype != x.dtype:
            name = str(weight.dtype).removeprefix("torch.")
            raise InputError(
                f"{said} must have the precision of the model's weights, {name}; got "
                f"{describe(x)}. Convert it with {said}.to(torch.{name})."
            )
        if weight.device != x.device:
            raise InputError(
                f"data must be on the model's device, {weight.device}; {said} is on {x.device}. "
                f"Move it with data.to('{weight.device}')."
            )
