"""The dense relaxation of edges (Eqs. 11–12): how it reaches each convolution exactly."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.nn import ChebConv, GCNConv, MessagePassing

from graph_metamers.errors import InputError, listing
from graph_metamers.inputs import ADJACENCY, Inputs

DENSE = (GCNConv, ChebConv)


@contextmanager
def soft_edges(model: nn.Module, inputs: Inputs) -> Generator[None]:
    """Inside, the model runs on the soft edges of `inputs`.

    Args:
        model: A model whose graph layers are PyG's GCNConv or ChebConv.
        inputs: A graph with `ADJACENCY` [nodes, nodes] in which A[u, v] is the weight of
            u → v; without, nothing happens.

    Raises:
        InputError: A convolution is reached by no soft edge.

    Example:
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.nn import GCN
        >>> data = Data(x=torch.eye(2), edge_index=torch.tensor([[0, 1], [1, 0]]))
        >>> model = GCN(2, 4, 1).eval()
        >>> soft = Inputs(data).replaced({ADJACENCY: torch.tensor([[0.0, 1.0], [1.0, 0.0]])})
        >>> with soft_edges(model, soft):
        ...     relaxed = model(data.x, data.edge_index)
        >>> torch.allclose(relaxed, model(data.x, data.edge_index))
        True
    """
    if ADJACENCY not in inputs:
        yield
        return
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, MessagePassing):
                stack.enter_context(_dense(name, module, inputs[ADJACENCY]))
        yield


@contextmanager
def _dense(name: str, conv: MessagePassing, adjacency: Tensor) -> Generator[None]:
    if not _knows_dense(conv):
        raise InputError(
            f"The dense relaxation of Eqs. 11–12 knows {listing(c.__name__ for c in DENSE)} with "
            f"symmetric normalisation; '{name}' is a {type(conv).__name__}. "
            "Use search=EdgeSwap()."
        )
    formula = _dense_gcn if isinstance(conv, GCNConv) else _dense_cheb

    def forward(x: Tensor, *_: Any, **__: Any) -> Tensor:
        return formula(conv, x, adjacency)  # pyright: ignore[reportArgumentType]

    vars(conv)["forward"] = forward
    try:
        yield
    finally:
        del vars(conv)["forward"]


def _knows_dense(conv: MessagePassing) -> bool:
    return isinstance(conv, DENSE) and getattr(conv, "normalization", "sym") == "sym"


def _dense_gcn(conv: GCNConv, x: Tensor, adjacency: Tensor) -> Tensor:
    """D̃^(−1/2) (A + I) D̃^(−1/2) X W + b, transposed as messages go."""
    h = conv.lin(x)
    if conv.normalize:
        loops = float(conv.add_self_loops)  # once: improved=True asks for weights
        scale = _inverse_root(adjacency.sum(dim=0) + loops)
        h = scale * (adjacency.T @ (scale * h) + loops * scale * h)
    else:
        h = adjacency.T @ h
    return h if conv.bias is None else h + conv.bias  # pyright: ignore[reportUnnecessaryComparison]


def _dense_cheb(conv: ChebConv, x: Tensor, adjacency: Tensor) -> Tensor:
    """Σ_k T_k(L̂) X W_k + b with L̂ = −D^(−1/2) A D^(−1/2), its largest eigenvalue taken as 2."""
    scale = _inverse_root(adjacency.sum(dim=1))

    def propagate(z: Tensor) -> Tensor:
        return -scale * (adjacency.T @ (scale * z))

    terms = [x, *([propagate(x)] if len(conv.lins) > 1 else [])]
    for _ in conv.lins[2:]:
        terms.append(2 * propagate(terms[-1]) - terms[-2])
    out = torch.stack([lin(t) for lin, t in zip(conv.lins, terms, strict=True)]).sum(dim=0)
    return out if conv.bias is None else out + conv.bias  # pyright: ignore[reportUnnecessaryComparison]


def _inverse_root(degree: Tensor) -> Tensor:
    some = degree > 0
    return torch.where(some, torch.where(some, degree, 1).rsqrt(), 0).unsqueeze(1)
