"""audit(): the main job. Layers × what varies × seeds, scored and reported."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers import zoo
from graph_metamers.baselines import baselines
from graph_metamers.digests import digest
from graph_metamers.environment import environment
from graph_metamers.errors import InputError, check_count
from graph_metamers.measure import DISTANCES, Verdict, interval, predicted_class
from graph_metamers.metamer import metamer, preflight
from graph_metamers.probe import Forward, Layer, Probe
from graph_metamers.probe import layers as list_layers
from graph_metamers.progress import progress_lines
from graph_metamers.result import Metamer, load, setting
from graph_metamers.search import Search, configured
from graph_metamers.similarity import kind_of, symbols_of
from graph_metamers.storage import graph_tensors
from graph_metamers.store import Store
from graph_metamers.theory import Theory, theory
from graph_metamers.vary import Vary, vary_features

RUN = ("dataset", "model", "layer", "vary", "search")


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """What a model takes for the same: one row a run, and the metamers themselves.

    Attributes:
        question: What was asked: layers, what varies, search, seeds, tol, and the digests of
            model and graph.
        environment: Versions and machine.
        metamers: One for each run, in the order of the rows.
        accuracy: The model's accuracy where it is known, by split.
        theory: Where features vary, what the paper's theory says of a layer, by its label; see
            `graph_metamers.theory`.
        baselines: Graphs that a metamer must beat, one row each; see `graph_metamers.baselines`.
    """

    question: dict[str, Any]
    environment: dict[str, Any]
    metamers: list[Metamer] = field(default_factory=list[Metamer])
    accuracy: dict[str, float] = field(default_factory=dict[str, float])
    theory: dict[str, Theory] = field(default_factory=dict[str, Theory])
    baselines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One flat dictionary a run, ready for `pandas.DataFrame`."""
        names = {name: self.question[name] for name in ("dataset", "model")}
        return [names | m.row() for m in self.metamers]

    @property
    def search(self) -> str:
        """How was searched: what was asked, and what that picked."""
        asked = str(self.question["search"])
        picked = dict.fromkeys(m.search for m in self.metamers if m.search != asked)
        return f"{asked}: {', '.join(picked)}" if picked else asked

    def groups(self) -> list[list[Metamer]]:
        """The metamers by what they share, that is all but the seed."""
        groups: dict[tuple[str, str, str], list[Metamer]] = {}
        for m in self.metamers:
            groups.setdefault((m.layer, m.vary, m.search), []).append(m)
        return list(groups.values())

    def summary(self) -> list[dict[str, Any]]:
        """Mean and standard deviation over the seeds, for each layer and what varies.

        Returns:
            One dictionary for each combination: what was run, `runs`, `matched` (how many are
            metamers by their verdict), `trivial` (how many of these are only the reference),
            `impossible` (of how many it is proved that there is none), `activation_error` over all
            runs; and each score over the **matched** runs that are not trivial, NaN if there is
            none, with its 95 % confidence interval by Student's t from `<score>_low`
            to `<score>_high`. `<name>_std` is the standard deviation of a sample. Spread and
            interval are NaN for a single run and where a value is not finite.
        """
        return [self._summary(group) for group in self.groups()]

    def _summary(self, group: list[Metamer]) -> dict[str, Any]:
        rows = [m.row() for m in group]
        names = {"dataset": self.question["dataset"], "model": self.question["model"]} | rows[0]
        summary: dict[str, Any] = {name: names[name] for name in RUN}
        summary |= {"runs": len(rows), "matched": sum(m.matched for m in group)}
        summary["trivial"] = sum(m.matched and m.trivial for m in group)
        summary["impossible"] = sum(m.verdict is Verdict.IMPOSSIBLE for m in group)
        summary["null_activation_error"] = min(m.null_activation_error for m in group)
        for name in ("activation_error", "seconds"):
            summary |= _spread(name, [float(row[name]) for row in rows])
        for name in group[0].scores:
            values = [m.scores[name] for m in group if m.matched and not m.trivial]
            summary |= _spread(name, values)
            if values:
                _, summary[f"{name}_low"], summary[f"{name}_high"] = interval(values)
        return summary

    def save(self, folder: str | Path) -> None:
        """Write `audit.json`, `report.html` and `metamers/*.pt`.

        Raises:
            InputError: The folder cannot be written to, or holds another audit.
        """
        store = Store(Path(folder), self.question)
        for place, m in enumerate(self.metamers):
            if not store.path(place, m.layer, m.seed).exists():
                m.save(store.path(place, m.layer, m.seed))
        store.write(self)
        store.report(self)

    def __repr__(self) -> str:
        matched = sum(m.matched for m in self.metamers)
        lines = [
            f"Audit({self.question['model']} on {self.question['dataset']}, "
            f"{matched} of {len(self.metamers)} runs matched)"
        ]
        for s in self.summary():
            scores = (
                f"{_similar(s)}, S_match {s['prediction_match']:.3f}, CS {s['consistency']:.3f}, "
                if s["matched"] > s["trivial"]
                else ""
            )
            lines.append(
                f"  {s['layer']}: error {s['activation_error']:.1e}, "
                f"{scores}{s['matched']} of {s['runs']} matched"
            )
        return "\n".join(lines)


def audit(
    model: nn.Module,
    data: Data,
    *,
    layers: Sequence[Layer] | None = None,
    vary: Vary | Sequence[Vary] | None = None,
    search: Search | str = "auto",
    seeds: int | Iterable[int] = 5,
    tol: float = 1e-2,
    forward: Forward | None = None,
    dataset: str = "data",
    name: str | None = None,
    accuracy: dict[str, float] | None = None,
    out: str | Path | None = None,
    command: str | None = None,
    progress: bool = True,
) -> Audit:
    """Build metamers of a graph for each layer, each way to vary it and each seed; score them.

    Args:
        model: A trained model. It is left exactly as found.
        data: The reference graph.
        layers: Layers as `metamer` takes them; by default all that `graph_metamers.layers` lists
            (of a zoo model, its numbered layers) and that what varies can reach. Those left out
            stand in `.question["skipped"]`, with the reason.
        vary: What may vary, one or several; by default read from `data.x`.
        search: How to search, as `metamer` takes it.
        seeds: Seeds of the random starts, or how many of them, counted from 0.
        tol: Activation error at or below which a run counts as matched.
        forward: How to call the model where the names of its arguments do not say so.
        dataset: What to call the graph in rows and report.
        name: What to call the model; by default its class.
        accuracy: The model's accuracy by split, to be reported beside; by default measured where
            `data` has labels `y` and masks.
        out: A folder to keep everything in from the start. Killed and called again with the same
            arguments, the audit goes on where it was; without, call `.save()` at the end.
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
    search = configured(search)
    seeds = _seeds(seeds)
    ways = _ways(vary, model, data, forward)
    skipped: dict[str, str] = {}
    if layers is None:
        layers, skipped = _searchable_layers(model, data, ways, search, tol, forward)
    if isinstance(layers, str) or not layers:
        raise InputError(
            f"layers must be a list of layers, one audit row group each; got {layers!r}. "
            "See graph_metamers.layers(model, data)."
        )
    labels = [_checked(model, data, layer, ways, search, tol, forward) for layer in layers]
    question = _question(model, data, layers, labels, ways, search, seeds, tol, forward)
    question |= {"dataset": dataset, "model": name or type(model).__name__, "skipped": skipped}

    asked = {} if command is None else {"command": command}
    accuracy = _accuracy(model, data, forward) if accuracy is None else accuracy
    made = environment("cpu" if data.x is None else data.x.device)
    result = Audit(question, made | asked, accuracy=accuracy)
    store = None if out is None else Store(Path(out), question)
    grid = [
        (layer, label, way, seed)
        for layer, label in zip(layers, labels, strict=True)
        for way in ways
        for seed in seeds
    ]
    say = progress_lines(shown=progress)
    for place, (layer, label, way, seed) in enumerate(grid):
        path = None if store is None else store.path(place, label, seed)
        if path is not None and path.exists():
            # All share one reference, so that a long audit does not hold it many times.
            m = load(path)
            graph = m.data if data.x is None else m.data.to(str(data.x.device))
            result.metamers.append(dataclasses.replace(m, data=graph, reference=data))
            continue
        m = metamer(
            model,
            data,
            layer,
            vary=way,
            search=search,
            tol=tol,
            seed=seed,
            forward=forward,
            checkpoint=None if path is None else path.with_suffix(".checkpoint"),
            progress=progress,
        )
        result.metamers.append(m)
        if store is not None and path is not None:
            m.save(path)
            store.write(result)
        how = f"{m.verdict.text}, error {m.activation_error:.1e}, {m.seconds:.0f} s"
        say(f"{place + 1}/{len(grid)} {label}, seed {seed}: {how}")
    held = {} if store is None else store.held
    if held.get("baselines"):  # a finished audit is not measured again
        result.baselines.extend(held["baselines"])
        theories = held["theory"].items()
        result.theory.update({label: Theory(**told) for label, told in theories})
    else:
        for layer, label in zip(layers, labels, strict=True):
            options = {"seed": seeds[0], "tol": tol, "forward": forward}
            _surround(result, model, data, layer, label, ways, **options)
    if store is not None:
        store.write(result)
        store.report(result)
    return result


def _surround(
    result: Audit,
    model: nn.Module,
    data: Data,
    layer: Layer,
    label: str,
    ways: list[Vary],
    **options: Any,
) -> None:
    """What a layer's metamers are to be seen beside: baselines, and what the theory says."""
    for way in ways:
        for found in baselines(model, data, layer, vary=way, **options):
            result.baselines.append({"layer": label, "vary": setting(way)} | found.row())
    if any(kind_of(way) == "features" for way in ways):
        told = theory(model, data, layer, forward=options["forward"])
        if told is not None:
            result.theory[label] = told


def _spread(name: str, values: list[float]) -> dict[str, float]:
    spread = len(values) > 1 and all(math.isfinite(value) for value in values)
    return {
        name: statistics.fmean(values) if values else math.nan,
        f"{name}_std": statistics.stdev(values) if spread else math.nan,
    }


def _similar(summary: dict[str, Any]) -> str:
    return ", ".join(
        f"{symbol} {summary[name]:.3f} (start {summary[f'start_{name}']:.3f})"
        for name, symbol in symbols_of(summary).items()
    )


def _seeds(seeds: int | Iterable[int]) -> list[int]:
    if isinstance(seeds, int):
        check_count("seeds", seeds)
        return list(range(seeds))
    values: list[Any] = list(seeds) if isinstance(seeds, Iterable) else [seeds]  # pyright: ignore[reportUnnecessaryIsInstance]
    if not values or len(set(values)) < len(values):
        raise InputError(f"seeds must be different whole numbers, at least one; got {values}.")
    for value in values:
        check_count("seeds", value, least=0)
    return values


def _ways(
    vary: Vary | Sequence[Vary] | None, model: nn.Module, data: Data, forward: Forward | None
) -> list[Vary]:
    if isinstance(vary, Vary):
        return [vary]
    if vary is not None:
        if not vary:
            raise InputError("vary must name at least one way to vary the graph; got none.")
        return list(vary)
    list_layers(model, data, forward=forward)  # says what is wrong with the graph
    return [vary_features(data)]


@torch.no_grad()
def _accuracy(model: nn.Module, data: Data, forward: Forward | None) -> dict[str, float]:
    """Share of correct nodes in each split that the graph marks; empty where it has no labels."""
    masks = {name: data.get(f"{name}_mask") for name in ("train", "val", "test")}
    nodes = (data.num_nodes,)
    if not isinstance(data.y, Tensor) or data.y.shape != nodes or data.y.is_floating_point():
        return {}
    with Probe(model, data, forward) as probe:
        predicted = predicted_class(probe.output(data))
    return {
        name: float((predicted == data.y)[mask].double().mean())
        for name, mask in masks.items()
        if isinstance(mask, Tensor)
        and mask.shape == nodes == predicted.shape
        and mask.dtype == torch.bool
        and bool(mask.any())
    }


def _searchable_layers(
    model: nn.Module,
    data: Data,
    ways: list[Vary],
    search: Search,
    tol: float,
    forward: Forward | None,
) -> tuple[list[Layer], dict[str, str]]:
    """The listed layers that can be searched, and why the others cannot."""
    names = list_layers(model, data, forward=forward).names
    if isinstance(model, zoo.Model):
        names = model.layer_names
    searchable: list[Layer] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            _checked(model, data, name, ways, search, tol, forward)
            searchable.append(name)
        except InputError as error:
            skipped[name] = str(error)
    if not searchable:
        raise InputError(next(iter(skipped.values())))
    return searchable, skipped


def _checked(
    model: nn.Module,
    data: Data,
    layer: Layer,
    ways: list[Vary],
    search: Search,
    tol: float,
    forward: Forward | None,
) -> str:
    """The layer's label, after a look at whether it can be searched in every way."""
    labels = [
        preflight(model, data, layer, vary=way, search=search, tol=tol, forward=forward)
        for way in ways
    ]
    return labels[0]


def _question(
    model: nn.Module,
    data: Data,
    layers: Sequence[Layer],
    labels: list[str],
    ways: list[Vary],
    search: Search,
    seeds: list[int],
    tol: float,
    forward: Forward | None,
) -> dict[str, Any]:
    settings, made = [setting(way) for way in ways], environment()
    for what, values in {"layers": labels, "vary": settings}.items():
        repeated = [value for value in values if values.count(value) > 1]
        if repeated:
            raise InputError(f"{what} must differ from one another; got {repeated[0]} twice.")
    parts = [part for layer in layers for part in ([layer] if callable(layer) else layer)]
    functions = [part for part in parts if callable(part)]
    return {
        "layers": labels,
        "vary": settings,
        "search": setting(search),
        "seeds": seeds,
        "tol": tol,
        "nodes": data.num_nodes,
        "features": data.num_features,
        "edges": data.num_edges,
        "model_digest": digest(model, forward, functions),
        "data_digest": digest(graph_tensors(data)),
        "device": str(data.x.device).split(":")[0],  # pyright: ignore[reportOptionalMemberAccess]
        # Rows that were made by different versions do not belong into one table.
        "distances": [d.name for d in DISTANCES.values() if d.kind in map(kind_of, ways)],
        "versions": [made[name] for name in ("torch", "torch_geometric", "graph_metamers")],
    }
