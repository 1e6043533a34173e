"""A search's state on disk, saved now and then, with its clock and its trail."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from graph_metamers.errors import InputError
from graph_metamers.search.base import Problem
from graph_metamers.storage import load_tensors, save_tensors

CHECKPOINT_SECONDS = 20.0


class Checkpoint:
    """Saves and resumes one search; without a path it only keeps the time and the trail.

    Args:
        path: The file; None saves nothing.
        problem: What is searched.

    Attributes:
        trail: Step, activation error and similarity of graphs on the way, at steps 0, 1, 2, 4, 8
            and so on.
    """

    def __init__(self, path: Path | None, problem: Problem) -> None:
        self._path, self._identity = path, problem.identity
        self._similarity = problem.similarity
        self.trail: list[tuple[int, float, float]] = []
        self._spent, self._began = 0.0, time.perf_counter()
        self._saved = self._began

    @property
    def seconds(self) -> float:
        """Time spent, over all resumed parts."""
        return self._spent + time.perf_counter() - self._began

    def resumed(self, device: torch.device) -> dict[str, Any] | None:
        """The state that was saved, or None.

        Raises:
            InputError: The file belongs to another search.
        """
        if self._path is None or not self._path.exists():
            return None
        state = load_tensors(self._path, kind="a checkpoint", map_location=device)
        if state.get("identity") != self._identity:
            raise InputError(
                f"The checkpoint '{self._path}' belongs to another search (model, graph, layer, "
                "settings or seed differ). Remove it, or name another file."
            )
        self._spent, self.trail = float(state["seconds"]), list(state["trail"])
        return state

    def see(self, step: int, error: float, graph: Callable[[], Data]) -> None:
        """Write down how similar the graph of this step is, now and then."""
        if step & (step - 1) == 0 and (not self.trail or step > self.trail[-1][0]):
            self.trail.append((step, error, self._similarity(graph())))

    def offer(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save the state if the last time is long ago."""
        if self._path is None or time.perf_counter() - self._saved <= CHECKPOINT_SECONDS:
            return
        own = {"identity": self._identity, "seconds": self.seconds, "trail": self.trail}
        save_tensors(self._path, own | state())
        self._saved = time.perf_counter()

    def remove(self) -> None:
        """The search is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
