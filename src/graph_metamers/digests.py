"""Short marks of what a result depends on: a hash of what is held, a sketch of what is answered."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from graph_metamers.inputs import is_plain

DEPTH = 12  # containers may hold themselves
WIDTH = 16  # numbers of a sketch
TINY = 1e-30
ROUNDING = 1e-4  # relative; another machine's float32 sums differ by less


def digest(*values: Any) -> str:
    """A short hash of tensors, arrays, graphs and plain values, the same everywhere.

    Of a module it covers weights, plain attributes and the names of the classes; of a dataclass
    its fields. Of any other object only the type counts: what it does to a model is seen in what
    the model answers, see `sketch`.

    >>> digest("a", 1) == digest("a", 1), digest("a", 1) == digest("a", 2)
    (True, False)
    """
    state = hashlib.sha256()
    for value in values:
        _feed(state.update, value, DEPTH)
    return state.hexdigest()[:16]


def _feed(update: Callable[[Any], None], value: Any, depth: int) -> None:
    kind = f"{type(value).__module__}.{type(value).__qualname__} ".encode()
    if depth == 0:
        update(kind)
    elif isinstance(value, Tensor):
        _feed_tensor(update, value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        update(f"array {value.dtype} {value.shape} ".encode())
        update(np.ascontiguousarray(value).data)
    elif isinstance(value, nn.Module):
        _feed(update, dict(value.state_dict()), depth - 1)
        for name, module in value.named_modules():
            plain = {k: v for k, v in vars(module).items() if _is_setting(k, v)}
            _feed(update, [name, type(module).__qualname__, module.extra_repr(), plain], depth - 1)
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
        _feed(update, sorted(digest(part) for part in cast("set[Any]", value)), depth - 1)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        update(kind)
        _feed(update, fields, depth - 1)
    elif isinstance(value, np.generic):  # a number of NumPy's is the same as Python's
        _feed(update, value.item(), depth - 1)
    elif value is None or isinstance(value, Number | str | bytes | torch.dtype | torch.device):
        update(f"{type(value).__name__} {value!r} ".encode())
    else:  # its repr may hold an address
        update(kind)


def _feed_tensor(update: Callable[[Any], None], value: Tensor) -> None:
    if not is_plain(value):  # it gives no numbers
        update(f"tensor {value.dtype} {value.device} ".encode())
        return
    tensor = value.detach().cpu()
    if tensor.layout != torch.strided:
        tensor = tensor.to_sparse_coo().coalesce()
        update(f"sparse {list(tensor.shape)} ".encode())
        _feed_tensor(update, tensor.indices())
        _feed_tensor(update, tensor.values())
        return
    update(f"tensor {tensor.dtype} {list(tensor.shape)} ".encode())
    update(tensor.resolve_conj().contiguous().view(-1).view(torch.uint8).numpy().data)


def _is_setting(name: str, value: Any) -> bool:
    plain = isinstance(value, bool | int | float | str)
    return plain and name != "training" and not name.startswith("_")


def sketch(h: Tensor) -> list[float]:
    """A few numbers of an activation, in which each of its entries has a part.

    The norm ‖h‖, and Σ_vu a_kv h_vu b_ku / √(rows · units) of random signs a and b, for each k.
    """
    rows = h.detach().double().cpu().nan_to_num(0.0, 0.0, 0.0)
    rows = rows.reshape(len(h) if h.dim() else 1, -1)
    generator = torch.Generator().manual_seed(0)
    left, right = (
        torch.randint(0, 2, (WIDTH, n), generator=generator, dtype=torch.float64) * 2 - 1
        for n in rows.shape
    )
    scale = max(rows.numel(), 1) ** 0.5
    return [float(rows.norm()), *((left @ rows * right).sum(1) / scale).tolist()]


def same_answers(once: list[list[float]], again: Any) -> bool:
    """Whether all sketches of two lists are of the same activations, up to rounding.

    >>> h = torch.rand(5, 3)
    >>> same_answers([sketch(h)], [sketch(h * (1 + 1e-7))])
    True
    >>> same_answers([sketch(h)], [sketch(h.flip(0))])
    False
    """
    try:
        a, b = np.array(once, dtype=float), np.array(again, dtype=float)
    except (TypeError, ValueError):  # a damaged file's
        return False
    return a.shape == b.shape and bool((abs(a - b) <= ROUNDING * (abs(a[:, :1]) + TINY)).all())
