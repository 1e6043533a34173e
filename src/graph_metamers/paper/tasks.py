"""What a job of the paper's grids does: train a model, search for a metamer, return a row."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers import datasets, zoo
from graph_metamers.digests import digest
from graph_metamers.jobs import Row
from graph_metamers.making import searched
from graph_metamers.pose import opened, pose
from graph_metamers.result import Metamer, load
from graph_metamers.search import Adam, Auto, Search
from graph_metamers.storage import one_at_a_time
from graph_metamers.vary import Edges

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

    `work` keeps the search's state, and the metamer where `keep`. `search` is "paper" (Adam at
    5e-4, T steps) or "auto" (what suits, ended at the tolerance), `options` are the model's and
    `adversarial`, `vary` is "features" or "structure"; `steps` None stands for the setting's own.
    `protocol` tells jobs apart whose figures differ.
    """
    data = graph(dataset, vary, device)
    trained = trained_model(model, data, seed, options)
    m = job_metamer(
        work,
        trained.model,
        data,
        layer,
        vary=Edges() if vary == "structure" else None,
        search=configured(search, steps, exact=options["depth"] == 2),
        seed=seed,
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
    """Show one model's metamer at layer 1 to another, and train that on it.

    The metamer's row has the target's accuracy on the test nodes: trained on the graph and shown
    it (`plain`) or the metamer (`shown`), and trained on the metamer and shown the graph
    (`retrained`); and the share of nodes of the same class in the first two (`shown_match`).
    """
    data = graph(dataset, "features", device)
    source_model = trained_model(source, data, seed, source_options).model
    way = configured(search, steps, exact=False)
    m = _shared_metamer(work, data, source, source_model, seed, way, protocol)
    plain = trained_model(target, data, seed, target_options).model
    metamer: Data = m.data.to(device)
    again = trained_model(target, metamer, seed, target_options).model
    seen, shown = classes(plain, data), classes(plain, metamer)
    given = {"plain": seen, "shown": shown, "retrained": classes(again, data)}
    right = {name: (classes == data.y)[data.test_mask] for name, classes in given.items()}
    shares = right | {"shown_match": seen == shown}
    return [metamer_row(m) | {name: float(v.double().mean()) for name, v in shares.items()}]


def graph(dataset: str, vary: str, device: str) -> Data:
    """The graph; where edges vary, with every edge both ways and without self-loops (Eq. 12)."""
    return datasets.load_nodes(dataset, undirected=vary == "structure").to(device)


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


def job_metamer(
    work: Path,
    model: nn.Module,
    data: Data,
    layer: str,
    *,
    search: Search,
    seed: int,
    vary: Edges | None = None,
    tol: float = TOL,
) -> Metamer:
    """The metamer of a job, whose search goes on from its folder after a stop.

    Its tolerance is the FVU at which the activation error (Eq. 5) is `tol`, so that all runs of a
    protocol are compared at the same activation error.
    """
    # A model that was trained anew with other bits begins another search.
    checkpoint = work / f"search-{digest(model)}.checkpoint"
    with opened(model, data, vary, None) as open_model:
        problem = pose(open_model, layer, tol=tol)
        (tap,) = problem.match.taps
        problem.match.tol *= tap.size / tap.spread if tap.spread else 1
        return searched(problem, search, seed, checkpoint=checkpoint, progress=False)


def metamer_row(m: Metamer) -> Row:
    """A metamer's figures, but for those of each layer, and the time, which always differs.

    The null is added as an activation error (Eq. 5), which is a multiple of the FVU.
    """
    row = {k: v for k, v in m.row().items() if k not in ("layer_errors", "seconds")}
    one = row["start_activation_error"] / row["start_fvu"]
    return row | {"null_activation_error": row["null_error"] * (1 if math.isnan(one) else one)}


@torch.no_grad()
def classes(model: nn.Module, data: Data) -> Tensor:
    """The predicted class of each node."""
    return model(data.x, data.edge_index).argmax(dim=1)


def _shared_metamer(
    work: Path, data: Data, source: str, model: nn.Module, seed: int, search: Search, protocol: int
) -> Metamer:
    """A metamer that several jobs need, kept in the cache by the first; others wait for it."""
    key = digest(model, data.to_dict(), search, seed, TOL, protocol, str(torch.__version__))
    path = datasets.cache_folder() / "metamers" / f"{source}-{key}.pt"
    with one_at_a_time(path):
        if not path.exists():
            job_metamer(work, model, data, "layer1", search=search, seed=seed).save(path)
    return load(path)
