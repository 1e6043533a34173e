"""Problems to be searched."""

from collections.abc import Iterator

import pytest
from search_cases import Poser

from graph_metamers.search import run


@pytest.fixture
def pose() -> Iterator[Poser]:
    poser = Poser()
    yield poser
    poser.close()


@pytest.fixture
def always_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
