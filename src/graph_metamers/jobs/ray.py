"""Jobs on a Ray cluster: the same grid, store and rows, on as many machines as there are."""

import socket
import sys
from pathlib import Path
from typing import Any, Self

import torch

from graph_metamers.environment import environment
from graph_metamers.errors import InputError, check_count, needed
from graph_metamers.jobs.executor import ATTEMPTS, attempt
from graph_metamers.jobs.job import Job, Result

PATIENCE_SECONDS = 10.0  # for a cluster to answer


class Ray:
    """Runs each job as a Ray task; Ray starts it again where its worker or its node dies.

    graph-metamers must be installed on every node, and every node must see the store's folder. A
    job for which no node has room waits until one joins.

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
        self._ray = needed("ray", "ray")
        self._needs = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        self._address = address
        self._began = False
        self._connect()
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": ATTEMPTS - 1}
        self._task = self._ray.remote(**options)(_attempt)
        self._running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        """Twice as many as there is room for now, so that none waits for the driver."""
        free = self._ray.cluster_resources()
        return 2 * max(1, min(int(free.get(name, 0) // n) for name, n in self._needs.items()))

    def submit(self, job: Job, work: Path) -> None:
        paths = [path for path in sys.path if path]
        reference = self._task.remote(job, str(work.resolve()), int(self._needs["CPU"]), paths)
        self._running[reference] = job

    def next(self, timeout: float | None) -> Result | None:
        ready, _ = self._ray.wait(list(self._running), timeout=timeout)
        if not ready:
            return None
        job = self._running.pop(ready[0])
        try:
            return self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # its worker died every time
            return Result(job, [], 0.0, environment(), str(error))

    def __enter__(self) -> Self:
        self._connect()  # again, where an earlier sweep has ended it
        return self

    def __exit__(self, *_: object) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._began:
            self._ray.shutdown()
            self._began = False

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        # Without an address Ray itself would take any cluster that was begun here before.
        where = self._address or "local"
        options = {} if self._address else {"include_dashboard": False}
        try:
            _check_answers(where)
            self._ray.init(where, log_to_driver=False, configure_logging=False, **options)
        # A ConnectionError is an OSError; other versions of Ray or Python are a RuntimeError.
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"address='{self._address}' is not a Ray cluster that can be reached ({error}). "
                "Start one with `ray start --head`, of the same versions."
            ) from error
        self._began = True


def _attempt(job: Job, work: str, threads: int, paths: list[str]) -> Result:
    torch.set_num_threads(threads)
    # Ray hands on the script's folder only; the task may be in any that the driver imports from.
    sys.path.extend(path for path in paths if path not in sys.path)
    if not Path(work).is_dir():
        told = f"The store's folder '{work}' must be seen by every node; {socket.gethostname()} "
        return Result(job, [], 0.0, environment(), f"{told}does not. Put it where all can write.")
    return attempt(job, Path(work))


def _check_answers(address: str) -> None:
    """Raise an OSError where nobody answers at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_SECONDS).close()
