"""What a graph of any kind teaches a model: labels, who trains on them, and how it is scored."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from graph_metamers.errors import InputError, describe
from graph_metamers.inputs import Inputs
from graph_metamers.probe import Session
from graph_metamers.task import Classes, MultiLabel, Regression, Task

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Supervision:
    """A graph with labels, and which of them train, validate and test.

    Attributes:
        inputs: The graph.
        labels: Whole numbers are classes; floats that are all 0 or 1 are answers yes or no, to be
            given as logits; others are values.
        masks: Which rows of the labels are "train", "val" and "test".
    """

    inputs: Inputs
    labels: Tensor
    masks: dict[str, Tensor]

    @classmethod
    def of(cls, data: Any) -> "Supervision":
        """That of a graph: `edge_label`, or `y`, of the node type that has a `train_mask`.

        Raises:
            InputError: It lacks labels or masks.
        """
        inputs = Inputs.of(data)
        moving = {key: inputs[key].detach() for key in inputs.keys if inputs[key].requires_grad}
        inputs = inputs.replaced(moving)
        (store, *others) = [s for s in inputs.graph.stores if "train_mask" in s] or [{}]
        masks: dict[str, Any] = {name: store.get(f"{name}_mask") for name in SPLITS}
        shapes = {mask.shape if isinstance(mask, Tensor) else None for mask in masks.values()}
        named = [store.get(name) for name in ("edge_label", "y")]
        labels = next((y for y in named if isinstance(y, Tensor) and {y.shape[:1]} == shapes), None)
        if labels is None or others:
            known = ", ".join(f"{key} {describe(inputs[key])}" for key in inputs.keys)
            raise InputError(
                "The graph must have labels (y or edge_label), and a train_mask, val_mask and "
                f"test_mask with an entry for each of them, to train a model; it has {known}. Set "
                "them, or hand in a model that is already trained."
            )
        if not all(bool(mask.any()) for mask in masks.values()):
            raise InputError("data's train, val and test masks must each mark at least one row.")
        if not labels.is_floating_point() and int(labels.min()) < 0:
            raise InputError(
                f"The labels must be classes 0, 1, 2, …; the least is {int(labels.min())}. Number "
                "the classes anew, and mask what has none."
            )
        return cls(inputs, labels, {name: mask.bool() for name, mask in masks.items()})

    @property
    def of_nodes(self) -> bool:
        """Whether it is one graph of one node type, with features x and labels of its nodes."""
        return self.inputs.feature_keys == ["x"] and len(self.labels) == self.inputs.nodes()

    def without_test_nodes(self) -> "Supervision":
        """The same without the nodes that test, and their edges."""
        kept = ~self.masks["test"]
        # of a copy: PyG notes on a graph what its attributes are, which the user's must not carry
        graph = cast(Data, self.inputs.replaced({}).graph).subgraph(kept)
        masks = {name: mask[kept] for name, mask in self.masks.items()}
        return Supervision(Inputs(graph), self.labels[kept], masks)

    def check_model(self, model: nn.Module) -> None:
        """Raise unless a model returns a row for each label, with a column for each class."""
        with Session(model, self.inputs) as session, torch.no_grad():
            output = session.output(session.inputs)
        classes = not self.labels.is_floating_point()
        wanted = (len(self.labels), outputs(self.labels))
        enough = output.shape[1:] >= wanted[1:] if classes else output.numel() == math.prod(wanted)
        if output.shape[:1] != wanted[:1] or not enough or (classes and output.dim() != 2):
            raise InputError(
                f"{type(model).__name__} must return {list(wanted)} to be trained on these labels; "
                f"it returned {list(output.shape)}. Build it for as many classes or values as the "
                "labels hold, which its factory may read off the graph."
            )

    def loss(self, output: Tensor, part: str) -> Tensor:
        """Cross-entropy of classes, or of yes or no; the mean squared error of values."""
        mask = self.masks[part]
        return self._scored[1](self._rows(output)[mask], self.labels[mask])

    def accuracy(self, output: Tensor) -> dict[str, float]:
        """The share of right answers on each part, or R² of values."""
        task, _, name = self._scored
        rows = self._rows(output)
        return {
            part: task.quality(rows[mask], self.labels[mask])[name]
            for part, mask in self.masks.items()
        }

    def _rows(self, output: Tensor) -> Tensor:
        return output.view_as(self.labels) if self.labels.is_floating_point() else output

    @property
    def _scored(self) -> tuple[Task, Callable[[Tensor, Tensor], Tensor], str]:
        if not self.labels.is_floating_point():
            return Classes(), F.cross_entropy, "accuracy"
        if bool(((self.labels == 0) | (self.labels == 1)).all()):
            return MultiLabel(threshold=0.0), F.binary_cross_entropy_with_logits, "accuracy"
        return Regression(), F.mse_loss, "r2"


def outputs(labels: Tensor) -> int:
    """How many columns a model's output has for labels: one a class, or one a column of numbers.

    >>> outputs(torch.tensor([0, 2, 1])), outputs(torch.zeros(3, 5)), outputs(torch.zeros(3))
    (3, 5, 1)
    """
    if not labels.is_floating_point():
        return int(labels.max()) + 1
    return 1 if labels.dim() == 1 else labels.shape[1]
