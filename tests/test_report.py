import json
import math
import re
from dataclasses import replace
from html import unescape

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCN

import graph_metamers as gm
from graph_metamers.audit import Audit
from graph_metamers.measure import DISTANCES, Distance, Verdict, register
from graph_metamers.report import (
    plot_features,
    plot_loss,
    plot_node_errors,
    plot_node_similarity,
    plot_null,
    plot_similarity,
    plot_spectrum,
    plot_trail,
    write_report,
)
from graph_metamers.report.numbers import score_text, spread_text
from graph_metamers.report.pictures import Crop
from graph_metamers.report.words import finding, headline
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory

NASTY = ("<script>alert(1)</script>", r"$\frac{$", 'a" onload="alert(1)')


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return GCN(40, 8, num_layers=2, out_channels=3).eval()


@pytest.fixture(scope="module")
def found(model, small):
    """Two layers, two seeds; all match."""
    return gm.audit(
        model,
        small,
        layers=["convs.0", "act"],
        search=gm.Adam(lr=0.05, steps=40),
        seeds=2,
        tol=0.2,
        dataset="small",
        accuracy={"test": 0.5},
        progress=False,
    )


@pytest.fixture(scope="module")
def one(found):
    """The same audit with a single run, which is quicker to draw."""
    return replace(found, metamers=found.metamers[:1])


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    return html(found, tmp_path_factory.mktemp("report"))


def failed(metamer: Metamer, status: gm.Status = gm.Status.BUDGET_SPENT) -> Metamer:
    return replace(metamer, verdict=Verdict.NOT_MATCHED, status=status, activation_error=0.5)


def no_better(metamer: Metamer) -> Metamer:
    """Within tol, and no nearer than an unrelated graph."""
    null = torch.linspace(0.01, 0.2, 99, dtype=torch.float64)
    return replace(
        metamer, verdict=Verdict.NOT_MATCHED, activation_error=0.05, nulls={"start": null}
    )


def impossible(metamer: Metamer) -> Metamer:
    """As where the reference is proved to be the only graph."""
    return replace(
        metamer,
        verdict=Verdict.IMPOSSIBLE,
        activation_error=0.0,
        data=metamer.reference,
        history=[0.0],
        trail=[(0, 0.0, 1.0)],
        notes={"unchanged": 1.0},
    )


def with_metamers(audit: Audit, metamers: list[Metamer]) -> Audit:
    return replace(audit, metamers=metamers)


def html(audit: Audit, tmp_path) -> str:
    write_report(audit, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


# What stands on the page


def test_all_that_was_asked_stands_there(found, page):
    words = text(page)
    for part in (
        "GCN",
        "small: 60 nodes, 40 features",
        "convs.0, act",
        "BinaryFeatures",
        "Adam(lr=0.05, steps=40)",
        "2 (seeds 0, 1)",
        "at most 0.2",
        "50.0% test",
        found.question["model_digest"],
        found.question["data_digest"],
        found.environment["torch"],
        "search=gm.Adam(lr=0.05, steps=40)",
        "vary=[gm.BinaryFeatures()]",
        "seeds=2",
    ):
        assert part in words


def test_the_first_sentence_says_what_a_metamer_is(page):
    assert "? A metamer is a graph that differs" in text(page)[:200]


def test_tables_hold_the_summary_with_the_null_beside(found, page):
    sections = page.split('<section class="layer"')[1:]
    for section, summary in zip(sections, found.summary(), strict=True):
        cells = dict(
            re.findall(r'<td role="cell" data-score="(\w+)"[^>]*>(.*?)</td>', section, re.S)
        )
        names = ["activation_error", *(n for n in found.metamers[0].scores if "start_" not in n)]
        null = cells.pop("start_null_activation_error")
        assert score_text(summary["null_activation_error"], "_error") in null
        assert 'mean"></span>' in cells.pop("null_activation_error")
        assert set(cells) == {*names, *(f"start_{name}" for name in names)}
        for name, cell in cells.items():
            mean, spread = summary[name], summary[f"{name}_std"]
            shown = score_text(mean, name)
            assert f'<span class="mean">{shown}</span>' in cell
            if math.isfinite(spread):
                assert f"± {spread_text(spread, mean, name)}<" in cell
            elif shown == "–":
                assert 'class="reason"' in cell
        low, high = (summary[f"feature_similarity_{end}"] for end in ("low", "high"))
        assert f'class="interval">{score_text(low)} to {score_text(high)}<' in section
        assert "Over the 2 matched runs: mean ± standard deviation" in section


def test_scores_are_those_of_the_runs_that_matched(found, tmp_path):
    first, second = found.groups()[0]
    page = html(with_metamers(found, [failed(first), second]), tmp_path)
    words = text(page)
    assert "Over the one matched run of 2; a single run has no spread." in words
    assert "The activation error is over all 2 runs." in words
    error = (0.5 + second.activation_error) / 2
    assert f'"mean">{score_text(error, "_error")}<' in page
    assert f'"mean">{score_text(second.scores["feature_similarity"])}<' in page


def test_without_a_match_there_are_no_scores_but_the_error_and_its_null(found, tmp_path):
    group = [failed(m) for m in found.groups()[0]]
    page = html(with_metamers(found, group), tmp_path)
    cells = dict(re.findall(r'<td role="cell" data-score="(\w+)"[^>]*>(.*?)</td>', page, re.S))
    assert "No scores: no run matched. The activation error is over all 2 runs." in text(page)
    assert "0.500" in cells["activation_error"]
    null = score_text(group[0].null_activation_error, "_error")
    assert null in cells["start_null_activation_error"]
    start = sum(m.scores["start_activation_error"] for m in group) / 2
    assert score_text(start, "_error") in cells["start_activation_error"]
    assert "no run matched" in cells["feature_similarity"]
    assert "–" in cells["start_feature_similarity"]
    assert "More distances" not in page


def test_further_distances_are_folded(found, page):
    shown, folded = page[: page.index("More distances")], page[page.index("More distances") :]
    assert 'data-score="feature_similarity"' in shown
    assert 'data-score="node_match"' in shown
    assert 'data-score="feature_jaccard"' not in shown
    assert 'data-score="start_feature_jaccard"' in folded


def test_all_that_was_measured_is_explained(found, page, tmp_path):
    glossary = unescape(page[page.index('<dl class="glossary">') :])
    for name, distance in DISTANCES.items():
        assert (distance.formula in glossary) == (name in found.metamers[0].scores)
    distance = Distance(
        "topics",
        "Share of topics kept",
        "T",
        "features",
        "|T ∧ T'|",
        0.0,
        1.0,
        "low",
        lambda a, b: 0.5,
    )
    own = replace(found.metamers[0], scores=found.metamers[0].scores | {"topics": 0.25})
    own = with_metamers(found, [own])
    assert "A distance that is not registered where this page was written." in html(own, tmp_path)
    register(distance)
    try:
        words = text(html(own, tmp_path))
    finally:
        del DISTANCES["topics"]
    assert "Direction: the lower the more alike; from 0 to 1. |T ∧ T'|" in words
    assert "Share of topics kept T 0.250 – not measured the lower the more alike" in words


def test_decibels_may_be_infinite(found, tmp_path):
    m = replace(found.metamers[0], scores=found.metamers[0].scores | {"activation_snr": math.inf})
    page = html(with_metamers(found, [m, m]), tmp_path)
    cell = re.search(r'data-score="activation_snr">(.*?)</td>', page, re.S)[1]
    assert cell.split() == ["<span", 'class="mean">∞</span>']
    assert re.search(r'data-score="start_activation_snr".*?\d\.\d dB</span>', page, re.S)


def test_baselines_stand_beside_the_metamers(found, page, tmp_path):
    first = next(row for row in found.baselines if row["baseline"] == "nearest_node")
    assert len(found.baselines) == 8  # four for each layer
    section = page[page.index("What a metamer must beat") :]
    section = text("<body>" + section[: section.index("</table>")])
    assert "Metamers, mean" in section
    assert first["title"] in section
    assert score_text(first["feature_similarity"]) in section
    alone = [row for row in found.baselines if row["baseline"] == "random_start"]
    assert "must beat" not in html(replace(found, baselines=alone), tmp_path)


def test_the_command_is_shown_when_it_is_known(one, tmp_path):
    assert "From the command line" not in html(one, tmp_path)
    known = replace(one, environment={**one.environment, "command": "gm audit --model 'a<b'"})
    assert "gm audit --model 'a<b'" in text(html(known, tmp_path))


def test_a_zoo_model_is_reproduced_by_name(one, tmp_path):
    audit = replace(one, question={**one.question, "model": "gcn", "dataset": "csbm"})
    assert "gm.zoo.train('gcn', data).model" in text(html(audit, tmp_path))


def test_settings_of_the_users_own_are_not_looked_for_in_the_library(one, tmp_path):
    audit = replace(one, question={**one.question, "search": "Mine(x=1)", "seeds": [3, 5]})
    words = text(html(audit, tmp_path))
    assert "search=Mine(x=1)" in words
    assert "seeds=[3, 5]" in words


# The verdict


def test_verdict_of_matched_runs(found):
    group = found.groups()[0]
    said = finding(group)
    assert headline([group]).startswith("Metamers were found at “convs.0”, in 2 of 2 runs. Their")
    assert headline([group[:1]]).startswith("A metamer was found at “convs.0”, in the one run. Its")
    assert headline(found.groups()).startswith("Metamers were found at 2 of 2 layers, in 4 of 4")
    assert (said.outcome, said.badge) == ("matched", "2 of 2 matched")
    assert said.sentences[0].startswith("Both runs matched. At “convs.0” the model responds")
    assert re.fullmatch(
        r"The activation error is at most 0\.\d+; the nearest of 99 random starts and 99 "
        r"permutations of the nodes is at 0\.\d+ \(p = 0\.01\)\.",
        said.sentences[1],
    )
    assert "predicted class stays the same" in said.sentences[-1]


def test_verdict_of_no_match_claims_nothing(found, tmp_path):
    group = [failed(m) for m in found.groups()[0]]
    said = finding(group)
    assert said.outcome == "none"
    words = " ".join([*said.sentences, *said.remedies])
    assert words.startswith("No claim can be made here: none of the 2 runs reached")
    assert gm.Status.BUDGET_SPENT.remedy in words
    assert "2 runs ended with the status “budget spent”." in words
    assert "overlooks" not in words
    assert headline([group]).startswith("No metamer was found: none of the 2 runs matched.")
    page = text(html(with_metamers(found, group), tmp_path))
    assert "it did not match, so this is no metamer" in page
    assert "0 of 2 matched" in page


def test_the_error_stands_beside_its_null(found):
    nulls = {"start": torch.full((99,), 0.44), "other": torch.full((7,), 0.5)}
    m = replace(found.metamers[0], activation_error=0.0025, nulls=nulls)
    assert finding([m]).sentences[1] == (
        "Its activation error is 0.00250; the nearest of 99 random starts and 7 other graphs is "
        "at 0.440 (p = 0.12)."
    )
    exact = replace(m, activation_error=1e-12)
    assert "is 1.00·10⁻¹², zero up to rounding; the" in finding([exact]).sentences[1]


def test_within_tol_but_no_better_than_unrelated_graphs(found, tmp_path):
    group = [no_better(m) for m in found.groups()[0]]
    said = finding(group)
    assert (said.outcome, said.badge) == ("none", "0 of 2 matched")
    assert said.sentences[0] == (
        "No claim can be made here: none of the 2 runs came nearer to the original than "
        "unrelated graphs can be."
    )
    assert said.sentences[1] == (
        "The closest came to 0.0500; the nearest of 99 random starts is at 0.0100 (p = 0.22)."
    )
    assert said.remedies == [
        f"2 runs ended with the verdict “not matched”, though within tol. "
        f"{Verdict.NOT_MATCHED.remedy}"
    ]
    mixed = finding([group[0], failed(group[1])])
    assert "1 of 2 runs reached an activation error of 0.2, and none of these" in mixed.sentences[0]
    assert [remedy[:30] for remedy in mixed.remedies] == [
        "1 run ended with the verdict “",
        "1 run ended with the status “b",
    ]
    words = text(html(with_metamers(found, group), tmp_path))
    assert "not matched matched 0.0500 0.22" in words  # verdict, status, error and p of a run


def test_what_is_proved_impossible_has_its_own_words(found, tmp_path):
    first, second = found.groups()
    group = [impossible(m) for m in first]
    said = finding(group)
    assert (said.outcome, said.badge) == ("impossible", "proved impossible")
    assert said.remedies == [Verdict.IMPOSSIBLE.remedy]
    assert headline([group]) == (
        "There is no metamer: it is proved that no other graph has the same response at “convs.0”."
    )
    assert headline([group, second]).startswith("Metamers were found at 1 of 2 layers, in 2 of 2")
    assert headline([group, second]).endswith("At 1 of 2 layers it is proved that there is none.")
    assert headline([group, group]).endswith("the same response at any of 2 searched places.")
    both = html(with_metamers(found, [*group, *map(failed, second)]), tmp_path)
    assert "though within tol" not in both  # of what is impossible nothing failed
    assert "none of the 2 runs matched" in headline([group, [failed(m) for m in second]])
    page = html(with_metamers(found, group), tmp_path)
    assert "No scores: it is proved that there is no metamer." in text(page)
    assert "start_null_activation_error" in page
    assert 'data-score="feature_similarity"' not in page
    assert "in pictures" not in page
    assert "did not match" not in page


def test_trivial_metamers_are_counted_and_are_no_finding(found):
    first, second = found.groups()[0]
    trivial = replace(first, data=first.reference, notes={"unchanged": 1.0})
    said = finding([trivial, second])
    assert said.badge == "2 of 2 matched, 1 trivial"
    assert "1 of 2 are only the original: a trivial metamer" in " ".join(said.sentences)
    found_where = headline([[trivial, second]])
    assert found_where.startswith("A metamer was found at “convs.0”, in 1 of 2 runs.")
    assert found_where.endswith("1 run found only the original.")
    assert headline([[trivial]]).startswith("No other graph was found that matches")
    assert said.outcome == "partly"
    only = finding([trivial])
    assert only.outcome == "none"
    assert "no other graph was found to which" in " ".join(only.sentences)
    assert "It is the original itself" in " ".join(only.sentences)


def test_verdict_of_some_matches_rests_on_those(found):
    first, second = found.groups()[0]
    said = finding([replace(first, scores=first.scores | {"prediction_match": 0.0}), second])
    other = finding(
        [failed(replace(first, scores=first.scores | {"prediction_match": 0.0})), second]
    )
    assert (other.outcome, other.badge) == ("partly", "1 of 2 matched")
    assert "what follows rests on that one" in other.sentences[0]
    assert f"{second.scores['prediction_match']:.1%}" in " ".join(other.sentences)
    assert f"{second.scores['prediction_match']:.1%}" not in " ".join(said.sentences)


@pytest.mark.parametrize(
    ("similarity", "start", "words"),
    [
        (0.11, 0.09, "hardly more like the original’s than random ones"),
        (0.05, 0.09, "hardly more like the original’s than random ones"),
        (0.40, 0.09, "nearer to random ones than to the original’s"),
        (0.70, 0.09, "nearer to the original’s than to random ones, but not the same"),
        (0.99, 0.09, "almost the original’s"),
    ],
)
def test_similarity_is_read_beside_its_null(found, similarity, start, words):
    scores = {"feature_similarity": similarity, "start_feature_similarity": start}
    m = replace(found.metamers[0], scores=found.metamers[0].scores | scores)
    assert words in finding([m]).sentences[2]
    assert words in headline([[m]])


def test_a_null_near_one_is_said_to_be_no_measure(found):
    scores = {"feature_similarity": 0.96, "start_feature_similarity": 0.95}
    m = replace(found.metamers[0], scores=found.metamers[0].scores | scores)
    assert "can hardly tell graphs apart" in " ".join(finding([m]).sentences)


# Odd inputs


@pytest.mark.parametrize("name", NASTY)
def test_names_are_escaped(model, small, name, tmp_path):
    def layer(model, data):
        return model.convs[0](data.x, data.edge_index)

    layer.__name__ = name
    audit = gm.audit(
        model, small, layers=[layer], search=gm.Adam(steps=1), seeds=1, dataset=name, name=name
    )
    audit.environment["command"] = name
    page = html(audit, tmp_path)
    assert "<script" not in page
    assert "onload=" not in re.sub(r">[^<]*<", "><", page)
    assert name in text(page)


def test_what_cannot_be_computed_is_a_dash_with_its_reason(found, tmp_path):
    m = replace(
        found.metamers[0],
        scores=found.metamers[0].scores | {"activation_correlation": math.nan},
        node_errors=None,
        predictions_agree=None,
    )
    page = html(with_metamers(found, [m]), tmp_path)
    cell = re.search(r'data-score="activation_correlation">(.*?)</td>', page, re.S)[1]
    assert "–" in cell
    assert "a constant response" in cell  # of a run that matched
    assert "no errors of single nodes" in page
    assert "nan" not in text(page).lower()
    assert "a single run has no spread" in page


def test_a_run_that_became_nan(found, tmp_path):
    m = found.metamers[0]
    broken = replace(
        m,
        verdict=Verdict.NOT_MATCHED,
        status=gm.Status.NONFINITE,
        trail=[(0, 0.4, 0.1), (1, math.inf, math.nan), (2, math.nan, math.nan)],
        activation_error=math.nan,
        scores=dict.fromkeys(m.scores, math.nan),
        history=[0.4, math.inf, math.nan],
        node_errors=torch.full((60,), math.nan, dtype=torch.float64),
        node_similarity=torch.full((60,), math.nan, dtype=torch.float64),
    )
    page = text(html(with_metamers(found, [broken]), tmp_path))
    assert gm.Status.NONFINITE.remedy in page
    assert "No node matches" in page
    both = text(html(with_metamers(found, [broken, found.metamers[1]]), tmp_path))
    assert "Seed 1 in pictures" in both


@pytest.mark.parametrize("kind", ["binary", "continuous", "signed"])
def test_graphs_without_classes_and_with_any_features(model, small, kind, tmp_path):
    data = small.clone()
    del data.y
    noise = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0))
    data.x = {"binary": data.x, "continuous": data.x * noise, "signed": noise - 0.5}[kind]
    audit = gm.audit(model, data, layers=["act"], search=gm.Adam(steps=2), seeds=1, tol=10.0)
    words = text(html(audit, tmp_path))
    assert "sorted by class" not in words
    assert ("stronger colour for larger values" in words) == (kind != "binary")


def test_the_same_features_have_no_picture(found, tmp_path):
    m = found.metamers[0]
    same = replace(m, data=m.reference, scores=m.scores | {"feature_similarity": 1.0}, vary="Edges")
    words = text(html(with_metamers(found, [same]), tmp_path))
    assert "The features of both graphs are the same" in words
    assert "what differs is what was varied" in words


def test_several_ways_to_vary_are_told_apart(found, tmp_path):
    metamers = [found.metamers[0], replace(found.metamers[0], vary="BinaryFeatures(slope=2.0)")]
    words = text(html(with_metamers(found, metamers), tmp_path))
    assert "convs.0, BinaryFeatures(slope=2.0) 1 of 1 matched" in words
    assert "at 2 of 2 searched places" in words


def test_an_audit_without_runs(found, tmp_path):
    assert "Nothing was run yet" in html(with_metamers(found, []), tmp_path)


def test_nodes_that_differ_most_while_matching_best(found, tmp_path):
    x = torch.eye(4)
    y = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]).float()
    m = replace(
        found.metamers[0],
        reference=Data(x=x, y=torch.tensor([0, 1, 0, 1])),
        data=Data(x=y),
        node_similarity=torch.tensor([0.0, 1.0, 0.0, 0.5], dtype=torch.float64),
        node_errors=torch.tensor([0.05, 0.0, 0.01, 9.0], dtype=torch.float64),
        predictions_agree=torch.tensor([True, True, True, True]),
    )
    page = html(with_metamers(found, [m]), tmp_path)
    table = page[page.index("Same prediction") :]
    table = table[: table.index("</table>")]
    rows = [
        re.findall(r">([^<]*)</t[hd]>", row)
        for row in table.split("<tr>")
        if '<th scope="row">' in row
    ]
    assert rows == [
        ["2", "0", "0.000", "0.0100", "yes", "0", "1", "1"],
        ["0", "0", "0.000", "0.0500", "yes", "0", "1", "2"],
    ]  # node 1 has the reference's features


# The file


def test_nothing_is_loaded_from_elsewhere(page):
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"@import|<script|<link|<iframe|\bsrc=", page)
    assert all(
        target.startswith(("#", "data:image/png;base64"))
        for target in re.findall(r'href="([^"]*)', page)
    )
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {t[1:] for t in re.findall(r'href="(#[^"]*)', page)} <= set(ids)


def test_the_same_audit_gives_the_same_page_whatever_the_users_style(one, tmp_path):
    page = html(one, tmp_path)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        assert html(one, tmp_path) == page
        assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_many_layers_and_seeds_stay_small(found, tmp_path):
    m = found.metamers[0]
    history = (0.4 + np.random.default_rng(0).random(2000)).tolist()
    metamers = [
        replace(m, layer=f"layer{layer}", seed=seed, history=history)
        for layer in range(5)
        for seed in range(12)
    ]
    page = html(with_metamers(found, metamers), tmp_path)
    assert len(page) < 700_000
    assert page.count('class="pictures"') == 5
    assert page.count('open class="pictures"') == 4


# Plots


THEORY = Theory(
    metamer_dimension=37.5,
    features=40,
    rank=2.5,
    effective_rank=1.75,
    stable_rank=1.2,
    spectrum=[1.0, 0.25, 0.0],
    collapsed_share=None,
)
PLOTS = {
    "similarity": lambda m, ax: plot_similarity([m], ax),
    "loss": plot_loss,
    "null": plot_null,
    "trail": plot_trail,
    "spectrum": lambda m, ax: plot_spectrum({m.layer: THEORY}, ax),
    "features": lambda m, ax: plot_features(m, ax=ax),
    "node similarity": plot_node_similarity,
    "node errors": plot_node_errors,
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_draw_on_the_given_axes_or_on_new_ones(found, name):
    _, ax = plt.subplots()
    assert PLOTS[name](found.metamers[0], ax) is ax
    new = PLOTS[name](found.metamers[0], None)
    assert new is not ax
    assert new.get_xlabel()
    plt.close("all")


def test_the_loss_curve_is_the_history(found):
    ax = plot_loss(found.groups()[0])
    line = ax.get_lines()[0]
    assert np.allclose(line.get_ydata(), found.metamers[0].history)
    assert ax.get_yscale() == "log"
    assert "2 of 2 matched" in ax.get_title(loc="left")
    plt.close("all")


def test_the_null_stands_beside_the_runs(found):
    nulls = {"start": torch.tensor([0.3, 0.5]), "permuted": torch.tensor([0.9])}
    m = replace(found.metamers[0], activation_error=0.05, nulls=nulls)
    perfect = failed(replace(m, tol=0.2))
    ax = plot_null([m, replace(perfect, activation_error=0.0)])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["2 runs", "2 random starts", "1 permutations"]
    strokes = [line for line in ax.get_lines() if len(line.get_xdata()) % 3 == 0]
    drawn = [[float(x) for x in line.get_xdata()[::3]] for line in strokes]
    assert drawn == [pytest.approx([0.3, 0.5]), pytest.approx([0.9])]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [0.05, pytest.approx(2e-5)]
    assert [dot.get_markerfacecolor() != "none" for dot in dots] == [True, False]
    assert ax.get_xscale() == "log"
    assert "lower is closer" in ax.get_xlabel()
    low, high = ax.get_xlim()
    assert low < 2e-5
    assert "left end: 2.00·10⁻⁵ or less" in ax.get_xlabel()
    assert high > 0.9
    plt.close("all")


def test_the_trail_leads_from_the_start_to_the_graph(found):
    trail = [(0, 0.9, 0.1), (1, 0.4, 0.12), (2, 0.0, 0.15)]
    m = replace(found.metamers[0], trail=trail)
    ax = plot_trail([m, failed(replace(m, trail=[(0, 0.9, 0.1), (1, 0.5, math.nan)]))])
    path, start, end = ax.get_lines()[:3]
    assert path.get_xdata() == pytest.approx([0.9, 0.4, 2e-5])
    assert path.get_ydata() == pytest.approx([0.1, 0.12, 0.15])
    assert (start.get_marker(), float(start.get_xdata()[0])) == ("D", 0.9)
    assert (end.get_marker(), float(end.get_ydata()[0])) == ("o", 0.15)
    hollow = [line.get_markerfacecolor() for line in ax.get_lines() if line.get_marker() == "o"]
    assert hollow[1] == "none"
    assert [note.get_text() for note in ax.texts] == ["0.150"]
    assert ax.get_ylim()[1] > 1  # the same graph is on the axis
    assert "(1 = the same)" in ax.get_ylabel()
    plt.close("all")


def test_a_search_in_closed_form_leads_from_its_random_start(found, tmp_path):
    m = replace(found.metamers[0], trail=[(0, 0.0, 0.15)], history=[0.0])
    ax = plot_trail(m)
    (start,) = [line for line in ax.get_lines() if line.get_marker() == "D"]
    assert float(start.get_xdata()[0]) == m.scores["start_activation_error"]
    assert float(start.get_ydata()[0]) == m.scores["start_feature_similarity"]
    plt.close("all")
    page = text(html(with_metamers(found, [m]), tmp_path))
    assert "How much likeness a closer match takes" in page
    assert "How the search went" not in page


def test_the_spectrum_of_each_layer(found):
    ax = plot_spectrum({"layer1": THEORY, "layer2": replace(THEORY, spectrum=[1.0])})
    first, second = ax.get_lines()
    assert first.get_ydata() == pytest.approx([1, 0.25, 0.025])  # zero has a place below
    assert first.get_xdata().tolist() == [1, 2, 3]
    assert second.get_label() == "layer2"
    assert ax.get_yscale() == "log"
    plt.close("all")


def test_the_theory_stands_beside_what_was_found(found, tmp_path):
    group = found.groups()[0]
    scores = {"feature_similarity": 0.123, "start_feature_similarity": 0.045}
    audit = with_metamers(found, [replace(m, scores=m.scores | scores) for m in group])
    page = html(replace(audit, theory={"convs.0": THEORY}), tmp_path)
    table = page[page.index('<h2 id="theory">') :]
    table = table[table.index("<tbody>") : table.index("</tbody>")]
    cells = re.findall(r">([^<]*)</t[hd]>", table)
    assert cells == ["convs.0", "40", "2.5", "37.5", "1.8", "–", "0.123", "0.045"]
    assert '<h2 id="theory">' not in html(replace(audit, theory={}), tmp_path)
    missed = with_metamers(found, [failed(m) for m in group])
    assert "–</td><td>–</td>" in html(replace(missed, theory={"convs.0": THEORY}), tmp_path)


def test_long_names_are_wrapped(found):
    m = replace(found.metamers[0], layer="encoder.layer1 + encoder.layer2")
    ax = plot_similarity([m, replace(m, layer="conv1")])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["encoder.layer1 +\nencoder.layer2", "conv1"]
    plt.close("all")


def test_the_overview_gives_the_mean_of_the_runs_that_matched(found):
    m = found.metamers[0]
    near, far = (replace(m, scores=m.scores | {"feature_similarity": v}) for v in (0.3, 0.1))
    notes = [plot_similarity([group]).texts for group in ([near, failed(far)], [failed(far)])]
    assert [[note.get_text() for note in some] for some in notes] == [["0.30"], []]
    plt.close("all")


def test_a_loss_of_zero_is_drawn(found):
    ax = plot_loss(replace(found.metamers[0], history=[1.0, 0.1, 0.0]))
    assert ax.get_ylim()[0] < 0.01
    plt.close("all")


def test_node_errors_need_nodes(found):
    with pytest.raises(gm.InputError, match="has no row for each node"):
        plot_node_errors(replace(found.metamers[0], node_errors=None))


def test_the_crop_sorts_nodes_and_features_by_class(found):
    x = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]).float()
    reference = Data(x=x, y=torch.tensor([1, 0, 1, 0, 0]))
    crop = Crop.of(replace(found.metamers[0], reference=reference, data=Data(x=1 - x)))
    assert crop.classes.tolist() == [0, 0, 0, 1, 1]
    assert crop.reference.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert crop.metamer.tolist() == (1 - crop.reference).tolist()
    blue, orange = crop.difference()[0, 0], crop.difference()[0, 1]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]


def test_classes_that_are_no_whole_number_each_are_no_classes(found):
    x = torch.eye(3)
    for y in (None, torch.tensor([0.5, 1.0, 2.0]), torch.ones(3, 2), torch.tensor([1])):
        m = replace(found.metamers[0], reference=Data(x=x, y=y), data=Data(x=x))
        assert Crop.of(m).classes is None


# In a browser


DECODED = """async () => {
  const sources = [
    ...[...document.querySelectorAll("svg image")].map(i => i.getAttribute("href")),
    ...[...document.images].map(i => i.src),
  ];
  return Promise.all(sources.map(async source => {
    const image = new Image();
    image.src = source;
    await image.decode();
    return image.naturalWidth;
  }));
}"""


@pytest.fixture(scope="module")
def address(found, tmp_path_factory):
    """A page with a layer name that is wider than a phone."""
    path = tmp_path_factory.mktemp("browser") / "report.html"
    long = replace(found.metamers[0], layer="encoder." * 20 + "out")
    write_report(with_metamers(found, [*found.metamers, long]), path)
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_opens_without_complaint(browser, address, width, scheme):
    complaints, requests = [], []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    for details in page.locator("details").all():
        details.evaluate("node => { node.open = true; }")

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    widths = page.evaluate(DECODED)
    assert len(widths) == 9
    assert min(widths) > 0
    assert page.locator("h1").count() == 1
    assert page.locator("h2").all_inner_texts()[0] == "Verdict"
    assert page.locator("svg[role=img]:not([aria-label])").count() == 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    context.close()


@pytest.mark.browser
def test_what_is_folded_is_printed(browser, address):
    page = browser.new_page()
    page.goto(address)
    folded = page.locator("caption", has_text="One row a run.").first
    assert not folded.is_visible()
    page.emulate_media(media="print")
    assert folded.is_visible()
    page.close()


def test_the_report_of_the_command_line_names_its_command(tmp_path, monkeypatch):
    from graph_metamers import cli

    torch.save(gm.datasets.csbm(nodes=60, features=40, density=0.1), tmp_path / "graph.pt")
    typed = ["audit", "--data", str(tmp_path / "graph.pt"), "--steps", "2", "--seeds", "1"]
    typed += ["--search", "adam", "--lr", "0.01", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["graph-metamers", *typed])
    monkeypatch.setattr(gm.zoo.GCN, "default_training", gm.zoo.Training(epochs=3))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert "graph-metamers audit --data" in (tmp_path / "out" / "report.html").read_text()
    question = json.loads((tmp_path / "out" / "audit.json").read_text())["question"]
    assert question["search"] == "Adam(lr=0.01, steps=2)"
