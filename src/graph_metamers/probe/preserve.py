"""Open a model for reading and leave it exactly as it was found, whatever happens meanwhile."""

import random
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from graph_metamers.digests import digest


@contextmanager
def preserved(model: nn.Module) -> Generator[None]:
    """Evaluation mode, frozen weights and no caches inside; everything as before outside.

    Restored on exit, also after an exception: training mode of every module, weights and
    buffers, `requires_grad`, every other attribute of every module (caches, counters; also what
    the lists, dictionaries, sets and tensors among them hold), and the random state of Python,
    NumPy and torch.
    """
    modules = list(model.modules())
    tensors = list(dict.fromkeys([*model.parameters(), *model.buffers()]))
    wants_gradient = [tensor.requires_grad for tensor in tensors]
    attributes = [_plain_attributes(module) for module in modules]
    contents = _Contents()
    for value in (*tensors, *(value for before in attributes for value in before.values())):
        contents.remember(value)
    try:
        with _preserved_randomness(), torch.inference_mode(False), torch.enable_grad():
            model.eval()
            for tensor in tensors:
                tensor.requires_grad_(False)
            for module in modules:
                _forget_cache(module)
            yield
    finally:
        for module, before in zip(modules, attributes, strict=True):
            _restore(module, before)
        contents.restore()
        for tensor, wanted in zip(tensors, wants_gradient, strict=True):
            tensor.requires_grad_(wanted)


# PyTorch's own registries: what a reader adds there (hooks) it also removes.
_REGISTRIES = ("_parameters", "_modules")


def _plain_attributes(module: nn.Module) -> dict[str, Any]:
    return {
        name: dict(value) if name == "_buffers" else value
        for name, value in vars(module).items()
        if name not in _REGISTRIES and "hooks" not in name
    }


def _restore(module: nn.Module, before: dict[str, Any]) -> None:
    now = vars(module)
    for name in [n for n in _plain_attributes(module) if n not in before]:
        del now[name]
    for name, value in before.items():
        if name == "_buffers":
            now[name].clear()
            now[name].update(value)
        else:
            now[name] = value


def _forget_cache(module: nn.Module) -> None:
    # PyG's cached convolutions keep the first edges (SGConv even the first features) they see.
    if getattr(module, "cached", None) is True:
        module.__dict__["cached"] = False
        for name in [n for n in vars(module) if n.startswith("_cached")]:
            module.__dict__[name] = None


class _Contents:
    """What tensors and containers hold, put back where it was changed in place."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[Any, Any]] = {}

    def remember(self, value: Any) -> None:
        if id(value) in self._before:
            return
        if isinstance(value, Tensor):
            self._before[id(value)] = value, value.detach().clone()
        elif isinstance(value, dict | list | set | deque):
            parts = _parts(value)
            self._before[id(value)] = value, parts
            for part in parts:
                self.remember(part)
        elif isinstance(value, tuple):
            for part in cast("tuple[Any, ...]", value):
                self.remember(part)

    def restore(self) -> None:
        for value, before in self._before.values():
            if isinstance(value, Tensor):
                if not _same(value.detach(), before):
                    value.detach().copy_(before)
            elif [id(part) for part in _parts(value)] != [id(part) for part in before]:
                value.clear()
                if isinstance(value, dict):
                    for key, part in zip(before[::2], before[1::2], strict=True):
                        value[key] = part
                else:
                    (value.update if isinstance(value, set) else value.extend)(before)


def _parts(container: Any) -> list[Any]:
    entries = chain.from_iterable(container.items()) if isinstance(container, dict) else container
    return list(entries)


def _same(a: Tensor, b: Tensor) -> bool:
    if a.layout != torch.strided:
        return digest(a) == digest(b)
    return torch.equal(a, b) or (
        a.is_floating_point() and torch.allclose(a, b, 0.0, 0.0, equal_nan=True)
    )


@contextmanager
def _preserved_randomness() -> Generator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (it is restored)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
