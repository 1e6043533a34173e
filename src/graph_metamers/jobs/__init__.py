"""Many runs as plain data: a grid of jobs, a store that survives anything, and who runs them."""

from graph_metamers.jobs.executor import Executor, Inline, Processes, local
from graph_metamers.jobs.job import Job, Result, Row, told_apart
from graph_metamers.jobs.ray import Ray
from graph_metamers.jobs.run import progress, run
from graph_metamers.jobs.store import Store

__all__ = [
    "Executor",
    "Inline",
    "Job",
    "Processes",
    "Ray",
    "Result",
    "Row",
    "Store",
    "local",
    "progress",
    "run",
    "told_apart",
]
