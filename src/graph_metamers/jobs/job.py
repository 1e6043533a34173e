"""A job: which function to call with which plain values, and what became of it."""

import hashlib
import importlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from graph_metamers.errors import InputError

Row = dict[str, Any]  # names and numbers, texts or truth values


@dataclass(frozen=True)
class Job:
    """A call that can be written down: a function's place and its arguments.

    The function is called as `function(work, **arguments)`, with a folder of its own, and returns
    rows: a list of flat dictionaries of numbers and texts. What it leaves in the folder is kept
    beside the rows, and handed to it again if it was stopped on the way. The same arguments must
    give the same rows.

    Args:
        task: Where the function is, "package.module:function".
        settings: Its arguments as JSON; `Job.of` makes it.

    Example:
        >>> job = Job.of("graph_metamers.paper.tasks:search_rows", seed=1, dataset="cora")
        >>> job.arguments, job == Job.of(job.task, dataset="cora", seed=1), len(job.key)
        ({'dataset': 'cora', 'seed': 1}, True, 16)
    """

    task: str
    settings: str

    @classmethod
    def of(cls, task: str, **arguments: Any) -> "Job":
        """The job of a task and its arguments, which are plain values: what JSON can hold.

        Raises:
            InputError: The task is no "module:function", or an argument is something else, so that
                it could not be told again.
        """
        if not all(task.partition(":")):
            raise InputError(
                f"A job's task must name a function, 'package.module:function'; got '{task}'."
            )
        try:
            settings = json.dumps(arguments, sort_keys=True, allow_nan=False)
            same = json.loads(settings) == arguments
        except (TypeError, ValueError):
            settings, same = "", False
        if not same:
            raise InputError(
                "A job's arguments must be what JSON gives back: numbers, texts, lists (not "
                f"tuples) and dictionaries with texts as names; got {arguments!r}. "
                "Name the thing, and let the task make it."
            )
        return cls(task, settings)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments, a copy of one's own."""
        return json.loads(self.settings)

    @property
    def key(self) -> str:
        """A short hash of the content: the same job has the same key everywhere."""
        return hashlib.sha256(f"{self.task}\n{self.settings}".encode()).hexdigest()[:16]

    def __call__(self, work: Path) -> list[Row]:
        """Do it, and give its rows without what is not a number (NaN, infinity, None).

        Args:
            work: A folder of its own, which exists.

        Raises:
            TypeError: The task returns something else than a list of rows of numbers and texts.
        """
        module, _, name = self.task.partition(":")
        function = getattr(importlib.import_module(module), name)
        rows: object = function(work, **self.arguments)
        if not isinstance(rows, list):
            kind = type(rows).__name__
            raise TypeError(
                f"{self.task} must return a list of rows, [] where there are none; got: {kind}"
            )
        return [_plain(row) for row in cast("list[object]", rows)]

    def __str__(self) -> str:
        """The task and those of its arguments that are numbers or words, or are switched on."""
        return f"{self.task.partition(':')[2]}({', '.join(_words(self.arguments))})"


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes:
        job: The job.
        rows: What it returned.
        seconds: How long it took, from start to end of the attempt that ended it.
        environment: Versions and machine.
        error: Why it failed, with the traceback; empty if it did not.
    """

    job: Job
    rows: list[Row]
    seconds: float
    environment: dict[str, Any]
    error: str = ""

    @property
    def reason(self) -> str:
        """Why it failed, without the traceback."""
        last = (self.error.strip().splitlines() or [""])[-1]
        # A sentence of ours needs no class before it.
        return last.removeprefix(f"{InputError.__module__}.{InputError.__name__}: ")


def told_apart(jobs: Sequence[Job]) -> dict[Job, str]:
    """Each of the jobs by what is not the same in all of them.

    Example:
        >>> jobs = [Job.of("mine:square", x=x, log="a", cut={"at": 2}) for x in (3, 4)]
        >>> list(told_apart(jobs).values()), list(told_apart(jobs[:1]).values())
        (['x=3', 'x=4'], ['square(cut.at=2, log=a, x=3)'])
    """
    words = {job: _words(job.arguments) for job in jobs}
    common = set[str]().union(*words.values()).intersection(*words.values())
    return {
        job: ", ".join(word for word in each if word not in common) or str(job)
        for job, each in words.items()
    }


def _words(arguments: dict[str, Any], inside: str = "") -> list[str]:
    """The arguments that are numbers or words, or are switched on, as they are told."""
    words: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, dict):
            words += _words(cast("dict[str, Any]", value), f"{inside}{name}.")
        elif isinstance(value, int | float | str) and value is not False:
            words.append(f"{inside}{name}" + ("" if value is True else f"={value}"))
    return words


def _plain(row: object) -> Row:
    """The row without what is not a number."""
    if not isinstance(row, dict):
        raise TypeError(f"a row must be a dictionary; one is: {type(row).__name__}")
    found: Row = {}
    for name, value in cast(Row, row).items():
        if not isinstance(value, bool | int | float | str | None):
            kind = type(value).__name__
            raise TypeError(f"a row holds numbers, texts and truth values; '{name}' is: {kind}")
        if value is not None and (isinstance(value, str) or math.isfinite(value)):
            found[name] = value
    return found
