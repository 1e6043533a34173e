"""The training loop: epochs of Adam, fast ones, that go on from where they were stopped."""

import copy
import inspect
import math
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from graph_metamers.digests import digest
from graph_metamers.errors import InputError
from graph_metamers.inputs import Inputs
from graph_metamers.probe import Session, find_linear_read
from graph_metamers.probe.call import readings
from graph_metamers.probe.products import Pattern, sparse_product, sparse_products
from graph_metamers.progress import progress_bar
from graph_metamers.storage import load_tensors, save_tensors
from graph_metamers.zoo.adversarial import Perturbed
from graph_metamers.zoo.graphormer import Graphormer
from graph_metamers.zoo.models import GraphLayer, NodeClassifier, drop
from graph_metamers.zoo.settings import Training
from graph_metamers.zoo.supervision import Supervision

CHECKPOINT_SECONDS = 60.0
OutputAt = Callable[[Perturbed | None], Tensor]


def run_epochs(
    model: nn.Module,
    whole: Supervision,
    training: Training,
    *,
    checkpoint: Path | None = None,
    progress: bool,
) -> dict[str, Any]:
    """Train a model in place.

    Args:
        model: With the weights to begin with.
        whole: The graph and its labels.
        training: How.
        checkpoint: A file to save the state to every minute, and to go on from: the weights are
            those of a training that was never stopped, to the last bit, if all that the model
            changes is its `state_dict` and PyTorch's random state. None saves nothing.
        progress: Whether to show a bar.

    Returns:
        The accuracy on each part, and the history of the validation loss.
    """
    optimizer = torch.optim.Adam(
        model.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    seen = whole.without_test_nodes() if training.inductive else whole
    output_at = narrow(model, seen.inputs)
    state: dict[str, Any] = {
        "epoch": 0,
        "history": [],
        "best": math.inf,
        "best_epoch": 0,
        "weights": None,
    }
    state = _resumed(checkpoint, model, optimizer) or state
    saved = time.perf_counter()
    history: list[float] = state["history"]
    with (
        progress_bar("Training", value="loss", shown=progress) as watch,
        sparse_products(model) if whole.of_nodes else nullcontext(),
        torch.enable_grad(),
    ):
        for epoch in range(state["epoch"], training.epochs):
            if checkpoint is not None and time.perf_counter() - saved > CHECKPOINT_SECONDS:
                _save(checkpoint, model, optimizer, state | {"epoch": epoch})
                saved = time.perf_counter()
            at = None
            if training.adversarial is not None:
                model.eval()
                at = training.adversarial.attack(
                    lambda at: _training_loss(model, seen, output_at, at), seen.inputs["x"]
                )
            model.train()
            loss = _training_loss(model, seen, output_at, at)
            if not loss.requires_grad:
                raise InputError(
                    f"{type(model).__name__}'s output must depend on weights with "
                    "requires_grad=True; it depends on none. Unfreeze those that are to be "
                    "trained."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch(epoch, training.epochs, float(loss.detach()))
            if epoch % training.validate_every:
                continue

            model.eval()
            with torch.no_grad():
                history.append(float(seen.loss(output_at(None), "val")))
            if training.patience is None:
                continue
            if history[-1] < state["best"]:
                state |= {"best": history[-1], "best_epoch": epoch}
                state["weights"] = copy.deepcopy(model.state_dict())
            elif epoch - state["best_epoch"] >= training.patience:
                break
    if state["weights"] is not None:
        model.load_state_dict(state["weights"])
    model.eval()
    model.zero_grad()
    with torch.no_grad():
        output = readings(model, whole.inputs, None)[-1].run(model, whole.inputs)
    return {"accuracy": whole.accuracy(output), "history": history}


def _training_loss(
    model: nn.Module, seen: Supervision, output_at: OutputAt, at: Perturbed | None
) -> Tensor:
    if not isinstance(model, Graphormer):
        return seen.loss(output_at(at), "train")
    labelled = seen.masks["train"].nonzero().view(-1)
    x = seen.inputs["x"] if at is None else at.whole()
    scores = model.sampled(x, seen.inputs["edge_index"], labelled)
    return F.cross_entropy(scores, seen.labels[labelled])


def _save(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    device = next(model.parameters()).device
    content = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "state": state,
    }
    save_tensors(path, content | {"digest": digest(content)})


def _resumed(
    path: Path | None, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """The state that was saved, with the model, optimizer and random numbers as they were.

    None where there is none that is whole.
    """
    if path is None:
        return None
    with suppress(InputError, KeyError):
        content = load_tensors(path, kind="a checkpoint")
        if content.pop("digest") == digest(content):
            model.load_state_dict(content["model"])
            optimizer.load_state_dict(content["optimizer"])
            torch.set_rng_state(content["random"])
            if content["random_cuda"] is not None:
                torch.cuda.set_rng_state(content["random_cuda"], next(model.parameters()).device)
            return content["state"]
    return None


def narrow(model: nn.Module, inputs: Inputs) -> OutputAt:
    """The model's output with the graph's features, some nodes' perturbed or none, made fast.

    Some of PyG's convolutions send features along the edges before they multiply them by their
    weights. The product is the same the other way round, and then as wide as the layer: many
    times faster for thousands of features. Of features that are mostly zeros it is a sparse one,
    but for the nodes that are perturbed. The first layer's dropout is drawn before the product.
    """
    # as it is read later, with edge weights if there are any
    call = readings(model, inputs, None)[-1]
    read = None
    if isinstance(model, NodeClassifier):
        with Session(model, inputs, call) as session:
            read = find_linear_read(session, session.targets("output"))
    if read is None:
        return lambda at: call.run(
            model, inputs if at is None else inputs.replaced({"x": at.whole()})
        )
    weights = dict(model.named_parameters())
    first = cast(GraphLayer, model.get_submodule("layer1"))
    named = inspect.signature(model.forward).parameters
    taken = ("edge_index", "edge_weight")
    edges = {name: inputs[name] for name in taken if name in named and name in inputs}
    clean = inputs["x"]
    places = clean.nonzero(as_tuple=True)
    values, few = clean[places], 4 * len(places[0]) < clean.numel()
    pattern = Pattern(torch.stack(places[::-1]), (len(clean), clean.shape[1])) if few else None

    def product(at: Perturbed | None, columns: Tensor) -> Tensor:
        share, training = first.dropout, model.training
        if pattern is None:
            return drop(clean if at is None else at.whole(), share, training) @ columns
        kept = F.dropout(values, share, training)
        y = sparse_product(columns[:, None], kept[:, None], pattern)[:, 0]
        if at is not None:
            rows = drop(at.features, share, training)
            y = y.index_copy(0, at.nodes, rows @ columns)
        return y

    def output(at: Perturbed | None) -> Tensor:
        y = product(at, torch.cat([weights[name] for name in read.picks]).T)
        share, first.dropout = first.dropout, 0.0
        try:
            return functional_call(model, dict(read.picks), kwargs={"x": y, **edges})
        finally:
            first.dropout = share

    return output
