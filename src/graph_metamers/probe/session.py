"""A model opened once on its inputs: its call, its layers, its activations and its output."""

import math
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from graph_metamers.errors import InputError, listing, told
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.probe.call import (
    HOW_TO_CALL,
    Call,
    Forward,
    How,
    how_of,
    named_tensors,
    readings,
)
from graph_metamers.probe.checks import check_inputs, check_model
from graph_metamers.probe.layers import (
    Layer,
    LayerFunction,
    Layers,
    Recorded,
    Target,
    find_targets,
    list_layers,
)
from graph_metamers.probe.trace import Tracer
from graph_metamers.probe.twin import original_of, own_randomness, put_back, twin_of, without_hooks
from graph_metamers.task import Task, as_task, infer_task
from graph_metamers.units import Units

REMEDY = (
    "Narrow what varies, or its bounds, to what the model takes. See the call with "
    "graph_metamers.summary(model, data)."
)


class Session:
    """A trained model, opened for reading on a private copy; the model itself is never entered.

    Args:
        model: Any module that takes a graph.
        data: The reference: a `Data`, `HeteroData` or `Batch`, a list of graphs, or a dictionary
            of the arguments that the model is called with.
        how: How to call the model: a function `(model, data) -> output`, or the call as text.
        task: How outputs are compared; by default read from the output and the labels.
        varied: Names of the inputs that vary.

    Attributes:
        model: The private copy, in evaluation mode, with frozen weights.
        inputs: The reference.
        calls: What the forward calls, in order.
        call: How the model is called.
        name: The model's class.

    Raises:
        InputError: The model or the graph cannot be used; see `check_model` and `check_inputs`.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.nn import GCNConv
        >>> data = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> with Session(GCNConv(3, 2), data) as session:
        ...     (activation,) = session.activations(session.targets("output"), session.inputs)
        >>> activation.shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        model: nn.Module,
        data: Graph | Inputs,
        how: How = None,
        task: Task | str | None = None,
        varied: Sequence[str] = (),
    ) -> None:
        check_model(model)
        self._original = original_of(model)
        self.name = type(self._original).__name__
        self.inputs = Inputs.of(data)
        check_inputs(self.inputs, self._original)
        self._task = None if task is None else as_task(task)
        self._how, self._varied = how, varied
        self._overwritten: list[str] = []  # inputs that the forward changes in place
        self._stack = ExitStack()
        self._tracers: dict[bool, Tracer] = {}

    def __enter__(self) -> "Session":
        with ExitStack() as stack:
            stack.enter_context(own_randomness())
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            self.model = twin_of(self._original)
            self.inputs = _ordinary(self.inputs)
            self.call = self._chosen_call()
            self.calls = self._trace()
            self._drop_idle_hooks()
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

    # ------------------------------------------------------------------ layers

    @property
    def layers(self) -> Layers:
        """What can be addressed, in order, with shapes."""
        return list_layers(self.model, self.calls)

    def targets(self, layer: Layer) -> list[Target]:
        """The tensors that `layer` means; see `graph_metamers.layers` for how they are named."""
        targets: list[Target] = []
        for target in find_targets(layer, self._original, self.calls):
            if target.function is None:
                targets.append(target)
                continue
            targets += [
                Target(target.label + place, place, function=target.function)
                for place in self._evaluated(target.function, target.label, self.inputs)
            ]
        return targets

    def activations(self, targets: list[Target], inputs: Inputs) -> list[Tensor]:
        """Activations at `targets`, in their order; the forward ends where the last is known."""
        waiting: dict[tuple[str, int], list[int]] = {}
        for i, target in enumerate(targets):
            if target.call is not None:
                waiting.setdefault(target.call, []).append(i)
        found: dict[int, Tensor] = {}
        seen: set[tuple[str, int]] = set()

        def see(name: str, index: int, tensors: dict[str, Tensor]) -> None:
            if (name, index) not in waiting:
                return
            seen.add((name, index))
            last = len(seen) == len(waiting)
            for i in waiting[name, index]:
                if targets[i].place in tensors:
                    h = tensors[targets[i].place]
                    # The forward goes on and may overwrite the tensor in place.
                    found[i] = h if last else h.clone()
            if last:
                raise _Reached

        if waiting:
            names = {name for name, _ in waiting}
            tracer = self._tracer(functions=any("F." in name for name in names))
            with suppress(_Reached):
                tracer.follow(lambda: self._run(inputs), see, names)
        for i, target in enumerate(targets):
            if target.function is not None:
                values = self._evaluated(target.function, target.label, inputs)
                found |= {i: values[target.place]} if target.place in values else {}
        missing = [target.label for i, target in enumerate(targets) if i not in found]
        if missing:
            raise InputError(
                f"The forward ended before {', '.join(missing)} was reached: what {self.name} "
                "computes changes with the graph that it is given."
            )
        return [found[i] for i in range(len(targets))]

    def units(self, target: Target, h: Tensor) -> Units:
        """What the rows of an activation stand for.

        Where a batch has as many nodes as edges, their numbers in one of its graphs tell.
        """
        found = self.inputs.readings(len(h) if h.dim() else 1, target.hint)
        if len(found) < 2 or self.inputs.graphs == 1 or not self.inputs.divisible:
            return self.inputs.units(h, target.hint)
        for place in range(self.inputs.graphs):
            counts = [int((units.graph == place).sum()) for units in found]
            if len(set(counts)) == len(counts):
                with torch.no_grad():
                    (alone,) = self.activations([target], self.inputs.subset([place]))
                rows = len(alone) if alone.dim() else 1
                return found[counts.index(rows)] if rows in counts else found[0]
        return found[0]

    # ------------------------------------------------------------------ the output

    @property
    def task(self) -> Task:
        """How outputs are compared: as was asked, or as the output and the labels say."""
        if self._task is None:
            with torch.no_grad():
                output = self.output(self.inputs)
            pairs = self.output_units(output).level == "pair"
            self._task = infer_task(output, self.labels, pairs=pairs)
        return self._task

    @property
    def labels(self) -> Tensor | None:
        """The labels of the output's rows, where the data holds some."""
        place = self._output_place()
        rows = self._output_shapes[place][:1]
        fitting = [key for key in self._label_keys if self.inputs[key].shape[:1] == rows]
        named = [key for key in fitting if f"[{self.inputs.kind_of(key)}]" == place[-len(key) :]]
        return self.inputs[(named or fitting)[0]] if fitting else None

    def output(self, inputs: Inputs) -> Tensor:
        """What the model returns: of several tensors the one whose rows the labels are of."""
        return next(iter(self.outputs(inputs).values()))

    def outputs(self, inputs: Inputs) -> dict[str, Tensor]:
        """All tensors that the model returns by their place, the one with its answers first."""
        found = named_tensors(self._run(inputs))
        place = self._output_place()
        if place not in found:
            raise InputError(
                f"{self.name} must return the same tensors for every graph; it returned "
                f"{listing(found)} and not '{place}'."
            )
        return {place: found.pop(place)} | found

    def output_units(self, output: Tensor) -> Units:
        """What the rows of the output stand for: pairs, where it has as many rows as these."""
        hint = self._output_place().rpartition("[")[2].rstrip("]")
        found = self.inputs.readings(len(output) if output.dim() else 1, hint)
        pairs = [units for units in found if units.level == "pair"]
        return pairs[0] if pairs else self.inputs.units(output, hint)

    @property
    def _label_keys(self) -> list[str]:
        return [key for key in self.inputs.keys if key.rpartition(".")[2] in ("y", "edge_label")]

    @property
    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        return next(call.shapes for call in reversed(self.calls) if call.name == "")

    def _output_place(self) -> str:
        """Where in what the model returns its answers stand."""
        if not self.calls or self.calls[-1].name != "":
            raise InputError(
                f"{self.name} must return a floating-point tensor; it returned none. Pick it out "
                "with forward=lambda model, data: model(...)[...], or build a model "
                "that returns it."
            )
        shapes = self._output_shapes
        for key in self._label_keys:
            kind, y = self.inputs.kind_of(key), self.inputs[key]
            fitting = [place for place, shape in shapes.items() if shape[:1] == y.shape[:1]]
            named = [place for place in fitting if kind and place.endswith(f"[{kind}]")]
            of_labels = [p for p in named or fitting if math.prod(shapes[p][1:]) == _columns(y)]
            if fitting:
                return (of_labels or named or fitting)[0]
        return next(iter(shapes))

    # ------------------------------------------------------------------ running the model

    def _evaluated(self, function: LayerFunction, label: str, inputs: Inputs) -> dict[str, Tensor]:
        with told(
            f"The layer function '{label}' must run on any graph",
            "It is called as function(model, data) with a copy of the model.",
        ):
            found = named_tensors(function(self.model, self._copied(inputs).restored()))
        if not found:
            raise InputError(
                f"The layer function '{label}' must return a floating-point tensor; "
                "it returned none."
            )
        return found

    def _tracer(self, *, functions: bool) -> Tracer:
        if functions not in self._tracers:
            self._tracers[functions] = self._stack.enter_context(
                Tracer(self.model, functions=functions)
            )
        return self._tracers[functions]

    def _run(self, inputs: Inputs) -> Any:
        """Call the model on a graph of its own: what it sets there reaches nobody else."""
        with told(f"{self.name} must run on {self._said(inputs)}", REMEDY):
            return self.call.run(self.model, self._copied(inputs))

    def _said(self, inputs: Inputs) -> str:
        """Which graph it is, for sentences."""
        other = [k for k in inputs.keys if k not in self.inputs or inputs[k] is not self.inputs[k]]
        return f"graphs with other values of {listing(other)}" if other else "the reference graph"

    def _copied(self, inputs: Inputs) -> Inputs:
        changed = [key for key in self._overwritten if key in inputs]
        return inputs.replaced({key: inputs[key].clone() for key in changed})

    @torch.no_grad()
    def _chosen_call(self) -> Call:
        """The one way to call the model; where there are two with other results, it is asked for.

        Raises:
            InputError: Both run and give other results, or none can be made up.
        """
        found = readings(self._original, self.inputs, self._how, self._varied)
        ran: list[tuple[Call, dict[str, Tensor]]] = []
        for each in found if len(found) > 1 else ():
            with suppress(InputError), told("", ""):  # it is then none
                ran.append((each, named_tensors(each.run(self.model, self.inputs.cloned()))))
        if len(ran) < 2:
            return ran[0][0] if ran else found[0]
        (some, less), (more, others) = ran
        if less.keys() != others.keys() or any(
            not torch.equal(h, others[k]) for k, h in less.items()
        ):
            raise InputError(
                f"{self.name} can be called in two ways, with other results: "
                f"call='{some.asked}' or call='{more.asked}'. Say which one is yours, as it was "
                "trained; forward=lambda model, data: model(...) says anything else."
            )
        return some

    @torch.no_grad()
    def _trace(self) -> list[Recorded]:
        calls: list[Recorded] = []
        alive: list[Tensor] = []  # so that no two tensors share an id while the forward runs

        def see(name: str, index: int, tensors: dict[str, Tensor]) -> None:
            # An in-place activation returns the same tensor at a later version.
            identity = tuple((id(t), t._version) for t in tensors.values())  # pyright: ignore[reportPrivateUsage]
            shapes = {place: tuple(tensor.shape) for place, tensor in tensors.items()}
            calls.append(Recorded(name, index, shapes, identity))
            alive.extend(tensors.values())

        given = self.inputs.cloned()
        before = {key: given[key]._version for key in given.keys}  # pyright: ignore[reportPrivateUsage]
        tensors = {key: given[key] for key in before}
        with (
            told(
                f"{self.name} must run on the reference graph",
                f"Hand in a graph like those that it was trained on, or say {HOW_TO_CALL}",
            ),
            Tracer(self.model, functions=True) as tracer,
        ):
            tracer.follow(lambda: self.call.run(self.model, given), see)
            if not tracer.entered:
                raise InputError(
                    f"forward must call the model that it is handed, a copy of {self.name}, as in "
                    "forward=lambda model, data: model(data.x, data.edge_index); it called another."
                )
        self._overwritten = [
            key
            for key, value in tensors.items()
            if value._version != before[key]  # pyright: ignore[reportPrivateUsage]
        ]
        return calls

    @torch.no_grad()
    def _drop_idle_hooks(self) -> None:
        """The user's hooks that only watch are taken off the copy: they would fill its memory."""
        with_hooks = named_tensors(self._run(self.inputs))
        taken = without_hooks(self.model)
        if not taken:
            return
        without = named_tensors(self._run(self.inputs))
        same = with_hooks.keys() == without.keys() and all(
            torch.equal(h, without[place]) for place, h in with_hooks.items()
        )
        if not same:
            put_back(taken)


def _columns(y: Tensor) -> int:
    """How many columns answers have: one a class of whole numbers, or one a column of labels."""
    if y.is_floating_point() or y.dim() != 1 or y.numel() == 0:
        return math.prod(y.shape[1:])
    return int(y.max()) + 1


def _ordinary(inputs: Inputs) -> Inputs:
    """The same, without tensors of another class or made in inference mode, nor conjugated ones."""
    made = {
        key: inputs[key].detach().clone().as_subclass(Tensor).resolve_conj()
        for key in inputs.keys
        if inputs[key].is_inference() or type(inputs[key]) is not Tensor or inputs[key].is_conj()
    }
    return inputs.replaced(made) if made else inputs


class _Reached(BaseException):
    """Ends a forward at the layer; not an Exception, so that no model catches it."""


def layers(
    model: nn.Module, data: Graph, *, call: str | None = None, forward: Forward | None = None
) -> Layers:
    """The layers of a trained model that a metamer can be built for, with their shapes.

    A layer is addressed by its dotted module name (`conv1`) or the module itself (`model.conv1`),
    `act:1` for the second call of a module that is called several times, `F.relu:0` for the first
    call of an activation *function*, `output` for what the model returns, a function
    `(model, data) -> activation`, or a list of these. A layer that returns several tensors means
    all of them; `conv1[paper]` is one. Modules inside PyG's own layers are not listed; their
    dotted names work.

    Args:
        model: Any module that takes a graph. It is never entered.
        data: A graph as PyG `Data`, `HeteroData` or `Batch`, a list of graphs, or a dictionary of
            the arguments that the model is called with.
        call: The call as text, as `graph_metamers.summary` shows it.
        forward: The call as a function `(model, data) -> output`.

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
    with Session(model, data, how_of(call, forward)) as session:
        return session.layers
