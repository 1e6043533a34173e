"""How a zoo model is trained."""

from dataclasses import dataclass

from graph_metamers.errors import InputError, check_count, check_positive
from graph_metamers.zoo.adversarial import AdversarialTraining


@dataclass(frozen=True)
class Training:
    """The paper's training: Adam and early stopping on the validation accuracy.

    Args:
        lr: Learning rate, 1e-3 in the paper.
        weight_decay: L2 penalty.
        epochs: Epochs at most.
        patience: End when the validation accuracy has not risen for this many epochs.
        validate_every: Epochs from one look at the validation accuracy to the next.
        adversarial: Train on perturbed features; None trains on clean ones.
        inductive: Whether training sees the graph without its test nodes and their edges.
    """

    lr: float = 1e-3
    weight_decay: float = 5e-4
    epochs: int = 2000
    patience: int = 200
    validate_every: int = 1
    adversarial: AdversarialTraining | None = None
    inductive: bool = False

    def __post_init__(self) -> None:
        check_positive("lr", self.lr)
        if not 0 <= self.weight_decay < float("inf"):
            raise InputError(
                f"weight_decay must be zero or more and finite; got {self.weight_decay}."
            )
        check_count("epochs", self.epochs)
        check_count("patience", self.patience)
        check_count("validate_every", self.validate_every)
