"""The report and its plots: figures are those of the audit, for every kind of graph and task."""

import re
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from html import unescape
from types import SimpleNamespace
from unittest.mock import patch

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from markupsafe import Markup
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GCN, LightGCN

import graph_metamers as gm
from graph_metamers.audits import Audit
from graph_metamers.inputs import Inputs
from graph_metamers.measure import DISTANCES, Distance, Outcome, register
from graph_metamers.report import html as page_module
from graph_metamers.report import plots, section, structure
from graph_metamers.report.numbers import error_text, score_text, spread_text
from graph_metamers.report.pictures import CELLS, Crop, plot_matrix
from graph_metamers.report.section import badge
from graph_metamers.report.snippet import snippet
from graph_metamers.report.style import METAMER, REFERENCE, SHARED
from graph_metamers.result import Metamer
from graph_metamers.theory import Theory
from graph_metamers.zoo.small import HGT, MotifGIN

NASTY = ("<script>alert(1)</script>", r"$\frac{$", 'a" onload="alert(1)')
WRITES = "author-writes-paper.edge_index"


def seeded(build):
    torch.manual_seed(0)
    return build().eval()


def audited(model, data, search, **options) -> Audit:
    return gm.audit(seeded(model), data, search=search, progress=False, **({"seeds": 1} | options))


def csbm(**changed) -> Data:
    data = gm.datasets.csbm(nodes=60, features=40, density=0.1)
    return Data.from_dict(data.to_dict() | changed)


def features() -> Audit:
    model = partial(GCN, 40, 8, num_layers=2, out_channels=3)
    layers = ["convs.0", "convs.1"]
    return audited(
        model, csbm(), gm.Swap(steps=40), layers=layers, seeds=2, tol=0.2, dataset="small"
    )


def edges() -> Audit:
    vary = gm.Edges(degrees="fixed", keep=0.5)
    data, search = gm.datasets.csbm(nodes=60, features=40), gm.EdgeSwap(steps=15)
    model = partial(gm.zoo.GCN, 40, 3)
    return audited(model, data, search, layers=["layer1"], seeds=2, tol=0.3, vary=vary)


def weights() -> Audit:
    data = csbm(edge_weight=torch.linspace(0.5, 1.5, csbm().num_edges))
    search = gm.Adam(lr=0.05, steps=5)
    return audited(lambda: GCN(40, 8, num_layers=1), data, search, vary=gm.EdgeWeights())


def batch() -> Audit:
    data, search = gm.datasets.motifs(graphs=12), gm.Adam(lr=0.05, steps=10)
    return audited(lambda: MotifGIN(3, 2), data, search, layers=["layer1", "pool"])


def regression() -> Audit:
    data = gm.datasets.motifs(graphs=8, target="count", nodes=20)
    search = gm.EdgeSwap(steps=5)
    return audited(lambda: MotifGIN(3, 1), data, search, layers=["pool"], vary=gm.Edges())


def hetero(search=None, layers=("conv1", "lin"), vary=None) -> Audit:
    data = gm.datasets.hetero_csbm(papers=30)
    model = partial(HGT, data["paper"].num_features, 3, data.metadata(), "paper")
    return audited(model, data, search or gm.Adam(steps=3), layers=list(layers), vary=vary)


def typed_edges() -> Audit:
    return hetero(gm.EdgeSwap(steps=3), ["lin"], {WRITES: gm.Edges()})


def links() -> Audit:
    data = gm.datasets.bipartite(users=60, items=40, degree=4.0)
    model = partial(LightGCN, 100, embedding_dim=8, num_layers=1)
    return audited(model, data, gm.EdgeSwap(steps=5), vary=gm.Edges())


def multilabel() -> Audit:
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(60, 4, generator=generator) < 0.5).float()
    data = csbm(x=torch.randn(60, 10, generator=generator), y=y)
    model = partial(GCN, 10, 8, num_layers=2, out_channels=4)
    return audited(model, data, gm.Adam(lr=0.02, steps=5), layers=["act"])


# What varies, the units of the first layer, the task.
AUDITS = {
    features: ("x", "nodes", "classes"),
    edges: ("edge_index", "nodes", "classes"),
    weights: ("edge_weight", "nodes", "classes"),
    batch: ("x", "nodes", "classes"),
    regression: ("edge_index", "graphs", "regression"),
    hetero: ("paper.x", "paper nodes", "classes"),
    typed_edges: (WRITES, "paper nodes", "classes"),
    links: ("edge_index", "nodes", "links"),
    multilabel: ("x", "nodes", "multilabel"),
}
_made: dict[str, Audit] = {}


def made(build) -> Audit:
    """Each audit is made once."""
    if build.__name__ not in _made:
        _made[build.__name__] = build()
    return _made[build.__name__]


@pytest.fixture(scope="module")
def found() -> Audit:
    """Two layers, two seeds; all match."""
    return made(features)


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    return html(found, tmp_path_factory.mktemp("report"))


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def html(audit: Audit, tmp_path, *, plotted: bool = False) -> str:
    """The page, without plots unless they are asked for."""
    blank = {"inline_svg": lambda draw, alt, name, **size: Markup("<svg></svg>")}
    with ExitStack() as stack:
        for module in () if plotted else (page_module, section):
            stack.enter_context(patch.multiple(module, **blank))
        gm.write_report(audit, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def with_metamers(audit: Audit, metamers: list[Metamer]) -> Audit:
    return replace(audit, metamers=metamers)


def ended(m: Metamer, outcome: Outcome) -> Metamer:
    return replace(m, outcome=outcome, reason=f"Because of {outcome.text}.")


def scored(m: Metamer, **scores: float) -> Metamer:
    return replace(m, scores=m.scores | scores)


def cells(page: str) -> dict[str, str]:
    return dict(re.findall(r'<td role="cell" data-score="(\w+)"[^>]*>(.*?)</td>', page, re.S))


def table(page: str, name: str) -> list[list[str]]:
    """The rows of the first table of a class."""
    start = page.index(f'<table class="{name}">')
    body = page[page.index("<tbody>", start) : page.index("</tbody>", start)]
    return [re.findall(r">([^<>]*)</t[hd]>", row) for row in body.split("</tr>")[:-1]]


# The page of every kind of graph, input and task


@pytest.mark.parametrize("build", AUDITS)
def test_every_kind_of_audit_has_a_page(build, tmp_path):
    at, units, task = AUDITS[build]
    audit = made(build)
    page = html(audit, tmp_path, plotted=True)
    words = text(page)
    first = audit.metamers[0]
    assert (next(iter(first.varied)), first.units, first.task) == (at, units, task)
    question = audit.question
    digests = question["model_digest"], question["data_digest"]
    for part in (task, type(first.reference).__name__, f"{at}: ", *question["inputs"], *digests):
        assert part in words
    for split, measures in audit.quality.items():
        for name, figure in measures.items():
            shown = f"{name.replace('_', ' ')} {score_text(figure)}"
            assert re.search(f"Quality, {split} .*{re.escape(shown)}", words)
    assert (" CS " in words) == (task == "classes")
    assert not re.search(r"\bnan\b|\binf\b", words.partition("How to reproduce")[0])
    for kind in first.original.node_types:
        assert f"{first.original.nodes(kind):,} {kind} nodes".replace("  ", " ") in words
    for m in audit.metamers:
        assert m.reason in words
    runs = table(page, "runs")
    assert runs[0][1] == first.outcome.text
    assert error_text(first.fvu) in runs[0]
    assert error_text(first.activation_error) in runs[0]
    assert nothing_is_loaded(page)


def nothing_is_loaded(page: str) -> bool:
    ids = re.findall(r'\bid="([^"]*)"', page)
    targets = re.findall(r'href="([^"]*)', page)
    assert not re.search(r"https?:|@import|<script|<link|<iframe|\bsrc=", page)
    assert all(target.startswith(("#", "data:image/png;base64")) for target in targets)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets if target[0] == "#"} <= set(ids)
    return page.count('<svg class="plot" role="img" aria-label="') == page.count("<svg")


def test_tables_hold_the_summary_with_the_null_beside(found, page):
    sections = page.split('<section class="layer"')[1:]
    for part, summary, group in zip(sections, found.summary(), found.groups(), strict=True):
        shown = cells(part)
        assert score_text(summary["null_error"], "_error") in shown.pop("start_null_error")
        assert shown.pop("null_error") == ""
        names = ["fvu", "activation_error"]
        if not summary["matched"]:
            assert set(shown) == {*names, *(f"start_{name}" for name in names)}
            continue
        names += [name for name in group[0].scores if "start_" not in name]
        assert set(shown) == {*names, *(f"start_{name}" for name in names)}
        for name in names:
            mean, spread = summary[name], summary[f"{name}_std"]
            assert f'<span class="mean">{score_text(mean, name)}</span>' in shown[name]
            assert f"± {spread_text(spread, mean, name)}<" in shown[name]
        low, high = (summary[f"feature_similarity_{end}"] for end in ("low", "high"))
        assert f'class="interval">{score_text(low)} to {score_text(high)}<' in part


def test_scores_are_those_of_the_runs_that_matched(found, tmp_path):
    first, second = found.groups()[0]
    failed = replace(ended(first, Outcome.NOT_MATCHED), fvu=0.5)
    page = html(with_metamers(found, [failed, second]), tmp_path)
    assert f'"mean">{error_text((0.5 + second.fvu) / 2)}<' in cells(page)["fvu"]
    assert score_text(second.scores["feature_similarity"]) in cells(page)["feature_similarity"]
    assert "±" not in cells(page)["feature_similarity"]


def test_without_a_match_nothing_is_claimed(found, tmp_path):
    group = [replace(ended(m, Outcome.NOT_MATCHED), fvu=0.5) for m in found.groups()[0]]
    page = html(with_metamers(found, group), tmp_path)
    names = {"fvu", "activation_error", "null_error"}
    assert set(cells(page)) == names | {f"start_{name}" for name in names}
    assert "0.500" in cells(page)["fvu"]
    words = text(page)
    assert "0 of 2 runs found a metamer" in words
    assert "nothing is claimed here" in words
    assert "The metamers are" not in words
    assert "Feature similarity:" not in words
    assert "it is not a metamer" in words


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_has_its_reason_and_badge(found, outcome, tmp_path):
    first, second = found.groups()[0]
    m = ended(first, outcome)
    page = html(with_metamers(found, [m]), tmp_path)
    assert f"{outcome.text}. {m.reason}" in text(page)
    alone = outcome in (Outcome.MATCHED, Outcome.IMPOSSIBLE)
    assert badge([m]) == (str(outcome) if alone else "none", outcome.text)
    assert ("in pictures" in page) == (outcome is not Outcome.IMPOSSIBLE)
    if outcome is not Outcome.MATCHED:
        assert badge([m, second]) == ("partly", f"1 matched, 1 {outcome.text}")


@pytest.mark.parametrize(
    ("similarity", "start", "words"),
    [
        (0.11, 0.09, "nearer to random graphs"),
        (0.70, 0.09, "nearer to the reference"),
        (0.99, 0.09, "almost the reference"),
        (0.96, 0.95, "hardly tells graphs apart"),
    ],
)
def test_similarity_is_read_beside_its_null(found, similarity, start, words, tmp_path):
    scores = {"feature_similarity": similarity, "start_feature_similarity": start}
    said = text(html(with_metamers(found, [scored(found.metamers[0], **scores)]), tmp_path))
    others = {"nearer to random", "nearer to the ref", "almost the", "hardly tells"}
    assert words in said
    assert sum(other in said for other in others) == 1


def test_where_there_is_no_spread_eq_5_is_the_error(found, tmp_path):
    m = replace(found.metamers[0], fvu=float("nan"), activation_error=0.0625)
    page = html(with_metamers(found, [scored(m, start_fvu=float("nan"))]), tmp_path)
    assert "the layer has one row" in cells(page)["fvu"]
    assert "mean activation error (Eq. 5) over 1 run is 0.0625" in text(page)
    assert "Eq. 5" in drawn(plots.plot_null, [m]).get_xlabel()


def test_a_regression_shows_how_far_values_move(tmp_path):
    audit = made(regression)
    m = replace(ended(audit.metamers[0], Outcome.MATCHED))
    page = html(with_metamers(audit, [m]), tmp_path)
    shown = score_text(m.scores["prediction_change"])
    assert shown in cells(page)["prediction_change"]
    assert "consistency" not in cells(page)


def test_own_distances_are_explained(found, tmp_path):
    def half(a, b):
        return 0.5

    own = with_metamers(found, [scored(found.metamers[0], topics=0.25)])
    assert "not registered where this page was written" in html(own, tmp_path)
    register(Distance("topics", "Topics kept", "T", "features", "|T ∧ T'|", 0.0, 1.0, "low", half))
    try:
        words = text(html(own, tmp_path))
    finally:
        del DISTANCES["topics"]
    assert "Topics kept T 0.250 – not measured the lower the more alike; from 0 to 1" in words


def test_baselines_and_theory_stand_beside(found, page, tmp_path):
    section = page[page.index("What a metamer must beat") :]
    nearest = next(row for row in found.baselines if row["baseline"] == "nearest_node")
    assert nearest["title"] in section
    assert error_text(nearest["fvu"]) in section
    typed = made(hetero)
    names = {(m.layer, m.vary) for m in typed.metamers}
    assert names == {(b["layer"], b["vary"]) for b in typed.baselines}
    group = [
        scored(m, feature_similarity=0.123, start_feature_similarity=0.045)
        for m in found.groups()[0]
    ]
    page = html(replace(with_metamers(found, group), theory={"convs.0": THEORY}), tmp_path)
    body = page[page.index('<h2 id="theory">') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    shown = re.findall(r">([^<]*)</t[hd]>", body)
    assert shown == ["convs.0", "40", "2.5", "37.5", "1.8", "–", "0.123", "0.045"]


def test_rows_that_differ_most_while_they_match(found, tmp_path):
    reference = Inputs(Data(x=torch.eye(4), y=torch.tensor([0, 1, 0, 1])))
    m = replace(
        found.metamers[0],
        original=reference,
        inputs=reference.replaced({"x": torch.eye(4).flip(0)}),
        row_similarity=torch.tensor([0.0, 1.0, 0.0, 0.5], dtype=torch.float64),
        row_errors=torch.tensor([0.05, 0.0, 0.01, 9.0], dtype=torch.float64),
        row_agreement=torch.ones(4, dtype=torch.float64),
    )
    page = html(with_metamers(found, [m]), tmp_path)
    assert table(page, "rows") == [["2", "0", "0.000", "0.0100"], ["0", "0", "0.000", "0.0500"]]


def test_of_a_batch_the_best_and_the_worst_graphs_are_listed(tmp_path):
    audit = made(batch)
    m = audit.metamers[0]
    items = [item | {"fvu": 0.01 * place} for place, item in enumerate(reversed(m.items))]
    items = sorted(items, key=lambda item: item["graph"])
    items[4] |= {"outcome": "matched"}
    page = html(with_metamers(audit, [replace(m, items=items)]), tmp_path)
    listed = table(page, "items")
    graphs = [4, 11, 10, 9, 8, 5, 3, 2, 1, 0]  # what matched first, then by error
    assert [int(row[0]) for row in listed] == graphs
    for row in listed:
        item = items[int(row[0])]
        assert row[1:4] == [
            Outcome(item["outcome"]).text,
            error_text(item["fvu"]),
            error_text(item["activation_error"]),
        ]
    words = text(page)
    assert "Best graph, number 4: matched" in words
    assert "Worst graph, number 0" in words


# Odd inputs, and the file


@pytest.mark.parametrize("name", NASTY)
def test_names_are_escaped(small, name, tmp_path):
    def layer(model, data):
        return model.convs[0](data.x, data.edge_index)

    layer.__name__ = name
    model = seeded(lambda: GCN(40, 8, num_layers=2, out_channels=3))
    audit = gm.audit(
        model, small, layers=[layer], search=gm.Adam(steps=1), seeds=1, dataset=name, name=name
    )
    audit.environment["command"] = name
    m = replace(audit.metamers[0], reason=name)
    page = html(with_metamers(audit, [m]), tmp_path)
    assert "<script" not in page
    assert "onload=" not in re.sub(r">[^<]*<", "><", page)
    assert name in text(page)


def test_what_is_missing_is_a_dash_or_a_sentence(found, tmp_path):
    m = scored(found.metamers[0], activation_correlation=float("nan"))
    m = replace(m, row_errors=None)
    page = html(with_metamers(found, [m]), tmp_path)
    assert "a constant activation" in cells(page)["activation_correlation"]
    assert "no error of each row" in page
    m = made(links).metamers[0]
    same = with_metamers(made(links), [replace(m, inputs=m.original)])
    assert "no picture of it" in html(same, tmp_path)
    assert "Nothing was run yet" in html(with_metamers(found, []), tmp_path)


def test_the_same_audit_gives_the_same_page_whatever_the_users_style(found, tmp_path):
    one = with_metamers(found, found.metamers[:1])
    page = html(one, tmp_path, plotted=True)
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        assert html(one, tmp_path, plotted=True) == page
        assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == []


def test_the_snippet_makes_the_same_audit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the page is written there
    asked = made(weights).question
    code = snippet(asked).replace("model, data = ...", "pass")
    data = csbm(edge_weight=torch.linspace(0.5, 1.5, csbm().num_edges))
    names = {"model": seeded(lambda: GCN(40, 8, num_layers=1)), "data": data}
    exec(code, names)
    assert names["report"].question == asked
    typed = snippet(made(typed_edges).question)
    assert f"vary=[{{'{WRITES}': gm.Edges()}}]" in typed


@pytest.mark.parametrize("model", ["gcn", *gm.zoo.RECIPES])
def test_the_snippet_trains_zoo_models_by_name(found, model, monkeypatch):
    calls = []
    trained = SimpleNamespace(model=None)
    monkeypatch.setattr(gm.datasets, "load", lambda name: name)
    monkeypatch.setattr(gm.zoo, "train", lambda *given: calls.append(given) or trained)
    monkeypatch.setattr(
        gm.zoo, "train_recipe", lambda *given: (calls.append(given), (trained, 1))[1]
    )
    monkeypatch.setattr(gm, "audit", lambda model, data, **_: found)
    monkeypatch.setattr(gm, "write_report", lambda *_: None)
    dataset = gm.zoo.RECIPES[model].dataset if model in gm.zoo.RECIPES else "csbm"
    exec(snippet(found.question | {"model": model, "dataset": dataset}), {})
    assert calls == [(model, dataset)]


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


def drawn(plot, *given, **named):
    """The axes of a plot."""
    _, ax = plt.subplots()
    plot(*given, ax=ax, **named)
    return ax


def test_the_loss_curve_is_the_history(found):
    group = found.groups()[0]
    ax = drawn(plots.plot_loss, group)
    lines = [line for line in ax.get_lines() if line.get_linestyle() == "-"]
    assert np.allclose(lines[0].get_ydata(), group[0].history)
    labels = [each.get_text() for each in ax.get_legend().get_texts()]
    assert labels == ["matched", "best step", "tol 0.2"]
    zero = replace(group[0], history=[1.0, 0.1, 0.0])
    assert drawn(plots.plot_loss, [zero]).get_ylim()[0] < 0.01


def test_the_null_stands_beside_the_runs(found):
    nulls = {"start": torch.tensor([0.3, 0.5]), "other": torch.tensor([0.9])}
    m = replace(found.metamers[0], fvu=0.05, nulls=nulls)
    ax = drawn(plots.plot_null, [m, replace(ended(m, Outcome.NOT_MATCHED), fvu=0.0)])
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["2 runs", "2 random starts", "1 other graphs"]
    strokes = [[path[0, 0] for path in some.get_segments()] for some in ax.collections]
    assert strokes == [pytest.approx([0.3, 0.5]), pytest.approx([0.9])]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [0.05, pytest.approx(2e-5)]
    assert [dot.get_markerfacecolor() != "none" for dot in dots] == [True, False]
    assert "2.00·10⁻⁵ or less" in ax.get_xlabel()


def test_the_trail_leads_from_the_start_to_the_graph(found):
    m = replace(found.metamers[0], trail=[(0, 0.9, 0.1), (1, 0.4, 0.12), (2, 0.0, 0.15)])
    path, start, end = drawn(plots.plot_trail, [m]).get_lines()[:3]
    assert path.get_xdata() == pytest.approx([0.9, 0.4, 2e-5])
    assert path.get_ydata() == pytest.approx([0.1, 0.12, 0.15])
    assert (start.get_marker(), end.get_marker()) == ("D", "o")
    closed = drawn(plots.plot_trail, [replace(m, trail=[(0, 0.0, 0.15)])])  # in closed form, no way
    (start,) = [line for line in closed.get_lines() if line.get_marker() == "D"]
    assert float(start.get_xdata()[0]) == m.scores["start_fvu"]
    assert float(start.get_ydata()[0]) == m.scores["start_feature_similarity"]


def test_the_overview_gives_each_score_and_the_mean_of_what_matched(found):
    ax = drawn(plots.plot_similarity, made(edges).groups())
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["layer1 S_struct", "layer1 kept"]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    found_at = {float(x) for line in dots for x in line.get_xdata()}
    names = ("structure_similarity", "edges_kept")
    assert found_at == {m.scores[name] for m in made(edges).metamers for name in names}
    near, far = (scored(found.metamers[0], feature_similarity=value) for value in (0.3, 0.1))
    far = ended(far, Outcome.NOT_MATCHED)
    notes = [drawn(plots.plot_similarity, [group]).texts for group in ([near, far], [far])]
    assert [[note.get_text() for note in some] for some in notes] == [["0.30"], []]


def test_histograms_count_every_row_and_every_graph():
    m, many = made(links).metamers[0], made(batch).metamers[0]
    errors, items = m.row_errors.tolist(), [item["fvu"] for item in many.items]
    similar = made(multilabel).metamers[0]
    for ax, values in (
        (drawn(plots.plot_errors, m, errors, "nodes"), errors),
        (drawn(plots.plot_errors, many, items, "graphs"), items),
        (drawn(plots.plot_row_similarity, similar), similar.row_similarity),
    ):
        (stairs,) = ax.patches
        counted = torch.as_tensor(values)
        assert stairs.get_data().values.sum() == (counted.isfinite() & (counted != 0)).sum()


def test_the_crop_sorts_nodes_and_features_by_class(found):
    x = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]]).float()
    reference = Inputs(Data(x=x, y=torch.tensor([1, 0, 1, 0, 0])))
    m = replace(found.metamers[0], original=reference, inputs=reference.replaced({"x": 1 - x}))
    crop = Crop.of(m)
    assert crop.classes.tolist() == [0, 0, 0, 1, 1]
    assert crop.reference.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0]]
    assert crop.metamer.tolist() == (1 - crop.reference).tolist()
    blue, orange = crop.image("difference")[0, :2]
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    for y in (None, torch.tensor([0.5, 1.0, 2.0, 1.0, 1.0]), torch.ones(5, 2), torch.tensor([1])):
        unknown = Inputs(Data(x=x, y=y))
        assert Crop.of(replace(m, original=unknown, inputs=unknown)).classes is None


def test_real_values_are_drawn_with_their_sign(found):
    reference = Inputs(Data(x=torch.tensor([[2.0, -2.0]])))
    m = replace(found.metamers[0], original=reference, inputs=reference)
    assert Crop.of(m).signed
    above, below = (
        drawn(plot_matrix, crop=Crop.of(m), show="reference", metamer=m)
        .get_images()[0]
        .get_array()[0]
    )
    assert above[2] > above[1]  # blue
    assert below[1] > below[2]  # green
    assert not np.allclose(above, below)


def rewired(found: Audit, **kept) -> Metamer:
    """Node 0 keeps its neighbour 1, loses 2 and gets 3 and 4; a tail of two nodes stays."""

    def undirected(*pairs):
        ends = torch.tensor(pairs).T
        return torch.cat([ends, ends.flip(0)], dim=1)

    before = undirected((0, 1), (0, 2), (3, 4), (5, 6))
    after = undirected((0, 1), (0, 3), (0, 4), (5, 6))
    reference = Inputs(Data(x=torch.eye(7), edge_index=before, **kept))
    inputs = reference.replaced({"edge_index": after})
    return replace(
        found.metamers[0], original=reference, inputs=inputs, varied={"edge_index": "structure"}
    )


def test_adjacency_stands_by_class_and_degree(found):
    m = rewired(found, y=torch.tensor([0, 0, 1, 1, 0, 2, 2]))
    crop = Crop.of(m)
    order = [0, 1, 4, 2, 3, 5, 6]
    for matrix, inputs in ((crop.reference, m.original), (crop.metamer, m.inputs)):
        dense = torch.zeros(7, 7)
        dense[*inputs["edge_index"]] = 1
        assert matrix.tolist() == dense[order][:, order].tolist()
    assert crop.classes.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert crop.binary


def test_adjacency_of_two_types_is_senders_by_receivers(found):
    data = HeteroData()
    data["a"].x, data["b"].x = torch.eye(3), torch.eye(2)
    data["a", "to", "b"].edge_index = torch.tensor([[0, 0, 1, 2], [0, 1, 0, 0]])
    inputs = Inputs(data)
    m = replace(
        found.metamers[0], original=inputs, inputs=inputs, varied={"a-to-b.edge_index": "structure"}
    )
    assert Crop.of(m).reference.tolist() == [[1, 1], [1, 0], [1, 0]]
    assert "3 a nodes" in Crop.of(m).names[1]


def test_adjacency_of_a_large_graph_counts_edges_or_weighs_them(found):
    ring = torch.arange(401)
    reference = Inputs(Data(x=torch.eye(401), edge_index=torch.stack([ring, (ring + 1) % 401])))
    other = reference.replaced({"edge_index": torch.stack([ring, (ring + 2) % 401])})
    varied = {"edge_index": "structure"}
    crop = Crop.of(replace(found.metamers[0], original=reference, inputs=other, varied=varied))
    assert crop.reference.shape == (CELLS, CELLS)
    assert crop.reference.sum() == crop.metamer.sum() == 401
    assert not crop.binary
    weighted = made(weights).metamers[0]
    crop = Crop.of(weighted)
    assert crop.reference.sum() == pytest.approx(float(weighted.original["edge_weight"].sum()))
    assert crop.metamer.sum() == pytest.approx(float(weighted.inputs["edge_weight"].sum()))


@pytest.mark.parametrize(
    ("show", "lines"),
    [("reference", [0, 2, 2]), ("metamer", [2, 0, 2]), ("difference", [2, 2, 2])],
)
def test_a_graph_is_drawn_with_what_is_added_removed_and_kept(found, show, lines):
    ax = drawn(structure.plot_graph, rewired(found), show)
    colors = [line.get_color() for line in ax.get_lines()]
    assert [colors.count(color) for color in (METAMER, REFERENCE, SHARED)] == lines
    assert len(ax.collections[0].get_offsets()) == 7


def test_a_node_is_drawn_with_its_neighbours(found):
    ax = drawn(structure.plot_graph, rewired(found), "difference", node=0)
    assert len(ax.collections[0].get_offsets()) == 5  # itself and 1, 2, 3, 4
    assert len(ax.get_lines()) == 5  # to each of these, and from 3 to 4
    assert ax.get_title(loc="left").startswith("Node 0, difference")


def test_degrees(found):
    lines = drawn(structure.plot_degrees, rewired(found)).get_lines()
    reference, graph = (line.get_xydata().tolist() for line in lines)
    assert reference == [[1, 1], [2, 1 / 7], [2, 0]]
    assert graph == [[0, 1], [1, 6 / 7], [3, 1 / 7], [3, 0]]


# In a browser

DECODED = """async () => {
  const images = [...document.querySelectorAll("svg image")].map(i => i.getAttribute("href"));
  return Promise.all(images.map(async source => {
    const image = new Image();
    image.src = source;
    await image.decode();
    return image.naturalWidth;
  }));
}"""


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
@pytest.mark.parametrize("build", [features, hetero, batch])
def test_the_page_opens_without_complaint(browser, build, width, scheme, tmp_path):
    audit = made(build)
    long = replace(audit.metamers[0], layer="encoder." * 20 + "out")
    gm.write_report(with_metamers(audit, [*audit.metamers, long]), tmp_path / "report.html")
    complaints, requests = [], []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto((tmp_path / "report.html").as_uri())
    for details in page.locator("details").all():
        details.evaluate("node => { node.open = true; }")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert min(page.evaluate(DECODED)) > 0
    assert page.locator("table:not(:has(caption))").count() == 0
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    page.emulate_media(media="print")
    assert page.locator("caption", has_text="One row a run").first.is_visible()
    context.close()
