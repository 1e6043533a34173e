"""Graphs that cost no search, in a metamer's own terms: what a feature metamer must beat."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from graph_metamers.errors import InputError, check_count
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.judge import errors_of
from graph_metamers.making import answered
from graph_metamers.measure.agreement import activation_error
from graph_metamers.pose import Varies, opened, pose
from graph_metamers.probe import Forward, Layer
from graph_metamers.randomness import seeded
from graph_metamers.search import Problem
from graph_metamers.search.exact import basis_of
from graph_metamers.task import Task
from graph_metamers.theory.jacobian import Reading, products
from graph_metamers.vary import Block

Matrix = Float[Tensor, "nodes features"]

STEPS: Final = 30  # of conjugate gradients towards the flattest direction
ENTRIES = 1 << 22  # of distances that are held at a time


@dataclass(frozen=True, eq=False)
class Baseline:
    """A graph that was made without a search, with what is measured of a metamer.

    Attributes:
        name: What it is called in rows.
        title: What it is, in a few words.
        data: The graph, in the author's own type.
        fvu: The fraction of variance unexplained, the mean over the layers; 0 is perfect.
        activation_error: L_act (Eq. 5), the mean over the layers; 0 is perfect.
        tol: FVU at or below which a metamer can count as matched.
        scores: By the names of `Metamer.scores`: the distances of what varied,
            `prediction_match` (Eq. 14), `consistency` (Eq. 15) and `output_error` (Eq. 5 of what
            the model returns).
    """

    name: str
    title: str
    data: Any = field(repr=False)
    fvu: float
    activation_error: float
    tol: float
    scores: dict[str, float]

    def row(self) -> dict[str, Any]:
        """The figures as one flat dictionary."""
        figures = ("title", "fvu", "activation_error", "tol")
        return {"baseline": self.name, **{n: getattr(self, n) for n in figures}, **self.scores}


def baselines(
    model: nn.Module,
    data: Graph,
    layer: Layer,
    *,
    vary: Varies = None,
    seed: int = 0,
    tol: float = 1e-2,
    task: Task | str | None = None,
    forward: Forward | None = None,
) -> list[Baseline]:
    """Graphs that differ from `data` and are cheaply had, measured as a metamer is.

    `random_start`: what a search starts from (Eq. 7). Where anything but one feature matrix of one
    graph varies, it is the only one.

    `nearest_node`: each node has the features of the *other* node whose activation is nearest. The
    number of ones is not kept. Left out where an activation has no row for each node.

    `class_permuted`: features exchanged among the nodes of a class, at random, none keeping its
    own unless it is alone. The class is `data.y` where that is a whole number for each node,
    else the answer that the model gives. Left out where neither is had.

    `flattest_direction`: X' = X + t V, as far from X as the random start, along the direction V
    with the least ‖J V‖² / ‖V‖², J = ∂h/∂X. Where the layer reads X through W alone, of less rank
    than there are features, V = R − R Q Qᵀ with R ~ N(0, 1) and Q an orthonormal basis of W's
    columns: exactly flat, however far. Else 30 conjugate gradient steps lead from R to a flatter
    direction; left out where an operation of the model has no second derivative, which J V needs.
    X' is then brought back to what may vary: continuous features are clipped to their bounds; of
    binary ones as many entries change as in the random start, where X + t V is largest. After that
    it is **no longer flat**: a search must find what this misses. Without bounds an exactly flat
    step stays one, and is a metamer that needed no search.

    Time: `nearest_node` O(nodes² · units), with four million distances in memory, or a row of them;
    the flattest direction at most 30 products with J and with Jᵀ.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph, on the model's device. It is not changed.
        layer: The layer, as in `metamer`; a list is taken jointly.
        vary: What may vary; by default read from `data.x`.
        seed: Seed of all that is random; the start is that of the metamer of this seed.
        tol: FVU at or below which a metamer can count as matched.
        task: How outputs are compared, as in `metamer`.
        forward: How to call the model where the names of its arguments do not say so.

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
    with opened(model, data, vary, forward, task) as open_model:
        return baselines_of(pose(open_model, layer, tol=tol), seed)


def baselines_of(problem: Problem, seed: int) -> list[Baseline]:
    """The same as `baselines`, of a problem."""
    session = problem.session
    with torch.no_grad():
        output = session.output(problem.inputs)
    return [_measured(problem, output, *each) for each in _graphs(problem, output, seeded(seed))]


def _graphs(
    problem: Problem, output: Tensor, generator: torch.Generator
) -> Iterator[tuple[str, str, Inputs]]:
    """Name, title and graph of each baseline."""
    with torch.no_grad():
        start = problem.start(generator)
    yield "random_start", "A random start", start
    block, reference = problem.blocks[0], problem.inputs
    if len(problem.blocks) > 1 or not block.vary.reads or problem.graphs > 1:
        return

    x = block.value(reference)
    sources = _nearest_nodes(problem, x)
    if sources is not None:
        title = "Features of the node with the nearest activation"
        yield "nearest_node", title, reference.replaced({block.at: x[sources]})
    sources = _permuted_within_classes(problem, output, len(x), generator)
    if sources is not None:
        title = "Features exchanged within each class"
        yield "class_permuted", title, reference.replaced({block.at: x[sources]})
    direction = _flattest_direction(problem, x, generator)
    if direction is not None:
        title = "A step along the direction that the layer sees least"
        moved = _moved(block, x, direction, block.value(start))
        yield "flattest_direction", title, reference.replaced({block.at: moved})


@torch.no_grad()
def _measured(
    problem: Problem, reference_output: Tensor, name: str, title: str, found: Inputs
) -> Baseline:
    output, activations = problem.session.output(found), problem.activations(found)
    scores = answered(problem, found, reference_output, output)
    scores["output_error"] = activation_error(reference_output, output)
    return Baseline(
        name=name,
        title=title,
        data=found.cloned().restored(),  # a change to it never reaches the reference
        fvu=float(errors_of(problem, activations).mean()),
        activation_error=float(problem.match.activation_errors(activations).mean()),
        tol=problem.match.tol,
        scores=scores,
    )


# ------------------------------------------------------------------ features of other nodes


@torch.no_grad()
def _nearest_nodes(problem: Problem, x: Matrix) -> Int[Tensor, " nodes"] | None:
    """Of each node the other one with the nearest activation, all layers weighing alike."""
    nodes, taps = len(x), problem.match.taps
    if nodes < 2 or any(len(tap.target) != nodes for tap in taps):
        return None
    scaled = [tap.target.double() / (tap.spread or tap.size) ** 0.5 for tap in taps]
    h = torch.cat(scaled, dim=1)
    nearest: list[Tensor] = []
    for part in torch.arange(nodes, device=h.device).split(max(1, ENTRIES // nodes)):
        # Through a matrix product equal activations would be some distance apart.
        far = torch.cdist(h[part], h, compute_mode="donot_use_mm_for_euclid_dist")
        far[torch.arange(len(part), device=h.device), part] = math.inf
        nearest.append(far.argmin(dim=1))
    return torch.cat(nearest)


def _permuted_within_classes(
    problem: Problem, output: Tensor, nodes: int, generator: torch.Generator
) -> Int[Tensor, " nodes"] | None:
    """Whose features each node gets: those of the next of its class, in a random order."""
    for labels in (problem.inputs.get("y"), problem.session.task.predicted(output)):
        whole = isinstance(labels, Tensor) and not labels.is_floating_point()
        if whole and labels.shape == (nodes,):
            break
    else:
        return None
    sources = torch.empty_like(labels, dtype=torch.long)
    for label in labels.unique():
        members = (labels == label).nonzero().view(-1)
        members = members[torch.randperm(len(members), generator=generator).to(members.device)]
        sources[members] = members.roll(1)
    return sources


# ------------------------------------------------------------------ the flattest direction


def _flattest_direction(problem: Problem, x: Matrix, generator: torch.Generator) -> Matrix | None:
    """V of length 1; None where J V cannot be had."""
    random = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    read = problem.read
    if read is not None and x.dtype in (torch.float32, torch.float64):
        basis = basis_of(read.weight)
        if basis.shape[1] < x.shape[1]:
            flat = random - (random @ basis) @ basis.T
            return flat / flat.norm()
    read, key = problem.read_or_whole, problem.blocks[0].at

    def activate(y: Tensor) -> Tensor:
        return problem.match.residual(read.activations({key: y}, problem.inputs))

    try:
        forth, back = products(Reading(x @ read.weight, read.weight, activate, by_node=False))
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
    """A direction with a lower ‖J v‖² / ‖v‖² than v, by conjugate gradients.

    Each step goes to the least quotient on the great circle through v and the step, which is
    that of a matrix of two rows. `forth` is v ↦ J v, `back` is w ↦ Jᵀ w.
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


def _moved(block: Block, x: Matrix, direction: Matrix, start: Matrix) -> Matrix:
    """Features along a direction of length 1, as far from x as `start` is."""
    if block.vary.bounds is not None:
        distance = float((start - x).norm(dtype=torch.float64))
        return _clipped(x, direction, distance, *block.vary.bounds)
    if block.vary.row_by_row:
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
