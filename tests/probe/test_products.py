"""Sums of messages as sparse products: the same as PyG's own sums, and its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch_geometric.nn import (
    APPNP,
    ChebConv,
    GATConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINConv,
    SAGEConv,
    TAGConv,
)
from torch_geometric.utils import to_torch_csr_tensor

import graph_metamers as gm
from graph_metamers.probe.products import FACTORS, KNOWN, Pattern, sparse_product, sparse_products
from helpers import seeded

# Sums over neighbours in another order: a few units in the last place.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


class FirstInput(nn.Module):
    """GCNII's convolution, which takes its first input twice here."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GCN2Conv(6, 0.1)

    def forward(self, x, edge_index):
        return self.conv(x, x.tanh(), edge_index)


CONVOLUTIONS = {
    "gcn": lambda: GCNConv(6, 5),
    "gcn2": FirstInput,
    "appnp": lambda: APPNP(3, 0.1),
    "gat": lambda: GATConv(6, 4, heads=3),
    "gat, mean of heads": lambda: GATConv(6, 4, heads=3, concat=False),
    "gatv2": lambda: GATv2Conv(6, 4, heads=2),
    "gin": lambda: GINConv(nn.Linear(6, 5), train_eps=True),
    "sage": lambda: SAGEConv(6, 5),
    "sage, sum": lambda: SAGEConv(6, 5, aggr="sum"),
    "cheb": lambda: ChebConv(6, 5, K=3),
}
# Node 4 sends to none, 5 stands alone, one edge is there twice, and one is a loop.
EDGES = torch.tensor([[0, 1, 1, 2, 2, 0, 3, 4, 3], [1, 0, 0, 1, 2, 3, 0, 0, 1]])


def results(module, x, edges, *, fast):
    """Outputs, and gradients of the features and of all weights."""
    x = x.clone().requires_grad_()
    if fast:
        with sparse_products(module):
            out = module(x, edges)
    else:
        out = module(x, edges)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    wanted = [x, *module.parameters()]
    return [out, *torch.autograd.grad((out * weights).sum(), wanted, allow_unused=True)]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_as_the_convolution_itself(name, dtype):
    module = seeded(CONVOLUTIONS[name]).to(dtype)
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=dtype)
    plain, fast = (results(module, x, EDGES, fast=fast) for fast in (False, True))
    for a, b in zip(plain, fast, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(b, a, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_every_convolution_that_is_named_is_tried():
    made = [module for make in CONVOLUTIONS.values() for module in make().modules()]
    assert set(FACTORS) <= {type(module) for module in made}


def test_no_message_is_written(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a message was written")

    convs = [GCNConv(6, 5), GATConv(6, 4, heads=3), SAGEConv(6, 5), ChebConv(6, 5, K=3)]
    for conv in convs:
        monkeypatch.setattr(type(conv), "message", refuse)
        with pytest.raises(AssertionError):
            conv(torch.ones(6, 6), EDGES)
        with sparse_products(conv):
            conv(torch.ones(6, 6), EDGES)


def test_the_model_is_left_as_found():
    model = gm.zoo.GCN(6, 3)
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with sparse_products(model):
        assert "propagate" in vars(model.layer1.conv)
    with pytest.raises(RuntimeError), sparse_products(model):
        model(torch.ones(6, 5), EDGES)  # a feature is missing
    assert {name: dict(vars(module)) for name, module in model.named_modules()} == before


class Doubled(GCNConv):
    """A convolution whose messages are its own."""

    def message(self, x_j, edge_weight):
        return 2 * super().message(x_j, edge_weight)


def overridden():
    conv = GCNConv(6, 5)
    message = conv.message
    conv.message = lambda x_j, edge_weight: 3 * message(x_j, edge_weight)
    return conv


def hooked():
    conv = GCNConv(6, 5)
    conv.register_message_forward_hook(lambda conv, inputs, messages: 3 * messages)
    return conv


@pytest.mark.parametrize(
    "make",
    [
        lambda: Doubled(6, 5),
        overridden,
        hooked,
        lambda: SAGEConv(6, 5, aggr="max"),
        lambda: GCNConv(6, 5, flow="target_to_source"),
        lambda: GCNConv(6, 6, decomposed_layers=2),
        lambda: TAGConv(6, 5),
    ],
    ids=["own messages", "own message of this one", "hook", "max", "flow", "decomposed", "unknown"],
)
def test_others_are_left_alone(make):
    conv = seeded(make)
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    plain, own = conv(x, EDGES), vars(conv).get("propagate")
    with sparse_products(conv):
        assert vars(conv).get("propagate") is own
        torch.testing.assert_close(conv(x, EDGES), plain, rtol=0, atol=0)


def test_senders_that_are_not_the_receivers():
    """Bipartite graphs and sparse adjacencies go PyG's own way, or give the same."""
    conv = seeded(lambda: SAGEConv((6, 4), 5))
    generator = torch.Generator().manual_seed(1)
    pair = torch.randn(5, 6, generator=generator), torch.randn(4, 4, generator=generator)
    edges = torch.tensor([[0, 4, 2, 2], [1, 1, 0, 3]])
    plain = conv(pair, edges), conv((pair[0], None), edges, size=(5, 4))
    with sparse_products(conv):
        torch.testing.assert_close(conv(pair, edges), plain[0])
        torch.testing.assert_close(conv((pair[0], None), edges, size=(5, 4)), plain[1])
    square = seeded(lambda: GCNConv(6, 5))
    x = torch.randn(6, 6, generator=generator)
    adj_t = to_torch_csr_tensor(EDGES.flip(0), size=(6, 6), is_coalesced=False)
    plain_sparse = square(x, adj_t)
    with sparse_products(square):
        torch.testing.assert_close(square(x, adj_t), plain_sparse)


def test_edges_that_change_between_calls():
    conv = seeded(lambda: SAGEConv(6, 5))
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    edges = EDGES.clone()
    with sparse_products(conv):
        first = conv(x, edges)
        edges[:, 0] = torch.tensor([5, 4])  # in place: not the edges of before any more
        second = conv(x, edges)
    torch.testing.assert_close(first, conv(x, EDGES))
    torch.testing.assert_close(second, conv(x, edges))


@settings(deadline=None, max_examples=50)
@given(
    senders=st.integers(1, 6),
    receivers=st.integers(1, 6),
    heads=st.integers(1, 3),
    count=st.integers(0, 20),
    seed=st.integers(0, 1000),
)
def test_the_product_is_the_dense_one(senders, receivers, heads, count, seed):
    generator = torch.Generator().manual_seed(seed)
    count = min(count, senders * receivers)
    edges = torch.stack(
        [torch.randint(n, (count,), generator=generator) for n in (senders, receivers)]
    )
    draw = {"generator": generator, "dtype": torch.float64}
    sent = torch.randn(senders, heads, 4, **draw).requires_grad_()
    factors = torch.randn(count, heads, **draw).requires_grad_()
    weights = torch.randn(receivers, heads, 4, **draw)
    product = sparse_product(sent, factors, Pattern(edges, (receivers, senders)))
    dense = torch.zeros(receivers, senders, heads, dtype=torch.float64)
    dense = dense.index_put((edges[1], edges[0]), factors, accumulate=True)
    expected = torch.einsum("vuh,uhc->vhc", dense, sent)
    torch.testing.assert_close(product, expected)
    ours, theirs = (
        torch.autograd.grad((z * weights).sum(), [sent, factors], create_graph=True)
        for z in (product, expected)
    )
    torch.testing.assert_close(ours, theirs)
    for order in (0, 1):  # the gradients' own, which Gauss–Newton needs
        ours_again, theirs_again = (
            torch.autograd.grad(
                g[order].square().sum(),
                [sent, factors],
                retain_graph=True,
                materialize_grads=True,
            )
            for g in (ours, theirs)
        )
        torch.testing.assert_close(ours_again, theirs_again)


def other_precision(dtype):
    return lambda conv, x, edges: conv.to(dtype)(x.to(dtype), edges)


def autocast(conv, x, edges):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return conv(x, edges)


CALLS = {
    "bfloat16": other_precision(torch.bfloat16),
    "half": other_precision(torch.half),
    "autocast": autocast,
    "weights in double precision": lambda conv, x, edges: conv(
        x, edges, torch.linspace(1, 2, edges.shape[1], dtype=torch.float64)
    ),
    "weights that are whole numbers": lambda conv, x, edges: conv(
        x, edges, torch.arange(edges.shape[1])
    ),
    "several feature matrices at once": lambda conv, x, edges: conv(torch.stack([x, 2 * x]), edges),
    "jacrev": lambda conv, x, edges: torch.func.jacrev(lambda x: conv(x, edges))(x),
    "compiled": lambda conv, x, edges: torch.compile(conv, backend="eager")(x, edges),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_has_no_sparse_products_goes_the_usual_way(name):
    call = CALLS[name]
    conv = seeded(lambda: GCNConv(6, 5, normalize=False, node_dim=-2))
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    plain = call(conv, x, EDGES)
    with sparse_products(conv):
        torch.testing.assert_close(call(conv, x, EDGES), plain, rtol=0, atol=0)


def test_only_the_latest_edges_are_kept():
    conv = seeded(lambda: SAGEConv(6, 5))
    x = torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    with sparse_products(conv):
        patterns = vars(conv)["propagate"].args[2]
        for sender in range(3 * KNOWN):
            edges = torch.tensor([[sender % 6, 0], [1, sender // 6]])
            conv(x, edges)
            conv(x, edges)
        assert len(patterns) == KNOWN
        assert torch.equal(patterns[0].edges, edges)
