"""Where the command line begins: what may be stopped at any time, also while it is imported."""

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line.

    Ctrl-C ends it with exit code 130, and an output that is closed or full with 2. A terminal that
    lacks a character shows its number.
    """
    signal.signal(signal.SIGINT, _stop)
    os.environ["MPLBACKEND"] = "agg"  # pictures go into files
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # pyright: ignore[reportUnnecessaryComparison]  # it may be closed
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]
    try:
        from graph_metamers.cli import main as run

        run()
        sys.stdout.flush()
    except OSError as error:
        sys.stdout = None  # else Python tries again, and fails, at its end
        print(f"Error: the output cannot be written ({error.strerror}).", file=sys.stderr)
        sys.exit(2)


def _stop(number: int, frame: FrameType | None) -> None:
    print("Stopped.", file=sys.stderr)
    sys.exit(130)
