"""Graphs by name: the paper's five through PyG's own loaders, and one that needs no download."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.errors import InputError, listing, suggestion

NAMES = {
    "csbm": "built in: contextual stochastic block model, binary bag-of-words features",
    "cora": "citations, 2,708 nodes, binary bag-of-words features (Planetoid, public split)",
    "citeseer": "citations, 3,327 nodes, binary bag-of-words features (Planetoid, public split)",
    "pubmed": "citations, 19,717 nodes, continuous TF-IDF features (Planetoid, public split)",
    "chameleon": "Wikipedia links, 2,277 nodes, binary features (Geom-GCN, first split)",
    "squirrel": "Wikipedia links, 5,201 nodes, binary features (Geom-GCN, first split)",
}


def load(name: str) -> Data:
    """A dataset by name, as one graph with masks.

    `csbm` is made on the spot. The others are taken from the folder that the environment
    variable GRAPH_METAMERS_DATA names (PyG's raw layout, only read) or else downloaded by PyG,
    once, into the cache.

    Args:
        name: One of `NAMES`, in any case.

    Returns:
        A graph with `x` [nodes, features], `edge_index`, `y` and `train_mask`, `val_mask`,
        `test_mask` [nodes]. The features and edges are as PyG gives them: chameleon and squirrel
        have directed edges and self-loops.

    Raises:
        InputError: The name is unknown, or the files cannot be had.
    """
    key = name.lower()
    if key not in NAMES:
        raise InputError(
            f"dataset='{name}' is not a dataset.{suggestion(key, NAMES)} "
            f"Choose among {listing(NAMES)}, or hand in your own graph."
        )
    if key == "csbm":
        return csbm()
    return _first_split(_through_pyg(key))


def csbm(
    *,
    nodes: int = 1000,
    classes: int = 3,
    features: int = 1000,
    degree: float = 6.0,
    homophily: float = 0.8,
    density: float = 0.02,
    signal: float = 5.0,
    seed: int = 0,
) -> Data:
    """A contextual stochastic block model with binary bag-of-words features.

    Classes are of equal size. Two nodes of one class are linked with a higher probability than
    two of different ones. Words fall into as many topics as there are classes; a word of its own
    topic is `signal` times as likely in a node as any other. Deterministic for a seed, undirected
    and free of self-loops. Takes memory for all pairs of nodes, 29 bytes each.

    Args:
        nodes: Number of nodes.
        classes: Number of classes.
        features: Number of words.
        degree: Expected number of neighbours of a node.
        homophily: Expected share of edges within a class, in [0, 1].
        density: Expected share of ones in `x`, in (0, 1).
        signal: How many times as likely words of the own topic are; 1 is no signal.
        seed: Seed of the random numbers.

    Returns:
        A graph with `x`, `edge_index`, `y` and masks (20 training nodes a class, at most a third of
        all; half of the rest for validation, half for testing).

    Example:
        >>> data = csbm(nodes=90, features=60)
        >>> data.num_nodes, data.num_features, data.is_undirected()
        (90, 60, True)
    """
    if classes < 2 or nodes < 2 * classes or features < classes:
        raise InputError(
            "csbm needs at least two classes, two nodes and one word for each of them; "
            f"got nodes={nodes}, classes={classes}, features={features}."
        )
    if not (0 <= homophily <= 1 and 0 < density < 1 and signal > 0 and degree > 0):
        raise InputError(
            "csbm needs homophily in [0, 1], density in (0, 1) and positive signal and degree; "
            f"got homophily={homophily}, density={density}, signal={signal}, degree={degree}."
        )
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) * classes // nodes
    own = y[:, None] == (torch.arange(features) * classes // features)
    likelihood = density * classes / (signal + classes - 1) * torch.where(own, signal, 1.0)
    if float(likelihood.max()) > 1:
        raise InputError(
            f"csbm cannot have density={density} at signal={signal}: a word of the own topic would "
            f"need probability {float(likelihood.max()):.2f}. Lower one of them."
        )
    x = (torch.rand(nodes, features, generator=generator) < likelihood).float()

    pairs = torch.triu_indices(nodes, nodes, 1)
    within = y[pairs[0]] == y[pairs[1]]
    expected = nodes * degree / 2
    p_within = homophily * expected / int(within.sum())
    p_between = (1 - homophily) * expected / int((~within).sum())
    if max(p_within, p_between) > 1:
        raise InputError(
            f"csbm cannot have degree={degree} at homophily={homophily} with {nodes} nodes: there "
            "are not so many pairs. Lower the degree, or take more nodes."
        )
    drawn = torch.rand(pairs.shape[1], generator=generator)
    edges = pairs[:, drawn < torch.where(within, p_within, p_between)]
    edge_index = torch.cat([edges, edges.flip(0)], dim=1)

    # Nodes come in a random order, so that the classes are not blocks of consecutive rows.
    order = torch.randperm(nodes, generator=generator)
    rank = order.argsort()
    data = Data(x=x[order], edge_index=rank[edge_index], y=y[order])
    return _with_masks(data, classes, generator)


def _with_masks(data: Data, classes: int, generator: torch.Generator) -> Data:
    y: Tensor = data.y  # pyright: ignore[reportAssignmentType]
    order = torch.randperm(len(y), generator=generator)
    count = min(20, max(1, len(y) // (3 * classes)))
    train = torch.cat([order[y[order] == c][:count] for c in range(classes)])
    rest = order[~torch.isin(order, train)]
    parts = (train, rest[: len(rest) // 2], rest[len(rest) // 2 :])
    for name, part in zip(("train_mask", "val_mask", "test_mask"), parts, strict=True):
        mask = torch.zeros(len(y), dtype=torch.bool)
        mask[part] = True
        data[name] = mask
    return data


def cache_folder() -> Path:
    """Where datasets and trained models are kept: GRAPH_METAMERS_CACHE, or the user's cache."""
    named = os.environ.get("GRAPH_METAMERS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "graph-metamers"


def _through_pyg(key: str) -> Data:
    # torch_geometric.datasets takes half a second to import.
    from torch_geometric.datasets import Planetoid, WikipediaNetwork

    folder = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}.get(key, key)

    def read(root: Path) -> Data:
        if key in ("chameleon", "squirrel"):
            return WikipediaNetwork(str(root), key, geom_gcn_preprocess=True)[0]  # pyright: ignore[reportReturnType]
        return Planetoid(str(root), folder)[0]  # pyright: ignore[reportReturnType]

    home = cache_folder() / "datasets"
    if not (home / folder).is_dir():
        _fetch(read, home, folder, key)
    try:
        return _quietly(read, home)
    except Exception as error:
        raise InputError(
            f"dataset='{key}' in the cache is damaged ({type(error).__name__}: {error}). "
            f"Remove the folder '{home / folder}'; it is then loaded again."
        ) from error


def _fetch(read: Callable[[Path], Data], home: Path, folder: str, key: str) -> None:
    """Download and process beside, then rename: a stopped download leaves nothing behind."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder}.", dir=home))
    except OSError as error:
        raise InputError(
            f"The cache '{home}' cannot be written ({error.strerror}). "
            "Set GRAPH_METAMERS_CACHE to a folder that can."
        ) from error
    try:
        given = os.environ.get("GRAPH_METAMERS_DATA")
        if given and (Path(given) / folder).is_dir():
            shutil.copytree(Path(given) / folder, beside / folder)
        try:
            _quietly(read, beside)
        except Exception as error:
            raise InputError(
                f"dataset='{key}' could not be loaded ({type(error).__name__}: {error}). "
                "Connect to the internet, or put PyG's raw files into a folder and name it in "
                "GRAPH_METAMERS_DATA; dataset='csbm' needs no download."
            ) from error
        try:
            (beside / folder).rename(home / folder)
        except OSError:
            if not (home / folder).is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _quietly(read: Callable[[Path], Data], root: Path) -> Data:
    with contextlib.redirect_stderr(io.StringIO()):  # PyG's "Processing..."
        return read(root)


def _first_split(data: Data) -> Data:
    for name in ("train_mask", "val_mask", "test_mask"):
        mask: Tensor = data[name]
        if mask.dim() == 2:
            data[name] = mask[:, 0].contiguous()
    return data
