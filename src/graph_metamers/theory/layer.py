"""What the paper's theory says of a layer, beside what the searches found there."""

from dataclasses import dataclass

import torch

from graph_metamers.errors import InputError
from graph_metamers.probe import Session, Target
from graph_metamers.theory.manifold import dimension_of
from graph_metamers.theory.volume import volume_of

SAMPLE = 200


@dataclass(frozen=True)
class Theory:
    """Of a layer, as means over 200 nodes drawn at random, or all of fewer."""

    metamer_dimension: float  # directions of a node's aggregated features not seen (Eqs. 18–22)
    features: int  # d = metamer_dimension + rank
    rank: float  # of a node's Jacobian; see graph_metamers.measure.rank for the others
    effective_rank: float
    stable_rank: float
    spectrum: list[float]  # singular values over the node's largest, largest first
    collapsed_share: float | None  # of units that the activation has turned off (Eqs. 23–24)


def theory(session: Session, targets: list[Target]) -> Theory | None:
    """Dimension, ranks and collapse of one layer, by one backward pass a unit.

    Returns:
        None where a node's activation is no function of one sum of features, as behind the first
        layer (`metamer_dimension(of="receptive_field")` can be asked there), where the graph has
        no feature matrix x or several, or where the model cannot be differentiated.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=60, features=40)
        >>> with Session(zoo.GCN(40, 3, hidden=8), data) as session:
        ...     theory(session, session.targets("layer1")).features
        40
    """
    try:
        count = session.inputs.nodes(session.inputs.node_types[0])
        nodes = torch.randperm(count, generator=torch.Generator().manual_seed(0))
        found = dimension_of(session, targets, of="node", nodes=nodes[:SAMPLE])
    except torch.OutOfMemoryError:
        raise
    except (InputError, RuntimeError):  # what cannot be differentiated says so in many ways
        return None
    try:
        collapsed = volume_of(session, targets).share
    except InputError:
        collapsed = None
    values = found.singular_values
    largest = values.amax(dim=1, keepdim=True)
    relative = torch.where(largest > 0, values / largest, 0.0).mean(dim=0)
    return Theory(
        metamer_dimension=found.dimension,
        features=round(found.total),
        rank=found.rank,
        effective_rank=found.effective_rank,
        stable_rank=found.stable_rank,
        spectrum=relative.tolist(),
        collapsed_share=collapsed,
    )
