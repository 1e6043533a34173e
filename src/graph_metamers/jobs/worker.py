"""A worker process: a job a line comes in, its outcome goes out, until the other end is closed."""

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

from graph_metamers.jobs.executor import attempt
from graph_metamers.jobs.job import Job


def main() -> None:
    """Serve the process that started this one, and end with it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a job prints is no answer
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    while True:
        given = asked.get()
        outcome = attempt(Job(given["task"], given["settings"]), Path(given["work"]))
        told = {name: value for name, value in vars(outcome).items() if name != "job"}
        print(json.dumps(told), file=answers, flush=True)


def _listen(asked: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)  # the other end is closed: it has ended, or wants this to end


if __name__ == "__main__":
    main()
