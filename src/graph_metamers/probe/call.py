"""Hand a graph to any model's forward, and read the tensors in whatever it returns."""

import ast
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data.data import BaseData
from torch_geometric.utils import to_torch_csr_tensor

from graph_metamers.errors import InputError, listing, suggestion
from graph_metamers.inputs import Inputs, is_plain

Forward = Callable[[nn.Module, Any], Any]
Filler = Callable[[Inputs], Any]

# Optional arguments are filled in silence only where they are PyG's own names of graph inputs.
GRAPH_ARGUMENTS = (
    *("x", "edge_index", "edge_attr", "edge_type", "batch", "adj_t", "pos", "edge_label_index"),
    *("x_dict", "edge_index_dict", "edge_attr_dict", "edge_weight_dict"),
)
# Optional arguments of these names are left out: filled, they would turn some forwards into a loss.
LABELS = ("y", "edge_label", "train_mask", "val_mask", "test_mask")
COUNTS = ("num_nodes", "num_graphs")

HOW_TO_CALL = (
    "how to call it, as in call='x, edge_index, edge_weight=edge_attr' or "
    "forward=lambda model, data: model(...)."
)
ADJACENCY = (
    "{name} needs 'adj', which data lacks and which can be made in several ways. Put the one that "
    "the model was trained with into data.adj, or, where edges vary, say how it is made: "
    "forward=lambda model, data: model(data.x, torch_geometric.utils.to_torch_coo_tensor("
    "data.edge_index, size=data.num_nodes)) for plain zeros and ones, or forward=lambda model, "
    "data: model(data.x, torch_geometric.utils.to_torch_coo_tensor(*torch_geometric.nn.conv."
    "gcn_conv.gcn_norm(data.edge_index, num_nodes=data.num_nodes), size=data.num_nodes)) for "
    "that of a GCN, with self-loops and normalised; with .to_dense() where it is a dense matrix."
)


@dataclass(frozen=True)
class Call:
    """How a model is called.

    Attributes:
        run: The call itself, `(model, inputs) -> what the model returns`.
        text: How its author writes it: `model(x, edge_index, edge_weight=data.edge_attr)`.
        left: The arguments that stay at their default.
    """

    run: Callable[[nn.Module, Inputs], Any]
    text: str
    left: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """What `call=` takes for this call."""
        return self.text.removeprefix("model(").removesuffix(")").replace("data.", "")


How = Forward | str | Call | None  # how to call a model; None: as its arguments are named


@dataclass(frozen=True)
class _Argument:
    """What one argument is handed: by position where it has no name."""

    name: str | None
    text: str
    value: Filler

    def __str__(self) -> str:
        return self.text if self.name is None else f"{self.name}={self.text}"


def how_of(call: str | None, forward: Forward | None) -> How:
    """The one way to call a model that was said.

    Raises:
        InputError: Both were, or one is of another type.
    """
    if call is not None and not isinstance(call, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"call must be a text such as 'x, edge_index'; got {type(call).__name__}. A function "
            "goes with forward=."
        )
    if forward is not None and not callable(forward):
        raise InputError(
            f"forward must be a function (model, data) -> output; got {type(forward).__name__}. "
            "A text goes with call=."
        )
    if call is not None and forward is not None:
        raise InputError("call and forward both say how to call the model; give one of them.")
    return call if forward is None else forward


def readings(model: nn.Module, inputs: Inputs, how: How, varied: Sequence[str] = ()) -> list[Call]:
    """How a model wants its graph, by the names of its arguments; two where both may be meant.

    An argument named like an attribute of the data (x, edge_index, batch, …) receives it; `x_dict`
    and the like receive what a `HeteroData` holds of each type; a lone required argument of another
    name receives the whole graph. A model without a `forward` is called as
    decode(encode(…), edge_label_index). A dictionary of arguments is handed on as it is.

    Args:
        model: Any module that takes a graph.
        inputs: A graph with what will be passed.
        how: What its author said of it.
        varied: Names of what varies, which the model is to read.

    Raises:
        InputError: A required argument cannot be filled, or the text of a call does not fit.
    """
    if isinstance(how, Call):
        return [how]
    if isinstance(how, str):
        return [_written(model, inputs, how)]
    if how is not None:
        return [Call(lambda model, inputs: how(model, inputs.restored()), "forward(model, data)")]
    if inputs.called:
        names = ", ".join(f"{name}=…" for name in inputs.restored())
        return [Call(lambda model, inputs: model(**inputs.restored()), f"model({names})")]
    if not _has_forward(model) and all(hasattr(model, name) for name in ("encode", "decode")):
        return [_autoencoder(model, inputs, varied)]
    some, more = _arguments(model, model.forward, inputs, varied)
    return [_call_of(model, each) for each in ((some,) if some == more else (some, more))]


def _written(model: nn.Module, inputs: Inputs, text: str) -> Call:
    """The call of a text: names of arguments and of the graph's attributes; never evaluated."""
    written = text.strip() if text.strip().startswith("model(") else f"model({text})"
    try:
        parsed = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        parsed = None
    if not isinstance(parsed, ast.Call) or ast.unparse(parsed.func) != "model":
        parsed = ast.Call(ast.Name("model"), [ast.Starred(ast.Name("?"))], [])  # refused below
    arguments = [(None, node) for node in parsed.args]
    arguments += [(keyword.arg or "**", keyword.value) for keyword in parsed.keywords]
    found: list[_Argument] = []
    for name, node in arguments:
        said = ast.unparse(node)
        if isinstance(node, ast.Constant):
            found.append(_Argument(name, said, lambda inputs, value=node.value: value))
            continue
        if name == "**" or not isinstance(node, ast.Name | ast.Attribute):
            raise InputError(
                f"call='{text}' must name arguments and the graph's attributes, as in "
                "call='x, edge_index, edge_weight=edge_attr'. Anything else goes with "
                "forward=lambda model, data: model(...)."
            )
        source = said.removeprefix("data.")
        value = Inputs.restored if said == "data" else _source(model, source, inputs)
        if value is None:
            raise InputError(
                f"call='{text}' names '{source}', which data lacks."
                f"{suggestion(source, inputs.keys)} It has {listing(inputs.keys)}."
            )
        found.append(
            _Argument(name, f"data.{source}" if name not in (None, source) else said, value)
        )
    call = _call_of(model, found)
    try:
        positional = [each for each in found if each.name is None]
        inspect.signature(model.forward).bind(*positional, **{a.name: a for a in found if a.name})
    except TypeError as error:
        raise InputError(
            f"call='{text}' does not fit {type(model).__name__}.forward"
            f"{inspect.signature(model.forward)}: {error}."
        ) from error
    return call


def _call_of(model: nn.Module, arguments: list[_Argument]) -> Call:
    parameters = _parameters(model.forward)
    positional = sum(each.name is None for each in arguments)
    given = {p.name for p in parameters[:positional]} | {each.name for each in arguments}
    left = tuple(p.name for p in parameters if p.name not in given)
    text = f"model({', '.join(map(str, arguments))})"
    return Call(lambda model, inputs: _applied(model, arguments, inputs), text, left)


def _autoencoder(model: nn.Module, inputs: Inputs, varied: Sequence[str]) -> Call:
    encode, _ = _arguments(model, cast("Any", model).encode, inputs, varied)
    decode, _ = _arguments(model, cast("Any", model).decode, inputs, varied, given=1)

    def run(model: Any, inputs: Inputs) -> Any:
        encoded = _applied(model.encode, encode, inputs)
        return _applied(lambda *a, **k: model.decode(encoded, *a, **k), decode, inputs)

    inner = f"model.encode({', '.join(map(str, encode))})"
    return Call(run, f"model.decode({', '.join([inner, *map(str, decode)])})")


def _applied(function: Callable[..., Any], arguments: list[_Argument], inputs: Inputs) -> Any:
    named = {each.name: each.value(inputs) for each in arguments if each.name is not None}
    return function(*(each.value(inputs) for each in arguments if each.name is None), **named)


def _has_forward(model: nn.Module) -> bool:
    """Whether its forward says what it takes: that of PyG's autoencoders takes anything."""
    unwritten = getattr(model.forward, "__name__", "") == "_forward_unimplemented"
    return not unwritten and bool(_parameters(model.forward))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a traced one has none
        return []
    return [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _arguments(
    model: nn.Module,
    function: Callable[..., Any],
    inputs: Inputs,
    varied: Sequence[str],
    *,
    given: int = 0,
) -> tuple[list[_Argument], list[_Argument]]:
    """What a method is to be handed, and the same with what its author may pass as well.

    Args:
        model: Whose method it is.
        function: The method.
        inputs: A graph with what will be passed.
        varied: Names of what varies.
        given: How many of the first arguments are filled otherwise.
    """
    parameters = _parameters(function)[given:]
    required = [p for p in parameters if p.default is p.empty]
    if len(required) == 1 and _takes_whole_graph(model, required[0], inputs):
        whole = [_Argument(None, "data", Inputs.restored)]
        return whole, whole
    sure: list[_Argument] = []
    also: list[_Argument] = []
    for parameter in parameters:
        source, doubtful = _source_of(parameter, parameters, inputs, varied)
        value = None if source is None else _source(model, source, inputs)
        if value is not None and source is not None:
            apart = len(also) < parameters.index(parameter)  # an argument before it is left out
            by_name = parameter.kind is not parameter.POSITIONAL_ONLY and (
                apart or source != parameter.name or parameter.kind is parameter.KEYWORD_ONLY
            )
            text = source if source == parameter.name else f"data.{source}"
            argument = _Argument(parameter.name if by_name else None, text, value)
            also.append(argument)
            if not doubtful:
                named = (
                    len(sure) < len(also) - 1 and parameter.kind is not parameter.POSITIONAL_ONLY
                )
                sure.append(_Argument(parameter.name, text, value) if named else argument)
        elif parameter.default is parameter.empty:
            raise InputError(
                f"{type(model).__name__}.{function.__name__} needs '{parameter.name}', which data "
                f"lacks. data has {listing(sorted(inputs.keys))}. Say {HOW_TO_CALL}"
            )
    if not also:
        raise InputError(
            f"{type(model).__name__} does not say what its forward takes. Say {HOW_TO_CALL}"
        )
    return sure, also


def _takes_whole_graph(model: nn.Module, parameter: inspect.Parameter, inputs: Inputs) -> bool:
    annotation = parameter.annotation
    words = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    is_data = isinstance(annotation, type) and issubclass(annotation, BaseData)
    if is_data or words.split(".")[-1] in ("Data", "HeteroData", "Batch"):
        return True
    return parameter.name == "batch" or _source(model, parameter.name, inputs) is None


def _source_of(
    parameter: inspect.Parameter,
    parameters: list[inspect.Parameter],
    inputs: Inputs,
    varied: Sequence[str],
) -> tuple[str | None, bool]:
    """The attribute that an argument is handed, and whether its author may leave it out."""
    name = parameter.name
    if parameter.default is parameter.empty or name in varied:
        return name, False
    by_type = name if name.endswith("_dict") else f"{name}_dict"  # as `to_hetero` names them
    there = inputs.get(name) is not None or bool(_by_type(inputs, by_type))
    if there and name not in LABELS:
        return name, name not in GRAPH_ARGUMENTS
    weights = inputs.get("edge_attr")
    alone = name == "edge_weight" and all(p.name != "edge_attr" for p in parameters)
    if alone and isinstance(weights, Tensor) and weights.shape[1:] in ((), (1,)):
        return "edge_attr", True
    return None, False


def _source(model: nn.Module, name: str, inputs: Inputs) -> Filler | None:
    """What a name stands for in any graph; None where it stands for nothing.

    Raises:
        InputError: It is an adjacency matrix that would have to be made up.
    """
    if inputs.get(name) is not None:
        return lambda inputs: inputs.get(name)
    by_type = name if name.endswith("_dict") else f"{name}_dict"  # as `to_hetero` names them
    if _by_type(inputs, by_type):
        return lambda inputs: _by_type(inputs, by_type)
    if name == "adj_t" and "edge_index" in inputs:
        return _SparseAdjacency()
    if name == "adj" and "edge_index" in inputs:
        raise InputError(ADJACENCY.format(name=type(model).__name__))
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
        fits = is_plain(value) and value.is_floating_point() and value.layout == torch.strided
        return {place: value} if fits else {}
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
