"""On a Ray cluster the same grid, store and rows; also when a machine of it goes away."""

import os
import re
import sys
import threading
import time

import pytest

pytest.importorskip("ray")

from tasks import searches, squares

from graph_metamers.errors import InputError
from graph_metamers.jobs import Inline, Job, Ray, Store, run
from graph_metamers.jobs import ray as module

pytestmark = [
    # Ray 2.60 leaves open its log files, sockets and subprocesses, which Python finds much later.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # It tells of its own coming defaults, and uses what others deprecate.
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_one_machine_gives_the_same_rows_and_errors(store, tmp_path):
    jobs = [*squares(3), Job.of("tasks:fails", until=str(tmp_path / "no"))]
    executor = Ray(cpus=os.cpu_count() or 1)  # one job at a time, to wait for one worker only
    assert executor.slots == 2  # and one that waits
    found = run(jobs, store, executor)
    here = run(jobs, Store(tmp_path / "here"), Inline())
    assert [one.rows for one in found] == [one.rows for one in here]
    assert [bool(one.error) for one in found] == [False, False, False, True]
    assert found[3].error.endswith("RuntimeError: not yet\n")
    assert (store.left(jobs[0]) / "left.txt").exists()
    assert not module.needed("ray", "ray").is_initialized()


def test_a_node_that_does_not_see_the_store_is_told(tmp_path):
    result = module._attempt(squares(1)[0], str(tmp_path / "not here"), 1, [])
    assert re.search(r"not here' must be seen by every node; .* does not", result.reason)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto", "a:b", "nonsense"])
def test_an_address_that_is_no_cluster_is_told(address):
    with pytest.raises(InputError, match=rf"address='{address}' is not a Ray cluster that can be"):
        Ray(address)


def test_a_cluster_of_other_versions_is_told(monkeypatch):
    def mismatch(*_: object, **__: object) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with: Ray: 1.0")

    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "init", mismatch)
    with pytest.raises(InputError, match=r"can be reached \(Version mismatch: .*same versions"):
        Ray()


def test_without_ray_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs ray\. Install it: pip install 'graph-metamers"):
        Ray()


@pytest.mark.slow
@pytest.mark.parametrize("loses_a_node", [False, True])
def test_a_cluster_gives_the_same_rows_also_when_a_node_goes(
    store, tmp_path, monkeypatch, loses_a_node
):
    from ray.cluster_utils import Cluster

    jobs = searches()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ended: list[int] = []

    def lose() -> None:
        while len(list((store.folder / "done").iterdir())) < 3:
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        ended.append(len(list((store.folder / "done").iterdir())))

    try:
        cluster.wait_for_nodes()
        executor = Ray(cluster.address)
        assert executor.slots == 4
        thread = threading.Thread(target=lose) if loses_a_node else None
        if thread is not None:
            thread.start()
        found = run(jobs, store, executor)
        if thread is not None:
            thread.join()
            assert ended[0] < 40
    finally:
        cluster.shutdown()
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", os.fspath(tmp_path / "cache"))  # all trained anew
    here = run(jobs, Store(tmp_path / "here"), Inline())
    assert [(one.rows, one.error) for one in found] == [(one.rows, "") for one in here]
    assert len(found) == 40
