"""Who runs the jobs: this process, or several worker processes of this machine."""

import contextlib
import json
import os
import select
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Protocol, Self, cast

import torch

from graph_metamers.environment import commit, environment
from graph_metamers.errors import check_count
from graph_metamers.jobs.job import Job, Result, Row

ATTEMPTS = 3  # of a job whose worker dies
# Large tensors in large pages, so that a step does not begin with page faults.
FAST_MEMORY = {"THP_MEM_ALLOC_ENABLE": "1"}


class Executor(Protocol):
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

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


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


@dataclass
class _Worker:
    process: Popen[str]
    job: tuple[Job, Path] | None = None
    attempts: int = 0

    @property
    def requests(self) -> IO[str]:
        return cast("IO[str]", self.process.stdin)  # it was started with PIPE

    @property
    def answers(self) -> IO[str]:
        return cast("IO[str]", self.process.stdout)

    def end(self) -> int:
        """End the process, if it has not ended, and give its exit code."""
        self.process.kill()
        # Closing writes once more what it never read. Nothing is read here: a process that a job
        # left behind may hold the other end for long.
        for stream in (self.requests, self.answers):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        return self.process.wait()


class Processes:
    """Runs jobs in worker processes, each with an equal share of the threads.

    A worker that dies (for memory, or killed) is replaced and its job tried again, three times in
    all. The workers end when this process does, however it ends.

    Args:
        workers: How many.
    """

    def __init__(self, workers: int) -> None:
        check_count("workers", workers)
        self.slots = workers
        self._threads = max(1, torch.get_num_threads() // workers)
        self._workers: list[_Worker] = []

    def submit(self, job: Job, work: Path) -> None:
        worker = next((one for one in self._workers if one.job is None), None)
        if worker is None:
            worker = _Worker(self._started())
            self._workers.append(worker)
        worker.job, worker.attempts = (job, work), 1
        self._hand_over(worker, job, work)

    def next(self, timeout: float | None) -> Result | None:
        # An answer is one line and comes when asked for, so that none waits in a buffer unseen.
        busy = {one.answers: (one, *one.job) for one in self._workers if one.job is not None}
        ready, _, _ = select.select(list(busy), [], [], timeout)
        return self._received(*busy[ready[0]]) if ready else None

    def _received(self, worker: _Worker, job: Job, work: Path) -> Result | None:
        """The result of the worker's job; None if it died and its job was begun again."""
        line = worker.answers.readline()
        if line.endswith("\n"):
            worker.job = None
            return Result(job, **json.loads(line))
        code = worker.end()
        worker.process = self._started()
        if worker.attempts < ATTEMPTS:
            worker.attempts += 1
            self._hand_over(worker, job, work)
            return None
        worker.job = None
        told = f"The worker died {ATTEMPTS} times (exit code {code}); is there enough memory?"
        return Result(job, [], 0.0, environment(), told)

    def _hand_over(self, worker: _Worker, job: Job, work: Path) -> None:
        asked = {"task": job.task, "settings": job.settings, "work": str(work)}
        with contextlib.suppress(BrokenPipeError):  # it is dead, which `next` finds when it reads
            print(json.dumps(asked), file=worker.requests, flush=True)

    def _started(self) -> "Popen[str]":
        threads = str(self._threads)
        shared = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        return Popen(
            # -P: it imports from where this process does, not from the current folder.
            [sys.executable, "-P", "-m", "graph_metamers.jobs.worker"],
            stdin=PIPE,
            stdout=PIPE,
            text=True,
            env={**FAST_MEMORY, **os.environ, **shared, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C is this process's to handle
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()  # all of them first, then wait for each
        for worker in self._workers:
            worker.end()
        self._workers.clear()
