"""metamer(): the one page that ties probe, vary, search and measure."""

import copy
import dataclasses
import statistics
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.digests import digest
from graph_metamers.errors import InputError, check_count
from graph_metamers.judge import LEVEL, Nulls, is_impossible, matched_nodes, nulls_of
from graph_metamers.measure import (
    activation_error,
    consistency,
    match_figures,
    node_activation_error,
    predicted_class,
    prediction_match,
    verdict,
)
from graph_metamers.pose import pose, prepared
from graph_metamers.probe import (
    Forward,
    Layer,
    Probe,
    Target,
)
from graph_metamers.probe.products import sparse_products
from graph_metamers.progress import progress_bar
from graph_metamers.randomness import seeded
from graph_metamers.result import Metamer, setting
from graph_metamers.search import Problem, Search, Solution, Status, configured
from graph_metamers.similarity import node_similarity, similarities, triviality
from graph_metamers.storage import (
    make_folder,
)
from graph_metamers.vary import BinaryFeatures, ContinuousFeatures, Vary, vary_features


def metamer(
    model: nn.Module,
    data: Data,
    layer: Layer,
    *,
    vary: Vary | None = None,
    search: Search | str = "auto",
    tol: float = 1e-2,
    seed: int = 0,
    avoid: Sequence[Data] = (),
    others: Sequence[Data] = (),
    forward: Forward | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Metamer:
    """Build a graph that differs from `data` and that `model` takes for it at `layer`.

    Whether it does is a verdict: its activation error must be at or below `tol`, and below that
    of every one of 99 random starts and 99 permutations of the reference's nodes, unrelated
    graphs that chance alone makes as near once in a hundred (Feather et al. 2023).

    Time and memory are those of the search, whose docstring states them: `Adam` takes
    `search.steps` times one forward and backward pass to the layer, and memory about ten times
    that of `data.x` besides the model's own; `Swap` and `Exact` far less time; `EdgeSwap` memory
    as the edges. The nulls take 99 forwards to the layer, once for a model, graph, layer and what
    varies.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph, on the model's device. It is not changed.
        layer: The layer to match at; see `graph_metamers.layers`. A list is matched jointly:
            the mean of the layers' errors is lowered, and each is reported.
        vary: What may vary; `BinaryFeatures()` or `ContinuousFeatures()` by what `data.x` holds.
            `Edges()` leaves the features and varies the structure, `EdgeWeights()` its weights.
        search: How to search: "auto" picks what suits, "adam" is the paper's, and a configured
            one such as `Swap(seek="farthest")` says more.
        tol: Activation error (Eq. 5) at or below which the result counts as matched.
        seed: Seed of the random start. The global random state is neither used nor changed.
        avoid: Graphs with whose features the metamer shall share as little as possible; see
            `metamers`. `Swap` and `Exact` can.
        others: Other graphs, 99 at least, than which the metamer must also be nearer: for a model
            of whole graphs, the others of the dataset.
        forward: How to call the model, `(model, data) -> output`, where the names of its
            arguments do not say so.
        checkpoint: A file to save the search's state to now and then, and to resume it from; the
            result is the same, bit for bit, as without a stop.
        progress: Whether to show a bar once the search takes longer than two seconds.

    Returns:
        The best graph found and its scores, matched or not: look at `.verdict`. Where it is
        proved that all graphs that match lie next to the reference, it is the reference.

    Raises:
        InputError: Something handed in cannot be used; the sentence says what to do.

    Example:
        >>> import torch
        >>> import graph_metamers as gm
        >>> from torch_geometric.nn import GCN
        >>> data = gm.datasets.csbm(nodes=60, features=40)
        >>> model = GCN(data.num_features, 16, num_layers=2, out_channels=3)
        >>> m = gm.metamer(model, data, "act")
        >>> m.data.x.sum() == data.x.sum()
        tensor(True)
    """
    check_count("seed", seed, least=0)
    search = configured(search)
    if checkpoint is not None:
        make_folder(Path(checkpoint).parent)
    data = prepared(model, data, vary, forward)
    with Probe(model, data, forward) as probe:
        targets = probe.targets(layer)
        vary = vary or vary_features(data)
        away = _avoided(avoid, data)
        problem = pose(probe, targets, vary, tol, digest(search, seed, away), forward)
        problem = dataclasses.replace(problem, avoid=tuple(away))
        search = search.choose(problem)
        search.check(vary)
        title = f"{type(search).__name__} at {_join(targets)}"
        impossible = is_impossible(problem, model, layer, forward)
        with _faster(probe, vary):
            nulls = nulls_of(problem, _graphs("others", others))
            if impossible:
                solution = Solution(copy.copy(data), 0.0, Status.MATCHED, [0.0], 0, 0, 0.0)
            else:
                with progress_bar(title, shown=progress) as watch:
                    solution = search.run(
                        problem,
                        seeded(seed),
                        checkpoint=None if checkpoint is None else Path(checkpoint),
                        watch=watch,
                    )
        return _measured(probe, targets, problem, search, solution, seed, nulls, impossible)


def _faster(probe: Probe, vary: Vary) -> AbstractContextManager[None]:
    """What makes forwards faster where edges stay, which are then sorted but once."""
    if isinstance(vary, BinaryFeatures | ContinuousFeatures):
        return sparse_products(probe.model)
    return nullcontext()


def _graphs(name: str, graphs: Sequence[Data]) -> list[Data]:
    if isinstance(graphs, Data) or not all(isinstance(graph, Data) for graph in graphs):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"{name} must be a list of graphs (PyG Data); got {type(graphs).__name__}. "
            "Of a metamer m it is m.data."
        )
    return list(graphs)


def _avoided(graphs: Sequence[Data], data: Data) -> list[Tensor]:
    found = [_x(graph) for graph in _graphs("avoid", graphs)]
    if any(x.shape != _x(data).shape for x in found):
        raise InputError(
            f"avoid must hold graphs with features {list(_x(data).shape)}, as the reference's; "
            f"got {[list(x.shape) for x in found]}."
        )
    return [x.to(_x(data)) for x in found]


def metamers(
    model: nn.Module,
    data: Data,
    layer: Layer,
    *,
    n: int = 5,
    seed: int = 0,
    **options: Any,
) -> list[Metamer]:
    """Build several metamers of one graph that share as little as possible with one another.

    Each keeps away from those before it: no one of binary features is in two of them. So that
    they look the same to the model says more than any number of random starts.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: The layer to match at.
        n: How many.
        seed: Seed of the first; the others have the next ones.
        **options: The others of `metamer`.

    Returns:
        The metamers, in the order in which they were found.

    Raises:
        InputError: What `metamer` raises; and where the search cannot keep away from a graph, or
            binary features have too few entries left for another metamer.

    Example:
        >>> import graph_metamers as gm
        >>> data = gm.datasets.csbm(nodes=60, features=400)
        >>> a, b = gm.metamers(gm.zoo.GCN(400, 3), data, "layer1", n=2)
        >>> (a.data.x * b.data.x).sum()
        tensor(0.)
    """
    check_count("n", n)
    found: list[Metamer] = []
    for each in range(n):
        avoid = [*options.get("avoid", ()), *(m.data for m in found)]
        mine: dict[str, Any] = options | {"seed": seed + each, "avoid": avoid}
        if options.get("checkpoint") is not None:
            path = Path(options["checkpoint"])
            mine["checkpoint"] = path.with_name(f"{path.stem}-{each}{path.suffix}")
        found.append(metamer(model, data, layer, **mine))
    return found


def preflight(
    model: nn.Module,
    data: Data,
    layer: Layer,
    *,
    vary: Vary | None = None,
    search: Search | str = "auto",
    tol: float = 1e-2,
    forward: Forward | None = None,
) -> str:
    """Whether a metamer can be looked for at `layer`, without looking for it.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layer: The layer to match at.
        vary: What may vary; by default read from `data.x`.
        search: How it would be searched.
        tol: Activation error at or below which a result would count as matched.
        forward: How to call the model where the names of its arguments do not say so.

    Returns:
        The layer's label, as it stands in rows.

    Raises:
        InputError: What `metamer` would raise.
    """
    with Probe(model, prepared(model, data, vary, forward), forward) as probe:
        targets = probe.targets(layer)
        vary = vary or vary_features(data)
        problem = pose(probe, targets, vary, tol, "")
        configured(search).choose(problem).check(vary)
        return _join(targets)


@torch.no_grad()
def _measured(
    probe: Probe,
    targets: list[Target],
    problem: Problem,
    search: Search,
    solution: Solution,
    seed: int,
    nulls: Nulls,
    impossible: bool,
) -> Metamer:
    """Score the hard graph, as the untouched model sees it."""
    reference, graph = probe.data, solution.graph
    start = problem.vary.random(reference, seeded(seed))
    activations, started = probe.activations(targets, graph), probe.activations(targets, start)
    errors = [float(error) for error in problem.errors(graph)]
    by_node = [
        node_activation_error(h.flatten(1), other.flatten(1)).cpu()
        for h, other in zip(problem.targets, activations, strict=True)
        if h.dim() > 1 and len(h) == reference.num_nodes
    ]
    outputs = probe.output(reference), probe.output(graph), probe.output(start)
    near, far = (similarities(problem.vary, reference, g) for g in (graph, start))
    scores = _scores(near, problem, activations, outputs[0], outputs[1])
    start_scores = _scores(far, problem, started, outputs[0], outputs[2])
    status, error = solution.status, sum(errors) / len(errors)
    if status is Status.MATCHED and error > problem.tol:  # the search's sums were rounded otherwise
        status = Status.BUDGET_SPENT
    return Metamer(
        data=graph,
        reference=reference,
        layer=_join(targets),
        verdict=verdict(
            error,
            *nulls.values(),
            tol=problem.tol,
            level=LEVEL,
            proved_impossible=impossible,
        ),
        status=status,
        activation_error=error,
        layer_errors={t.label: error for t, error in zip(targets, errors, strict=True)},
        tol=problem.tol,
        nulls=nulls,
        scores=scores
        | {"start_activation_error": float(problem.mean_error(started))}
        | {f"start_{name}": value for name, value in start_scores.items()},
        node_errors=torch.stack(by_node).mean(0) if len(by_node) == len(targets) else None,
        node_similarity=node_similarity(problem.vary, reference, graph).cpu(),
        predictions_agree=_agreement(reference, outputs[0], outputs[1]),
        history=solution.history,
        trail=[*solution.trail, (solution.best_step, error, problem.similarity(graph))],
        steps=solution.steps,
        best_step=solution.best_step,
        seconds=solution.seconds,
        seed=seed,
        vary=setting(problem.vary),
        search=setting(search),
        notes=solution.notes | triviality(problem.vary, reference, graph),
    )


def _scores(
    similarity: dict[str, float],
    problem: Problem,
    activations: list[Tensor],
    reference_output: Tensor,
    output: Tensor,
) -> dict[str, float]:
    match = prediction_match(reference_output, output)
    pairs = zip(problem.targets, activations, strict=True)
    figures = [match_figures(h, other) for h, other in pairs]
    shared = [name for name in figures[0] if name != "activation_error"]
    return (
        similarity
        | {
            "prediction_match": match,
            "consistency": consistency(next(iter(similarity.values())), match),
        }
        | {name: statistics.fmean(each[name] for each in figures) for name in shared}
        | {
            "node_match": matched_nodes(problem, activations),
            "output_error": float(activation_error(reference_output, output)),
        }
    )


def _agreement(reference: Data, output: Tensor, other: Tensor) -> Tensor | None:
    if len(output) != reference.num_nodes:
        return None
    classes = predicted_class(torch.cat([output, other]))
    return (classes[: len(output)] == classes[len(output) :]).cpu()


def _join(targets: list[Target]) -> str:
    return " + ".join(target.label for target in targets)


def _x(data: Data) -> Tensor:
    if data.x is None:
        raise InputError("data.x must be a floating point matrix [nodes, features]; data has none.")
    return data.x.detach()
