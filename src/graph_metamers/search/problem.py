"""What is searched: the reference, what varies, and what must match."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from graph_metamers.digests import sketch
from graph_metamers.inputs import Inputs
from graph_metamers.measure.match import Match
from graph_metamers.probe.layers import Target
from graph_metamers.probe.products import sparse_products
from graph_metamers.probe.reads import LinearRead, Reads, find_linear_read
from graph_metamers.probe.session import Session
from graph_metamers.vary import Block, random_inputs, soft_edges


@dataclass(frozen=True)
class Problem:
    """What is searched: inputs whose activations equal the targets.

    Attributes:
        session: The opened model.
        targets: Where it must answer the same.
        inputs: The reference, with all that varies.
        blocks: What of it varies, and how.
        match: What must stay, and when it counts as matched.
        avoid: Graphs with which the metamer shall share as little as possible.
        similarity: How similar inputs are to the reference in what varies.
        null_errors: Errors of unrelated graphs that were handed in, each [graphs].
        identity: A hash of what the search was asked, of the weights and of the graph.
        kept: What was found out of it, for all who ask: its linear read, its nulls.
    """

    session: Session
    targets: list[Target]
    inputs: Inputs
    blocks: tuple[Block, ...]
    match: Match
    avoid: tuple[Inputs, ...] = ()
    similarity: Callable[[Inputs], float] = lambda inputs: float("nan")
    null_errors: list[Tensor] = field(default_factory=list[Tensor])
    identity: str = ""
    kept: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def graphs(self) -> int:
        """How many graphs are searched at once."""
        return self.match.graphs

    def activations(self, inputs: Inputs) -> list[Tensor]:
        """The activations of a graph, soft edges among its edges."""
        with soft_edges(self.session.model, inputs):
            return self.session.activations(self.targets, inputs)

    @property
    def answers(self) -> dict[str, list[list[float]]]:
        """What the model is: sketches of layers and output on this and on two random graphs."""
        if "answers" not in self.kept:
            generator = torch.Generator().manual_seed(0)
            others = [random_inputs(self.blocks, self.inputs, generator) for _ in range(2)]
            layers: list[Tensor] = []
            outputs: list[Tensor] = []
            with torch.no_grad():
                for inputs in (self.inputs, *others):
                    layers += self.activations(inputs)
                    outputs += self.session.outputs(inputs).values()
            tensors = {"its end": outputs, " + ".join(self.match.labels): layers}
            self.kept["answers"] = {at: [sketch(h) for h in hs] for at, hs in tensors.items()}
        return self.kept["answers"]

    @property
    def read(self) -> LinearRead | None:
        """The linear maps through which the layers read the features, found once; None if none.

        Where features vary these are theirs; where edges vary those of all features.
        """
        if "read" not in self.kept:
            readable = all(block.vary.reads for block in self.blocks)
            keys = [b.at for b in self.blocks] if readable else self.inputs.feature_keys
            useful = readable or all(block.vary.moves_edges for block in self.blocks)
            with torch.enable_grad():  # whoever asks first
                found = find_linear_read(self.session, self.targets, keys) if keys else None
            self.kept["read"] = found if useful else None
        return self.kept["read"]

    @property
    def read_or_whole(self) -> LinearRead:
        """The same; where there is none, the features themselves."""
        if self.read is not None:
            return self.read

        def activations(reads: Reads, inputs: Inputs | None = None) -> list[Tensor]:
            return self.activations((inputs or self.inputs).replaced(reads))

        values = {block.at: block.value(self.inputs) for block in self.blocks}
        eyes = {
            key: torch.eye(x.shape[1], dtype=x.dtype, device=x.device) for key, x in values.items()
        }
        return LinearRead(eyes, activations)

    def faster(self) -> AbstractContextManager[None]:
        """Makes forwards faster where edges stay, which are then sorted but once.

        Activations are then the same to rounding: what is matched and measured is the model's own.
        """
        stay = all(block.vary.reads for block in self.blocks)
        return sparse_products(self.session.model) if stay else nullcontext()

    def start(self, generator: torch.Generator) -> Inputs:
        """The reference with random values of what varies: where a search begins."""
        return random_inputs(self.blocks, self.inputs, generator)

    def of(self, graphs: list[int]) -> "Problem":
        """The same for some of the graphs of a batch."""
        chosen = torch.tensor(graphs, device=self.inputs.device)
        return dataclasses.replace(
            self,
            inputs=self.inputs.subset(graphs),
            match=self.match.of(chosen),
            kept={"read": self.read},
        )
