"""The contract of what may vary: start → render → penalty.

To vary something new, subclass both classes. `Vary` is the question, a frozen dataclass of
settings; `Variable` is one run's free quantities. A search **must** be able to move
`parameters`, `render` them into hard values through which the gradient reaches them, and add
`penalty` to its loss. What else a domain offers says which searches may be used: a box (`bounds`)
admits Exact and GaussNewton, `swaps_ones` admits Swap, `moves_edges` admits EdgeSwap.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor

from graph_metamers.errors import InputError, describe, is_number, listing
from graph_metamers.inputs import Inputs

Kind = Literal["features", "structure", "weights"]
Changed = dict[str, Tensor]  # new values by name


class Variable(ABC):
    """The free quantities of one run.

    Attributes:
        parameters: Leaf tensors with `requires_grad`, moved in place by the search. They are the
            whole state: a run is resumed by copying them back.
    """

    parameters: list[Tensor]

    @abstractmethod
    def render(self) -> Changed:
        """The hard values at the current parameters, as the model sees them.

        The gradient of anything computed from them reaches `parameters`, if need be straight
        through a step. The next call may reuse the memory of what this one returned.
        """

    def kept(self, changed: Changed) -> Changed:
        """Of what `render` returned, what is kept as a result: plain hard values."""
        return changed

    def product(self, changed: Changed, weight: Tensor) -> Tensor:
        """X' W of the features that `render` returned last, [rows, units], with its gradient."""
        (x,) = changed.values()
        return x @ weight

    def penalty(self) -> Tensor | None:
        """A scalar added to the loss, or None."""
        return None


class Vary(ABC):
    """Which values an input may take, and how it may vary.

    Attributes:
        attribute: The name of the attribute that it is for, where none is said.
        kind: The family of distances that compares its values.
        noun: What varies, in words.
        reads: Whether its values are a matrix that layers may read through linear maps.
    """

    attribute: ClassVar[str]
    kind: ClassVar[Kind]
    noun: ClassVar[str]
    reads: ClassVar[bool] = False

    @property
    def swaps_ones(self) -> bool:
        """Whether ones and zeros may be exchanged."""
        return False

    @property
    def row_by_row(self) -> bool:
        """Whether the number of ones of each row is fixed, not only that of all rows."""
        return False

    @property
    def moves_edges(self) -> bool:
        """Whether edges may be exchanged."""
        return False

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and greatest value where any value between them is allowed; else None."""
        return None

    @abstractmethod
    def check(self, inputs: Inputs, at: str) -> None:
        """Raise `InputError` where the reference is not of the kind that this varies."""

    def prepared(self, inputs: Inputs, at: str) -> Inputs:
        """The reference with all that varies; the model's response stays the same."""
        return inputs

    @abstractmethod
    def start(self, inputs: Inputs, at: str, generator: torch.Generator) -> Variable:
        """A random start for a reference, all chance drawn from `generator` (a CPU one)."""

    def random(self, inputs: Inputs, at: str, generator: torch.Generator) -> Changed:
        """The hard values that a search starts from: what one gets without any search."""
        return self.start(inputs, at, generator).render()

    def randoms(self, inputs: Inputs, at: str, generator: torch.Generator) -> Iterator[Changed]:
        """One `random` after another, without end; the next may overwrite the last.

        A faster way of its own must give the same values as `random`.
        """
        while True:
            yield self.random(inputs, at, generator)

    def keys(self, inputs: Inputs) -> list[str]:
        """The names of what it varies where none is said.

        Raises:
            InputError: There is none, or it has to be said which.
        """
        found = [key for key in inputs.keys if key.rpartition(".")[2] == self.attribute]
        if not found:
            raise InputError(
                f"{type(self).__name__} varies {self.attribute}, which the data lacks. It has "
                f"{listing(inputs.keys)}; name one, as in vary={{'NAME': {type(self).__name__}()}}."
            )
        return found


@dataclass(frozen=True)
class Bounded(Vary):
    """Real numbers within bounds."""

    low: float | None = 0.0
    high: float | None = None

    def __post_init__(self) -> None:
        given = [bound for bound in (self.low, self.high) if bound is not None]
        if not all(map(is_number, given)) or not self.limits[0] < self.limits[1]:
            raise InputError(
                f"low and high must be numbers, low the less; got low={self.low!r}, "
                f"high={self.high!r}. "
                "None leaves a side open."
            )

    @property
    def limits(self) -> tuple[float, float]:
        """Least and greatest value, infinite where there is none."""
        low = -math.inf if self.low is None else self.low
        return low, math.inf if self.high is None else self.high

    def check_within(self, value: Tensor, said: str) -> None:
        """Raise where the reference lies outside the bounds."""
        if not value.numel():
            raise InputError(f"{said} is empty, so that nothing varies. Hand in another graph.")
        least, greatest = float(value.min()), float(value.max())
        low, high = self.limits
        if least < low or greatest > high:
            raise InputError(
                f"{type(self).__name__}(low={self.low}, high={self.high}) must hold the reference; "
                f"{said} goes from {least:.4g} to {greatest:.4g}. Widen the bounds, or use None."
            )


@dataclass(frozen=True)
class Block:
    """One input that varies, and how.

    Attributes:
        at: Its name.
        vary: How it varies.
    """

    at: str
    vary: Vary

    def check(self, inputs: Inputs) -> None:
        """Raise `InputError` where the reference is not of the kind that varies."""
        self.vary.check(inputs, self.at)

    def start(self, inputs: Inputs, generator: torch.Generator) -> Variable:
        """A random start of this input."""
        return self.vary.start(inputs, self.at, generator)

    def value(self, inputs: Inputs) -> Tensor:
        """Its value, without a gradient."""
        return inputs[self.at].detach()

    def __str__(self) -> str:
        return f"{self.at}: {self.vary!r}"


def random_inputs(blocks: tuple[Block, ...], inputs: Inputs, generator: torch.Generator) -> Inputs:
    """The reference with random values of all that varies."""
    for block in blocks:
        inputs = inputs.replaced(block.vary.random(inputs, block.at, generator))
    return inputs


def many_random_inputs(
    blocks: tuple[Block, ...], inputs: Inputs, generator: torch.Generator
) -> Iterator[Inputs]:
    """One `random_inputs` after another; the next may overwrite the last."""
    if len(blocks) > 1:
        while True:
            yield random_inputs(blocks, inputs, generator)
    for block in blocks:
        for changed in block.vary.randoms(inputs, block.at, generator):
            yield inputs.replaced(changed)


def blocks_of(vary: Any, inputs: Inputs, default: Any) -> tuple[Block, ...]:
    """What varies, by name.

    Args:
        vary: One way to vary, a dictionary of them by name, or None.
        inputs: The reference.
        default: Gives the way to vary a feature matrix where nothing is said, `(inputs, name)`.

    Raises:
        InputError: It is neither, or names what the data lacks.
    """
    if isinstance(vary, Vary):
        return tuple(Block(key, vary) for key in vary.keys(inputs))
    if isinstance(vary, Mapping) and vary and all(isinstance(v, Vary) for v in vary.values()):
        for key, way in cast("Mapping[Any, Vary]", vary).items():
            if not isinstance(key, str):
                raise InputError(
                    f"vary must be keyed by the names of inputs; got {key!r}. The data has "
                    f"{listing(inputs.keys)}."
                )
            if key not in way.prepared(inputs, key):
                inputs[key]  # says what there is
        return tuple(Block(str(key), way) for key, way in vary.items())
    if vary is not None:
        raise InputError(
            "vary must be a configured one such as BinaryFeatures(), ContinuousFeatures(), Edges() "
            f"or EdgeWeights(), or a dictionary of these by the names of inputs; got {vary!r}."
        )
    if not inputs.feature_keys:
        names = [f"{kind}.x" if kind else "x" for kind in inputs.node_types]
        found = {k: value for k in names if isinstance(value := inputs.get(k), Tensor)}
        got = ", ".join(f"{inputs.spelled(k)} is {describe(x)}" for k, x in found.items())
        raise InputError(
            "Features vary where nothing else is said, and the data has no float matrix x"
            f"{f' ({got})' if got else ''}. Say what varies: vary=Edges(), or by name, as in "
            f"vary={{'pos': ContinuousFeatures(low=None)}}. The data has {listing(inputs.keys)}."
        )
    return tuple(Block(key, default(inputs, key)) for key in inputs.feature_keys)
