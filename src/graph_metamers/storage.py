"""Files that are never half written, and that can run no code when they are read."""

import json
import math
import os
import pickle
import uuid
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock
from torch import Tensor
from torch_geometric.data import Data

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
def writing(path: Path) -> Generator[None]:
    """What goes wrong in the block with a file is told in a sentence about this path.

    Raises:
        InputError: The place cannot be written to.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror or error}). Choose another place."
        ) from error


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A path to write to, which takes the place of `path` only when all went well.

    Raises:
        InputError: The folder cannot be written to.
    """
    # Of this writer alone: two machines may share a folder, and their processes have like numbers.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    make_folder(path.parent)
    try:
        with writing(path):
            yield beside
            # Without it a power cut may leave the name without the content.
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def one_at_a_time(path: Path) -> Generator[None]:
    """Hold off other processes that are to write the same file, until the end of the block.

    Raises:
        InputError: The folder cannot be written to.
    """
    make_folder(path.parent)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with writing(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
            "was refused, nothing in it was run. Save model.state_dict() or data.to_dict()."
        ) from error
    except Exception as error:  # what a damaged file makes the unpickler stumble over is open
        raise InputError(f"'{path}' must be {kind}; it cannot be read as one.") from error
    if not isinstance(value, (dict, *allow)):
        raise InputError(f"'{path}' must be {kind}; it holds {type(value).__name__}.")
    return value


def graph_tensors(data: Data) -> dict[str, Tensor]:
    """The tensors of a graph by name."""
    return {k: v.detach() for k, v in data.to_dict().items() if isinstance(v, Tensor)}


def pack_graph(data: Data) -> dict[str, Any]:
    """A graph as tensors and plain values, ready for `save_tensors`; anything else is left out.

    Bag-of-words features are nearly all zeros: where that is shorter, only the others are kept.
    """
    return {
        key: _pack(value) if isinstance(value, Tensor) else value
        for key, value in data.to_dict().items()
        if isinstance(value, Tensor | bool | int | float | str)
    }


def unpack_graph(packed: Mapping[str, Any]) -> Data:
    """The graph that `pack_graph` packed."""
    return Data.from_dict(
        {
            k: _unpack(cast("dict[str, Any]", v)) if isinstance(v, dict) else v
            for k, v in packed.items()
        }
    )


def _pack(tensor: Tensor) -> dict[str, Tensor | list[int]]:
    tensor = tensor.detach().cpu()
    if tensor.layout == torch.strided and tensor.numel() < 2**31:
        flat = tensor.reshape(-1)
        places = flat.nonzero().view(-1)
        if 3 * len(places) < len(flat):
            values = flat[places]
            return {"shape": list(tensor.shape), "places": places.int(), "values": values}
    return {"dense": tensor.clone()}


def _unpack(packed: Mapping[str, Any]) -> Tensor:
    if "dense" in packed:
        return packed["dense"]
    flat = packed["values"].new_zeros(math.prod(packed["shape"]))
    flat[packed["places"].long()] = packed["values"]
    return flat.view(packed["shape"])
