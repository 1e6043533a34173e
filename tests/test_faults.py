"""Killed, on a full disk, or two at once: an audit and a sweep end with the same rows.

Each attempt is a forked process, killed after a random time; the next goes on where it was.
"""

import importlib
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_geometric.nn import GCN

import graph_metamers as gm
import graph_metamers.report
from graph_metamers.jobs import Job, Row, Store, local
from graph_metamers.jobs import run as run_jobs
from graph_metamers.storage import read_json, write_text
from helpers import seeded

SECONDS = 0.6  # an undisturbed run takes about as long
RUN = gm.Adam(lr=0.05, steps=25)
DATA = gm.datasets.csbm(nodes=60, features=40, density=0.1)


def network() -> nn.Module:
    return seeded(lambda: GCN(40, 16, num_layers=2, out_channels=3))


def audit(folder: Path) -> None:
    gm.audit(
        network(), DATA, layers=["act", "convs.1"], search=RUN, seeds=3, out=folder, progress=False
    )


def audited(folder: Path) -> Any:
    rows = read_json(folder / "audit.json", checked=True)["rows"]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


def job(work: Path, *, seed: int) -> list[Row]:
    m = gm.metamer(network(), DATA, "act", search=RUN, seed=seed, progress=False)
    return [{"fvu": m.fvu, "seed": seed}]


def sweep(folder: Path) -> None:
    jobs = [Job.of("test_faults:job", seed=seed) for seed in range(6)]
    run_jobs(jobs, Store(folder), local(1))


def swept(folder: Path) -> Any:
    results = Store(folder).results()
    return sorted((row["seed"], row["fvu"]) for result in results for row in result.rows)


KINDS = {"audit": (audit, audited), "sweep": (sweep, swept)}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The state is saved at every step, and the report is one line."""

    def line(audit: gm.Audit, path: Path) -> None:
        write_text(path, repr(audit))

    monkeypatch.setattr(graph_metamers.report, "write_report", line)
    loop = importlib.import_module("graph_metamers.search.run")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def forked(work: Callable[[], None]) -> int:
    """Begin the work in a process of its own; it ends with 0, or with 3 where a sentence told."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        code = 1
        try:
            work()
            code = 0
        except gm.InputError:
            code = 3
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("audit", 5),
        ("sweep", 3),
        pytest.param("audit", 300, marks=pytest.mark.slow),
        pytest.param("sweep", 100, marks=pytest.mark.slow),
    ],
)
def test_killed_at_random_moments(kind, kills, tmp_path):
    work, rows = KINDS[kind]
    assert ended(forked(lambda: work(tmp_path / "undisturbed"))) == 0
    expected = rows(tmp_path / "undisturbed")
    moments, killed, folder = random.Random(0), 0, 0
    while killed < kills:
        place = tmp_path / f"killed{folder}"
        child = forked(lambda place=place: work(place))
        time.sleep(moments.uniform(0, SECONDS))
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        killed += code == -signal.SIGKILL
        if code == 0:  # it was done before
            assert rows(place) == expected
            folder += 1
    assert ended(forked(lambda: work(place))) == 0
    assert rows(place) == expected
    assert not [p.name for p in place.rglob("*.part")]


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path):
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
        audit(tmp_path / "full")

    audit(tmp_path / "undisturbed")
    assert ended(forked(limited)) == 3
    assert ended(forked(lambda: audit(tmp_path / "full"))) == 0
    assert audited(tmp_path / "full") == audited(tmp_path / "undisturbed")


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_on_one_folder(kind, tmp_path):
    work, rows = KINDS[kind]
    work(tmp_path / "alone")
    children = [forked(lambda: work(tmp_path / "both")) for _ in range(2)]
    assert [ended(child) for child in children] == [0, 0]
    assert rows(tmp_path / "both") == rows(tmp_path / "alone")
