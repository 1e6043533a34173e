"""Units: what the rows of a tensor stand for, and in which graph each row lies."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

Level = Literal["node", "edge", "pair", "graph", "row"]


@dataclass(frozen=True, eq=False)
class Units:
    """What the rows of a tensor stand for.

    Attributes:
        level: Nodes, edges, pairs of nodes, whole graphs, or rows that are none of these.
        kind: The node or edge type where a graph has several; else empty.
        graph: The graph of each row, [rows]; all zero where there is one graph.
        graphs: How many graphs there are.

    Example:
        >>> units = Units("node", "", torch.tensor([0, 0, 1]), 2)
        >>> units.noun, units.total(torch.tensor([1.0, 2.0, 5.0]))
        ('nodes', tensor([3., 5.]))
    """

    level: Level
    kind: str
    graph: Int[Tensor, " rows"]
    graphs: int

    @property
    def noun(self) -> str:
        """What the rows are called, in the plural: "nodes", "paper nodes", "pairs"."""
        return f"{self.kind} {self.level}s".strip()

    @property
    def counts(self) -> Int[Tensor, " graphs"]:
        """How many rows each graph has."""
        return torch.bincount(self.graph, minlength=self.graphs)

    def __len__(self) -> int:
        return len(self.graph)

    def total(self, values: Num[Tensor, "rows *entries"]) -> Num[Tensor, " graphs"]:
        """The sum of all entries in each graph's rows."""
        if self.graphs == 1:
            return values.sum().view(1)
        rows = values.flatten(1).sum(1) if values.dim() > 1 else values
        return rows.new_zeros(self.graphs).index_add_(0, self.graph, rows)

    def mean(self, values: Float[Tensor, " rows"]) -> Float[Tensor, " graphs"]:
        """The mean over each graph's rows; NaN where a graph has none."""
        return self.total(values) / self.counts

    def spread(self, values: Num[Tensor, " graphs"]) -> Num[Tensor, " rows"]:
        """Of each row the value of its graph; of one graph that value, to be broadcast."""
        return values if self.graphs == 1 else values[self.graph]

    def of(self, rows: Tensor) -> "Units":
        """The units of some of the rows: their numbers, or a mask."""
        return Units(self.level, self.kind, self.graph[rows], self.graphs)

    def only(self, graphs: Int[Tensor, " some"]) -> tuple[Bool[Tensor, " rows"], "Units"]:
        """Which rows lie in some of the graphs, and the units of these; the graphs in that order.

        >>> units = Units("node", "", torch.tensor([0, 1, 2]), 3)
        >>> rows, some = units.only(torch.tensor([2, 0]))
        >>> rows, some.graph
        (tensor([ True, False,  True]), tensor([1, 0]))
        """
        place = torch.full((self.graphs,), -1, device=graphs.device)
        place[graphs] = torch.arange(len(graphs), device=graphs.device)
        graph = place[self.graph]
        rows = graph >= 0
        return rows, Units(self.level, self.kind, graph[rows], len(graphs))

    def within(self, order: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
        """Of each row in `order` its place among those of the same graph, from 0.

        >>> units = Units("node", "", torch.tensor([0, 1, 0]), 2)
        >>> units.within(torch.tensor([2, 1, 0]))
        tensor([0, 0, 1])
        """
        return place_within(self.graph[order], self.graphs)

    def first(self, rows: Int[Tensor, " some"], counts: Num[Tensor, " graphs"]) -> Tensor:
        """The first of some rows, in their order, as many of each graph as `counts` says.

        >>> units = Units("node", "", torch.tensor([0, 1, 0]), 2)
        >>> units.first(torch.tensor([2, 1, 0]), torch.tensor([1, 1]))
        tensor([2, 1])
        """
        if self.graphs == 1:
            return rows[: int(counts[0])]
        graph = self.graph[rows]
        return rows[place_within(graph, self.graphs) < counts[graph]]


def place_within(groups: Int[Tensor, " some"], count: int) -> Int[Tensor, " some"]:
    """Of each entry its place among the entries of the same group, in their order.

    >>> place_within(torch.tensor([5, 3, 5, 5]), 6)
    tensor([0, 0, 1, 2])
    """
    if count == 1:
        return torch.arange(len(groups), device=groups.device)
    order = groups.argsort(stable=True)
    sizes = torch.bincount(groups, minlength=count)
    first = (sizes.cumsum(0) - sizes)[groups[order]]
    places = torch.empty_like(groups)
    places[order] = torch.arange(len(groups), device=groups.device) - first
    return places
