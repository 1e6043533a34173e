"""A progress bar that appears only when something takes a while."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from graph_metamers.search.base import Watch

PATIENCE_SECONDS = 2.0
REFRESH_SECONDS = 0.2


@contextmanager
def progress_bar(title: str, *, shown: bool = True) -> Generator[Watch]:
    """A function `(steps done, steps at most, best error)` that draws a bar after two seconds."""
    if not shown:
        yield lambda done, total, error: None
        return

    # Imported here: rich is not needed by those who never see a bar.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps · error {task.fields[error]:.1e}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(title, total=None, error=float("nan"))
    began = drawn = time.monotonic()

    def watch(done: int, total: int, error: float) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - began < PATIENCE_SECONDS or now - drawn < REFRESH_SECONDS:
            return
        drawn = now
        if not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total, error=error)

    try:
        yield watch
    finally:
        if bar.live.is_started:  # rich ends even a bar that was never drawn with an empty line
            bar.stop()
