"""Hand a graph to any model's forward, and read the tensors in whatever it returns."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch_geometric.data.data import BaseData
from torch_geometric.utils import to_torch_csr_tensor

from graph_metamers.errors import InputError, listing
from graph_metamers.inputs import Inputs

Forward = Callable[[nn.Module, Any], Any]
Call = Callable[[nn.Module, Inputs], Any]
Filler = Callable[[Inputs], Any]

# Optional arguments are filled only when they are graph inputs by convention:
# an optional `y=None`, for one, would turn some forwards into a loss.
GRAPH_ARGUMENTS = (
    *("x", "edge_index", "edge_weight", "edge_attr", "edge_type", "batch", "adj_t", "pos"),
    *("edge_label_index", "x_dict", "edge_index_dict", "edge_attr_dict", "edge_weight_dict"),
)
COUNTS = ("num_nodes", "num_graphs")

HOW_TO_CALL = (
    "how to call it with forward=lambda model, data: model(...), or build a model whose "
    "forward takes data alone."
)


def bind_call(model: nn.Module, inputs: Inputs, forward: Forward | None) -> Call:
    """Find out once how a model wants its graph, by the names of its arguments.

    An argument named like an attribute of the data (x, edge_index, edge_weight, batch, …) receives
    it; `x_dict` and the like receive what a `HeteroData` holds of each type; a lone required
    argument of another name receives the whole graph. A model without a `forward` is called as
    decode(encode(…), edge_label_index). A dictionary of arguments is handed on as it is.

    Args:
        model: Any module that takes a graph.
        inputs: A graph with what will be passed.
        forward: The author's own way to call it, `(model, data) -> output`, or None.

    Returns:
        A function `(model, inputs) -> what the model returns`.

    Raises:
        InputError: A required argument cannot be filled.
    """
    if forward is not None:
        return lambda model, inputs: forward(model, inputs.restored())
    if inputs.called:
        return lambda model, inputs: model(**inputs.restored())
    if not _has_forward(model) and all(hasattr(model, name) for name in ("encode", "decode")):
        encode = _arguments_of(model, model.encode, inputs)  # pyright: ignore[reportArgumentType]
        decode = _arguments_of(model, model.decode, inputs, given=1)  # pyright: ignore[reportArgumentType]

        def score(model: Any, inputs: Inputs) -> Any:
            encoded = model.encode(*encode[0](inputs), **encode[1](inputs))
            return model.decode(encoded, *decode[0](inputs), **decode[1](inputs))

        return score
    positional, named = _arguments_of(model, model.forward, inputs)
    return lambda model, inputs: model(*positional(inputs), **named(inputs))


def _has_forward(model: nn.Module) -> bool:
    """Whether its forward says what it takes: that of PyG's autoencoders takes anything."""
    kinds = {p.kind for p in inspect.signature(model.forward).parameters.values()}
    anything = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    unwritten = getattr(model.forward, "__name__", "") == "_forward_unimplemented"
    return not unwritten and bool(kinds - anything)


def _arguments_of(
    model: nn.Module, function: Callable[..., Any], inputs: Inputs, *, given: int = 0
) -> tuple[Callable[[Inputs], list[Any]], Callable[[Inputs], dict[str, Any]]]:
    """What a method is to be handed: positional arguments and named ones, of any graph.

    Args:
        model: Whose method it is.
        function: The method.
        inputs: A graph with what will be passed.
        given: How many of the first arguments are filled otherwise.
    """
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ][given:]
    required = [p for p in parameters if p.default is p.empty]
    lone = len(required) == 1 and _takes_whole_graph(required[0], inputs)
    fillers: list[tuple[inspect.Parameter, Filler]] = []
    for parameter in required if lone else parameters:
        filler = Inputs.restored if lone else _filler(parameter, inputs)
        if filler is not None:
            fillers.append((parameter, filler))
        elif parameter.default is parameter.empty:
            raise InputError(
                f"{type(model).__name__}.{function.__name__} needs '{parameter.name}', which data "
                f"lacks. data has {listing(sorted(inputs.keys))}. Say {HOW_TO_CALL}"
            )
    if not fillers:
        raise InputError(
            f"{type(model).__name__}.{function.__name__}{inspect.signature(function)} does not say "
            f"what it takes. Say {HOW_TO_CALL}"
        )
    positional = [fill for p, fill in fillers if p.kind is p.POSITIONAL_ONLY]
    named = {p.name: fill for p, fill in fillers if p.kind is not p.POSITIONAL_ONLY}
    return (
        lambda inputs: [fill(inputs) for fill in positional],
        lambda inputs: {name: fill(inputs) for name, fill in named.items()},
    )


def _takes_whole_graph(parameter: inspect.Parameter, inputs: Inputs) -> bool:
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    is_data = isinstance(annotation, type) and issubclass(annotation, BaseData)
    if is_data or words.split(".")[-1] in ("Data", "HeteroData", "Batch"):
        return True
    return parameter.name == "batch" or _filler(parameter, inputs) is None


def _filler(parameter: inspect.Parameter, inputs: Inputs) -> Filler | None:
    name = parameter.name
    optional = parameter.default is not parameter.empty
    if optional and name not in GRAPH_ARGUMENTS:
        return None
    if inputs.get(name) is not None:
        return lambda inputs: inputs.get(name)
    by_type = name if name.endswith("_dict") else f"{name}_dict"  # as `to_hetero` names them
    if _by_type(inputs, by_type):
        return lambda inputs: _by_type(inputs, by_type)
    if optional:
        return None
    if name in ("adj_t", "adj") and "edge_index" in inputs:
        return _SparseAdjacency()
    if name == "edge_index" and inputs.get("adj_t") is not None:
        return lambda inputs: inputs.get("adj_t")
    if name == "batch":
        return lambda inputs: inputs.graph_of_nodes()
    if name in COUNTS:
        return lambda inputs: inputs.nodes() if name == "num_nodes" else inputs.graphs
    return None


def _by_type(inputs: Inputs, name: str) -> dict[Any, Any]:
    collect = getattr(inputs.graph, "collect", None)
    if collect is None or not any(key.endswith(f".{name[:-5]}") for key in inputs.keys):
        return {}
    return collect(name.removesuffix("_dict"), allow_empty=True)


class _SparseAdjacency:
    """Transposed adjacency of the graph at hand, built again only when its edges change."""

    def __init__(self) -> None:
        self._edges: tuple[Any, Any] = (None, None)
        self._adjacency: Tensor | None = None

    def __call__(self, inputs: Inputs) -> Tensor:
        edges = (inputs["edge_index"], inputs.get("edge_weight"))
        if edges[0] is not self._edges[0] or edges[1] is not self._edges[1]:
            self._edges, nodes = edges, inputs.nodes()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
                self._adjacency = to_torch_csr_tensor(
                    edges[0].flip(0), edges[1], size=(nodes, nodes)
                )
        return cast(Tensor, self._adjacency)


def named_tensors(value: Any, place: str = "") -> dict[str, Tensor]:
    """The floating-point tensors in what a module returned, by where they stand in it.

    Looks into tuples, lists, mappings, dataclasses and objects with `logits`, in their order. A
    tensor alone stands under the empty name.

    >>> import torch
    >>> named_tensors((torch.ones(2), {"paper": torch.ones(3)}))
    {'[0]': tensor([1., 1.]), '[1][paper]': tensor([1., 1., 1.])}
    """
    if isinstance(value, Tensor):
        return {place: value} if value.is_floating_point() else {}
    if hasattr(value, "logits"):
        return named_tensors(value.logits, place)
    parts: dict[Any, Any] = {}
    if isinstance(value, Mapping):
        parts = dict(cast("Mapping[Any, Any]", value))
    elif isinstance(value, tuple | list):
        parts = dict(enumerate(cast("list[Any]", value)))
    elif is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
    found: dict[str, Tensor] = {}
    for name, part in parts.items():
        label = (
            "-".join(map(str, cast("tuple[Any, ...]", name))) if isinstance(name, tuple) else name
        )
        found |= named_tensors(part, f"{place}[{label}]")
    # A single number beside others, such as a loss, is no answer of any row.
    found = {name: part for name, part in found.items() if part.dim()} or found
    if len(found) == 1 and not isinstance(value, Mapping):
        return {place: next(iter(found.values()))}  # the only tensor needs no name
    return found
