"""The paper's architectures on PyG's own convolutions, with layers named as it counts them."""

from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from graph_metamers.errors import InputError, check_count, listing

Activation = Literal["relu", "elu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "elu": nn.ELU}


class GraphLayer(nn.Module):
    """h^(k) = σ(conv(dropout(h^(k−1)), edges)), Eqs. 1–2; without σ in the last layer."""

    def __init__(self, conv: nn.Module, activation: nn.Module | None, dropout: float) -> None:
        super().__init__()
        self.conv = conv
        self.activation = activation
        self.dropout = dropout

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        x = F.dropout(x, self.dropout, self.training)
        x = self.conv(x, edge_index, edge_weight)
        return x if self.activation is None else self.activation(x)


class GCN(nn.Module):
    """Graph convolutional network (Kipf and Welling, 2017), as the paper trains it.

    `layer1`, `layer2`, … return the paper's h^(1), h^(2), …, after the nonlinearity; the last
    returns the class scores and has none.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        hidden: Units of each layer but the last.
        depth: Number of layers.
        dropout: Share of the inputs of each layer that training drops.
        activation: "relu" or "elu".

    Shapes:
        x [nodes, in_features], edge_index [2, edges], edge_weight [edges] or None →
        class scores [nodes, classes].
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        hidden: int = 16,
        depth: int = 2,
        dropout: float = 0.5,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        check_count("hidden", hidden)
        check_count("depth", depth)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be a share in [0, 1); got {dropout}.")
        if activation not in ACTIVATIONS:
            raise InputError(
                f"activation='{activation}' is none of the zoo's. "
                f"Choose among {listing(ACTIVATIONS)}."
            )
        widths = [in_features, *[hidden] * (depth - 1), classes]
        for k in range(depth):
            last = k == depth - 1
            self.add_module(
                f"layer{k + 1}",
                GraphLayer(
                    GCNConv(widths[k], widths[k + 1]),
                    None if last else ACTIVATIONS[activation](),
                    dropout,
                ),
            )

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers, first to last, as `layer=` takes them."""
        return [name for name, _ in self.named_children()]

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        for layer in self.children():
            x = cast(GraphLayer, layer)(x, edge_index, edge_weight)
        return x
