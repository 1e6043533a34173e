"""Small problems for every search, posed as `metamer` poses them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv, GINConv

import graph_metamers as gm
from graph_metamers.pose import opened, pose
from graph_metamers.search import Problem, Search
from helpers import seeded

EDGES = torch.tensor([[0, 1], [1, 0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Poser:
    """Poses problems, and closes their sessions at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __call__(self, model: nn.Module, data: Any, layer: Any = "output", **options) -> Problem:
        vary = options.pop("vary", None)
        options = {"tol": 1e-2} | options
        return pose(self._stack.enter_context(opened(model, data, vary, None)), layer, **options)

    def close(self) -> None:
        self._stack.close()


class Read(nn.Module):
    """h = f(X W), with W handed in: the layer reads the features through W alone."""

    def __init__(self, weight: Tensor, function: Callable[[Tensor], Tensor] = lambda y: y) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(weight), function

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.function(x @ self.weight)


class Two(nn.Module):
    """Two convolutions; `first` is called once and `second` is the output."""

    def __init__(self, width: int, *, normed: bool = False, gin: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if normed else nn.Identity()
        self.first = GINConv(nn.Linear(width, 8)) if gin else GCNConv(width, 8)
        self.second = GINConv(nn.Linear(8, 3)) if gin else GCNConv(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.second(self.first(self.norm(x), edge_index).tanh(), edge_index)


def random_graph(
    nodes: int, *, seed: int = 0, width: int = 10, kind: str = "binary", directed: bool = False
) -> Data:
    there = torch.rand(nodes, nodes, generator=generator(seed)) < 0.1
    there = there if directed else there | there.T
    there[0, 1] = there[1, 0] = True
    there[0, 2] = there[2, 0] = False
    edges = there.fill_diagonal_(False).nonzero().T.contiguous()
    x = torch.rand(nodes, width, generator=generator(seed + 1))
    return Data(x=(x < 0.25).float() if kind == "binary" else x, edge_index=edges)


def alone(kind: str) -> Data:
    return random_graph(30, kind=kind)


def several(kind: str) -> Batch:
    return Batch.from_data_list([random_graph(9 + 2 * i, seed=i, kind=kind) for i in range(5)])


@dataclass(frozen=True)
class Case:
    """A search at work: what varies, of which features, and in which model."""

    search: Search
    vary: Any = None
    kind: str = "binary"
    normed: bool = False
    gin: bool = False

    def problem(self, poser: Poser, data: Any, **options) -> Problem:
        return poser(self.model(), data, "first", **({"vary": self.vary, "tol": 1e-9} | options))

    def model(self) -> nn.Module:
        return seeded(lambda: Two(10, normed=self.normed, gin=self.gin))

    @property
    def key(self) -> str:
        return "edge_index" if isinstance(self.vary, gm.Edges) else "x"


def _cases() -> Iterator[tuple[str, Case]]:
    steps: dict[str, Any] = {"steps": 12, "patience": None}
    real: dict[str, Any] = {"kind": "real"}
    yield "adam, binary", Case(gm.Adam(lr=0.3, **steps))
    yield "adam, margin", Case(gm.Adam(lr=0.3, **steps), gm.BinaryFeatures(margin=0.1))
    yield "adam, real", Case(gm.Adam(lr=0.1, **steps), **real)
    yield "adam, dense edges", Case(gm.Adam(lr=0.3, **steps), gm.Edges())
    yield "swap", Case(gm.Swap(**steps))
    yield "swap, per node", Case(gm.Swap(**steps), gm.BinaryFeatures(density="per_node"), gin=True)
    yield "swap, farthest", Case(gm.Swap(seek="farthest", **steps))
    yield "swap, no read", Case(gm.Swap(seek="random", **steps), normed=True)
    yield "edge_swap", Case(gm.EdgeSwap(**steps), gm.Edges())
    yield "edge_swap, fixed", Case(gm.EdgeSwap(**steps), gm.Edges(degrees="fixed"), gin=True)
    yield "edge_swap, hot", Case(gm.EdgeSwap(temperature=5.0, **steps), gm.Edges(), gin=True)
    yield "gauss_newton", Case(gm.GaussNewton(**steps), **real)
    yield "gauss_newton, no read", Case(gm.GaussNewton(**steps), normed=True, **real)
    yield "exact", Case(gm.Exact(), gm.ContinuousFeatures(), gin=True, **real)


CASES = dict(_cases())
ITERATED = {name: case for name, case in CASES.items() if name != "exact"}
TOGETHER = {name: case for name, case in CASES.items() if "dense" not in name}


def hooked(model: nn.Module, data: Any) -> Tensor:
    """What `first` returns, read with a hook of PyTorch's own."""
    seen: list[Tensor] = []
    handle = model.get_submodule("first").register_forward_hook(lambda m, i, o: seen.append(o))
    with torch.no_grad():
        model(data.x, data.edge_index)
    handle.remove()
    return seen[0].double()


def fvu_by_hand(model: nn.Module, reference: Any, other: Any) -> list[float]:
    """The FVU of each graph, by its definition, each graph run on its own."""
    h = hooked(model, reference)
    spread = (h - h.mean(0)).square().sum(1).mean()
    many = isinstance(reference, Batch)
    pairs = (
        zip(reference.to_data_list(), other.to_data_list(), strict=True)
        if many
        else [(reference, other)]
    )
    return [
        float((hooked(model, b) - hooked(model, a)).square().sum(1).mean() / spread)
        for a, b in pairs
    ]
