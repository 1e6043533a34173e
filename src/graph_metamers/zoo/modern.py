"""Four architectures after the paper's six: attention, depth, propagation, a graph transformer."""

from dataclasses import replace
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import APPNP as Propagation
from torch_geometric.nn import GATv2Conv, GCN2Conv, GCNConv, GPSConv

from graph_metamers.errors import InputError, check_count, check_positive
from graph_metamers.zoo.models import (
    ACTIVATIONS,
    GAT,
    NORMS,
    Activation,
    Norm,
    WeightedNodeClassifier,
    check_options,
    drop,
)
from graph_metamers.zoo.settings import Training

# The learning rate of their papers: at the zoo's own, deep or long propagation trains for hours.
QUICK = Training(lr=1e-2, patience=100)

Scores = Float[Tensor, "nodes classes"]
Features = Float[Tensor, "nodes features"]


class GATv2(GAT):
    """Graph attention network with dynamic attention (Brody et al., ICLR 2022).

    As `GAT`, but a neighbour's rank depends on who asks: the logit of u for v is
    aᵀ LeakyReLU(W_l h_u + W_r h_v), where `GAT` has LeakyReLU(a_lᵀ W h_u + a_rᵀ W h_v).
    """

    name = "gatv2"
    summary = "attention whose ranking depends on the asking node, 8 heads (Brody et al. 2022)"

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        heads = 1 if last else self._heads
        return GATv2Conv(fan_in, fan_out // heads, heads=heads, dropout=self._dropout)


class APPNP(WeightedNodeClassifier):
    """Predict, then propagate (Gasteiger et al., ICLR 2019).

    An MLP on each node alone, whose scores H are then spread by personalised PageRank,

        Z ← H,   K times   Z ← (1 − α) Â Z + α H,

    with the symmetrically normalised Â of a graph with self-loops. Only the last layer sees the
    graph: `layer1` … are the MLP's hidden layers, and there every node must match on its own.

    Args:
        K: Steps of propagation.
        alpha: Chance α of a return to the node itself, in [0, 1]; at 1 the graph is not seen.
        dropout: Share of the inputs of each layer, and of the edges in each step of propagation,
            that training drops.
    """

    name = "appnp"
    summary = "an MLP, then personalised PageRank: layer1 is blind to the graph (Gasteiger 2019)"
    # With half of it its first epochs are best; with the 5e-3 of its paper, there of the first
    # layer only, nothing is learned from PubMed's small features.
    default_training = replace(QUICK, weight_decay=1e-3)

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 64,
        K: int = 10,
        alpha: float = 0.1,
        dropout: float = 0.5,
        **options: Any,
    ) -> None:
        check_count("K", K)
        _check_alpha(alpha)
        self._K, self._alpha, self._dropout = K, alpha, dropout
        super().__init__(in_features, classes, hidden=hidden, dropout=dropout, **options)

    def convolution(self, fan_in: int, fan_out: int, last: bool) -> nn.Module:
        if not last:
            return NodeLinear(fan_in, fan_out)
        return Propagated(fan_in, fan_out, Propagation(self._K, self._alpha, self._dropout))


class NodeLinear(nn.Linear):
    """A linear map of each node alone, at the place of a convolution: it ignores the graph."""

    def forward(self, input: Tensor, *_: Tensor | None) -> Tensor:
        return super().forward(input)


class Propagated(nn.Module):
    """A linear map of each node, then steps along the edges that have no weights of their own."""

    def __init__(self, fan_in: int, fan_out: int, propagation: nn.Module) -> None:
        super().__init__()
        self.lin = nn.Linear(fan_in, fan_out)
        self.propagation = propagation

    def forward(self, h: Tensor, *graph: Tensor | None) -> Tensor:
        return self.propagation(self.lin(h), *graph)


class EmbeddedClassifier(nn.Module):
    """What begins with a linear map of the features, `embed`, and has layers of one width.

    `layer1`, `layer2`, … return h^(1), h^(2), …; the last maps its own on to class scores.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    default_training: ClassVar[Training] = Training()

    def __init__(self, in_features: int, hidden: int, depth: int, dropout: float) -> None:
        super().__init__()
        check_count("hidden", hidden)
        check_count("depth", depth)
        self._depth, self._dropout = depth, dropout
        self.embed = nn.Linear(in_features, hidden)

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers, first to last, as `layer=` takes them."""
        return [f"layer{k + 1}" for k in range(self._depth)]

    def embedded(self, x: Tensor) -> Tensor:
        """The linear map of the features, of which training drops some."""
        return self.embed(drop(x, self._dropout, self.training))


class GCNII(EmbeddedClassifier):
    """Deep graph convolution with initial residual and identity mapping (Chen et al., ICML 2020).

        h^(0) = σ(W x),   h^(k) = σ(norm(((1 − α) Â h^(k−1) + α h^(0)) ((1 − β_k) I + β_k Θ_k))),

    with β_k = log(θ / k + 1) and the symmetrically normalised Â of a graph with self-loops. The
    last layer maps h^(K) on to class scores. The original has up to 64 layers.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        hidden: Units of each layer.
        depth: Number of convolutions K.
        alpha: Share α of h^(0) in each layer's input, in [0, 1].
        theta: Strength θ of the weights Θ, which fades with depth.
        activation: One of `ACTIVATIONS`.
        residual: Whether each layer also adds h^(k−1) before the nonlinearity.
        dropout: Share of the inputs of each layer that training drops, in [0, 1).
        norm: "batch" or "layer" between convolution and nonlinearity, None for none.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name = "gcnii"
    summary = "16 convolutions, each with some of the first input (Chen et al. 2020)"
    default_training = QUICK

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 64,
        depth: int = 16,
        alpha: float = 0.1,
        theta: float = 0.5,
        activation: Activation = "relu",
        residual: bool = False,
        dropout: float = 0.5,
        norm: Norm | None = None,
    ) -> None:
        check_options(activation, dropout, norm)
        super().__init__(in_features, hidden, depth, dropout)
        _check_alpha(alpha)
        check_positive("theta", theta)
        self.activation = ACTIVATIONS[activation]()
        for k in range(1, depth + 1):
            layer = InitialResidualLayer(
                GCN2Conv(hidden, alpha, theta, k),
                norm=None if norm is None else NORMS[norm](hidden),
                activation=ACTIVATIONS[activation](),
                residual=residual,
                dropout=dropout,
                head=nn.Linear(hidden, classes) if k == depth else None,
            )
            self.add_module(f"layer{k}", layer)

    def forward(self, x: Features, edge_index: Tensor, edge_weight: Tensor | None = None) -> Scores:
        """Class scores of x, edge_index [2, edges], edge_weight [edges] or None."""
        h = first = self.activation(self.embedded(x))
        for name in self.layer_names:
            h = self.get_submodule(name)(h, first, edge_index, edge_weight)
        return h


class InitialResidualLayer(nn.Module):
    """h^(k) of `GCNII`; the network's last layer has a head, which returns class scores."""

    def __init__(
        self,
        conv: nn.Module,
        *,
        norm: nn.Module | None,
        activation: nn.Module,
        residual: bool,
        dropout: float,
        head: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm
        self.activation = activation
        self.head = head
        self._residual, self._dropout = residual, dropout

    def forward(self, h: Tensor, first: Tensor, *graph: Tensor | None) -> Tensor:
        h = F.dropout(h, self._dropout, self.training)
        z = self.conv(h, first, *graph)
        if self.norm is not None:
            z = self.norm(z)
        if self._residual:
            z = z + h
        z = self.activation(z)
        return z if self.head is None else self.head(F.dropout(z, self._dropout, self.training))


class GraphGPS(EmbeddedClassifier):
    """Graph transformer of local convolution and global attention (Rampášek et al., NeurIPS 2022).

    A linear map of the features, then PyG's `GPSConv` blocks: a GCN convolution beside attention
    over all nodes, each added to its input; their sum goes through an MLP with a skip connection.
    h^(k) is a block's output, without a further nonlinearity; the last layer maps h^(K) on to
    class scores.

    Attention is the Performer's (Choromanski et al., ICLR 2021) with the ReLU kernel,

        φ(Q) (φ(K)ᵀ V) / (φ(Q) φ(K)ᵀ 1),   φ(Z) = relu(Z Pᵀ) + 10⁻³,

    in O(nodes · hidden) time and memory. Its projection P is random, drawn with the first weights,
    and never again: it is part of the `state_dict`, so that a trained model is a fixed function.

    Unlike the original it has no positional or structural encodings, so that a node is what its
    features and edges make it; GCN, with no edge features, is the local part; it classifies nodes;
    and it has no norms unless they are asked for.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        hidden: Units of each block.
        depth: Number of blocks K.
        heads: Attention heads; `hidden` is the width of all of them together.
        activation: The MLP's nonlinearity, one of `ACTIVATIONS`.
        dropout: Share of the inputs of each block, and of each branch's output, that training
            drops, in [0, 1).
        norm: "batch" (the original's) or "layer" after each skip connection, None for none: with
            twenty labelled nodes a class it costs accuracy.

    Raises:
        InputError: An option is unknown or out of range.
    """

    name = "graphgps"
    summary = "GCN beside linear attention over all nodes (Rampášek et al. 2022)"
    default_training = Training(lr=2e-3, weight_decay=1e-2, patience=100)

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 64,
        depth: int = 3,
        heads: int = 4,
        activation: Activation = "relu",
        dropout: float = 0.5,
        norm: Norm | None = None,
    ) -> None:
        check_options(activation, dropout, norm)
        super().__init__(in_features, hidden, depth, dropout)
        check_count("heads", heads)
        if hidden % heads or hidden < 2 * heads:
            raise InputError(
                f"hidden must be a multiple of heads={heads}, with two units or more for each; "
                f"got {hidden}."
            )
        for k in range(1, depth + 1):
            head = nn.Linear(hidden, classes) if k == depth else None
            block = GPSBlock(_gps(hidden, heads, activation, dropout, norm), head, dropout)
            self.add_module(f"layer{k}", block)

    def forward(self, x: Features, edge_index: Tensor, edge_weight: Tensor | None = None) -> Scores:
        """Class scores of x, edge_index [2, edges], edge_weight [edges] or None."""
        h = self.embedded(x)
        for name in self.layer_names:
            h = self.get_submodule(name)(h, edge_index, edge_weight)
        return h


class GPSBlock(nn.Module):
    """A block of `GraphGPS`; the network's last has a head, which returns class scores."""

    def __init__(self, conv: nn.Module, head: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.conv = conv
        self.head = head
        self._dropout = dropout

    def forward(self, h: Tensor, edge_index: Tensor, edge_weight: Tensor | None) -> Tensor:
        h = F.dropout(h, self._dropout, self.training)
        h = self.conv(h, edge_index, edge_weight=edge_weight)
        return h if self.head is None else self.head(F.dropout(h, self._dropout, self.training))


def _gps(
    hidden: int, heads: int, activation: Activation, dropout: float, norm: Norm | None
) -> nn.Module:
    return GPSConv(
        hidden,
        GCNConv(hidden, hidden),
        heads=heads,
        dropout=dropout,
        act=activation,
        norm=None if norm is None else f"{norm}_norm",
        # PyG's layer norm is one over all nodes together, unless told otherwise.
        norm_kwargs={"mode": "node"} if norm == "layer" else None,
        attn_type="performer",
        attn_kwargs={"head_channels": hidden // heads},
    )


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha must be a share in [0, 1]; got {alpha}.")
