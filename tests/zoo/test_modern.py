"""The architectures since the paper's: their formulas in numpy, answers by hand, symmetries."""

import math

import numpy as np
import pytest
import torch
from networks import UNDIRECTED, X, adjacency, built, linear, normalised, returned, values
from torch import nn

import graph_metamers as gm
from graph_metamers.zoo import APPNP, GCNII, MODELS, GATv2, GraphGPS
from helpers import seeded

MODERN = {"gatv2": GATv2, "gcnii": GCNII, "appnp": APPNP, "graphgps": GraphGPS}
BY_NAME = pytest.mark.parametrize("name", MODERN)
A = adjacency(UNDIRECTED)
NEAR = normalised(A)


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


# -------------------------------------------------------------------------- formulas by hand


@pytest.mark.parametrize("heads", [1, 4])
def test_gatv2_by_hand(heads):
    network = built(GATv2, hidden=8, heads=heads)
    conv = network.layer1.conv
    units = 8 // heads
    left = linear(conv, "lin_l", X).reshape(4, heads, units)  # of who is looked at
    right = linear(conv, "lin_r", X).reshape(4, heads, units)  # of who looks
    att = values(conv, "att")[0]
    out = np.zeros((4, heads, units))
    for head in range(heads):
        for v in range(4):
            near = [u for u in range(4) if A[v, u] or u == v]
            sums = np.array([left[u, head] + right[v, head] for u in near])
            weights = np.exp(np.where(sums > 0, sums, 0.2 * sums) @ att[head])
            weights /= weights.sum()
            out[v, head] = sum(w * left[u, head] for w, u in zip(weights, near, strict=True))
    by_hand = relu(out.reshape(4, -1) + values(conv, "bias"))
    np.testing.assert_allclose(returned(network, "layer1"), by_hand, atol=1e-12)
    assert network.layer2.conv.heads == 1


@pytest.mark.parametrize("residual", [False, True])
def test_gcnii_by_hand(residual):
    network = built(GCNII, hidden=5, depth=2, alpha=0.2, theta=0.7, residual=residual)
    h = first = relu(linear(network, "embed", X))
    for k in (1, 2):
        beta = math.log(0.7 / k + 1)
        mixed = 0.8 * NEAR @ h + 0.2 * first
        weight = values(network, f"layer{k}.conv.weight1")
        h = relu(mixed @ ((1 - beta) * np.eye(5) + beta * weight) + (h if residual else 0))
        if k == 1:
            np.testing.assert_allclose(returned(network, "layer1"), h, atol=1e-12)
    scores = linear(network, "layer2.head", h)
    np.testing.assert_allclose(returned(network, "layer2"), scores, atol=1e-12)


def test_appnp_by_hand():
    network = built(APPNP, hidden=5, K=3, alpha=0.3)
    h = relu(linear(network, "layer1.conv", X))
    np.testing.assert_allclose(returned(network, "layer1"), h, atol=1e-12)
    z = scores = linear(network, "layer2.conv.lin", h)
    for _ in range(3):
        z = 0.7 * NEAR @ z + 0.3 * scores
    np.testing.assert_allclose(returned(network, "layer2"), z, atol=1e-12)


def test_appnp_with_hand_set_weights():
    """Two joined nodes, the identity for every map: half of each goes over at each step."""
    network = APPNP(2, 2, hidden=2, K=1, alpha=0.5).eval()
    for linear_map in (network.layer1.conv, network.layer2.conv.lin):
        nn.init.eye_(linear_map.weight)
        nn.init.zeros_(linear_map.bias)
    scores = network(torch.eye(2), torch.tensor([[0, 1], [1, 0]]))
    # Â has 1/2 everywhere: Z = ½ Â + ½ I
    torch.testing.assert_close(scores, torch.tensor([[0.75, 0.25], [0.25, 0.75]]))


def test_graphgps_by_hand():
    network = built(GraphGPS, hidden=6, depth=1, heads=2, norm="layer")
    conv = network.layer1.conv
    h = linear(network, "embed", X)
    local = NEAR @ h @ values(conv, "conv.lin.weight").T + values(conv, "conv.bias")
    attn = conv.attn
    q, k, v = (h @ values(attn, f"{part}.weight").T for part in "qkv")
    projection = values(attn, "fast_attn.projection_matrix")
    heads = []
    for units in (slice(0, 3), slice(3, 6)):
        phi_q, phi_k = (relu(part[:, units] @ projection.T) + 1e-3 for part in (q, k))
        weights = phi_q @ phi_k.T
        heads.append(weights / weights.sum(1, keepdims=True) @ v[:, units])
    everywhere = linear(attn, "attn_out", np.concatenate(heads, axis=1))
    both = norm(conv, "norm1", local + h) + norm(conv, "norm2", everywhere + h)
    mlp = linear(conv, "mlp.3", relu(linear(conv, "mlp.0", both)))
    scores = linear(network.layer1, "head", norm(conv, "norm3", both + mlp))
    np.testing.assert_allclose(returned(network, "layer1"), scores, atol=1e-10)


def norm(module: nn.Module, name: str, z: np.ndarray) -> np.ndarray:
    scaled = (z - z.mean(1, keepdims=True)) / np.sqrt(z.var(1, keepdims=True) + 1e-5)
    return scaled * values(module, f"{name}.weight") + values(module, f"{name}.bias")


# --------------------------------------------------------------------------- what each one sees


def test_appnps_hidden_layers_do_not_see_the_graph(small):
    network = seeded(lambda: APPNP(40, 3, depth=3)).eval()
    alone = torch.empty(2, 0, dtype=torch.long)
    seen: dict[str, list[torch.Tensor]] = {}
    for layer in network.layer_names:
        network.get_submodule(layer).register_forward_hook(
            lambda m, args, h, layer=layer: seen.setdefault(layer, []).append(h)
        )
    network(small.x, small.edge_index)
    network(small.x, alone)
    assert [torch.equal(*seen[layer]) for layer in network.layer_names] == [True, True, False]


@BY_NAME
def test_permuted_nodes_give_permuted_scores(name, small):
    network = seeded(lambda: MODELS[name](40, 3)).double().eval()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    x, edge_index = small.x.double(), small.edge_index
    with torch.no_grad():
        plain, permuted = network(x, edge_index), network(x[order], order.argsort()[edge_index])
    torch.testing.assert_close(permuted, plain[order], rtol=0, atol=1e-10)


def test_graphgps_sees_nodes_that_no_path_leads_to():
    network = built(GraphGPS, hidden=8)
    x = torch.from_numpy(X)
    other = x.clone()
    other[3] += 1  # node 3 is alone
    change = (network(x, UNDIRECTED) - network(other, UNDIRECTED)).detach().abs()
    assert float(change[:3].min()) > 1e-6
    for model in (GATv2, GCNII, APPNP):
        network = built(model, hidden=8)
        assert torch.equal(network(x, UNDIRECTED)[:3], network(other, UNDIRECTED)[:3])


def test_graphgpss_projection_is_the_seeds_and_is_kept(small, tmp_path):
    name = "layer1.conv.attn.fast_attn.projection_matrix"
    call = {"training": gm.zoo.Training(lr=0.01, epochs=2), "cache": tmp_path}
    one = gm.zoo.train("graphgps", small, seed=1, **call)
    again = gm.zoo.train("graphgps", small, seed=1, **call)
    other = gm.zoo.train("graphgps", small, seed=2, **call)
    assert again.cached
    assert torch.equal(one.model.state_dict()[name], again.model.state_dict()[name])
    assert not torch.equal(one.model.state_dict()[name], other.model.state_dict()[name])
    assert name not in dict(one.model.named_parameters())
    scores = (trained.model(small.x, small.edge_index) for trained in (one, again))
    assert torch.equal(*scores)


# ------------------------------------------------------------------------------ all four alike


@pytest.mark.parametrize("features", ["binary", "continuous"])
@BY_NAME
def test_metamers_by_the_automatic_search(name, features, small):
    data = small.clone()
    if features == "continuous":
        data.x = data.x * torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
    network = seeded(lambda: MODELS[name](40, 3, hidden=8)).eval()
    m = gm.metamer(network, data, "layer1", progress=False)
    # Linear reads are found: the exact projection and exchanges need them.
    assert m.search == {"binary": "Swap", "continuous": "Exact"}[features]
    assert m.activation_error < m.scores["start_activation_error"] / 3
    assert m.matched or features == "binary"


@BY_NAME
def test_training_learns(name, tmp_path):
    data = gm.datasets.csbm(nodes=200, features=100, density=0.1)
    training = gm.zoo.Training(lr=0.01, epochs=60)
    trained = gm.zoo.train(name, data, training=training, cache=tmp_path)
    assert trained.history[-1] < trained.history[0]
    assert trained.accuracy["test"] > 0.6  # chance is a third
