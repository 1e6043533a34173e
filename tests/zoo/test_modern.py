"""The architectures since the paper's: their formulas in numpy, answers by hand, symmetries."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import graph_metamers as gm
from graph_metamers.zoo import APPNP, GCNII, MODELS, GATv2, GraphGPS
from helpers import seeded, unchecked_types

MODERN = {"gatv2": GATv2, "gcnii": GCNII, "appnp": APPNP, "graphgps": GraphGPS}
BY_NAME = pytest.mark.parametrize("name", MODERN)

# 0 - 1 - 2, and 3 alone.
EDGES = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
A = np.array([[0, 1.0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
X = np.array([[1.0, 0, 2], [0, -1, 1], [3, 1, 0], [0.5, 2, -1]])


def built(model: type, **options) -> nn.Module:
    """In float64, with every weight drawn anew: biases that start at zero count too."""

    def build() -> nn.Module:
        network = model(3, 2, **options).double().eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.7)
        return network

    return seeded(build)


def values(module: nn.Module, name: str) -> np.ndarray:
    held = dict(module.named_parameters()) | dict(module.named_buffers())
    return held[name].detach().numpy()


def linear(module: nn.Module, name: str, h: np.ndarray) -> np.ndarray:
    return h @ values(module, f"{name}.weight").T + values(module, f"{name}.bias")


def normalised() -> np.ndarray:
    a = A + np.eye(4)
    root = np.diag(a.sum(1) ** -0.5)
    return root @ a @ root


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def returned(network: nn.Module, layer: str) -> np.ndarray:
    """What a layer returns when the whole network runs."""
    seen = []
    handle = network.get_submodule(layer).register_forward_hook(lambda m, args, h: seen.append(h))
    network(torch.from_numpy(X), EDGES)
    handle.remove()
    return seen[0].detach().numpy()


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
        mixed = 0.8 * normalised() @ h + 0.2 * first
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
        z = 0.7 * normalised() @ z + 0.3 * scores
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
    local = normalised() @ h @ values(conv, "conv.lin.weight").T + values(conv, "conv.bias")
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
    change = (network(x, EDGES) - network(other, EDGES)).detach().abs()
    assert float(change[:3].min()) > 1e-6
    for model in (GATv2, GCNII, APPNP):
        network = built(model, hidden=8)
        assert torch.equal(network(x, EDGES)[:3], network(other, EDGES)[:3])


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


def test_edge_weights_where_the_convolution_takes_them():
    x = torch.from_numpy(X)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    for model in (GCNII, APPNP, GraphGPS):
        network = built(model, hidden=8)
        plain = network(x, EDGES)
        torch.testing.assert_close(network(x, EDGES, torch.ones_like(weight)), plain)
        assert not torch.allclose(network(x, EDGES, weight), plain)


# ------------------------------------------------------------------------------ all four alike


@pytest.mark.parametrize("depth", [1, 2, 4])
@BY_NAME
def test_layers_are_numbered_and_listed(name, depth, small):
    network = MODELS[name](40, 3, hidden=8, depth=depth).eval()
    names = [f"layer{k + 1}" for k in range(depth)]
    assert network.layer_names == names
    listed = {layer.name: layer.shape for layer in gm.layers(network, small)}
    assert [listed[layer] for layer in names] == [(60, 8)] * (depth - 1) + [(60, 3)]


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


OPTIONS = [
    {"activation": "elu", "norm": "batch", "depth": 3, "dropout": 0.0},
    {"activation": "tanh", "norm": "layer", "depth": 1, "dropout": 0.9},
    {"activation": "leaky_relu", "norm": None, "depth": 4, "dropout": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@BY_NAME
def test_options_go_together_and_seeds_decide(name, options, small, tmp_path):
    residual = {} if name == "graphgps" else {"residual": True}
    training = gm.zoo.Training(lr=0.01, epochs=3)

    def trained(cache: str, seed: int) -> dict[str, torch.Tensor]:
        call = {"seed": seed, "training": training, "cache": tmp_path / cache, "hidden": 24}
        result = gm.zoo.train(name, small, **call, **options, **residual)
        assert not result.cached
        assert not result.model.training
        return result.model.state_dict()

    one, again, other = trained("a", 5), trained("b", 5), trained("c", 6)
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)
    assert all(bool(v.isfinite().all()) for v in one.values())


@BY_NAME
def test_dropout_acts_in_training_only(name, small):
    network = MODELS[name](40, 3, dropout=0.5)
    with torch.random.fork_rng():
        network.train()
        assert not torch.equal(*(network(small.x, small.edge_index) for _ in range(2)))
        network.eval()
        assert torch.equal(*(network(small.x, small.edge_index) for _ in range(2)))


@BY_NAME
def test_training_learns(name, tmp_path):
    data = gm.datasets.csbm(nodes=200, features=100, density=0.1)
    training = gm.zoo.Training(lr=0.01, epochs=60)
    trained = gm.zoo.train(name, data, training=training, cache=tmp_path)
    assert trained.history[-1] < trained.history[0]
    assert trained.accuracy["test"] > 0.6  # chance is a third


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        *[
            (name, options, sentence)
            for name in MODERN
            for options, sentence in [
                ({"activation": "sine"}, "activation='sine' is none of the zoo's. Choose among "),
                ({"dropout": 1.0}, "dropout must be a share in [0, 1); got 1.0."),
                ({"hidden": 0}, "hidden must be a whole number of at least 1; got 0"),
                ({"depth": 0}, "depth must be a whole number of at least 1; got 0"),
                ({"norm": "x"}, "norm must be None or one of 'batch', 'layer'; got 'x'."),
                ({"widht": 3}, f"model='{name}' cannot be built with {{'widht': 3}}: "),
            ]
        ],
        ("gatv2", {"hidden": 12}, "hidden must be a multiple of heads=8; got 12."),
        ("gcnii", {"alpha": 1.5}, "alpha must be a share in [0, 1]; got 1.5."),
        ("gcnii", {"alpha": math.nan}, "alpha must be a share in [0, 1]; got nan."),
        ("gcnii", {"theta": 0.0}, "theta must be positive and finite; got 0.0."),
        ("appnp", {"alpha": -0.1}, "alpha must be a share in [0, 1]; got -0.1."),
        ("appnp", {"K": 0}, "K must be a whole number of at least 1; got 0"),
        ("graphgps", {"heads": 0}, "heads must be a whole number of at least 1; got 0"),
        *[
            ("graphgps", {"hidden": hidden}, "hidden must be a multiple of heads=4, with two units")
            for hidden in (4, 10)
        ],
    ],
    ids=str,
)
def test_bad_options_are_told_in_a_sentence(name, options, sentence, small, tmp_path):
    with pytest.raises(gm.InputError, match=re.escape(sentence)), unchecked_types():
        gm.zoo.train(name, small, cache=tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- fit()


def test_fit_is_the_zoos_training(small, tmp_path):
    training = gm.zoo.Training(lr=0.01, epochs=5)
    zoo = gm.zoo.train("gcn", small, seed=3, training=training, cache=tmp_path)
    state = torch.random.get_rng_state()
    own = gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), small, seed=3, training=training)
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = zoo.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in own.model.state_dict().items())
    assert (own.accuracy, own.history, own.cached) == (zoo.accuracy, zoo.history, False)
    assert own.provenance["model"] == "GCN"
    assert own.provenance["data"] == zoo.provenance["data"]
    other = gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), small, seed=4, training=training)
    bias = "layer1.conv.bias"
    assert not torch.equal(other.model.state_dict()[bias], weights[bias])


def test_fit_caches_where_it_is_told_what_the_code_is_known_by(small, monkeypatch, tmp_path):
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path))

    def found(key="a", **options):
        training = gm.zoo.Training(lr=0.01, epochs=5)
        build = lambda: gm.zoo.GCN(40, 3)  # noqa: E731
        return gm.zoo.fit(build, small, **{"cache_key": key, "training": training} | options)

    assert not found(None).cached
    assert list(tmp_path.rglob("*.pt")) == []
    first, again = found(), found()
    assert (first.cached, again.cached) == (False, True)
    assert (first.accuracy, first.history) == (again.accuracy, again.history)
    weights = first.model.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in again.model.state_dict().items())
    (path,) = tmp_path.rglob("*.pt")
    path.write_bytes(path.read_bytes()[:-100])  # a damaged entry is trained again
    assert not found().cached
    longer = gm.zoo.Training(lr=0.01, epochs=6)
    assert not any(other.cached for other in (found("b"), found(seed=1), found(training=longer)))


def test_fit_says_what_it_needs(small):
    with pytest.raises(gm.InputError, match=r"GCN must return class scores \[60, 3\], one row a"):
        gm.zoo.fit(lambda: gm.zoo.GCN(40, 2), small)
    with pytest.raises(gm.InputError, match=r"model must be a torch\.nn\.Module; got int"):
        gm.zoo.fit(lambda: 3, small)  # pyright: ignore[reportArgumentType]
    unlabelled = small.clone()
    del unlabelled.y
    with pytest.raises(gm.InputError, match=r"data\.y must have one entry for each of the 60"):
        gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), unlabelled)
