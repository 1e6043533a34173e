"""Who runs the jobs: this process, or several worker processes of this machine."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, Self, cast

import torch

from graph_metamers.environment import commit, environment
from graph_metamers.errors import check_count
from graph_metamers.jobs.job import Job, Result, Row

ATTEMPTS = 3  # of a job whose worker dies
SPAWN = multiprocessing.get_context("spawn")
# Large tensors in large pages, so that a step does not begin with page faults.
FAST_MEMORY = {"THP_MEM_ALLOC_ENABLE": "1"}


class Executor(AbstractContextManager[Any], Protocol):
    """Runs jobs, up to `slots` at a time. Used as a context; leaving it ends what still runs."""

    @property
    def slots(self) -> int:
        """How many jobs may be under way."""
        ...

    def submit(self, job: Job, work: Path) -> None:
        """Begin a job, whose work folder is `work`."""
        ...

    def next(self, timeout: float | None) -> Result | None:
        """Wait for a job to end; None if none has within `timeout` seconds.

        An executor that runs its jobs itself does one here, however long that takes.
        """
        ...


def local(workers: int = 1) -> "Inline | Processes":
    """One worker is this process; several are processes among which its threads are shared out.

    Raises:
        InputError: The number is none of 1, 2, ….
    """
    check_count("workers", workers)
    return Inline() if workers == 1 else Processes(workers)


class Inline:
    """Runs each job in this process."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: list[tuple[Job, Path]] = []

    def submit(self, job: Job, work: Path) -> None:
        self._waiting.append((job, work))

    def next(self, timeout: float | None) -> Result | None:
        return attempt(*self._waiting.pop(0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.clear()


class Processes:
    """Runs jobs in worker processes, each with an equal share of the threads.

    A worker that dies (for memory, or killed) is replaced and its job is tried again, three times
    in all. The workers end when this process does, however it ends.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        check_count("workers", workers)
        self.slots = workers
        self._threads = max(1, torch.get_num_threads() // workers)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Job, Path, int]] = {}

    def submit(self, job: Job, work: Path) -> None:
        self._begin(job, work, 1)

    def next(self, timeout: float | None) -> Result | None:
        ready = connection.wait(self._busy, timeout)
        if not ready:
            return None
        worker, job, work, number = self._busy.pop(cast(Connection, ready[0]))
        try:
            result = worker.pipe.recv()
        except (EOFError, OSError):
            code = worker.end()
            if number < ATTEMPTS:
                return self._begin(job, work, number + 1)
            why = f"The worker died {ATTEMPTS} times (exit code {code}); is there enough memory?"
            return Result(job, [], 0.0, environment(), why)
        self._idle.append(worker)
        return result

    def _begin(self, job: Job, work: Path, number: int) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._threads)
        self._busy[worker.pipe] = worker, job, work, number
        with suppress(OSError):  # it died while it was idle, which `next` finds when it reads
            worker.pipe.send((job, work))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self._idle, *(busy[0] for busy in self._busy.values())]:
            worker.end()
        self._idle.clear()
        self._busy.clear()


class _Worker:
    """A process that does one job after another, and the pipe to it."""

    def __init__(self, threads: int) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs,))
        with _clean_start(threads):
            self._process.start()
        theirs.close()  # so that reading ends when the process does

    def end(self) -> int | None:
        """End the process, if it has not ended, and give its exit code."""
        self._process.kill()
        self._process.join()
        self.pipe.close()
        return self._process.exitcode


@contextmanager
def _clean_start(threads: int) -> Generator[None]:
    """A process that starts in the block has so many threads, and does not run our script anew.

    A job's function is imported by its name, so a worker has no use for the script.
    """
    shared = {"OMP_NUM_THREADS": f"{threads}", "OPENBLAS_NUM_THREADS": f"{threads}"}
    shared["PYTHONSAFEPATH"] = "1"  # it imports from where this process does, not from here
    script, before = sys.modules["__main__"], dict(os.environ)
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(FAST_MEMORY | before | shared)
    try:
        yield
    finally:
        sys.modules["__main__"] = script
        for name in FAST_MEMORY | shared:
            del os.environ[name]
        os.environ.update(before)


def _serve(pipe: Connection) -> None:
    """Do the jobs that come in, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that began this one
    os.dup2(2, 1)  # what a job prints is not mixed with what that process does
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):
        while True:
            pipe.send(attempt(*pipe.recv()))


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(0)


def attempt(job: Job, work: Path) -> Result:
    """Do a job here and now; what it raises becomes the result's error."""
    commit()  # that of now: another may be checked out while the job runs
    began = time.perf_counter()
    rows: list[Row] = []
    error = ""
    try:
        rows = job(work)
    except (Exception, SystemExit):  # what a job raises is its result, and the others go on
        error = traceback.format_exc()
    device = job.arguments.get("device", "cpu")
    return Result(job, rows, time.perf_counter() - began, environment(device), error)
