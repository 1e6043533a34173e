"""Follow one forward: which module or activation function is running, and what it returned."""

from collections import Counter
from collections.abc import Callable, Container
from contextlib import nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from graph_metamers.probe.call import named_tensors

_INPLACE_TOO = {"relu", "elu", "selu", "celu", "leaky_relu", "tanh", "sigmoid"}
ACTIVATION_FUNCTIONS = frozenset(
    {"relu6", "rrelu", "prelu", "gelu", "silu", "mish", "softplus", "softsign", "hardtanh"}
    | {"hardswish", "hardsigmoid"}
    | _INPLACE_TOO
    | {f"{name}_" for name in _INPLACE_TOO}
)

# (name of the call, which call of that name it is, the tensors it returned by their place)
See = Callable[[str, int, dict[str, Tensor]], None]


class Tracer:
    """Calls `see(name, index, tensors)` after every call of a module inside the context.

    A module is named by its dotted path; last comes "", what the whole forward returned (that of
    a `forward=` may pick from what the model returns). With `functions=True` the calls
    of activation functions (`F.relu(x)`, `x.tanh()`) are seen too, as "F.relu" behind the path of
    the module that calls them; those inside PyTorch's and PyG's own modules are theirs.

    Args:
        model: The model to follow. Its hooks are removed on exit.
        functions: Whether to follow activation functions as well (costs about a microsecond per
            tensor operation).
    """

    def __init__(self, model: nn.Module, *, functions: bool) -> None:
        self.names = {module: name for name, module in model.named_modules()}
        self._mode = _FunctionMode(self) if functions else None
        self._handles: list[Any] = []
        self._running: list[nn.Module] = []
        self._counts: Counter[str] = Counter()
        self._see: See = lambda name, index, tensors: None
        self._wanted: Container[str] | None = None
        self.entered = not self._may_be_seen  # whether any module of the model was called

    @property
    def _may_be_seen(self) -> bool:
        return len(self.names) > 1 and not any(
            isinstance(module, torch.jit.ScriptModule) for module in self.names
        )

    def __enter__(self) -> "Tracer":
        for module in self.names:
            if isinstance(module, torch.jit.ScriptModule):  # takes no hooks
                continue
            self._handles.append(module.register_forward_pre_hook(self._enter))
            self._handles.append(module.register_forward_hook(self._leave))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def follow(self, run: Callable[[], Any], see: See, names: Container[str] | None = None) -> Any:
        """Run a forward and hand over what each call returns. An exception of `see` ends it.

        Args:
            run: The forward.
            see: What is handed what.
            names: The calls that are handed over; None: all.
        """
        self._running, self._counts, self._see, self._wanted = [], Counter(), see, names
        with self._mode or nullcontext():
            output = run()
        self._hand_over("", output)
        return output

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        self.entered = True
        self._running.append(module)

    def _leave(self, module: nn.Module, arguments: Any, output: Any) -> None:
        self._running.pop()
        if self.names[module]:
            self._hand_over(self.names[module], output)

    def function_called(self, name: str, output: Any) -> None:
        """Hand over an activation function's output, if it is one of the user's own calls."""
        owner = self._running[-1] if self._running else None
        if name not in ACTIVATION_FUNCTIONS or _is_library(owner):
            return
        path = self.names[owner] if owner is not None else ""
        self._hand_over(f"{path}.F.{name}".lstrip("."), output)

    def _hand_over(self, name: str, output: Any) -> None:
        index = self._counts[name]
        self._counts[name] += 1
        if self._wanted is not None and name not in self._wanted:
            return
        tensors = named_tensors(output)
        if tensors:
            self._see(name, index, tensors)


def _is_library(module: nn.Module | None) -> bool:
    return type(module).__module__.startswith(("torch.nn.", "torch_geometric.nn."))


class _FunctionMode(TorchFunctionMode):
    def __init__(self, tracer: Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        self._tracer.function_called(getattr(func, "__name__", ""), output)
        return output
