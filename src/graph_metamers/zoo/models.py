"""The paper's architectures on PyG's own convolutions, with layers named as it counts them."""

import itertools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import ChebConv, GATConv, GCNConv, GINConv, SAGEConv

from graph_metamers.errors import InputError, check_count, known_name
from graph_metamers.zoo.settings import Training

Activation = Literal["relu", "elu", "leaky_relu", "gelu", "silu", "tanh"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
Norm = Literal["batch", "layer"]
NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class GraphLayer(nn.Module):
    """h^(k) = σ(norm(conv(dropout(h^(k−1)), edges)) + skip(dropout(h^(k−1)))), Eqs. 1–2.

    What is None is left out. A head, in a network's last layer, maps h^(K) to class scores.
    """

    def __init__(
        self,
        conv: nn.Module,
        *,
        dropout: float,
        norm: nn.Module | None = None,
        skip: nn.Module | None = None,
        activation: nn.Module | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.skip = skip
        self.activation = activation
        self.head = head
        self.dropout = dropout

    def forward(self, h: Tensor, *graph: Tensor | None, **named: Tensor | None) -> Tensor:
        h = drop(h, self.dropout, self.training)
        z = self.conv(h, *graph, **named)
        if self.norm is not None:
            z = self.norm(z)
        if self.skip is not None:
            z = z + self.skip(h)
        if self.activation is not None:
            z = self.activation(z)
        return z if self.head is None else self.head(drop(z, self.dropout, self.training))


class Model(nn.Module):
    """What all architectures share: one family of options, and numbered layers.

    `layer1`, `layer2`, … return the paper's h^(1), h^(2), …, after the nonlinearity.

    Args:
        hidden: Units of each layer but the class scores.
        depth: Number of layers K.
        activation: One of `ACTIVATIONS`.
        residual: Whether each layer adds its input before the nonlinearity, through a linear map
            where the widths differ.
        dropout: Share of the inputs of each layer that training drops, in [0, 1).
        norm: "batch" or "layer" between convolution and nonlinearity, None for none.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_training: ClassVar[Training] = Training()

    def __init__(
        self,
        *,
        hidden: int = 16,
        depth: int = 2,
        activation: Activation = "relu",
        residual: bool = False,
        dropout: float = 0.5,
        norm: Norm | None = None,
    ) -> None:
        super().__init__()
        check_count("hidden", hidden)
        check_count("depth", depth)
        known_name("activation", activation, ACTIVATIONS, "one of the zoo's")
        known_name("norm", norm or "layer", NORMS, "one of the zoo's", more=", or None")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be a share in [0, 1); got {dropout}.")
        self._depth, self._activation, self._residual = depth, activation, residual
        self._dropout, self._norm = dropout, norm

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers, first to last, as `layer=` takes them."""
        return [f"layer{k + 1}" for k in range(self._depth)]

    def through_layers(self, h: Tensor, *graph: Any, **named: Any) -> Tensor:
        """What the last layer returns, each being called with the one before and the graph."""
        for name in self.layer_names:
            h = self.get_submodule(name)(h, *graph, **named)
        return h

    def sigma(self) -> nn.Module:
        """The nonlinearity."""
        return ACTIVATIONS[self._activation]()

    def normed(self, width: int) -> nn.Module | None:
        """A norm of so many units."""
        return None if self._norm is None else NORMS[self._norm](width)


class NodeClassifier(Model):
    """Convolutions one after the other; the last has neither norm nor nonlinearity.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        **options: Those of `Model`.
    """

    def __init__(self, in_features: int, classes: int, *, hidden: int = 16, **options: Any) -> None:
        super().__init__(hidden=hidden, **options)
        widths = [in_features, *[hidden] * (self._depth - 1), classes]
        for name, (fan_in, fan_out) in zip(
            self.layer_names, itertools.pairwise(widths), strict=True
        ):
            last = name == self.layer_names[-1]
            layer = GraphLayer(
                self.convolution(fan_in, fan_out, last),
                norm=None if last else self.normed(fan_out),
                skip=self._skip(fan_in, fan_out),
                activation=None if last else self.sigma(),
                dropout=self._dropout,
            )
            self.add_module(name, layer)

    def _skip(self, fan_in: int, fan_out: int) -> nn.Module | None:
        if not self._residual:
            return None
        return nn.Identity() if fan_in == fan_out else nn.Linear(fan_in, fan_out, bias=False)

    @abstractmethod
    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        """The architecture's convolution from `fan_in` to `fan_out` units."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Class scores [nodes, classes] of x [nodes, in_features], edge_index [2, edges]."""
        return self.through_layers(x, edge_index)


class WeightedNodeClassifier(NodeClassifier):
    """A node classifier whose convolution takes edge weights."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """The same, with edge_weight [edges] or None."""
        return self.through_layers(x, edge_index, edge_weight)


class GCN(WeightedNodeClassifier):
    """Graph convolutional network (Kipf and Welling, ICLR 2017)."""

    name = "gcn"
    summary = "graph convolution, symmetric normalisation (Kipf and Welling 2017)"

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        return GCNConv(fan_in, fan_out)


class ChebNet(WeightedNodeClassifier):
    """Chebyshev spectral network (Defferrard et al., NeurIPS 2016).

    Args:
        K: Number of Chebyshev polynomials T_0 … T_{K−1}.
    """

    name = "chebnet"
    summary = "Chebyshev polynomials of the Laplacian, K=3 (Defferrard et al. 2016)"

    def __init__(self, in_features: int, classes: int, *, K: int = 3, **options: Any) -> None:
        check_count("K", K)
        self._K = K
        super().__init__(in_features, classes, **options)

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        return ChebConv(fan_in, fan_out, self._K)


class GraphSAGE(NodeClassifier):
    """GraphSAGE with mean aggregation (Hamilton et al., NeurIPS 2017)."""

    name = "graphsage"
    summary = "own features beside the neighbours' mean (Hamilton et al. 2017)"

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        return SAGEConv(fan_in, fan_out)


class GIN(NodeClassifier):
    """Graph isomorphism network (Xu et al., ICLR 2019): a two-layer MLP on sums, ε learned."""

    name = "gin"
    summary = "sums of neighbours through a two-layer MLP, ε learned (Xu et al. 2019)"

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        width = max(fan_out, 16) if last else fan_out
        mlp = nn.Sequential(nn.Linear(fan_in, width), nn.ReLU(), nn.Linear(width, fan_out))
        return GINConv(mlp, train_eps=True)


class GAT(NodeClassifier):
    """Graph attention network (Veličković et al., ICLR 2018).

    Args:
        heads: Attention heads of each layer but the last, side by side: `hidden` is the width of
            all of them together, so each has hidden / heads units. The last layer has one head.
        dropout: Share of the inputs of each layer, and of the attention weights, that training
            drops.
    """

    name = "gat"
    summary = "attention over neighbours, 8 heads (Veličković et al. 2018)"

    conv: ClassVar[type[nn.Module]] = GATConv

    def __init__(
        self, in_features: int, classes: int, *, hidden: int = 64, heads: int = 8, **options: Any
    ) -> None:
        check_heads(hidden, heads)
        self._heads = heads
        super().__init__(in_features, classes, hidden=hidden, **options)

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        heads = 1 if last else self._heads
        return self.conv(fan_in, fan_out // heads, heads=heads, dropout=self._dropout)


def check_heads(hidden: int, heads: int, *, units: int = 1) -> None:
    """Raise unless `hidden` units can be shared out among the heads, `units` or more for each."""
    check_count("hidden", hidden)
    check_count("heads", heads)
    if hidden % heads or hidden < units * heads:
        raise InputError(
            f"hidden must be a multiple of heads={heads}, with {units} or more units for each; got "
            f"{hidden}."
        )


def drop(h: Tensor, share: float, training: bool) -> Tensor:
    """Dropout that draws few random numbers; in distribution the same as `F.dropout`.

    To draw a number for each entry is most of a training epoch on a CPU. One is drawn only for
    what is not zero already, where most is, as in bags of words; else a byte for each, where the
    share is a whole number of 256ths.
    """
    if not training or share == 0:
        return h
    if h.requires_grad:
        return F.dropout(h, share)
    if 4 * int(h.count_nonzero()) <= h.numel():
        flat = h.reshape(-1)
        places = flat.nonzero().view(-1)
        return (
            torch.zeros_like(flat).index_copy_(0, places, F.dropout(flat[places], share)).view_as(h)
        )
    if h.device.type != "cpu" or not (256 * share).is_integer():
        return F.dropout(h, share)
    words = torch.randint(-(2**63), 2**63 - 1, (-(-h.numel() // 8),), device=h.device)
    kept = words.view(torch.uint8)[: h.numel()].view_as(h) >= 256 * share
    return (h * kept).mul_(1 / (1 - share))
