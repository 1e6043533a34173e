"""A grid is brought to its end from wherever it stands, by one process or several."""

import io
import os
import signal
import sys
import threading
import time
from collections import Counter

import pytest
from sweep import begin, until
from tasks import squares

from graph_metamers.jobs import Inline, Job, Processes, Result, Store, progress, run


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def waiting(store: Store) -> list[str]:
    return sorted(path.name for path in (store.folder / "work").iterdir())


def test_all_are_done_in_their_order_and_none_twice(store, tmp_path):
    log, told = tmp_path / "log", []
    jobs = squares(4, log=str(log))
    (store.work(jobs[0]) / "search.checkpoint").write_text("half way")
    run(jobs[2:3], store, Inline())
    found = run([*jobs, jobs[0], *jobs], store, Inline(), told=lambda *given: told.append(given))
    assert [one.job for one in found] == jobs
    assert [one.rows[0]["square"] for one in found] == [0, 1, 4, 9]
    assert told == [(1, jobs, None), (2, jobs, found[0]), (3, jobs, found[1]), (4, jobs, found[3])]
    assert run(jobs, Store(store.folder), Inline()) == found
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3"]
    assert waiting(store) == []
    assert (store.left(jobs[0]) / "search.checkpoint").read_text() == "half way"
    assert run([], store, Inline()) == []


def test_a_job_that_fails_holds_nothing_up_and_is_tried_again(store, tmp_path):
    well = tmp_path / "well"
    failing = Job.of("tasks:fails", until=str(well))
    jobs = [failing, *squares(2)]
    first, *others = run(jobs, store, Inline())
    assert first.job == failing
    assert first.error.endswith("RuntimeError: not yet\n")
    assert [one.error for one in others] == ["", ""]
    assert Store(store.folder).failure(failing) == first
    assert store.get(failing) is None
    well.touch()
    assert run(jobs, store, Inline())[0].rows == [{"well": True}]
    assert store.failure(failing) is None
    assert list((store.folder / "failed").iterdir()) == []
    assert waiting(store) == []


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
    assert len(store.results()) == 1
    assert len(run(jobs, store, Inline())) == 4
    assert waiting(store) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_several_processes_share_a_store(store, tmp_path, workers):
    log = tmp_path / "log"
    jobs = squares(30, log=str(log), seconds=0.02)
    sweeps = [begin(store, jobs, workers) for _ in range(2)]
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
    one = begin(store, jobs, 1)
    until(lambda: list((store.folder / "done").iterdir()) != [])
    os.kill(one.pid, signal.SIGINT)
    one.join(60)
    assert one.exitcode == 1  # what multiprocessing makes of a KeyboardInterrupt
    one.close()
    assert 1 <= len(store.results()) < 6
    assert len(run(jobs, Store(store.folder), Inline())) == 6
    assert waiting(store) == []
    # The one that was under way may have been near its end.
    assert sum(Counter(log.read_text().split()).values()) in (6, 7)


# ------------------------------------------------------------------------------------ progress


def test_progress_is_a_line_a_job_where_there_is_no_terminal(store, capsys, tmp_path):
    jobs = [*squares(1, seconds=0.01), Job.of("tasks:fails", until=str(tmp_path / "no"))]
    with progress("Squares") as told:
        run(jobs, store, Inline(), told=told)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Squares: 2 runs, 0 of them are there"
    assert lines[1] == "1/2 seconds=0.01, x=0: 0 s"
    assert lines[2] == f"2/2 until={tmp_path / 'no'}: RuntimeError: not yet"


def test_progress_is_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    monkeypatch.setattr(sys, "stderr", shown := io.StringIO())
    with progress("Squares") as told:
        told(1, squares(3), None)
    assert "Squares" in shown.getvalue()
    assert "1/3" in shown.getvalue()


def test_progress_can_be_silent(store, capsys):
    with progress("Squares", shown=False) as told:
        run(squares(1), store, Inline(), told=told)
    assert capsys.readouterr().err == ""
