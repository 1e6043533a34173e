"""Training: the result, its cache, and the sentences."""

import copy
import functools
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from networks import same
from torch import Tensor, nn
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.zoo import AdversarialTraining, Training, loop, train, training
from helpers import unchecked_types

short = Training(lr=0.01, epochs=15)


def entries(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.glob("*.pt"))


# -------------------------------------------------------------------------------- the training


def test_equals_a_literal_loop(small, tmp_path):
    """The training, written down once more: Adam, dropout, least validation loss."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = gm.zoo.GCN(40, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
        history, weights = [], []
        for _ in range(short.epochs):
            model.train()
            loss = F.cross_entropy(
                model(small.x, small.edge_index)[small.train_mask], small.y[small.train_mask]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                scores = model(small.x, small.edge_index)[small.val_mask]
            history.append(float(F.cross_entropy(scores, small.y[small.val_mask])))
            weights.append(copy.deepcopy(model.state_dict()))
    best = history.index(min(history))

    trained = train("gcn", small, seed=3, training=short, cache=tmp_path)
    # The first product is summed in another order, and Adam divides small gradients by their size.
    assert trained.history == pytest.approx(history, rel=1e-5)
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(value, weights[best][name], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        right = trained.model(small.x, small.edge_index).argmax(1) == small.y
    assert trained.accuracy["val"] == float(right[small.val_mask].double().mean())
    assert not trained.model.training
    assert all(p.requires_grad and p.grad is None for p in trained.model.parameters())


def test_patience_ends_it(small, tmp_path):
    training = Training(lr=0.1, epochs=100, patience=7)  # it soon learns too much
    trained = train("gcn", small, training=training, cache=tmp_path)
    best = trained.history.index(min(trained.history))
    assert len(trained.history) == best + 1 + 7 < 100


def test_without_patience_the_last_weights_stay(small, tmp_path):
    def validation_loss(patience: int | None) -> tuple[float, list[float]]:
        training = Training(lr=0.1, epochs=60, patience=patience)
        trained = train("gcn", small, training=training, cache=tmp_path)
        with torch.no_grad():
            scores = trained.model(small.x, small.edge_index)[small.val_mask]
        return float(F.cross_entropy(scores, small.y[small.val_mask])), trained.history

    last, history = validation_loss(None)
    assert (len(history), last) == (60, pytest.approx(history[-1]))
    least, same = validation_loss(60)
    assert same == history
    assert least == pytest.approx(min(history)) != pytest.approx(last)


def test_it_learns(tmp_path):
    """Three classes of 100 nodes with strong words and links: chance is 1/3, most is learnt."""
    data = gm.datasets.csbm(nodes=300, features=200, density=0.05)
    trained = train("gcn", data, training=Training(lr=0.01, epochs=100), cache=tmp_path)
    assert trained.accuracy.keys() == {"train", "val", "test"}
    assert trained.accuracy["test"] > 0.8
    with torch.no_grad():
        right = trained.model(data.x, data.edge_index).argmax(1) == data.y
    assert trained.accuracy["test"] == float(right[data.test_mask].double().mean())


def test_a_layer_is_after_its_nonlinearity_but_the_last(small, tmp_path):
    model = train("gcn", small, training=short, cache=tmp_path).model
    seen: dict[str, Tensor] = {}
    for name in model.layer_names:
        getattr(model, name).register_forward_hook(
            lambda layer, args, output, name=name: seen.__setitem__(name, output)
        )
    scores = model(small.x, small.edge_index)
    assert float(seen["layer1"].detach().min()) == 0
    assert float(seen["layer2"].detach().min()) < 0
    assert torch.equal(seen["layer2"], scores)


# -------------------------------------------------------------------------------- the cache


def test_the_second_time_it_is_taken_from_the_cache(small, tmp_path, monkeypatch):
    first = train("gcn", small, training=short, cache=tmp_path)
    assert entries(tmp_path)
    # it would fail if it were trained again
    monkeypatch.setattr(torch.optim, "Adam", None)
    second = train("GCN", small, training=short, cache=str(tmp_path))
    assert (first.cached, second.cached) == (False, True)
    assert same(first.model, second.model)
    assert (second.accuracy, second.history) == (first.accuracy, first.history)
    assert second.provenance == first.provenance
    assert not second.model.training


def test_what_another_process_trained_meanwhile_is_taken(small, tmp_path, monkeypatch):
    first = train("gcn", small, training=short, cache=tmp_path / "other")

    @contextmanager
    def waited(path: Path):
        shutil.copy(tmp_path / "other" / path.name, path)
        yield

    monkeypatch.setattr(training, "one_at_a_time", waited)
    monkeypatch.setattr(torch.optim, "Adam", None)  # it would fail if it were trained
    (tmp_path / "here").mkdir()
    second = train("gcn", small, training=short, cache=tmp_path / "here")
    assert second.cached
    assert same(first.model, second.model)


def test_training_again_gives_the_same(small, tmp_path):
    first, second = (
        train("gcn", small, training=short, cache=tmp_path / name) for name in ("a", "b")
    )
    assert not second.cached
    assert same(first.model, second.model)


def damaged_weights(path: Path) -> None:
    """A readable file of which one weight is missing: half of it must not be taken."""
    state = torch.load(path, weights_only=True)
    weights = {key: value + 1 for key, value in state["weights"].items()}
    weights.popitem()
    torch.save(state | {"weights": weights}, path)


def without(part: str):
    def damage(path: Path) -> None:
        state = torch.load(path, weights_only=True)
        state["weights"] = {key: value + 1 for key, value in state["weights"].items()}
        del state[part]
        torch.save(state, path)

    return damage


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "text": lambda path: path.write_text("not a model"),
    "list": lambda path: torch.save([1, 2], path),
    "one weight less": damaged_weights,
    "no weights": without("weights"),
    "no accuracy": without("accuracy"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_anew(damage, small, tmp_path):
    first = train("gcn", small, training=short, cache=tmp_path)
    (entry,) = tmp_path.glob("*.pt")
    damage(entry)
    second = train("gcn", small, training=short, cache=tmp_path)
    assert not second.cached
    assert same(first.model, second.model)
    third = train("gcn", small, training=short, cache=tmp_path)
    assert third.cached
    assert same(first.model, third.model)
    assert entries(tmp_path) == [entry.name]


class Stopped(Exception):
    """What a Ctrl-C or a kill is in these tests."""


@contextmanager
def stopped_at(epoch: int):
    """The state is saved before every epoch, and a training ends before this one."""

    @contextmanager
    def bar(*args, **kwargs):
        def watch(done: int, total: int, best: float) -> None:
            if done == epoch - 1:
                raise Stopped

        yield watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)
        patch.setattr(loop, "progress_bar", bar)
        with pytest.raises(Stopped):
            yield


@pytest.mark.parametrize("patience", [None, 5, 60])
@pytest.mark.parametrize("name", ["gcn", "gat", "graphormer"])
def test_a_training_that_was_stopped_goes_on(name, patience, small, tmp_path, monkeypatch):
    """To the last bit, with two stops; what was done is not done again."""
    recipe = Training(lr=0.05, epochs=30, patience=patience, validate_every=2)
    undisturbed = train(name, small, seed=1, training=recipe, cache=tmp_path / "undisturbed")
    for epoch in (3, 5):
        with stopped_at(epoch):
            train(name, small, seed=1, training=recipe, cache=tmp_path / "here")
    assert len(list((tmp_path / "here").glob("*.checkpoint"))) == 1
    epochs, step = [], torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: epochs.append(step(self)))
    trained = train(name, small, seed=1, training=recipe, cache=tmp_path / "here")
    seen = 2 * len(undisturbed.history) - 1  # the one after a look may not have been run
    assert len(epochs) in (seen - 4, seen - 3)
    assert not trained.cached
    assert trained.history == undisturbed.history
    assert same(trained.model, undisturbed.model)
    assert not list((tmp_path / "here").glob("*.checkpoint"))


def test_weights_of_the_best_epoch_that_came_before_the_stop_stay(small, tmp_path):
    recipe = Training(lr=0.1, epochs=100, patience=7)  # it soon learns too much
    undisturbed = train("gcn", small, training=recipe, cache=tmp_path / "undisturbed")
    best = undisturbed.history.index(min(undisturbed.history))
    with stopped_at(best + 4):
        train("gcn", small, training=recipe, cache=tmp_path / "here")
    trained = train("gcn", small, training=recipe, cache=tmp_path / "here")
    assert len(trained.history) == best + 1 + 7
    assert trained.history == undisturbed.history
    assert same(trained.model, undisturbed.model)


def test_an_adversarial_training_that_was_stopped_goes_on(small, tmp_path):
    attack = AdversarialTraining(steps=2)
    recipe = Training(lr=0.01, epochs=6, patience=None, adversarial=attack)
    undisturbed = train("gcn", small, training=recipe, cache=tmp_path / "undisturbed")
    with stopped_at(3):
        train("gcn", small, training=recipe, cache=tmp_path / "here")
    trained = train("gcn", small, training=recipe, cache=tmp_path / "here")
    assert trained.history == undisturbed.history
    assert same(trained.model, undisturbed.model)


def a_weight_less(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["model"] = {key: value + 1 for key, value in state["model"].items()}
    state["model"].popitem()
    torch.save(state, path)


def of_another_optimizer(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    state["optimizer"]["param_groups"].append(state["optimizer"]["param_groups"][0])
    torch.save(state, path)


UNFIT = {
    **{name: DAMAGES[name] for name in ("empty", "cut", "text", "list")},
    "nothing": lambda path: torch.save({}, path),
    "a weight less": a_weight_less,
    "another optimizer": of_another_optimizer,
}


@pytest.mark.parametrize("damage", UNFIT.values(), ids=UNFIT)
def test_a_checkpoint_that_does_not_fit_is_left_aside(damage, small, tmp_path):
    undisturbed = train("gcn", small, training=short, cache=tmp_path / "undisturbed")
    with stopped_at(4):
        train("gcn", small, training=short, cache=tmp_path / "here")
    (entry,) = (tmp_path / "here").glob("*.checkpoint")
    damage(entry)
    trained = train("gcn", small, training=short, cache=tmp_path / "here")
    assert same(trained.model, undisturbed.model)
    assert trained.history == undisturbed.history


def test_other_settings_do_not_go_on_from_it(small, tmp_path):
    other = Training(lr=0.02, epochs=15)
    undisturbed = train("gcn", small, training=other, cache=tmp_path / "undisturbed")
    with stopped_at(4):
        train("gcn", small, training=short, cache=tmp_path / "here")
    trained = train("gcn", small, training=other, cache=tmp_path / "here")
    assert trained.history == undisturbed.history
    assert same(trained.model, undisturbed.model)


@pytest.mark.parametrize("attack", [None, AdversarialTraining(steps=2)])
def test_frozen_weights_stay(attack, small):
    def build(*, frozen: bool = True):
        model = gm.zoo.GCN(40, 3)
        model.layer1.requires_grad_(not frozen)
        return model

    fitted = functools.partial(
        gm.zoo.fit,
        data=small,
        training=replace(short, adversarial=attack),
        cache_key=f"frozen {attack}",
        progress=False,
    )
    fitted(functools.partial(build, frozen=False))  # another one, for the cache
    with torch.random.fork_rng():
        torch.manual_seed(0)
        before = build().state_dict()
    for cached in (False, True):
        trained = fitted(build)
        assert trained.cached is cached
        for name, weight in trained.model.named_parameters():
            frozen = name.startswith("layer1.")
            assert weight.requires_grad is not frozen
            assert torch.equal(weight, before[name]) is frozen


def test_weights_on_which_nothing_depends(small):
    class Spare(gm.zoo.GCN):
        def __init__(self) -> None:
            super().__init__(40, 3)
            self.requires_grad_(False)
            self.spare = nn.Parameter(torch.ones(2))

    with pytest.raises(gm.InputError, match="Spare's output must depend on weights with req"):
        gm.zoo.fit(Spare, small, training=short, progress=False)


def test_without_weights_to_train(small):
    class Bare(nn.Module):
        def forward(self, x, edge_index):
            return x[:, :3]

    for model in (Bare(), gm.zoo.GCN(40, 3).requires_grad_(False)):
        sentence = f"{type(model).__name__} must have weights to train; it has none with requires_g"
        with pytest.raises(gm.InputError, match=sentence):
            gm.zoo.fit(lambda model=model: model, small, training=short)


def test_a_model_of_ones_own_begins_again(small):
    """It may count epochs in what no state_dict holds."""

    class Counting(gm.zoo.GCN):
        epochs = 0

        def forward(self, x, edge_index):
            self.epochs += self.training
            return super().forward(x, edge_index) * (1 + self.epochs)

    def fitted(key: str) -> nn.Module:
        build = functools.partial(Counting, 40, 3)
        return gm.zoo.fit(build, small, training=short, cache_key=key, progress=False).model

    undisturbed = fitted("undisturbed")
    with stopped_at(4):
        fitted("here")
    assert same(fitted("here"), undisturbed)


def other_graph(data: Data, key: str) -> Data:
    data = data.clone()
    if key == "y":
        data.y = (data.y + 1) % 3
    elif key == "train_mask":
        data.train_mask[data.val_mask.nonzero()[0]] = True
    elif key == "edge_index":
        data.edge_index = data.edge_index[:, 2:]
    else:
        data.x[0, 0] = 1 - data.x[0, 0]
    return data


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"hidden": 8},
        {"dropout": 0.1},
        {"activation": "elu"},
        {"training": Training(lr=0.02, epochs=15)},
        {"data": "x"},
        {"data": "y"},
        {"data": "edge_index"},
        {"data": "train_mask"},
    ],
    ids=str,
)
def test_what_makes_another_model(other, small, tmp_path):
    call = {"data": small, "training": short, "cache": tmp_path}
    first = train("gcn", **call)
    if "data" in other:
        other = {"data": other_graph(small, other["data"])}
    second = train("gcn", **(call | other))
    assert not second.cached
    assert not same(first.model, second.model)
    assert len(entries(tmp_path)) == 2
    assert train("gcn", **(call | other)).cached


def test_it_is_cached_in_the_users_cache(small, tmp_path, monkeypatch):
    monkeypatch.setenv("GRAPH_METAMERS_CACHE", str(tmp_path / "cache"))
    train("gcn", small, training=Training(epochs=1))
    (name,) = entries(tmp_path / "cache" / "models")
    assert re.fullmatch(r"gcn-[0-9a-f]{16}\.pt", name)


def test_provenance(small, tmp_path):
    trained = train("gcn", small, seed=2, training=short, cache=tmp_path, hidden=8)
    assert trained.provenance["model"] == "gcn"
    assert trained.provenance["options"] == {"hidden": 8}
    assert trained.provenance["seed"] == 2
    assert trained.provenance["training"]["epochs"] == 15
    assert trained.provenance["torch"] == str(torch.__version__)
    assert type(trained.provenance["torch"]) is str  # torch's own class could not be read back


def test_the_global_random_state_is_neither_used_nor_changed(small, tmp_path):
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        models.append(train("gcn", small, training=short, cache=tmp_path / str(seed)).model)
        assert torch.equal(torch.get_rng_state(), state)
        train("gcn", small, training=short, cache=tmp_path / str(seed))  # from the cache
        assert torch.equal(torch.get_rng_state(), state)
    assert same(*models)


def test_gradients_off_outside_do_not_matter(small, tmp_path):
    with torch.no_grad():
        inside = train("gcn", small, training=short, cache=tmp_path / "a").model
    assert same(inside, train("gcn", small, training=short, cache=tmp_path / "b").model)


# ---------------------------------------------------------------------------------------- fit()


def test_fit_is_the_zoos_training(small, tmp_path):
    training = gm.zoo.Training(lr=0.01, epochs=5)
    zoo = gm.zoo.train("gcn", small, seed=3, training=training, cache=tmp_path)
    state = torch.random.get_rng_state()
    own = gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), small, seed=3, training=training)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(zoo.model, own.model)
    assert (own.accuracy, own.history, own.cached) == (zoo.accuracy, zoo.history, False)
    assert own.provenance["model"] == "GCN"
    assert own.provenance["data"] == zoo.provenance["data"]
    other = gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), small, seed=4, training=training)
    assert not same(other.model, zoo.model)


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
    assert same(first.model, again.model)
    (path,) = tmp_path.rglob("*.pt")
    path.write_bytes(path.read_bytes()[:-100])  # a damaged entry is trained again
    assert not found().cached
    longer = gm.zoo.Training(lr=0.01, epochs=6)
    assert not any(other.cached for other in (found("b"), found(seed=1), found(training=longer)))


def test_fit_says_what_it_needs(small):
    with pytest.raises(gm.InputError, match=r"GCN must return \[60, 3\] .* it returned \[60, 2\]"):
        gm.zoo.fit(lambda: gm.zoo.GCN(40, 2), small)
    with pytest.raises(gm.InputError, match=r"model must be a torch\.nn\.Module; got int"):
        gm.zoo.fit(lambda: 3, small)  # pyright: ignore[reportArgumentType]
    unlabelled = small.clone()
    del unlabelled.y
    with pytest.raises(gm.InputError, match=r"must have labels .* it has x float32 \[60, 40\]"):
        gm.zoo.fit(lambda: gm.zoo.GCN(40, 3), unlabelled)


# -------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ({"name": "gnc"}, r"model='gnc' is not a zoo model\. Did you mean 'g"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
    ids=str,
)
def test_unknown_models_and_options(call, sentence, small, tmp_path):
    with pytest.raises(gm.InputError, match=sentence), unchecked_types():
        train(**({"name": "gcn", "data": small, "cache": tmp_path} | call))
    assert entries(tmp_path) == []


@pytest.mark.parametrize("name", ["y", "train_mask", "val_mask", "test_mask"])
@pytest.mark.parametrize(
    "value", [None, torch.ones(3), torch.ones(60, 10)], ids=["none", "3", "2d"]
)
def test_missing_labels_or_masks(name, value, small, tmp_path):
    data = small.clone()
    data[name] = value
    with pytest.raises(gm.InputError, match=r"must have labels .* a train_mask|data\.y must hold"):
        train("gcn", data, cache=tmp_path)


def test_odd_labels_and_empty_masks(small, tmp_path):
    data = small.clone()
    data.y = data.y.float()
    with pytest.raises(gm.InputError, match=r"data\.y must hold a class .*; got float32 \[60\]"):
        train("gcn", data, cache=tmp_path)
    data.y = small.y - 1
    with pytest.raises(gm.InputError, match="the least is -1"):
        train("gcn", data, cache=tmp_path)
    data.y = small.y
    data.val_mask = torch.zeros(60, dtype=torch.bool)
    with pytest.raises(gm.InputError, match="must each mark at least one row"):
        train("gcn", data, cache=tmp_path)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"lr": 0.0}, "lr must be positive and finite; got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be zero or more and finite; got -1.0"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1; got 0"),
        ({"validate_every": 0}, "validate_every must be a whole number of at least 1; got 0"),
        ({"patience": 0}, "patience must be a whole number of at least 1; got 0"),
    ],
    ids=str,
)
def test_training_out_of_range(settings, sentence):
    with pytest.raises(gm.InputError, match=sentence):
        Training(**settings)
