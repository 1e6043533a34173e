"""Small models on graphs of all kinds, and the trainer that they share."""

import copy
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.zoo import RECIPES, MotifGIN, Training, fit, train_recipe

# Called as PyG's examples call such models; the least share of right answers on the test split.
# Chance is 1/2 for a house (Bayes 1), 1/3 for a paper (Bayes 0.99) and 1/2 for a pair (Bayes
# 0.80, as a pair within a group may be no true one). Sixty labelled papers are few for attention.
CALLS = {
    "motif_gin": (lambda m, d: m(d.x, d.edge_index, d.batch), 0.9),
    "hetero_sage": (lambda m, d: m(d.x_dict, d.edge_index_dict), 0.8),
    "hgt": (lambda m, d: m(d.x_dict, d.edge_index_dict), 0.75),
    "han": (lambda m, d: m(d.x_dict, d.edge_index_dict), 0.75),
    "rgcn": (lambda m, d: m(d.x, d.edge_index, d.edge_type), 0.85),
    "lightgcn": (lambda m, d: m(d.edge_index, d.edge_label_index), 0.7),
}


@pytest.mark.parametrize("name", RECIPES)
def test_it_learns_its_graph(name):
    call, least = CALLS[name]
    trained, graph = train_recipe(name, gm.datasets.load(RECIPES[name].dataset))
    assert trained.accuracy["test"] > least
    assert not trained.model.training
    assert all(p.grad is None for p in trained.model.parameters())

    store = graph["paper"] if name in ("hetero_sage", "hgt", "han") else graph
    with torch.no_grad():
        output = call(trained.model, graph)
    if name == "lightgcn":
        right = (output > 0) == (store.edge_label == 1)
    else:
        right = output.argmax(1) == store.y
    for split, share in trained.accuracy.items():
        assert share == float(right[store[f"{split}_mask"]].double().mean())

    again = copy.deepcopy(trained.model)  # as a session of its own will have it
    with torch.no_grad():
        assert call(again, graph).equal(output)


@pytest.mark.parametrize("name", RECIPES)
def test_it_depends_on_its_seed_alone(name):
    data = gm.datasets.load(RECIPES[name].dataset)
    state = torch.get_rng_state()
    before = [store.to_dict() for store in data.stores]

    def weights(seed: int) -> dict[str, Tensor]:
        return train_recipe(name, data, seed=seed, training=Training(epochs=2))[
            0
        ].model.state_dict()

    first = weights(3)
    torch.rand(1)
    second, other = weights(3), weights(4)
    assert all(value.equal(second[key]) for key, value in first.items())
    assert not all(value.equal(other[key]) for key, value in first.items())
    torch.set_rng_state(state)
    weights(3)
    assert torch.get_rng_state().equal(state)
    for store, old in zip(data.stores, before, strict=True):
        assert list(store.keys()) == list(old)
        assert all(store[key] is value for key, value in old.items())


def test_equals_a_literal_loop():
    """The training, written down once more: the weights of the least validation loss."""
    data = gm.datasets.motifs(graphs=60, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = MotifGIN(3, 2)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=1e-3)
        history, weights = [], []
        for _ in range(12):
            model.train()
            scores = model(data.x, data.edge_index, data.batch)
            optimizer.zero_grad()
            F.cross_entropy(scores[data.train_mask], data.y[data.train_mask]).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                scores = model(data.x, data.edge_index, data.batch)[data.val_mask]
            history.append(float(F.cross_entropy(scores, data.y[data.val_mask])))
            weights.append(copy.deepcopy(model.state_dict()))
    recipe = Training(lr=0.02, weight_decay=1e-3, epochs=12)
    trained = fit(lambda: MotifGIN(3, 2), data, training=recipe, seed=3)
    assert trained.history == history
    best = history.index(min(history))
    assert best < 11
    for name, value in trained.model.state_dict().items():
        assert value.equal(weights[best][name])


def test_a_regression():
    """How many of three houses are there: R² by hand, most of the variance explained."""
    data = gm.datasets.motifs(target="count")
    trained, _ = train_recipe("motif_gin", data)
    assert trained.accuracy["test"] > 0.7
    with torch.no_grad():
        output = trained.model(data.x, data.edge_index, data.batch)
    assert output.shape == (500, 1)
    guess, y = output[data.test_mask, 0], data.y[data.test_mask]
    unexplained = ((guess - y) ** 2).mean() / y.var(correction=0)
    assert trained.accuracy["test"] == pytest.approx(1 - float(unexplained), rel=1e-5)


def test_several_labels():
    data = gm.datasets.motifs(target="colours", graphs=300)
    trained, _ = train_recipe("motif_gin", data)
    assert trained.accuracy["test"] > 0.9
    with torch.no_grad():
        output = trained.model(data.x, data.edge_index, data.batch)
    right = (output > 0) == (data.y == 1)
    assert right.shape == (300, 3)
    assert trained.accuracy["val"] == pytest.approx(float(right[data.val_mask].double().mean()))


class Fixed(nn.Module):
    """An output that its weights are."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.output = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        return self.output * 1.0


@pytest.mark.parametrize(
    ("y", "start", "loss", "quality"),
    [
        # one row trains, one validates, two test; by hand at the start, which is the best
        (torch.tensor([1, 0, 1, 0]), torch.zeros(4, 2), math.log(2), 0.5),
        (torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.zeros(4), math.log(2), 0.5),
        (torch.tensor([1.0, 0.0, 3.0, 5.0]), torch.full((4, 1), 3.0), 9.0, -1.0),
    ],
    ids=["classes", "yes or no", "values"],
)
def test_the_loss_is_by_the_kind_of_labels(y, start, loss, quality):
    masks = {f"{name}_mask": torch.zeros(4, dtype=torch.bool) for name in ("train", "val", "test")}
    for mask, rows in zip(masks.values(), ([0], [1], [2, 3]), strict=True):
        mask[rows] = True
    data = Data(x=torch.zeros(4, 1), y=y, **masks)
    data.edge_index = torch.zeros(2, 0, dtype=torch.long)
    recipe = Training(weight_decay=0.0, epochs=1)
    trained = fit(lambda: Fixed(start.clone()), data, training=recipe)
    assert trained.history == [pytest.approx(loss)]
    assert trained.accuracy["test"] == pytest.approx(quality)


def test_models_for_each_graph():
    own = {name: gm.zoo.models_for(name) for name in gm.datasets.NAMES}
    assert own["motifs"] == ("motif_gin",)
    assert own["hetero_csbm"] == ("hetero_sage", "hgt", "han", "rgcn")
    assert own["bipartite"] == ("lightgcn",)
    assert own["csbm"] == own["cora"] == tuple(gm.zoo.MODELS)
    assert {*itertools.chain(*own.values())} == {*gm.zoo.MODELS, *RECIPES}
    assert not {*gm.zoo.MODELS} & {*RECIPES}


def test_what_is_unknown_or_does_not_fit():
    data = gm.datasets.motifs(graphs=10)
    with pytest.raises(gm.InputError, match=r"dataset='motif' .* Did you mean 'motifs'\?"):
        gm.zoo.models_for("motif")
    with pytest.raises(gm.InputError, match=r"model='hgtt' .* Did you mean 'hgt'\?"):
        train_recipe("hgtt", data)
    with pytest.raises(
        gm.InputError, match=r"MotifGIN must return \[10, 2\] .* it returned \[10, 1\]"
    ):
        fit(lambda: MotifGIN(3, 1), data)
    inductive = Training(inductive=True)
    for graph in (gm.datasets.hetero_csbm(), data):
        with pytest.raises(gm.InputError, match="inductive training need one graph of one node"):
            fit(lambda: MotifGIN(3, 2), graph, training=inductive)
    del data.val_mask
    with pytest.raises(gm.InputError, match=r"must have labels .* it has x float32 \[200, 3\]"):
        fit(lambda: MotifGIN(3, 2), data)
