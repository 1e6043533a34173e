"""Four architectures after the paper's six: attention, depth, propagation, a graph transformer."""

from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.nn import APPNP as Propagation
from torch_geometric.nn import GATv2Conv, GCN2Conv, GCNConv, GPSConv

from graph_metamers.errors import check_count, check_number, check_positive
from graph_metamers.zoo.models import (
    GAT,
    Activation,
    GraphLayer,
    Model,
    Norm,
    WeightedNodeClassifier,
    check_heads,
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
    conv = GATv2Conv


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
        **options: Any,
    ) -> None:
        check_count("K", K)
        check_number("alpha", alpha, 0, 1)
        self._K, self._alpha = K, alpha
        super().__init__(in_features, classes, hidden=hidden, **options)

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


class GCNII(Model):
    """Deep graph convolution with initial residual and identity mapping (Chen et al., ICML 2020).

        h^(0) = σ(W x),   h^(k) = σ(norm(((1 − α) Â h^(k−1) + α h^(0)) ((1 − β_k) I + β_k Θ_k))),

    with β_k = log(θ / k + 1) and the symmetrically normalised Â of a graph with self-loops. The
    last layer maps h^(K) on to class scores. The original has up to 64 layers.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        alpha: Share α of h^(0) in each layer's input, in [0, 1].
        theta: Strength θ of the weights Θ, which fades with depth.
        **options: Those of `Model`.
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
        **options: Any,
    ) -> None:
        super().__init__(hidden=hidden, depth=depth, **options)
        check_number("alpha", alpha, 0, 1)
        check_positive("theta", theta)
        self.embed = nn.Linear(in_features, hidden)
        self.activation = self.sigma()
        for k, name in enumerate(self.layer_names, 1):
            layer = GraphLayer(
                GCN2Conv(hidden, alpha, theta, k),
                norm=self.normed(hidden),
                skip=nn.Identity() if self._residual else None,
                activation=self.sigma(),
                head=nn.Linear(hidden, classes) if k == depth else None,
                dropout=self._dropout,
            )
            self.add_module(name, layer)

    def forward(self, x: Features, edge_index: Tensor, edge_weight: Tensor | None = None) -> Scores:
        """Class scores of x, edge_index [2, edges], edge_weight [edges] or None."""
        first = self.activation(self.embed(drop(x, self._dropout, self.training)))
        return self.through_layers(first, first, edge_index, edge_weight)


class GraphGPS(Model):
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
        hidden: Units of each block, of all heads together.
        depth: Number of blocks K.
        heads: Attention heads.
        activation: The MLP's nonlinearity, one of `ACTIVATIONS`.
        dropout: Share of the inputs of each block, and of each branch's output, that training
            drops, in [0, 1).
        norm: "batch" (the original's) or "layer" after each skip connection, None for none: with
            twenty labelled nodes a class it costs accuracy.
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
        super().__init__(
            hidden=hidden, depth=depth, activation=activation, dropout=dropout, norm=norm
        )
        check_heads(hidden, heads, units=2)
        self.embed = nn.Linear(in_features, hidden)
        for name in self.layer_names:
            head = nn.Linear(hidden, classes) if name == self.layer_names[-1] else None
            block = GPSConv(
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
            self.add_module(name, GraphLayer(block, head=head, dropout=dropout))

    def forward(self, x: Features, edge_index: Tensor, edge_weight: Tensor | None = None) -> Scores:
        """Class scores of x, edge_index [2, edges], edge_weight [edges] or None."""
        h = self.embed(drop(x, self._dropout, self.training))
        return self.through_layers(h, edge_index, edge_weight=edge_weight)
