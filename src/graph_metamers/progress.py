"""Progress that appears only when something takes a while: a bar, or lines in a log."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

# (steps done, steps at most, best value so far)
Watch = Callable[[int, int, float], None]

PATIENCE_SECONDS = 2.0
REFRESH_SECONDS = 0.2


def progress_lines(*, shown: bool = True) -> Callable[[str], None]:
    """A function that prints a line to stderr, after two seconds, where no terminal has a bar."""
    from rich.console import Console

    console = Console(stderr=True, soft_wrap=True)
    drawn = console.is_terminal or console.is_jupyter
    began = time.monotonic()

    def say(line: str) -> None:
        if shown and not drawn and time.monotonic() - began >= PATIENCE_SECONDS:
            console.print(line, markup=False, highlight=False)

    return say


@contextmanager
def progress_bar(title: str, *, value: str = "error", shown: bool = True) -> Generator[Watch]:
    """A function to call after every step, which draws a bar on a terminal after two seconds."""
    # Imported here: rich is not needed by those who never see a bar.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not (shown and (console.is_terminal or console.is_jupyter)):
        yield lambda done, total, best: None
        return

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps · {task.fields[value]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(title, total=None, value=value)
    began = drawn = time.monotonic()

    def watch(done: int, total: int, best: float) -> None:
        nonlocal drawn
        now = time.monotonic()
        if now - began < PATIENCE_SECONDS or now - drawn < REFRESH_SECONDS:
            return
        drawn = now
        bar.update(task, completed=done, total=total, value=f"{value} {best:.1e}")
        if not bar.live.is_started:
            bar.start()

    try:
        yield watch
    finally:
        if bar.live.is_started:  # rich ends even a bar that was never drawn with an empty line
            bar.stop()
