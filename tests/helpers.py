"""Toy graphs and models with hand-set weights, and what "left exactly as found" means."""

import copy
import dataclasses
import hashlib
import importlib.util
import io
import os
import pickle
import random
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxtyping
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv
from torch_geometric.transforms import ToSparseTensor

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.storage import MARK

ROOT = Path(__file__).parent.parent
FEATURES, HIDDEN, CLASSES = 24, 8, 3
SEARCH = gm.Adam(lr=0.05, steps=60)


# Graphs


def toy_graph(**changes: Any) -> Data:
    """40 nodes, 24 binary features, 3 classes; `changes` replace attributes, None removes one."""
    data = gm.datasets.csbm(nodes=40, features=FEATURES, density=0.2, degree=4.0)
    for name, value in changes.items():
        if value is None:
            del data[name]
        else:
            data[name] = value
    return data


def weighted_path() -> Data:
    """Three nodes, unsorted directed edges 0→2 (5), 0→1 (2), 1→2 (3)."""
    return Data(
        x=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        edge_index=torch.tensor([[0, 0, 1], [2, 1, 2]]),
        edge_weight=torch.tensor([5.0, 2.0, 3.0]),
    )


def with_adj_t(data: Data, *, keep_edges: bool = False) -> Data:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse ")  # PyTorch's notices on first use
        return ToSparseTensor(remove_edge_index=not keep_edges)(data.clone())


# Models


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model with random weights, the same every time, and the global state left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


class TwoLayers(nn.Module):
    """conv1 → `between` → conv2; `between` is called with the model and conv1's output."""

    def __init__(
        self, between: Callable[[Any, Tensor], Tensor] | None = None, **modules: nn.Module
    ) -> None:
        super().__init__()
        self.conv1 = modules.pop("conv1", None) or GCNConv(FEATURES, HIDDEN)
        self.conv2 = modules.pop("conv2", None) or GCNConv(HIDDEN, CLASSES)
        self.between = between or (lambda model, h: F.relu(h))
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.conv2(self.between(self, self.conv1(x, edge_index)), edge_index)


class Calls(nn.Module):
    """One convolution, and a forward that is handed in: `run(model, x, edge_index)`."""

    def __init__(self, run: Callable[[Any, Tensor, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.conv = modules.pop("conv", None) or GCNConv(FEATURES, CLASSES)
        self.run = run
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor, edge_index: Tensor) -> Any:
        return self.run(self, x, edge_index)


class Diffuse(nn.Module):
    """h' = relu(A h W + b), twice over, with hand-set weights: A sums over the senders.

    W swaps the two features and doubles the second, b is −2; see `DIFFUSED`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(2, 2)
        self.act = nn.ReLU()
        with torch.no_grad():
            self.lin.weight.copy_(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
            self.lin.bias.fill_(-2.0)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        for _ in range(2):
            sent = x[edge_index[0]] * edge_weight[:, None]
            x = self.act(self.lin(torch.zeros_like(x).index_add_(0, edge_index[1], sent)))
        return x


# What Diffuse gives on weighted_path(), by hand. The sums at the three nodes are [0 0], [2 0] and
# 5·[1 0] + 3·[0 1] = [5 3]; swapped, doubled and less 2 they are [−2 −2], [−2 2] and [1 8]. Then
# only 1→2 carries something: 3·[0 2] = [0 6], which becomes [4 −2].
DIFFUSED = (
    torch.tensor([[0.0, 0.0], [0.0, 2.0], [1.0, 8.0]]),
    torch.tensor([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0]]),
)


# Reading a model independently of the library


def forward_of(model: nn.Module, data: Data) -> Any:
    return model(data.x, data.edge_index)


def at(name: str, call: int = 0, run: Any = forward_of) -> Callable[[nn.Module, Data], Tensor]:
    """What module `name` returns at its `call`-th call, read with a hook of PyTorch's own."""

    def read(model: nn.Module, data: Data) -> Tensor:
        seen: list[Tensor] = []

        def keep(module: nn.Module, arguments: Any, output: Any) -> None:
            seen.append((output[0] if isinstance(output, tuple) else output).clone())

        handle = model.get_submodule(name).register_forward_hook(keep)
        try:
            run(model, data)
        finally:
            handle.remove()
        return seen[call]

    return read


@torch.no_grad()
def by_hand(
    model: nn.Module, m: gm.Metamer, layer: Callable[..., Tensor], run: Any = forward_of
) -> dict[str, float]:
    """The scores of `m.data`, computed in NumPy from an evaluation-mode copy of the model."""
    twin = copy.deepcopy(model).eval()
    for module in twin.modules():
        if hasattr(module, "cached"):
            module.cached = False
            for name in [n for n in vars(module) if n.startswith("_cached")]:
                setattr(module, name, None)
    h, g = (layer(twin, d).double().numpy() for d in (m.reference, m.data))
    x, y = (d.x.double().numpy().ravel() for d in (m.reference, m.data))
    classes = [run(twin, d).argmax(dim=1) for d in (m.reference, m.data)]
    h, g = (a.reshape(len(a), -1) for a in (h, g))
    similarity = float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    match = float((classes[0] == classes[1]).double().mean())
    return {
        "fvu": float(((g - h) ** 2).sum() / ((h - h.mean(0)) ** 2).sum()),
        "activation_error": float(((g - h) ** 2).sum() / (h**2).sum()),
        "feature_similarity": similarity,
        "prediction_match": match,
        "consistency": similarity * match + (1 - similarity) * (1 - match),
        "activation_correlation": float(np.corrcoef(h.ravel(), g.ravel())[0, 1]),
    }


def same_metamer(a: gm.Metamer, b: gm.Metamer) -> None:
    """Fails unless every field is equal, tensors bit for bit."""
    for field in dataclasses.fields(gm.Metamer):
        ours, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(ours, Inputs):
            assert ours.called == theirs.called
            assert ours.keys == theirs.keys
            ours = {key: ours[key].to_dense() for key in ours.keys}
            theirs = {key: theirs[key].to_dense() for key in theirs.keys}
        assert type(ours) is type(theirs)
        torch.testing.assert_close(
            _comparable(ours), _comparable(theirs), rtol=0, atol=0, equal_nan=True
        )


def _comparable(value: Any) -> Any:
    """What `assert_close` takes: texts and None have no distance."""
    if isinstance(value, dict):
        return {key: _comparable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(part) for part in value]
    return float(hash(value)) if value is None or isinstance(value, str) else value


@contextmanager
def unchecked_types() -> Generator[None]:
    """As for a user, whose values of wrong types are not stopped by the tests' type checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def sealed(path: Path) -> Path:
    """Any file, with the checksum behind it that our own files have."""
    content = path.read_bytes()
    path.write_bytes(content + MARK + hashlib.sha256(content).digest())
    return path


# Left exactly as found


@contextmanager
def left_as_found(model: nn.Module) -> Generator[None]:
    """Fails if anything of the model, of the random state or of PyTorch's modes differs after."""
    alive: list[Any] = []  # so that no id is given out twice
    before = snapshot(model, alive)
    yield
    after = snapshot(model, alive)
    names = [*before, *(name for name in after if name not in before)]
    changed = [name for name in names if after.get(name, "none") != before.get(name, "none")]
    if changed:
        raise AssertionError(f"not left as found: {', '.join(changed)}")


def snapshot(model: nn.Module, alive: list[Any]) -> dict[str, Any]:
    """Everything there is: of each module all attributes, weights, mode, caches and hooks too."""
    state: dict[str, Any] = {
        # The type checks of these tests draw from it themselves.
        "python's random state": jaxtyping.config.jaxtyping_disable and random.getstate(),
        "numpy's random state": repr(np.random.get_state(legacy=False)),  # noqa: NPY002
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "gradient mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "import path": list(sys.path),
    }
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            state[f"{name}.{key}"] = _frozen(value, alive)
    return state


def _frozen(value: Any, alive: list[Any]) -> Any:
    alive.append(value)
    if isinstance(value, Tensor):
        plain = value.detach().to_dense()
        content = (str(value.layout), list(plain.shape), plain.cpu().numpy().tobytes())
        gradient = _frozen(value.grad, alive) if value.is_leaf else None
        return id(value), str(value.dtype), value.requires_grad, content, gradient
    if isinstance(value, dict):
        return id(value), [(key, _frozen(part, alive)) for key, part in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return id(value), [_frozen(part, alive) for part in value]
    return id(value), repr(value) if isinstance(value, bool | int | float | str) else None


# What goes wrong


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.marker),)


def _malicious_graph(path: Path, marker: Path) -> None:
    data = toy_graph()
    data.extra = Malicious(marker)
    torch.save(data, path)


# Files that hold nothing to be had: each is written to the path, and would make the marker if
# anything in it were run.
BAD_FILES: dict[str, Callable[[Path, Path], Any]] = {
    "empty": lambda path, marker: path.write_bytes(b""),
    "text": lambda path, marker: path.write_text("weights: none\n"),
    "random bytes": lambda path, marker: path.write_bytes(random.Random(0).randbytes(1000)),
    "random bytes that pop": lambda path, marker: path.write_bytes(b".\xfb\x083\xc5\x17"),
    "random bytes that unpack": lambda path, marker: path.write_bytes(b"M"),
    "half a file": lambda path, marker: path.write_bytes(_saved({"x": torch.ones(40, 24)})[:700]),
    "a list": lambda path, marker: torch.save([torch.ones(2)], path),
    "a tensor": lambda path, marker: torch.save(torch.ones(2), path),
    "malicious, pickled": lambda path, marker: path.write_bytes(pickle.dumps(Malicious(marker))),
    "malicious, pickled early": lambda path, marker: path.write_bytes(
        pickle.dumps(Malicious(marker), protocol=2)
    ),
    "malicious, saved": lambda path, marker: torch.save(Malicious(marker), path),
    "malicious, in the old format": lambda path, marker: torch.save(
        Malicious(marker), path, _use_new_zipfile_serialization=False
    ),
    "malicious, in a dict": lambda path, marker: torch.save(
        {**toy_graph().to_dict(), "extra": Malicious(marker)}, path
    ),
    "malicious, in a graph": _malicious_graph,
}


def _saved(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


# Scripts


def script(name: str) -> ModuleType:
    """A script of benchmarks/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
