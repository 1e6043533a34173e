"""baselines(): what each must be by hand, and that they are measured as a metamer is."""

import math
import re

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch_geometric.data import Data
from torch_geometric.nn import GCN

import graph_metamers as gm
from graph_metamers import baseline as room
from graph_metamers.baseline import Baseline, baselines
from graph_metamers.measure import DISTANCES
from graph_metamers.measure.agreement import activation_error, consistency

ALL = ["random_start", "nearest_node", "class_permuted", "flattest_direction"]
FEATURE_DISTANCES = {name: d for name, d in DISTANCES.items() if d.kind == "features"}
FREE = gm.ContinuousFeatures(low=None)


class Linear(nn.Module):
    """h = X W, with W set by hand."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.read = nn.Linear(len(weight), len(weight[0]), bias=False)
        self.read.weight.data = torch.tensor(weight).T.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(ctx, *grads):
        (x,) = ctx.saved_tensors
        return grads[0] * 2 * x


class Once(nn.Module):
    """h = X², without a second derivative."""

    def forward(self, x: Tensor) -> Tensor:
        return _Once.apply(x)


def graph(x: Tensor, **more: Tensor) -> Data:
    ring = torch.arange(len(x))
    return Data(x=x, edge_index=torch.stack([ring, ring.roll(1)]), **more)


def noise(nodes: int, features: int) -> Tensor:
    return torch.randn(nodes, features, generator=torch.Generator().manual_seed(5))


def network(features: int = 40) -> GCN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GCN(features, 16, num_layers=2, out_channels=3)


def of_features(model: nn.Module, data: Data) -> Tensor:
    return model(data.x)


def by_name(found: list[Baseline]) -> dict[str, Baseline]:
    return {each.name: each for each in found}


# ----------------------------------------------------------------------------- nearest node


def test_the_nearest_node_by_hand():
    data = graph(torch.tensor([[0.0], [1.0], [3.0], [3.5]]))
    found = by_name(baselines(Linear([[2.0]]), data, "output", vary=FREE))["nearest_node"]
    assert found.data.x.tolist() == [[1.0], [0.0], [3.5], [3.0]]
    # (1 + 1 + 1/4 + 1/4) / (0 + 1 + 9 + 12.25)
    assert found.activation_error == pytest.approx(2.5 / 22.25)


def test_of_several_nearest_nodes_the_first():
    data = graph(torch.tensor([[5.0, 1.0], [6.0, 2.0], [7.0, 3.0], [6.0, 4.0]]))
    # The layer sees the first column alone: node 3 is the twin of node 1.
    model = Linear([[1.0], [0.0]])
    found = by_name(baselines(model, data, "output", vary=FREE))["nearest_node"]
    assert torch.equal(found.data.x, data.x[[1, 3, 1, 1]])


def test_nearest_nodes_in_blocks_are_the_same(small, monkeypatch):
    whole = by_name(baselines(network(), small, "act"))["nearest_node"]
    monkeypatch.setattr(room, "ENTRIES", 130)  # two rows of 60 at a time
    assert torch.equal(
        by_name(baselines(network(), small, "act"))["nearest_node"].data.x, whole.data.x
    )
    h = network().eval()
    activation = h.act(h.convs[0](small.x, small.edge_index)).detach()
    far = (activation[:, None].double() - activation[None].double()).norm(dim=2).fill_diagonal_(9e9)
    assert torch.equal(whole.data.x, small.x[far.argmin(1)])


def test_near_activations_far_from_zero():
    """Squares of 1e10 leave nothing of a difference of 1."""
    data = graph(1e10 + torch.tensor([[0.0], [1.0], [3.0], [3.5]], dtype=torch.float64))
    model = Linear([[1.0]]).double()
    found = by_name(baselines(model, data, "output", vary=FREE))["nearest_node"]
    assert torch.equal(found.data.x, data.x[[1, 0, 3, 2]])


# ----------------------------------------------------------------------------- within classes


def rows(x: Tensor) -> list[list[float]]:
    return sorted(x.tolist())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classes_keep_their_rows_and_every_node_moves(seed):
    y = torch.tensor([0, 0, 0, 1, 1, 2, 0, 1])
    data = graph(noise(8, 3), y=y)
    model = Linear([[1.0], [2.0], [3.0]])
    found = by_name(baselines(model, data, "output", vary=FREE, seed=seed))["class_permuted"]
    for c in range(3):
        assert rows(found.data.x[y == c]) == rows(data.x[y == c])
    kept = (found.data.x == data.x).all(dim=1)
    assert kept.tolist() == [False] * 5 + [True] + [False] * 2  # node 5 is alone in its class


@pytest.mark.parametrize("y", [None, torch.rand(8), torch.zeros(3, dtype=torch.long)])
def test_without_true_classes_the_predicted_ones(y):
    data = graph(noise(8, 2), **({} if y is None else {"y": y}))
    model = Linear([[1.0, 0.0], [0.0, 1.0]])  # the larger feature is the class
    found = by_name(baselines(model, data, "output", vary=FREE, task="classes"))["class_permuted"]
    predicted = data.x.argmax(1)
    for c in range(2):
        assert rows(found.data.x[predicted == c]) == rows(data.x[predicted == c])
    assert found.scores["prediction_match"] == 1
    assert not (found.data.x == data.x).all(dim=1).any()
    # Without classes there are none to exchange within.
    assert "class_permuted" not in by_name(baselines(model, data, "output", vary=FREE))


# ----------------------------------------------------------------------------- flattest direction


def test_a_null_space_is_exactly_flat_and_as_far_as_the_start():
    weight = [[1.0, 0.0], [2.0, 1.0], [0.0, 1.0], [1.0, 1.0], [0.0, 3.0]]
    data = graph(noise(20, 5))
    found = by_name(baselines(Linear(weight), data, "output", vary=FREE))
    flat, start = found["flattest_direction"], found["random_start"]
    move = flat.data.x - data.x
    assert flat.activation_error < 1e-12
    assert float((move @ torch.tensor(weight)).norm()) < 1e-5 * float(move.norm())
    assert flat.scores["feature_distance"] == pytest.approx(
        start.scores["feature_distance"], rel=1e-5
    )
    assert flat.scores["feature_distance"] > 0.5
    assert flat.scores["prediction_match"] == 1
    assert flat.fvu < 1e-2 < start.fvu


def test_a_null_space_needs_no_derivative():
    model = nn.Sequential(Linear([[1.0], [2.0], [3.0]]), Once())
    found = baselines(model, graph(noise(9, 3)), "output", vary=FREE, forward=of_features)
    assert found[-1].name == "flattest_direction"
    assert found[-1].activation_error < 1e-10


def test_a_matrix_of_full_rank_has_a_flattest_column():
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.01])).tolist()
    data = graph(noise(30, 4))
    flat = by_name(baselines(Linear(weight), data, "output", vary=FREE))["flattest_direction"]
    share = (flat.data.x - data.x).square().sum(0)
    assert float(share[3] / share.sum()) > 0.999
    # ‖V‖² 0.01² / ‖X W‖², and what little else there is
    assert flat.activation_error < 1e-3


def test_without_second_derivatives_it_is_left_out():
    found = baselines(Once(), graph(1 + noise(6, 3).abs()), "output")
    assert [each.name for each in found] == ALL[:2]


def test_conjugate_gradients_find_the_least_singular_value():
    generator = torch.Generator().manual_seed(1)
    jacobian = torch.randn(30, 20, generator=generator, dtype=torch.float64)
    v = room._flattened(
        torch.randn(5, 4, generator=generator, dtype=torch.float64),
        lambda v: jacobian @ v.reshape(-1),
        lambda w: (jacobian.T @ w).view(5, 4),
    )
    assert float(v.norm()) == pytest.approx(1)
    least = float(torch.linalg.svdvals(jacobian)[-1])
    assert float((jacobian @ v.reshape(-1)).norm()) == pytest.approx(least, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_direction_that_is_flattest_already_stays(scale):
    jacobian = scale * torch.diag(torch.tensor([2.0, 1.0]))
    v = room._flattened(
        torch.tensor([[0.0, 3.0]]), lambda v: jacobian @ v[0], lambda w: (jacobian @ w)[None]
    )
    assert v.tolist() == [[0.0, 1.0]]
    v = room._flattened(
        torch.tensor([[4.0, 3.0]]), lambda v: jacobian @ v[0], lambda w: (jacobian @ w)[None]
    )
    assert v.tolist()[0] == pytest.approx([0.0, 1.0], abs=1e-5)


def test_bounds_hold_and_so_does_the_distance():
    weight = [[1.0], [2.0], [0.5], [1.0]]
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(0))
    found = by_name(baselines(Linear(weight), graph(x), "output"))
    flat, start = found["flattest_direction"], found["random_start"]
    assert float(flat.data.x.min()) == 0
    assert flat.scores["feature_distance"] == pytest.approx(
        start.scores["feature_distance"], rel=1e-4
    )
    assert flat.activation_error > 1e-4  # clipped, it is no longer flat


def test_a_clipped_step_by_hand():
    x, direction = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.8, -0.6]])
    free = room._clipped(x, direction, 2.0, -math.inf, math.inf)
    torch.testing.assert_close(free, torch.tensor([[1.6, -0.2]]))
    # the second entry stops after 1, so the first goes √(4 − 1)
    torch.testing.assert_close(
        room._clipped(x, direction, 2.0, 0.0, math.inf), torch.tensor([[3.0**0.5, 0.0]])
    )
    # (1, 0) is the farthest there is
    torch.testing.assert_close(
        room._clipped(x, direction, 2.0, 0.0, 1.0), torch.tensor([[1.0, 0.0]])
    )


def test_exchanged_ones_by_hand():
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    start = torch.tensor([[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]])  # one moved, none moved
    direction = torch.tensor([[0.5, -0.2, 0.9, 0.1], [-9.0, 9.0, 9.0, 9.0]])
    found = room._exchanged(x, direction, start)
    assert found.tolist() == [[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]
    largest = (x + direction)[0].topk(2).indices  # the two largest of X + t V at t = 1
    assert sorted(largest.tolist()) == [0, 2]


@pytest.mark.parametrize("density", ["fixed", "per_node"])
def test_binary_features_keep_their_ones(small, density):
    vary = gm.BinaryFeatures(density=density)
    found = by_name(baselines(network(), small, "act", vary=vary))
    assert list(found) == ALL
    flat, start = found["flattest_direction"], found["random_start"]
    assert set(flat.data.x.unique().tolist()) == {0.0, 1.0}
    for each in (flat, found["class_permuted"]):
        assert each.data.x.sum() == small.x.sum()
    assert flat.scores["feature_hamming"] == pytest.approx(start.scores["feature_hamming"])
    if density == "per_node":
        assert torch.equal(flat.data.x.sum(1), small.x.sum(1))
    assert flat.activation_error > 0


# ----------------------------------------------------------------------------- measured alike


@pytest.fixture(scope="module")
def found(small: Data) -> list[Baseline]:
    return baselines(network(), small, "act", seed=3)


def test_scores_are_what_the_model_says_of_the_graphs(found, small):
    model = network().eval()
    with torch.no_grad():
        layer = model.act(model.convs[0](small.x, small.edge_index))
        output = model(small.x, small.edge_index)
        for each in found:
            x = each.data.x
            h = model.act(model.convs[0](x, small.edge_index))
            spread = (layer - layer.mean(0)).square().sum()
            assert each.fvu == pytest.approx(float((h - layer).square().sum() / spread), rel=1e-4)
            assert each.activation_error == pytest.approx(activation_error(layer, h), rel=1e-4)
            other = model(x, small.edge_index)
            match = float((output.argmax(1) == other.argmax(1)).double().mean())
            expected = {n: d.function(small.x, x) for n, d in FEATURE_DISTANCES.items()} | {
                "prediction_match": match,
                "consistency": consistency(
                    gm.measure.features.feature_similarity(small.x, x), match
                ),
                "output_error": activation_error(output, other),
            }
            assert each.scores == pytest.approx(expected, rel=1e-4, nan_ok=True)


def test_the_names_and_the_start_are_those_of_the_metamer(found, small):
    search = gm.Adam(lr=0.05, steps=2)
    m = gm.metamer(network(), small, "act", search=search, seed=3)
    start = found[0]
    assert start.activation_error == m.scores["start_activation_error"]
    for name, value in start.scores.items():
        assert value == pytest.approx(m.scores[f"start_{name}"], nan_ok=True)


def test_a_seed_repeats(found, small):
    again = baselines(network(), small, "act", seed=3)
    other = by_name(baselines(network(), small, "act", seed=4))
    for a, b in zip(found, again, strict=True):
        assert torch.equal(a.data.x, b.data.x)
        assert a.row() == pytest.approx(b.row(), nan_ok=True)
        assert torch.equal(a.data.x, other[a.name].data.x) == (a.name == "nearest_node")


@pytest.mark.parametrize(
    ("vary", "score"), [(gm.Edges(), "edges_kept"), (gm.EdgeWeights(), "weight_similarity")]
)
def test_where_no_features_vary_there_is_the_start_alone(small, vary, score):
    (start,) = baselines(network(), small, "act", vary=vary)
    assert start.name == "random_start"
    assert 0 <= start.scores[score] < 1
    assert torch.equal(start.data.x, small.x)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1."),
        ({"tol": 0.0}, "tol must be positive and finite; got 0.0."),
        ({"layer": "act3"}, "layer='act3' is not a layer of GCN."),
        ({"vary": gm.ContinuousFeatures(high=0.5)}, "must hold the reference"),
        ({"data": Data(edge_index=torch.zeros(2, 1).long())}, "has no float matrix x"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_used_is_told_in_a_sentence(small, given, sentence):
    call = {"model": network(), "data": small, "layer": "act"} | given
    with pytest.raises(gm.InputError, match=re.escape(sentence)) as told:
        baselines(**call)
    assert "\n" not in str(told.value)
