"""Train a node classifier as the paper does, once: the result is cached under what made it."""

import copy
import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch_geometric
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.datasets import cache_folder
from graph_metamers.digests import digest
from graph_metamers.errors import InputError, check_count, listing, suggestion
from graph_metamers.probe import Probe, check_data, check_model
from graph_metamers.storage import (
    graph_tensors,
    load_tensors,
    one_at_a_time,
    save_tensors,
)
from graph_metamers.vary import with_features
from graph_metamers.zoo.adversarial import AdversarialTraining
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.loop import narrow, run_epochs
from graph_metamers.zoo.models import (
    GAT,
    GCN,
    GIN,
    ChebNet,
    GraphSAGE,
    NodeClassifier,
    drop,
)
from graph_metamers.zoo.modern import APPNP, GCNII, EmbeddedClassifier, GATv2, GraphGPS
from graph_metamers.zoo.settings import Training

Model = NodeClassifier | Graphormer | EmbeddedClassifier
_PAPER: tuple[type[Model], ...] = (GCN, ChebNet, GraphSAGE, GIN, GAT, Graphormer)
_MODERN: tuple[type[Model], ...] = (GATv2, GCNII, APPNP, GraphGPS)
MODELS: dict[str, type[Model]] = {model.name: model for model in (*_PAPER, *_MODERN)}


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model with what made it.

    Attributes:
        model: In evaluation mode, at the epoch of the least validation loss.
        accuracy: Share of correct nodes in "train", "val" and "test".
        history: Validation loss (cross-entropy), every `validate_every` epochs.
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
            stopped goes on from there; its state is saved every minute.
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
    data, labels, masks = _supervised(data, seed)
    training = training or _class(name).default_training
    names = {"model": name.lower(), "options": options}
    provenance = names | _provenance(data, training, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _build(name, data.num_features, int(labels.max()) + 1, options).to(labels.device)
        path = _place(name.lower(), model, provenance, labels.device, cache)
        again = functools.partial(
            run_epochs, model, data, labels, masks, training, progress=progress
        )
        checkpoint = path.with_suffix(".checkpoint")
        return _kept(path, model, provenance, again, checkpoint=checkpoint)


def fit(
    build: Callable[[], nn.Module],
    data: Data,
    *,
    training: Training | None = None,
    seed: int = 0,
    cache_key: str | None = None,
    progress: bool = True,
) -> Trained:
    """Train a model of your own on a graph, as `train` does the zoo's.

    Args:
        build: Returns the model, with weights to begin with. It is called under the seed. Weights
            that it freezes (`requires_grad=False`) stay as they are; buffers, such as a batch
            norm's means, move.
        data: A graph with `x`, `edge_index`, `y` and train, val and test masks.
        training: How to train; by default as the paper does.
        seed: Seed of the weights and of dropout. The global random state is left as it was.
        cache_key: Of the model's code, which may do more than its class says; with one, what was
            trained is cached as the zoo's models are. None caches nothing.
        progress: Whether to show a bar once it takes longer than two seconds.

    Returns:
        The trained model, with its accuracy and provenance.

    Raises:
        InputError: The graph lacks labels or masks, the model has no weights to train, or it
            returns no score for each node and class.

    Example:
        >>> from graph_metamers import datasets
        >>> from torch_geometric.nn.models import GCN
        >>> data = datasets.csbm(nodes=60, features=40, density=0.1)
        >>> trained = fit(lambda: GCN(40, 8, 2, 3), data, training=Training(epochs=5))
        >>> sorted(trained.accuracy), len(trained.history)
        (['test', 'train', 'val'], 5)
    """
    data, labels, masks = _supervised(data, seed)
    training = training or Training()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        check_model(model)
        model.to(labels.device)
        _check_trainable(model)
        _check_scores(model, data, labels)
        provenance = {"model": type(model).__name__} | _provenance(data, training, seed)
        trained = [name for name, weight in model.named_parameters() if weight.requires_grad]
        by = {"key": cache_key, "trained": trained, **provenance}
        path = None if cache_key is None else _place("own", model, by, labels.device)
        again = functools.partial(
            run_epochs, model, data, labels, masks, training, progress=progress
        )
        # It may change what no checkpoint holds, so it is trained in one go.
        return _kept(path, model, provenance, again, checkpoint=None)


def _supervised(data: Data, seed: int) -> tuple[Data, Tensor, dict[str, Tensor]]:
    """What a training needs of a graph, after a look at whether it is all there."""
    check_count("seed", seed, least=0)
    check_data(data)
    labels, masks = _supervision(data)
    x = cast(Tensor, data.x)
    return (with_features(data, x.detach()) if x.requires_grad else data), labels, masks


def _provenance(data: Data, training: Training, seed: int) -> dict[str, Any]:
    return {
        "training": asdict(training),
        "seed": seed,
        "data": digest(graph_tensors(data)),
        "torch": str(torch.__version__),  # a class of its own, which no file may hold
        "torch_geometric": torch_geometric.__version__,
    }


def _check_trainable(model: nn.Module) -> None:
    if not any(weight.requires_grad for weight in model.parameters()):
        raise InputError(
            f"{type(model).__name__} must have weights to train; it has none with "
            "requires_grad=True. Unfreeze those that are to be trained."
        )


def _check_scores(model: nn.Module, data: Data, labels: Tensor) -> None:
    with Probe(model, data) as probe, torch.no_grad():
        scores = probe.output(data)
    nodes, classes = len(labels), int(labels.max()) + 1
    if scores.dim() != 2 or len(scores) != nodes or scores.shape[1] < classes:
        raise InputError(
            f"{type(model).__name__} must return class scores [{nodes}, {classes}], one row a "
            f"node, to be trained; it returned {list(scores.shape)}. Build it for as many classes "
            "as data.y holds, which its factory may read off the graph."
        )


def _supervision(data: Data) -> tuple[Tensor, dict[str, Tensor]]:
    masks: dict[str, Tensor] = {}
    for name in ("y", "train_mask", "val_mask", "test_mask"):
        value = data.get(name)
        if not isinstance(value, Tensor) or value.shape != (data.num_nodes,):
            raise InputError(
                f"data.{name} must have one entry for each of the {data.num_nodes} nodes to train "
                f"a model; got {list(value.shape) if isinstance(value, Tensor) else 'none'}. "
                "Set it, or hand in a model that is already trained."
            )
        if name != "y":
            masks[name.removesuffix("_mask")] = value.bool()
    if not all(bool(mask.any()) for mask in masks.values()):
        raise InputError("data's train, val and test masks must each mark at least one node.")
    labels: Tensor = data.y  # pyright: ignore[reportAssignmentType]
    if labels.is_floating_point() or int(labels.min()) < 0:
        raise InputError(
            f"data.y must hold classes 0, 1, 2, …; got {str(labels.dtype).removeprefix('torch.')} "
            f"with least value {float(labels.min()):g}."
        )
    return labels, masks


def _build(name: str, features: int, classes: int, options: dict[str, Any]) -> Model:
    try:
        return _class(name)(features, classes, **options)
    except TypeError as error:
        raise InputError(f"model='{name}' cannot be built with {options}: {error}.") from error


def _class(name: str) -> type[Model]:
    key = name.lower()
    if key not in MODELS:
        raise InputError(
            f"model='{name}' is not a zoo model.{suggestion(key, MODELS)} "
            f"Choose among {listing(MODELS)}, or hand in your own."
        )
    return MODELS[key]


def _place(
    name: str,
    model: nn.Module,
    by: dict[str, Any],
    device: torch.device,
    folder: str | Path | None = None,
) -> Path:
    """Where a model is cached: by all that decides its weights, before it is trained."""
    # of the model its code, defaults and start count, of the training its code
    code = (run_epochs, narrow, drop, AdversarialTraining.attack)
    key = digest(by, model, device.type, *code)
    return Path(folder or cache_folder() / "models") / f"{name}-{key}.pt"


def _kept(
    path: Path | None,
    model: nn.Module,
    provenance: dict[str, Any],
    again: Callable[..., dict[str, Any]],
    *,
    checkpoint: Path | None,
) -> Trained:
    """The model from its place in the cache, or trained and kept there; without one, trained."""
    if path is None:
        return Trained(model, **again(checkpoint=None), provenance=provenance, cached=False)
    saved = _load(path, model)
    cached = saved is not None
    if saved is None:
        with one_at_a_time(path):
            saved = _load(path, model)  # what another process trained meanwhile
            cached = saved is not None
            if saved is None:
                saved = again(checkpoint=checkpoint)
                _save(path, model, saved, provenance)
                if checkpoint is not None:
                    checkpoint.unlink(missing_ok=True)
    return Trained(model, **saved, provenance=provenance, cached=cached)


def _save(path: Path, model: nn.Module, saved: dict[str, Any], provenance: dict[str, Any]) -> None:
    weights = model.state_dict()
    whole = {**saved, "weights": weights, "digest": digest(weights), "provenance": provenance}
    save_tensors(path, whole)


def _load(path: Path, model: nn.Module) -> dict[str, Any] | None:
    """What the cache holds, loaded into the model; None where it holds nothing that is whole."""
    if not path.exists():
        return None
    start = copy.deepcopy(model.state_dict())
    try:
        saved = load_tensors(path, kind="a trained model")
        if saved["digest"] != digest(saved["weights"]):
            return None
        model.load_state_dict(saved["weights"])
        model.eval()
        return {"accuracy": saved["accuracy"], "history": saved["history"]}
    except (InputError, KeyError, TypeError, RuntimeError):
        model.load_state_dict(start)
        return None  # it is trained again, and the entry replaced
