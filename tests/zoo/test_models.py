"""The paper's architectures: their formulas written out in numpy, their options, their layers."""

import inspect
import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import UNDIRECTED, X, adjacency, built, normalised, returned, values
from torch import nn

import graph_metamers as gm
from graph_metamers.zoo import ACTIVATIONS, GAT, GCN, GIN, MODELS, ChebNet, GraphSAGE
from graph_metamers.zoo.models import drop
from helpers import seeded, unchecked_types

# Four nodes: 0 → 1, 1 → 2, 2 → 0, 0 → 2, and 3 alone. A[target, source].
DIRECTED = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 2]])


def gcn(conv: nn.Module, a: np.ndarray) -> np.ndarray:
    return normalised(a) @ X @ values(conv, "lin.weight").T + values(conv, "bias")


def chebnet(conv: nn.Module, a: np.ndarray) -> np.ndarray:
    degree = a.sum(1)
    root = np.diag([d**-0.5 if d else 0.0 for d in degree])
    laplacian = np.eye(4) - root @ a @ root
    scaled = 2 * laplacian / 2.0 - np.eye(4)  # lambda_max = 2
    polynomials = [X, scaled @ X]
    polynomials.append(2 * scaled @ polynomials[1] - X)
    terms = [t @ values(conv, f"lins.{k}.weight").T for k, t in enumerate(polynomials)]
    return sum(terms) + values(conv, "bias")


def graphsage(conv: nn.Module, a: np.ndarray) -> np.ndarray:
    mean = a @ X / np.maximum(a.sum(1, keepdims=True), 1)
    neighbours = mean @ values(conv, "lin_l.weight").T + values(conv, "lin_l.bias")
    return neighbours + X @ values(conv, "lin_r.weight").T


def gin(conv: nn.Module, a: np.ndarray) -> np.ndarray:
    z = (1 + values(conv, "eps")) * X + a @ X
    z = np.maximum(z @ values(conv, "nn.0.weight").T + values(conv, "nn.0.bias"), 0)
    return z @ values(conv, "nn.2.weight").T + values(conv, "nn.2.bias")


def gat(conv: nn.Module, a: np.ndarray) -> np.ndarray:
    source, target = values(conv, "att_src")[0], values(conv, "att_dst")[0]  # [heads, units]
    heads, units = source.shape
    h = (X @ values(conv, "lin.weight").T).reshape(4, heads, units)
    out = np.zeros((4, heads, units))
    for head in range(heads):
        for v in range(4):
            near = [u for u in range(4) if a[v, u] or u == v]
            logits = [source[head] @ h[u, head] + target[head] @ h[v, head] for u in near]
            weights = np.exp([z if z > 0 else 0.2 * z for z in logits])
            weights /= weights.sum()
            out[v, head] = sum(w * h[u, head] for w, u in zip(weights, near, strict=True))
    return out.reshape(4, -1) + values(conv, "bias")


FORMULAS = {
    "gcn": (GCN, gcn),
    "chebnet": (ChebNet, chebnet),
    "graphsage": (GraphSAGE, graphsage),
    "gin": (GIN, gin),
    "gat": (GAT, gat),
}
SIGMA = {
    "relu": lambda z: np.maximum(z, 0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "gelu": lambda z: z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "tanh": np.tanh,
}


@pytest.mark.parametrize("edges", ["directed", "undirected"])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_first_layer_by_hand(name, edges):
    if (name, edges) == ("chebnet", "directed"):
        pytest.skip("the Laplacian is that of an undirected graph")
    model, formula = FORMULAS[name]
    network = built(model, hidden=16)
    edge_index = {"directed": DIRECTED, "undirected": UNDIRECTED}[edges]
    by_hand = np.maximum(formula(network.layer1.conv, adjacency(edge_index)), 0)
    assert 0 < (by_hand > 0).mean() < 1
    np.testing.assert_allclose(returned(network, "layer1", edge_index), by_hand, atol=1e-12)


@pytest.mark.parametrize("heads", [1, 2, 4, 16])
def test_attention_heads_are_side_by_side(heads):
    network = built(GAT, hidden=16, heads=heads)
    by_hand = np.maximum(gat(network.layer1.conv, adjacency(DIRECTED)), 0)
    np.testing.assert_allclose(returned(network, "layer1", DIRECTED), by_hand, atol=1e-12)
    assert network.layer2.conv.heads == 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation):
    network = built(GCN, activation=activation)
    by_hand = SIGMA[activation](gcn(network.layer1.conv, adjacency(UNDIRECTED)))
    np.testing.assert_allclose(returned(network, "layer1"), by_hand, atol=1e-12)


@pytest.mark.parametrize("hidden", [3, 16])
@pytest.mark.parametrize("norm", [None, "batch", "layer"])
@pytest.mark.parametrize("name", FORMULAS)
def test_norm_then_residual_then_activation(name, norm, hidden):
    model, formula = FORMULAS[name]
    own = {"heads": 1} if name == "gat" else {}
    network = built(model, hidden=hidden, norm=norm, residual=True, activation="elu", **own)
    layer = network.layer1
    z = formula(layer.conv, adjacency(UNDIRECTED))
    if norm == "batch":
        layer.norm.running_mean.copy_(torch.linspace(-1, 1, hidden))
        layer.norm.running_var.copy_(torch.linspace(0.5, 2, hidden))
        mean, var = values(layer.norm, "running_mean"), values(layer.norm, "running_var")
    elif norm == "layer":
        mean, var = z.mean(1, keepdims=True), z.var(1, keepdims=True)
    if norm is not None:
        z = (z - mean) / np.sqrt(var + 1e-5)
        z = z * values(layer.norm, "weight") + values(layer.norm, "bias")
    z = z + (X if hidden == 3 else X @ values(layer.skip, "weight").T)
    np.testing.assert_allclose(returned(network, "layer1"), SIGMA["elu"](z), atol=1e-11)
    assert network.layer2.norm is None
    assert network.layer2.activation is None


@pytest.mark.parametrize("K", [1, 2, 5])
def test_chebnet_has_k_polynomials(K):
    network = built(ChebNet, K=K)
    assert len(network.layer1.conv.lins) == len(network.layer2.conv.lins) == K
    assert built(ChebNet).layer1.conv.lins[2].weight.shape == (16, 3)


# ---------------------------------------------------------------------------------- all alike


@pytest.mark.parametrize("name", MODELS)
def test_edge_weights_where_the_convolution_takes_them(name):
    options = {} if name in ("gcn", "chebnet", "graphormer", "graphsage", "gin") else {"hidden": 8}
    network = built(MODELS[name], **options)
    takes = name in ("gcn", "chebnet", "gcnii", "appnp", "graphgps")
    assert ("edge_weight" in inspect.signature(network.forward).parameters) == takes
    if takes:
        x, weight = torch.from_numpy(X), torch.tensor([1.0, 2, 3, 4], dtype=torch.float64)
        plain = network(x, UNDIRECTED)
        torch.testing.assert_close(network(x, UNDIRECTED, torch.ones_like(weight)), plain)
        assert not torch.allclose(network(x, UNDIRECTED, weight), plain)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("name", MODELS)
def test_layers_are_numbered_and_listed(name, depth, small):
    network = MODELS[name](40, 3, hidden=8, depth=depth).eval()
    names = [f"layer{k + 1}" for k in range(depth)]
    assert network.layer_names == names
    listed = {layer.name: layer.shape for layer in gm.layers(network, small)}
    for k, layer in enumerate(names):
        scores = name != "graphormer" and k == depth - 1
        assert listed[layer] == (60, 3 if scores else 8)


@pytest.mark.parametrize("name", MODELS)
def test_metamers_at_every_layer(name, small):
    network = seeded(lambda: MODELS[name](40, 3)).eval()
    for layer in network.layer_names:
        found = gm.metamer(network, small, layer, search=gm.Adam(lr=0.05, steps=20), progress=False)
        assert math.isfinite(found.activation_error)
        assert min(found.history) < found.history[0]


def test_names_and_summaries():
    paper = ["gcn", "chebnet", "graphsage", "gin", "gat", "graphormer"]
    assert list(MODELS) == [*paper, "gatv2", "gcnii", "appnp", "graphgps"]
    for name, model in MODELS.items():
        assert model.name == name
        assert model.summary
        assert "\n" not in model.summary


OPTIONS = [
    {"activation": "elu", "residual": True, "norm": "batch", "depth": 3, "dropout": 0.0},
    {"activation": "tanh", "residual": True, "norm": "layer", "depth": 1, "dropout": 0.9},
    {"activation": "gelu", "residual": False, "norm": "batch", "depth": 4, "dropout": 0.3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_options_go_together_and_seeds_decide(name, options, small, tmp_path):
    training = gm.zoo.Training(lr=0.01, epochs=3)
    if name == "graphgps":  # its blocks always add their inputs
        options = {key: value for key, value in options.items() if key != "residual"}

    def trained(cache: str, seed: int) -> dict[str, torch.Tensor]:
        call = {"seed": seed, "training": training, "cache": tmp_path / cache, "hidden": 24}
        result = gm.zoo.train(name, small, **call, **options)
        assert not result.cached
        assert not result.model.training
        return result.model.state_dict()

    one, again, other = trained("a", 5), trained("b", 5), trained("c", 6)
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not all(torch.equal(one[k], other[k]) for k in one)
    assert all(bool(v.isfinite().all()) for v in one.values())


@pytest.mark.parametrize("name", MODELS)
def test_dropout_acts_in_training_only(name, small):
    network = MODELS[name](40, 3, dropout=0.5)
    with torch.random.fork_rng():
        network.train()
        assert not torch.equal(*(network(small.x, small.edge_index) for _ in range(2)))
        network.eval()
        assert torch.equal(*(network(small.x, small.edge_index) for _ in range(2)))


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        *[
            (name, options, sentence)
            for name in MODELS
            for options, sentence in [
                (
                    {"activation": "sine"},
                    "activation='sine' is not one of the zoo's. Choose among ",
                ),
                ({"dropout": 1.0}, "dropout must be a share in [0, 1); got 1.0."),
                ({"dropout": -0.1}, "dropout must be a share in [0, 1); got -0.1."),
                ({"dropout": math.nan}, "dropout must be a share in [0, 1); got nan."),
                ({"hidden": 0}, "hidden must be a whole number of at least 1; got 0"),
                ({"hidden": 2.5}, "hidden must be a whole number of at least 1; got 2.5"),
                ({"depth": 0}, "depth must be a whole number of at least 1; got 0"),
                ({"widht": 3}, f"model='{name}' cannot be built with {{'widht': 3}}: "),
            ]
        ],
        *[
            (
                name,
                {"norm": "x"},
                "norm='x' is not one of the zoo's. Choose among 'batch', 'layer', o",
            )
            for name in MODELS
        ],
        ("chebnet", {"K": 0}, "K must be a whole number of at least 1; got 0"),
        (
            "gat",
            {"hidden": 12},
            "hidden must be a multiple of heads=8, with 1 or more units for each; got 12",
        ),
        ("gat", {"heads": 0}, "heads must be a whole number of at least 1; got 0"),
        ("gcn", {"heads": 2}, "model='gcn' cannot be built with {'heads': 2}: "),
        ("gcnii", {"alpha": 1.5}, "alpha must be a number from 0 to 1; got 1.5."),
        ("gcnii", {"alpha": math.nan}, "alpha must be a number from 0 to 1; got nan."),
        ("gcnii", {"theta": 0.0}, "theta must be positive and finite; got 0.0."),
        ("appnp", {"alpha": -0.1}, "alpha must be a number from 0 to 1; got -0.1."),
        ("appnp", {"K": 0}, "K must be a whole number of at least 1; got 0"),
        ("graphgps", {"residual": True}, "model='graphgps' cannot be built with"),
        ("graphgps", {"hidden": 4}, "hidden must be a multiple of heads=4, with 2 or more units"),
        ("graphgps", {"hidden": 10}, "hidden must be a multiple of heads=4, with 2 or more units"),
        (
            "graphormer",
            {"hidden": 9},
            "hidden must be a multiple of heads=2, with 1 or more units for each; got 9",
        ),
        ("graphormer", {"heads": 0}, "heads must be a whole number of at least 1; got 0"),
        ("graphormer", {"sample": 0}, "sample must be a whole number of at least 1; got 0"),
        ("graphormer", {"cap": 0}, "cap must be between 1 and 120; got 0."),
        ("graphormer", {"cap": 121}, "cap must be between 1 and 120; got 121."),
    ],
    ids=str,
)
def test_bad_options_are_told_in_a_sentence(name, options, sentence, small, tmp_path):
    with pytest.raises(gm.InputError, match=re.escape(sentence)) as told, unchecked_types():
        gm.zoo.train(name, small, cache=tmp_path, **options)
    (option,) = options
    assert option in str(told.value)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- drop()


@pytest.mark.parametrize("density", [0.02, 0.9])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_drop_keeps_a_share_and_scales_it(density, share):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        h = torch.randn(500, 400) * (torch.rand(500, 400) < density)
        dropped = drop(h, share, True)
    assert dropped.shape == h.shape
    assert not bool(dropped[h == 0].any())
    kept = dropped != 0
    torch.testing.assert_close(dropped[kept], h[kept] / (1 - share))
    # Binomial(n, 1 − share): five standard deviations, once in two million draws
    n = int((h != 0).sum())
    assert abs(int(kept.sum()) - n * (1 - share)) < 5 * math.sqrt(n * share * (1 - share))


def test_drop_leaves_its_input_and_what_is_not_training():
    h = torch.eye(20)
    assert drop(h, 0.5, False) is h
    assert drop(h, 0.0, True) is h
    before = h.clone()
    with torch.random.fork_rng():
        drop(h, 0.5, True)
    assert torch.equal(h, before)
    assert drop(torch.zeros(3, 4), 0.5, True).equal(torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (8, 16), (2, 3, 4)])
def test_dense_numbers_are_dropped_by_bytes(shape):
    """Whatever their number, which need be no multiple of 8: each kept in half of the draws."""
    h = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = torch.stack([drop(h, 0.5, True) for _ in range(2000)])
    assert draws.dtype == h.dtype
    assert set((draws / h).view(-1).tolist()) == {0.0, 2.0}
    kept = (draws != 0).double()
    # Binomial(2000, 1/2): five standard deviations; and no two of them are dropped together
    assert float((kept.mean(0) - 0.5).abs().max()) < 5 * 0.5 / math.sqrt(2000)
    if h.numel() > 1:
        correlations = torch.corrcoef(kept.view(2000, -1).T) - torch.eye(h.numel())
        assert float(correlations.abs().max()) < 5 / math.sqrt(2000)


@pytest.mark.parametrize("share", [1 / 256, 0.25, 0.5, 0.75, 255 / 256])
def test_every_byte_is_dropped_or_kept_by_its_share(share, monkeypatch):
    words = torch.arange(256, dtype=torch.uint8).view(torch.int64)
    monkeypatch.setattr(torch, "randint", lambda *args, **kwargs: words)
    kept = drop(torch.ones(16, 16), share, True).view(-1)
    assert int((kept != 0).sum()) == 256 * (1 - share)
    torch.testing.assert_close(
        kept[kept != 0], torch.full([int(256 * (1 - share))], 1 / (1 - share))
    )


@pytest.mark.parametrize("gradient", [True, False], ids=["sparse with gradient", "dense"])
def test_drop_is_plain_dropout_otherwise(gradient):
    """With a gradient, or where 0.3 is no multiple of 1/256."""
    h = (torch.eye(30) if gradient else torch.ones(30, 30)).requires_grad_(gradient)
    results = []
    for dropout in (lambda: drop(h, 0.3, True), lambda: F.dropout(h, 0.3)):
        with torch.random.fork_rng():
            torch.manual_seed(4)
            results.append(dropout())
    assert torch.equal(*results)
    if gradient:
        (slope,) = torch.autograd.grad(results[0].sum(), h)
        kept = results[0].detach() != 0
        torch.testing.assert_close(slope[kept], torch.full_like(slope[kept], 1 / 0.7))


def test_drop_of_rows_that_are_not_contiguous():
    h = torch.eye(20)[:, ::2].T
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dropped = drop(h, 0.5, True)
    assert bool(((dropped == 0) | (dropped == 2 * h)).all())
    assert 0 < int((dropped != 0).sum()) < 10
