"""The contextual stochastic block model: classes, linked and worded by class, posterior known."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from graph_metamers.datasets.blocks import (
    check_probability,
    check_share,
    check_words,
    edge_probabilities,
    flips,
    likelihood,
    mask_nodes,
    word_probabilities,
)
from graph_metamers.errors import InputError, check_count, check_positive


def csbm(*, seed: int = 0, **parameters: Any) -> Data:
    """A graph of `ContextualSBM(**parameters)`, the same for a seed; see its `sample`.

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
        check_count("classes", self.classes, least=2)
        check_count("nodes", self.nodes, least=2 * self.classes)
        check_count("features", self.features, least=self.classes)
        check_share("homophily", self.homophily)
        check_share("density", self.density, inside=True)
        check_positive("signal", self.signal)
        check_positive("degree", self.degree)
        check_probability(self, "density", float(self.word_probabilities.max()))
        check_probability(self, "degree", max(self.edge_probabilities))

    @property
    def word_probabilities(self) -> Float[Tensor, "classes features"]:
        """How likely each word is in a node of each class."""
        return word_probabilities(self.classes, self.features, self.density, self.signal)

    @property
    def edge_probabilities(self) -> tuple[float, float]:
        """How likely an edge is between two nodes of one class, and of different ones."""
        sizes = torch.arange(self.nodes).mul(self.classes).div(self.nodes, rounding_mode="floor")
        counts = sizes.bincount().double()
        within = float((counts * (counts - 1) / 2).sum())
        pairs, expected = self.nodes * (self.nodes - 1) / 2, self.nodes * self.degree / 2
        return edge_probabilities(self.homophily, expected, within, pairs)

    def sample(self, seed: int = 0) -> Data:
        """A graph of this model. Takes memory for all pairs of nodes, 29 bytes each.

        Args:
            seed: Seed of the random numbers. The global random state is left as it was.

        Returns:
            A graph with `x`, `edge_index` (undirected, no self-loops), `y` and masks (20 training
            nodes a class, at most a third of all; half of the rest for validation, half for
            testing).
        """
        generator = torch.Generator().manual_seed(int(seed))
        y = torch.arange(self.nodes) * self.classes // self.nodes
        x = flips(self.word_probabilities[y], generator).float()

        pairs = torch.triu_indices(self.nodes, self.nodes, 1)
        within = y[pairs[0]] == y[pairs[1]]
        drawn = torch.rand(pairs.shape[1], generator=generator)
        edges = pairs[:, drawn < torch.where(within, *self.edge_probabilities)]
        edge_index = torch.cat([edges, edges.flip(0)], dim=1)

        # Nodes come in a random order, so that the classes are not blocks of consecutive rows.
        order = torch.randperm(self.nodes, generator=generator)
        rank = order.argsort()
        data = Data(x=x[order], edge_index=rank[edge_index], y=y[order])
        mask_nodes(data, self.classes, generator)
        return data

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
        check_words("x", x, (self.nodes, self.features))
        x = x.double()
        log_odds = likelihood(x, 1 - x, self.word_probabilities.double())
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
        return likelihood(neighbours, others - neighbours, q)
