"""Small tasks that the workers of the tests find by name."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graph_metamers.jobs import Job, Row
from graph_metamers.paper.grid import Options, search_job


def squares(count: int, **settings: Any) -> list[Job]:
    return [Job.of("tasks:square", x=x, **settings) for x in range(count)]


def searches() -> list[Job]:
    """40 real ones, each of a model that is trained for it or by another."""
    jobs = [
        search_job(Options(search="auto"), "csbm", model, seed, layer=layer)
        for seed in range(5)
        for model in ("gcn", "gin")
        for layer in ("layer1", "layer2")
    ]
    return [Job.of(j.task, **j.arguments | {"steps": steps}) for j in jobs for steps in (20, 60)]


def square(work: Path, *, x: int, seconds: float = 0.0, log: str = "") -> list[Row]:
    """Two rows; says in `log` that it was done, and leaves a file that is larger than a pipe."""
    (work / "begun.txt").write_text("begun")
    time.sleep(seconds)
    if log:
        with open(log, "a") as file:
            file.write(f"{x}\n")
    (work / "left.txt").write_text("x" * 100_000)
    return [
        {"x": x, "square": x * x, "half": x / 2},
        {"x": x, "name": f"number {x}", "nan": np.nan},
    ]


def anything(work: Path, *, device: Any) -> list[Row]:
    return [{"asked": str(device)}]


def returns(work: Path, *, kind: str) -> Any:
    """What is no list of rows of plain values."""
    rows = {"an array": [{"value": np.zeros(2)}], "nothing": None, "texts": ["a", "b"]}
    return rows[kind]


def threads(work: Path) -> list[Row]:
    return [{"threads": torch.get_num_threads()}]


def noisy(work: Path, *, lines: int) -> list[Row]:
    """Prints what looks like answers, asks for requests, and has a long row itself."""
    for _ in range(lines):
        print('{"rows": [{"wrong": 1}], "seconds": 0, "environment": {}, "error": ""}', flush=True)
    os.write(1, b"half a line")
    return [{"read": sys.stdin.read() if lines else "", "long": "y" * 300_000}]


def fails(work: Path, *, until: str) -> list[Row]:
    """Fails until there is such a file."""
    if not Path(until).exists():
        raise RuntimeError("not yet")
    return [{"well": True}]


def leaves(work: Path, *, code: int) -> list[Row]:
    sys.exit(code)


def dies(work: Path, *, times: int) -> list[Row]:
    """Is killed some times, which it counts in its folder, and then goes on."""
    count = work / "count.txt"
    died = int(count.read_text()) if count.exists() else 0
    if died < times:
        count.write_text(str(died + 1))
        os.kill(os.getpid(), signal.SIGKILL)
    return [{"died": died}]


def nothing(work: Path) -> list[Row]:
    return []


def plain(work: Path, *, rows: list[Row]) -> list[Row]:
    return rows
