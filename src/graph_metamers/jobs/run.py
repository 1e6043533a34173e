"""run(): bring a grid of jobs to its end, from wherever it stands."""

import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from graph_metamers.jobs.executor import Executor
from graph_metamers.jobs.job import Job, Result, told_apart
from graph_metamers.jobs.store import Store

POLL_SECONDS = 0.5


class Told(Protocol):
    """What is called at the beginning, without a result, and after every job, with its own.

    Jobs that another process did meanwhile are among them.
    """

    def __call__(self, done: int, jobs: Sequence[Job], result: Result | None) -> None: ...


def run(
    jobs: Iterable[Job], store: Store, executor: Executor, *, told: Told | None = None
) -> list[Result]:
    """Do all jobs that are not done yet, and return the results of all.

    Jobs that failed before are tried again. Jobs that another process is at are left to it, and
    waited for. Stopped in any way, the same call goes on.

    Args:
        jobs: The jobs; one that occurs twice is done once.
        store: Where results are kept and looked for.
        executor: Who does them.
        told: Called at the beginning and after every job.

    Returns:
        The result of each job once, in their order, those of failed jobs among them (see
        `.error`).
    """
    jobs = list(dict.fromkeys(jobs))
    waiting = deque(job for job in jobs if store.get(job) is None)
    elsewhere: deque[Job] = deque()
    claims: dict[Job, ExitStack] = {}
    ended = len(jobs) - len(waiting)
    failed: dict[Job, Result] = {}
    if told is not None:
        told(ended, jobs, None)
    # The executor's jobs end before their claims do, so that nobody begins one that still runs.
    with ExitStack() as at_last, executor:
        at_last.callback(_release, claims)
        while waiting or claims or elsewhere:
            while waiting and len(claims) < executor.slots:
                job = waiting.popleft()
                with ExitStack() as claim:
                    mine = claim.enter_context(store.claim(job))
                    result = store.get(job)
                    if result is not None:  # another process has done it
                        ended += 1
                        if told is not None:
                            told(ended, jobs, result)
                    elif not mine:
                        elsewhere.append(job)
                    else:
                        claims[job] = claim.pop_all()
                        executor.submit(job, store.work(job))
            if not claims:
                time.sleep(POLL_SECONDS if elsewhere else 0)
                waiting, elsewhere = elsewhere, waiting
                continue
            result = executor.next(None if not elsewhere else POLL_SECONDS)
            waiting.extend(elsewhere)
            elsewhere.clear()
            if result is None:
                continue
            store.put(result)
            claims.pop(result.job).close()
            ended += 1
            if result.error:
                failed[result.job] = result
            if told is not None:
                told(ended, jobs, result)
    found = [store.get(job) or failed.get(job) for job in jobs]
    return [result for result in found if result is not None]


def _release(claims: dict[Job, ExitStack]) -> None:
    for claim in claims.values():
        claim.close()


@contextmanager
def progress(title: str, *, shown: bool = True) -> Generator[Told]:
    """What to hand to `run` as `told`: a bar with the time left on a terminal, lines elsewhere.

    Args:
        title: What stands before it.
        shown: Whether anything is shown at all.
    """
    # Imported here: rich is not needed by those who never see a bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, soft_wrap=True)
    pace = _Pace()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    after = (TimeElapsedColumn(), TextColumn("{task.fields[left]}"))
    drawn = Progress(*columns, *after, console=console, transient=True, disable=not shown)

    names: dict[Job, str] = {}

    def told(done: int, jobs: Sequence[Job], result: Result | None) -> None:
        pace.note(done, len(jobs))
        if not shown:
            return
        if not names:
            names.update(told_apart(jobs))
        if console.is_terminal:
            if not drawn.live.is_started:
                drawn.start()
            drawn.update(task, completed=done, total=len(jobs))
        elif result is None:
            line = f"{title}: {len(jobs)} runs, {done} of them are there"
            console.print(line, markup=False, highlight=False)
        if result is not None and (result.error or not console.is_terminal):
            ended = result.reason if result.error else f"{result.seconds:.0f} s"
            left = f", {pace}" if str(pace) else ""
            line = f"{done}/{len(jobs)} {names[result.job]}: {ended}{left}"
            console.print(line, markup=False, highlight=False)

    task = drawn.add_task(title, total=None, left=pace)
    try:
        yield told
    finally:
        if drawn.live.is_started:
            drawn.stop()


class _Pace:
    """The time left, by the jobs that ended since this began; it is told anew whenever printed."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._began = self._last = time.monotonic()
        self._done = self._total = 0

    def note(self, done: int, total: int) -> None:
        if self._first is None:
            self._first, self._began = done, time.monotonic()
        self._done, self._total, self._last = done, total, time.monotonic()

    def __str__(self) -> str:
        here = self._done - (self._first or 0)
        if not here or self._done == self._total:
            return ""
        each = (self._last - self._began) / here
        left = each * (self._total - self._done) - (time.monotonic() - self._last)
        return f"about {_duration(max(left, 0.0))} left"


def _duration(seconds: float) -> str:
    """In words.

    >>> _duration(50), _duration(500), _duration(50_000)
    ('50 s', '8 min', '13.9 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
