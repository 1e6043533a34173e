"""Graphs by name: the paper's five through PyG's own loaders, and those that need no download."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import remove_self_loops, to_undirected

from graph_metamers.datasets.contextual import csbm
from graph_metamers.datasets.heterogeneous import hetero_csbm
from graph_metamers.datasets.motif import motifs
from graph_metamers.datasets.recommendation import bipartite
from graph_metamers.errors import InputError, known_name

NAMES = {
    "csbm": "built in: contextual stochastic block model, binary bag-of-words features",
    "cora": "citations, 2,708 nodes, binary bag-of-words features (Planetoid, public split)",
    "citeseer": "citations, 3,327 nodes, binary bag-of-words features (Planetoid, public split)",
    "pubmed": "citations, 19,717 nodes, continuous TF-IDF features (Planetoid, public split)",
    "chameleon": "Wikipedia links, 2,277 nodes, binary features (Geom-GCN, first split)",
    "squirrel": "Wikipedia links, 5,201 nodes, binary features (Geom-GCN, first split)",
    "motifs": "built in: 500 graphs of 20 nodes; which of them contain a house?",
    "hetero_csbm": "built in: papers, authors, their writings and citations, binary word features",
    "bipartite": "built in: users and the items they took, no features; which pairs are held out?",
}
BUILT_IN: dict[str, Callable[..., Any]] = {  # a Batch is a Data only at run time
    "csbm": csbm,
    "motifs": motifs,
    "hetero_csbm": hetero_csbm,
    "bipartite": bipartite,
}


def load(name: str, *, undirected: bool = False) -> Data | HeteroData:
    """A dataset by name, with labels and masks.

    Those of `BUILT_IN` are made on the spot. The others are taken from the folder that the
    environment variable GRAPH_METAMERS_DATA names (PyG's raw layout, only read) or else downloaded
    by PyG, once, into the cache.

    Args:
        name: One of `NAMES`, in any case.
        undirected: Let every edge go both ways and leave out self-loops, as the paper's structure
            metamers need it (Eqs. 11–12); changes chameleon and squirrel only.

    Returns:
        A graph with `x` [nodes, features], `edge_index`, `y` and `train_mask`, `val_mask`,
        `test_mask` [nodes]; `motifs`, `hetero_csbm` and `bipartite` are as their functions say.
        The features and edges are as PyG gives them: chameleon and squirrel have directed edges
        and self-loops.

    Raises:
        InputError: The name is unknown, or the files cannot be had.
    """
    key = known_name("dataset", name, NAMES, "a dataset", more=", or hand in your own graph")
    data = BUILT_IN[key]() if key in BUILT_IN else _first_split(_through_pyg(key))
    if undirected and isinstance(data, Data):
        data.edge_index = to_undirected(remove_self_loops(data["edge_index"])[0])
    return data


def load_nodes(name: str, *, undirected: bool = False) -> Data:
    """A dataset by name that is one graph of one node type, whose nodes are classified.

    Args:
        name: One of `NAMES` but "motifs", "hetero_csbm" and "bipartite".
        undirected: See `load`.

    Returns:
        See `load`.

    Raises:
        InputError: As `load` raises it, or the dataset is of another kind.
    """
    data = load(name, undirected=undirected)
    if not isinstance(data, Data) or len(data["train_mask"]) != data.num_nodes:
        raise InputError(
            f"dataset='{name}' is not one graph whose nodes are classified, which this needs. "
            "Take 'csbm', or another of the graphs by name."
        )
    return data


def cache_folder() -> Path:
    """Where datasets and trained models are kept: GRAPH_METAMERS_CACHE, or the user's cache."""
    named = os.environ.get("GRAPH_METAMERS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "graph-metamers"


def _through_pyg(key: str) -> Data:
    """Loaded from the cache; downloaded and processed beside, then renamed, where it is not there.

    A stopped download leaves nothing behind.
    """
    # torch_geometric.datasets takes half a second to import.
    from torch_geometric.datasets import Planetoid, WikipediaNetwork

    folder = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed"}.get(key, key)

    def read(root: Path) -> Data:
        if key in ("chameleon", "squirrel"):
            return WikipediaNetwork(str(root), key, geom_gcn_preprocess=True)[0]  # pyright: ignore[reportReturnType]
        return Planetoid(str(root), folder)[0]  # pyright: ignore[reportReturnType]

    home, given = cache_folder() / "datasets", os.environ.get("GRAPH_METAMERS_DATA")
    if given and not Path(given).is_dir():
        raise InputError(
            f"GRAPH_METAMERS_DATA='{given}' must be a folder; there is none. Name the one with "
            "PyG's raw files, or unset it to download them."
        )
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # PyG's "Processing..."
            if not (home / folder).is_dir():
                home.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(prefix=f".{folder}.", dir=home) as beside:
                    if given and (Path(given) / folder).is_dir():
                        shutil.copytree(Path(given) / folder, Path(beside) / folder)
                    read(Path(beside))
                    if not (home / folder).is_dir():  # else another process was first
                        (Path(beside) / folder).rename(home / folder)
            return read(home)
    except Exception as error:
        raise InputError(
            f"dataset='{key}' could not be loaded ({type(error).__name__}: {error}). Connect to "
            "the internet, or put PyG's raw files into a folder and name it in "
            "GRAPH_METAMERS_DATA; dataset='csbm' needs no download. Remove the folder "
            f"'{home / folder}' if it is damaged; if it cannot be written, set "
            "GRAPH_METAMERS_CACHE to a folder that can."
        ) from error


def _first_split(data: Data) -> Data:
    for name in ("train_mask", "val_mask", "test_mask"):
        if data[name].dim() == 2:
            data[name] = data[name][:, 0].contiguous()
    return data
