"""How a zoo model is trained."""

from dataclasses import dataclass

from graph_metamers.errors import InputError, check_count, check_positive
from graph_metamers.zoo.adversarial import AdversarialTraining


@dataclass(frozen=True)
class Training:
    """Adam, by default with early stopping on the validation loss, as Kipf and Welling (2017).

    The paper gives the learning rate alone. With its small one the validation accuracy stands
    still for hundreds of epochs while the loss still falls, and stopping on it ends too early.

    Args:
        lr: Learning rate, 1e-3 in the paper.
        weight_decay: L2 penalty.
        epochs: Epochs at most.
        patience: End when the validation loss has not fallen for this many epochs, and keep the
            weights of its least; None goes through all epochs and keeps the last weights.
        validate_every: Epochs from one look at the validation loss to the next.
        adversarial: Train on perturbed features; None trains on clean ones.
        inductive: Whether training sees the graph without its test nodes and their edges.
    """

    lr: float = 1e-3
    weight_decay: float = 5e-4
    epochs: int = 2000
    patience: int | None = 200
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
        if self.patience is not None:
            check_count("patience", self.patience)
        check_count("validate_every", self.validate_every)
