"""Which layers a model has on a graph, and which one a user means."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError, listing, suggestion

LayerFunction = Callable[[nn.Module, Data], Tensor]
Layer = str | LayerFunction | Sequence[str | LayerFunction]

OUTPUT = "output"


@dataclass(frozen=True)
class LayerInfo:
    """One layer that can be addressed: its name, and the shape of its activation."""

    name: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {list(self.shape)}"


class Layers(tuple[LayerInfo, ...]):
    """The layers of a model on a graph, in the order in which they are computed."""

    __slots__ = ()

    @property
    def names(self) -> list[str]:
        """Names, as `layer=` takes them."""
        return [layer.name for layer in self]

    def __repr__(self) -> str:
        return " · ".join(str(layer) for layer in self)


@dataclass(frozen=True)
class Call:
    """One call in a forward: of which name, the how-manieth of it, what it returned.

    `identity` is the same for two calls that returned the very same tensor, unchanged between.
    """

    name: str
    index: int
    shape: tuple[int, ...]
    identity: tuple[int, int]


@dataclass(frozen=True)
class Target:
    """A layer that was found: a call to wait for, or a function to evaluate."""

    label: str
    call: tuple[str, int] | None = None
    function: LayerFunction | None = None


def list_layers(model: nn.Module, calls: list[Call]) -> Layers:
    """The calls worth addressing, named as a user writes them.

    Left out, though a dotted name still reaches them: what lies inside PyG's own layers, dropout
    and identity. Of calls that return the very same tensor the outermost stands for all.
    """
    modules = dict(model.named_modules())
    shown: dict[tuple[int, int], Call] = {}
    for call in calls:
        # The model itself comes last; a layer that is also the output keeps its own name.
        if not _hidden(call.name, modules) and not (call.name == "" and call.identity in shown):
            shown[call.identity] = call
    return Layers(
        LayerInfo(label(call.name, call.index, calls), call.shape)
        for call in calls
        if shown.get(call.identity) is call
    )


def _hidden(name: str, modules: dict[str, nn.Module]) -> bool:
    parts = name.split(".")
    parents = [modules.get(".".join(parts[:i])) for i in range(len(parts)) if name]
    skipped = isinstance(modules.get(name), nn.Identity | nn.modules.dropout._DropoutNd)  # pyright: ignore[reportPrivateUsage]
    return skipped or any(_is_pyg_layer(parent) for parent in parents)


def _is_pyg_layer(module: nn.Module | None) -> bool:
    path = type(module).__module__
    return path.startswith("torch_geometric.nn.") and not path.startswith(
        ("torch_geometric.nn.models.", "torch_geometric.nn.sequential")
    )


def label(name: str, index: int, calls: Iterable[Call]) -> str:
    """`conv1`, or `act:1` for the second call of something that is called more than once."""
    if name == "":
        return OUTPUT
    times = sum(call.name == name for call in calls)
    return name if times == 1 else f"{name}:{index}"


def find_targets(layer: Layer, model: nn.Module, calls: list[Call]) -> list[Target]:
    """Turn what a user wrote into the calls to wait for.

    Raises:
        InputError: The layer is unknown, ambiguous, never called, or of a wrong type.
    """
    if isinstance(layer, str) or callable(layer):
        return [_find_target(layer, model, calls)]
    if not isinstance(layer, Sequence) or not layer or not all(map(_names_one, layer)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"layer must be a name, a function (model, data) -> activation, or a list of these; "
            f"got {layer!r}. See graph_metamers.layers(model, data)."
        )
    targets = [_find_target(one, model, calls) for one in layer]
    return [_distinct(target, i, targets) for i, target in enumerate(targets)]


def _distinct(target: Target, place: int, targets: list[Target]) -> Target:
    """Functions of one name, such as lambdas, are told apart by their place."""
    same = [t for t in targets if t.label == target.label and t.function is not target.function]
    if target.function is None or not same:
        return target
    return replace(target, label=f"{target.label}:{place}")


def _names_one(layer: Any) -> bool:
    return isinstance(layer, str) or callable(layer)


def _find_target(layer: str | LayerFunction, model: nn.Module, calls: list[Call]) -> Target:
    if not isinstance(layer, str):
        return Target(getattr(layer, "__name__", type(layer).__name__), function=layer)
    known = list_layers(model, calls).names
    aliases = dict(model.named_modules(remove_duplicate=False))
    name, index = _parse(layer)
    if name == OUTPUT and name not in aliases:
        name = ""
    elif name in aliases:  # the same module under a second name goes by its first
        name = next(n for n, module in model.named_modules() if module is aliases[name])

    indices = [call.index for call in calls if call.name == name]
    if not indices and name in aliases:
        raise InputError(
            f"layer='{layer}' is part of {type(model).__name__}, but its forward never calls it "
            f"or it returns no floating-point tensor. Choose among {listing(known)}."
        )
    if not layer or not indices or (index is not None and index not in indices):
        raise InputError(
            f"layer='{layer}' is not a layer of {type(model).__name__}."
            f"{suggestion(layer, known)} It has {listing(known)}; "
            "see graph_metamers.layers(model, data)."
        )
    if index is None and len(indices) > 1:
        choices = listing(f"{name}:{i}" for i in indices)
        raise InputError(
            f"layer='{layer}' is ambiguous: {type(model).__name__} calls it {len(indices)} times. "
            f"Choose one of {choices}."
        )
    index = indices[0] if index is None else index
    return Target(label(name, index, calls), call=(name, index))


def _parse(layer: str) -> tuple[str, int | None]:
    name, colon, index = layer.rpartition(":")
    if colon and index.isdigit():
        return name, int(index)
    return layer, None


def duplicates(targets: list[Target]) -> list[str]:
    """Labels that stand more than once in a list of targets."""
    return [name for name, times in Counter(t.label for t in targets).items() if times > 1]
