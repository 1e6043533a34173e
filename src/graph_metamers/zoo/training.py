"""Train a model as the paper does, once: the result is cached under what made it."""

import contextlib
import functools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from torch import nn
from torch_geometric.data import Data

from graph_metamers.datasets import cache_folder
from graph_metamers.digests import digest, same_answers, sketch
from graph_metamers.errors import InputError, check_count, describe, known_name
from graph_metamers.inputs import Graph, Inputs
from graph_metamers.probe import Session, check_inputs, check_model
from graph_metamers.probe.call import readings
from graph_metamers.storage import load_tensors, one_at_a_time, save_tensors
from graph_metamers.vary import features
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.loop import run_epochs
from graph_metamers.zoo.models import GAT, GCN, GIN, ChebNet, GraphSAGE, Model
from graph_metamers.zoo.modern import APPNP, GCNII, GATv2, GraphGPS
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.supervision import Supervision, outputs

_PAPER: tuple[type[Model], ...] = (GCN, ChebNet, GraphSAGE, GIN, GAT, Graphormer)
_MODERN: tuple[type[Model], ...] = (GATv2, GCNII, APPNP, GraphGPS)
PROTOCOL = 1  # raised when training comes to other weights
MODELS: dict[str, type[Model]] = {model.name: model for model in (*_PAPER, *_MODERN)}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model with what made it.

    Attributes:
        model: In evaluation mode, at the epoch of the least validation loss.
        accuracy: Share of right answers in "train", "val" and "test", or R² of values.
        history: Validation loss, every `validate_every` epochs.
        provenance: Data digest, versions and settings.
        cached: Whether it was taken from the cache.
    """

    model: nn.Module
    accuracy: dict[str, float]
    history: list[float]
    provenance: dict[str, Any]
    cached: bool


def train(
    name: str,
    data: Data,
    *,
    seed: int = 0,
    training: Training | None = None,
    cache: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> Trained:
    """Train a zoo model on a graph, or take it from the cache if this was done before.

    Args:
        name: One of `MODELS`.
        data: A graph with `x`, `edge_index`, `y` and train, val and test masks.
        seed: Seed of the weights and of dropout. The global random state is left as it was.
        training: How to train; by default as the paper does, Graphormer its own way.
        cache: Folder of the trained models; by default in `cache_folder()`. A training that was
            stopped goes on from there.
        progress: Whether to show a bar once it takes longer than two seconds.
        **options: The model's own, such as `hidden=16`, `depth=2`.

    Returns:
        The trained model, with its accuracy and provenance.

    Raises:
        InputError: The model or an option is unknown, or the graph lacks labels or masks.

    Example:
        >>> from graph_metamers import datasets
        >>> data = datasets.csbm(nodes=60, features=40, density=0.1)
        >>> trained = train("gcn", data, hidden=8, training=Training(epochs=5))
        >>> sorted(trained.accuracy), trained.model.layer_names
        (['test', 'train', 'val'], ['layer1', 'layer2'])
    """
    check_inputs(Inputs.of(data))
    features(Inputs.of(data), "x")
    supervision = Supervision.of(data)
    labels = supervision.labels
    if labels.shape != (data.num_nodes,) or labels.is_floating_point():
        raise InputError(
            f"data.y must hold a class 0, 1, 2, … of each of the {data.num_nodes} nodes to train "
            f"'{name}'; got {describe(labels)}. Convert it with data.y.long()."
        )
    training = training or _class(name).default_training
    provenance = {"model": name.lower(), "options": options}
    provenance |= _provenance(supervision, training, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _build(name, data.num_features, outputs(labels), options).to(labels.device)
        path = _place(name.lower(), model, provenance, labels.device, cache)
        run = functools.partial(run_epochs, model, supervision, training, progress=progress)
        checkpoint = path.with_suffix(".checkpoint")
        run = functools.partial(run, checkpoint=checkpoint)
        return _kept(path, model, provenance, run, supervision.inputs)


def fit(
    build: Callable[[], nn.Module],
    data: Graph,
    *,
    training: Training | None = None,
    seed: int = 0,
    cache_key: str | None = None,
    progress: bool = True,
) -> Trained:
    """Train a model of your own, of any kind, as `train` does the zoo's.

    The labels are `edge_label` or `y`, of the node type that has a `train_mask`; the masks say
    which of their rows train. Whole numbers are classes (cross-entropy), floats that are all 0 or
    1 are answers yes or no to be given as logits (binary cross-entropy), others are values (mean
    squared error).

    Args:
        build: Returns the model, with weights to begin with. It is called under the seed. Weights
            that it freezes (`requires_grad=False`) stay as they are; buffers, such as a batch
            norm's means, move. The names of the arguments of its `forward` say what of the graph
            it is called with.
        data: A graph with labels, `train_mask`, `val_mask` and `test_mask`.
        training: How to train; by default as the paper does.
        seed: Seed of the weights and of dropout. The global random state is left as it was.
        cache_key: Of the model's code, which may do more than its class says; with one, what was
            trained is cached as the zoo's models are. None caches nothing.
        progress: Whether to show a bar once it takes longer than two seconds.

    Returns:
        The trained model, with its accuracy (R² of values) and provenance.

    Raises:
        InputError: The graph lacks labels or masks, the model has no weights to train, or its
            output does not fit the labels.

    Example:
        >>> from graph_metamers import datasets
        >>> from torch_geometric.nn.models import GCN
        >>> data = datasets.csbm(nodes=60, features=40, density=0.1)
        >>> trained = fit(lambda: GCN(40, 8, 2, 3), data, training=Training(epochs=5))
        >>> sorted(trained.accuracy), len(trained.history)
        (['test', 'train', 'val'], 5)
    """
    check_inputs(Inputs.of(data))
    supervision = Supervision.of(data)
    training = training or Training()
    if (training.adversarial or training.inductive) and not supervision.of_nodes:
        raise InputError(
            "Adversarial and inductive training need one graph of one node type, with features x "
            "and labels of its nodes. Leave out adversarial= and inductive=."
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        check_model(model)
        model.to(supervision.labels.device)
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        if not trained:
            raise InputError(
                f"{type(model).__name__} must have weights to train; it has none with "
                "requires_grad=True. Unfreeze those that are to be trained."
            )
        supervision.check_model(model)
        provenance = {"model": type(model).__name__} | _provenance(supervision, training, seed)
        by = {"key": cache_key, "trained": trained, **provenance}
        path = None if cache_key is None else _place("own", model, by, supervision.labels.device)
        # It may change what no checkpoint holds, so it is trained in one go.
        run = functools.partial(run_epochs, model, supervision, training, progress=progress)
        return _kept(path, model, provenance, run, supervision.inputs)


def _provenance(supervision: Supervision, training: Training, seed: int) -> dict[str, Any]:
    check_count("seed", seed, least=0)
    inputs = supervision.inputs
    return {
        "training": asdict(training),
        "seed": seed,
        "data": digest({key: inputs[key] for key in inputs.keys}),
        "torch": str(torch.__version__),  # a class of its own, which no file may hold
        "torch_geometric": torch_geometric.__version__,
    }


def _build(name: str, features: int, classes: int, options: dict[str, Any]) -> Model:
    try:
        return _class(name)(features, classes, **options)  # pyright: ignore[reportCallIssue]
    except TypeError as error:
        raise InputError(f"model='{name}' cannot be built with {options}: {error}.") from error


def _class(name: str) -> type[Model]:
    return MODELS[known_name("model", name, MODELS, "a zoo model", more=", or hand in your own")]


def _place(
    name: str,
    model: nn.Module,
    by: dict[str, Any],
    device: torch.device,
    folder: str | Path | None = None,
) -> Path:
    """Where a model is cached: by all that decides its weights, before it is trained."""
    key = digest(by, model, device.type, PROTOCOL)
    return Path(folder or cache_folder() / "models") / f"{name}-{key}.pt"


def _kept(
    path: Path | None,
    model: nn.Module,
    provenance: dict[str, Any],
    run: Callable[[], dict[str, Any]],
    inputs: Inputs,
) -> Trained:
    """The model from its place in the cache, or trained and kept there; without one, trained."""
    with nullcontext() if path is None else one_at_a_time(path):
        answers = [] if path is None else _answers(model, inputs)
        found = None if path is None else _load(path, model, answers)
        results = found or run()
        if path is not None and found is None:
            save_tensors(path, results | {"weights": model.state_dict(), "answers": answers})
            path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return Trained(model, **results, provenance=provenance, cached=found is not None)


@torch.no_grad()
def _answers(model: nn.Module, inputs: Inputs) -> list[list[float]]:
    """What the model answers before it is trained, by which a change of its code is seen."""
    with Session(model, inputs, readings(model, inputs, None)[-1]) as session:
        return [sketch(h) for h in session.outputs(inputs).values()]


def _load(path: Path, model: nn.Module, answers: list[list[float]]) -> dict[str, Any] | None:
    """What the cache holds, loaded into the model; None where that is of another, or not whole."""
    with contextlib.suppress(InputError, KeyError, TypeError):
        saved = load_tensors(path, kind="a trained model")
        results = {"accuracy": saved["accuracy"], "history": saved["history"]}
        if same_answers(answers, saved["answers"]):
            model.load_state_dict(saved["weights"])
            model.eval()
            return results
    return None
