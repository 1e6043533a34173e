"""A grid is brought to its end from wherever it stands, by one process or several."""

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter

import pytest
from sweep import sweep
from tasks import squares

from graph_metamers.jobs import Inline, Job, Processes, Result, Store, run
from graph_metamers.jobs.run import _Pace, progress


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def waiting(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / "work").iterdir())


def test_all_are_done_in_their_order_and_none_twice(store, tmp_path):
    log, told = tmp_path / "log", []
    jobs = squares(4, log=str(log))
    run(jobs[2:3], store, Inline())
    found = run([*jobs, jobs[0], *jobs], store, Inline(), told=lambda *given: told.append(given))
    assert [one.job for one in found] == jobs
    assert [one.rows[0]["square"] for one in found] == [0, 1, 4, 9]
    assert told == [(1, jobs, None), (2, jobs, found[0]), (3, jobs, found[1]), (4, jobs, found[3])]
    assert run(jobs, Store(store.folder), Inline()) == found
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3"]
    assert waiting(store) == []
    assert run([], store, Inline()) == []


def test_processes_give_the_same_rows(store, tmp_path):
    here = run(squares(5), store, Inline())
    there = run(squares(5), Store(tmp_path / "other"), Processes(2))
    assert [one.rows for one in there] == [one.rows for one in here]


def test_a_job_that_fails_holds_nothing_up_and_is_tried_again(store, tmp_path):
    well = tmp_path / "well"
    failing = Job.of("tasks:fails", until=str(well))
    jobs = [failing, *squares(2)]
    first, *others = run(jobs, store, Inline())
    assert first.job == failing
    assert first.error.endswith("RuntimeError: not yet\n")
    assert [one.error for one in others] == ["", ""]
    assert store.failure(failing) == first
    assert store.get(failing) is None
    well.touch()
    assert run(jobs, store, Inline())[0].rows == [{"well": True}]
    assert store.failure(failing) is None
    assert list((store.folder / "failed").iterdir()) == []
    assert waiting(store) == []


def test_what_it_left_on_the_way_is_there_again(store):
    job = Job.of("tasks:plain", rows=[])
    (store.work(job) / "search.checkpoint").write_text("half way")
    run([job], store, Inline())
    assert (store.left(job) / "search.checkpoint").read_text() == "half way"


def test_a_job_that_another_is_at_is_waited_for(store):
    first, second = squares(2)
    claimed, done = threading.Event(), []

    def other() -> None:
        with Store(store.folder).claim(first) as mine:
            assert mine
            claimed.set()
            time.sleep(0.8)
            done.append(len(list((store.folder / "done").iterdir())))

    thread = threading.Thread(target=other)
    thread.start()
    claimed.wait()
    found = run([first, second], store, Inline())
    thread.join()
    assert done == [1]  # the second did not wait
    assert [one.rows[0]["square"] for one in found] == [0, 1]


def test_what_another_has_done_meanwhile_is_told(store):
    first, second = squares(2)
    told = []

    def listen(done, jobs, result) -> None:
        told.append((done, result and result.job))
        if result is None:
            store.put(Result(second, [{"square": 1}], 1.0, {}))  # as another process would

    found = run([first, second], store, Inline(), told=listen)
    assert told == [(0, None), (1, first), (2, second)]
    assert [one.rows[0]["square"] for one in found] == [0, 1]


def test_an_interrupt_frees_all(store):
    def interrupt(done, jobs, result) -> None:
        if result is not None:
            raise KeyboardInterrupt

    jobs = squares(4)
    with pytest.raises(KeyboardInterrupt):
        run(jobs, store, Processes(2), told=interrupt)
    assert not [name for name in waiting(store) if name.endswith(".lock")]
    assert len(store.results()) == 1
    assert len(run(jobs, store, Inline())) == 4
    assert waiting(store) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_several_processes_share_a_store(store, tmp_path, workers):
    log = tmp_path / "log"
    jobs = squares(30, log=str(log), seconds=0.02)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["graph_metamers.jobs"])
    given = [(job.task, job.arguments) for job in jobs]
    sweeps = [
        context.Process(target=sweep, args=(str(store.folder), workers, given)) for _ in range(2)
    ]
    for one in sweeps:
        one.start()
    for one in sweeps:
        one.join(120)
        assert one.exitcode == 0
        one.close()
    assert Counter(log.read_text().split()) == {str(x): 1 for x in range(30)}
    assert [one.rows[0]["square"] for one in store.results(jobs)] == [x * x for x in range(30)]
    assert waiting(store) == []
    assert list((store.folder / "failed").iterdir()) == []


def test_ctrl_c_ends_a_sweep_cleanly_and_the_same_call_goes_on(store, tmp_path):
    log = tmp_path / "log"
    jobs = squares(6, log=str(log), seconds=0.3)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["graph_metamers.jobs"])
    given = [(job.task, job.arguments) for job in jobs]
    one = context.Process(target=sweep, args=(str(store.folder), 1, given))
    one.start()
    until(lambda: list((store.folder / "done").iterdir()) != [])
    os.kill(one.pid, signal.SIGINT)
    one.join(60)
    assert one.exitcode == 1  # what multiprocessing makes of a KeyboardInterrupt
    one.close()
    assert not [name for name in waiting(store) if name.endswith(".lock")]
    assert 1 <= len(store.results()) < 6
    assert len(run(jobs, Store(store.folder), Inline())) == 6
    # The one that was under way may have been near its end.
    assert sum(Counter(log.read_text().split()).values()) in (6, 7)


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


# ------------------------------------------------------------------------------------ progress


def test_progress_is_a_line_a_job_where_there_is_no_terminal(store, capsys, tmp_path):
    jobs = [*squares(1, seconds=0.01), Job.of("tasks:fails", until=str(tmp_path / "no"))]
    with progress("Squares") as told:
        run(jobs, store, Inline(), told=told)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Squares: 2 runs, 0 of them are there"
    assert lines[1].startswith("1/2 seconds=0.01, x=0: 0 s, about ")
    assert lines[2] == f"2/2 until={tmp_path / 'no'}: RuntimeError: not yet"


def test_progress_is_a_bar_from_the_beginning_on_a_terminal(monkeypatch):
    """And the time left goes down between two jobs."""
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    now, jobs = [0.0], squares(3)
    monkeypatch.setattr(sys.modules[_Pace.__module__].time, "monotonic", lambda: now[0])
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with progress("Squares") as told:
        told(1, jobs, None)
        pace = _Pace()
        pace.note(1, 4)
        now[0] = 60.0
        pace.note(2, 4)
        assert str(pace) == "about 2 min left"
        now[0] = 130.0
        assert str(pace) == "about 50 s left"
        now[0] = 500.0
        assert str(pace) == "about 0 s left"
        pace.note(4, 4)
        assert str(pace) == ""
    assert "Squares" in shown.getvalue()
    assert "1/3" in shown.getvalue()


def test_progress_can_be_silent(store, capsys):
    with progress("Squares", shown=False) as told:
        run(squares(1), store, Inline(), told=told)
    assert capsys.readouterr().err == ""
