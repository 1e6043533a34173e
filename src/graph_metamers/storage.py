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
from typing import Any, Final, cast

import torch
from filelock import FileLock
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there yet.

    Raises:
        InputError: There is a file in its place, or it may not be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


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
        held = lock.acquire()
    with held:
        yield


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


def pack_inputs(inputs: Inputs) -> dict[str, Any]:
    """A graph as tensors and plain values, ready for `save_tensors`, in the author's own type.

    What is neither a tensor, a number, a text, nor a list or dictionary of these is left out.
    """
    graph = inputs.graph
    names = ("_num_graphs", "_slice_dict", "_inc_dict")
    held = vars(graph.stores[0])  # asked for, a HeteroData without them raises a KeyError
    batch = {name: held[name] for name in names if name in held}
    return {
        "hetero": isinstance(graph, HeteroData),
        "stores": [(store._key, packed(dict(store))) for store in graph.stores],  # pyright: ignore[reportPrivateUsage]
        "batch": packed(batch) if isinstance(graph, Batch) else None,
        "called": inputs.called,
    }


def unpack_inputs(state: Mapping[str, Any]) -> Inputs:
    """What `pack_inputs` packed."""
    cls = HeteroData if state["hetero"] else Data
    graph: Any = cls() if state["batch"] is None else Batch(_base_cls=cls)  # pyright: ignore[reportCallIssue]
    for key, values in state["stores"]:
        place = graph if key is None else graph[key]
        for name, value in unpacked(values).items():
            place[name] = value
    for name, value in unpacked(state["batch"] or {}).items():
        setattr(graph, name, value)
    return Inputs(graph, state["called"])


SPARSE: Final = "places of what is not zero"
OTHER = object()  # what no file can hold


def packed(value: Any) -> Any:
    """A nested value without what no file can hold, ready for `save_tensors`.

    Bag-of-words features are nearly all zeros: where that is shorter, only the others are kept.
    """
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        return _packed_tensor(tensor if type(tensor) is Tensor else tensor.as_subclass(Tensor))
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {key: kept for key, part in items if (kept := packed(part)) is not OTHER}
    if isinstance(value, list | tuple):
        parts = [packed(part) for part in cast("list[Any]", value)]
        if any(part is OTHER for part in parts):
            return OTHER
        return tuple(parts) if isinstance(value, tuple) else parts
    return value if value is None or isinstance(value, bool | int | float | str) else OTHER


def unpacked(value: Any) -> Any:
    """What `packed` packed."""
    if isinstance(value, dict):
        content = cast("dict[Any, Any]", value)
        if SPARSE in content:
            flat = content["values"].new_zeros(math.prod(content["shape"]))
            flat[content[SPARSE].long()] = content["values"]
            return flat.view(content["shape"])
        return {key: unpacked(part) for key, part in content.items()}
    if isinstance(value, list | tuple):
        parts = [unpacked(part) for part in cast("list[Any]", value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def _packed_tensor(tensor: Tensor) -> Tensor | dict[str, Any]:
    if tensor.layout == torch.strided and tensor.numel() < 2**31:
        flat = tensor.reshape(-1)
        places = flat.nonzero().view(-1)
        if 3 * len(places) < len(flat):
            shape = list(tensor.shape)
            return {SPARSE: places.int(), "values": flat[places], "shape": shape}
    return tensor.clone()  # a view would be saved with all that it is a view of
