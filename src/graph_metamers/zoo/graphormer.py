"""A node-level Graphormer that reaches twenty thousand nodes on a CPU."""

import math
from typing import Any

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch_geometric.utils import degree

from graph_metamers.errors import InputError, check_count
from graph_metamers.zoo.distances import path_lengths
from graph_metamers.zoo.models import Model, Norm, check_heads, drop
from graph_metamers.zoo.settings import Training

CHUNK_ENTRIES = 1 << 21  # attention weights in memory at a time, for all heads together
MAX_DEGREE = 64


class Graphormer(Model):
    """A node-level variant of Graphormer (Ying et al., NeurIPS 2021).

    A linear map of the features plus embeddings of in- and out-degree (their centrality
    encoding), then blocks of pre-norm multi-head attention over *all* nodes, with a learned bias
    for each head and shortest-path distance, and a feed-forward network:

        h ← h + softmax(Q Kᵀ / √u + b[distance]) V W,   h ← h + FFN(h)

    `layer1`, `layer2`, … return h^(1), h^(2), …; `head` maps the last to class scores.

    Unlike the original it classifies nodes, not graphs: it has no virtual node and no edge
    encoding along paths; distances from `cap` on share one bias, unreachable pairs another, and
    the bias starts at −2 distance; it is trained on samples of the graph (see `sampled`), for at
    most 300 epochs.

    A forward takes O(nodes² · hidden) time and O(nodes²) bytes for the distances (389 MB on
    PubMed), which are computed once; attention weights exist for a chunk only and are
    computed again backward. See docs/models.md for measured seconds and memory.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        hidden: Units of each block, of all heads together.
        heads: Attention heads.
        residual: Whether attention and feed-forward network are added to their inputs.
        norm: "layer" (the original's) or "batch" before each, None for none.
        cap: Distance from which on all are alike.
        sample: Nodes that training draws at random, beside the labelled and their neighbours.
        **options: Those of `Model`.
    """

    name = "graphormer"
    summary = "attention over all nodes, our node-level variant (Ying et al. 2021)"
    # Fewer looks at the validation nodes, each of which costs an attention over all nodes.
    default_training = Training(epochs=300, patience=100, validate_every=10)

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 32,
        heads: int = 2,
        residual: bool = True,
        norm: Norm | None = "layer",
        cap: int = 8,
        sample: int = 1024,
        **options: Any,
    ) -> None:
        super().__init__(hidden=hidden, residual=residual, norm=norm, **options)
        check_heads(hidden, heads)
        check_count("sample", sample)
        if not 1 <= cap <= 120:
            raise InputError(f"cap must be between 1 and 120; got {cap}.")
        self._cap, self._sample = cap, sample
        self.embed = nn.Linear(in_features, hidden)
        self.in_degree = nn.Embedding(MAX_DEGREE + 1, hidden)
        self.out_degree = nn.Embedding(MAX_DEGREE + 1, hidden)
        for embedding in (self.in_degree, self.out_degree):
            nn.init.normal_(embedding.weight, std=0.02)
        for name in self.layer_names:
            attention = Attention(hidden, heads, cap + 2)
            wide, narrow = nn.Linear(hidden, 2 * hidden), nn.Linear(2 * hidden, hidden)
            ffn = nn.Sequential(wide, self.sigma(), narrow)
            norms = (self._normed_or_not(hidden), self._normed_or_not(hidden))
            self.add_module(name, Block(attention, ffn, norms, residual, self._dropout))
        self.head = nn.Sequential(self._normed_or_not(hidden), nn.Linear(hidden, classes))

    def forward(
        self, x: Float[Tensor, "nodes features"], edge_index: Tensor
    ) -> Float[Tensor, "nodes classes"]:
        """Class scores of x, edge_index [2, edges]."""
        distance = path_lengths(edge_index, len(x), self._cap).to(x.device)
        return self._scores(x, self._centrality(edge_index, len(x)), distance)

    def sampled(
        self,
        x: Float[Tensor, "nodes features"],
        edge_index: Tensor,
        nodes: Int[Tensor, " labelled"],
    ) -> Float[Tensor, "labelled classes"]:
        """Class scores of some nodes, estimated from a sample of the graph: what is trained.

        The sample holds the nodes, their neighbours and, of all others, `sample` at random. Each
        of these stands for as many as were left out: the logarithm of that number is added to
        its attention logits, so that the softmax's sums are right on average. With `sample` at
        the number of nodes it is exact.
        """
        distance = path_lengths(edge_index, len(x), self._cap).to(x.device)
        near = (distance[nodes] <= 1).any(dim=0)
        others = (~near).nonzero().view(-1)
        drawn = others[torch.randperm(len(others), device=x.device)[: self._sample]]
        chosen = torch.cat([near.nonzero().view(-1), drawn])
        log_count = x.new_zeros(len(chosen))
        if len(drawn):
            log_count[-len(drawn) :] = math.log(len(others) / len(drawn))
        places = chosen.new_empty(len(x))
        places[chosen] = torch.arange(len(chosen), device=x.device)
        centrality = self._centrality(edge_index, len(x))[chosen]
        scores = self._scores(x[chosen], centrality, distance[chosen][:, chosen], log_count)
        return scores[places[nodes]]

    def _scores(self, x: Tensor, centrality: Tensor, *graph: Tensor) -> Tensor:
        h = self.embed(drop(x, self._dropout, self.training)) + centrality
        return self.head(self.through_layers(h, *graph))

    def _centrality(self, edge_index: Tensor, nodes: int) -> Tensor:
        out, into = (degree(e, nodes, torch.long).clamp(max=MAX_DEGREE) for e in edge_index)
        return self.in_degree(into) + self.out_degree(out)

    def _normed_or_not(self, hidden: int) -> nn.Module:
        return self.normed(hidden) or nn.Identity()


class Block(nn.Module):
    """Attention and a feed-forward network, each behind a norm and added to its input."""

    def __init__(
        self,
        attention: "Attention",
        ffn: nn.Module,
        norms: tuple[nn.Module, nn.Module],
        residual: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norms
        self.attention, self.ffn = attention, ffn
        self.drop = nn.Dropout(dropout)
        self._residual = residual

    def forward(self, h: Tensor, distance: Tensor, log_count: Tensor | None = None) -> Tensor:
        h = self._added(h, self.drop(self.attention(self.norm1(h), distance, log_count)))
        return self._added(h, self.drop(self.ffn(self.norm2(h))))

    def _added(self, h: Tensor, branch: Tensor) -> Tensor:
        return h + branch if self._residual else branch


class Attention(nn.Module):
    """Multi-head attention over all nodes, biased by shortest-path distance."""

    def __init__(self, hidden: int, heads: int, buckets: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        # Near nodes count more from the start: with equal weights a node drowns in all others.
        self.bias = nn.Parameter(-2 * torch.arange(buckets).float().repeat(heads, 1))

    def forward(self, h: Tensor, distance: Tensor, log_count: Tensor | None = None) -> Tensor:
        # [nodes, 3 hidden] → three of [heads, nodes, units]
        q, k, v = self.qkv(h).view(len(h), 3, self._heads, -1).permute(1, 2, 0, 3)
        mixed = biased_attention(q, k, v, self.bias, distance, log_count)
        return self.out(mixed.transpose(0, 1).reshape(len(h), -1))


def biased_attention(
    q: Float[Tensor, "heads queries units"],
    k: Float[Tensor, "heads keys units"],
    v: Float[Tensor, "heads keys units"],
    bias: Float[Tensor, "heads buckets"],
    distance: Int8[Tensor, "queries keys"],
    log_count: Float[Tensor, " keys"] | None = None,
    *,
    entries: int = CHUNK_ENTRIES,
) -> Float[Tensor, "heads queries units"]:
    """softmax(Q Kᵀ / √units + bias[distance] + log count) V, a chunk of queries at a time.

    `log_count` is the logarithm of how many keys each stands for, by default 0; `entries` are the
    attention weights in memory at a time.
    """
    chunk = max(1, min(q.shape[1], entries // (len(q) * k.shape[1])))
    q, k, v = (t.contiguous() for t in (q * q.shape[-1] ** -0.5, k, v))
    return _BiasedAttention.apply(q, k, v, bias, distance, log_count, chunk)  # pyright: ignore[reportReturnType]


class _BiasedAttention(Function):
    """No weights are kept: backward computes each chunk's again, in memory that is taken once.

    To keep them, gigabytes on large graphs, saved about a tenth of the time from Cora's size on.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        bias: Tensor,
        distance: Tensor,
        log_count: Tensor | None,
        chunk: int,
    ) -> Tensor:
        out, k_t = torch.empty_like(q), k.transpose(1, 2).contiguous()
        held = q.new_empty(len(q), chunk, k.shape[1])
        for first in range(0, len(distance), chunk):
            rows = slice(first, first + chunk)
            out[:, rows] = _weights(held, q[:, rows], k_t, bias, distance[rows], log_count) @ v
        ctx.save_for_backward(q, k, v, bias, distance, log_count, out)
        ctx.chunk = chunk
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, bias, distance, log_count, out = ctx.saved_tensors
        grad_q, grad_k, grad_v, grad_bias = (torch.zeros_like(t) for t in (q, k, v, bias))
        k_t, v_t = (t.transpose(1, 2).contiguous() for t in (k, v))
        grad_out = grads[0].contiguous()
        shift = (grad_out * out).sum(-1, keepdim=True)
        held, of_logits = q.new_empty(2, len(q), ctx.chunk, k.shape[1])
        for first in range(0, len(distance), ctx.chunk):
            rows = slice(first, first + ctx.chunk)
            p = _weights(held, q[:, rows], k_t, bias, distance[rows], log_count)
            g = grad_out[:, rows]
            grad_v.baddbmm_(p.transpose(1, 2), g)
            # ∂L/∂logits = P ⊙ (g Vᵀ − Σ g ⊙ out)
            d = torch.bmm(g, v_t, out=of_logits[:, : g.shape[1]])
            d -= shift[:, rows]
            d *= p
            grad_q[:, rows] = d @ k
            grad_k.baddbmm_(d.transpose(1, 2), q[:, rows])
            if ctx.needs_input_grad[3]:
                distances = distance[rows].reshape(-1).long()
                for head, of_head in zip(grad_bias, d, strict=True):
                    head.index_add_(0, distances, of_head.reshape(-1))
        return grad_q, grad_k, grad_v, grad_bias, None, None, None


def _weights(
    held: Tensor,
    q: Tensor,
    k_t: Tensor,
    bias: Tensor,
    distance: Tensor,
    log_count: Tensor | None,
) -> Tensor:
    """The attention weights of a chunk of queries, in the memory held for them."""
    logits = torch.bmm(q, k_t, out=held[:, : q.shape[1]])
    if log_count is not None:
        logits += log_count
    places = distance.reshape(-1).int()
    for of_head, table in zip(logits, bias, strict=True):
        of_head.view(-1).add_(table.index_select(0, places))
    return torch.softmax(logits, dim=-1, out=logits)
