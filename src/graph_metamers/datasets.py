"""Graphs by name: the paper's five through PyG's own loaders, and one that needs no download."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected, remove_self_loops, to_undirected

from graph_metamers.errors import InputError, listing, suggestion

NAMES = {
    "csbm": "built in: contextual stochastic block model, binary bag-of-words features",
    "cora": "citations, 2,708 nodes, binary bag-of-words features (Planetoid, public split)",
    "citeseer": "citations, 3,327 nodes, binary bag-of-words features (Planetoid, public split)",
    "pubmed": "citations, 19,717 nodes, continuous TF-IDF features (Planetoid, public split)",
    "chameleon": "Wikipedia links, 2,277 nodes, binary features (Geom-GCN, first split)",
    "squirrel": "Wikipedia links, 5,201 nodes, binary features (Geom-GCN, first split)",
}


def load(name: str, *, undirected: bool = False) -> Data:
    """A dataset by name, as one graph with masks.

    `csbm` is made on the spot. The others are taken from the folder that the environment
    variable GRAPH_METAMERS_DATA names (PyG's raw layout, only read) or else downloaded by PyG,
    once, into the cache.

    Args:
        name: One of `NAMES`, in any case.
        undirected: Let every edge go both ways and leave out self-loops, as the paper's structure
            metamers need it (Eqs. 11–12); changes chameleon and squirrel only.

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
    data = csbm() if key == "csbm" else _first_split(_through_pyg(key))
    if undirected:
        data.edge_index = to_undirected(remove_self_loops(data["edge_index"])[0])
    return data


def csbm(*, seed: int = 0, **parameters: Any) -> Data:
    """A graph of the contextual stochastic block model, deterministic for a seed.

    Args:
        seed: Seed of the random numbers.
        **parameters: Those of `ContextualSBM`.

    Returns:
        See `ContextualSBM.sample`.

    Example:
        >>> data = csbm(nodes=90, features=60)
        >>> data.num_nodes, data.num_features, data.is_undirected()
        (90, 60, True)
    """
    return ContextualSBM(**parameters).sample(seed)


@dataclass(frozen=True)
class ContextualSBM:
    """A contextual stochastic block model with binary bag-of-words features.

    Classes are of equal size. Two nodes of one class are linked with a higher probability than
    two of different ones. Words fall into as many topics as there are classes; a word of its own
    topic is `signal` times as likely in a node as any other.

    Args:
        nodes: Number of nodes.
        classes: Number of classes.
        features: Number of words.
        degree: Expected number of neighbours of a node.
        homophily: Expected share of edges within a class, in [0, 1]; about 1 / classes says
            nothing of the classes.
        density: Expected share of ones in `x`, in (0, 1).
        signal: How many times as likely words of the own topic are; 1 says nothing of the classes.

    Raises:
        InputError: A parameter is out of range, or no such graph can be.
    """

    nodes: int = 1000
    classes: int = 3
    features: int = 1000
    degree: float = 6.0
    homophily: float = 0.8
    density: float = 0.02
    signal: float = 5.0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.nodes < 2 * self.classes or self.features < self.classes:
            raise InputError(
                "csbm needs at least two classes, two nodes and one word for each of them; "
                f"got nodes={self.nodes}, classes={self.classes}, features={self.features}."
            )
        in_range = 0 <= self.homophily <= 1 and 0 < self.density < 1
        if not (in_range and self.signal > 0 and self.degree > 0):
            raise InputError(
                "csbm needs homophily in [0, 1], density in (0, 1) and positive signal and "
                f"degree; got homophily={self.homophily}, density={self.density}, "
                f"signal={self.signal}, degree={self.degree}."
            )
        likeliest = float(self.word_probabilities.max())
        if likeliest > 1:
            raise InputError(
                f"csbm cannot have density={self.density} at signal={self.signal}: a word of the "
                f"own topic would need probability {likeliest:.2f}. Lower one of them."
            )
        if max(self.edge_probabilities) > 1:
            raise InputError(
                f"csbm cannot have degree={self.degree} at homophily={self.homophily} with "
                f"{self.nodes} nodes: there are not so many pairs. Lower the degree, or take more "
                "nodes."
            )

    @property
    def word_probabilities(self) -> Float[Tensor, "classes features"]:
        """How likely each word is in a node of each class."""
        topic = torch.arange(self.features) * self.classes // self.features
        own = torch.arange(self.classes)[:, None] == topic
        other = self.density * self.classes / (self.signal + self.classes - 1)
        return other * torch.where(own, self.signal, 1.0)

    @property
    def edge_probabilities(self) -> tuple[float, float]:
        """How likely an edge is between two nodes of one class, and of different ones."""
        sizes = torch.arange(self.nodes).mul(self.classes).div(self.nodes, rounding_mode="floor")
        counts = sizes.bincount().double()
        within = float((counts * (counts - 1) / 2).sum())
        between = self.nodes * (self.nodes - 1) / 2 - within
        expected = self.nodes * self.degree / 2
        return self.homophily * expected / within, (1 - self.homophily) * expected / between

    def sample(self, seed: int = 0) -> Data:
        """A graph of this model. Takes memory for all pairs of nodes, 29 bytes each.

        Args:
            seed: Seed of the random numbers.

        Returns:
            A graph with `x`, `edge_index` (undirected, no self-loops), `y` and masks (20 training
            nodes a class, at most a third of all; half of the rest for validation, half for
            testing).
        """
        generator = torch.Generator().manual_seed(seed)
        y = torch.arange(self.nodes) * self.classes // self.nodes
        likelihood = self.word_probabilities[y]
        x = (torch.rand(self.nodes, self.features, generator=generator) < likelihood).float()

        pairs = torch.triu_indices(self.nodes, self.nodes, 1)
        within = y[pairs[0]] == y[pairs[1]]
        drawn = torch.rand(pairs.shape[1], generator=generator)
        edges = pairs[:, drawn < torch.where(within, *self.edge_probabilities)]
        edge_index = torch.cat([edges, edges.flip(0)], dim=1)

        # Nodes come in a random order, so that the classes are not blocks of consecutive rows.
        order = torch.randperm(self.nodes, generator=generator)
        rank = order.argsort()
        data = Data(x=x[order], edge_index=rank[edge_index], y=y[order])
        return _with_masks(data, self.classes, generator)

    def posterior(
        self,
        x: Float[Tensor, "nodes features"],
        edge_index: Int[Tensor, "2 edges"] | None = None,
        labels: Int[Tensor, " nodes"] | None = None,
    ) -> Float[Tensor, "nodes classes"]:
        """The Bayes-optimal posterior of each node's class.

        Of the features alone it is exact:

            P(y_v = c | x_v) ∝ Π_j p_cj^x_vj (1 − p_cj)^(1 − x_vj).

        With edges, and the labels of all *other* nodes known, it is exact too:

            P(y_v = c | x_v, A_v, y_−v) ∝ P(y_v = c | x_v) Π_u q_cu^A_vu (1 − q_cu)^(1 − A_vu),

        q_cu the probability of an edge between a node of class c and one of y_u. With edges and
        unknown labels it cannot be computed in reasonable time. Classes count as equally likely
        and independent, which neglects that their sizes are exactly equal (of order 1 / nodes).

        Args:
            x: Binary features, of the sampled graph or of any metamer of it.
            edge_index: Undirected edges, each in both directions, without self-loops; None leaves
                the structure out.
            labels: True class of each node; needed with edges. A node's own is not looked at.

        Returns:
            Probabilities that sum to 1 in each row, float64.

        Raises:
            InputError: Only one of edges and labels is given, a shape does not fit, or the edges
                are not those of a simple undirected graph.

        Example:
            >>> model = ContextualSBM(nodes=90, features=60, signal=20.0)
            >>> data = model.sample()
            >>> (model.posterior(data.x).argmax(1) == data.y).float().mean() > 0.6
            tensor(True)
        """
        if (edge_index is None) != (labels is None):
            raise InputError("posterior needs edge_index and labels together, or neither of them.")
        if x.shape != (self.nodes, self.features):
            raise InputError(
                f"x must be [{self.nodes}, {self.features}] for this model; got {list(x.shape)}."
            )
        if not bool(((x == 0) | (x == 1)).all()):
            raise InputError("x must be binary for the posterior of csbm; it holds other values.")
        p = self.word_probabilities.double()
        x = x.double()
        log_odds = _likelihood(x, 1 - x, p)
        if edge_index is not None and labels is not None:
            self._check_structure(edge_index, labels)
            log_odds = log_odds + self._structure(edge_index, labels)
        return log_odds.softmax(dim=1)

    def _check_structure(self, edge_index: Tensor, labels: Tensor) -> None:
        if labels.shape != (self.nodes,) or labels.min() < 0 or labels.max() >= self.classes:
            raise InputError(
                f"labels must be a class 0 … {self.classes - 1} for each of the {self.nodes} "
                f"nodes; got {list(labels.shape)} from {int(labels.min())} to {int(labels.max())}."
            )
        if edge_index.numel() and not 0 <= edge_index.min() <= edge_index.max() < self.nodes:
            raise InputError(
                f"edge_index must number nodes 0 … {self.nodes - 1}; got "
                f"{int(edge_index.min())} to {int(edge_index.max())}."
            )
        source, target = edge_index
        pairs = source * self.nodes + target
        simple = len(pairs.unique()) == len(pairs) and not bool((source == target).any())
        if not simple or not is_undirected(edge_index, num_nodes=self.nodes):
            raise InputError(
                "edge_index must be undirected, without self-loops and repeated edges, as the "
                "model's graphs are. See torch_geometric.utils: to_undirected, remove_self_loops."
            )

    def _structure(self, edge_index: Tensor, labels: Tensor) -> Tensor:
        within, between = self.edge_probabilities
        own = torch.eye(self.classes, dtype=torch.bool)
        q = torch.where(own, within, between).double()
        member = torch.nn.functional.one_hot(labels, self.classes).double()
        # How many neighbours, and how many other nodes, of each class: [nodes, classes]
        neighbours = torch.zeros_like(member).index_add_(0, edge_index[1], member[edge_index[0]])
        others = member.sum(0) - member
        return _likelihood(neighbours, others - neighbours, q)


def _likelihood(ones: Tensor, zeros: Tensor, p: Tensor) -> Tensor:
    """Log-likelihood of each class (row of p) for each node's ones and zeros."""
    tiny = torch.finfo(p.dtype).tiny  # an impossible edge or word rules a class out, finitely
    return ones @ p.clamp(min=tiny).log().T + zeros @ (1 - p).clamp(min=tiny).log().T


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
    given = os.environ.get("GRAPH_METAMERS_DATA")
    if given and not Path(given).is_dir():
        raise InputError(
            f"GRAPH_METAMERS_DATA='{given}' must be a folder; there is none. Name the one with "
            "PyG's raw files, or unset it to download them."
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder}.", dir=home))
    except OSError as error:
        raise InputError(
            f"The cache '{home}' cannot be written ({error.strerror}). "
            "Set GRAPH_METAMERS_CACHE to a folder that can."
        ) from error
    try:
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
