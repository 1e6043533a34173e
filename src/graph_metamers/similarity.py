"""By how much two graphs differ in what varied: the distances of its kind, by its name."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.inputs import Inputs
from graph_metamers.measure import DISTANCES
from graph_metamers.measure.distances import Distance
from graph_metamers.measure.features import node_feature_similarity
from graph_metamers.measure.structure import is_isomorphic, node_edge_overlap
from graph_metamers.vary import Block

UNCHANGED = 1e-4  # relative distance within which features are the reference's

# The Weisfeiler–Lehman similarity is high between most graphs, whatever edges they share: it is
# never shown without the share of edges kept.
SYMBOLS = {
    "feature_similarity": "S_feat",
    "structure_similarity": "S_struct",
    "edges_kept": "kept",
    "weight_similarity": "S_weight",
}
PROGRESS = {"structure": "edges_kept"}  # what says best how similar a graph on the way is


def similarities(blocks: tuple[Block, ...], reference: Inputs, other: Inputs) -> dict[str, float]:
    """All distances of what varied, that of the consistency score first.

    Where several inputs vary, each figure is the mean over those that have it.
    """
    found: dict[str, list[float]] = {}
    for block in blocks:
        values = _values(block, reference, other)
        for name, distance in _distances(block).items():
            found.setdefault(name, []).append(distance.function(*values))
    return {name: sum(values) / len(values) for name, values in found.items()}


def similarity(blocks: tuple[Block, ...], reference: Inputs, other: Inputs) -> float:
    """The figure that says best how similar a graph is: of edges the share kept."""
    found: list[float] = []
    for block in blocks:
        distances = _distances(block)
        name = PROGRESS.get(block.vary.kind) or next(iter(distances))
        found.append(distances[name].function(*_values(block, reference, other)))
    return sum(found) / len(found)


def _distances(block: Block) -> dict[str, Distance]:
    return {name: d for name, d in DISTANCES.items() if d.kind == block.vary.kind}


def _values(block: Block, reference: Inputs, other: Inputs) -> tuple[Any, ...]:
    """What the distances of a kind are functions of."""
    before, after = block.value(reference), block.value(other)
    if not block.vary.moves_edges:
        return before, after
    return (
        _numbered(before, reference, block.at),
        _numbered(after, other, block.at),
        sum(reference.nodes(kind) for kind in dict.fromkeys(reference.ends(block.at))),
    )


def _numbered(edges: Tensor, inputs: Inputs, at: str) -> Tensor:
    """Edges between two types as edges of one graph, both ways: receivers come behind senders."""
    source, target = inputs.ends(at)
    if source == target:
        return edges
    edges = edges + edges.new_tensor([[0], [inputs.nodes(source)]])
    return torch.cat([edges, edges.flip(0)], dim=1)


def symbols_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Name and symbol of the scores that say in short how similar a run's graphs are.

    >>> symbols_of({"edges_kept": 0.1, "structure_similarity": 0.9, "consistency": 0.9})
    {'structure_similarity': 'S_struct', 'edges_kept': 'kept'}
    """
    return {name: symbol for name, symbol in SYMBOLS.items() if name in scores}


def row_similarity(
    blocks: tuple[Block, ...], reference: Inputs, other: Inputs
) -> Float[Tensor, " rows"]:
    """Feature similarity of each node, or overlap of its neighbours, in the first that varies."""
    block, values = blocks[0], _values(blocks[0], reference, other)
    if block.vary.moves_edges:
        return node_edge_overlap(*values)
    before, after = (value.reshape(len(value), -1) for value in values)
    return node_feature_similarity(before, after)


def is_trivial(blocks: tuple[Block, ...], reference: Inputs, other: Inputs) -> float:
    """1 if a graph is the reference, as it is or with equal nodes exchanged; NaN if unknown."""
    found = [_is_same(block, reference, other) for block in blocks]
    return 0.0 if 0.0 in found else max(found, key=math.isnan)


def _is_same(block: Block, reference: Inputs, other: Inputs) -> float:
    values = _values(block, reference, other)
    if not block.vary.moves_edges:
        before, after = values
        return float(float((after - before).norm()) <= UNCHANGED * float(before.norm()))
    same = is_isomorphic(values[0], values[1], _colours(reference, block.at))
    return math.nan if same is None else float(same)


def _colours(inputs: Inputs, at: str) -> Float[Tensor, "nodes 1"]:
    """A number for each node, equal for nodes that the model is fed as equal."""
    parts: list[Tensor] = []
    first = 0
    for kind in dict.fromkeys(inputs.ends(at)):
        key, nodes = f"{kind}.x" if kind else "x", inputs.nodes(kind)
        if key in inputs.keys:
            x = inputs[key].detach()
            colours = x.reshape(len(x), -1).unique(dim=0, return_inverse=True)[1]
        else:  # nodes without features are told apart by their number, as by an embedding
            colours = torch.arange(nodes, device=inputs.device)
        parts.append(colours + first)
        first += nodes
    return torch.cat(parts).double()[:, None]
