"""What the paper's theory says of a layer, beside what the searches found there."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.probe import Forward, Layer
from graph_metamers.theory.manifold import metamer_dimension
from graph_metamers.theory.volume import activation_volume

SAMPLE = 200


@dataclass(frozen=True)
class Theory:
    """Of a layer, as means over 200 nodes drawn at random, or all of fewer.

    Attributes:
        metamer_dimension: Directions of a node's aggregated features that the layer does not see,
            d − rank (Eqs. 18–22).
        features: d.
        rank: Numerical rank of a node's Jacobian.
        effective_rank: exp of the entropy of its normalised singular values.
        stable_rank: Its squared Frobenius norm over its squared spectral norm.
        spectrum: Its singular values, each node's over the largest of that node, largest first.
        collapsed_share: Share of the units that the activation has turned off (Eqs. 23–24); None
            where the layer ends in none.
    """

    metamer_dimension: float
    features: int
    rank: float
    effective_rank: float
    stable_rank: float
    spectrum: list[float]
    collapsed_share: float | None

    def as_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def theory(
    model: nn.Module, data: Data, layer: Layer, *, forward: Forward | None = None
) -> Theory | None:
    """Dimension, ranks and collapse of one layer, by one backward pass a unit.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: One layer.
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        None where a node's activation is no function of one sum of features, as behind the first
        layer (`metamer_dimension(of="receptive_field")` can be asked there), or where the model
        cannot be differentiated.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=60, features=40)
        >>> theory(zoo.GCN(40, 3, hidden=8), data, "layer1").features
        40
    """
    try:
        nodes = torch.randperm(len(data["x"]), generator=torch.Generator().manual_seed(0))
        found = metamer_dimension(
            model, data, layer, of="node", nodes=nodes[:SAMPLE], forward=forward
        )
    except torch.OutOfMemoryError:
        raise
    except (InputError, RuntimeError):  # what cannot be differentiated says so in many ways
        return None
    try:
        collapsed = activation_volume(model, data, layer, forward=forward).share
    except InputError:
        collapsed = None
    values = found.singular_values
    largest = values.amax(dim=1, keepdim=True)
    relative = torch.where(largest > 0, values / largest, 0.0).mean(dim=0)
    return Theory(
        metamer_dimension=found.dimension,
        features=data.num_features,
        rank=found.rank,
        effective_rank=found.effective_rank,
        stable_rank=found.stable_rank,
        spectrum=relative.tolist(),
        collapsed_share=collapsed,
    )
