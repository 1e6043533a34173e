"""A private copy of a model: what is read there leaves no trace in the user's own."""

import copy
import random
import types
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from graph_metamers.errors import told

Memo = dict[int, Any]  # as copy.deepcopy takes it: what stands for an object in the copy


def twin_of(model: nn.Module) -> nn.Module:
    """A copy of a model that answers the same, in evaluation mode, with frozen weights.

    The copy shares no tensor, container or object with the model. Tensors that hold a history
    (the last attention, `weight_norm`) are copied without it. Caches of PyG's convolutions are
    empty and stay so. Hooks are copied together with the containers that they write into.

    Args:
        model: Any module. It is not changed.

    Raises:
        InputError: Some attribute of the model cannot be copied.
    """
    model = original_of(model)
    memo: Memo = {}
    with torch.inference_mode(False):
        for module in model.modules():
            _detach(list(vars(module).values()), memo, set())
        with told(
            f"{type(model).__name__} must be a model that can be copied: it is read on a copy",
            "Remove the attribute or hook that cannot be copied, such as one that holds a lock or "
            "an open file.",
        ):
            with torch.no_grad():  # scripted modules would be copied with a history
                twin = copy.deepcopy(model, memo)
            for module in twin.modules():
                _make_functions_private(module, memo)
        for module in twin.modules():
            _forget_cache(module)
        twin.eval()
        for tensor in (*twin.parameters(), *twin.buffers()):
            if tensor.is_leaf:  # a scripted module copies its weights with a history
                tensor.requires_grad_(False)
                tensor.grad = None
    return twin


def original_of(model: nn.Module) -> nn.Module:
    """What a compiled wrapper, which hides the modules inside, was made of."""
    return dict(model.named_children()).get("_orig_mod", model)


def without_hooks(twin: nn.Module) -> list[tuple[dict[Any, Any], dict[Any, Any]]]:
    """Take the user's hooks off a twin; gives what puts them back (see `put_back`)."""
    taken: list[tuple[dict[Any, Any], dict[Any, Any]]] = []
    for module in twin.modules():
        for hooks in _hooks(module):
            own = {key: hook for key, hook in hooks.items() if not _is_library(hook)}
            if own:
                taken.append((hooks, dict(hooks)))
                for key in own:
                    del hooks[key]
    return taken


def put_back(taken: list[tuple[dict[Any, Any], dict[Any, Any]]]) -> None:
    """Undo `without_hooks`."""
    for hooks, before in taken:
        hooks.clear()
        hooks.update(before)


@contextmanager
def own_randomness() -> Generator[None]:
    """What the block draws at random leaves the random state of Python, NumPy and torch alone."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (it is restored)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _detach(values: list[Any], memo: Memo, seen: set[int]) -> None:
    """Detached clones stand for the tensors that `copy.deepcopy` refuses to copy."""
    for value in values:
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if value.is_inference() or value.grad_fn is not None:
                plain = value.detach().clone()
                memo[id(value)] = nn.Parameter(plain) if isinstance(value, nn.Parameter) else plain
        elif isinstance(value, Mapping):
            _detach(list(cast("Mapping[Any, Any]", value).values()), memo, seen)
        elif isinstance(value, list | tuple | set | deque):
            _detach(list(cast("list[Any]", value)), memo, seen)


def _make_functions_private(module: nn.Module, memo: Memo) -> None:
    """Functions that a module holds close over the copy, not over the user's model."""
    for hooks in _hooks(module):
        for key, hook in hooks.items():
            hooks[key] = _with_private(hook, memo)
    for name, value in list(vars(module).items()):
        if isinstance(value, types.FunctionType) and any(
            id(content) in memo for content in _contents(value)
        ):
            vars(module)[name] = _private(value, memo)


def _hooks(module: nn.Module) -> list[dict[Any, Any]]:
    return [v for k, v in vars(module).items() if k.endswith("hooks") and isinstance(v, dict)]


def _is_library(hook: Any) -> bool:
    origin = getattr(hook, "__module__", None) or type(hook).__module__
    return str(origin).partition(".")[0] in ("torch", "torch_geometric")


def _with_private(value: Any, memo: Memo) -> Any:
    """What was copied; deepcopy leaves functions as they are, here they reach copies too."""
    if isinstance(value, partial):
        again = cast("partial[Any]", value)
        return partial(_with_private(again.func, memo), *again.args, **again.keywords)
    is_own = isinstance(value, types.FunctionType) and not _is_library(value)
    return _private(value, memo) if is_own else value


def _copied(value: Any, memo: Memo) -> Any:
    if isinstance(value, types.ModuleType):
        return value
    return _with_private(copy.deepcopy(value, memo), memo)


def _private(function: types.FunctionType, memo: Memo) -> types.FunctionType:
    """The same function over copies of the objects and functions that it reaches."""
    if id(function) in memo:
        return memo[id(function)]
    cells = tuple(types.CellType() for _ in function.__closure__ or ())
    private = types.FunctionType(
        function.__code__, dict(function.__globals__), function.__name__, None, cells
    )
    memo[id(function)] = private  # before all else, as functions may reach each other
    for cell, own in zip(cells, function.__closure__ or (), strict=True):
        if _is_filled(own):
            cell.cell_contents = _copied(own.cell_contents, memo)
    for name in _names(function.__code__) & function.__globals__.keys():
        private.__globals__[name] = _copied(function.__globals__[name], memo)
    private.__defaults__ = _copied(function.__defaults__, memo)
    private.__kwdefaults__ = _copied(function.__kwdefaults__, memo)
    return private


def _contents(function: types.FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # a name that is bound later
        return False


def _names(code: types.CodeType) -> set[str]:
    """The names that a function looks up, those inside it too."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return set(code.co_names).union(*inner)


def _forget_cache(module: nn.Module) -> None:
    # PyG's cached convolutions keep the first edges (SGConv even the first features) they see.
    if getattr(module, "cached", None) is True:
        module.__dict__["cached"] = False
        for name in [n for n in vars(module) if n.startswith("_cached")]:
            module.__dict__[name] = None
