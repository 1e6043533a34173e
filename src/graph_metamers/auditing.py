"""audit(): the main job. Layers × what varies × seeds, scored, kept and reported."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from graph_metamers import zoo
from graph_metamers.audits import Audit
from graph_metamers.baseline import baselines_of
from graph_metamers.digests import digest
from graph_metamers.environment import environment
from graph_metamers.errors import InputError, check_count, is_number, listing
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.making import checked_graphs, said, searched
from graph_metamers.measure import DISTANCES
from graph_metamers.pose import Opened, Varies, opened, pose
from graph_metamers.probe import Forward, Layer, how_of
from graph_metamers.progress import progress_lines
from graph_metamers.result import load, setting
from graph_metamers.search import Problem, Search, configured
from graph_metamers.storage import left_out, pack_inputs, unpack_inputs
from graph_metamers.store import Store
from graph_metamers.task import Task
from graph_metamers.theory import Theory, theory
from graph_metamers.vary import Vary

Posed = dict[tuple[str, int], Problem]  # by the label of the layer and the place of the way


def audit(
    model: nn.Module,
    data: Graph,
    *,
    layers: Sequence[Layer] | None = None,
    vary: Varies | Sequence[Varies] = None,
    search: Search | str = "auto",
    seeds: int | Iterable[int] = 5,
    tol: float = 1e-2,
    index: Tensor | Sequence[int] | None = None,
    task: Task | str | None = None,
    null_graphs: Sequence[Any] = (),
    call: str | None = None,
    forward: Forward | None = None,
    dataset: str = "data",
    name: str | None = None,
    quality: dict[str, dict[str, float]] | None = None,
    out: str | Path | None = None,
    command: str | None = None,
    progress: bool = True,
) -> Audit:
    """Build metamers of a graph for each layer, each way to vary it and each seed; score them.

    The model is copied once for each way to vary, and all layers and seeds share that copy.

    Args:
        model: A trained model. It is copied; the model itself is never entered.
        data: The reference, as `metamer` takes it.
        layers: Layers as `metamer` takes them; by default all that `graph_metamers.layers` lists
            (of a zoo model, its numbered layers) and that what varies can reach. Those left out
            stand in `.question["skipped"]`, with the reason.
        vary: What may vary, as `metamer` takes it, or a list of ways; by default read from the
            features.
        search: How to search, as `metamer` takes it.
        seeds: Seeds of the random starts, or how many of them, counted from 0.
        tol: FVU at or below which a run can count as matched.
        index: Rows of the layers that must match, as `metamer` takes them.
        task: How outputs are compared, as `metamer` takes it.
        null_graphs: Other graphs than which metamers must be nearer, as `metamer` takes them.
        call: The call as text, as `metamer` takes it.
        forward: The call as a function, as `metamer` takes it.
        dataset: What to call the graph in rows and report.
        name: What to call the model; by default its class.
        quality: How well the model does, by split and measure, to be reported beside; by default
            measured where the data has labels `y`, by its masks where it has some.
        out: A folder to keep everything in from the start. Killed and called again with the same
            arguments, the audit goes on where it was; called with layers or seeds besides the
            old ones, only what is new is searched. Without a folder, call `.save()` at the end.
        command: The command that asked for this, to be reported as the way to do it again.
        progress: Whether to show a bar on what takes longer than two seconds; where there is no
            terminal, a line for each run on stderr.

    Returns:
        The finished audit: `.rows`, `.summary()`, `.save(folder)`.

    Raises:
        InputError: Something handed in cannot be used; said before the first search begins.

    Example:
        >>> import graph_metamers as gm
        >>> data = gm.datasets.csbm(nodes=60, features=40, density=0.1)
        >>> model = gm.zoo.GCN(40, 3)
        >>> result = gm.audit(model, data, seeds=2)
        >>> [(row["layer"], row["seed"]) for row in result.rows]
        [('layer1', 0), ('layer1', 1), ('layer2', 0), ('layer2', 1)]
    """
    search, seeds, how = configured(search), _seeds(seeds), how_of(call, forward)
    ways, inputs = _ways(vary), Inputs.of(data)
    _check_told(dataset, name, quality)
    with ExitStack() as stack:
        opens = [stack.enter_context(opened(model, inputs, way, how, task)) for way in ways]
        names = opens[0].session.layers.names
        if isinstance(model, zoo.Model):
            names = model.layer_names
        wanted: Sequence[Layer] = names if layers is None else _checked_layers(layers)
        others = checked_graphs("null_graphs", null_graphs)
        asked_of: dict[str, Any] = {"tol": tol, "index": index, "null_graphs": others}
        posed, skipped = _posed(opens, wanted, search, asked_of, lenient=layers is None)
        question = _question(opens, inputs, posed, search, seeds)
        question |= {
            "tol": float(tol),
            "index": None if index is None else torch.as_tensor(index).tolist(),
        }
        question["null_graphs"] = digest([graph.graph.to_dict() for graph in others])
        question |= {"dataset": dataset, "model": name or opens[0].session.name, "skipped": skipped}
        asked = {} if command is None else {"command": command}
        known = _quality(opens[0]) if quality is None else quality
        result = Audit(question, environment(inputs.device) | asked, quality=known)
        question["not_kept"] = [] if out is None else _not_kept(opens[0])
        store = None if out is None else Store(Path(out), question)
        _run(result, posed, seeds, search, store, progress=progress)
        _surround(result, posed, seeds[0], store)
    if store is not None:
        from graph_metamers.report import write_report  # with Matplotlib: a second to import

        store.write(result.document())
        write_report(result, store.folder / "report.html")
    return result


def _posed(
    opens: list[Opened],
    layers: Sequence[Layer],
    search: Search,
    options: dict[str, Any],
    *,
    lenient: bool,
) -> tuple[Posed, dict[str, str]]:
    """The problem of each layer and way, and why some layers are left out."""
    posed: Posed = {}
    skipped: dict[str, str] = {}
    for layer in layers:
        try:
            problems = [pose(each, layer, **options) for each in opens]
            for problem in problems:
                search.choose(problem)
        except InputError as error:
            if not lenient:
                raise
            skipped[str(layer)] = str(error)
            continue
        label = " + ".join(problems[0].match.labels)
        if (label, 0) in posed:
            raise InputError(f"layers must differ from one another; got {label} twice.")
        posed |= {(label, way): problem for way, problem in enumerate(problems)}
    if not posed:
        raise InputError(next(iter(skipped.values()), "The model has no layer to match at."))
    return posed, skipped


def _run(
    result: Audit,
    posed: Posed,
    seeds: list[int],
    search: Search,
    store: Store | None,
    *,
    progress: bool,
) -> None:
    """Each search that is not in the folder yet."""
    grid = [(label, problem, seed) for (label, _), problem in posed.items() for seed in seeds]
    say = progress_lines(shown=progress)
    for number, (label, problem, seed) in enumerate(grid):
        path = None if store is None else store.path(label, said(problem.blocks), seed)
        if path is not None and path.exists():
            # All share one reference, so that a long audit does not hold it many times.
            m, device = load(path), problem.inputs.device
            moved = {key: m.inputs[key].to(device) for key in m.inputs.keys}
            found = m.inputs.replaced(moved)
            result.metamers.append(dataclasses.replace(m, inputs=found, original=problem.inputs))
            continue
        checkpoint = None if path is None else path.with_suffix(".checkpoint")
        m = searched(problem, search, seed, checkpoint=checkpoint, progress=progress)
        result.metamers.append(m)
        if store is not None and path is not None:
            m.save(path)
            store.write(result.document())
        how = f"{m.outcome.text}, FVU {m.fvu:.1e}, {m.seconds:.0f} s"
        say(f"{number + 1}/{len(grid)} {label}, seed {seed}: {how}")


def _surround(result: Audit, posed: Posed, seed: int, store: Store | None) -> None:
    """What a layer's metamers are to be seen beside: baselines, and what the theory says."""
    held = {} if store is None else store.held
    result.theory.update({label: Theory(**t) for label, t in held.get("theory", {}).items()})
    for (label, _), problem in posed.items():
        names = {"layer": label, "vary": said(problem.blocks)}
        known = [row for row in held.get("baselines", []) if names.items() <= row.items()]
        result.baselines.extend(
            known or [names | found.row() for found in baselines_of(problem, seed)]
        )
        reads = all(block.vary.reads for block in problem.blocks)
        if reads and not known and label not in result.theory:
            told = theory(problem.session, problem.targets)
            if told is not None:
                result.theory[label] = told


def _checked_layers(layers: Sequence[Layer]) -> Sequence[Layer]:
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(
            f"layers must be a list of layers, one audit row group each; got {layers!r}. "
            "See graph_metamers.layers(model, data)."
        )
    return layers


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    if not isinstance(seeds, Iterable):
        check_count("seeds", seeds)
        return list(range(int(seeds)))
    values = list(seeds)
    for value in values:
        check_count("seeds", value, least=0)
    if not values or len(set(values)) < len(values):
        raise InputError(f"seeds must be different whole numbers, at least one; got {values}.")
    return [int(value) for value in values]


def _ways(vary: Varies | Sequence[Varies]) -> list[Varies]:
    if vary is None or isinstance(vary, Vary | Mapping):
        return [vary]  # pyright: ignore[reportReturnType]
    if not isinstance(vary, list | tuple) or not vary:
        raise InputError(
            "vary must be a way to vary the graph, such as Edges(), a dictionary of these by the "
            f"names of inputs, or a list of them; got {vary!r}."
        )
    ways = list(vary)
    if len({repr(way) for way in ways}) < len(ways):
        raise InputError(f"vary must hold different ways; got {ways[0]!r} twice.")
    return ways


@torch.no_grad()
def _not_kept(open_model: Opened) -> list[str]:
    """Attributes that no file can hold, such as functions, which the model must not need."""
    session = open_model.session
    names, kept = left_out(session.inputs), unpack_inputs(pack_inputs(session.inputs))
    if not names:
        return []
    try:
        output, other = session.output(session.inputs), session.output(kept)
        same = output.shape == other.shape and torch.allclose(output, other, equal_nan=True)
    except InputError:  # it does not run without them
        same = False
    if not same:
        raise InputError(
            f"The model reads {listing(names)} of the data, which no file can hold. Hand over what "
            "it needs with forward=, or leave out= out."
        )
    return names


def _check_told(dataset: Any, name: Any, quality: Any) -> None:
    """Raise where what is only reported is not of its kind, before anything is searched."""
    for argument, value in (("dataset", dataset), ("name", "" if name is None else name)):
        if not isinstance(value, str):
            raise InputError(f"{argument} must be a text, for tables; got {value!r}.")
    splits = quality.values() if isinstance(quality, Mapping) else [] if quality is None else [0]
    for measures in cast("Iterable[Any]", splits):
        if not isinstance(measures, Mapping) or not all(
            map(is_number, cast("Mapping[str, Any]", measures).values())
        ):
            raise InputError(
                "quality must give numbers by split and measure, as in "
                f"{{'test': {{'accuracy': 0.8}}}}; got {quality!r}."
            )


@torch.no_grad()
def _quality(open_model: Opened) -> dict[str, dict[str, float]]:
    """How well the model does on each split that the data marks; on all rows where it has none."""
    session = open_model.session
    output, labels = session.output(session.inputs), session.labels
    if labels is None or len(labels) != len(output):
        return {}
    masks = {
        name: mask
        for name in ("train", "val", "test")
        for key in session.inputs.keys
        if key.rpartition(".")[2] == f"{name}_mask"
        and (mask := session.inputs[key]).shape == (len(output),)
        and mask.dtype == torch.bool
        and bool(mask.any())
    } or {"all": torch.ones(len(output), dtype=torch.bool, device=output.device)}
    try:
        return {
            name: session.task.quality(output[mask], labels[mask]) for name, mask in masks.items()
        }
    except InputError:  # the labels are not of this task
        return {}


def _question(
    opens: list[Opened],
    inputs: Inputs,
    posed: Posed,
    search: Search,
    seeds: list[int],
) -> dict[str, Any]:
    session, made = opens[0].session, environment()
    kinds = {block.vary.kind for each in opens for block in each.blocks}
    return {
        "layers": list(dict.fromkeys(label for label, _ in posed)),
        "vary": [{b.at: setting(b.vary) for b in each.blocks} for each in opens],
        "search": setting(search),
        "seeds": seeds,
        "task": session.task.name,
        "inputs": {key: list(inputs[key].shape) for key in inputs.keys},
        "graphs": inputs.graphs,
        "nodes": sum(inputs.nodes(kind) for kind in inputs.node_types),
        "features": sum(inputs[key].shape[1] for key in inputs.feature_keys),
        "edges": sum(inputs[key].shape[1] for key in inputs.edge_keys),
        "call": session.call.text,
        "defaults": list(session.call.left),
        "model_digest": digest(dict(session.model.state_dict())),
        "data_digest": digest(inputs.graph.to_dict()),
        "answers": {
            at: seen
            for (_, way), problem in posed.items()
            for at, seen in problem.answers.items()
            if way == 0
        },
        "device": str(inputs.device).split(":")[0],
        # Rows that were made by different versions do not belong into one table.
        "distances": [d.name for d in DISTANCES.values() if d.kind in kinds],
        "versions": [made[name] for name in ("torch", "torch_geometric", "graph_metamers")],
    }
