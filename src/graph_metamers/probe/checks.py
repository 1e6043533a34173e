"""Say what would go wrong before an hour is spent."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch_geometric.data import Data

from graph_metamers.errors import InputError, describe


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
        if is_lazy(parameter):
            raise InputError(
                f"model's '{name}' has no shape yet (a lazy module that never ran). "
                "Run the model once on the graph, then load its trained weights."
            )
        if parameter.is_inference():
            raise InputError(
                f"model's '{name}' was made inside torch.inference_mode(), where no gradient may "
                "pass it later. Make the model outside, or under torch.no_grad()."
            )


def check_data(data: Any, model: nn.Module | None = None) -> None:
    """Whether a graph can serve as a reference, for `model` if it is given.

    Raises:
        InputError: It is no `Data`, is empty or without edges, its features are missing, not
            finite or not floating-point, its edges point outside, or it lies on another device
            or has another precision than the model.
    """
    if not isinstance(data, Data):
        raise InputError(
            f"data must be a torch_geometric.data.Data; got {type(data).__name__}. "
            "Build one with Data(x=x, edge_index=edge_index)."
        )
    _check_features(data.x)
    _check_edges(data)
    if model is not None:
        _check_fit(data, model)


def _check_features(x: Any) -> None:
    if x is None:
        raise InputError(
            "data.x must be a floating point matrix [nodes, features]; data has none. "
            "Set it, for instance data.x = torch.eye(data.num_nodes)."
        )
    if not isinstance(x, Tensor):
        raise InputError(
            "data.x must be a floating point matrix [nodes, features]; "
            f"got {type(x).__name__}. Convert it with torch.as_tensor(data.x).float()."
        )
    if x.layout != torch.strided:
        raise InputError(
            "data.x must be a dense floating point matrix [nodes, features]; "
            f"got {type(x).__name__} ({x.layout}). Convert it with data.x.to_dense()."
        )
    if not x.is_floating_point():
        raise InputError(
            f"data.x must be a floating point matrix [nodes, features]; got {describe(x)}. "
            "Convert it with data.x.float()."
        )
    if x.dim() != 2:
        raise InputError(
            f"data.x must be a floating point matrix [nodes, features]; got {describe(x)}. "
            "Reshape it to one row a node."
        )
    if x.numel() == 0:
        raise InputError(
            "data must hold at least one node with at least one feature; "
            f"data.x is {describe(x)}. An empty graph has no metamers."
        )
    if not torch.isfinite(x).all():
        rows = (~torch.isfinite(x)).any(dim=1).nonzero().view(-1)
        raise InputError(
            f"data.x must be finite; it has NaN or infinite entries in {len(rows)} of {len(x)} "
            f"rows, first in row {int(rows[0])}. Replace them, for instance with "
            "torch.nan_to_num(data.x)."
        )


def _check_edges(data: Data) -> None:
    edges = data.edge_index
    if edges is None:
        if data.get("adj_t") is not None:
            return
        raise InputError(
            "data.edge_index must be an integer matrix [2, edges]; data has none. "
            "Set it, or data.adj_t."
        )
    if not isinstance(edges, Tensor) or edges.is_sparse or edges.layout != torch.strided:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            "data.edge_index must be a dense integer matrix [2, edges]; "
            f"got {type(edges).__name__}. Put a sparse adjacency into data.adj_t."
        )
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.long:
        remedy = "An adjacency matrix becomes one with torch_geometric.utils.dense_to_sparse."
        if edges.dim() == 2 and edges.shape[0] == 2:
            remedy = "Convert it with data.edge_index.long()."
        elif edges.dim() == 2 and edges.shape[1] == 2:
            remedy = "Transpose it with data.edge_index.t().contiguous()."
        raise InputError(
            f"data.edge_index must be an int64 matrix [2, edges]; got {describe(edges)}. {remedy}"
        )
    nodes = len(data.x) if data.x is not None else 0
    if edges.shape[1] == 0:
        raise InputError(
            f"data.edge_index must hold at least one edge; all {nodes} nodes are isolated. "
            "Without edges a graph network is a plain network on each node's features."
        )
    low, high = int(edges.min()), int(edges.max())
    if low < 0 or high >= nodes:
        raise InputError(
            f"data.edge_index must point to nodes 0 to {nodes - 1} (data.x has {nodes} rows); "
            f"it holds {low if low < 0 else high}. Relabel the nodes or add their features."
        )
    for name in ("edge_weight", "edge_attr"):
        value = data.get(name)
        if isinstance(value, Tensor) and value.shape[:1] != edges.shape[1:]:
            raise InputError(
                f"data.{name} must have one row for each of the {edges.shape[1]} edges; "
                f"got {describe(value)}. Give each column of data.edge_index its own, or remove it."
            )
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            raise InputError(
                f"data.{name} must be finite; it has NaN or infinite entries. Replace them, for "
                f"instance with torch.nan_to_num(data.{name})."
            )


def _check_fit(data: Data, model: nn.Module) -> None:
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    x = data.x
    if weight is None or x is None:
        return
    if weight.dtype != x.dtype:
        name = str(weight.dtype).removeprefix("torch.")
        raise InputError(
            f"data.x must have the precision of the model's weights, {name}; got {describe(x)}. "
            f"Convert it with data.x.to(torch.{name})."
        )
    if weight.device != x.device:
        raise InputError(
            f"data must be on the model's device, {weight.device}; data.x is on {x.device}. "
            f"Move it with data.to('{weight.device}')."
        )
