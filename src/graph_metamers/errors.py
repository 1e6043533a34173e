"""The one error that a user's mistake raises, and the words it is told in."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import SupportsFloat

from torch import Tensor


class InputError(ValueError):
    """Something that was handed in cannot be used; the message says what to do instead."""


def describe(tensor: Tensor) -> str:
    """Type and shape as error sentences give them.

    >>> import torch
    >>> describe(torch.zeros(3, 2))
    'float32 [3, 2]'
    """
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def listing(names: Iterable[str]) -> str:
    """Quoted names, comma-separated.

    >>> listing(["conv1", "conv2"])
    "'conv1', 'conv2'"
    """
    return ", ".join(f"'{name}'" for name in names)


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
    if not isinstance(value, SupportsFloat) or not 0 < float(value) < float("inf"):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InputError(f"{name} must be positive and finite; got {value!r}.")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise unless a setting is a whole number of at least `least`."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    if not whole or not least <= value < 2**63:
        raise InputError(f"{name} must be a whole number of at least {least}; got {value!r}.")
