"""The command line: `graph-metamers audit`, `layers`, `paper` and others."""

import inspect
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import nn
from torch_geometric.data import Data, HeteroData
from typer import Option

from graph_metamers import __version__, datasets, zoo
from graph_metamers.auditing import audit
from graph_metamers.audits import Audit
from graph_metamers.benchmark.command import benchmark_command
from graph_metamers.errors import InputError, listing, suggestion, visible
from graph_metamers.inputs import Inputs
from graph_metamers.options import (
    Subject,
    command_line,
    spread_lists,
    stoppable,
    usable_device,
    with_subject,
)
from graph_metamers.own import load_graph, load_model
from graph_metamers.paper.command import paper_command
from graph_metamers.paper.table import Column, terminal
from graph_metamers.pose import Varies
from graph_metamers.probe import Layer, layers
from graph_metamers.report.numbers import score_text
from graph_metamers.search import SEARCHES, configured
from graph_metamers.summarising import summary
from graph_metamers.task import TASKS, as_task
from graph_metamers.vary import Edges, EdgeWeights, Vary, vary_features

app = typer.Typer(
    help="Which different graphs does a trained graph neural network take for the same one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
MEANINGS = {
    "feature_similarity": "feature similarity",
    "structure_similarity": "structure similarity, high between most graphs of one size",
    "edges_kept": "share of the reference's edges that stayed",
    "weight_similarity": "similarity of the edge weights",
}
Graph = Data | HeteroData


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"graph-metamers {__version__}")
        raise typer.Exit


@app.callback()
def _general(
    version: Annotated[
        bool, Option("--version", help="Say the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None: ...


@app.command("audit")
@with_subject
def audit_command(
    subject: Subject,
    layer: Annotated[list[str] | None, Option(help="Repeatable; a+b: both at once.")] = None,
    vary: Annotated[
        list[str] | None,
        Option(help="features, structure or weights; or, repeatable, one input: paper.x=features."),
    ] = None,
    degrees: Annotated[str | None, Option(help="Of structure: free or fixed.")] = None,
    keep: Annotated[float | None, Option(help="Share of the edges that may stay, 0 to 1.")] = None,
    seeds: Annotated[int, Option(help="How many random starts.")] = 5,
    search: Annotated[
        str, Option(help=f"How to search: {', '.join(SEARCHES)}; adam is the paper's.")
    ] = "auto",
    steps: Annotated[int | None, Option(help="Steps of each search (default: its own).")] = None,
    lr: Annotated[float | None, Option(help="Learning rate of adam.")] = None,
    seek: Annotated[str | None, Option(help="Which: nearest, random or farthest.")] = None,
    tol: Annotated[float, Option(help="FVU up to which a graph counts as matched.")] = 1e-2,
    task: Annotated[
        str | None, Option(help=f"Of the output: {', '.join(each.name for each in TASKS)}.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for report.html and all else.")] = Path("audit"),
) -> None:
    """Build metamers of a graph, score them, and write a report to look at."""
    graph, network, names = _problem(subject)
    numbered = network.layer_names if isinstance(network, zoo.Model) else []
    with stoppable():
        result = audit(
            network,
            graph,
            layers=[_layer(each, numbered) for each in layer] if layer else None,
            vary=_vary(vary, graph, degrees=degrees, keep=keep),
            search=_configured(type(configured(search)), steps=steps, lr=lr, seek=seek),
            seeds=seeds,
            tol=tol,
            task=task,
            call=subject.call,
            out=out,
            command=command_line(),
            **names,
        )
    _tell(result, out, untrained="name" not in names and subject.weights is None)


@app.command("layers")
@with_subject
def layers_command(subject: Subject) -> None:
    """List the layers of a model that metamers can be built for, with their shapes."""
    graph, network, _ = _problem(subject)
    for one in layers(network, graph, call=subject.call):
        typer.echo(visible(str(one)))


@app.command("summary")
@with_subject
def summary_command(subject: Subject) -> None:
    """Show how a model is called on a graph, what its inputs and answers are, and its layers."""
    graph, network, _ = _problem(subject)
    _console().print(visible(str(summary(network, graph, call=subject.call))), soft_wrap=True)


@app.command("models")
def models_command() -> None:
    """List the zoo's models."""
    for name, model in zoo.MODELS.items():
        typer.echo(f"{name:<12}{model.summary}")
    for name, recipe in zoo.RECIPES.items():
        typer.echo(f"{name:<12}{recipe.summary}; for --dataset {recipe.dataset}")


@app.command("datasets")
def datasets_command() -> None:
    """List the graphs that go by a name."""
    for name, told in datasets.NAMES.items():
        typer.echo(f"{name:<12}{told}")


app.command("paper")(paper_command)
app.command("benchmark")(benchmark_command)


def main() -> None:
    """Run the command line; a mistake is told in one sentence, with exit code 2."""
    try:
        app(spread_lists(sys.argv[1:]))
    except InputError as error:
        _console(stderr=True, soft_wrap=True).print(visible(f"Error: {error}"))
        sys.exit(2)


def _console(**options: Any) -> Console:
    """A terminal on which brackets and colons in a user's names stand for themselves."""
    return Console(markup=False, highlight=False, emoji=False, **options)


def _problem(subject: Subject) -> tuple[Graph, nn.Module, dict[str, Any]]:
    """Graph and trained model on the device, and what to call them."""
    where = usable_device(subject.device)
    graph, dataset, known = _graph(subject)
    graph = graph.to(str(where))
    model = subject.model or next(iter(known), "")
    own = ":" in model or model.endswith(".py")
    name = model if own else model.lower()
    options = subject.zoo_options(name)
    if not own and name not in known:
        raise InputError(
            f"--model '{model}' does not go with {dataset}.{suggestion(name, known)} "
            f"Choose among {listing([*known, 'FILE.py:FACTORY'])}."
        )
    if options and name not in zoo.MODELS:
        raise InputError(
            "--hidden, --depth, --activation, --residual and --adversarial go with "
            f"{listing(zoo.MODELS)}; got --model {model}. Build your own as you want it."
        )
    if own:
        return (
            graph,
            load_model(model, subject.weights, graph, subject.model_args).to(where),
            {"dataset": dataset},
        )
    if subject.weights is not None:
        raise InputError(f"--weights goes with --model FILE.py:FACTORY; got --model {model}.")
    names = {"dataset": dataset, "name": name}
    if isinstance(graph, Data) and name in zoo.MODELS:
        return graph, zoo.train(name, graph, **options).model, names
    trained, graph = zoo.train_recipe(name, graph)
    return graph, trained.model, names


def _graph(subject: Subject) -> tuple[Graph, str, Collection[str]]:
    """The graph, its name, and the zoo's models that go with it."""
    if subject.data is None:
        name, undirected = (subject.dataset or "csbm").lower(), subject.undirected
        graph, known = datasets.load(name, undirected=undirected), zoo.models_for(name)
        return graph, name + ", undirected" * undirected, known
    if subject.dataset is not None or subject.undirected:
        raise InputError(
            "--dataset and --undirected name a graph of ours, --data yours; give one of them. See "
            "torch_geometric.utils.to_undirected."
        )
    graph = load_graph(subject.data)
    return graph, subject.data.name, zoo.MODELS if isinstance(graph, Data) else ()


def _layer(name: str, numbered: list[str]) -> Layer:
    """One layer, or several that are matched jointly; a zoo model's by number too, from 1: 1+2."""
    by_number = {str(number): each for number, each in enumerate(numbered, 1)}
    parts = [by_number.get(part.strip(), part.strip()) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else parts


def _vary(asked: list[str] | None, graph: Graph, degrees: str | None, keep: float | None) -> Varies:
    """What varies: one way, or several by the names of inputs, as in paper.x=features."""
    inputs = Inputs.of(graph)
    has_x = any(key.rpartition(".")[2] == "x" for key in inputs.keys)
    asked = asked or ["features" if has_x else "structure"]
    ways: dict[str, Callable[[str], Vary]] = {
        "features": lambda at: vary_features(inputs, at),
        "structure": lambda at: _configured(Edges, degrees=degrees, keep=keep),
        "weights": lambda at: EdgeWeights(),
    }
    kinds = {name: kind for name, _, kind in (word.rpartition("=") for word in asked)}
    alone = len(asked) == 1 or "" not in kinds
    if not alone or len(kinds) < len(asked) or not ways.keys() >= set(kinds.values()):
        raise InputError(
            "--vary must be features, structure or weights, or one of these for each of several "
            f"inputs, as in --vary x=features --vary edge_index=structure; got {', '.join(asked)}."
        )
    if "structure" not in kinds.values() and (degrees, keep) != (None, None):
        raise InputError(f"--degrees and --keep go with --vary structure; got {', '.join(asked)}.")
    if asked == ["features"]:
        return None
    varied = {name: ways[kind](name) for name, kind in kinds.items()}
    return varied.get("") or varied


def _configured(kind: Callable[..., Any], **asked: Any) -> Any:
    """An object with the settings that were given."""
    given = {name: value for name, value in asked.items() if value is not None}
    known = inspect.signature(kind).parameters
    for name in given:
        if name not in known:
            settings = listing(known)
            raise InputError(f"--{name} does not go with {kind.__name__}, which has {settings}.")
    return kind(**given)


def _tell(result: Audit, out: Path, *, untrained: bool) -> None:
    """The table, what it means, and what went otherwise than asked."""
    console, summary, first = _console(), result.summary(), result.metamers[0]
    main = next(iter(first.symbols))
    errors = {"fvu": "FVU", "null_error": "null", "activation_error": "Eq. 5"}
    scores = {main: first.symbols[main], f"start_{main}": "start"} | first.symbols
    scores |= {"prediction_match": first.agreement, "consistency": "CS"}
    columns = [
        Column("layer", "layer"),
        Column("matched", "matched", "count"),
        *(Column(name, title, "error") for name, title in errors.items()),
        *(Column(name, title, "score") for name, title in scores.items() if name in first.scores),
    ]
    title = visible(f"{result.question['model']} on {result.question['dataset']}, {result.search}")
    console.print(terminal(title, summary, columns, brief=False))
    rows = ", ".join(dict.fromkeys(m.units for m in result.metamers))
    similar = "; ".join(f"{symbol}: {MEANINGS[name]}" for name, symbol in first.symbols.items())
    console.print(
        f"FVU: fraction of variance unexplained, over the layer's {rows}; 0 is a perfect match. "
        "null: the least of unrelated graphs. Eq. 5: activation error. Over the matched runs: "
        f"{similar}; 1 is the same graph; start: of the random start. {first.agreement}: share of "
        f"answers that stay ({as_task(first.task).agreement_title}).",
        style="dim",
    )
    for split, measures in result.quality.items():
        told = (f"{name.replace('_', ' ')} {score_text(v)}" for name, v in measures.items())
        console.print(f"The model on {split}: {', '.join(told)}.", style="dim")
    if untrained:
        console.print("No --weights were given: the model is as built.", style="yellow")
    for m in result.metamers:
        if pinned := m.notes.get("pinned_nodes"):
            told = f"{pinned:.0f} nodes keep the reference's features, as no others were found."
            console.print(f"{m.layer}, seed {m.seed}: {told}", style="yellow")
    left_out = (f"{name} was left out: {why}" for name, why in result.question["skipped"].items())
    if lost := result.question["not_kept"]:
        console.print(visible(f"No file can hold {listing(lost)}, so it was not kept."))
    for line in (*left_out, *_reasons(result)):
        console.print(visible(line), style="yellow")
    console.print(visible(f"Report: {out / 'report.html'}"), soft_wrap=True)


def _reasons(result: Audit) -> Iterator[str]:
    """Why runs are no metamers, and how many graphs of a batch are; of a layer the first reason."""
    layers: dict[str, list[str]] = {}
    for group in result.groups():
        told = [m for m in group if not m.matched or len(m.items) > 1]
        for outcome, count in Counter(m.outcome for m in told).items():
            reason = next(m.reason for m in told if m.outcome is outcome)
            runs = f"{group[0].layer} ({count} of {len(group)})"
            layers.setdefault(f"{outcome.text}. {reason}", []).append(runs)
    return (f"{', '.join(runs)}: {reason}" for reason, runs in layers.items())
