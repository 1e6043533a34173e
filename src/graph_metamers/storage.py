"""Files that are never half written, and that can run no code when they are read."""

import hashlib
import json
import math
import os
import pickle
import uuid
import warnings
import zipfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData

from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs, is_plain

MARK = b"graph-metamers sha256 "  # before the checksum at the end of a file
Row = dict[str, Any]


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


def write_json(path: Path, value: Any, *, checked: bool = False) -> None:
    """Write a JSON file, whole or not at all; NaN and infinity become null.

    Args:
        path: The file.
        value: What it shall hold.
        checked: Whether it carries a checksum, which `read_json` then asks for.
    """
    plain = finite(value)
    whole = plain | {"checksum": _checksum(plain)} if checked else plain
    write_text(path, json.dumps(whole, indent=1, allow_nan=False) + "\n")


def _checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


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


def read_json(path: Path, *, checked: bool = False) -> Any:
    """Read a JSON file.

    Raises:
        InputError: It is missing, no JSON, or not as it was written.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{path}' must be a readable JSON file ({error}).") from error
    if not checked:
        return value
    if not isinstance(value, dict) or cast("Row", value).pop("checksum", "") != _checksum(value):
        raise InputError(
            f"'{path}' must be as it was written; it is damaged, was changed, or holds something "
            "else. Remove it, or copy it anew."
        )
    return cast("Row", value)


def save_tensors(path: Path, value: Mapping[str, Any]) -> None:
    """Save nested dictionaries and lists of tensors and plain values, with a checksum behind."""
    with replacing(path) as beside:
        with beside.open("wb") as file:  # torch would hide an OSError
            torch.save(dict(value), file)
        with beside.open("rb+") as file:
            told = hashlib.file_digest(file, "sha256").digest()
            file.write(MARK + told)


def load_tensors(
    path: Path,
    *,
    kind: str,
    map_location: torch.device | str = "cpu",
    allow: tuple[Any, ...] | None = None,
) -> Any:
    """Load what `save_tensors` saved, or a file of the user's. Nothing in the file is ever run.

    Args:
        path: The file.
        kind: What it should be, for the error sentence ("a metamer").
        map_location: Device to load to.
        allow: Classes that a file of the user's may hold besides a dictionary of tensors and plain
            values. None: it is one of `save_tensors`, whose checksum is then compared.

    Raises:
        InputError: The file is missing, is no such file, is damaged, would unpack to far more than
            it holds, or holds something else than data.
    """
    if not path.is_file():
        raise InputError(f"'{path}' must be {kind}; there is no such file.")
    if allow is None:
        _check_as_written(path, kind)
    _check_unpacked_size(path, kind)
    allow = allow or ()
    try:
        with _allowed(allow), warnings.catch_warnings():
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


@contextmanager
def _allowed(classes: tuple[Any, ...]) -> Generator[None]:
    """Inside, PyTorch makes objects of these classes too; of two of one name, of the one here."""
    known = torch.serialization.get_safe_globals()
    names = {(one.__module__, one.__qualname__) for one in classes}
    kept = [c for c in known if isinstance(c, type) and (c.__module__, c.__qualname__) not in names]
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([*kept, *classes])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(known)


def _check_as_written(path: Path, kind: str) -> None:
    """Raise unless the file ends with the checksum of all that stands before it."""
    with path.open("rb") as file:
        told = hashlib.sha256()
        left = path.stat().st_size - len(MARK) - told.digest_size
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            told.update(part)
            left -= len(part)
        if file.read() != MARK + told.digest():
            raise InputError(
                f"'{path}' must be {kind}; it is damaged, or another program wrote it. Remove it, "
                "or copy it anew."
            )


def _check_unpacked_size(path: Path, kind: str) -> None:
    """Raise where an archive holds far more than its size: PyTorch packs nothing."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # of an older format, or told when it is read
    if unpacked > 2 * size + 2**20:
        raise InputError(
            f"'{path}' must be {kind}; of {size:,} bytes it would unpack to {unpacked:,}. It was "
            "not unpacked. Save it with torch.save."
        )


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


def left_out(inputs: Inputs) -> list[str]:
    """The names of the attributes that `pack_inputs` leaves out."""
    return [
        str(name)
        for store in inputs.graph.stores
        for name, value in dict(store).items()
        if packed(value) is OTHER
    ]


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
        if not is_plain(value):
            return OTHER
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
    value = value.item() if isinstance(value, np.generic) else value
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
