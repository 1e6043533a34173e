"""Units: sums, means and places by graph, against loops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graph_metamers.units import Units, place_within


@settings(deadline=None, max_examples=50)
@given(graph=st.lists(st.integers(0, 4), max_size=30), seed=st.integers(0, 999))
def test_by_graph_as_by_a_loop(graph, seed):
    units = Units("node", "", torch.tensor(graph, dtype=torch.long), 5)
    values = torch.randn(len(graph), 3, generator=torch.Generator().manual_seed(seed)).double()
    of = [[row for row, own in enumerate(graph) if own == g] for g in range(5)]
    assert len(units) == len(graph)
    assert units.counts.tolist() == [len(rows) for rows in of]
    total = [float(values[rows].sum()) for rows in of]
    assert units.total(values).tolist() == pytest.approx(total, abs=1e-12)
    mean = [float(values[rows, 0].mean()) for rows in of]
    assert units.mean(values[:, 0]).tolist() == pytest.approx(mean, nan_ok=True)
    places = place_within(units.graph, 5).tolist()
    assert places == [graph[:row].count(own) for row, own in enumerate(graph)]
    assert units.of(units.graph > 2).graph.tolist() == [g for g in graph if g > 2]


def test_one_graph_sums_everything():
    units = Units("edge", "a-to-b", torch.zeros(3, dtype=torch.long), 1)
    assert units.total(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])).tolist() == [21]
    assert units.noun == "a-to-b edges"
