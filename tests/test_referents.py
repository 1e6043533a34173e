"""Referents: tables by hand, and graphs of which Bayes' rule is known."""

import dataclasses
import re

import pytest
import torch
from torch import Tensor, nn

import graph_metamers as gm
from graph_metamers.datasets import ContextualSBM
from graph_metamers.referents import bayes_referent, model_referent, referent

# Structure says all, words nothing; and the other way round: 2 · 30 · 29 / 2 = 870 of
# 60 · 59 / 2 = 1770 pairs are within a class, as many as there would be by chance.
STRUCTURE = ContextualSBM(
    nodes=60, classes=2, features=40, density=0.2, degree=12.0, homophily=0.95, signal=1.0
)
WORDS = ContextualSBM(
    nodes=60, classes=2, features=40, density=0.2, homophily=870 / 1770, signal=3.0
)
quick = gm.Adam(lr=0.05, steps=5)


class Folded(nn.Module):
    """Reads word j and word j + 20 alike: it does not see of which topic a word is."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(40, 2, bias=False)
        half = torch.randn(2, 20, generator=torch.Generator().manual_seed(0))
        self.read.weight.data = torch.cat([half, half], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x)


class Topics(nn.Module):
    """The class whose topic has more words; the first, where both have as many."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, :20].sum(1), x[:, 20:].sum(1)], dim=1)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return gm.zoo.GCN(40, 2)


def topics_exchanged(nodes: int) -> gm.Metamer:
    """Of the first nodes, words of one topic become those of the other."""
    m = gm.metamer(Folded(), WORDS.sample(), "output", search=quick)
    x = m.reference.x.clone()
    x[:nodes] = torch.cat([x[:nodes, 20:], x[:nodes, :20]], dim=1)
    return with_x(m, x)


def with_x(m: gm.Metamer, x: Tensor) -> gm.Metamer:
    return dataclasses.replace(m, inputs=m.original.replaced({"x": x}))


# ----------------------------------------------------------------------------- by hand

OUTPUTS = ("reference_output", "metamer_output")


def scores(*classes: int) -> Tensor:
    return torch.eye(3)[list(classes)]


@pytest.mark.parametrize(
    ("after", "labels_after", "invariant", "sensitive"),
    [
        # predictions 0 1 2 0, labels 5 6 7 8 before
        ([0, 1, 2, 0], [5, 6, 7, 8], [], []),  # nothing changed for either
        ([0, 1, 2, 0], [6, 5, 8, 7], [0, 1, 2, 3], []),
        ([1, 2, 0, 1], [5, 6, 7, 8], [], [0, 1, 2, 3]),
        ([1, 2, 0, 1], [6, 5, 8, 7], [], []),  # everything did for both
        ([0, 0, 2, 2], [5, 6, 6, 9], [2], [1]),
        ([0, 1, 2, 2], [9, 9, 7, 8], [0, 1], [3]),
    ],
)
def test_four_nodes_by_hand(after, labels_after, invariant, sensitive):
    found = referent(
        scores(0, 1, 2, 0),
        scores(*after),
        torch.tensor([5, 6, 7, 8]),
        torch.tensor(labels_after),
        name="a table",
    )
    assert found.over_invariance == len(invariant) / 4
    assert found.over_sensitivity == len(sensitive) / 4
    assert found.agreement == 1 - (len(invariant) + len(sensitive)) / 4
    assert found.over_invariant_nodes.nonzero().view(-1).tolist() == invariant
    assert found.over_sensitive_nodes.nonzero().view(-1).tolist() == sensitive
    assert (found.name, found.nodes) == ("a table", 4)


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [((-3.0, 0.2), (0.2, 0.7), [True, False]), ((0.1, 0.2), (0.2, 0.7), [False, True])],
    ids=["logits", "probabilities"],
)
def test_a_single_column_is_read_on_both_graphs_alike(before, after, changed):
    """0.2 and 0.7 are logits beside −3, and probabilities without it."""
    outputs = (torch.tensor(column)[:, None] for column in (before, after))
    labels = torch.zeros(2, dtype=torch.long)
    assert referent(*outputs, labels, labels, name="").over_sensitive_nodes.tolist() == changed


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"metamer_output": scores(0)}, "Both tensors must have the same shape; got [2, 3] and"),
        (
            {"reference_labels": torch.zeros(3).long()},
            "reference_labels must be one label for each",
        ),
        ({"metamer_labels": torch.zeros(2, 3).long()}, "Of class scores take argmax(1)."),
        (dict.fromkeys(OUTPUTS, torch.zeros(0, 3)), "a row for each node; got [0, 3]."),
        (dict.fromkeys(OUTPUTS, torch.tensor(0.5)), "a row for each node; got []."),
    ],
)
def test_shapes_that_do_not_fit(given, sentence):
    labels = dict.fromkeys(("reference_labels", "metamer_labels"), torch.tensor([0, 1]))
    outputs = dict.fromkeys(OUTPUTS, scores(0, 1))
    with pytest.raises(gm.InputError, match=re.escape(sentence)):
        referent(**(outputs | labels | given), name="a table")


# ----------------------------------------------------------------------------- Bayes' rule


@pytest.mark.parametrize("structure", [True, False])
def test_words_that_say_nothing_change_no_label(structure):
    """With edges the label comes from them; without, both classes are equally likely."""
    model = network()
    m = gm.metamer(model, STRUCTURE.sample(), "layer1", search=quick)
    found = bayes_referent(m, model, STRUCTURE, structure=structure)
    assert found.over_invariance == 0
    assert found.over_sensitivity == pytest.approx(1 - m.scores["prediction_match"])
    assert 0 < found.over_sensitivity < 1
    assert ("edges" in found.name) == structure


@pytest.mark.parametrize("nodes", [60, 23])
@pytest.mark.parametrize("structure", [True, False])
def test_the_model_overlooks_exchanged_topics(nodes, structure):
    """Exchanged, the posterior of a node is the other way round, but where it is 1/2 each."""
    m = topics_exchanged(nodes)
    found = bayes_referent(m, Folded(), WORDS, structure=structure)
    x = m.reference.x[:nodes]
    turned = x[:, :20].sum(1) != x[:, 20:].sum(1)
    assert 0 < int(turned.sum()) < nodes  # some nodes have as many words of both
    assert found.over_invariance == pytest.approx(int(turned.sum()) / 60)
    assert torch.equal(found.over_invariant_nodes[:nodes], turned)
    assert not found.over_invariant_nodes[nodes:].any()
    assert found.over_sensitivity == 0
    assert found.agreement == pytest.approx(1 - found.over_invariance)


def test_features_of_two_classes_exchanged_node_by_node():
    """A model with one answer for all takes each node for one of the other class."""
    data = WORDS.sample()
    first, second = ((data.y == c).nonzero().view(-1)[:10] for c in (0, 1))
    m = gm.metamer(Folded(), data, "output", search=quick)
    x = data.x.clone()
    x[first], x[second] = data.x[second], data.x[first]
    m = with_x(m, x)
    found = bayes_referent(
        m, Folded(), WORDS, structure=False, forward=lambda model, d: 0 * model(d.x)
    )
    more = (data.x[:, 20:].sum(1) > data.x[:, :20].sum(1)).long()
    apart = int((more[first] != more[second]).sum())
    assert 5 <= apart < 10
    assert found.over_invariance == pytest.approx(2 * apart / 60)


@pytest.mark.parametrize("structure", [True, False])
def test_edges_that_say_nothing_change_no_label(structure):
    model = network()
    search = gm.EdgeSwap(steps=20)
    m = gm.metamer(model, WORDS.sample(), "layer1", vary=gm.Edges(), search=search)
    assert m.scores["edges_kept"] < 0.9
    found = bayes_referent(m, model, WORDS, structure=structure)
    assert found.over_invariance == 0
    assert found.over_sensitivity == pytest.approx(1 - m.scores["prediction_match"])


def test_edges_that_say_all_change_labels():
    """The edges of each graph are looked at: the words are the same."""
    model = network()
    search = gm.EdgeSwap(steps=20)
    m = gm.metamer(model, STRUCTURE.sample(), "layer1", vary=gm.Edges(), search=search)
    found = bayes_referent(m, model, STRUCTURE, structure=True)
    labels = [
        STRUCTURE.posterior(g.x, g.edge_index, m.reference.y).argmax(1)
        for g in (m.reference, m.data)
    ]
    assert found.over_invariance + found.over_sensitivity + found.agreement == pytest.approx(1)
    expected = (m.row_agreement == 1) & (labels[0] != labels[1])
    assert expected.any()
    assert torch.equal(found.over_invariant_nodes, expected)


def test_graphs_that_the_posterior_is_not_for():
    data = WORDS.sample()
    model = network()
    m = gm.metamer(
        model, data, "layer1", vary=gm.EdgeWeights(), search=gm.Adam(steps=2), progress=False
    )
    with pytest.raises(gm.InputError, match="no posterior for edges with weights"):
        bayes_referent(m, model, WORDS, structure=True)
    m = topics_exchanged(60)
    other = ContextualSBM(nodes=60, features=50)
    with pytest.raises(gm.InputError, match=re.escape("[60, 50] for this model")):
        bayes_referent(m, Folded(), other, structure=False)
    unlabelled = WORDS.sample()
    del unlabelled.y
    m = gm.metamer(Folded(), unlabelled, "output", search=quick, progress=False)
    with pytest.raises(gm.InputError, match=r"needs the true labels m\.reference\.y"):
        bayes_referent(m, Folded(), WORDS, structure=True)
    assert bayes_referent(m, Folded(), WORDS, structure=False).nodes == 60


# ----------------------------------------------------------------------------- another model


def test_a_referee_that_counts_topics_judges_as_bayes_does():
    m = topics_exchanged(60)
    bayes = bayes_referent(m, Folded(), WORDS, structure=False)
    found = model_referent(m, Folded(), Topics())
    assert found.name == "Topics"
    assert torch.equal(found.over_invariant_nodes, bayes.over_invariant_nodes)
    assert found.over_sensitivity == 0
    assert model_referent(m, Folded(), Topics(), name="counts").name == "counts"


def test_a_model_is_no_referee_of_itself():
    m, model = topics_exchanged(60), Folded()
    sentence = "referee must be another model than the Folded whose metamer it judges"
    for referee in (model, torch.compile(model, backend="eager")):
        with pytest.raises(gm.InputError, match=sentence):
            model_referent(m, model, referee)
    assert model_referent(m, model, Folded()).agreement == 1  # an equal one may be asked


def test_a_referee_without_a_row_for_each_node():
    m = topics_exchanged(60)
    with pytest.raises(gm.InputError, match="one label for each of the 60 rows"):
        model_referent(
            m, Folded(), Topics(), referee_forward=lambda f, d: f(d.x).mean(0, keepdim=True)
        )
