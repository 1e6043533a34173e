"""In this process or in others, a job's result is the same, whatever it does."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tasks import squares

from graph_metamers.errors import InputError
from graph_metamers.jobs import Executor, Inline, Job, Processes, Result, local
from graph_metamers.jobs import executor as module


def results(executor: Executor, jobs: list[Job], folder: Path) -> list[Result]:
    """Of the jobs one by one, with a folder each."""
    found: list[Result] = []
    with executor:
        for job in jobs:
            (folder / job.key).mkdir(exist_ok=True)
            executor.submit(job, folder / job.key)
            result = None
            while result is None:
                result = executor.next(60)
            found.append(result)
    assert multiprocessing.active_children() == []
    return found


@pytest.mark.parametrize("executor", [Inline(), Processes(1)], ids=["inline", "processes"])
def test_whatever_a_job_does_is_a_result(executor, tmp_path):
    begun = [
        ("tasks:square", {"x": 4}),
        # In this process it would read the tests' own input.
        ("tasks:noisy", {"lines": 0 if isinstance(executor, Inline) else 5}),
        ("tasks:nothing", {}),
        ("tasks:returns", {"kind": "an array"}),
        ("tasks:returns", {"kind": "nothing"}),
        ("tasks:returns", {"kind": "texts"}),
        ("tasks:fails", {"until": str(tmp_path / "never")}),
        ("tasks:leaves", {"code": 3}),
        ("tasks:no_such", {}),
        ("no_such:task", {}),
    ]
    jobs = [Job.of(task, **given) for task, given in begun]
    environment = dict(os.environ)
    square, noisy, nothing, *failed = found = results(executor, jobs, tmp_path)
    assert [one.job for one in found] == jobs
    assert square.rows == [{"x": 4, "square": 16, "half": 2.0}, {"x": 4, "name": "number 4"}]
    assert (tmp_path / jobs[0].key / "left.txt").exists()
    assert noisy.rows == [{"read": "", "long": "y" * 300_000}]
    assert (nothing.rows, nothing.error) == ([], "")
    assert nothing.environment["torch"]
    assert [one.rows for one in failed] == [[]] * 7
    assert [one.reason for one in failed] == [
        "TypeError: a row holds numbers, texts and truth values; 'value' is: ndarray",
        "TypeError: tasks:returns must return a list of rows, [] where there are none; got: "
        "NoneType",
        "TypeError: a row must be a dictionary; one is: str",
        "RuntimeError: not yet",
        "SystemExit: 3",
        "AttributeError: module 'tasks' has no attribute 'no_such'",
        "ModuleNotFoundError: No module named 'no_such'",
    ]
    assert dict(os.environ) == environment


def test_a_worker_that_dies_is_replaced_and_its_job_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 2)  # each takes seconds
    jobs = [Job.of("tasks:dies", times=1), Job.of("tasks:dies", times=2), *squares(1)]
    once, always, after = results(Processes(1), jobs, tmp_path)
    assert once.rows == [{"died": 1}]
    assert always.error == "The worker died 2 times (exit code -9); is there enough memory?"
    assert always.rows == []
    assert after.rows[0]["square"] == 0


def test_two_workers_work_at_once_and_end_with_the_block(tmp_path):
    pool = Processes(2)
    with pool:
        for job in squares(2, seconds=60):
            (tmp_path / job.key).mkdir()
            pool.submit(job, tmp_path / job.key)
        while len(list(tmp_path.glob("*/begun.txt"))) < 2:
            time.sleep(0.05)
        assert pool.next(0.1) is None
        alive = multiprocessing.active_children()
        assert len(alive) == 2
        alive[0].kill()
        assert pool.next(60) is None
        assert len(multiprocessing.active_children()) == 2  # another began in its place
    assert multiprocessing.active_children() == []


def test_a_worker_that_died_while_it_was_idle_is_replaced(tmp_path):
    with Processes(1) as pool:
        for job in squares(2):
            (tmp_path / job.key).mkdir()
            pool.submit(job, tmp_path / job.key)
            while (result := pool.next(60)) is None:
                pass
            assert result.rows[0]["square"] == job.arguments["x"] ** 2
            for process in multiprocessing.active_children():
                process.kill()
                process.join()


@pytest.mark.parametrize(("workers", "share"), [(2, 2), (8, 1)])
def test_workers_share_out_the_threads(workers, share, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    (result,) = results(Processes(workers), [Job.of("tasks:threads")], tmp_path)
    assert result.rows == [{"threads": share}]


def test_a_script_that_runs_jobs_at_its_top_level_runs_once(tmp_path):
    """A worker imports from where it does, not from the current folder; it prints nothing to it."""
    script = tmp_path / "script" / "sweep.py"
    script.parent.mkdir()
    script.write_text(
        "from tasks import squares\n"
        "from graph_metamers.jobs import Job, Processes, Store, run\n"
        "jobs = [*squares(2), Job.of('tasks:noisy', lines=1)]\n"
        "print([len(one.rows) for one in run(jobs, Store('store'), Processes(2))])\n"
    )
    (tmp_path / "signal.py").write_text("raise ImportError('not the one')")
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[2, 2, 1]\n", 0), done.stderr


@pytest.mark.parametrize("workers", [0, -1, True])
def test_a_number_of_workers_that_is_none_is_told(workers):
    with pytest.raises(InputError, match="workers must be a whole number of at least 1; got"):
        local(workers)
    assert (type(local(1)), type(local(3)), local(3).slots) == (Inline, Processes, 3)


@pytest.mark.parametrize("device", ["cuda:99", "of another kind", 3])
def test_a_jobs_device_may_be_whatever_it_likes(device, tmp_path):
    """An argument of that name is noted where it is a device here, and stops nothing."""
    (result,) = results(Inline(), [Job.of("tasks:anything", device=device)], tmp_path)
    assert result.error == ""
    assert result.environment["device"] == str(device)
