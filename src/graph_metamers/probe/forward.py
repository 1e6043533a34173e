"""Hand a Data to any model's forward, and read a tensor from whatever it returns."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.utils import to_torch_csr_tensor

from graph_metamers.errors import InputError, listing

Forward = Callable[[nn.Module, Data], Any]

# Optional arguments are filled only when they are graph inputs by convention:
# an optional `y=None`, for one, would turn some forwards into a loss.
GRAPH_ARGUMENTS = ("x", "edge_index", "edge_weight", "edge_attr", "batch", "adj_t", "pos")
WHOLE_GRAPH = ("data", "graph", "g", "batch")

HOW_TO_CALL = (
    "how to call it with forward=lambda model, data: model(...), or build a model whose "
    "forward takes data alone."
)


def bind_forward(model: nn.Module, data: Data) -> Forward:
    """Find out once how `model.forward` wants its graph, by the names of its arguments.

    An argument named like an attribute of `data` (x, edge_index, edge_weight, edge_attr, batch,
    …) receives it; a single argument named `data`, `graph`, `g` or `batch`, or annotated with
    `Data`, receives the whole graph; `adj_t` is built from `edge_index` where `data` has none.

    Args:
        model: Any module whose forward takes a graph.
        data: A graph with the attributes of those that will be passed.

    Returns:
        A function `(model, data) -> what the model returns`.

    Raises:
        InputError: A required argument cannot be filled.
    """
    parameters = [
        p
        for p in inspect.signature(model.forward).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    required = [p for p in parameters if p.default is p.empty]
    if len(required) == 1 and _takes_whole_graph(required[0]):
        return lambda model, data: model(data)

    fillers: list[tuple[inspect.Parameter, Callable[[Data], Any]]] = []
    for parameter in parameters:
        filler = _filler(parameter, data)
        if filler is not None:
            fillers.append((parameter, filler))
        elif parameter.default is parameter.empty:
            raise InputError(
                f"{type(model).__name__}.forward needs '{parameter.name}', which data lacks. "
                f"data has {listing(sorted(data.keys()))}. Say {HOW_TO_CALL}"
            )
    if not fillers:
        raise InputError(
            f"{type(model).__name__}.forward{inspect.signature(model.forward)} does not say "
            f"what it takes. Say {HOW_TO_CALL}"
        )

    positional = [fill for p, fill in fillers if p.kind is p.POSITIONAL_ONLY]
    named = {p.name: fill for p, fill in fillers if p.kind is not p.POSITIONAL_ONLY}
    return lambda model, data: model(
        *[fill(data) for fill in positional], **{name: fill(data) for name, fill in named.items()}
    )


def _takes_whole_graph(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    is_data = isinstance(annotation, type) and issubclass(annotation, Data)
    return is_data or words.split(".")[-1] in ("Data", "Batch") or parameter.name in WHOLE_GRAPH


def _filler(parameter: inspect.Parameter, data: Data) -> Callable[[Data], Any] | None:
    name = parameter.name
    optional = parameter.default is not parameter.empty
    if optional and name not in GRAPH_ARGUMENTS:
        return None
    if name in data and data[name] is not None:
        return lambda data: data[name]
    if optional:
        return None
    if name in ("adj_t", "adj") and data.edge_index is not None:
        return _SparseAdjacency()
    if name == "edge_index" and "adj_t" in data:
        return lambda data: data["adj_t"]
    if name == "batch":
        return lambda data: torch.zeros(len(data["x"]), dtype=torch.long, device=data["x"].device)
    return None


class _SparseAdjacency:
    """Transposed adjacency of the graph at hand, built again only when its edges change."""

    def __init__(self) -> None:
        self._edges: tuple[Tensor | None, Tensor | None] = (None, None)
        self._adjacency: Tensor | None = None

    def __call__(self, data: Data) -> Tensor:
        edges = (data.edge_index, data.get("edge_weight"))
        if edges[0] is not self._edges[0] or edges[1] is not self._edges[1]:
            self._edges, nodes = edges, data.num_nodes
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
                self._adjacency = to_torch_csr_tensor(
                    cast(Tensor, edges[0]).flip(0), edges[1], size=(nodes, nodes)
                )
        return cast(Tensor, self._adjacency)


def first_tensor(value: Any) -> Tensor | None:
    """The first floating-point tensor in what a module returned, or None.

    >>> import torch
    >>> first_tensor((None, {"logits": torch.ones(2)}))
    tensor([1., 1.])
    """
    return next(iter(tensors(value)), None)


def tensors(value: Any) -> list[Tensor]:
    """The floating-point tensors in what a module returned.

    Looks into tuples, lists, mappings and objects with `logits`, in their order.
    """
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if hasattr(value, "logits"):
        return tensors(value.logits)
    if isinstance(value, Mapping):
        value = list(cast("Mapping[Any, Any]", value).values())
    if isinstance(value, tuple | list):
        return [found for part in cast("list[Any]", value) for found in tensors(part)]
    return []
