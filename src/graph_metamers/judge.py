"""Whether what a search found is a metamer: its nulls, and what is proved to be impossible."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.measure import graph_null, node_match, permuted_null
from graph_metamers.probe import Forward, Layer
from graph_metamers.search import Problem, narrow_error
from graph_metamers.theory import is_injective
from graph_metamers.vary import Edges, EdgeWeights

LEVEL: Final = 0.01  # how likely an unrelated graph may pass a null
SAMPLES: Final = 99  # the fewest with which a p-value can be as small
COMPARED = 199  # nodes with which each node is compared
REMEMBERED = 16
SEED = 2**40  # of the nulls; no search begins there

Nulls = dict[str, Tensor]

_drawn: OrderedDict[str, Nulls] = OrderedDict()


def nulls_of(problem: Problem, others: Sequence[Data] = ()) -> Nulls:
    """Activation errors of unrelated graphs: what the error of a metamer must lie below.

    They depend on model, graph, layer and what varies alone, and are drawn once for these.

    Args:
        problem: What is searched.
        others: Other graphs of the data.

    Returns:
        `start`: errors of 99 random starts; `permuted`: of the reference's activations with the
        nodes permuted, where there is a row for each node; `other`: of `others`, if any. Each is
        the mean over the layers.

    Raises:
        InputError: The activations of another graph differ in shape.
    """
    if problem.subject not in _drawn:
        _drawn[problem.subject] = _draw(problem)
        while len(_drawn) > REMEMBERED:
            _drawn.popitem(last=False)
    nulls = dict(_drawn[problem.subject])
    if others:
        with torch.no_grad():
            found = [problem.activations(other) for other in others]
        shapes = [h.shape for h in problem.targets]
        for place, activations in enumerate(found):
            if [h.shape for h in activations] != shapes:
                raise InputError(
                    f"others must hold graphs whose activations have the reference's shape "
                    f"{[list(shape) for shape in shapes]}; graph {place} gives "
                    f"{[list(h.shape) for h in activations]}. Leave it out."
                )
        by_layer = zip(problem.targets, zip(*found, strict=True), strict=True)
        nulls["other"] = torch.stack([graph_null(h, hs) for h, hs in by_layer]).mean(dim=0)
    return nulls


@torch.no_grad()
def _draw(problem: Problem) -> Nulls:
    generator = torch.Generator().manual_seed(SEED)
    starts = (problem.vary.random(problem.data, generator) for _ in range(SAMPLES))
    error_of = narrow_error(problem)
    nulls = {"start": torch.stack([error_of(start).double().cpu() for start in starts])}
    if all(_by_node(h, problem.data) and len(h) > 1 for h in problem.targets):
        # The same permutations for all layers.
        generators = [torch.Generator().manual_seed(SEED) for _ in problem.targets]
        nulls["permuted"] = torch.stack(
            [
                permuted_null(h, samples=SAMPLES, generator=each)
                for h, each in zip(problem.targets, generators, strict=True)
            ]
        ).mean(dim=0)
    return nulls


def matched_nodes(problem: Problem, activations: list[Tensor]) -> float:
    """The share of nodes that match beyond chance; NaN in graphs too small to tell.

    See `graph_metamers.measure.node_match`: chance gives 1 %.
    """
    few = problem.data.num_nodes is None or problem.data.num_nodes < round(1 / LEVEL)
    if few or not all(_by_node(h, problem.data) for h in problem.targets):
        return math.nan
    pairs = zip(problem.targets, activations, problem.norms, strict=True)
    scaled = [(h.flatten(1) / norm.sqrt(), g.flatten(1) / norm.sqrt()) for h, g, norm in pairs]
    reference, found = (torch.cat(side, dim=1) for side in zip(*scaled, strict=True))
    generator = torch.Generator().manual_seed(SEED)
    return node_match(reference, found, level=LEVEL, samples=COMPARED, generator=generator).share


def is_impossible(
    problem: Problem, model: nn.Module, layer: Layer, forward: Forward | None
) -> bool:
    """Whether it is proved that no other graph has these activations."""
    if isinstance(problem.vary, Edges | EdgeWeights):
        return False
    x: Tensor = problem.data["x"]
    fewer = sum(h.numel() for h in problem.targets) < x.numel()  # equations than features
    return not fewer and is_injective(model, problem.data, layer, forward=forward)


def _by_node(h: Tensor, data: Data) -> bool:
    return h.dim() > 1 and len(h) == data.num_nodes
