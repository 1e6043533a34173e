"""Whether what a search found is a metamer: its nulls, and what is proved to be impossible."""

import functools
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.measure import node_match, permuted_null
from graph_metamers.measure.null import EXACT
from graph_metamers.probe import Forward, Layer
from graph_metamers.search import Problem, narrow_error
from graph_metamers.theory import least_gain
from graph_metamers.vary import BinaryFeatures, Edges, EdgeWeights, with_features

LEVEL: Final = 0.01  # how likely an unrelated graph may pass a null
SAMPLES: Final = 99  # the fewest with which a p-value can be as small
COMPARED = 199  # nodes with which each node is compared
REMEMBERED = 16
FEW = 1 << 24  # ones of all random starts together, to be remembered for other models
SEED = 2**40  # of the nulls; no search begins there

Nulls = dict[str, Tensor]
T = TypeVar("T")

NEAR = 0.2  # of ‖X‖: features as near as this are the reference's, with a cosine above 0.98

_drawn: OrderedDict[str, Nulls] = OrderedDict()
_gains: OrderedDict[str, float] = OrderedDict()
_places: OrderedDict[str, list[Tensor]] = OrderedDict()


def nulls_of(problem: Problem, others: Sequence[Data] = ()) -> Nulls:
    """Activation errors of unrelated graphs: what the error of a metamer must lie below.

    They depend on model, graph, layer and what varies alone, and are drawn once for these.

    Args:
        problem: What is searched.
        others: Other graphs of the data.

    Returns:
        `start`: errors of 99 random starts; `permuted`: of the reference's activations with the
        nodes permuted such that they change, where there is a row for each node; `other`: of
        `others`, if any. Each is the mean over the layers.

    Raises:
        InputError: There are too few others, or the activations of one differ in shape.
    """
    drawn = _remembered(_drawn, problem.subject, lambda: _draw(problem))
    nulls = {name: null.clone() for name, null in drawn.items()}
    if others:
        nulls["other"] = _of_others(problem, others)
    return nulls


def _remembered(
    memory: OrderedDict[str, T], subject: str, make: Callable[[], T], *, most: int = REMEMBERED
) -> T:
    if subject not in memory:
        memory[subject] = make()
        while len(memory) > most:
            memory.popitem(last=False)
    return memory[subject]


def _draw(problem: Problem) -> Nulls:
    error_of = narrow_error(problem)
    with torch.no_grad():
        errors = [error_of(start).double().cpu() for start in _starts(problem)]
    nulls = {"start": torch.stack(errors)}
    if all(_by_node(h, problem.data) and len(h) > 1 for h in problem.targets):
        # In a small or symmetric graph many permutations change nothing: they are the reference.
        for samples in (SAMPLES, 10 * SAMPLES):
            permuted = _of_permutations(problem.targets, samples)
            permuted = permuted[permuted > EXACT][:SAMPLES]
            if len(permuted) == SAMPLES:
                nulls["permuted"] = permuted
                break
    return nulls


def _starts(problem: Problem) -> Iterator[Data]:
    """Random graphs of what varies; the next overwrites the last.

    They are the same for every model and layer, and of binary features, the last graph's ones are
    remembered.
    """
    data, vary = problem.data, problem.vary
    generator = torch.Generator().manual_seed(SEED)
    drawn = itertools.islice(vary.randoms(data, generator), SAMPLES)
    x: Tensor = data["x"]
    if not isinstance(vary, BinaryFeatures) or SAMPLES * int(x.count_nonzero()) > FEW:
        yield from drawn
        return
    subject = digest(x, vary, str(x.device))
    make = functools.partial(_places_of_ones, drawn)
    start = torch.zeros_like(x)
    for nodes, columns in _remembered(_places, subject, make, most=1):
        start.zero_()[nodes, columns] = 1
        yield with_features(data, start)


def _places_of_ones(graphs: Iterator[Data]) -> list[Tensor]:
    return [graph["x"].detach().nonzero().T.int() for graph in graphs]


def _of_permutations(targets: list[Tensor], samples: int) -> Tensor:
    """Of several layers with the same permutations."""
    errors = [
        permuted_null(h, samples=samples, generator=torch.Generator().manual_seed(SEED))
        for h in targets
    ]
    return torch.stack(errors).mean(dim=0)


@torch.no_grad()
def _of_others(problem: Problem, others: Sequence[Data]) -> Tensor:
    if len(others) < SAMPLES:
        raise InputError(
            f"others must hold at least {SAMPLES} graphs, so that a p-value can be "
            f"{LEVEL:g}; got {len(others)}. Add some, or leave it out."
        )
    shapes = [h.shape for h in problem.targets]
    errors: list[float] = []
    for place, other in enumerate(others):
        activations = problem.activations(other)
        if [h.shape for h in activations] != shapes:
            raise InputError(
                f"others must hold graphs whose activations have the reference's shape "
                f"{[list(shape) for shape in shapes]}; graph {place} gives "
                f"{[list(h.shape) for h in activations]}. Leave it out."
            )
        errors.append(float(problem.mean_error(activations)))
    return torch.tensor(errors, dtype=torch.float64)


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
    """Whether it is proved that all graphs that match within tol lie next to the reference.

    L_act ≤ tol means ‖h' − h‖² ≤ layers · tol · Σ ‖h‖², and so, with the least gain σ of an affine
    layer, ‖X' − X‖ ≤ √(layers · tol · Σ ‖h‖²) / σ. This must be below a fifth of ‖X‖.
    """
    if isinstance(problem.vary, Edges | EdgeWeights):
        return False
    x: Tensor = problem.data["x"]
    if sum(h.numel() for h in problem.targets) < x.numel():  # fewer equations than features
        return False
    gain = _remembered(
        _gains, problem.subject, lambda: least_gain(model, problem.data, layer, forward=forward)
    )
    reach = (len(problem.targets) * problem.tol * float(sum(problem.norms))) ** 0.5
    return reach < gain * NEAR * float(x.norm())


def _by_node(h: Tensor, data: Data) -> bool:
    return h.dim() > 1 and len(h) == data.num_nodes
