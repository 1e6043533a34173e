"""What a job of the paper's grids does: train a model, search for a metamer, return a row."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers import datasets, zoo
from graph_metamers.digests import digest
from graph_metamers.jobs import Row
from graph_metamers.measure import predicted_class
from graph_metamers.metamer import metamer
from graph_metamers.probe import Probe
from graph_metamers.result import Metamer, load
from graph_metamers.search import Adam, Auto, Search
from graph_metamers.storage import graph_tensors, one_at_a_time
from graph_metamers.vary import Edges, Vary

TOL = 1e-2  # activation error at which a graph counts as matched, and at which cells are compared
STEPS = 1000  # T, which the paper does not give
EPOCHS = 500  # of training, which it does not give either; see docs/reproduction.md


def search_rows(
    work: Path,
    *,
    dataset: str,
    model: str,
    seed: int,
    search: str,
    options: dict[str, Any],
    layer: str,
    vary: str,
    steps: int | None,
    device: str,
    keep: bool,
    protocol: int,
) -> list[Row]:
    """One search for a metamer of a model that was trained for it, with the same seed.

    Args:
        work: The job's folder; it keeps the search's state there.
        dataset: Name of the graph.
        model: Name of the zoo's model.
        seed: Seed of the training and of the random start.
        search: "paper" (Adam at 5e-4, T steps) or "auto" (what suits, ended at the tolerance).
        options: The model's own, and `adversarial`.
        layer: Where activations are matched.
        vary: "features" or "structure".
        steps: Of the search; None for the setting's own.
        device: Where it runs.
        keep: Whether to leave the metamer in the folder.
        protocol: Version of this task; it tells jobs apart whose figures differ.
    """
    data = graph(dataset, vary, device)
    trained = trained_model(model, data, seed, options)
    way: Vary | None = Edges() if vary == "structure" else None
    m = metamer(
        trained.model,
        data,
        layer,
        vary=way,
        search=configured(search, steps, exact=options["depth"] == 2),
        tol=TOL,
        seed=seed,
        checkpoint=work / _checkpoint(trained.model),
        progress=False,
    )
    if keep:
        m.save(work / "metamer.pt")
    return [metamer_row(m) | {f"accuracy_{name}": v for name, v in trained.accuracy.items()}]


def transfer_rows(
    work: Path,
    *,
    dataset: str,
    source: str,
    source_options: dict[str, Any],
    target: str,
    target_options: dict[str, Any],
    seed: int,
    search: str,
    steps: int | None,
    device: str,
    protocol: int,
) -> list[Row]:
    """Show one model's metamer to another, and train that on it.

    Args:
        work: The job's folder; it keeps the search's state there.
        dataset: Name of the graph.
        source: The model whose metamer it is, at layer 1.
        source_options: Its options, as in `search_rows`.
        target: The model that sees it.
        target_options: Its options.
        seed: Seed of all trainings and of the random start.
        search: As in `search_rows`.
        steps: Of the search; None for the setting's own.
        device: Where it runs.
        protocol: As in `search_rows`.

    Returns:
        The metamer's row, with the target's accuracy on the test nodes: trained on the graph and
        shown the graph (`plain`) or the metamer (`shown`), and trained on the metamer and shown
        the graph (`retrained`); and the share of all nodes to which it gives the same class in
        both, trained on the graph (`shown_match`).
    """
    data = graph(dataset, "features", device)
    source_model = trained_model(source, data, seed, source_options).model
    way = configured(search, steps, exact=False)
    m = _shared_metamer(work, data, source, source_model, seed, way, protocol)
    plain = trained_model(target, data, seed, target_options).model
    again = trained_model(target, m.data, seed, target_options).model
    seen, shown = classes(plain, data), classes(plain, m.data)
    transfer = {
        "plain": _test_accuracy(seen, data),
        "shown": _test_accuracy(shown, data),
        "retrained": _test_accuracy(classes(again, data), data),
        "shown_match": float((seen == shown).double().mean()),
    }
    return [metamer_row(m) | transfer]


def graph(dataset: str, vary: str, device: str) -> Data:
    """The graph; where edges vary, with every edge both ways and without self-loops (Eq. 12)."""
    return datasets.load(dataset, undirected=vary == "structure").to(device)


def trained_model(
    model: str, data: Data, seed: int, options: dict[str, Any], *, epochs: int | None = EPOCHS
) -> zoo.Trained:
    """The zoo's model as the options say, trained or from the cache.

    At the paper's learning rate, for a number of epochs, whatever the validation nodes say; None
    stops early, as the zoo does.
    """
    rest = dict(options)
    training = zoo.MODELS[model].default_training
    if epochs is not None:
        training = replace(training, epochs=epochs, patience=None, validate_every=epochs // 10)
    if rest.pop("adversarial", False):
        training = replace(training, adversarial=zoo.AdversarialTraining())
    return zoo.train(model, data, seed=seed, training=training, progress=False, **rest)


def configured(search: str, steps: int | None, *, exact: bool = True) -> Search:
    """A search by the name that it has in the paper's grids.

    Where layers of one model are compared and features are real numbers, an exact solution will
    not do: it matches all layers at once. Nor will it where models are compared that do not all
    have one. There Adam ends at the tolerance.

    >>> configured("paper", None), configured("auto", 300)
    (Adam(lr=0.0005, steps=1000, stop_at_tol=False, patience=None), Auto(steps=300, \
seek='nearest', stop_at_tol=True, exact=True))
    """
    if search == "paper":
        return Adam(lr=5e-4, steps=steps or STEPS, patience=None)
    return Auto(steps=steps, stop_at_tol=True, exact=exact)


def metamer_row(m: Metamer) -> Row:
    """A metamer's figures, but for those of each layer, and the time, which always differs."""
    row = {k: v for k, v in m.row().items() if k not in ("layer_errors", "seconds")}
    return row | {"matched": m.matched, "trivial": m.trivial}


@torch.no_grad()
def classes(model: nn.Module, data: Data) -> Tensor:
    """The predicted class of each node."""
    with Probe(model, data) as probe:
        return predicted_class(probe.output(data))


def _test_accuracy(predicted: Tensor, data: Data) -> float:
    return float((predicted == data.y)[data.test_mask].double().mean())


def _shared_metamer(
    work: Path,
    data: Data,
    source: str,
    model: nn.Module,
    seed: int,
    search: Search,
    protocol: int,
) -> Metamer:
    """A metamer that several jobs need, kept in the cache by the first; others wait for it."""
    version = str(torch.__version__)
    key = digest(model, graph_tensors(data), search, seed, TOL, protocol, version)
    path = datasets.cache_folder() / "metamers" / f"{source}-{key}.pt"
    with one_at_a_time(path):
        if not path.exists():
            checkpoint = work / _checkpoint(model)
            options: dict[str, Any] = {"tol": TOL, "checkpoint": checkpoint, "progress": False}
            metamer(model, data, "layer1", search=search, seed=seed, **options).save(path)
    m = load(path)
    return replace(m, data=m.data.to(str(cast(Tensor, data.x).device)))


def _checkpoint(model: nn.Module) -> str:
    """Name of a search's file; a model that was trained anew with other bits begins another."""
    return f"search-{digest(model)}.checkpoint"
