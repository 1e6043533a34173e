"""run(): bring a grid of jobs to its end, from wherever it stands."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager

from graph_metamers.jobs.executor import Executor
from graph_metamers.jobs.job import Job, Result, told_apart
from graph_metamers.jobs.store import Store

POLL_SECONDS = 0.5

# What is called with the number of jobs that are done, all jobs, and the result of the one that has
# just ended, here or in another process; at the beginning without a result.
Told = Callable[[int, Sequence[Job], Result | None], None]


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
    found = {job: result for job in jobs if (result := store.get(job)) is not None}
    waiting = deque(job for job in jobs if job not in found)
    claims: dict[Job, ExitStack] = {}

    def ended(result: Result) -> None:
        found[result.job] = result
        if told is not None:
            told(len(found), jobs, result)

    if told is not None:
        told(len(found), jobs, None)
    # The executor's jobs end before their claims do, so that nobody begins one that still runs.
    with ExitStack() as at_last, executor:
        at_last.callback(lambda: [claim.close() for claim in claims.values()])
        while waiting or claims:
            elsewhere: list[Job] = []
            while waiting and len(claims) < executor.slots:
                job = waiting.popleft()
                with ExitStack() as claim:
                    mine = claim.enter_context(store.claim(job))
                    result = store.get(job)
                    if result is not None:  # another process has done it
                        ended(result)
                    elif mine:
                        claims[job] = claim.pop_all()
                        executor.submit(job, store.work(job))
                    else:
                        elsewhere.append(job)
            waiting.extend(elsewhere)
            if claims:
                result = executor.next(POLL_SECONDS if elsewhere else None)
                if result is not None:
                    store.put(result)
                    claims.pop(result.job).close()
                    ended(result)
            elif elsewhere:
                time.sleep(POLL_SECONDS)
    return [found[job] for job in jobs]


@contextmanager
def progress(title: str, *, shown: bool = True) -> Generator[Told]:
    """What to hand to `run` as `told`: a bar with the time left on a terminal, lines elsewhere.

    Args:
        title: What stands before it.
        shown: Whether anything is shown at all.
    """
    # Imported here: rich is not needed by those who never see a bar.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True, soft_wrap=True, quiet=not shown)
    drawn = shown and console.is_terminal
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        task = bar.add_task(title, total=None)
        names: dict[Job, str] = {}

        def told(done: int, jobs: Sequence[Job], result: Result | None) -> None:
            bar.update(task, completed=done, total=len(jobs))
            line = f"{title}: {len(jobs)} runs, {done} of them are there"
            if result is None:
                names.update(told_apart(jobs))
            else:
                ended = result.reason or f"{result.seconds:.0f} s"
                line = f"{done}/{len(jobs)} {names[result.job]}: {ended}"
            if not drawn or (result is not None and result.error):
                console.print(line, markup=False, highlight=False)

        yield told
