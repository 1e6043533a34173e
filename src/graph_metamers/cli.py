"""The command line: `graph-metamers audit`, `layers`, `paper` and others."""

import inspect
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn
from torch_geometric.data import Data

from graph_metamers import __version__, datasets, zoo
from graph_metamers.audit import Audit, audit
from graph_metamers.benchmark.command import benchmark_command
from graph_metamers.errors import InputError, listing
from graph_metamers.measure import Verdict
from graph_metamers.options import (
    ActivationOption,
    AdversarialOption,
    DataOption,
    DatasetOption,
    DepthOption,
    DeviceOption,
    HiddenOption,
    ModelOption,
    ResidualOption,
    UndirectedOption,
    WeightsOption,
    command_line,
    spread_lists,
    stoppable,
    usable_device,
)
from graph_metamers.own import load_graph, load_model
from graph_metamers.paper.command import paper_command
from graph_metamers.probe import Layer, check_data, layers
from graph_metamers.search import SEARCHES, Search
from graph_metamers.similarity import symbols_of
from graph_metamers.vary import Edges, EdgeWeights, Vary, vary_features

app = typer.Typer(
    help="Which different graphs does a trained graph neural network take for the same one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"graph-metamers {__version__}")
        raise typer.Exit


@app.callback()
def _general(
    version: Annotated[
        bool,
        typer.Option("--version", help="Say the version.", is_eager=True, callback=_tell_version),
    ] = False,
) -> None: ...


class SearchName(StrEnum):
    AUTO = "auto"
    ADAM = "adam"
    SWAP = "swap"
    EXACT = "exact"
    GAUSS_NEWTON = "gauss_newton"
    EDGE_SWAP = "edge_swap"
    BLOCKS = "blocks"


class VaryName(StrEnum):
    """What may vary."""

    FEATURES = "features"
    STRUCTURE = "structure"
    WEIGHTS = "weights"


MEANINGS = {
    "feature_similarity": "S_feat: feature similarity, 1 is the same graph; beside it that of the "
    "random start.",
    "structure_similarity": "S_struct: structure similarity, 1 is a graph of the same shape; "
    "beside it that of the random start. kept: share of the reference's edges that stayed, "
    "without which S_struct says little, since most graphs are of similar shape.",
    "weight_similarity": "S_weight: similarity of the edge weights, 1 is the same graph; beside it "
    "that of the random start.",
}


@app.command("audit")
def audit_command(
    dataset: DatasetOption = None,
    undirected: UndirectedOption = False,
    data: DataOption = None,
    model: ModelOption = "gcn",
    weights: WeightsOption = None,
    hidden: HiddenOption = None,
    depth: DepthOption = None,
    activation: ActivationOption = None,
    residual: ResidualOption = False,
    adversarial: AdversarialOption = False,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            help="A layer, repeatable; a+b matches both jointly; see `layers` (default: all).",
        ),
    ] = None,
    vary: Annotated[VaryName, typer.Option("--vary", help="What may vary.")] = VaryName.FEATURES,
    degrees: Annotated[
        str | None,
        typer.Option("--degrees", help="Structure: free, or fixed (every node keeps its degree)."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option("--keep", help="Structure: greatest share of the edges that stay, 0 to 1."),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="How many random starts.")] = 5,
    search: Annotated[
        SearchName, typer.Option("--search", help="How to search; adam is the paper's.")
    ] = SearchName.AUTO,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Steps of each search (default: its own).")
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate of adam.")] = None,
    seek: Annotated[
        str | None,
        typer.Option("--seek", help="Which metamer: nearest to the start, random or farthest."),
    ] = None,
    tol: Annotated[
        float, typer.Option("--tol", help="Activation error at which a graph counts as matched.")
    ] = 1e-2,
    device: DeviceOption = "cpu",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for audit.json, report.html and metamers/.")
    ] = Path("audit"),
) -> None:
    """Build metamers of a graph, score them, and write a report to look at."""
    zoo_options = _zoo_options(hidden, depth, activation, residual, adversarial, model)
    graph, network, names = _problem(dataset, undirected, data, model, weights, zoo_options, device)
    numbered = network.layer_names if isinstance(network, zoo.Model) else []
    chosen: list[Layer] | None = [_layer(name, numbered) for name in layer or []] or None
    with stoppable():
        result = audit(
            network,
            graph,
            layers=chosen,
            vary=_vary(vary, graph, degrees=degrees, keep=keep),
            search=_search(search, steps=steps, lr=lr, seek=seek),
            seeds=seeds,
            tol=tol,
            out=out,
            command=command_line(),
            **names,
        )
    console = Console()
    console.print(_table(result))
    console.print(
        f"error: activation error, 0 is a perfect match. null: the least error of "
        f"unrelated graphs. {_meaning(result)} S_match: share of nodes with the same predicted "
        "class. CS: consistency. All but error and null are means over the matched runs.",
        style="dim",
    )
    if result.accuracy:
        shares = ", ".join(f"{share:.1%} {split}" for split, share in result.accuracy.items())
        console.print(f"Accuracy of the model: {shares}.", style="dim", highlight=False)
    if not isinstance(network, zoo.Model) and weights is None:
        console.print(
            "No --weights were given: the model is as its factory returns it.", style="yellow"
        )
    for name, reason in result.question["skipped"].items():
        console.print(f"{name} was left out: {reason}", style="yellow", markup=False)
    for m in result.metamers:
        if m.notes.get("pinned_nodes"):
            console.print(
                f"{m.layer}, seed {m.seed}: {m.notes['pinned_nodes']:.0f} of {graph.num_nodes} "
                "nodes have the reference's features, since no others were found.",
                style="yellow",
            )
        if m.trivial and m.verdict is not Verdict.IMPOSSIBLE:
            how = "itself" if m.notes.get("unchanged") else "with equal nodes exchanged"
            console.print(
                f"{m.layer}, seed {m.seed}: the graph found is the reference {how}, a trivial "
                "metamer.",
                style="yellow",
            )
    for ending, layers_at_fault in _unmatched(result).items():
        console.print(f"{', '.join(layers_at_fault)}: {ending}", style="yellow")
    console.print(f"Report: {out / 'report.html'}")


@app.command("layers")
def layers_command(
    dataset: DatasetOption = None,
    undirected: UndirectedOption = False,
    data: DataOption = None,
    model: ModelOption = "gcn",
    weights: WeightsOption = None,
    hidden: HiddenOption = None,
    depth: DepthOption = None,
    activation: ActivationOption = None,
    residual: ResidualOption = False,
    adversarial: AdversarialOption = False,
    device: DeviceOption = "cpu",
) -> None:
    """List the layers of a model that metamers can be built for, with their shapes."""
    zoo_options = _zoo_options(hidden, depth, activation, residual, adversarial, model)
    graph, network, _ = _problem(dataset, undirected, data, model, weights, zoo_options, device)
    for one in layers(network, graph):
        typer.echo(str(one))


@app.command("models")
def models_command() -> None:
    """List the zoo's models."""
    for name, model in zoo.MODELS.items():
        typer.echo(f"{name:<12}{model.summary}")


@app.command("datasets")
def datasets_command() -> None:
    """List the graphs that go by a name."""
    for name, summary in datasets.NAMES.items():
        typer.echo(f"{name:<12}{summary}")


app.command("paper")(paper_command)
app.command("benchmark")(benchmark_command)


def main() -> None:
    """Run the command line; a mistake is told in one sentence, with exit code 2."""
    try:
        app(spread_lists(sys.argv[1:]))
    except InputError as error:
        Console(stderr=True, soft_wrap=True).print(f"Error: {error}", markup=False, highlight=False)
        sys.exit(2)


def _layer(name: str, numbered: list[str]) -> Layer:
    """One layer, or several that are matched jointly: layer1+layer2."""
    parts = [_counted(part.strip(), numbered) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else parts


def _counted(name: str, numbered: list[str]) -> str:
    """A zoo model's layers may be counted as the paper does, from 1."""
    return numbered[int(name) - 1] if name.isdecimal() and 0 < int(name) <= len(numbered) else name


def _zoo_options(
    hidden: int | None,
    depth: int | None,
    activation: str | None,
    residual: bool,
    adversarial: bool,
    model: str,
) -> dict[str, Any]:
    """The options that were given; the model's own defaults stand for the others."""
    given = {"hidden": hidden, "depth": depth, "activation": activation}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if residual:
        options["residual"] = True
    if adversarial:
        known = zoo.MODELS.get(model.lower(), zoo.GCN)  # an unknown one is told of later
        options["training"] = replace(known.default_training, adversarial=zoo.AdversarialTraining())
    return options


def _vary(name: VaryName, graph: Data, **options: Any) -> Vary:
    given = {option: value for option, value in options.items() if value is not None}
    if name is VaryName.STRUCTURE:
        return Edges(**given)
    for option in given:
        raise InputError(
            f"--{option} does not go with --vary {name}. It goes with {VaryName.STRUCTURE.value!r}."
        )
    return EdgeWeights() if name is VaryName.WEIGHTS else vary_features(graph)


def _search(name: str, **options: Any) -> Search:
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        takers = [n for n, kind in SEARCHES.items() if option in inspect.signature(kind).parameters]
        if name not in takers:
            raise InputError(
                f"--{option} does not go with --search {name}. It goes with {listing(takers)}."
            )
    return SEARCHES[name](**given)


def _problem(
    dataset: str | None,
    undirected: bool,
    data: Path | None,
    model: str,
    weights: Path | None,
    zoo_options: dict[str, Any],
    device: str,
) -> tuple[Data, nn.Module, dict[str, Any]]:
    """Graph and trained model on the device, and what to call them."""
    if dataset is not None and data is not None:
        raise InputError("--dataset and --data name two graphs; give one of them.")
    if undirected and data is not None:
        raise InputError(
            "--undirected goes with --dataset; got --data. Use torch_geometric.utils.to_undirected "
            "and remove_self_loops before you save the graph."
        )
    where = usable_device(device)
    graph = (
        load_graph(data)
        if data is not None
        else datasets.load(dataset or "csbm", undirected=undirected)
    )
    check_data(graph)
    graph = graph.to(str(where))
    names: dict[str, Any] = {
        "dataset": data.name if data is not None else (dataset or "csbm").lower(),
    }
    if undirected:
        names["dataset"] += ", undirected"
    if ":" in model or model.endswith(".py"):
        if zoo_options:
            raise InputError(
                f"--hidden, --depth, --activation, --residual and --adversarial go with a zoo "
                f"model; got --model {model}. Build yours as you want it in its file."
            )
        return graph, load_model(model, weights, graph).to(where), names
    if weights is not None:
        raise InputError(
            f"--weights goes with your own model, --model FILE.py:FACTORY; got --model {model}."
        )
    trained = zoo.train(model, graph, **zoo_options)
    return graph, trained.model, names | {"name": model, "accuracy": trained.accuracy}


def _unmatched(result: Audit) -> dict[str, list[str]]:
    """The layers with runs that are no metamers, by why and what to do about it."""
    found: dict[str, list[str]] = {}
    for m in result.metamers:
        if not m.matched and m.layer not in found.setdefault(m.shortfall, []):
            found[m.shortfall].append(m.layer)
    return found


def _table(result: Audit) -> Table:
    question = result.question
    title = f"{question['model']} on {question['dataset']}, {result.search}"
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    summary = result.summary()
    symbols = symbols_of(summary[0])
    main, *beside = symbols
    similar = symbols[main], "start", *(symbols[name] for name in beside)
    for name in ("layer", "matched", "error", "null", *similar, "S_match", "CS"):
        if name == "layer":
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for s in summary:
        table.add_row(
            s["layer"],
            "impossible" if s["impossible"] else f"{s['matched']} of {s['runs']}",
            f"{s['activation_error']:.1e}",
            f"{s['null_activation_error']:.1e}",
            _mean(s, main, spread=not beside),  # 80 columns hold no more
            _mean(s, f"start_{main}", spread=False),
            *(_mean(s, name, spread=False) for name in beside),
            *(_mean(s, name, spread=False) for name in ("prediction_match", "consistency")),
        )
    return table


def _meaning(result: Audit) -> str:
    """What the similarity in the table says."""
    return next(MEANINGS[name] for name in symbols_of(result.summary()[0]) if name in MEANINGS)


def _mean(summary: dict[str, Any], name: str, *, spread: bool) -> str:
    """Over the matched runs."""
    counted = summary["matched"] - summary["trivial"]
    if not counted:
        return "–"
    several = spread and counted > 1
    return f"{summary[name]:.3f}" + (f" ± {summary[f'{name}_std']:.3f}" if several else "")
