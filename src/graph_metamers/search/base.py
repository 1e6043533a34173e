"""The contract of a search."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Literal, get_args

import torch

from graph_metamers.errors import InputError, check_count, listing
from graph_metamers.progress import Watch
from graph_metamers.search.problem import Problem
from graph_metamers.search.run import run
from graph_metamers.search.walk import Rules, Solution, Walk
from graph_metamers.vary import Vary

Seek = Literal["nearest", "random", "farthest"]


class Search(ABC):
    """How a metamer is looked for; a frozen dataclass of settings."""

    name: ClassVar[str]
    can_avoid: ClassVar[bool] = False

    def suits(self, vary: Vary) -> bool:
        """Whether this search can move what varies."""
        return True

    needs: ClassVar[str] = ""  # what it moves and which domain that is, for the error sentence

    def choose(self, problem: Problem) -> "Search":
        """The search that will be run.

        Raises:
            InputError: It cannot do what is asked.
        """
        for block in problem.blocks:
            if not self.suits(block.vary):
                raise InputError(
                    f"{type(self).__name__} {self.needs}; got {block}. Use search='auto'."
                )
        if problem.avoid and not self.can_avoid:
            raise InputError(
                f"{type(self).__name__} cannot keep away from other graphs (avoid=, metamers()). "
                "Swap and Exact can, where features vary and the layer allows it."
            )
        return self

    @abstractmethod
    def begin(self, problem: Problem, generator: torch.Generator) -> tuple[Walk, Rules]:
        """Where the search begins, all chance drawn from `generator`, and when it ends."""

    def run(
        self,
        problem: Problem,
        generator: torch.Generator,
        *,
        checkpoint: Path | None = None,
        watch: Watch | None = None,
    ) -> Solution:
        """Look for graphs with the least error.

        Args:
            problem: What is searched.
            generator: The only source of chance (a CPU one).
            checkpoint: A file that the search's state is saved to now and then and resumed from;
                it is removed at the end.
            watch: Called after every step.
        """
        walk, rules = self.begin(problem, generator)
        return run(walk, rules, generator, checkpoint=checkpoint, watch=watch)


def check_budget(steps: int, patience: int | None) -> None:
    """Raise where a number of steps is out of range."""
    check_count("steps", steps)
    if patience is not None:
        check_count("patience", patience)


def check_seek(seek: str) -> None:
    """Raise where `seek` is not one of `Seek`."""
    if seek not in get_args(Seek):
        raise InputError(f"seek must be one of {listing(get_args(Seek))}; got '{seek}'.")
