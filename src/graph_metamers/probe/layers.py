"""Which layers a model has on a graph, and which one a user means."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from graph_metamers.errors import InputError, listing, suggestion

LayerFunction = Callable[[nn.Module, Any], Any]
OneLayer = str | nn.Module | LayerFunction
Layer = OneLayer | Sequence[OneLayer]

OUTPUT = "output"


@dataclass(frozen=True)
class LayerInfo:
    """One tensor of a layer that can be addressed: its name, and the shape of its activation."""

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
class Recorded:
    """One recorded call: name, call index, and the tensors that it returned.

    Attributes:
        name: Dotted name of the module or function; empty for the whole forward.
        index: Which of the calls of that name it is.
        shapes: The shapes of its tensors by their place in what it returned; the empty place
            where it returned one tensor.
        identity: The same for two calls that returned the very same tensors, unchanged between.
    """

    name: str
    index: int
    shapes: dict[str, tuple[int, ...]]
    identity: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Target:
    """One tensor of a layer that was found: a call to wait for, or a function to evaluate.

    Attributes:
        label: How it is named in rows: `conv1`, `act:1`, `conv1[author]`.
        place: Its place among the tensors of the call; empty where there is one.
        call: Name and index of the call, or None.
        function: The function, or None.
    """

    label: str
    place: str = ""
    call: tuple[str, int] | None = None
    function: LayerFunction | None = None

    @property
    def hint(self) -> str:
        """The node or edge type that the tensor stands under, if any."""
        return self.place.rpartition("[")[2].rstrip("]")


def list_layers(model: nn.Module, calls: list[Recorded]) -> Layers:
    """The calls worth addressing, named as a user writes them; one entry for each tensor.

    Left out, though a dotted name still reaches them: what lies inside PyG's own layers, dropout
    and identity. Of calls that return the very same tensors the outermost stands for all.
    """
    modules = dict(model.named_modules())
    shown: dict[tuple[tuple[int, int], ...], Recorded] = {}
    for call in calls:
        # The model itself comes last; a layer that is also the output keeps its own name.
        if not _hidden(call.name, modules) and not (call.name == "" and call.identity in shown):
            shown[call.identity] = call
    return Layers(
        LayerInfo(label(call.name, call.index, calls) + place, shape)
        for call in calls
        if shown.get(call.identity) is call
        for place, shape in call.shapes.items()
    )


def _hidden(name: str, modules: dict[str, nn.Module]) -> bool:
    parts = name.split(".")
    parents = [modules.get(".".join(parts[:i])) for i in range(len(parts)) if name]
    skipped = isinstance(modules.get(name), nn.Identity | nn.modules.dropout._DropoutNd)  # pyright: ignore[reportPrivateUsage]
    return skipped or any(_is_pyg_layer(parent) for parent in parents)


def _is_pyg_layer(module: nn.Module | None) -> bool:
    path = type(module).__module__
    return path.startswith("torch_geometric.nn.") and not path.startswith(
        (
            "torch_geometric.nn.models.",
            "torch_geometric.nn.sequential",
            "torch_geometric.nn.module_dict",
        )
    )


def label(name: str, index: int, calls: Iterable[Recorded]) -> str:
    """`conv1`, or `act:1` for the second call of something that is called more than once."""
    if name == "":
        return OUTPUT
    times = sum(call.name == name for call in calls)
    return name if times == 1 else f"{name}:{index}"


def find_targets(layer: Layer, model: nn.Module, calls: list[Recorded]) -> list[Target]:
    """Turn what a user wrote into the tensors to wait for.

    Args:
        layer: A name, a module of the model, a function, or a list of these.
        model: The user's own model.
        calls: What its forward was seen to call.

    Raises:
        InputError: The layer is unknown, ambiguous, never called, named twice, or of a wrong type.
    """
    if _names_one(layer):
        layer = [layer]  # pyright: ignore[reportAssignmentType]
    if not isinstance(layer, Sequence) or not layer or not all(map(_names_one, layer)):
        raise InputError(
            f"layer must be a name, a module of the model, a function (model, data) -> activation, "
            f"or a list of these; got {layer!r}. See graph_metamers.layers(model, data)."
        )
    found = [target for one in layer for target in _find_targets(one, model, calls)]
    targets = [_distinct(target, i, found) for i, target in enumerate(found)]
    repeated = [name for name, n in Counter(t.label for t in targets).items() if n > 1]
    if repeated:
        raise InputError(f"layer names {repeated[0]} twice; name each layer once.")
    return targets


def _distinct(target: Target, place: int, targets: list[Target]) -> Target:
    """Functions of one name, such as lambdas, are told apart by their place."""
    same = [t for t in targets if t.label == target.label and t.function is not target.function]
    if target.function is None or not same:
        return target
    return replace(target, label=f"{target.label}:{place}")


def _names_one(layer: Any) -> bool:
    return isinstance(layer, str) or callable(layer)


def _find_targets(layer: OneLayer, model: nn.Module, calls: list[Recorded]) -> list[Target]:
    modules = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        names = [name for name, module in model.named_modules() if module is layer]
        if not names or not names[0]:
            raise InputError(
                f"layer={type(layer).__name__} is no module of {type(model).__name__}. Name one of "
                f"{listing(list_layers(model, calls).names)}."
            )
        layer = names[0]
    if not isinstance(layer, str):
        return [Target(getattr(layer, "__name__", type(layer).__name__), function=layer)]
    known = list_layers(model, calls).names
    name, index, wanted = (layer, None, "") if layer in modules else _parse(layer)
    if name == OUTPUT and name not in modules:
        name = ""
    elif name in modules:  # the same module under a second name goes by its first
        name = next(n for n, module in model.named_modules() if module is modules[name])

    found = {call.index: call for call in calls if call.name == name}
    if not found and name in modules:
        raise InputError(
            f"layer='{layer}' is part of {type(model).__name__}, but its forward never calls it "
            f"or it returns no floating-point tensor. Choose among {listing(known)}."
        )
    if not layer or not found or (index is not None and index not in found):
        raise InputError(
            f"layer='{layer}' is not a layer of {type(model).__name__}."
            f"{suggestion(layer, known)} It has {listing(known)}; "
            "see graph_metamers.layers(model, data)."
        )
    if index is None and len(found) > 1:
        choices = listing(f"{name}:{i}" for i in found)
        raise InputError(
            f"layer='{layer}' is ambiguous: {type(model).__name__} calls it {len(found)} times. "
            f"Choose one of {choices}."
        )
    call = next(iter(found.values())) if index is None else found[index]
    places = [place for place in call.shapes if wanted in ("", place)]
    if not places:
        raise InputError(
            f"layer='{layer}': '{layer.removesuffix(wanted)}' returns no tensor named {wanted}. "
            f"It returns {listing(call.shapes)}."
        )
    text = label(name, call.index, calls)
    return [Target(text + place, place, (name, call.index)) for place in places]


def _parse(layer: str) -> tuple[str, int | None, str]:
    """`act:1[paper]` in its parts.

    >>> _parse("act:1[paper]"), _parse("conv1")
    (('act', 1, '[paper]'), ('conv1', None, ''))
    """
    name, place = re.fullmatch(r"(.*?)((?:\[[^\[\]]*\])*)", layer, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess]
    before, colon, index = name.rpartition(":")
    if colon and index.isdigit():
        return before, int(index), place
    return name, None, place
