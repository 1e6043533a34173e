"""Files that are never half written, and that can run no code when they are read."""

import dataclasses
import functools
import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any, cast

import torch
from torch import Tensor, nn

from graph_metamers.errors import InputError


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        InputError: There is a file in its place, or it may not be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The folder '{path}' cannot be made ({error.strerror}). Choose another place."
        ) from error


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A path to write to, which takes the place of `path` only when all went well.

    Raises:
        InputError: The folder cannot be written to.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    make_folder(path.parent)
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror or error}). Choose another place."
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all; NaN and infinity become null."""
    write_text(path, json.dumps(finite(value), indent=1, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same nested value with None for what JSON cannot hold.

    >>> finite({"error": float("nan"), "steps": [1, 2.5]})
    {'error': None, 'steps': [1, 2.5]}
    """
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in cast("list[Any]", value)]
    if isinstance(value, float) and not (abs(value) < float("inf")):
        return None
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' must be a readable JSON file ({error}).") from error


def save_tensors(path: Path, value: Mapping[str, Any]) -> None:
    """Save nested dictionaries and lists of tensors and plain values."""
    with replacing(path) as beside, beside.open("wb") as file:  # torch would hide an OSError
        torch.save(dict(value), file)


def load_tensors(
    path: Path, *, kind: str, map_location: torch.device | str = "cpu", allow: tuple[Any, ...] = ()
) -> Any:
    """Load what `save_tensors` saved. Nothing in the file is ever run.

    Args:
        path: The file.
        kind: What it should be, for the error sentence ("a metamer").
        map_location: Device to load to.
        allow: Classes that the file may hold besides a dictionary of tensors and plain values.

    Raises:
        InputError: The file is missing, is no such file, or holds something else than data.
    """
    if not path.is_file():
        raise InputError(f"'{path}' must be {kind}; there is no such file.")
    # On exit safe_globals forgets all that it was given, also what PyG had allowed before.
    known = torch.serialization.get_safe_globals()
    new = [one for one in allow if one not in known]
    try:
        with torch.serialization.safe_globals(new), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            value = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path}' must be {kind} of tensors and plain values; it holds something else and "
            "was refused, nothing in it was run. Save tensors only, such as model.state_dict()."
        ) from error
    except Exception as error:  # what a damaged file makes the unpickler stumble over is open
        raise InputError(f"'{path}' must be {kind}; it cannot be read as one.") from error
    if not isinstance(value, (dict, *allow)):
        raise InputError(f"'{path}' must be {kind}; it holds {type(value).__name__}.")
    return value


def digest(*values: Any) -> str:
    """A short hash of tensors, modules, graphs and plain values, the same on every machine.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    state = hashlib.sha256()
    for value in values:
        _feed(state, value)
    return state.hexdigest()[:16]


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        if tensor.layout != torch.strided:
            tensor = tensor.to_sparse_coo().coalesce()
            _feed(state, [list(tensor.shape), tensor.indices(), tensor.values()])
            return
        state.update(f"tensor {tensor.dtype} {list(tensor.shape)} ".encode())
        state.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    elif isinstance(value, nn.Module):
        _feed(state, [type(value).__qualname__, repr(value), dict(value.state_dict())])
    elif isinstance(value, Mapping):
        state.update(f"mapping {len(cast('Mapping[str, Any]', value))} ".encode())
        for key in sorted(cast("Mapping[str, Any]", value)):
            _feed(state, [key, value[key]])
    elif isinstance(value, list | tuple):
        state.update(f"list {len(cast('list[Any]', value))} ".encode())
        for part in cast("list[Any]", value):
            _feed(state, part)
    elif isinstance(value, frozenset):
        _feed(state, sorted(repr(part) for part in cast("frozenset[Any]", value)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        _feed(state, [type(value).__qualname__, fields])
    elif isinstance(value, CodeType):
        _feed(state, [value.co_code, value.co_names, value.co_consts])
    elif isinstance(value, functools.partial):
        part = cast("functools.partial[Any]", value)
        _feed(state, ["partial", part.func, part.args, part.keywords])
    elif callable(value):
        name = getattr(value, "__qualname__", type(value).__qualname__)
        defaults = [getattr(value, f"__{kind}__", None) for kind in ("defaults", "kwdefaults")]
        enclosed = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        plain = [v for v in enclosed if isinstance(v, Tensor | bool | int | float | str)]
        _feed(state, ["function", name, getattr(value, "__code__", None), defaults, plain])
    else:
        state.update(f"{type(value).__name__} {value!r} ".encode())
