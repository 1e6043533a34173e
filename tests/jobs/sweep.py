"""A sweep that can be killed: the entry of a process of its own, and how it is begun."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from graph_metamers.jobs import Job, Result, Store, local, run

MARK = "SWEEP_STORE"  # in the environment of a sweep's processes
# Each sweep is forked from one process that has imported all: it is under way within milliseconds.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["graph_metamers.jobs"])


def begin(store: Store, jobs: list[Job], workers: int) -> multiprocessing.Process:
    given = [(job.task, job.arguments) for job in jobs]
    process = CONTEXT.Process(target=sweep, args=(str(store.folder), workers, given))
    process.start()
    return process


def sweep(folder: str, workers: int, jobs: list[tuple[str, dict[str, Any]]]) -> None:
    """Do the jobs; each that is done says so in a file beside the store."""
    os.environ[MARK] = folder
    # A shell that begins the tests in the background has its children ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def told(done: int, jobs: Sequence[Job], result: Result | None) -> None:
        if result is None:
            return
        with Path(f"{folder}.told").open("a") as file:
            file.write(f"{result.job.key}\n")

    run([Job.of(task, **given) for task, given in jobs], Store(folder), local(workers), told=told)


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)
