"""Graphs that cost no search, in a metamer's own terms: what a feature metamer must beat."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError, check_count
from graph_metamers.measure import (
    activation_error,
    consistency,
    predicted_class,
    prediction_match,
)
from graph_metamers.pose import pose, prepared
from graph_metamers.probe import Forward, Layer, Probe
from graph_metamers.randomness import seeded
from graph_metamers.search import Problem
from graph_metamers.search.base import features, whole_read
from graph_metamers.search.exact import basis_of
from graph_metamers.similarity import similarities
from graph_metamers.theory.jacobian import Reading, products
from graph_metamers.vary import (
    BinaryFeatures,
    ContinuousFeatures,
    Vary,
    vary_features,
    with_features,
)

Matrix = Float[Tensor, "nodes features"]

STEPS: Final = 30  # of conjugate gradients towards the flattest direction
ENTRIES = 1 << 22  # of distances that are held at a time


@dataclass(frozen=True, eq=False)
class Baseline:
    """A graph that was made without a search, with what is measured of a metamer.

    Attributes:
        name: What it is called in rows.
        title: What it is, in a few words.
        data: The graph.
        activation_error: L_act (Eq. 5), the mean over the layers; 0 is perfect.
        tol: Activation error at or below which a metamer counts as matched.
        scores: By the names of `Metamer.scores`: the distances of what varied,
            `prediction_match` (Eq. 14), `consistency` (Eq. 15) and `output_error` (Eq. 5 of what
            the model returns).
    """

    name: str
    title: str
    data: Data = field(repr=False)
    activation_error: float
    tol: float
    scores: dict[str, float]

    @property
    def within_tol(self) -> bool:
        """Whether its activation error is at or below `tol`: a match that needed no search."""
        return self.activation_error <= self.tol

    def row(self) -> dict[str, Any]:
        """The figures as one flat dictionary."""
        return {
            "baseline": self.name,
            "title": self.title,
            "activation_error": self.activation_error,
            "tol": self.tol,
            **self.scores,
        }


def baselines(
    model: nn.Module,
    data: Data,
    layer: Layer,
    *,
    vary: Vary | None = None,
    seed: int = 0,
    tol: float = 1e-2,
    forward: Forward | None = None,
) -> list[Baseline]:
    """Graphs that differ from `data` and are cheaply had, measured as a metamer is.

    `random_start`: what a search starts from (Eq. 7).

    `nearest_node`: each node has the features of the *other* node whose activation is nearest, of
    several the first: how near one comes by taking nodes for one another that look alike there.
    The number of ones is not kept. Left out where an activation has no row for each node.

    `class_permuted`: features exchanged among the nodes of a class, at random, none keeping its
    own unless it is alone. The class is `data.y` where that is a whole number for each node,
    else what the model predicts. Left out where neither is had.

    `flattest_direction`: a step from the reference along the direction V that the layer sees
    least, the least ‖J V‖² / ‖V‖² with J = ∂h/∂X at the reference, as far from it as the random
    start is:

        X' = X + t V,   ‖X' − X‖ = ‖X_start − X‖

    Where the layer reads X through W alone, which has fewer independent columns than there are
    features, V = R − R Q Qᵀ with R ~ N(0, 1) and Q an orthonormal basis of these columns: exactly
    flat, however far. Else 30 conjugate gradient steps lead from R to a flatter direction; left
    out where an operation of the model has no second derivative, which J V needs. X' is then
    brought back to what may vary: continuous features are clipped to their bounds, t such that
    the distance holds afterwards as far as the bounds allow; of binary features the entries of
    X + t V that are largest are the ones, as many as before, t such that as many changed as in
    the random start. After that the step is **no longer flat**, which is what makes it a baseline:
    a search must find what this misses. Without bounds an exactly flat step stays one, and is a
    metamer that needed no search.

    Where anything but `BinaryFeatures` or `ContinuousFeatures` varies, `random_start` is the only
    one. Time: `nearest_node` O(nodes² · units), in memory for four million distances or one row
    of them; the flattest direction at most 30 products with J and with Jᵀ.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph, on the model's device. It is not changed.
        layer: The layer, as in `metamer`; a list is taken jointly.
        vary: What may vary; by default read from `data.x`.
        seed: Seed of all that is random; the start is that of the metamer of this seed.
        tol: Activation error at or below which a metamer counts as matched.
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        The baselines, in the order above.

    Raises:
        InputError: Something handed in cannot be used, as in `metamer`.

    Example:
        >>> from graph_metamers import datasets, zoo
        >>> data = datasets.csbm(nodes=60, features=40)
        >>> found = baselines(zoo.GCN(40, 3), data, "layer1")
        >>> [each.name for each in found]
        ['random_start', 'nearest_node', 'class_permuted', 'flattest_direction']
        >>> [int(each.data.x.sum() - data.x.sum()) for each in found if each.name != "nearest_node"]
        [0, 0, 0]
    """
    check_count("seed", seed, least=0)
    data = prepared(model, data, vary, forward)
    with Probe(model, data, forward) as probe:
        targets = probe.targets(layer)
        vary = vary or vary_features(data)
        problem = pose(probe, targets, vary, tol, "")
        generator = seeded(seed)
        with torch.no_grad():
            output = probe.output(problem.data)
        return [
            _measured(probe, problem, output, *each) for each in _graphs(problem, output, generator)
        ]


def _graphs(
    problem: Problem, output: Tensor, generator: torch.Generator
) -> Iterator[tuple[str, str, Data]]:
    """Name, title and graph of each baseline."""
    with torch.no_grad():
        start = problem.vary.random(problem.data, generator)
    yield "random_start", "A random start", start
    if not isinstance(problem.vary, BinaryFeatures | ContinuousFeatures):
        return

    x, reference = features(problem.data), problem.data
    sources = _nearest_nodes(problem)
    if sources is not None:
        title = "Features of the node with the nearest activation"
        yield "nearest_node", title, with_features(reference, x[sources])
    labels = _labels(reference, output)
    if labels is not None:
        title = "Features exchanged within each class"
        order = _permuted_within(labels, generator)
        yield "class_permuted", title, with_features(reference, x[order])
    direction = _flattest_direction(problem, generator)
    if direction is not None:
        title = "A step along the direction that the layer sees least"
        moved = _moved(problem.vary, x, direction, features(start))
        yield "flattest_direction", title, with_features(reference, moved)


@torch.no_grad()
def _measured(
    probe: Probe, problem: Problem, reference_output: Tensor, name: str, title: str, graph: Data
) -> Baseline:
    output = probe.output(graph)
    near = similarities(problem.vary, problem.data, graph)
    match = prediction_match(reference_output, output)
    return Baseline(
        name=name,
        title=title,
        data=graph.clone(),  # a change to it never reaches the reference
        activation_error=float(problem.error(graph)),
        tol=problem.tol,
        scores=near
        | {
            "prediction_match": match,
            "consistency": consistency(next(iter(near.values())), match),
            "output_error": activation_error(reference_output, output),
        },
    )


# ------------------------------------------------------------------ features of other nodes


@torch.no_grad()
def _nearest_nodes(problem: Problem) -> Int[Tensor, " nodes"] | None:
    """Of each node the other one with the nearest activation, all layers weighing alike."""
    nodes = len(features(problem.data))
    if nodes < 2 or any(h.dim() < 2 or len(h) != nodes for h in problem.targets):
        return None
    scaled = [
        h.double().flatten(1) / norm.double().sqrt()
        for h, norm in zip(problem.targets, problem.norms, strict=True)
    ]
    h = torch.cat(scaled, dim=1)
    nearest: list[Tensor] = []
    for part in torch.arange(nodes, device=h.device).split(max(1, ENTRIES // nodes)):
        # Through a matrix product equal activations would be some distance apart.
        far = torch.cdist(h[part], h, compute_mode="donot_use_mm_for_euclid_dist")
        far[torch.arange(len(part), device=h.device), part] = math.inf
        nearest.append(far.argmin(dim=1))
    return torch.cat(nearest)


def _labels(data: Data, output: Tensor) -> Int[Tensor, " nodes"] | None:
    """A class for each node: the true one, or the predicted one."""
    y, nodes = data.y, len(features(data))
    if isinstance(y, Tensor) and y.shape == (nodes,) and not y.is_floating_point():
        return y.long()
    return predicted_class(output) if len(output) == nodes else None


def _permuted_within(
    labels: Int[Tensor, " nodes"], generator: torch.Generator
) -> Int[Tensor, " nodes"]:
    """Whose features each node gets: those of the next of its class, in a random order."""
    sources = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero().view(-1)
        members = members[torch.randperm(len(members), generator=generator).to(members.device)]
        sources[members] = members.roll(1)
    return sources


# ------------------------------------------------------------------ the flattest direction


def _flattest_direction(problem: Problem, generator: torch.Generator) -> Matrix | None:
    """V of length 1; None where J V cannot be had."""
    x = features(problem.data)
    random = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    read = problem.find_read()
    if read is not None:
        basis = basis_of(read.weight)
        if basis.shape[1] < x.shape[1]:
            flat = random - (random @ basis) @ basis.T
            return flat / flat.norm()
    read = read or whole_read(problem)

    def activate(y: Tensor) -> Tensor:
        return problem.residual(read.activations(y))

    try:
        forth, back, _ = products(Reading(x @ read.weight, read.weight, activate, by_node=False))
        return _flattened(
            random,
            lambda v: forth(v @ read.weight).detach(),
            lambda w: back(w).detach() @ read.weight.T,
        )
    except InputError:
        return None


def _flattened(
    v: Matrix, forth: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]
) -> Matrix:
    """A direction with a lower ‖J v‖² / ‖v‖² than the one given, by conjugate gradients.

    Each step goes to the least quotient on the great circle through v and the step, which is
    that of a matrix of two rows.

    Args:
        v: Where to begin.
        forth: v ↦ J v.
        back: w ↦ Jᵀ w.
    """
    v = v / v.norm()
    seen = forth(v)
    slope, step, size = torch.zeros_like(v), torch.zeros_like(v), torch.tensor(math.inf)
    for _ in range(STEPS):
        pulled, last = back(seen), slope
        slope = _across(pulled, v)  # half the gradient of the quotient
        if not slope.norm() > 1e-6 * pulled.norm():  # nowhere flatter from here
            break
        turn = ((slope * (slope - last)).sum() / size).clamp(min=0)  # Polak and Ribière
        step, size = _across(turn * step - slope, v), slope.square().sum()
        length = step.norm()
        side = step / length
        seen_aside = forth(side)
        images = torch.stack([seen.reshape(-1), seen_aside.reshape(-1)]).double()
        turned = torch.linalg.eigh(images @ images.T).eigenvectors[:, 0]
        cos, sin = (turned * (1.0 if turned[0] >= 0 else -1.0)).tolist()
        v, step = cos * v + sin * side, length * (cos * side - sin * v)
        seen = cos * seen + sin * seen_aside
    return v / v.norm()


def _across(move: Matrix, v: Matrix) -> Matrix:
    """The part of a move that is orthogonal to v, where v has length 1."""
    return move - (move * v).sum() * v


def _moved(
    vary: BinaryFeatures | ContinuousFeatures, x: Matrix, direction: Matrix, start: Matrix
) -> Matrix:
    """Features along a direction of length 1, as far from x as `start` is."""
    if isinstance(vary, ContinuousFeatures):
        distance = float((start - x).norm(dtype=torch.float64))
        return _clipped(x, direction, distance, *vary.bounds)
    if vary.density == "per_node":
        return _exchanged(x, direction, start)
    whole = [each.reshape(1, -1) for each in (x, direction, start)]
    return _exchanged(*whole).view_as(x)


def _clipped(x: Matrix, direction: Matrix, distance: float, low: float, high: float) -> Matrix:
    """clip(x + t · direction), t where it is as far from x as asked, or as the bounds allow."""

    def at(t: float) -> Tensor:
        return (x + t * direction).clamp_(low, high)

    def falls_short(t: float) -> bool:
        return float((at(t) - x).norm(dtype=torch.float64)) < distance

    near, far = 0.0, distance
    while falls_short(far) and far < 1e6 * distance:
        near, far = far, 2 * far
    for _ in range(50):
        middle = (near + far) / 2
        near, far = (middle, far) if falls_short(middle) else (near, middle)
    return at(far)


def _exchanged(x: Matrix, direction: Matrix, start: Matrix) -> Matrix:
    """In each row, as many ones moved as in `start`: where x + t · direction is largest.

    From the ones where the direction is lowest to the zeros where it is highest.
    """
    counts = torch.minimum(((x == 1) & (start == 0)).sum(1), ((x == 0) & (start == 1)).sum(1))
    moved = x.clone()
    moved[_least(direction.masked_fill(x == 0, math.inf), counts)] = 0
    moved[_least((-direction).masked_fill(x == 1, math.inf), counts)] = 1
    return moved


def _least(values: Matrix, counts: Int[Tensor, " nodes"]) -> Tensor:
    """Which entries are the `counts` least of their row."""
    ranks = torch.arange(values.shape[1], device=values.device)
    chosen = torch.zeros_like(values, dtype=torch.bool)
    return chosen.scatter_(1, values.argsort(dim=1, stable=True), ranks < counts[:, None])
