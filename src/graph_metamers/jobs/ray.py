"""Jobs on a Ray cluster: the same grid, store and rows, on as many machines as there are."""

import socket
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import torch

from graph_metamers.environment import environment
from graph_metamers.errors import InputError, check_count
from graph_metamers.jobs.executor import ATTEMPTS, attempt
from graph_metamers.jobs.job import Job, Result
from graph_metamers.storage import replacing

PATIENCE_SECONDS = 10.0  # for a cluster to answer


class Ray:
    """Runs each job as a Ray task; Ray starts it again where its worker or its node dies.

    graph-metamers must be installed on every node. A job works in its folder of the store where
    the node can see it; elsewhere in a folder of the node, from which what it leaves is brought
    back when it is done. What it needs to go on after a stop is kept only in the store.

    Args:
        address: Of the cluster, "auto" for the one that `ray start` began here; None starts one
            on this machine, which ends with this process.
        cpus: Processors for each job, also its number of threads.
        gpus: Graphics processors for each job; a fraction shares one.

    Raises:
        InputError: ray is missing, or there is no such cluster.

    Warns:
        UserWarning: No node has room for a job now; all wait until one joins.
    """

    def __init__(self, address: str | None = None, *, cpus: int = 1, gpus: float = 0) -> None:
        check_count("cpus", cpus)
        self._ray = _ray()
        self._needs = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        self._cpus, self._address = cpus, address
        self._began = False
        self._connect()
        if not any(self._room(node["Resources"]) for node in self._ray.nodes() if node["Alive"]):
            wanted = " and ".join(f"{count:g} {name}" for name, count in self._needs.items())
            warnings.warn(
                f"No node of the Ray cluster has {wanted}, which each job asks for: all wait until "
                "one joins.",
                stacklevel=2,
            )
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus, "max_retries": ATTEMPTS - 1}
        self._task = self._ray.remote(**options)(_attempt)
        self._running: dict[Any, tuple[Job, Path]] = {}

    @property
    def slots(self) -> int:
        """Twice as many as there is room for now, so that none waits for the driver."""
        return 2 * max(1, self._room(self._ray.cluster_resources()))

    def _room(self, resources: dict[str, float]) -> int:
        """How many jobs find room in them."""
        return min(int(resources.get(name, 0) // count) for name, count in self._needs.items())

    def submit(self, job: Job, work: Path) -> None:
        paths = [path for path in sys.path if path]
        reference = self._task.remote(job, str(work.resolve()), self._cpus, paths)
        self._running[reference] = job, work

    def next(self, timeout: float | None) -> Result | None:
        ready, _ = self._ray.wait(list(self._running), timeout=timeout)
        if not ready:
            return None
        job, work = self._running.pop(ready[0])
        try:
            result, left = self._ray.get(ready[0])
        except self._ray.exceptions.RayError as error:  # its worker died every time
            return Result(job, [], 0.0, environment(), str(error))
        for name, content in left.items():
            with replacing(work / name) as beside:
                beside.write_bytes(content)
        return result

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


def _attempt(
    job: Job, work: str, threads: int, paths: list[str]
) -> tuple[Result, dict[str, bytes]]:
    """What came of the job, and what it left where its folder cannot be seen from here."""
    torch.set_num_threads(threads)
    # Ray hands on the script's folder only; the task may be in any that the driver imports from.
    sys.path.extend(path for path in paths if path not in sys.path)
    if Path(work).is_dir():
        return attempt(job, Path(work)), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = attempt(job, folder)
        files = [path for path in folder.rglob("*") if path.is_file()]
        return result, {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _check_answers(address: str) -> None:
    """Raise an OSError where nobody answers at HOST:PORT; Ray itself would wait for minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE_SECONDS).close()


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "The executor 'ray' needs Ray. Install it: pip install 'graph-metamers[ray]'."
        ) from error
    return ray
