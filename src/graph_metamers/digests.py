"""Short hashes of what a result depends on: tensors, models, functions, settings."""

import dataclasses
import functools
import hashlib
import inspect
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, cast

import torch
from torch import Tensor, nn

DEPTH = 12  # closures and attributes may lead back to where they came from


def digest(*values: Any) -> str:
    """A short hash of tensors, modules, graphs, functions and plain values, the same everywhere.

    Of a module it covers weights, plain attributes and, outside PyTorch and PyG, its code; of a
    function its code, defaults and what it encloses. Of any other object only the type and its
    attributes count.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    state = hashlib.sha256()
    for value in values:
        _feed(state.update, value, DEPTH)
    return state.hexdigest()[:16]


def _feed(update: Callable[[Any], None], value: Any, depth: int) -> None:
    if isinstance(value, Tensor):
        _feed_tensor(update, value)
    elif depth == 0:
        update(_kind(value))
    elif isinstance(value, nn.Module):
        _feed_module(update, value, depth)
    elif isinstance(value, Mapping):
        items = sorted(cast("Mapping[Any, Any]", value).items(), key=lambda item: str(item[0]))
        update(f"mapping {len(items)} ".encode())
        for key, part in items:
            _feed(update, [key, part], depth - 1)
    elif isinstance(value, list | tuple):
        parts = cast("list[Any]", value)
        update(f"list {len(parts)} ".encode())
        for part in parts:
            _feed(update, part, depth - 1)
    elif isinstance(value, set | frozenset):
        _feed(update, sorted(repr(part) for part in cast("set[Any]", value)), depth - 1)
    elif isinstance(value, CodeType):
        _feed(update, [value.co_code, value.co_names, value.co_consts], depth - 1)
    elif isinstance(value, functools.partial):
        partial = cast("functools.partial[Any]", value)
        _feed(update, ["partial", partial.func, partial.args, partial.keywords], depth - 1)
    elif inspect.isfunction(value):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, cells]
        _feed(update, [value.__qualname__, *parts], depth - 1)
    elif inspect.ismethod(value):
        _feed(update, [value.__func__, value.__self__], depth - 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        _feed(update, [_kind(value), fields], depth - 1)
    elif value is None or isinstance(
        value, bool | int | float | complex | str | bytes | torch.dtype | torch.device
    ):
        update(f"{type(value).__name__} {value!r} ".encode())
    elif callable(value) and not isinstance(value, type):
        _feed(
            update,
            [_code(type(value)), vars(value) if hasattr(value, "__dict__") else 0],
            depth - 1,
        )
    else:  # its repr may hold an address
        update(_kind(value))


def _feed_tensor(update: Callable[[Any], None], value: Tensor) -> None:
    if value.is_meta:  # a shape without values
        update(f"meta {value.dtype} {list(value.shape)} ".encode())
        return
    tensor = value.detach().cpu()
    if tensor.layout != torch.strided:
        tensor = tensor.to_sparse_coo().coalesce()
        update(f"sparse {list(tensor.shape)} ".encode())
        _feed_tensor(update, tensor.indices())
        _feed_tensor(update, tensor.values())
        return
    update(f"tensor {tensor.dtype} {list(tensor.shape)} ".encode())
    update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)


def _feed_module(update: Callable[[Any], None], value: nn.Module, depth: int) -> None:
    _feed(update, dict(value.state_dict()), depth - 1)
    for name, module in value.named_modules():
        update(f"module {name} ".encode())
        if _is_library(type(module)):
            _feed(update, [_kind(module), module.extra_repr()], depth - 1)
        else:
            _feed(update, _code(type(module)), depth - 1)
        attributes = {k: v for k, v in vars(module).items() if _counts(k, v, module)}
        _feed(update, attributes, depth - 1)


def _counts(name: str, value: Any, module: nn.Module) -> bool:
    """Whether an attribute says what a module computes, rather than how it goes about it."""
    if name == "training" or "hooks" in name or name.startswith("_cached"):
        return False
    plain = isinstance(value, bool | int | float | str | list | tuple | dict | Tensor)
    if _is_library(type(module)):
        return not name.startswith("_") and isinstance(value, bool | int | float | str)
    return name not in ("_parameters", "_buffers", "_modules") and (plain or callable(value))


def _code(kind: type) -> list[Any]:
    """The functions of a class and of those it is made from, as far as they are the user's."""
    functions = [
        [name, function.__code__, function.__defaults__, function.__kwdefaults__]
        for one in kind.__mro__
        if one is not object and not _is_library(one)
        for name, function in sorted(vars(one).items())
        if inspect.isfunction(function)
    ]
    return [kind.__qualname__, functions]


def _is_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in ("torch", "torch_geometric")


def _kind(value: Any) -> bytes:
    return f"{type(value).__module__}.{type(value).__qualname__} ".encode()
