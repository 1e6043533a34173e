"""Jobs on a Ray cluster: the same grid, store and rows, on as many machines as there are."""

import shutil
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch

from graph_metamers.environment import environment
from graph_metamers.errors import InputError, check_count
from graph_metamers.jobs.executor import ATTEMPTS, Outcome, attempt
from graph_metamers.jobs.job import Job


class Ray:
    """Runs each job as a Ray task; Ray starts it again where its worker or its node dies.

    graph-metamers must be installed on every node. Jobs keep what they need to go on after a stop
    in the store where its folder can be seen from the node, and in a folder of the node elsewhere.

    Args:
        address: Of the cluster, "auto" for the one that `ray start` began here; None starts one
            on this machine, which ends with this process.
        cpus: Processors for each job, also its number of threads.
        gpus: Graphics processors for each job; a fraction shares one.

    Raises:
        InputError: ray is missing, or there is no such cluster.
    """

    def __init__(self, address: str | None = None, *, cpus: int = 1, gpus: float = 0) -> None:
        check_count("cpus", cpus)
        self._ray = _ray()
        self._cpus = cpus
        try:
            self._began = not self._ray.is_initialized()
            if self._began:
                self._ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            raise InputError(
                f"address='{address}' is not a Ray cluster that can be reached ({error}). "
                "Start one with `ray start --head`."
            ) from error
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": ATTEMPTS - 1}
        self._task = self._ray.remote(**options)(_attempt)
        self._running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        """Twice as many as there is room for now, so that none waits for the driver."""
        room = self._ray.cluster_resources().get("CPU", 1)
        return 2 * max(1, int(room // self._cpus))

    def submit(self, job: Job, work: Path) -> None:
        reference = self._task.remote(job, str(work.resolve()), self._cpus)
        self._running[reference] = job

    def next(self, timeout: float | None) -> Outcome | None:
        ready, _ = self._ray.wait(list(self._running), timeout=timeout)
        if not ready:
            return None
        job = self._running.pop(ready[0])
        try:
            return self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # its worker died every time
            return Outcome(job, [], 0.0, environment(), str(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._began:
            self._ray.shutdown()


def _attempt(job: Job, work: str, threads: int) -> Outcome:
    torch.set_num_threads(threads)
    if Path(work).is_dir():
        return attempt(job, Path(work))
    folder = Path(tempfile.mkdtemp())
    try:
        return attempt(job, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "The executor 'ray' needs Ray. Install it: pip install 'graph-metamers[ray]'."
        ) from error
    return ray
