"""How a soft edge reaches each convolution exactly.

An edge of weight 0 is a deleted edge, one of weight 1 is there, and the gradient is that of what
lies between. Multiplying messages by the weight is exact only where they are summed:

- a sum of messages (GINConv, GraphConv, …): m'_vu = w_vu m_vu;
- degree-normalised sums, by the convolution's own `edge_weight` (GCNConv, ChebConv, SGConv, …):
  the weights enter the degrees, D_vv = Σ_u w_vu;
- a mean (SAGEConv): m'_vu = w_vu m_vu |N_v| / Σ_u w_vu;
- attention (GATConv, GATv2Conv, TransformerConv): log w_vu added to the logits, that is
  α'_vu = w_vu α_vu / Σ_u w_vu α_vu.
"""

import inspect
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch_geometric.data import Data
from torch_geometric.nn import (
    AGNNConv,
    ChebConv,
    ClusterGCNConv,
    EGConv,
    FAConv,
    GCNConv,
    HypergraphConv,
    MessagePassing,
    MFConv,
    PANConv,
    PDNConv,
    PointTransformerConv,
    SuperGATConv,
)
from torch_geometric.nn.aggr import MeanAggregation, SumAggregation
from torch_geometric.utils import scatter

from graph_metamers.errors import InputError, listing

WEIGHT = "soft_edge_weight"  # of a graph: one weight for each column of edge_index
ADJACENCY = "soft_adjacency"  # of a graph: a dense adjacency instead of edge_index
DENSE = (GCNConv, ChebConv)
# Sums whose messages hold degrees or a softmax of their own, out of a weight's reach.
INEXACT = (
    *(AGNNConv, ClusterGCNConv, EGConv, FAConv, HypergraphConv, MFConv),
    *(PANConv, PDNConv, PointTransformerConv, SuperGATConv),
)

Operator = Literal["normalised", "sum", "mean", "attention"]


def operator_of(conv: MessagePassing) -> Operator | None:
    """How a soft edge reaches `conv`, or None where no exact way is known.

    >>> from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv
    >>> [operator_of(c) for c in (GCNConv(2, 2), GINConv(nn.Identity()), SAGEConv(2, 2))]
    ['normalised', 'sum', 'mean']
    >>> operator_of(GATConv(2, 2)), operator_of(SAGEConv(2, 2, aggr="max"))
    ('attention', None)
    """
    if isinstance(conv, INEXACT) or getattr(conv, "attention", False):
        return None
    sums = isinstance(conv.aggr_module, SumAggregation)
    if sums and ("alpha" in inspect.signature(conv.message).parameters or hasattr(conv, "_alpha")):
        return "attention"
    if sums and "edge_weight" in inspect.signature(conv.forward).parameters:
        return "normalised"
    if sums:
        return "sum"
    return "mean" if isinstance(conv.aggr_module, MeanAggregation) else None


@contextmanager
def soft_edges(model: nn.Module, graph: Data) -> Generator[None]:
    """Inside, the model runs on the soft edges of `graph`.

    Args:
        model: A model whose graph layers are PyG convolutions.
        graph: A graph with `soft_edge_weight` [edges], or `soft_adjacency` [nodes, nodes] in
            which A[u, v] is the weight of u → v; with neither, nothing happens.

    Raises:
        InputError: A convolution is reached by no soft edge, or works on other edges than the
            graph's.

    Example:
        >>> from torch_geometric.nn import GIN
        >>> data = Data(x=torch.eye(3), edge_index=torch.tensor([[0, 1], [1, 2]]))
        >>> model = GIN(3, 4, 1).eval()
        >>> data.soft_edge_weight = torch.tensor([1.0, 0.0])
        >>> with soft_edges(model, data):
        ...     soft = model(data.x, data.edge_index)
        >>> torch.allclose(soft, model(data.x, data.edge_index[:, :1]))
        True
    """
    if ADJACENCY not in graph and WEIGHT not in graph:
        yield
        return
    with ExitStack() as stack:
        for name, conv in _convolutions(model).items():
            if ADJACENCY in graph:
                stack.enter_context(_dense(name, conv, graph[ADJACENCY]))
            else:
                stack.enter_context(_sparse(name, conv, graph))
        yield


def _convolutions(model: nn.Module) -> dict[str, MessagePassing]:
    return {n: module for n, module in model.named_modules() if isinstance(module, MessagePassing)}


@contextmanager
def _sparse(name: str, conv: MessagePassing, graph: Data) -> Generator[None]:
    operator = operator_of(conv)
    # GCNConv counts loops twice (improved=True) only where it is given weights.
    improved = vars(conv).get("improved")
    seen: list[Tensor] = []  # the edges of the propagation under way

    def weighted(_: nn.Module, args: Any, kwargs: Any) -> Any:
        bound = inspect.signature(conv.forward).bind_partial(*args, **kwargs)
        given = bound.arguments.get("edge_weight")
        weight = _weights_of(bound.arguments["edge_index"], graph, name)
        bound.arguments["edge_weight"] = weight if given is None else weight * given
        if improved is not None:
            vars(conv)["improved"] = improved and given is not None
        return bound.args, bound.kwargs

    def remembered(_: nn.Module, inputs: Any) -> None:
        seen[:] = inputs[:1]

    def scaled(_: nn.Module, inputs: Any, messages: Tensor) -> Tensor:
        (edges,) = seen
        weight = _weights_of(edges, graph, name)
        target = edges[1 if conv.flow == "source_to_target" else 0]
        if operator == "mean":
            weight = weight * _reciprocal(weight, target, graph, counted=True)
        elif operator == "attention":
            # Sums of two or more heads at once, as the softmax has them.
            alpha = inputs[0].get("alpha", getattr(conv, "_alpha", None))
            weight = weight.view(-1, *[1] * (alpha.dim() - 1))
            weight = weight * _reciprocal(weight * alpha, target, graph)
        return messages * weight.view(*weight.shape, *[1] * (messages.dim() - weight.dim()))

    if operator is None:
        raise InputError(
            f"No soft edge reaches {type(conv).__name__} '{name}' exactly (aggr={conv.aggr!r}). "
            "Use search=EdgeSwap(), which needs none."
        )
    handles = (
        [conv.register_forward_pre_hook(weighted, with_kwargs=True)]
        if operator == "normalised"
        else [
            conv.register_propagate_forward_pre_hook(remembered),
            conv.register_message_forward_hook(scaled),
        ]
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if improved is not None:
            vars(conv)["improved"] = improved


def _weights_of(edges: Int[Tensor, "2 some"], graph: Data, name: str) -> Float[Tensor, " some"]:
    """The weights of the edges that a convolution sees: the graph's, and loops of its own."""
    own: Tensor = graph["edge_index"]
    weight = _finite(graph[WEIGHT])
    for kept in (None, own[0] != own[1]):
        expected = own if kept is None else own[:, kept]
        count = expected.shape[1]
        if isinstance(edges, Tensor) and edges.shape[1] >= count:  # pyright: ignore[reportUnnecessaryIsInstance]
            loops = edges[:, count:]
            if torch.equal(edges[:, :count], expected) and torch.equal(loops[0], loops[1]):
                w = weight if kept is None else weight[kept]
                return torch.cat([w, w.new_ones(loops.shape[1])])
    raise InputError(
        f"'{name}' works on other edges than data.edge_index, so no soft edge reaches it. "
        "Use search=EdgeSwap(), which needs none."
    )


def _reciprocal(weight: Tensor, target: Tensor, graph: Data, *, counted: bool = False) -> Tensor:
    """1 / Σ_u w_vu of each edge's target, 0 where nothing is left; times |N_v| if `counted`."""
    nodes = len(graph["x"])
    total = scatter(weight, target, dim=0, dim_size=nodes, reduce="sum")
    left = total > 0
    inverse = torch.where(left, 1 / torch.where(left, total, 1), 0)
    if counted:
        inverse = inverse * torch.bincount(target, minlength=nodes).to(inverse)
    return inverse[target]


def _finite(weight: Tensor) -> Tensor:
    """The same; a node that loses its last edge has an infinite slope in d^(−1/2): taken as 0."""
    if weight.requires_grad:
        weight = weight * 1
        weight.register_hook(_without_infinities)
    return weight


def _without_infinities(gradient: Tensor) -> Tensor:
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


@contextmanager
def _dense(name: str, conv: MessagePassing, adjacency: Tensor) -> Generator[None]:
    if not _knows_dense(conv):
        raise InputError(
            f"The dense relaxation of Eqs. 11–12 knows {listing(c.__name__ for c in DENSE)} with "
            f"symmetric normalisation; '{name}' is a {type(conv).__name__}. "
            "Use search=EdgeSwap() or Blocks()."
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


def straight_through(
    soft: Float[Tensor, "*pairs"], hard: Float[Tensor, "*pairs"], slope: float
) -> Float[Tensor, "*pairs"]:
    """Eq. 12, A' = P + stopgrad(A_hard − P) with P = sigmoid(slope · A_soft).

    >>> soft = torch.zeros(1, requires_grad=True)
    >>> straight_through(soft, torch.ones(1), 1.0).backward()
    >>> soft.grad
    tensor([0.2500])
    """
    return _StraightThrough.apply(soft, hard, slope)  # pyright: ignore[reportReturnType]


class _StraightThrough(Function):
    """Exactly the hard values forward, the gradient of P backward."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, hard: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(soft)
        ctx.slope = slope
        return hard.view_as(hard)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (soft,) = ctx.saved_tensors
        p = torch.sigmoid(ctx.slope * soft)
        return ctx.slope * torch.ops.aten.sigmoid_backward(grads[0], p), None, None
