"""How a model's outputs are compared and scored: one class for each kind of answer.

An output has a row for each node, pair or graph. `[n]` and `[n, 1]` are the same everywhere.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from graph_metamers.errors import (
    InputError,
    check_count,
    check_positive,
    check_same_shape,
    listing,
    suggestion,
)

Kept = Float[Tensor, " rows"]
Rows = Float[Tensor, "rows columns"]
ROUNDING = 1e-6  # of the mean |value|: a smaller change is rounding
SUMS_TO_ONE = 1e-3  # how far from one the sum of a row of probabilities may be
BLOCK = 2**22  # distances that are held at once

OF_ANSWERS = ("accuracy", "recall", "precision")  # the other scores are of the values
OF_VARYING = ("roc_auc", "average_precision", "r2")  # not defined where all labels are the same
ERRORS = {"rmse": "root_mean_squared_error", "mae": "mean_absolute_error"}  # scikit-learn's names


def infer_task(output: Tensor, y: Tensor | None, *, pairs: bool = False) -> "Task":
    """The task that an output and its labels leave no doubt of, else `Embedding()`.

    `Links` for one score a pair, with 0/1 labels or none; `Classes` for several columns with one
    class number a row, or without labels where the rows are probabilities or their logarithms;
    `Binary` for one column with 0/1 labels, both present; `MultiLabel` for several columns of 0/1
    labels (one-hot rows may be classes as well: `Embedding`); `Regression` for other labels of the
    output's shape. One column with whole-number labels of two values or one, other than 0 and 1,
    has several readings: `Embedding`.

    Args:
        output: The model's output.
        y: The labels, or None; NaN where one is not known. Without a row for each row of the
            output they are those of something else, and are not looked at.
        pairs: Whether each row is a pair of nodes (`edge_label_index`).

    Example:
        >>> infer_task(torch.tensor([[0.2, 1.3], [0.9, -0.1]]), torch.tensor([1, 0]))
        Classes()
        >>> infer_task(torch.tensor([0.2, 1.3]), torch.tensor([[0.25], [1.5]]))
        Regression(within=0.1)
        >>> infer_task(torch.tensor([[0.2, 1.3], [0.9, -0.1]]), None)
        Embedding(neighbours=10)
    """
    values = _as_rows(output)
    several = values.shape[1] > 1
    labels = None if y is None else _as_rows(y)
    if labels is None or len(labels) != len(values) or bool(labels.isnan().all()):
        if pairs and not several:
            return Links()
        return Classes() if several and _probabilities(values) else Embedding()
    known = labels[~labels.isnan()]
    whole = bool((known == known.round()).all())
    zero_one = _are_zero_one(known)
    if several and labels.shape[1] == 1 and whole:
        in_range = bool(((known >= 0) & (known < values.shape[1])).all())
        return Classes() if in_range else Embedding()
    if labels.shape != values.shape:
        return Embedding()
    if zero_one and several:
        one_hot = bool((labels.sum(1) == 1).all())
        return Embedding() if one_hot else MultiLabel()
    if zero_one and pairs:
        return Links()
    distinct = len(known.unique())
    if zero_one and distinct == 2:
        return Binary()
    ambiguous = whole and not several and distinct <= 2
    return Embedding() if ambiguous else Regression()


def as_task(task: "Task | str") -> "Task":
    """A task from its name, or the task itself.

    Example:
        >>> as_task("regression")
        Regression(within=0.1)
    """
    if isinstance(task, Task):
        return task
    names = {each.name: each for each in TASKS}
    if task not in list(names):
        raise InputError(
            f"task={task!r} is not a task.{suggestion(str(task), names)} It must be one of "
            f"{listing(names)}, or a configured one such as Regression(within=0.05)."
        )
    return names[task]()


@dataclass(frozen=True)
class Task(ABC):
    """How outputs are compared (`kept`, `change`) and scored (`quality`).

    Attributes:
        name: The word for `task=`.
        symbol: The agreement in formulas and columns.
        title: What tables call it, to be filled with the task's settings: `agreement_title`.
        scores: The names of the scores in `quality`.
        has_consistency: Whether the paper defines CS (Eq. 15) for it.
    """

    name: ClassVar[str]
    symbol: ClassVar[str]
    title: ClassVar[str]
    scores: ClassVar[tuple[str, ...]] = ()
    has_consistency: ClassVar[bool] = False

    @property
    def agreement_title(self) -> str:
        """What tables call the mean of `kept`.

        Example:
            >>> Regression(within=0.2).agreement_title
            'within 0.2 sd'
        """
        return self.title.format(**vars(self))

    @abstractmethod
    def kept(self, reference: Tensor, other: Tensor) -> Kept:
        """The share of each row's answer that stays on another graph, in [0, 1]."""

    def change(self, reference: Tensor, other: Tensor) -> float:
        """The mean |change| in units of the reference's spread; NaN unless the task has one."""
        return math.nan

    def quality(self, output: Tensor, y: Tensor) -> dict[str, float]:
        """Scores of an output against the labels, by name; NaN where one is not defined.

        Of several columns, each score is the mean over those where it is defined. NaN in y marks a
        label that is not known.
        """
        if not self.scores:
            return {}
        labels, values = self._labels(y).cpu(), self._values(output).cpu()
        answers = _as_rows(self.predicted(output)).cpu()
        if labels.shape != answers.shape:
            raise InputError(
                f"y must have a label for each answer, {list(answers.shape)}; it has "
                f"{list(labels.shape)}."
            )
        found: dict[str, float] = {}
        for name in self.scores:
            given = answers if name in OF_ANSWERS else values
            columns = [_score(name, labels[:, c], given[:, c]) for c in range(labels.shape[1])]
            found[name] = float(torch.tensor(columns, dtype=torch.float64).nanmean())
        return found

    def predicted(self, output: Tensor) -> Tensor:
        """The answers: class numbers, 0/1 labels or the values; `[rows]` for one column."""
        return _squeezed(self._values(output))

    def _values(self, output: Tensor) -> Rows:
        return _as_rows(output)

    def _labels(self, y: Tensor) -> Rows:
        return _as_rows(y)

    def _both(self, reference: Tensor, other: Tensor) -> tuple[Rows, Rows]:
        pair = self._values(reference), self._values(other)
        check_same_shape(*pair)
        return pair


@dataclass(frozen=True)
class Classes(Task):
    """One of several classes: the column with the largest value.

    `kept` is 1 where the class is the same; its mean is S_match (Eq. 14). Labels are class numbers,
    `[n]` or `[n, 1]`, or one-hot rows.

    Example:
        >>> Classes().kept(torch.eye(2), torch.tensor([[0.9, 0.1], [0.8, 0.2]]))
        tensor([1., 0.], dtype=torch.float64)
        >>> Classes().quality(torch.eye(2), torch.tensor([0, 0]))
        {'accuracy': 0.5}
    """

    name = "classes"
    symbol = "S_match"
    title = "same class"
    scores = ("accuracy",)
    has_consistency = True

    def kept(self, reference: Tensor, other: Tensor) -> Kept:
        a, b = self._both(reference, other)
        return (a.argmax(1) == b.argmax(1)).double()

    def predicted(self, output: Tensor) -> Tensor:
        return self._values(output).argmax(1)

    def _values(self, output: Tensor) -> Rows:
        values = _as_rows(output)
        if values.shape[1] < 2:
            raise InputError(
                f"task='classes' needs an output with a column for each class; it has "
                f"{list(output.shape)}. Use task='binary' or task='regression'."
            )
        return values

    def _labels(self, y: Tensor) -> Rows:
        labels = _as_rows(y)
        return labels if labels.shape[1] == 1 else _as_rows(labels.argmax(1))


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several independent yes-or-no answers, one a column.

    `kept` is the share of a row's labels that stay.

    Attributes:
        threshold: Where yes begins. None: 1/2 if all values of both outputs lie in [0, 1]
            (probabilities), else 0 (logits).

    Example:
        >>> MultiLabel().kept(torch.tensor([[-1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([0.5000], dtype=torch.float64)
    """

    threshold: float | None = None

    name = "multilabel"
    symbol = "S_labels"
    title = "labels kept"
    scores = ("accuracy", "roc_auc", "average_precision")

    def __post_init__(self) -> None:
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise InputError(f"threshold must be a finite number; got {self.threshold!r}.")

    def kept(self, reference: Tensor, other: Tensor) -> Kept:
        a, b = self._both(reference, other)
        bound = self._bound(a, b)
        return ((a > bound) == (b > bound)).double().mean(1)

    def predicted(self, output: Tensor) -> Tensor:
        values = self._values(output)
        return _squeezed((values > self._bound(values)).long())

    def _labels(self, y: Tensor) -> Rows:
        labels = _as_rows(y)
        known = labels[~labels.isnan()]
        if not _are_zero_one(known):
            raise InputError(
                f"task='{self.name}' needs labels of 0 and 1; they go from {float(known.min()):g} "
                f"to {float(known.max()):g}."
            )
        return labels

    def _bound(self, *outputs: Tensor) -> float:
        if self.threshold is not None:
            return self.threshold
        probabilities = all(bool(((each >= 0) & (each <= 1)).all()) for each in outputs)
        return 0.5 if probabilities else 0.0


@dataclass(frozen=True)
class Binary(MultiLabel):
    """Yes or no, from one column of probabilities or logits; see `MultiLabel` for `threshold`.

    Example:
        >>> Binary().kept(torch.tensor([-3.0, 0.2]), torch.tensor([[-1.0], [-0.1]]))
        tensor([1., 0.], dtype=torch.float64)
        >>> scores = Binary().quality(torch.tensor([-1.0, 2.0, 1.0]), torch.tensor([0, 1, 0]))
        >>> scores["recall"], scores["precision"], scores["roc_auc"]
        (1.0, 0.5, 1.0)
    """

    name = "binary"
    symbol = "S_answer"
    title = "same answer"
    scores = ("accuracy", "recall", "precision", "roc_auc", "average_precision")

    def _values(self, output: Tensor) -> Rows:
        values = _as_rows(output)
        if values.shape[1] != 1:
            raise InputError(
                f"task='{self.name}' needs an output of one column; it has {list(output.shape)}. "
                f"Use task='classes' or task='multilabel'."
            )
        return values


@dataclass(frozen=True)
class Links(Binary):
    """Whether two nodes are linked: a score for each pair; see `MultiLabel` for `threshold`.

    Example:
        >>> Links().quality(torch.tensor([0.2, 3.0, 1.0]), torch.tensor([0, 1, 0]))
        {'roc_auc': 1.0, 'average_precision': 1.0}
    """

    name = "links"
    symbol = "S_links"
    title = "same link"
    scores = ("roc_auc", "average_precision")


@dataclass(frozen=True)
class Regression(Task):
    """Real values, one or more a row.

    `kept` is the share of a row's values with |y' − y| ≤ within · sd, where sd is the standard
    deviation of that column over the rows of the reference. Where all rows of the reference have
    one value (or it has one row), a value stays if it changes by rounding alone.

    Attributes:
        within: How much of the standard deviation a value may change.

    Example:
        >>> reference, other = torch.tensor([0.0, 10.0]), torch.tensor([0.4, 12.0])
        >>> Regression().kept(reference, other)
        tensor([1., 0.], dtype=torch.float64)
        >>> round(Regression().change(reference, other), 2)
        0.24
    """

    within: float = 0.1

    name = "regression"
    symbol = "S_within"
    title = "within {within:g} sd"
    scores = ("rmse", "mae", "r2")

    def __post_init__(self) -> None:
        check_positive("within", self.within)

    def kept(self, reference: Tensor, other: Tensor) -> Kept:
        a, b = self._both(reference, other)
        bound = torch.maximum(self.within * a.std(0, correction=0), _rounding(a))
        return ((b - a).abs() <= bound).double().mean(1)

    def change(self, reference: Tensor, other: Tensor) -> float:
        """The mean of |y' − y| / sd over the rows, and the columns that vary in the reference."""
        a, b = self._both(reference, other)
        spread = a.std(0, correction=0)
        varies = spread > _rounding(a)
        return float(((b - a).abs() / spread)[:, varies].mean())


@dataclass(frozen=True)
class Embedding(Task):
    """Positions that mean something only beside one another.

    `kept` is the share of a row's nearest neighbours (Euclidean) that stay: |N(v) ∩ N'(v)| / k.
    It is NaN for a single row. Takes O(rows²) time and O(rows) memory. There is no quality.

    Attributes:
        neighbours: k, how many; all others where there are fewer.

    Example:
        >>> line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
        >>> Embedding(neighbours=1).kept(line, torch.tensor([[0.0], [1.0], [3.0], [-7.0]]))
        tensor([1., 1., 1., 0.], dtype=torch.float64)
    """

    neighbours: int = 10

    name = "embedding"
    symbol = "S_near"
    title = "neighbours kept"

    def __post_init__(self) -> None:
        check_count("neighbours", self.neighbours)

    def kept(self, reference: Tensor, other: Tensor) -> Kept:
        a, b = self._both(reference, other)
        count = min(self.neighbours, len(a) - 1)
        if count < 1:
            return a.new_full((len(a),), math.nan)
        a, b = a - a.mean(0), b - b.mean(0)
        shares: list[Tensor] = []
        for rows in torch.arange(len(a), device=a.device).split(max(1, BLOCK // len(a))):
            now = torch.zeros(len(rows), len(a), dtype=torch.bool, device=a.device)
            now.scatter_(1, _nearest(b, rows, count), True)
            shares.append(now.gather(1, _nearest(a, rows, count)).double().mean(1))
        return torch.cat(shares)


TASKS: tuple[type[Task], ...] = (Classes, Binary, MultiLabel, Regression, Links, Embedding)


def _as_rows(values: Tensor) -> Rows:
    """[n] as [n, 1], one number as [1, 1], all in float64."""
    values = values.detach().double()
    return values.reshape(-1, 1) if values.dim() < 2 else values.flatten(1)


def _squeezed(values: Tensor) -> Tensor:
    return values[:, 0] if values.shape[1] == 1 else values


def _are_zero_one(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1)).all())


def _probabilities(values: Tensor) -> bool:
    """Whether the rows are probabilities that sum to one, or logarithms of such."""
    if len(values) == 0:
        return False
    plain = bool((values >= 0).all())
    logarithms = bool((values <= 0).all())
    sums = (values if plain else values.exp()).sum(1)
    return (plain or logarithms) and bool(((sums - 1).abs() <= SUMS_TO_ONE).all())


def _rounding(values: Tensor) -> Tensor:
    """How much a value of each column may change by rounding."""
    return ROUNDING * values.abs().mean(0)


def _nearest(values: Tensor, rows: Tensor, count: int) -> Tensor:
    distances = torch.cdist(values[rows], values)
    distances.scatter_(1, rows[:, None], math.inf)  # no row is its own neighbour
    return distances.topk(count, dim=1, largest=False).indices


def _score(name: str, labels: Tensor, values: Tensor) -> float:
    """A score of one column, where the label is known; NaN where it is not defined."""
    from sklearn import metrics  # a second that few need

    known = ~labels.isnan()
    truth, given = labels[known], values[known]
    if len(truth) == 0 or not bool(given.isfinite().all()):
        return math.nan
    if name in OF_VARYING and len(truth.unique()) < 2:
        return math.nan
    options = {"zero_division": math.nan} if name in ("recall", "precision") else {}
    metric = getattr(metrics, ERRORS.get(name, f"{name}_score"))
    return float(metric(truth.numpy(), given.numpy(), **options))
