"""The contract of what may vary: start → render → penalty.

To vary something new, subclass both classes. `Vary` is the question, a frozen dataclass of
settings; `Variable` is one run's free quantities. A search **must** be able to move
`parameters`, `render` them into a hard graph through which the gradient reaches them, and add
`penalty` to its loss; it **may** ask for nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data


class Variable(ABC):
    """The free quantities of one run.

    Attributes:
        parameters: Leaf tensors with `requires_grad`, moved in place by the search. They are the
            whole state: a run is resumed by copying them back.
    """

    parameters: list[Tensor]

    @abstractmethod
    def render(self) -> Data:
        """The hard graph at the current parameters, as the model sees it.

        The gradient of anything computed from it reaches `parameters`, if need be straight
        through a step. The next call may reuse the memory of the graph that this one returned.
        """

    def kept(self, graph: Data) -> Data:
        """Of a graph that `render` returned, what is kept as a result: a plain hard graph."""
        return graph

    def penalty(self) -> Tensor | None:
        """A scalar added to the loss, or None."""
        return None


class Vary(ABC):
    """What of a graph may vary, and how."""

    @abstractmethod
    def check(self, data: Data) -> None:
        """Raise `InputError` where the reference graph is not of the kind that this varies."""

    def prepared(self, data: Data) -> Data:
        """The reference graph with all that varies; the model's response stays the same."""
        return data

    @abstractmethod
    def start(self, data: Data, generator: torch.Generator) -> Variable:
        """A random start for a reference graph, all chance drawn from `generator` (a CPU one)."""

    def random(self, data: Data, generator: torch.Generator) -> Data:
        """The hard graph that a search starts from: what one gets without any search."""
        return self.start(data, generator).render()

    def randoms(self, data: Data, generator: torch.Generator) -> Iterator[Data]:
        """One `random` graph after another, without end; the next may overwrite the last.

        A faster way of its own must give the same graphs as `random`.
        """
        while True:
            yield self.random(data, generator)
