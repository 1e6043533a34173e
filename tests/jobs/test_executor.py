"""In this process or in others, a job's result is the same, whatever it does."""

import contextlib
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from tasks import squares

from graph_metamers.errors import InputError
from graph_metamers.jobs import Executor, Inline, Job, Processes, Result, local
from graph_metamers.jobs import executor as module

BOTH = pytest.mark.parametrize("executor", [Inline(), Processes(1)], ids=["inline", "processes"])


def results(executor: Executor, jobs: list[Job], folder) -> list[Result]:
    """Of the jobs one by one, with a folder each."""
    found: list[Result] = []
    with executor:
        for job in jobs:
            work = folder / job.key
            work.mkdir(exist_ok=True)
            executor.submit(job, work)
            result = None
            while result is None:
                result = executor.next(60)
            found.append(result)
    return found


def workers() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and "graph_metamers.jobs.worker" in child.cmdline()
    ]


@BOTH
def test_whatever_a_job_does_is_a_result(executor, tmp_path):
    begun = [
        ("tasks:square", {"x": 4}),
        ("tasks:noisy", {"lines": 5}),
        ("tasks:returns", {"kind": "an array"}),
        ("tasks:returns", {"kind": "nothing"}),
        ("tasks:returns", {"kind": "texts"}),
        ("tasks:fails", {"until": str(tmp_path / "never")}),
        ("tasks:leaves", {"code": 3}),
        ("tasks:no_such", {}),
        ("no_such:task", {}),
        ("tasks:nothing", {}),
    ]
    if isinstance(executor, Inline):
        begun[1] = ("tasks:noisy", {"lines": 0})  # it reads pytest's own input otherwise
    jobs = [Job.of(task, **given) for task, given in begun]
    square, noisy, *failed, nothing = results(executor, jobs, tmp_path)
    assert [one.job for one in (square, noisy, *failed, nothing)] == jobs
    assert square.rows == [{"x": 4, "square": 16, "half": 2.0}, {"x": 4, "name": "number 4"}]
    assert (tmp_path / jobs[0].key / "left.txt").exists()
    assert noisy.rows == [{"read": "", "long": "y" * 300_000}]
    assert (nothing.rows, nothing.error) == ([], "")
    assert nothing.environment["torch"]
    assert [one.rows for one in failed] == [[]] * 7
    said = [one.error.strip().splitlines()[-1] for one in failed]
    assert said == [
        "TypeError: a row holds numbers, texts and truth values; 'value' is: ndarray",
        "TypeError: tasks:returns must return a list of rows, [] where there are none; got: "
        "NoneType",
        "TypeError: a row must be a dictionary; one is: str",
        "RuntimeError: not yet",
        "SystemExit: 3",
        "AttributeError: module 'tasks' has no attribute 'no_such'",
        "ModuleNotFoundError: No module named 'no_such'",
    ]
    assert workers() == []


def test_a_worker_that_dies_is_replaced_and_its_job_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 2)  # each takes seconds
    jobs = [Job.of("tasks:dies", times=1), Job.of("tasks:dies", times=2), *squares(1)]
    once, always, after = results(Processes(1), jobs, tmp_path)
    assert once.rows == [{"died": 1}]
    assert always.error == "The worker died 2 times (exit code -9); is there enough memory?"
    assert always.rows == []
    assert after.rows[0]["square"] == 0
    assert workers() == []


def test_two_workers_work_at_once_and_end_with_the_block(tmp_path):
    pool = Processes(2)
    with pool:
        began: list[int] = []
        for job in squares(2, seconds=60):
            (tmp_path / job.key).mkdir()
            pool.submit(job, tmp_path / job.key)
        while len(began) < 2:
            began = [1 for _ in tmp_path.glob("*/begun.txt")]
            time.sleep(0.05)
        alive = workers()
        assert len(alive) == 2
        assert pool.next(0.1) is None
        alive[0].send_signal(signal.SIGKILL)  # an idle moment later the pool has another
        assert pool.next(60) is None
        assert len(workers()) == 2
    assert workers() == []


@pytest.mark.parametrize(("workers", "share"), [(2, 2), (3, 1), (8, 1)])
def test_workers_share_out_the_threads(workers, share, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    (result,) = results(Processes(workers), [Job.of("tasks:threads")], tmp_path)
    assert result.rows == [{"threads": share}]


def test_workers_import_from_where_this_process_does_only(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise ImportError('not the one')")
    monkeypatch.chdir(tmp_path)
    assert results(Processes(1), squares(1), tmp_path)[0].error == ""


def test_a_worker_ends_with_its_input():
    command = [sys.executable, "-m", "graph_metamers.jobs.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdin.close()
        assert process.wait(60) == 0


def test_one_worker_is_this_process():
    assert isinstance(local(1), Inline)
    assert local(1).slots == 1
    assert isinstance(local(3), Processes)
    assert local(3).slots == 3


@pytest.mark.parametrize("make", [local, Processes])
@pytest.mark.parametrize("workers", [0, -1, True])
def test_a_number_of_workers_that_is_none_is_told(make, workers):
    with pytest.raises(InputError, match="workers must be a whole number of at least 1; got"):
        make(workers)


@pytest.mark.parametrize("device", ["cuda:99", "of another kind", 3])
def test_a_jobs_device_may_be_whatever_it_likes(device, tmp_path):
    """An argument of that name is noted where it is a device here, and stops nothing."""
    (result,) = results(Inline(), [Job.of("tasks:anything", device=device)], tmp_path)
    assert result.error == ""
    assert result.environment["device"] == str(device)
