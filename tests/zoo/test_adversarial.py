"""Adversarial and inductive training: the attack's limits, its effect, what is not looked at."""

import copy
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from networks import same
from torch import Tensor, nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.inputs import Inputs
from graph_metamers.zoo import MODELS, AdversarialTraining, Training, loop, train
from graph_metamers.zoo.adversarial import Perturbed
from helpers import seeded, unchecked_types

EPSILONS = {"l2": 1.0, "linf": 0.1}


def loss_of(model: nn.Module, data: Data, mask: Tensor):
    def loss(x: Tensor) -> Tensor:
        return F.cross_entropy(model(x, data.edge_index)[mask], data.y[mask])

    return loss


def perturbed_by(attack: AdversarialTraining, loss, x: Tensor) -> Tensor:
    return attack.attack(lambda at: loss(at.whole()), x).whole()


def untrained(name: str = "gcn") -> nn.Module:
    return seeded(lambda: MODELS[name](40, 3)).eval()


# -------------------------------------------------------------------------------- the attack


@pytest.mark.parametrize("step_size", [None, 0.01, 100.0])
@pytest.mark.parametrize("epsilon", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("features", ["binary", "continuous"])
def test_it_stays_in_the_ball_and_among_the_features(features, norm, epsilon, step_size, small):
    x = small.x
    if features == "continuous":
        x = torch.randn(60, 40, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    loss = loss_of(untrained(), small, small.train_mask)
    attack = AdversarialTraining(epsilon, steps=4, step_size=step_size, norm=norm)
    perturbed = perturbed_by(attack, loss, x)
    assert torch.equal(x, before)
    assert not perturbed.requires_grad
    length = (perturbed - x).norm(dim=1, p={"l2": 2, "linf": torch.inf}[norm])
    assert 0 < float(length.max()) <= epsilon * (1 + 1e-5)
    assert float(perturbed.min()) >= float(x.min())
    assert float(perturbed.max()) <= float(x.max())
    with torch.no_grad():
        assert float(loss(perturbed)) > float(loss(x))


@pytest.mark.parametrize("name", MODELS)
def test_it_raises_the_loss_of_every_model_and_leaves_it_alone(name, small):
    model = untrained(name)
    before = copy.deepcopy(model.state_dict())
    loss = loss_of(model, small, small.train_mask)
    perturbed = perturbed_by(AdversarialTraining(), loss, small.x)
    with torch.no_grad():
        assert float(loss(perturbed)) > float(loss(small.x))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("narrow", [False, True], ids=["whole", "rows"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_projected_gradient_descent(norm, narrow, small):
    """Written down once more, on all nodes' features and node by node."""
    model, steps, epsilon = untrained(), 4, 0.5
    loss = loss_of(model, small, small.train_mask)
    low, high = small.x.min(), small.x.max()
    at = small.x.clone()
    for _ in range(steps):
        at.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(at), at)
        at = at.detach()
        for node in gradient.any(dim=1).nonzero().view(-1).tolist():
            g, clean = gradient[node], small.x[node]
            direction = g.sign() if norm == "linf" else g / g.norm()
            delta = at[node] + direction * 2.5 * epsilon / steps - clean
            if norm == "linf":
                delta = delta.clamp(-epsilon, epsilon)
            elif delta.norm() > epsilon:
                delta = delta * epsilon / delta.norm()
            at[node] = (clean + delta).clamp(low, high)

    attack = AdversarialTraining(epsilon, steps=steps, norm=norm)
    if narrow:  # as in training
        scores_at = loop.narrow(model, Inputs.of(small))
        train_mask, labels = small.train_mask, small.y[small.train_mask]
        ours = attack.attack(lambda p: F.cross_entropy(scores_at(p)[train_mask], labels), small.x)
        assert torch.equal(ours.nodes, (at != small.x).any(dim=1).nonzero().view(-1))
        ours = ours.whole()
    else:
        ours = perturbed_by(attack, loss, small.x.clone().requires_grad_())
    assert not ours.requires_grad
    torch.testing.assert_close(ours, at, rtol=0, atol=1e-5)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_linear_loss_is_raised_as_far_as_can_be(norm):
    """Of w · x the best within the ball is along w, or its sign."""
    w = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 2.0]])
    x = torch.tensor([[0.0, 0.0, 9.0], [-9.0, 0.0, 0.0]])
    attack = AdversarialTraining(1.0, steps=3, norm=norm)
    delta = perturbed_by(attack, lambda x: (w * x).sum(), x) - x
    best = w.sign() if norm == "linf" else w / w.norm(dim=1, keepdim=True)
    torch.testing.assert_close(delta, best)


def test_nodes_that_do_not_matter_are_left_alone():
    data = Data(x=torch.rand(4, 40), edge_index=torch.tensor([[0, 1], [1, 0]]))
    data.y = torch.zeros(4, dtype=torch.long)
    mask = torch.tensor([True, False, False, False])
    perturbed = perturbed_by(AdversarialTraining(), loss_of(untrained(), data, mask), data.x)
    changed = (perturbed != data.x).any(dim=1)
    assert changed.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epsilon": 0.0}, "epsilon must be positive and finite; got 0.0."),
        ({"epsilon": float("nan")}, "epsilon must be positive and finite; got nan."),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0."),
        ({"step_size": 0.0}, "step_size must be positive and finite; got 0.0."),
        ({"step_size": -1.0}, "step_size must be positive and finite; got -1.0."),
    ],
    ids=str,
)
def test_settings_out_of_range(settings, sentence):
    with pytest.raises(gm.InputError, match=re.escape(sentence)):
        AdversarialTraining(**settings)


@pytest.mark.parametrize("norm", ["l1", "L2", ""])
def test_other_norms(norm):
    sentence = f"norm must be 'l2' or 'linf'; got '{norm}'"
    with pytest.raises(gm.InputError, match=sentence), unchecked_types():
        AdversarialTraining(norm=norm)


# -------------------------------------------------------------------------------- training with it


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_with_it(name, norm, small, tmp_path):
    attack = AdversarialTraining(EPSILONS[norm], steps=2, norm=norm)
    settings = Training(lr=0.01, epochs=3, adversarial=attack)
    trained = train(name, small, training=settings, cache=tmp_path)
    plain = train(name, small, training=Training(lr=0.01, epochs=3), cache=tmp_path)
    assert not same(trained.model, plain.model)
    assert trained.provenance["training"]["adversarial"]["norm"] == norm
    again = train(name, small, training=settings, cache=tmp_path)
    assert again.cached
    assert same(again.model, trained.model)
    assert all(p.requires_grad and p.grad is None for p in trained.model.parameters())
    other = Training(lr=0.01, epochs=3, adversarial=AdversarialTraining(steps=3, norm=norm))
    assert not train(name, small, training=other, cache=tmp_path).cached


@pytest.mark.parametrize("name", ["gcn", "graphsage", "gat", "appnp"])
@pytest.mark.parametrize(
    ("share", "dropout"), [(0.1, 0.0), (0.9, 0.0), (0.9, 0.5)], ids=["few words", "many", "dropout"]
)
def test_the_training_step_is_taken_on_perturbed_features(name, share, dropout, small, tmp_path):
    """One epoch, written down once more: attacked in evaluation, stepped in training mode.

    Where most features are zeros dropout draws its numbers in another order: there without.
    """
    small = small.clone()
    small.x = (torch.rand(small.x.shape, generator=torch.Generator().manual_seed(0)) < share) * 1.0
    attack = AdversarialTraining(steps=2)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = MODELS[name](40, 3, dropout=dropout)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
        loss = loss_of(model, small, small.train_mask)
        x = perturbed_by(attack, loss, small.x) if model.eval() else small.x
        model.train()
        loss(x).backward()
        optimizer.step()
    settings = Training(lr=0.01, epochs=1, adversarial=attack)
    options = {"training": settings, "cache": tmp_path, "dropout": dropout}
    trained = train(name, small, seed=3, **options).model
    for (weight, ours), theirs in zip(
        trained.named_parameters(), model.parameters(), strict=True
    ):  # a step of Adam is lr long, but where a gradient is rounding alone
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=weight)


def test_perturbed_features_are_dropped_as_clean_ones_are(small):
    """In training each is zero or doubled, in half of the cases: means over draws say so."""
    model = MODELS["gcn"](40, 3, hidden=8, dropout=0.5).train()
    scores_at = loop.narrow(model, Inputs.of(small))
    assert small.x.mean() < 0.25  # few words: the product is a sparse one
    nodes = torch.arange(0, 60, 2)
    at = Perturbed(small.x, nodes, small.x[nodes] + 0.3)
    seen = {}
    model.layer2.dropout = 0.0
    model.layer1.activation = None  # scores are linear in the features: means are comparable
    for name, scores in {
        "fast": lambda: scores_at(at),
        "plain": lambda: model(at.whole(), small.edge_index),
    }.items():
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            seen[name] = torch.stack([scores() for _ in range(400)])
    model.eval()
    with torch.no_grad():
        clean = model(at.whole(), small.edge_index)
    for draws in seen.values():
        deviation = draws.std(0) / 20
        assert float(((draws.mean(0) - clean) / deviation).abs().max()) < 5
    torch.testing.assert_close(seen["fast"].std(0), seen["plain"].std(0), rtol=0.25, atol=0)


def test_the_loss_under_the_same_attack_is_lower(tmp_path):
    """Mean over three seeds of the unseen nodes' loss; the attack on them raises it in both."""
    data = gm.datasets.csbm(nodes=300, features=200, density=0.05)
    attack = AdversarialTraining(epsilon=0.5, steps=3)
    losses = {"plain": [], "adversarial": []}
    for seed in range(3):
        for name, adversarial in {"plain": None, "adversarial": attack}.items():
            settings = Training(lr=0.01, epochs=60, adversarial=adversarial)
            trained = train("gcn", data, seed=seed, training=settings, cache=tmp_path)
            assert trained.accuracy["test"] > 0.8  # chance is 1/3
            loss = loss_of(trained.model, data, data.test_mask)
            with torch.no_grad():
                clean = float(loss(data.x))
            attacked = float(loss(perturbed_by(attack, loss, data.x)).detach())
            assert attacked > clean
            losses[name].append(attacked)
    assert sum(losses["adversarial"]) < sum(losses["plain"])


# -------------------------------------------------------------------------------- inductive


def other_test_nodes(data: Data) -> Data:
    """Other features, labels and edges of the test nodes alone."""
    data = data.clone()
    test = data.test_mask
    data.x[test] = 1 - data.x[test]
    data.y[test] = (data.y[test] + 1) % 3
    hidden = test[data.edge_index].any(dim=0)
    assert hidden.any()
    assert not hidden.all()
    data.edge_index = data.edge_index[:, ~hidden]
    return data


@pytest.mark.parametrize("adversarial", [None, AdversarialTraining(steps=2)], ids=["plain", "pgd"])
@pytest.mark.parametrize("name", MODELS)
def test_inductive_training_does_not_look_at_test_nodes(name, adversarial, small, tmp_path):
    settings = Training(lr=0.02, epochs=12, inductive=True, adversarial=adversarial)
    first, second = (
        train(name, data, training=settings, cache=tmp_path)
        for data in (small, other_test_nodes(small))
    )
    assert not second.cached
    assert same(first.model, second.model)
    assert first.history == second.history
    with torch.no_grad():  # accuracies are those of the whole graph
        right = first.model(small.x, small.edge_index).argmax(1) == small.y
    for part in ("train", "val", "test"):
        mask = small[f"{part}_mask"]
        assert first.accuracy[part] == float(right[mask].double().mean())


def test_inductive_training_leaves_the_graph_alone(small, tmp_path):
    data = small.clone()
    before = pickle.dumps(data)
    train("gcn", data, training=Training(epochs=1, inductive=True), cache=tmp_path)
    assert pickle.dumps(data) == before


def test_other_training_looks_at_their_features_but_not_their_labels(small, tmp_path):
    settings = Training(lr=0.02, epochs=12)
    data = small.clone()
    data.y[data.test_mask] = (data.y[data.test_mask] + 1) % 3
    plain, labels, features = (
        train("gcn", d, training=settings, cache=tmp_path).model
        for d in (small, data, other_test_nodes(small))
    )
    assert same(plain, labels)
    assert not same(plain, features)
    inductive = train("gcn", small, training=Training(lr=0.02, epochs=12, inductive=True),
                      cache=tmp_path)  # fmt: skip
    assert not same(plain, inductive.model)


def test_inductive_training_with_edge_weights(small, tmp_path):
    data = small.clone()
    data.edge_weight = torch.rand(data.num_edges, generator=torch.Generator().manual_seed(0))
    settings = Training(lr=0.02, epochs=5, inductive=True)
    hidden = data.test_mask[data.edge_index].any(dim=0)
    other = data.clone()
    other.edge_weight[hidden] *= 2
    trained = [train("gcn", d, training=settings, cache=tmp_path).model for d in (data, other)]
    assert same(*trained)
    plain = train("gcn", small, training=settings, cache=tmp_path).model
    assert not same(trained[0], plain)


# -------------------------------------------------------------------------------- the rest


@pytest.mark.parametrize(("every", "looks"), [(1, 10), (3, 4), (10, 1), (50, 1)])
def test_validation_every_few_epochs(every, looks, small, tmp_path):
    def history(every: int) -> list[float]:
        settings = Training(lr=0.01, epochs=10, validate_every=every)
        return train("gcn", small, training=settings, cache=tmp_path).history

    assert len(history(every)) == looks
    assert history(every) == history(1)[::every]


def test_validation_every_few_epochs_and_patience(small, tmp_path):
    settings = Training(lr=0.1, epochs=100, patience=7, validate_every=3)
    history = train("gcn", small, training=settings, cache=tmp_path).history
    best = history.index(min(history))
    assert len(history) == best + 1 + 3 < 33  # the third look after it is 9 ≥ 7 epochs later


@pytest.mark.parametrize("name", MODELS)
def test_a_cache_entry_with_another_weight_is_made_anew(name, small, tmp_path):
    settings = Training(lr=0.01, epochs=3)
    first = train(name, small, training=settings, cache=tmp_path)
    (entry,) = tmp_path.glob("*.pt")
    state = torch.load(entry, weights_only=True)
    next(iter(state["weights"].values())).view(-1)[0] += 1e-3
    torch.save(state, entry)
    second = train(name, small, training=settings, cache=tmp_path)
    assert not second.cached
    assert same(first.model, second.model)
    assert train(name, small, training=settings, cache=tmp_path).cached
