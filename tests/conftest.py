"""Shapes in signatures are checked while the tests run."""

import importlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook


def with_shapes() -> list[str]:
    """The modules with a shape in a signature; in others a check of each call finds no more than
    pyright does."""
    source = Path(__file__).parent.parent / "src"
    paths = [path for path in source.rglob("*.py") if "from jaxtyping import" in path.read_text()]
    return [".".join(path.relative_to(source).with_suffix("").parts) for path in paths]


with install_import_hook(with_shapes(), "beartype.beartype"):
    import graph_metamers as gm

    for name in with_shapes():  # each is imported when it is first used
        importlib.import_module(name)

torch.set_num_threads(1)  # the workers of pytest-xdist share the cores


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache; the worker's tests share one."""
    cache = Path(tmp_path_factory.getbasetemp()) / "cache"
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(cache))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real datasets; tests that need it are skipped where there is none."""
    folder = os.environ.get("GRAPH_METAMERS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GRAPH_METAMERS_DATA names no folder with the real datasets")
    return Path(folder)


@pytest.fixture(scope="session")
def small() -> "gm.datasets.Data":
    """A graph on which everything takes milliseconds: 60 nodes, 40 binary features."""
    return gm.datasets.csbm(nodes=60, features=40, density=0.1)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; tests that need it are skipped where there is none."""
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if program is None:
        pytest.skip("no Chromium on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as p:
        one = p.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield one
        one.close()
