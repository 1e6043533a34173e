"""A store keeps what it was given, whole, whoever looks and whatever happened before."""

import errno
import json
import os
import shutil
import sys
from math import inf

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tasks import squares

from graph_metamers.errors import InputError
from graph_metamers.jobs import Inline, Job, Result, Store, run
from graph_metamers.jobs.store import write_table

JOB = Job.of("tasks:square", x=3)


def result(job: Job = JOB, *, error: str = "") -> Result:
    return Result(job, [] if error else [{"square": 9}], 0.5, {"torch": "2"}, error)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_what_is_put_is_found_also_by_others(store):
    assert store.get(JOB) is None
    store.put(result())
    for one in (store, Store(store.folder)):
        assert one.get(JOB) == result()
        assert one.results() == one.results([squares(1)[0], JOB]) == [result()]
    store.put(Result(JOB, [{"square": 10}], 1.0, {}))  # what is kept stays
    Store(store.folder).put(Result(JOB, [{"square": 11}], 1.0, {}))
    assert Store(store.folder).get(JOB) == result()
    assert list((store.folder / "work").iterdir()) == []


def test_what_a_job_leaves_is_kept_and_no_half_file(store):
    (store.work(JOB) / "deeper").mkdir()
    (store.work(JOB) / "deeper" / "metamer.pt").write_text("whole")
    (store.work(JOB) / "deeper" / ".metamer.pt.77.part").write_text("ha")
    (store.work(JOB) / ".result.json.77.part").write_text("{")
    store.put(result())
    left = [p.relative_to(store.left(JOB)) for p in store.left(JOB).rglob("*") if p.is_file()]
    assert sorted(map(str, left)) == ["deeper/metamer.pt", "result.json"]


def test_a_stop_between_result_and_renaming_is_no_end(store):
    put = json.dumps({"job": vars(JOB), "rows": [], "seconds": 0, "environment": {}, "error": ""})
    (store.work(JOB) / "result.json").write_text(put)
    assert Store(store.folder).get(JOB) is None
    store.put(result())
    assert Store(store.folder).get(JOB) == result()


def test_a_stop_between_renaming_and_tidying_is_an_end(store):
    store.put(result(error="RuntimeError: no"))
    kept = (store.folder / "failed" / f"{JOB.key}.json").read_text()
    store.put(result())
    (store.folder / "failed" / f"{JOB.key}.json").write_text(kept)
    (store.folder / "work" / f"{JOB.key}.lock").touch()
    assert store.failure(JOB) is None
    assert run([JOB], store, Inline()) == [result()]


def test_the_reason_is_the_last_line_and_of_ours_the_sentence():
    told = "Traceback (most recent call last):\n  ...\n"
    assert result().reason == ""
    assert result(error=f"{told}KeyError: 'x'\n").reason == "KeyError: 'x'"
    ours = f"{told}graph_metamers.errors.InputError: No such graph.\n"
    assert result(error=ours).reason == "No such graph."


def test_a_done_folder_without_its_result_is_made_anew(store):
    store.put(result())
    (store.left(JOB) / "result.json").unlink()
    (store.left(JOB) / "other.txt").touch()
    again = Store(store.folder)
    again.put(result())
    assert Store(store.folder).get(JOB) == result()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"job": {"task": "a:b"}}', "null"])
def test_a_result_that_cannot_be_read_is_told(content, store):
    store.put(result())
    (store.left(JOB) / "result.json").write_text(content)
    with pytest.raises(InputError, match=r"result\.json' must be the result of a job; .*done anew"):
        Store(store.folder).get(JOB)


# ------------------------------------------------------------------------------------ claims


def test_a_claim_holds_off_others_until_it_ends(store):
    other = Store(store.folder)
    with store.claim(JOB) as mine, other.claim(JOB) as theirs, other.claim(squares(1)[0]) as free:
        assert (mine, theirs, free) == (True, False, True)
        with store.claim(JOB) as again:  # one that was refused has taken nothing away
            assert not again
    with other.claim(JOB) as theirs:
        assert theirs
        other.put(result())
    locks = [path.stem for path in (store.folder / "work").iterdir()]
    assert locks == [squares(1)[0].key]  # of a job that is not done it stays, and locks nothing
    with store.claim(squares(1)[0]) as mine:
        assert mine


def test_a_file_system_without_locks_is_told(store, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.FileLock._acquire", refuse)
    with (
        pytest.raises(InputError, match=r"\.lock' cannot be written \(No locks available\)"),
        store.claim(JOB),
    ):
        pass


# -------------------------------------------------------------------------------------- index


cell = st.none() | st.floats() | st.integers(-(2**53), 2**53)
row = st.dictionaries(st.sampled_from("abc"), cell) | st.dictionaries(
    st.sampled_from("de"), st.none() | st.text(st.characters(exclude_categories=["Cs"]))
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(row, max_size=3), max_size=4))
def test_the_index_alone_is_enough(tmp_path_factory, tables):
    store = Store(tmp_path_factory.mktemp("store"))
    jobs = [Job.of("tasks:plain", rows=[], number=n) for n in range(len(tables))]
    from graph_metamers.jobs import job as module

    for job, rows in zip(jobs, tables, strict=True):
        store.put(Result(job, [module._plain(r) for r in rows], 0.5, {"a": [1]}))
    store.write_index()
    found = store.results()
    for name in ("done", "work", "failed"):
        shutil.rmtree(store.folder / name)
    again = Store(store.folder)
    assert again.results() == found
    assert [one.rows for one in again.results(jobs)] == [
        [{k: v for k, v in r.items() if v not in (None, inf, -inf) and v == v} for r in rows]
        for rows in tables
    ]


def test_nothing_is_done_again_that_stands_in_the_index(store, tmp_path):
    log = tmp_path / "log"
    jobs = [*squares(3, log=str(log)), Job.of("tasks:nothing")]
    before = run(jobs, store, Inline())
    store.write_index()
    log.unlink()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(store.folder / "index.parquet", tmp_path / "elsewhere")
    assert run(jobs, Store(tmp_path / "elsewhere"), Inline()) == before
    assert not log.exists()


def test_an_index_loses_nothing_that_another_process_wrote(store):
    """Also where results stand in the index alone, and were not there at the start."""
    early = Store(store.folder)
    run(squares(2), store, Inline())
    store.write_index()
    for folder in (store.folder / "done").iterdir():
        shutil.rmtree(folder)
    run(squares(4)[2:], early, Inline())
    early.write_index()
    assert Store(store.folder).results() == early.results()
    assert len(early.results()) == 4


@pytest.mark.parametrize("values", [(1, "a"), ("a", 1.5), (2**70, 1)])
def test_a_column_of_two_kinds_is_told(values, store):
    for number, value in enumerate(values):
        store.put(Result(Job.of("m:f", number=number), [{"value": value}], 0.1, {}))
    with pytest.raises(InputError, match=r"column 'row\.value' of '.*index\.parquet' must hold va"):
        store.write_index()
    assert not (store.folder / "index.parquet").exists()


def test_what_is_no_index_is_told(store):
    path = store.folder / "index.parquet"
    line = {"task": "m:f", "settings": "{}", "number": None, "seconds": 0.1, "environment": "{"}
    path.write_bytes(b"PAR1 no PAR1")
    with pytest.raises(InputError, match=r"^'[^']*index\.parquet' must be a parquet file; it c"):
        Store(store.folder)
    for lines, why in (([{"a": 1}], "KeyError"), ([line], "JSONDecodeError")):
        write_table(path, lines)
        with pytest.raises(InputError, match=rf"must be the index of a store; a line .*{why}"):
            Store(store.folder)


def test_without_pyarrow_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"needs pyarrow\. Install it: pip install 'graph-metamer"):
        write_table(tmp_path / "t.parquet", [])


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(InputError, match=r"store.*done' cannot be written"):
        Store(tmp_path / "store")


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_and_leaves_the_job_to_be_done(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(InputError, match=rf"{JOB.key}' cannot be written \(No space left"):
            store.put(result())
    assert Store(store.folder).get(JOB) is None
    store.put(result())
    assert Store(store.folder).get(JOB) == result()
