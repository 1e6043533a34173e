"""Sums of messages as sparse products, where a convolution's messages are multiples of features."""

import functools
import math
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch_geometric.nn import (
    APPNP,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINConv,
    MessagePassing,
    SAGEConv,
)
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation

# By what name each hands its factors to `propagate`; None where they are all one.
FACTORS: dict[type[MessagePassing], str | None] = {
    **dict.fromkeys((GCNConv, GCN2Conv, APPNP), "edge_weight"),
    **dict.fromkeys((GATConv, GATv2Conv), "alpha"),
    **dict.fromkeys((GINConv, SAGEConv), None),
    ChebConv: "norm",
}


@contextmanager
def sparse_products(model: nn.Module) -> Generator[None]:
    """Inside, the model's convolutions sum their messages faster, and the same to rounding.

    PyG writes a message for every edge and adds them up. Where it is a multiple of what the
    sender holds, with factors for each attention head, the sum

        z_v = Σ_u c_uv s_u

    is a product with the sparse matrix of the factors, and so are its gradients: no message is
    ever in memory. That is for the convolutions in `FACTORS` on a CPU; others, subclasses with
    messages of their own, and those with hooks on their messages are left alone. A gradient
    passes once: there is none of the gradient.

    Args:
        model: Whose convolutions it is for.
    """
    patterns: list[Pattern] = []
    fast = [conv for conv in model.modules() if isinstance(conv, MessagePassing) and _plain(conv)]
    for conv in fast:
        vars(conv)["propagate"] = functools.partial(_propagate, conv, conv.propagate, patterns)
    try:
        yield
    finally:
        for conv in fast:
            del vars(conv)["propagate"]


def _plain(conv: MessagePassing) -> bool:
    hooked = any(hooks for name, hooks in vars(conv).items() if name.endswith("hooks"))
    return (
        type(conv) in FACTORS
        and "propagate" not in vars(conv)
        and type(conv.aggr_module) in (SumAggregation, MeanAggregation)
        and conv.flow == "source_to_target"
        and conv.decomposed_layers == 1
        and not conv.explain
        and not hooked
    )


def _propagate(
    conv: MessagePassing,
    original: Callable[..., Tensor],
    patterns: "list[Pattern]",
    edge_index: Tensor,
    size: Any = None,
    **kwargs: Any,
) -> Tensor:
    sent, received = kwargs["x"] if isinstance(kwargs["x"], tuple) else [kwargs["x"]] * 2
    plain = type(edge_index) is Tensor and edge_index.layout == torch.strided and size is None
    if not plain or received is None or sent.device.type != "cpu":
        return original(edge_index, size=size, **kwargs)
    edges, shape = edge_index.shape[1], (len(received), len(sent))
    if edges > math.prod(shape):  # more than there are pairs: PyTorch's gradient refuses it
        return original(edge_index, **kwargs)
    pattern = _pattern(patterns, edge_index, shape)
    name = FACTORS[type(conv)]
    factors = None if name is None else kwargs[name]
    if factors is None:
        factors = sent.new_ones(edges)
    z = sparse_product(
        sent if sent.dim() == 3 else sent[:, None],
        factors if factors.dim() == 2 else factors[:, None],
        pattern,
    ).view(len(received), *sent.shape[1:])
    if isinstance(conv.aggr_module, MeanAggregation):
        z = z / pattern.degrees.to(z)[:, None]
    return z


def _pattern(known: "list[Pattern]", edges: Tensor, shape: tuple[int, int]) -> "Pattern":
    """That of these edges; each is sorted once, and known again by its content."""
    for pattern in known:
        if pattern.shape == shape and torch.equal(pattern.edges, edges):
            return pattern
    known.append(Pattern(edges, shape))
    return known[-1]


class Pattern:
    """Where a sparse matrix has its factors: a row for each receiver, a column for each sender.

    Args:
        edges: From senders to receivers; at most as many as there are pairs of them.
        shape: How many receivers there are, and how many senders.
    """

    def __init__(self, edges: Int[Tensor, "2 edges"], shape: tuple[int, int]) -> None:
        self.edges, self.shape = edges.clone(), shape
        self.order, self.rows, self.columns = _sorted(edges[1], edges[0], shape[0])
        self.back_order, self.back_rows, self.back_columns = _sorted(edges[0], edges[1], shape[1])
        self.degrees = torch.bincount(edges[1], minlength=shape[0]).clamp(min=1)

    def matrices(self, factors: Float[Tensor, "edges heads"]) -> list[Tensor]:
        """A matrix for each head."""
        heads = factors.T.contiguous().index_select(1, self.order)
        return [_csr(self.rows, self.columns, c, self.shape) for c in heads]

    def transposed(self, factors: Float[Tensor, "edges heads"]) -> list[Tensor]:
        """The transposes of `matrices`."""
        heads = factors.T.contiguous().index_select(1, self.back_order)
        shape = self.shape[1], self.shape[0]
        return [_csr(self.back_rows, self.back_columns, c, shape) for c in heads]


def _sorted(by: Tensor, other: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """The order of the edges, the first place of each row, and the columns."""
    order = torch.argsort(by, stable=True)
    places = by.new_zeros(rows + 1)
    places[1:] = torch.bincount(by, minlength=rows).cumsum(0)
    return order, places.int(), other[order].int()


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():  # PyTorch calls it a beta, once
        warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
        return torch.sparse_csr_tensor(rows, columns, values, shape)


def sparse_product(
    sent: Float[Tensor, "senders heads channels"],
    factors: Float[Tensor, "edges heads"],
    pattern: Pattern,
) -> Float[Tensor, "receivers heads channels"]:
    """z_v = Σ_u c_uv s_u for each head; the gradient reaches both, and passes once.

    Args:
        sent: What each sender holds, s.
        factors: The c_uv, in the order of the pattern's edges.
        pattern: Its edges.
    """
    return _Product.apply(sent, factors, pattern)  # pyright: ignore[reportReturnType]


class _Product(Function):
    @staticmethod
    def forward(
        ctx: Any,
        sent: Float[Tensor, "senders heads channels"],
        factors: Float[Tensor, "edges heads"],
        pattern: Pattern,
    ) -> Float[Tensor, "receivers heads channels"]:
        ctx.save_for_backward(sent, factors)
        ctx.pattern = pattern
        return _products(pattern.matrices(factors), sent)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = grads
        sent, factors = ctx.saved_tensors
        pattern: Pattern = ctx.pattern
        to_sent = to_factors = None
        if ctx.needs_input_grad[0]:
            to_sent = _products(pattern.transposed(factors), gradient)
        if ctx.needs_input_grad[1]:
            to_factors = torch.empty_like(factors)
            to_factors[pattern.order] = _inner(pattern.matrices(factors), gradient, sent)
        return to_sent, to_factors, None


def _products(matrices: list[Tensor], h: Tensor) -> Tensor:
    pairs = zip(matrices, h.unbind(1), strict=True)
    return torch.stack([a @ part.contiguous() for a, part in pairs], dim=1)


def _inner(matrices: list[Tensor], left: Tensor, right: Tensor) -> Float[Tensor, "edges heads"]:
    """⟨left_v, right_u⟩ for each edge and head, in the order of the matrices."""
    triples = zip(matrices, left.unbind(1), right.unbind(1), strict=True)
    products = [
        torch.sparse.sampled_addmm(a, g.contiguous(), h.contiguous().T, beta=0.0)
        for a, g, h in triples
    ]
    return torch.stack([product.values() for product in products], dim=1)
