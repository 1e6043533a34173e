"""Small models for graphs of several kinds, written as PyG's examples write them."""

import torch
from torch import Tensor, nn
from torch_geometric.nn import (
    GINConv,
    HANConv,
    HGTConv,
    RGCNConv,
    SAGEConv,
    SumAggregation,
    to_hetero,
)

from graph_metamers.zoo.models import GraphLayer

Metadata = tuple[list[str], list[tuple[str, str, str]]]
Features = dict[str, Tensor]
Edges = dict[tuple[str, str, str], Tensor]
HIDDEN = 16


class MotifGIN(nn.Module):
    """Graph isomorphism network for whole graphs: three layers, summed over the nodes.

    `layer1` to `layer3` return node embeddings after the nonlinearity, `pool` a row a graph.

    Args:
        in_features: Features of a node.
        outputs: Columns of the output.
    """

    def __init__(self, in_features: int, outputs: int) -> None:
        super().__init__()
        self.layer1 = _gin_layer(in_features)
        self.layer2 = _gin_layer(HIDDEN)
        self.layer3 = _gin_layer(HIDDEN)
        self.pool = SumAggregation()
        self.head = nn.Linear(HIDDEN, outputs)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        """[graphs, outputs] of x [nodes, in_features], edge_index [2, edges], batch [nodes]."""
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x, edge_index)
        return self.head(self.pool(x, batch))


def _gin_layer(fan_in: int) -> GraphLayer:
    mlp = nn.Sequential(nn.Linear(fan_in, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
    conv, norm = GINConv(mlp, train_eps=True), nn.BatchNorm1d(HIDDEN)
    return GraphLayer(conv, norm=norm, activation=nn.ReLU(), dropout=0.0)


class HeteroSAGE(nn.Module):
    """Two layers of GraphSAGE, made heterogeneous by `to_hetero`: weights of each edge type.

    Args:
        in_features: Features of a node, of each type alike.
        classes: Number of classes.
        metadata: Node and edge types.
        target: The node type that is classified.
    """

    def __init__(self, in_features: int, classes: int, metadata: Metadata, target: str) -> None:
        super().__init__()
        self.gnn = to_hetero(_SAGE(in_features, classes), metadata)
        self.target = target

    def forward(self, x_dict: Features, edge_index_dict: Edges) -> Tensor:
        """Class scores [target nodes, classes]."""
        return self.gnn(x_dict, edge_index_dict)[self.target]


class _SAGE(nn.Module):
    def __init__(self, in_features: int, classes: int) -> None:
        super().__init__()
        self.conv1 = SAGEConv(in_features, HIDDEN)
        self.conv2 = SAGEConv(HIDDEN, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


class HGT(nn.Module):
    """Heterogeneous graph transformer (Hu et al., WWW 2020): a projection of each type, two layers.

    The arguments are those of `HeteroSAGE`.
    """

    def __init__(self, in_features: int, classes: int, metadata: Metadata, target: str) -> None:
        super().__init__()
        self.lin_in = nn.ModuleDict({kind: nn.Linear(in_features, HIDDEN) for kind in metadata[0]})
        self.conv1 = HGTConv(HIDDEN, HIDDEN, metadata, heads=2)
        self.conv2 = HGTConv(HIDDEN, HIDDEN, metadata, heads=2)
        self.lin = nn.Linear(HIDDEN, classes)
        self.target = target

    def forward(self, x_dict: Features, edge_index_dict: Edges) -> Tensor:
        """Class scores [target nodes, classes]."""
        h = {kind: self.lin_in[kind](x).relu() for kind, x in x_dict.items()}
        h = self.conv2(self.conv1(h, edge_index_dict), edge_index_dict)
        return self.lin(h[self.target])


class HAN(nn.Module):
    """Heterogeneous graph attention network (Wang et al., WWW 2019), on the edge types themselves.

    One layer, as in its paper. A node's own features only steer its attention: its scores are
    made of those of its neighbours. The arguments are those of `HeteroSAGE`.
    """

    def __init__(self, in_features: int, classes: int, metadata: Metadata, target: str) -> None:
        super().__init__()
        self.conv = HANConv(in_features, 2 * HIDDEN, metadata, heads=4)
        self.lin = nn.Linear(2 * HIDDEN, classes)
        self.target = target

    def forward(self, x_dict: Features, edge_index_dict: Edges) -> Tensor:
        """Class scores [target nodes, classes]."""
        return self.lin(self.conv(x_dict, edge_index_dict)[self.target])


class RGCN(nn.Module):
    """Relational graph convolution (Schlichtkrull et al., ESWC 2018) in two layers.

    Nodes of all types stand in one matrix, and an integer says an edge's type, as
    `HeteroData.to_homogeneous` gives them.

    Args:
        in_features: Features of a node.
        classes: Number of classes.
        relations: Number of edge types.
    """

    def __init__(self, in_features: int, classes: int, relations: int) -> None:
        super().__init__()
        self.conv1 = RGCNConv(in_features, HIDDEN, relations)
        self.conv2 = RGCNConv(HIDDEN, classes, relations)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        """Class scores [nodes, classes] of x [nodes, in_features] and edges [2, edges], [edges]."""
        h = torch.relu(self.conv1(x, edge_index, edge_type))
        return self.conv2(h, edge_index, edge_type)
