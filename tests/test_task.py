"""How outputs are compared and scored: answers known by hand, and what is inferred."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graph_metamers.errors import InputError
from graph_metamers.task import (
    TASKS,
    Binary,
    Classes,
    Embedding,
    Links,
    MultiLabel,
    Regression,
    Task,
    as_task,
    infer_task,
)
from helpers import unchecked_types

NAN = math.nan


def t(*values: Any) -> Tensor:
    return torch.tensor(values)


KEPT: dict[str, tuple[Task, Tensor, Tensor, list[float]]] = {
    "classes": (
        Classes(),
        t([2.0, 1.0, 0.0], [0.0, 1.0, 0.5]),
        t([9.0, 8.0, 8.5], [2.0, 1.0, 0.0]),
        [1, 0],
    ),
    "logits": (Binary(), t(-3.0, 0.2, 5.0), t(-0.1, 0.9, -1.0), [1, 1, 0]),
    "probabilities": (Binary(), t(0.4, 0.2, 0.9), t(0.1, 0.6, 0.7), [1, 0, 1]),
    # 0.2 is a yes only because the other output shows that these are logits.
    "probabilities on one side": (Binary(), t(0.2, 0.9), t(-1.0, 0.1), [0, 1]),
    "threshold": (Binary(threshold=3.0), t(2.0, 4.0), t(2.9, 3.0), [1, 0]),
    "links": (Links(), t(-1.0, 1.0), t(1.0, 1.0), [0, 1]),
    "multilabel": (
        MultiLabel(),
        t([-1.0, 1.0, 2.0, -3.0], [1.0, 1.0, 1.0, 1.0]),
        t([-2.0, 1.0, -1.0, -3.0], [-1.0, -1.0, 2.0, 2.0]),
        [0.75, 0.5],
    ),
    # A price around 100: the spread is 4, so that it may change by 0.4.
    "regression": (Regression(), t(96.0, 104.0), t(96.39, 104.41), [1, 0]),
    "regression within 0.5": (Regression(within=0.5), t(96.0, 104.0), t(97.9, 101.9), [1, 0]),
    "regression by column": (
        Regression(),
        t([0.0, 0.0], [2.0, 200.0]),
        t([0.05, 9.0], [2.2, 205.0]),
        [1, 0.5],
    ),
    "regression without spread": (Regression(), t(5.0, 5.0), t(5.0 + 1e-6, 5.1), [1, 0]),
    "regression of zeros": (Regression(), t(0.0, 0.0), t(0.0, 1e-9), [1, 0]),
    "regression of one row": (Regression(), t(5.0), t(5.0), [1]),
    "regression lost to NaN": (Regression(), t(1.0, 2.0), t(1.0, NAN), [1, 0]),
    # Nearest two of 0, 1, 2, 10: {1, 2}, {0, 2}, {1, 0}, {2, 1}; then 0 moves to 11.
    "embedding": (
        Embedding(neighbours=2),
        t([0.0], [1.0], [2.0], [10.0]),
        t([11.0], [1.0], [2.0], [10.0]),
        [0.5, 0.5, 0.5, 0.5],
    ),
    "embedding of fewer": (Embedding(), t([0.0], [1.0], [2.0]), t([5.0], [1.0], [9.0]), [1, 1, 1]),
    "embedding of one": (Embedding(), t([0.0]), t([1.0]), [NAN]),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept_is_what_a_hand_counts(case: str) -> None:
    task, reference, other, expected = KEPT[case]
    kept = task.kept(reference, other)
    assert kept.dtype == torch.float64
    assert torch.equal(kept.nan_to_num(-1), t(*expected).double().nan_to_num(-1))


@pytest.mark.parametrize("task", [Binary(), Links(), Regression(), Embedding(neighbours=3)])
def test_a_column_may_be_squeezed(task: Task) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 12, generator=generator)
    y = (torch.randn(12, generator=generator) > 0).long()
    for left, right in ((a, b[:, None]), (a[:, None], b), (a[:, None], b[:, None])):
        assert torch.equal(task.kept(left, right).nan_to_num(), task.kept(a, b).nan_to_num())
    assert task.quality(a[:, None], y) == task.quality(a, y[:, None].float())
    assert torch.equal(task.predicted(a[:, None]), task.predicted(a))
    assert infer_task(a[:, None], y) == infer_task(a, y[:, None].float()) == Binary()


def test_embedding_in_blocks_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(2, 40, 3, generator=torch.Generator().manual_seed(0))
    whole = Embedding(neighbours=5).kept(a, b)
    monkeypatch.setattr("graph_metamers.task.BLOCK", 70)
    assert torch.equal(Embedding(neighbours=5).kept(a, b), whole)
    assert 0 < float(whole.mean()) < 1


def test_embedding_knows_no_shift_scale_or_rotation() -> None:
    a = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    turned = 3 * a @ torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) + 1000
    assert bool((Embedding().kept(a, turned) == 1).all())


def test_change_is_in_units_of_the_spread() -> None:
    reference = torch.tensor([[0.0, 7.0], [2.0, 7.0]])  # sd 1, and a column that is left out
    other = torch.tensor([[0.5, 9.0], [3.5, 9.0]])
    assert Regression().change(reference, other) == 1.0
    assert math.isnan(Regression().change(t(5.0), t(6.0)))
    assert math.isnan(Classes().change(reference, other))


QUALITY: dict[str, tuple[Task, Tensor, Tensor, dict[str, float]]] = {
    "classes": (Classes(), torch.eye(4), t([0], [1], [0], [3]), {"accuracy": 0.75}),
    "classes, some unknown": (Classes(), torch.eye(3), t(0.0, NAN, 1.0), {"accuracy": 0.5}),
    "classes, one-hot": (Classes(), torch.eye(2), t([1, 0], [1, 0]), {"accuracy": 0.5}),
    "classes without labels": (Classes(), torch.eye(2), t(NAN, NAN), {"accuracy": NAN}),
    # Pairs of a yes and a no: (2, 1), (2, −1), (−2, 1), (−2, −1); two of four in order.
    "binary": (
        Binary(),
        t(2.0, 1.0, -1.0, -2.0),
        t(1.0, 0.0, 0.0, 1.0),
        dict.fromkeys(Binary.scores, 0.5) | {"average_precision": 0.75},
    ),
    "binary, never a yes": (
        Binary(),
        t(-2.0, -1.0),
        t(0, 0),
        dict.fromkeys(Binary.scores, NAN) | {"accuracy": 1.0},
    ),
    # A large logit is no tie: a sigmoid in float32 would take 200 and 100 for one.
    "links": (
        Links(),
        t(200.0, 100.0, -1.0),
        t(1, 0, 0),
        {"roc_auc": 1.0, "average_precision": 1.0},
    ),
    "infinite scores": (Links(), t(math.inf, 0.0), t(1, 0), dict.fromkeys(Links.scores, NAN)),
    # The second column has one kind of label: its ROC is not defined. The third has none.
    "multilabel": (
        MultiLabel(),
        t([1.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [2.0, -1.0, 1.0]),
        t([1.0, 1.0, NAN], [0.0, 1.0, NAN], [NAN, 1.0, NAN]),
        {"accuracy": 5 / 6, "roc_auc": 1.0, "average_precision": 1.0},
    ),
    "regression": (
        Regression(),
        t(1.0, 2.0, 9.0, 0.0),
        t(1.0, 4.0, NAN, 0.0),
        {"rmse": math.sqrt(4 / 3), "mae": 2 / 3, "r2": 1 - 4 / (26 / 3)},
    ),
    "one value": (Regression(), t([1.0]), t([2.0]), {"rmse": 1.0, "mae": 1.0, "r2": NAN}),
    "embedding": (Embedding(), torch.eye(2), t(0, 1), {}),
}


@pytest.mark.parametrize("case", QUALITY)
def test_quality_is_what_a_hand_counts(case: str) -> None:
    task, output, y, expected = QUALITY[case]
    assert task.quality(output, y) == pytest.approx(expected, nan_ok=True)


def test_predicted() -> None:
    assert Classes().predicted(torch.eye(3)).tolist() == [0, 1, 2]
    assert Binary().predicted(t([0.7], [0.2])).tolist() == [1, 0]
    assert Binary(threshold=0.1).predicted(t(0.7, 0.2)).tolist() == [1, 1]
    assert MultiLabel().predicted(t([-1.0, 2.0], [3.0, -4.0])).tolist() == [[0, 1], [1, 0]]
    assert Regression().predicted(t([0.5], [2.0])).tolist() == [0.5, 2.0]
    assert Embedding().predicted(t([0.5, 1.0])).tolist() == [[0.5, 1.0]]


TWO = t([0.2, 1.3], [0.9, -0.1], [0.4, 0.4])  # two columns that are no probabilities
ONE = t(0.2, -1.3, 2.0)
INFERRED: dict[str, tuple[Tensor, Tensor | None, bool, Task]] = {
    "softmax": (TWO.softmax(1), None, False, Classes()),
    "log_softmax": (TWO.log_softmax(1), None, False, Classes()),
    "softmax in half precision": (TWO.softmax(1).half(), None, False, Classes()),
    "no labels": (TWO, None, False, Embedding()),
    "no labels, a column of ones": (torch.ones(3, 1), None, False, Embedding()),
    "no rows": (torch.ones(0, 2), None, False, Embedding()),
    "labels of something else": (TWO, t(0, 1), False, Embedding()),
    "softmax, labels of something else": (TWO.softmax(1), t(0, 1), False, Classes()),
    "unknown labels": (TWO, t(NAN, NAN, NAN), False, Embedding()),
    "class numbers": (TWO, t(0, 1, 1), False, Classes()),
    "class numbers in a float column": (TWO, t([0.0], [1.0], [1.0]), False, Classes()),
    "one class": (TWO, t(0, 0, 0), False, Classes()),
    "too many classes": (TWO, t(0, 1, 2), False, Embedding()),
    "a class below zero": (TWO, t(0, 1, -1), False, Embedding()),
    "0/1": (ONE, t(0, 1, 1), False, Binary()),
    "0/1 as floats, one unknown": (ONE, t([0.0], [1.0], [NAN]), False, Binary()),
    "true and false": (ONE, t(True, False, True), False, Binary()),
    "only 1": (ONE, t(1, 1, 1), False, Embedding()),
    "1 and -1": (ONE, t(1, -1, 1), False, Embedding()),
    "several 0/1": (TWO, t([1, 0], [1, 1], [0, 0]), False, MultiLabel()),
    "several 0/1, some unknown": (TWO, t([1, 0], [NAN, 1], [1, 0]), False, MultiLabel()),
    "one-hot": (TWO, t([1, 0], [0, 1], [0, 1]), False, Embedding()),
    "other columns": (TWO, t([1, 0, 1], [0, 1, 1], [0, 1, 0]), False, Embedding()),
    "real": (ONE, t(0.5, 1.0, NAN), False, Regression()),
    "several real": (TWO, t([0.5, 1.0], [2.0, 3.0], [0.0, 0.0]), False, Regression()),
    "one real, several columns": (TWO, t(0.5, 1.0, 2.0), False, Embedding()),
    "counts": (ONE, t(0, 1, 7), False, Regression()),
    "pairs": (ONE, None, True, Links()),
    "pairs with 0/1": (ONE, t(0, 1, 1), True, Links()),
    "pairs that are all linked": (ONE, t(1, 1, 1), True, Links()),
    "pairs with labels of the nodes": (ONE, t(0, 1, 2, 0), True, Links()),
    "pairs with ratings": (ONE, t(1.0, 3.5, 5.0), True, Regression()),
    "pairs of several classes": (TWO, t(0, 1, 1), True, Classes()),
    "one graph": (t(0.3, 0.7)[None], None, False, Classes()),
    "one number": (torch.tensor(0.3), torch.tensor(0.5), False, Regression()),
}


@pytest.mark.parametrize("case", INFERRED)
def test_inferred_only_where_unambiguous(case: str) -> None:
    output, y, pairs, expected = INFERRED[case]
    assert infer_task(output, y, pairs=pairs) == expected


def test_names_titles_and_symbols() -> None:
    assert [as_task(task.name) for task in TASKS] == [task() for task in TASKS]
    assert as_task(Regression(within=0.3)).agreement_title == "within 0.3 sd"
    assert (Classes().agreement_title, Classes().symbol) == ("same class", "S_match")
    for words in ({each.symbol for each in TASKS}, {each().agreement_title for each in TASKS}):
        assert len(words) == len(TASKS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_task("clases"), "Did you mean 'classes'"),
        (lambda: as_task([3]), r"task=\[3\] is not a task. It must be one of 'classes', 'binary'"),
        (lambda: Regression(within=0.0), "within must be positive"),
        (lambda: Embedding(neighbours=0), "neighbours must be a whole number"),
        (lambda: Binary(threshold=NAN), "threshold must be a finite number"),
        (
            lambda: Classes().kept(ONE, ONE),
            r"needs an output with a column for each class; .*\[3\]",
        ),
        (lambda: Binary().kept(TWO, TWO), r"task='binary' needs an output of one column.*\[3, 2\]"),
        (lambda: Links().kept(ONE, ONE[:2]), "must have the same shape"),
        (lambda: Binary().quality(ONE, t(-1, 1, 1)), "labels of 0 and 1; they go from -1 to 1"),
        (lambda: Regression().quality(ONE, t(1.0)), "y must have a label for each answer"),
        (lambda: Classes().quality(TWO, t(1)), "y must have a label for each answer"),
    ],
)
def test_what_cannot_be_used_is_told(call: Any, message: str) -> None:
    with unchecked_types(), pytest.raises(InputError, match=message):
        call()
