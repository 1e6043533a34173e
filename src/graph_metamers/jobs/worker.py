"""A worker process: a job a line comes in, its result goes out, until the other end is closed."""

import json
import os
import queue
import threading
from pathlib import Path
from typing import Any, TextIO

from graph_metamers.jobs.executor import attempt
from graph_metamers.jobs.job import Job


def main() -> None:
    """Serve the process that started this one, and end with it."""
    # A job has neither line: what it prints is no answer, and what it reads no request.
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    asked: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, asked), daemon=True).start()
    while True:
        given = asked.get()
        result = attempt(Job(given["task"], given["settings"]), Path(given["work"]))
        told = {name: value for name, value in vars(result).items() if name != "job"}
        print(json.dumps(told), file=answers, flush=True)


def _listen(requests: TextIO, asked: "queue.SimpleQueue[dict[str, Any]]") -> None:
    for line in requests:
        asked.put(json.loads(line))
    os._exit(0)  # the other end is closed: it has ended, or wants this to end


if __name__ == "__main__":
    main()
