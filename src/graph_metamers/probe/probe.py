"""Run a model up to a layer and stop there, with the gradient reaching the graph."""

import copy
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.probe.checks import check_data, check_model
from graph_metamers.probe.forward import HOW_TO_CALL, Forward, bind_forward, first_tensor, tensors
from graph_metamers.probe.layers import (
    Call,
    Layer,
    LayerFunction,
    Layers,
    Target,
    find_targets,
    list_layers,
)
from graph_metamers.probe.preserve import preserved
from graph_metamers.probe.trace import Tracer
from graph_metamers.storage import graph_tensors


class Probe:
    """A trained model, opened for reading on a graph; closed, it is exactly as it was found.

    Args:
        model: Any module that takes a graph.
        data: The reference graph.
        forward: How to call the model, `(model, data) -> output`, where the names of its
            arguments do not say so.

    Raises:
        InputError: The model or the graph cannot be used; see `check_model` and `check_data`.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.nn import GCNConv
        >>> data = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> with Probe(GCNConv(3, 2), data) as probe:
        ...     (activation,) = probe.activations(probe.targets("output"), data)
        >>> activation.shape
        torch.Size([3, 2])
    """

    def __init__(self, model: nn.Module, data: Data, forward: Forward | None = None) -> None:
        check_model(model)
        # A compiled wrapper hides the modules inside; the original computes the same.
        self.model: nn.Module = getattr(model, "_orig_mod", model)
        self.data = data
        check_data(data, self.model)
        self._call = forward or bind_forward(self.model, data)
        self._overwritten: list[str] = []  # tensors that the forward changes in place
        self._stack = ExitStack()
        self._tracers: dict[bool, Tracer] = {}

    def __enter__(self) -> "Probe":
        with ExitStack() as stack:
            stack.enter_context(preserved(self.model))
            self.data = _ordinary(self.data)
            self.calls = self._trace()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tracers.clear()
        self._stack.__exit__(kind, error, traceback)

    @property
    def layers(self) -> Layers:
        """What can be addressed, in order, with shapes."""
        return list_layers(self.model, self.calls)

    def targets(self, layer: Layer) -> list[Target]:
        """The calls that `layer` means; see `graph_metamers.layers` for how they are named."""
        return find_targets(layer, self.model, self.calls)

    def output(self, data: Data) -> Tensor:
        """What the model returns for a graph: the floating-point tensor in it."""
        returned = self._forward(self.model, data)
        rows = [
            part for part in tensors(returned) if part.dim() > 1 and len(part) == len(data["x"])
        ]
        if len(rows) > 1:
            shapes = ", ".join(str(list(part.shape)) for part in rows)
            raise InputError(
                f"{type(self.model).__name__} returns {len(rows)} tensors with a row for each node "
                f"({shapes}). Say which holds the class scores, for instance the first: "
                "forward=lambda model, data: model(...)[0]; on the command line let build() return "
                "a model that returns it alone."
            )
        output = first_tensor(returned)
        if output is None:
            raise InputError(
                f"{type(self.model).__name__} must return a floating-point tensor; it returned "
                "none. Pick it out with forward=lambda model, data: model(...)[...], or build "
                "a model that returns it."
            )
        if output.dim() == 0:
            raise InputError(
                f"{type(self.model).__name__} must return a row for each node, or for each graph; "
                "it returned a single number. Pick the class scores out with "
                "forward=lambda model, data: model(...)[...], or build a model that returns them."
            )
        return output

    def activations(self, targets: list[Target], data: Data) -> list[Tensor]:
        """Activations at `targets`, in their order; the forward ends where the last is known."""
        waiting = {target.call: i for i, target in enumerate(targets) if target.call is not None}
        found: dict[int, Tensor] = {}

        def see(name: str, index: int, tensor: Tensor) -> None:
            place = waiting.get((name, index))
            if place is None:
                return
            if len(found) == len(waiting) - 1:
                found[place] = tensor
                raise _Reached
            # The forward goes on and may overwrite the tensor in place.
            found[place] = tensor.clone()

        if waiting:
            tracer = self._tracer(functions=any("F." in name for name, _ in waiting))
            try:
                tracer.follow(lambda: self._forward(self.model, data), see)
            except _Reached:
                pass
            else:
                missing = ", ".join(targets[i].label for i in waiting.values() if i not in found)
                raise InputError(
                    f"The forward ended before {missing} was reached: what "
                    f"{type(self.model).__name__} computes changes with the graph's features."
                )
        for i, target in enumerate(targets):
            if target.function is not None:
                found[i] = self._evaluate(target.function, target.label, data)
        return [found[i] for i in range(len(targets))]

    def _evaluate(self, function: LayerFunction, label: str, data: Data) -> Tensor:
        value = first_tensor(function(self.model, with_copies(data, self._overwritten)))
        if value is None:
            raise InputError(
                f"The layer function '{label}' must return a floating-point tensor; "
                "it returned none."
            )
        return value

    def _tracer(self, *, functions: bool) -> Tracer:
        if functions not in self._tracers:
            self._tracers[functions] = self._stack.enter_context(
                Tracer(self.model, functions=functions)
            )
        return self._tracers[functions]

    def _forward(self, model: nn.Module, data: Data) -> Any:
        """Call the model on a graph of its own: what it sets there reaches nobody else."""
        return self._call(model, with_copies(data, self._overwritten))

    @torch.no_grad()
    def _trace(self) -> list[Call]:
        calls: list[Call] = []
        alive: list[Tensor] = []  # so that no two tensors share an id while the forward runs

        def see(name: str, index: int, tensor: Tensor) -> None:
            # An in-place activation returns the same tensor at a later version.
            identity = (id(tensor), tensor._version)  # pyright: ignore[reportPrivateUsage]
            calls.append(Call(name, index, tuple(tensor.shape), identity))
            alive.append(tensor)

        graph = with_copies(self.data, list(graph_tensors(self.data)))
        before = {key: value._version for key, value in graph_tensors(graph).items()}  # pyright: ignore[reportPrivateUsage]
        given = dict(graph_tensors(graph))
        with Tracer(self.model, functions=True) as tracer:
            try:
                tracer.follow(lambda: self._call(self.model, graph), see)
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"{type(self.model).__name__} must run on the reference graph; it raised "
                    f"{type(error).__name__}: {str(error).strip()}. Hand in a graph like those "
                    f"that it was trained on, or say {HOW_TO_CALL}"
                ) from error
        self._overwritten = [
            key
            for key, value in given.items()
            if value._version != before[key]  # pyright: ignore[reportPrivateUsage]
        ]
        return calls


def with_copies(data: Data, names: list[str]) -> Data:
    """The same graph, in which some tensors are copies; the others are shared."""
    graph = copy.copy(data)
    for name in names:
        graph[name] = graph[name].clone()
    return graph


def _ordinary(data: Data) -> Data:
    """The same graph; what was made in inference mode, where no gradient may pass, is copied."""
    made = {
        key: value.clone()
        for key, value in data.to_dict().items()
        if isinstance(value, Tensor) and value.is_inference()
    }
    return copy.copy(data).update(made) if made else data


class _Reached(BaseException):
    """Ends a forward at the layer; not an Exception, so that no model catches it."""


def layers(model: nn.Module, data: Data, *, forward: Forward | None = None) -> Layers:
    """The layers of a trained model that a metamer can be built for, with their shapes.

    A layer is addressed by its dotted module name (`conv1`), `act:1` for the second call of a
    module that is called several times, `F.relu:0` for the first call of an activation
    *function*, `output` for what the model returns, a function `(model, data) -> activation`, or
    a list of these. Modules inside PyG's own layers are not listed; their dotted names work.

    Args:
        model: Any module that takes a graph. It is left exactly as found.
        data: A graph as PyG `Data`, with `x` [nodes, features].
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        A tuple of `LayerInfo(name, shape)` that prints readably.

    Raises:
        InputError: The model or the graph cannot be used.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.nn import GCN
        >>> data = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> layers(GCN(in_channels=3, hidden_channels=8, num_layers=2, out_channels=2), data)
        convs.0 [3, 8] · act [3, 8] · convs.1 [3, 2]
    """
    with Probe(model, data, forward) as probe:
        return probe.layers
