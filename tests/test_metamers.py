"""Several metamers of one graph, and metamers that keep away from other graphs."""

import importlib
import re

import pytest
import torch
from torch import nn

import graph_metamers as gm
from helpers import seeded

run = importlib.import_module("graph_metamers.search.run")


@pytest.fixture
def binary():
    return gm.datasets.csbm(nodes=60, features=120, density=0.05)


@pytest.fixture
def continuous():
    data = gm.datasets.csbm(nodes=60, features=60, density=0.1)
    data.x = torch.rand(60, 60, generator=torch.Generator().manual_seed(0))
    return data


def gcn(features: int, **options) -> nn.Module:
    return seeded(lambda: gm.zoo.GCN(features, 3, **options)).eval()


def similarity(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum() / a.norm() / b.norm())


def test_binary_metamers_share_nothing_with_one_another(binary):
    found = gm.metamers(gcn(120), binary, "layer1", n=4, search=gm.Swap(steps=40))
    assert [m.seed for m in found] == [0, 1, 2, 3]
    for i, a in enumerate(found):
        assert a.fvu < 0.2 * a.history[0]
        for b in found[:i]:
            assert similarity(a.data.x, b.data.x) == 0


def test_farthest_metamers_share_nothing_with_the_reference_either(binary):
    found = gm.metamers(gcn(120), binary, "layer1", n=3, search=gm.Swap(steps=20, seek="farthest"))
    for m in found:
        assert m.scores["feature_similarity"] == 0
        for other in found:
            assert other is m or similarity(m.data.x, other.data.x) == 0


def test_continuous_metamers_are_exact_and_less_alike_than_random_starts(continuous):
    model = gcn(60, hidden=8)
    found = gm.metamers(model, continuous, "layer1", n=3)
    starts = [gm.metamer(model, continuous, "layer1", seed=seed) for seed in range(3)]
    assert all(m.search == "Exact" for m in found)
    assert all(m.fvu < 1e-8 for m in found)
    assert all(m.scores["output_error"] < 1e-8 for m in found)
    assert all(m.notes["pinned_nodes"] == 0 for m in found)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart = similarity(found[i].data.x, found[j].data.x)
        assert apart < similarity(starts[i].data.x, starts[j].data.x)


@pytest.mark.parametrize("bounds", [{}, {"high": 1.0}, {"low": -1.0}], ids=str)
def test_the_farthest_is_reached_with_the_default_steps(bounds, continuous):
    model, vary = gcn(60, hidden=8), gm.ContinuousFeatures(**bounds)
    nearest, farthest = (
        gm.metamer(model, continuous, "layer1", vary=vary, search=gm.Exact(seek=seek))
        for seek in ("nearest", "farthest")
    )
    assert farthest.fvu < 1e-8
    assert farthest.notes["pinned_nodes"] == 0
    close, far = (m.scores["feature_similarity"] for m in (nearest, farthest))
    assert far < 0.6 * close


def test_avoid_takes_any_graphs(binary):
    other = gm.datasets.csbm(nodes=60, features=120, density=0.05, seed=7)
    m = gm.metamer(gcn(120), binary, "layer1", avoid=[other], search=gm.Swap(steps=20))
    assert similarity(m.data.x, other.x) == 0
    assert m.data.x.sum() == binary.x.sum()


def test_few_steps_pin_nothing(continuous):
    """What is not found yet is not passed off as the reference."""
    m = gm.metamer(gcn(60, hidden=8), continuous, "layer1", search=gm.Exact(steps=1), tol=1e-9)
    assert m.outcome is gm.Outcome.NOT_MATCHED
    assert m.scores["feature_similarity"] < 0.99
    assert m.notes == {"pinned_nodes": 0.0}


def test_what_cannot_keep_away_says_so(binary):
    with pytest.raises(gm.InputError, match=re.escape("Adam cannot keep away from other graphs")):
        gm.metamers(gcn(120), binary, "layer1", n=2, search="adam")
    with pytest.raises(gm.InputError, match=r"avoid must hold graphs whose x has .* \[60, 120\]"):
        gm.metamer(gcn(120), binary, "layer1", avoid=[gm.datasets.csbm(nodes=60, features=40)])
    with pytest.raises(gm.InputError, match="n must be a whole number of at least 1; got 0"):
        gm.metamers(gcn(120), binary, "layer1", n=0)


def test_too_many_to_keep_away_from(binary):
    full = binary.clone()
    full.x[:, :118] = 1
    sentence = (
        r"\d+ nodes have more ones than entries that are zero in every graph to keep away from"
    )
    with pytest.raises(gm.InputError, match=sentence):
        gm.metamer(gcn(120), binary, "layer1", avoid=[full])


def test_unbounded_metamers_differ_from_one_another(continuous):
    continuous.x -= 0.5
    found = gm.metamers(gcn(60, hidden=8), continuous, "layer1", n=4)
    assert all(m.fvu < 1e-8 for m in found)
    for i, a in enumerate(found):
        for b in found[:i]:
            assert float((a.data.x - b.data.x).norm() / a.data.x.norm()) > 0.5


def test_each_has_a_checkpoint_of_its_own(binary, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    call = {"n": 2, "search": gm.Swap(steps=8, patience=None), "checkpoint": tmp_path / "c.pt"}
    whole = gm.metamers(gcn(120), binary, "layer1", **call)
    save = run.save_tensors

    def interrupted(path, state) -> None:
        save(path, state)
        if path.name == "c-1.pt" and len(state["record"]["history"]) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run, "save_tensors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gm.metamers(gcn(120), binary, "layer1", **call)
    again = gm.metamers(gcn(120), binary, "layer1", **call)
    assert all(torch.equal(a.data.x, b.data.x) for a, b in zip(whole, again, strict=True))
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_reads_everything_allows_the_reference_alone(continuous):
    """More units than features: X W tells X. Said, and not picked by itself."""
    continuous.x -= 0.5
    model = gcn(60, hidden=80)
    m = gm.metamer(model, continuous, "layer1", search="exact")
    assert m.notes["pinned_nodes"] == 60
    assert gm.metamer(model, continuous, "layer1", search=gm.Auto(steps=2)).search.startswith(
        "GaussNewton"
    )
