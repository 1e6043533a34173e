"""metamer(): the one page that ties probe, vary, search and measure."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graph_metamers.digests import digest
from graph_metamers.errors import InputError, check_count
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.judge import SHARE, Judgement, errors_of, is_impossible, judged, nulls_of
from graph_metamers.measure import Outcome
from graph_metamers.measure.agreement import activation_error, consistency
from graph_metamers.measure.null import match_figures
from graph_metamers.pose import Varies, opened, pose
from graph_metamers.probe import Forward, Layer, how_of
from graph_metamers.progress import progress_bar
from graph_metamers.randomness import seeded
from graph_metamers.result import Metamer, setting
from graph_metamers.search import Ended, Problem, Search, Solution, configured
from graph_metamers.similarity import is_trivial, row_similarity, similarities, similarity
from graph_metamers.storage import make_folder
from graph_metamers.task import Task
from graph_metamers.vary import Block


def metamer(
    model: nn.Module,
    data: Graph,
    layer: Layer,
    *,
    vary: Varies = None,
    search: Search | str = "auto",
    tol: float = 1e-2,
    seed: int = 0,
    index: Tensor | Sequence[int] | None = None,
    task: Task | str | None = None,
    avoid: Sequence[Any] = (),
    null_graphs: Sequence[Any] = (),
    call: str | None = None,
    forward: Forward | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Metamer:
    """Build a graph that differs from `data` and that `model` takes for it at `layer`.

    Whether it does is the outcome. It is *matched* where the fraction of variance unexplained (FVU)
    is at or below `tol`, where 90 % of the rows match beyond chance, and where no unrelated graph
    is as near: random starts, of which up to 99 are drawn, and each of `null_graphs` (Feather et
    al. 2023). Of a batch all graphs are searched at once, each with its own start, error, best and
    outcome; nothing crosses from one graph to another.

    Time and memory are those of the search, whose docstring states them: `Adam` takes
    `search.steps` times one forward and backward pass to the layer, and memory about ten times
    that of `data.x` besides the model's own; `Swap` and `Exact` far less time; `EdgeSwap` memory
    as the edges. The nulls take 9 to 99 forwards to the layer.

    Args:
        model: A trained model. It is copied; the model itself is never entered.
        data: The reference on the model's device: a `Data`, `HeteroData` or `Batch`, a list of
            graphs, or a dictionary of the arguments that the model is called with. It is not
            changed.
        layer: The layer to match at; see `graph_metamers.layers`. A list is matched jointly, and
            so is a layer that returns several tensors: the mean of their errors is lowered, and
            each is reported.
        vary: What may vary: one way, or several by the names of inputs, as in
            `{"paper.x": BinaryFeatures()}`. By default all feature matrices, as they are read.
            `Edges()` leaves the features and varies the structure, `EdgeWeights()` its weights.
        search: How to search: "auto" picks what suits, "adam" is the paper's, and a configured
            one such as `Swap(seek="farthest")` says more.
        tol: FVU at or below which the result can count as matched.
        seed: Seed of the random start. The global random state is neither used nor changed.
        index: Rows of the layer that must match, as numbers or a mask; by default all.
        task: How outputs are compared: "classes", "binary", "multilabel", "regression", "links",
            "embedding", or a configured one. By default read from output and labels.
        avoid: Graphs with whose features the metamer shall share as little as possible; see
            `metamers`. `Swap` and `Exact` can.
        null_graphs: Other graphs than each of which the metamer must be nearer. For a model of
            whole graphs and one reference they also say what the spread of the layer is.
        call: The call, as `graph_metamers.summary` shows it: names of arguments and of the graph's
            attributes, as in "x, edge_index, edge_weight=edge_attr". By default it is read from
            the names of the model's arguments.
        forward: The call as a function `(model, data) -> output`, for what `call` cannot say.
        checkpoint: A file to save the search's state to now and then, and to resume it from; the
            result is the same, bit for bit, as without a stop.
        progress: Whether to show a bar once the search takes longer than two seconds.

    Returns:
        The best graph found and its scores, matched or not: look at `.outcome`. Where it is
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
    with opened(model, data, vary, how_of(call, forward), task) as open_model:
        problem = pose(
            open_model,
            layer,
            tol=tol,
            index=index,
            avoid=checked_graphs("avoid", avoid),
            null_graphs=checked_graphs("null_graphs", null_graphs),
        )
        return searched(problem, search, int(seed), checkpoint=checkpoint, progress=progress)


def searched(
    problem: Problem,
    search: Search,
    seed: int,
    *,
    checkpoint: str | Path | None = None,
    progress: bool = True,
) -> Metamer:
    """Search a problem from one seed, and measure what was found."""
    path = None if checkpoint is None else _place(checkpoint)
    identity = digest(problem.identity, search, seed)
    search, problem = search.choose(problem), replace(problem, identity=identity)
    title = f"{type(search).__name__} at {' + '.join(problem.match.labels)}"
    if is_impossible(problem):
        none = torch.zeros(problem.graphs, dtype=torch.float64)
        ended, steps = [Ended.REACHED] * problem.graphs, [0] * problem.graphs
        solution = Solution(problem.inputs.cloned(), none, ended, [0.0], 0, steps, 0.0)
    else:
        with progress_bar(title, shown=progress) as watch, problem.faster():
            solution = search.run(problem, seeded(seed), checkpoint=path, watch=watch)
    return _measured(problem, search, solution, seed)


def _place(checkpoint: Any) -> Path:
    if not isinstance(checkpoint, str | Path):
        raise InputError(f"checkpoint must be the path of a file; got {checkpoint!r}.")
    make_folder(Path(checkpoint).parent)
    return Path(checkpoint)


def checked_graphs(name: str, graphs: Sequence[Any]) -> list[Any]:
    """A list of graphs, or the sentence that says what came."""
    if not isinstance(graphs, list | tuple):
        raise InputError(
            f"{name} must be a list of graphs; got {type(graphs).__name__}. "
            "Of a metamer m it is m.data."
        )
    return [Inputs.of(graph, f"Each graph of {name}") for graph in graphs]


def metamers(
    model: nn.Module,
    data: Graph,
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
        model: A trained model. It is copied; the model itself is never entered.
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
    if n > 1:
        _check_keeps_away(model, data, layer, options)
    found: list[Metamer] = []
    given = checked_graphs("avoid", options.get("avoid", ()))
    for each in range(n):
        avoid = [*given, *(m.data for m in found)]
        mine: dict[str, Any] = options | {"seed": seed + each, "avoid": avoid}
        if options.get("checkpoint") is not None:
            path = Path(options["checkpoint"])
            mine["checkpoint"] = path.with_name(f"{path.stem}-{each}{path.suffix}")
        found.append(metamer(model, data, layer, **mine))
    return found


def _check_keeps_away(model: nn.Module, data: Graph, layer: Layer, options: dict[str, Any]) -> None:
    """Say before the first search whether the others can keep away from what it finds."""
    vary, task = options.get("vary"), options.get("task")
    how = how_of(options.get("call"), options.get("forward"))
    with opened(model, data, vary, how, task) as open_model:
        tol, index = options.get("tol", 1e-2), options.get("index")
        problem = pose(open_model, layer, tol=tol, index=index, avoid=[data])
        configured(options.get("search", "auto")).choose(problem)


@torch.no_grad()
def _measured(problem: Problem, search: Search, solution: Solution, seed: int) -> Metamer:
    """Score the hard graph, as the untouched model sees it."""
    session, match, blocks = problem.session, problem.match, problem.blocks
    reference, found = problem.inputs, solution.inputs
    start = problem.start(seeded(seed))
    activations, started = problem.activations(found), problem.activations(start)
    errors = errors_of(problem, activations)
    outputs = [session.outputs(inputs) for inputs in (reference, found, start)]
    scores = _scores(problem, found, activations, outputs[0], outputs[1])
    start_scores = _scores(problem, start, started, outputs[0], outputs[2])
    judgements = judged(problem, activations, solution.ended, _trivial(problem, found))
    kept = session.task.kept(*(next(iter(each.values())) for each in outputs[:2])).cpu()
    items = _items(problem, solution, activations, judgements, kept)
    outcome, reason = _overall(judgements)
    scores["node_match"] = statistics.fmean(each.node_match for each in judgements)
    by_layer = match.fvu(activations).mean(1)
    raw = match.activation_errors(activations)
    start_raw = match.activation_errors(started)
    nulls = {"start": nulls_of(problem).drawn(errors).mean(1)}
    if problem.null_errors:
        nulls["other"] = torch.stack(problem.null_errors).mean(1).cpu()
    by_row = match.by_row(activations)
    # Rounded otherwise, the search's own sums may differ from what is measured.
    end = solution.steps, float(errors.mean()), similarity(blocks, reference, found)
    return Metamer(
        inputs=found,
        original=reference,
        layer=" + ".join(match.labels),
        outcome=outcome,
        reason=reason,
        fvu=float(match.fvu(activations).mean()),
        activation_error=float(raw.mean()),
        layer_errors=dict(zip(match.labels, by_layer.tolist(), strict=True)),
        tol=match.tol,
        p_value=statistics.fmean(each.p_value for each in judgements),
        nulls=nulls,
        task=session.task.name,
        agreement=session.task.symbol,
        units=match.taps[0].units.noun,
        scores=scores
        | {"start_fvu": float(match.fvu(started).mean())}
        | {"start_activation_error": float(start_raw.mean())}
        | {f"start_{name}": value for name, value in start_scores.items()},
        items=items,
        row_errors=None if by_row is None else by_row.cpu(),
        row_similarity=row_similarity(blocks, reference, found).cpu(),
        row_agreement=kept,
        history=solution.history,
        trail=[*solution.trail, end],
        steps=solution.steps,
        best_step=max(solution.best_steps),
        seconds=solution.seconds,
        seed=seed,
        vary=said(blocks),
        varied={block.at: block.vary.kind for block in blocks},
        search=setting(search),
        notes=solution.notes,
    )


def said(blocks: tuple[Block, ...]) -> str:
    """What varied, in short: the names of inputs where they are not the usual ones."""
    return ", ".join(
        setting(b.vary) if b.at == b.vary.attribute else f"{b.at}: {setting(b.vary)}"
        for b in blocks
    )


def _scores(
    problem: Problem,
    found: Inputs,
    activations: list[Tensor],
    reference_outputs: dict[str, Tensor],
    outputs: dict[str, Tensor],
) -> dict[str, float]:
    task, match = problem.session.task, problem.match
    reference_output, output = (next(iter(e.values())) for e in (reference_outputs, outputs))
    scores = answered(problem, found, reference_output, output)
    for place, other in list(reference_outputs.items())[1:]:  # what else the model returns
        now = outputs.get(place)
        if now is not None and now.shape == other.shape:
            scores[f"output_error{place}"] = activation_error(other, now)
    change = task.change(reference_output, output)
    if not math.isnan(change):
        scores["prediction_change"] = change
    pairs = zip(match.taps, match.chosen(activations), strict=True)
    figures = [match_figures(tap.target, h) for tap, h in pairs]
    shared = [name for name in figures[0] if name != "activation_error"]
    return (
        scores
        | {name: statistics.fmean(each[name] for each in figures) for name in shared}
        | {"output_error": activation_error(reference_output, output)}
    )


def answered(
    problem: Problem, found: Inputs, reference_output: Tensor, output: Tensor
) -> dict[str, float]:
    """How similar a graph is to the reference, and the share of answers that stay."""
    task, near = problem.session.task, similarities(problem.blocks, problem.inputs, found)
    kept = float(task.kept(reference_output, output).mean())
    scores = near | {"prediction_match": kept}
    if task.has_consistency:
        scores["consistency"] = consistency(next(iter(near.values())), kept)
    return scores


def _trivial(problem: Problem, found: Inputs) -> list[float]:
    """Of each graph whether it is only the reference."""
    blocks, inputs = problem.blocks, problem.inputs
    graphs = range(problem.graphs)
    return [is_trivial(blocks, inputs.single(g), found.single(g)) for g in graphs]


def _items(
    problem: Problem,
    solution: Solution,
    activations: list[Tensor],
    judgements: list[Judgement],
    kept: Tensor,
) -> list[dict[str, Any]]:
    """One row for each graph."""
    match, inputs = problem.match, problem.inputs
    fvu, raw = match.fvu(activations).mean(0), match.activation_errors(activations).mean(0)
    rows = problem.session.output_units(kept)
    agreement = rows.mean(kept.to(rows.graph.device)).tolist()
    items: list[dict[str, Any]] = []
    for graph, judgement in enumerate(judgements):
        pair = inputs.single(graph), solution.inputs.single(graph)
        items.append(
            {
                "graph": graph,
                "outcome": str(judgement.outcome),
                "reason": judgement.reason,
                "fvu": float(fvu[graph]),
                "activation_error": float(raw[graph]),
                "node_match": judgement.node_match,
                "p_value": judgement.p_value,
                "similarity": similarity(problem.blocks, *pair),
                "prediction_match": agreement[graph],
                "best_step": solution.best_steps[graph],
            }
        )
    return items


def _overall(judgements: list[Judgement]) -> tuple[Outcome, str]:
    """The outcome of a graph; of a batch matched where 90 % are, else the commonest other."""
    if len(judgements) == 1:
        return judgements[0].outcome, judgements[0].reason
    counts = Counter(each.outcome for each in judgements)
    told = ", ".join(f"{count} {outcome.text}" for outcome, count in counts.most_common())
    if counts[Outcome.MATCHED] >= SHARE * len(judgements):
        return Outcome.MATCHED, f"Of {len(judgements)} graphs {told}."
    del counts[Outcome.MATCHED]
    common = counts.most_common(1)[0][0]
    reason = next(each.reason for each in judgements if each.outcome is common)
    return common, f"Of {len(judgements)} graphs {told}. {reason}"
