"""The one error that a user's mistake raises, and the words it is told in."""

import importlib
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Real
from typing import Any

from torch import Tensor

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class InputError(ValueError):
    """Something that was handed in cannot be used; the message says what to do instead."""


@contextmanager
def told(what: str, remedy: str) -> Generator[None]:
    """Anything that others' code raises in the block becomes a sentence.

    Args:
        what: Whose code it is and what was expected of it, without a full stop.
        remedy: What to do about it, a sentence.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # what others' code raises is open
        said = str(error).strip().removesuffix(".")
        raise InputError(f"{what}; it raised {type(error).__name__}: {said}. {remedy}") from error


def needed(module: str, extra: str) -> Any:
    """A module of a package that only some parts need, or a sentence how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"This needs {module}. Install it: pip install 'graph-metamers[{extra}]'."
        ) from error


def describe(tensor: Tensor) -> str:
    """Type and shape as error sentences give them.

    >>> import torch
    >>> describe(torch.zeros(3, 2))
    'float32 [3, 2]'
    """
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def visible(text: str) -> str:
    r"""A text whose control characters, which could steer a terminal, are written out.

    >>> visible("a\x1b[31m")
    'a\\x1b[31m'
    """
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def listing(names: Iterable[str]) -> str:
    """Quoted names, comma-separated; of none, "nothing".

    >>> listing(["conv1", "conv2"])
    "'conv1', 'conv2'"
    """
    return ", ".join(f"'{name}'" for name in names) or "nothing"


def suggestion(name: str, names: Iterable[str]) -> str:
    """' Did you mean …?' where a known name is close, else nothing."""
    close = get_close_matches(name, list(names), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def known_name(kind: str, name: str, names: Iterable[str], what: str, *, more: str = "") -> str:
    """A name in lower case.

    Raises:
        InputError: It is none of the names.
    """
    names = list(names)
    if name.lower() not in names:
        raise InputError(
            f"{kind}='{name}' is not {what}.{suggestion(name.lower(), names)} "
            f"Choose among {listing(names)}{more}."
        )
    return name.lower()


def check_same_shape(a: Tensor, b: Tensor) -> None:
    """Raise unless two tensors can be compared entry by entry."""
    if a.shape != b.shape:
        raise InputError(
            f"Both tensors must have the same shape; got {list(a.shape)} and {list(b.shape)}."
        )


def check_positive(name: str, value: float) -> None:
    """Raise unless a setting is a positive, finite number."""
    if not is_number(value) or not 0 < value < float("inf"):
        raise InputError(f"{name} must be positive and finite; got {value!r}.")


def check_number(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Raise unless a setting is a finite number from `low` to `high`."""
    if not is_number(value) or not (low <= value <= high and value < float("inf")):
        span = f"from {low:g} to {high:g}" if high < float("inf") else f"of at least {low:g}"
        raise InputError(f"{name} must be a number {span}; got {value!r}.")


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of Python or of NumPy, that a float can hold.

    >>> is_number(0.5), is_number(True), is_number("0.5"), is_number(10**400)
    (True, False, False, False)
    """
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and float(value) == value
    except OverflowError:
        return False


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise unless a setting is a whole number of at least `least`."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
