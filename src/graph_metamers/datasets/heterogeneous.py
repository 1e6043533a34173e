"""Papers and authors: a stochastic block model of two node types and three edge types."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch_geometric.data import HeteroData

from graph_metamers.datasets.blocks import (
    check_probability,
    check_share,
    check_words,
    flips,
    likelihood,
    log_odds,
    mask_nodes,
    word_probabilities,
)
from graph_metamers.errors import check_count, check_positive

WRITES = ("author", "writes", "paper")
WRITTEN_BY = ("paper", "written_by", "author")
CITES = ("paper", "cites", "paper")


def hetero_csbm(*, seed: int = 0, **parameters: Any) -> HeteroData:
    """A graph of `HeteroSBM(**parameters)`, the same for a seed; see its `sample`.

    Example:
        >>> data = hetero_csbm(papers=90, authors=40, words=60)
        >>> data.node_types, data["paper"].x.shape
        (['paper', 'author'], torch.Size([90, 60]))
    """
    return HeteroSBM(**parameters).sample(seed)


@dataclass(frozen=True)
class HeteroSBM:
    """A contextual stochastic block model of papers and authors, with binary word features.

    Each paper and each author has a class, drawn on its own from equally likely ones. Given the
    classes, all words and edges are independent. An author writes a paper of the own class with a
    higher probability than one of another, and a paper cites alike. A word of the own topic is
    `signal` times as likely as any other.

    Args:
        papers: Number of papers.
        authors: Number of authors.
        words: Number of words, of papers and authors alike.
        classes: Number of classes.
        writers: Expected number of authors of a paper.
        citations: Expected number of papers that a paper cites.
        homophily: Expected share of edges between nodes of one class, in [0, 1].
        density: Expected share of ones in the word features, in (0, 1).
        signal: How many times as likely words of the own topic are; 1 says nothing of the classes.

    Raises:
        InputError: A parameter is out of range, or no such graph can be.
    """

    papers: int = 600
    authors: int = 300
    words: int = 300
    classes: int = 3
    writers: float = 3.0
    citations: float = 4.0
    homophily: float = 0.8
    density: float = 0.04
    signal: float = 3.0

    def __post_init__(self) -> None:
        check_count("classes", self.classes, least=2)
        for name in ("papers", "authors", "words"):
            check_count(name, getattr(self, name), least=self.classes)
        for name in ("writers", "citations", "signal"):
            check_positive(name, getattr(self, name))
        check_share("homophily", self.homophily)
        check_share("density", self.density, inside=True)
        check_probability(self, "density", float(self.word_probabilities.max()))
        check_probability(self, "writers", float(self.writing_probabilities.max()))
        check_probability(self, "citations", float(self.citing_probabilities.max()))

    @property
    def word_probabilities(self) -> Float[Tensor, "classes words"]:
        """How likely each word is in a node of each class."""
        return word_probabilities(self.classes, self.words, self.density, self.signal)

    @property
    def writing_probabilities(self) -> Float[Tensor, "classes classes"]:
        """How likely an author of each class (row) writes a paper of each class (column)."""
        return self._by_class(self.writers / self.authors)

    @property
    def citing_probabilities(self) -> Float[Tensor, "classes classes"]:
        """How likely a paper of each class (row) cites another of each class (column)."""
        return self._by_class(self.citations / (self.papers - 1))

    def _by_class(self, mean: float) -> Tensor:
        own = torch.eye(self.classes, dtype=torch.bool)
        within = mean * self.classes * self.homophily
        between = mean * self.classes / (self.classes - 1) * (1 - self.homophily)
        return torch.where(own, within, between)

    def sample(self, seed: int = 0) -> HeteroData:
        """A graph of this model.

        Args:
            seed: Seed of the random numbers. The global random state is left as it was.

        Returns:
            Nodes "paper" and "author", each with `x` [nodes, words] and the class `y`; masks on
            papers (20 training papers a class, at most a third of all; half of the rest for
            validation, half for testing); edges ("author", "writes", "paper"), the same reversed
            as ("paper", "written_by", "author"), and ("paper", "cites", "paper").
        """
        generator = torch.Generator().manual_seed(int(seed))
        data = HeteroData()
        for kind, count in (("paper", self.papers), ("author", self.authors)):
            data[kind].y = torch.randint(self.classes, (count,), generator=generator)
            data[kind].x = flips(self.word_probabilities[data[kind].y], generator).float()
        paper, author = data["paper"].y, data["author"].y
        writes = flips(self.writing_probabilities[author][:, paper], generator)
        cites = flips(self.citing_probabilities[paper][:, paper], generator).fill_diagonal_(False)
        data[WRITES].edge_index = writes.nonzero().T.contiguous()
        data[WRITTEN_BY].edge_index = data[WRITES].edge_index.flip(0)
        data[CITES].edge_index = cites.nonzero().T.contiguous()
        mask_nodes(data["paper"], self.classes, generator)
        return data

    def posterior(
        self, data: HeteroData, *, structure: bool = True
    ) -> Float[Tensor, "papers classes"]:
        """The Bayes-optimal posterior of each paper's class.

        Of the paper's words alone it is as in `ContextualSBM.posterior`. With structure, it is
        exact given all words, all edges and the classes of all *other* papers; the classes of
        authors are summed out:

            P(y_p = c | rest) ∝ P(x_p | c) Π_q P(C_pq, C_qp | c, y_q)
                                Π_a Σ_z P(x_a | z) P(W_ap | z, c) Π_{q≠p} P(W_aq | z, y_q),

        with W the edges "writes" and C the edges "cites". Takes memory for authors × papers ×
        classes² numbers.

        Args:
            data: A graph of this model, or a metamer of it. Its authors' `y` is not looked at,
                and neither is "written_by", which repeats "writes".
            structure: Whether to look at more than each paper's own words. The labels
                `data["paper"].y` are then needed; a paper's own is not looked at.

        Returns:
            Probabilities that sum to 1 in each row, float64.

        Raises:
            InputError: The features are not binary or not of this model's shape.

        Example:
            >>> model = HeteroSBM(papers=90, authors=40, words=60)
            >>> data = model.sample()
            >>> (model.posterior(data).argmax(1) == data["paper"].y).float().mean() > 0.7
            tensor(True)
        """
        words = {kind: self._words(data, kind) for kind in ("paper", "author")}
        if not structure:
            return words["paper"].softmax(dim=1)
        member = torch.nn.functional.one_hot(data["paper"].y, self.classes).double()
        scores = words["paper"] + self._citations(data, member)
        return (scores + self._writers(data, words["author"], member)).softmax(dim=1)

    def _words(self, data: HeteroData, kind: str) -> Tensor:
        x, count = data[kind].x, self.papers if kind == "paper" else self.authors
        check_words(f"data['{kind}'].x", x, (count, self.words))
        x = x.double()
        return likelihood(x, 1 - x, self.word_probabilities.double())

    def _citations(self, data: HeteroData, member: Tensor) -> Tensor:
        p = self.citing_probabilities.double()
        cites = _dense(data[CITES].edge_index, self.papers, self.papers)
        others = member.sum(0) - member
        # How many papers of each class each paper cites, and is cited by: [papers, classes]
        both = cites @ member, cites.T @ member
        return sum((likelihood(n, others - n, p) for n in both), torch.zeros_like(member))

    def _writers(self, data: HeteroData, words: Tensor, member: Tensor) -> Tensor:
        yes, no = log_odds(self.writing_probabilities.double())  # [classes z, classes c]
        writes = _dense(data[WRITES].edge_index, self.authors, self.papers)[:, :, None, None]
        # log P(W_ap | z, c): [authors, papers, classes z, classes c]
        edge = torch.where(writes > 0, yes, no)
        known = (edge * member[:, None]).sum(-1)  # at the paper's own class: [authors, papers, z]
        cavity = words[:, None] + known.sum(1, keepdim=True) - known
        return (cavity[..., None] + edge).logsumexp(dim=2).sum(dim=0)


def _dense(edge_index: Tensor, rows: int, columns: int) -> Tensor:
    adjacency = torch.zeros(rows, columns, dtype=torch.double)
    adjacency[edge_index[0], edge_index[1]] = 1
    return adjacency
