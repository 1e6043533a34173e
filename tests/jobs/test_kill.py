"""A sweep that is killed again and again ends with exactly what an undisturbed one gives."""

import os
import random
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sweep import MARK, begin, until
from tasks import searches, squares

from graph_metamers.jobs import Executor, Inline, Job, Processes, Store, run


def alive(store: Store) -> list[int]:
    """The processes of a sweep on this store, its workers among them."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            ended = process.status() == psutil.STATUS_ZOMBIE
            if not ended and process.environ().get(MARK) == str(store.folder):
                found.append(process.pid)
        except psutil.Error:  # it has just ended, or is another user's
            continue
    return found


def done(store: Store) -> int:
    return len(list((store.folder / "done").glob("*/result.json")))


def kill_after(store: Store, jobs: list[Job], workers: int, *, more: int, seconds: float) -> None:
    """Begin a sweep; kill it when so many jobs more are done and so much time has passed."""
    before = done(store)
    process = begin(store, jobs, workers)
    until(lambda: done(store) >= before + more or not process.is_alive())
    time.sleep(seconds)
    assert process.is_alive()  # else it was no kill
    process.kill()
    process.join()
    process.close()
    until(lambda: not alive(store), 60)  # the workers end by themselves, once they have begun


def check_undisturbed(store: Store, jobs: list[Job], workers: int, executor: Executor) -> None:
    """Let it come to its end, and compare it with a sweep that nobody kills."""
    last = begin(store, jobs, workers)
    last.join(600)
    assert last.exitcode == 0
    last.close()
    until(lambda: not alive(store), 60)
    found = Store(store.folder).results(jobs)
    undisturbed = run(jobs, Store(store.folder.parent / "undisturbed"), executor)
    assert [one.error for one in undisturbed] == [""] * len(jobs)
    assert [(one.job, one.rows) for one in found] == [(one.job, one.rows) for one in undisturbed]
    assert {p.name for p in (store.folder / "done").iterdir()} == {job.key for job in jobs}
    told = Counter(Path(f"{store.folder}.told").read_text().split())
    assert set(told.values()) == {1}
    assert not list((store.folder / "done").rglob("*.part"))
    assert not list((store.folder / "failed").iterdir())
    # The file of a lock may stay where a sweep was killed; it locks nothing.
    assert not [p for p in (store.folder / "work").iterdir() if p.suffix != ".lock"]


def test_killed_in_the_midst(tmp_path):
    chance, store = random.Random(0), Store(tmp_path / "store")
    jobs = squares(12, seconds=0.03)
    for _ in range(5):
        kill_after(store, jobs, 1, more=chance.randrange(3), seconds=chance.uniform(0, 0.05))
    assert done(store) < 12
    check_undisturbed(store, jobs, 1, Inline())


def test_killed_with_worker_processes(tmp_path):
    store, jobs = Store(tmp_path / "store"), squares(12, seconds=0.1)
    kill_after(store, jobs, 2, more=0, seconds=0.7)  # the workers are not ready yet
    kill_after(store, jobs, 2, more=3, seconds=0.05)
    assert 3 <= done(store) < 12
    check_undisturbed(store, jobs, 2, Inline())


@pytest.mark.slow
def test_real_searches_killed_twenty_times(tmp_path, monkeypatch):
    chance, store = random.Random(0), Store(tmp_path / "store")
    jobs = searches()
    assert len({job.key for job in jobs}) == 40
    for number in range(20):
        if number % 2:  # while the workers begin, and with luck a job
            kill_after(store, jobs, 2, more=0, seconds=chance.uniform(0, 8))
        else:  # amid jobs
            kill_after(store, jobs, 2, more=1, seconds=chance.uniform(0, 0.5))
    assert done(store) < 40
    # Models that the killed sweep trained would save the undisturbed one the training.
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", os.fspath(tmp_path / "cache"))
    check_undisturbed(store, jobs, 2, Processes(2))
