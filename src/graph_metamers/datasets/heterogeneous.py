"""Papers and authors: a stochastic block model of two node types and three edge types."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from graph_metamers.datasets.blocks import (
    check_probability,
    flips,
    mask_nodes,
    word_probabilities,
)
from graph_metamers.errors import check_count, check_number, check_positive


def hetero_csbm(
    *,
    papers: int = 600,
    authors: int = 300,
    words: int = 300,
    classes: int = 3,
    writers: float = 3.0,
    citations: float = 4.0,
    homophily: float = 0.8,
    density: float = 0.04,
    signal: float = 3.0,
    seed: int = 0,
) -> HeteroData:
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
        density: Expected share of ones in the word features, in [0, 1].
        signal: How many times as likely words of the own topic are; 1 says nothing of the classes.
        seed: Seed of the random numbers. The global random state is left as it was.

    Returns:
        Nodes "paper" and "author", each with `x` [nodes, words] and the class `y`; masks on papers
        (20 training papers a class, at most a third of all; half of the rest for validation, half
        for testing); edges ("author", "writes", "paper"), the same reversed as ("paper",
        "written_by", "author"), and ("paper", "cites", "paper").

    Raises:
        InputError: A parameter is out of range, or no such graph can be.

    Example:
        >>> data = hetero_csbm(papers=90, authors=40, words=60)
        >>> data.node_types, data["paper"].x.shape
        (['paper', 'author'], torch.Size([90, 60]))
    """
    check_count("classes", classes, least=2)
    for name, count in (("papers", papers), ("authors", authors), ("words", words)):
        check_count(name, count, least=classes)
    for name, value in (("writers", writers), ("citations", citations), ("signal", signal)):
        check_positive(name, value)
    check_number("homophily", homophily, 0, 1)
    check_number("density", density, 0, 1)

    def edges(name: str, expected: float, source: Tensor, target: Tensor, of: int) -> Tensor:
        """Which edges there are, where a target expects so many from so many sources."""
        within = expected / of * classes * homophily
        between = expected / of * classes / (classes - 1) * (1 - homophily)
        check_probability(name, expected, max(within, between))
        return flips(torch.where(source[:, None] == target, within, between), generator)

    generator = torch.Generator().manual_seed(int(seed))
    likely = word_probabilities(classes, words, density, signal)
    data = HeteroData()
    for kind, count in (("paper", papers), ("author", authors)):
        data[kind].y = torch.randint(classes, (count,), generator=generator)
        data[kind].x = flips(likely[data[kind].y], generator).float()
    paper, author = data["paper"].y, data["author"].y
    writes = edges("writers", writers, author, paper, authors).nonzero().T.contiguous()
    cites = edges("citations", citations, paper, paper, papers - 1).fill_diagonal_(False)
    data["author", "writes", "paper"].edge_index = writes
    data["paper", "written_by", "author"].edge_index = writes.flip(0)
    data["paper", "cites", "paper"].edge_index = cites.nonzero().T.contiguous()
    mask_nodes(data["paper"], classes, generator)
    return data
