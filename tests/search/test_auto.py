"""search="auto" and searches by name: what is picked, and what cannot be had."""

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

import graph_metamers as gm
from graph_metamers.search import (
    SEARCHES,
    Adam,
    Auto,
    Blocks,
    EdgeSwap,
    Exact,
    GaussNewton,
    Problem,
    Swap,
    configured,
)
from helpers import seeded, unchecked_types


def continuous(small: Data, low: float = 0.0) -> Data:
    x = torch.rand(small.x.shape, generator=torch.Generator().manual_seed(0)) + low
    return Data(x=x, edge_index=small.edge_index)


class Normed(nn.Module):
    """Reads no feature through weights alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.LayerNorm(40), GCNConv(40, 8)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(self.norm(x), edge_index)


def gcn() -> nn.Module:
    return seeded(lambda: gm.zoo.GCN(40, 3, hidden=8)).eval()


def layer_of(model: nn.Module) -> str:
    return "conv" if isinstance(model, Normed) else "layer1"


PICKED = {
    "binary": (gcn, False, None, "Swap(steps=3)"),
    "binary, not linear": (Normed, False, None, "Swap(steps=3)"),
    "learned density": (gcn, False, gm.BinaryFeatures(density="learned"), "Adam(steps=3)"),
    "margin": (gcn, False, gm.BinaryFeatures(margin=0.1), "Adam(steps=3)"),
    "continuous": (gcn, True, None, "Exact(steps=3)"),
    "continuous, not linear": (Normed, True, None, "GaussNewton(steps=3)"),
    "binary read as continuous": (gcn, False, gm.ContinuousFeatures(), "Exact(steps=3)"),
}


@pytest.mark.parametrize(("make", "real", "vary", "picked"), PICKED.values(), ids=PICKED)
def test_what_is_picked(make, real, vary, picked, small):
    model, data = seeded(make), continuous(small) if real else small
    m = gm.metamer(model, data, layer_of(model), vary=vary, search=Auto(steps=3))
    assert m.search == picked
    assert m.row()["search"] == picked
    assert m.steps <= 3


def test_a_slope_does_not_change_the_pick(small):
    m = gm.metamer(gcn(), small, "layer1", vary=gm.BinaryFeatures(slope=2.0), search=Auto(steps=2))
    assert m.search == "Swap(steps=2)"


def test_it_is_the_default(small):
    m = gm.metamer(gcn(), small, "layer1")
    assert m.search == "Swap"
    assert gm.metamer(gcn(), small, "layer1", search=Swap()).history == m.history
    assert gm.metamer(gcn(), continuous(small), "layer1").search == "Exact"


@pytest.mark.parametrize("seek", ["random", "farthest"])
def test_seek_is_passed_on(seek, small):
    m = gm.metamer(gcn(), small, "layer1", search=Auto(steps=2, seek=seek))
    assert m.search == f"Swap(steps=2, seek='{seek}')"
    m = gm.metamer(gcn(), continuous(small), "layer1", search=Auto(seek=seek))
    assert m.search == f"Exact(seek='{seek}')"


@pytest.mark.parametrize("seek", ["random", "farthest"])
@pytest.mark.parametrize("way", ["continuous, not linear", "learned density", "margin"])
def test_seek_that_cannot_be_had(seek, way, small):
    make, real, vary, _ = PICKED[way]
    model, data = make(), continuous(small) if real else small
    sentence = (
        rf"seek='{seek}' needs binary features of fixed number, or continuous ones .* Leave it out"
    )
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(model, data, layer_of(model), vary=vary, search=Auto(seek=seek))


def test_run_without_a_choice_before_is_the_same(small):
    weight = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    problem = Problem(
        data=small,
        vary=gm.BinaryFeatures(),
        targets=[small.x @ weight],
        activations=lambda g: [g.x @ weight],
        tol=1e-2,
    )
    runs = [s.run(problem, torch.Generator().manual_seed(0)) for s in (Auto(steps=4), Swap(4))]
    assert runs[0].history == runs[1].history
    assert torch.equal(runs[0].graph.x, runs[1].graph.x)


# -------------------------------------------------------------------------------------- by name


def test_names():
    known = {"auto": Auto, "adam": Adam, "swap": Swap, "exact": Exact}
    known |= {"gauss_newton": GaussNewton, "edge_swap": EdgeSwap, "blocks": Blocks}
    assert known == SEARCHES
    for name, kind in known.items():
        assert configured(name) == kind()
        assert configured(kind()) == kind()


@pytest.mark.parametrize(
    ("name", "real", "shown"),
    [
        ("swap", False, "Swap"),
        ("exact", True, "Exact"),
        ("gauss_newton", True, "GaussNewton"),
    ],
)
def test_a_search_by_name(name, real, shown):
    small = gm.datasets.csbm(nodes=30, features=40, density=0.1)
    data = continuous(small) if real else small
    m = gm.metamer(gcn(), data, "layer1", search=name)
    assert m.search == shown


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("swpa", r"search must be one of 'auto', 'adam', .*got 'swpa'\. Did you mean 'swap'\?"),
        ("gauss-newton", r"got 'gauss-newton'\. Did you mean 'gauss_newton'\?"),
        ("Adam", r"configured search such as Adam\(steps=200\); got 'Adam'\. Did you mean 'adam'"),
        ("zzz", r"got 'zzz'\.$"),
        (3, r"got 3\.$"),
        (None, r"got None\.$"),
        (Swap, r"got <class .*Swap'>\."),
    ],
)
def test_an_unknown_search(given, sentence, small):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        gm.metamer(gcn(), small, "layer1", search=given)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"seek": "far"}, r"seek must be one of 'nearest', 'random', 'farthest'; got 'far'\."),
    ],
)
def test_settings_out_of_range(options, sentence):
    with unchecked_types(), pytest.raises(gm.InputError, match=sentence):
        Auto(**options)


def test_without_exact_solutions_real_features_end_at_the_tolerance(small):
    vary = gm.ContinuousFeatures()
    search = Auto(stop_at_tol=True, exact=False)
    m = gm.metamer(gcn(), small, "layer1", vary=vary, search=search, tol=0.2)
    assert m.search.startswith("Adam")
    assert m.matched
    assert 0.15 < m.activation_error <= 0.2  # small steps: it ends as soon as it is there
    exact = gm.metamer(gcn(), small, "layer1", vary=vary, search=Auto(stop_at_tol=True), tol=0.2)
    assert exact.search.startswith("Exact")
