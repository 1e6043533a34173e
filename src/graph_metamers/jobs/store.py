"""A folder of results that survives anything, and that several processes may share."""

import json
import os
import shutil
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from graph_metamers.errors import InputError, needed
from graph_metamers.jobs.job import Job, Result, Row
from graph_metamers.storage import (
    make_folder,
    one_at_a_time,
    read_json,
    replacing,
    write_json,
    writing,
)


class Store:
    """Results by the key of their job.

        FOLDER/done/KEY/         a job that is done: result.json, and what it left
        FOLDER/failed/KEY.json   why it failed when it was last tried
        FOLDER/work/KEY/         of a job that is not done, what it needs to go on after a stop
        FOLDER/index.parquet     all results in one table, written on demand

    A finished job's folder is moved to its place whole. What stands in the index counts as done
    also where there is no folder, so that the index alone is enough to go on from. A job that is
    under way is locked, by a lock that ends with its process: a second process on the same store
    takes other jobs.

    Args:
        folder: The folder; made where it is not there yet.

    Raises:
        InputError: The folder cannot be made or written to, or its index cannot be read.

    Example:
        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp())
        >>> job = Job.of("mine:square", x=3)
        >>> store.put(Result(job, [{"square": 9}], 0.1, {}))
        >>> store.get(job).rows
        [{'square': 9}]
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        for name in ("done", "failed", "work"):
            make_folder(self.folder / name)
        self._known = self._read_index()

    def get(self, job: Job) -> Result | None:
        """The result of a job that is done, None of any other."""
        path = self.left(job) / "result.json"
        if job.key not in self._known and path.exists():
            self._known[job.key] = _read(path)
        return self._known.get(job.key)

    def left(self, job: Job) -> Path:
        """The folder of a job that is done, with what it left besides its rows."""
        return self.folder / "done" / job.key

    def failure(self, job: Job) -> Result | None:
        """What became of a job that failed when it was last tried and is not done."""
        path = self._failed(job)
        return _read(path) if path.exists() and self.get(job) is None else None

    def put(self, result: Result) -> None:
        """Keep a result. One that is kept already stays: a figure never changes."""
        job = result.job
        if result.error:
            write_json(self._failed(job), asdict(result), checked=True)
            return
        if self.get(job) is None:
            work = self.work(job)
            for part in work.rglob(".*.part"):  # half a file, of one that was killed
                part.unlink(missing_ok=True)
            write_json(work / "result.json", asdict(result), checked=True)
            if not (self.left(job) / "result.json").exists():  # else it is another's, and whole
                shutil.rmtree(self.left(job), ignore_errors=True)  # somebody reached into it
                with writing(self.left(job)):
                    os.rename(work, self.left(job))
        self._failed(job).unlink(missing_ok=True)
        shutil.rmtree(self._work(job), ignore_errors=True)

    def work(self, job: Job) -> Path:
        """The folder in which a job may keep what it needs to go on after a stop."""
        make_folder(self._work(job))
        return self._work(job)

    @contextmanager
    def claim(self, job: Job) -> Generator[bool]:
        """Whether the job is this process's to do, until the end of the block."""
        path = self.folder / "work" / f"{job.key}.lock"
        lock = FileLock(path)
        with writing(path), suppress(Timeout):
            lock.acquire(blocking=False)
        mine = lock.is_locked
        try:
            yield mine
        finally:
            lock.release()
            # Nobody begins a job that is done, whoever holds the file that is gone.
            if mine and self.left(job).exists():
                path.unlink(missing_ok=True)

    def results(self, jobs: Iterable[Job] | None = None) -> list[Result]:
        """The results of those of the jobs that are done, in their order; by default of all."""
        if jobs is not None:
            return [result for result in map(self.get, jobs) if result is not None]
        for path in (self.folder / "done").glob("*/result.json"):
            if path.parent.name not in self._known:
                self._known[path.parent.name] = _read(path)
        return [result for _, result in sorted(self._known.items())]

    def write_index(self) -> Path:
        """Write all results as one table, a line a row, and say where.

        Columns: `key`, `task`, `settings` (JSON), `number` (of the row in its job), `seconds`,
        `environment` (JSON), and `row.NAME` for each name in the rows. A job without rows has one
        line, without a number.

        Raises:
            InputError: pyarrow is missing, the place cannot be written to, or a name stands for
                numbers in one row and for texts in another.
        """
        path = self.folder / "index.parquet"
        with one_at_a_time(path):  # so that the last one has all that the others have
            self._known = self._read_index() | self._known
            lines = [
                {
                    "key": result.job.key,
                    "task": result.job.task,
                    "settings": result.job.settings,
                    "number": number,
                    "seconds": result.seconds,
                    "environment": json.dumps(result.environment, sort_keys=True),
                    **{f"row.{name}": value for name, value in row.items()},
                }
                for result in self.results()
                for number, row in list(enumerate(result.rows)) or [(None, dict[str, Any]())]
            ]
            write_table(path, lines)
        return path

    def _read_index(self) -> dict[str, Result]:
        path = self.folder / "index.parquet"
        found: dict[str, Result] = {}
        try:
            for line in read_table(path) if path.exists() else []:
                job = Job(line["task"], line["settings"])
                made = json.loads(line["environment"])
                result = found.setdefault(job.key, Result(job, [], line["seconds"], made))
                if line["number"] is not None:
                    cells = {k[4:]: v for k, v in line.items() if k.startswith("row.")}
                    result.rows.append({k: v for k, v in cells.items() if v is not None})
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise InputError(
                f"'{path}' must be the index of a store; a line of it cannot be read ({error!r}). "
                "Remove it, or copy it anew."
            ) from error
        return found

    def _work(self, job: Job) -> Path:
        return self.folder / "work" / job.key

    def _failed(self, job: Job) -> Path:
        return self.folder / "failed" / f"{job.key}.json"


def _read(path: Path) -> Result:
    try:
        state = read_json(path, checked=True)
        return Result(**state | {"job": Job(**state["job"])})
    except (InputError, TypeError, KeyError) as error:
        raise InputError(
            f"'{path}' must be the result of a job; it cannot be read. "
            "Remove it, and the job is done anew."
        ) from error


def write_table(path: Path, lines: list[Row]) -> None:
    """Write a parquet file with a line for each dictionary, whole or not at all.

    Raises:
        InputError: A column holds numbers and texts, it cannot be written, or pyarrow is missing.
    """
    pyarrow, parquet = needed("pyarrow", "paper"), needed("pyarrow.parquet", "paper")
    columns = dict[str, Any]()
    for name in dict.fromkeys(name for line in lines for name in line):
        try:
            columns[name] = pyarrow.array([line.get(name) for line in lines])
        except (pyarrow.ArrowException, OverflowError) as error:
            raise InputError(
                f"The column '{name}' of '{path}' must hold values of one kind ({error}). "
                "Give the other kind another name."
            ) from error
    with replacing(path) as beside:
        parquet.write_table(pyarrow.table(columns), beside, write_page_checksum=True)


def read_table(path: Path) -> list[Row]:
    """Read a parquet file; what is missing in a line is None.

    Raises:
        InputError: It is no parquet file, or pyarrow is missing.
    """
    pyarrow, parquet = needed("pyarrow", "paper"), needed("pyarrow.parquet", "paper")
    try:
        return parquet.read_table(path, page_checksum_verification=True).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(
            f"'{path}' must be a parquet file; it cannot be read. Remove it, or copy it anew."
        ) from error
