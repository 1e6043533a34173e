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
from torch.autograd.function import Function
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
HEADED = (GATConv, GATv2Conv)  # what is sent has a row for each attention head
OWN = ("propagate", "message", "aggregate", "update", "message_and_aggregate")
KNOWN = 8  # patterns: more than a model has edge sets, few enough where each forward has its own


@contextmanager
def sparse_products(model: nn.Module) -> Generator[None]:
    """Inside, the model's convolutions sum their messages faster, and the same to rounding.

    PyG writes a message for every edge and adds them up. Where it is a multiple of what the
    sender holds, with factors for each attention head, the sum

        z_v = Σ_u c_uv s_u

    is a product with the sparse matrix of the factors, and so are its gradients: no message is
    ever in memory. That is for the convolutions in `FACTORS` on a CPU, in single or double
    precision; others, subclasses with messages of their own, those with hooks on their messages,
    and whatever runs under autocast, `torch.func` or a compiler are left alone.

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
    hooked = any(
        hooks
        for name, hooks in vars(conv).items()
        if name.startswith(("_propagate", "_message", "_aggregate")) and name.endswith("hooks")
    )
    return (
        type(conv) in FACTORS
        and not any(name in vars(conv) for name in OWN)
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
    name = FACTORS[type(conv)]
    factors = None if name is None else kwargs[name]
    strided = type(edge_index) is Tensor and edge_index.layout == torch.strided and size is None
    if not strided or received is None or not _multiplies(conv, sent, factors):
        return original(edge_index, size=size, **kwargs)
    edges, shape = edge_index.shape[1], (len(received), len(sent))
    if edges > math.prod(shape):  # more than there are pairs: PyTorch's gradient refuses it
        return original(edge_index, **kwargs)
    pattern = _pattern(patterns, edge_index, shape)
    if factors is None:
        factors = sent.new_ones(edges)
    z = sparse_product(
        sent if sent.dim() == 3 else sent[:, None],
        factors if factors.dim() == 2 else factors[:, None],
        pattern,
    ).view(len(received), *sent.shape[1:])
    if isinstance(conv.aggr_module, MeanAggregation):
        z = z / pattern.degrees.clamp(min=1).to(z)[:, None]
    return z


def _multiplies(conv: MessagePassing, sent: Tensor, factors: Tensor | None) -> bool:
    """Whether PyTorch has sparse products of these, with gradients."""
    return (
        sent.device.type == "cpu"
        and sent.dtype in (torch.float32, torch.float64)
        and sent.dim() == (3 if isinstance(conv, HEADED) else 2)
        and (factors is None or factors.dtype == sent.dtype)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportAttributeAccessIssue]
    )


def _pattern(known: "list[Pattern]", edges: Tensor, shape: tuple[int, int]) -> "Pattern":
    """That of these edges; each is sorted once, and known again by its content."""
    for place, pattern in enumerate(known):
        if pattern.shape == shape and torch.equal(pattern.edges, edges):
            known.insert(0, known.pop(place))
            return pattern
    known.insert(0, Pattern(edges, shape))
    del known[KNOWN:]
    return known[0]


class Pattern:
    """Where a sparse matrix has its factors: a row for each receiver, a column for each sender.

    Args:
        edges: From senders to receivers; at most as many as there are pairs of them.
        shape: How many receivers there are, and how many senders.
    """

    def __init__(self, edges: Int[Tensor, "2 edges"], shape: tuple[int, int]) -> None:
        self.edges, self.shape = edges.clone(), shape
        self.order = torch.argsort(edges[1], stable=True)
        self.degrees = torch.bincount(edges[1], minlength=shape[0])
        places = torch.cat([edges.new_zeros(1), self.degrees.cumsum(0)])
        self._places, self._columns = places.int(), edges[0, self.order].int()

    @functools.cached_property
    def transposed(self) -> "Pattern":
        """From receivers to senders."""
        other = Pattern(self.edges.flip(0), (self.shape[1], self.shape[0]))
        vars(other)["transposed"] = self
        return other

    def matrices(self, factors: Float[Tensor, "edges heads"]) -> list[Tensor]:
        """A matrix for each head."""
        heads = factors.detach().T.contiguous().index_select(1, self.order)
        with warnings.catch_warnings():  # PyTorch calls it a beta, once
            warnings.filterwarnings("ignore", "Sparse (CSR tensor support|invariant checks)")
            return [
                torch.sparse_csr_tensor(self._places, self._columns, head, self.shape)
                for head in heads
            ]


def sparse_product(
    sent: Float[Tensor, "senders heads channels"],
    factors: Float[Tensor, "edges heads"],
    pattern: Pattern,
) -> Float[Tensor, "receivers heads channels"]:
    """z_v = Σ_u c_uv s_u for each head, differentiable in both as often as one likes.

    Args:
        sent: What each sender holds, s.
        factors: The c_uv, in the order of the pattern's edges.
        pattern: Its edges.
    """
    return _Product.apply(sent, factors, pattern)  # pyright: ignore[reportReturnType]


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, sent: Tensor, factors: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(sent, factors)
        ctx.pattern = pattern
        pairs = zip(pattern.matrices(factors), sent.unbind(1), strict=True)
        return torch.stack([matrix @ s.contiguous() for matrix, s in pairs], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        sent, factors = ctx.saved_tensors
        to_sent = to_factors = None
        if ctx.needs_input_grad[0]:
            to_sent = sparse_product(grads[0], factors, ctx.pattern.transposed)
        if ctx.needs_input_grad[1]:
            to_factors = _Inner.apply(grads[0], sent, ctx.pattern)
        return to_sent, to_factors, None


class _Inner(Function):
    """⟨received_v, sent_u⟩ for each edge and head."""

    @staticmethod
    def forward(ctx: Any, received: Tensor, sent: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(received, sent)
        ctx.pattern = pattern
        matrices = pattern.matrices(sent.new_ones(len(pattern.order), sent.shape[1]))
        inner = sent.new_empty(len(pattern.order), sent.shape[1])
        for head, matrix in enumerate(matrices):
            left, right = received[:, head].contiguous(), sent[:, head].contiguous()
            sampled = torch.sparse.sampled_addmm(matrix, left, right.T, beta=0.0)
            inner[pattern.order, head] = sampled.values()
        return inner

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        received, sent = ctx.saved_tensors
        to_received = to_sent = None
        if ctx.needs_input_grad[0]:
            to_received = sparse_product(sent, grads[0], ctx.pattern)
        if ctx.needs_input_grad[1]:
            to_sent = sparse_product(received, grads[0], ctx.pattern.transposed)
        return to_received, to_sent, None
