"""Open a model for reading and leave it exactly as it was found, whatever happens meanwhile."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


@contextmanager
def preserved(model: nn.Module) -> Generator[None]:
    """Evaluation mode, frozen weights and no caches inside; everything as before outside.

    Restored on exit, also after an exception: training mode of every module, weights and
    buffers, `requires_grad`, every other attribute of every module (caches, counters), and the
    random state of Python, NumPy and torch.
    """
    modules = list(model.modules())
    tensors = list(dict.fromkeys([*model.parameters(), *model.buffers()]))
    values = [tensor.detach().clone() for tensor in tensors]
    wants_gradient = [tensor.requires_grad for tensor in tensors]
    attributes = [_plain_attributes(module) for module in modules]
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
        for tensor, value, wanted in zip(tensors, values, wants_gradient, strict=True):
            if not torch.equal(tensor.detach(), value) and not _both_nan(tensor, value):
                tensor.detach().copy_(value)
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


def _both_nan(a: Tensor, b: Tensor) -> bool:
    return a.is_floating_point() and torch.allclose(a.detach(), b, 0.0, 0.0, equal_nan=True)


@contextmanager
def _preserved_randomness() -> Generator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (it is restored)
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
