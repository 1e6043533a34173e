"""The report, the plots and the short texts where edges or their weights varied."""

import math
import re
from dataclasses import replace
from html import unescape

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import graph_metamers as gm
from graph_metamers.audit import Audit
from graph_metamers.measure import Verdict
from graph_metamers.report import (
    plot_adjacency,
    plot_degrees,
    plot_neighbours,
    plot_node_similarity,
    plot_similarity,
    plot_trail,
    structure,
    write_report,
)
from graph_metamers.report.structure import Neighbours, adjacency
from graph_metamers.report.words import finding, headline
from graph_metamers.result import Metamer


@pytest.fixture(scope="module")
def data():
    return gm.datasets.csbm(nodes=60, features=40)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return gm.zoo.GCN(40, 3).eval()


@pytest.fixture(scope="module")
def found(model, data):
    """One layer, two seeds; both match."""
    return gm.audit(
        model,
        data,
        layers=["layer1"],
        vary=gm.Edges(degrees="fixed", keep=0.5),
        search=gm.EdgeSwap(steps=15),
        seeds=2,
        tol=0.9,
        dataset="small",
        progress=False,
    )


@pytest.fixture(scope="module")
def page(found, tmp_path_factory):
    return html(found, tmp_path_factory.mktemp("report"))


def html(audit: Audit, tmp_path) -> str:
    write_report(audit, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def text(page: str) -> str:
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def scored(m: Metamer, **scores: float) -> Metamer:
    return replace(m, scores=m.scores | scores)


def unmatched(m: Metamer) -> Metamer:
    return replace(m, verdict=Verdict.NOT_MATCHED, status=gm.Status.BUDGET_SPENT)


def isomorphic(m: Metamer, value: float) -> Metamer:
    return replace(m, notes=m.notes | {"isomorphic": value})


def undirected(*pairs: tuple[int, int]) -> torch.Tensor:
    edges = torch.tensor(pairs).T
    return torch.cat([edges, edges.flip(0)], dim=1)


@pytest.fixture
def rewired(found) -> Metamer:
    """Node 0 keeps its neighbour 1, loses 2 and gets 3 and 4; a tail of two nodes stays."""
    reference = Data(
        x=torch.eye(7),
        y=torch.tensor([0, 0, 1, 1, 0, 2, 2]),
        edge_index=undirected((0, 1), (0, 2), (3, 4), (5, 6)),
    )
    graph = reference.clone()
    graph.edge_index = undirected((0, 1), (0, 3), (0, 4), (5, 6))
    return replace(
        found.metamers[0],
        reference=reference,
        data=graph,
        node_similarity=gm.measure.node_edge_overlap(reference.edge_index, graph.edge_index, 7),
        node_errors=torch.tensor([0.0, 0.0, 9.0, 0.0, 0.1, 0.0, 0.0], dtype=torch.float64),
        predictions_agree=torch.tensor([True, True, True, False, True, True, True]),
    )


# Short texts


def test_the_similarity_never_stands_without_the_edges_kept(found):
    assert re.fullmatch(
        r"Metamer\(layer1, matched, error \d\.\de-\d\d, S_struct \d\.\d\d, kept \d\.\d\d, "
        r"S_match \d\.\d\d\)",
        repr(found.metamers[0]),
    )
    assert re.search(
        r"S_struct \d\.\d{3} \(start \d\.\d{3}\), kept \d\.\d{3} \(start \d\.\d{3}\), S_match",
        repr(found),
    )


def test_a_trivial_metamer_says_so(found):
    assert isomorphic(found.metamers[0], 1.0).trivial
    assert not isomorphic(found.metamers[0], math.nan).trivial
    assert not replace(found.metamers[0], notes={}).trivial


# The page


def test_what_stands_there(found, page):
    words = text(page)
    for part in (
        "Edges(degrees='fixed', keep=0.5): edges; their number and the node features stay",
        "vary=[gm.Edges(degrees='fixed', keep=0.5)]",
        "search=gm.EdgeSwap(steps=15)",
        "Structure similarity says little alone.",
        "other edges, same predictions",
        "Structure similarity S struct",
        "Rows and columns are the nodes, sorted by class",
        "Neighbours kept removed added",
    ):
        assert part in words
    for part in ("S feat", "Feature similarity", "features are"):
        assert part not in words
    assert "nan" not in words.lower()


def test_the_runs_are_listed_with_the_edges_kept(found, page):
    table = page[page.index("One row a run.") :]
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)[:7]
    assert heads[1:3] == ["Verdict", "Status"]
    assert heads[5:7] == ["S<sub>struct</sub>", "kept"]
    cells = re.findall(r"<td>([^<]*)</td>", table)
    assert cells[:2] == ["matched", "matched"]
    for name, cell in zip(("structure_similarity", "edges_kept"), cells[4:6], strict=True):
        assert cell == f"{found.metamers[0].scores[name]:.3f}"


def test_every_score_is_explained(found, page):
    names = [name for name in found.metamers[0].scores if not name.startswith("start_")]
    titles = re.findall(r"<div><dt>([^<]*?) <span", page)
    assert len(titles) == len(names) + 2  # the activation error, and that of unrelated graphs
    assert {"Edges kept", "Edge overlap", "Degree distance", "Spectral distance"} <= set(titles)


def test_the_pictures_of_structure(page):
    names = {"reference", "metamer", "difference"}
    names |= {"null", "trail", "loss", "similarity", "errors", "degrees"}
    for name in names:
        assert f'"p0-{name}-' in page
    assert page.count("Node ") >= 3
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert page.count('<svg class="plot" role="img" aria-label="') == page.count("<svg")


def test_the_snippet_runs(found, page, model, data):
    code = unescape(re.findall(r"<pre[^>]*><code>(.*?)</code>", page, re.S)[-1])
    code = code.replace("model, data = ...", "pass").replace('report.save("audit")', "")
    names = {"model": model, "data": data}
    exec(code, names)
    assert names["report"].question == found.question


def test_nodes_that_differ_most(found, rewired, tmp_path):
    page = html(replace(found, metamers=[rewired]), tmp_path)
    table = page[page.index("Same prediction") :]
    table = table[: table.index("</table>")]
    rows = [
        re.findall(r">([^<]*)</t[hd]>", row)
        for row in table.split("<tr>")
        if '<th scope="row">' in row
    ]
    assert [[row[0], row[2], *row[5:]] for row in rows] == [
        ["4", "0.000", "0", "1", "1"],
        ["0", "0.250", "1", "1", "2"],
    ]  # nodes whose neighbours all stay tell nothing


def test_the_same_edges_have_no_picture(found, tmp_path):
    m = found.metamers[0]
    same = scored(replace(m, data=m.reference), edges_kept=1.0, structure_similarity=1.0)
    same = replace(same, node_similarity=torch.ones(60, dtype=torch.float64))
    page = html(replace(found, metamers=[same]), tmp_path)
    assert "The edges of both graphs are the same" in text(page)
    assert "p0-difference" not in page
    assert "Lines to neighbours" not in page


def test_graphs_without_classes(model, data, tmp_path):
    data = data.clone()
    del data.y
    audit = gm.audit(
        model, data, layers=["layer1"], vary=gm.Edges(), search=gm.EdgeSwap(steps=2), seeds=1
    )
    words = text(html(audit, tmp_path))
    assert "sorted by class" not in words
    assert "by their degree in the reference" in words


def test_weights(model, data, tmp_path):
    audit = gm.audit(
        model,
        data,
        layers=["layer1"],
        vary=gm.EdgeWeights(),
        search=gm.Adam(lr=0.05, steps=5),
        seeds=1,
        tol=0.9,
    )
    assert re.search(r"S_weight \d\.\d\d, S_match", repr(audit.metamers[0]))
    words = text(html(audit, tmp_path))
    assert "only the edge weights differ" in words
    assert "Its edge weights are" in words
    assert "The weight similarity is" in words
    assert "Nodes that differ most" not in words


def test_features_and_structure_in_one_audit(model, data, found, tmp_path):
    features = gm.audit(
        model, data, layers=["layer1"], search=gm.Swap(steps=3), seeds=1, tol=0.9, dataset="small"
    )
    both = replace(found, metamers=[*features.metamers, *found.metamers])
    said = headline(both.groups())
    assert "The most different in features, at “layer1”, have features that are" in said
    assert "The most different in edges, at “layer1”, keep" in said
    words = text(html(both, tmp_path))
    assert "Feature similarity needs its null." in words
    assert "Structure similarity says little alone." in words
    labels = [label.get_text() for label in plot_similarity(both.groups()).get_yticklabels()]
    assert [label.split()[-1] for label in labels] == ["S_feat", "S_struct", "kept"]
    plt.close("all")


# The verdict


def test_the_verdict_names_the_share_of_edges_beside_the_similarity(found):
    m = scored(
        found.metamers[0],
        edges_kept=0.013,
        start_edges_kept=0.002,
        structure_similarity=0.96,
        start_structure_similarity=0.91,
    )
    said = " ".join(finding([m]).sentences)
    assert "Of the original’s edges 1.3% stayed, against 0.2% on a random start." in said
    assert "The structure similarity is 0.96, against 0.91 on a random start" in said
    assert "What differs between them, this layer overlooks." in said
    assert "feature" not in said
    assert headline([[m]]) == (
        "A metamer was found at “layer1”, in the one run. It keeps 1.3% of the original’s edges "
        "(a random start 0.2%); the structure similarity is 0.96 (a random start 0.91)."
    )
    assert ". They keep 1.3% of" in headline([[m, m]])
    other = scored(replace(m, layer="layer2"), edges_kept=0.5)
    assert "The most different, at “layer1”, keep 1.3% of" in headline([[other], [m]])


def test_nearly_all_edges_kept_is_no_finding(found):
    m = scored(found.metamers[0], edges_kept=0.99, start_edges_kept=0.1)
    assert "nothing that this layer overlooks" in " ".join(finding([m]).sentences)


def test_a_trivial_metamer_claims_nothing(found, tmp_path):
    trivial = [isomorphic(m, 1.0) for m in found.metamers]
    said = " ".join(finding(trivial).sentences)
    assert "2 of 2 are only the original with equal nodes exchanged" in said
    assert "this layer overlooks" not in said
    assert headline([trivial]) == (
        "No other graph was found that matches: where a run matched, it is the original, as it is "
        "or with equal nodes exchanged."
    )
    assert finding(trivial).badge == "2 of 2 matched, 2 trivial"
    assert "a trivial metamer" in text(html(replace(found, metamers=trivial), tmp_path))
    some = " ".join(finding([trivial[0], found.metamers[1]]).sentences)
    assert "1 of 2 are only the original" in some
    assert "this layer overlooks" in some


def test_what_is_not_known_of_equal_nodes_is_said(found):
    said = " ".join(finding([isomorphic(found.metamers[0], math.nan)]).sentences)
    assert "Whether it is only the original with equal nodes exchanged is not known" in said


def test_no_match_claims_nothing(found):
    group = [unmatched(m) for m in found.metamers]
    assert "stayed" not in " ".join(finding(group).sentences)


# Plots


PLOTS = {
    "adjacency": lambda m, ax: plot_adjacency(m, ax=ax),
    "neighbours": lambda m, ax: plot_neighbours(m, 0, ax=ax),
    "degrees": plot_degrees,
    "trail": plot_trail,
    "similarity": lambda m, ax: plot_similarity([m], ax),
    "node similarity": plot_node_similarity,
}


@pytest.mark.parametrize("name", PLOTS)
def test_plots_draw_on_the_given_axes_or_on_new_ones(found, name):
    _, ax = plt.subplots()
    assert PLOTS[name](found.metamers[0], ax) is ax
    assert PLOTS[name](found.metamers[0], None) is not ax
    plt.close("all")


def test_the_overview_shows_both_figures(found):
    ax = plot_similarity(found.groups())
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "layer1 S_struct",
        "layer1 kept",
    ]
    drawn = {float(line.get_xdata()[0]) for line in ax.get_lines() if line.get_marker() == "o"}
    assert drawn == {
        m.scores[name] for m in found.metamers for name in ("structure_similarity", "edges_kept")
    }
    plt.close("all")


def test_adjacency_stands_by_class_and_degree(rewired):
    crop = adjacency(rewired)
    assert crop.classes.tolist() == [0, 0, 0, 1, 1, 2, 2]
    order = [0, 1, 4, 2, 3, 5, 6]
    for matrix, graph in ((crop.reference, rewired.reference), (crop.metamer, rewired.data)):
        dense = torch.zeros(7, 7)
        dense[graph.edge_index[1], graph.edge_index[0]] = 1
        assert matrix.tolist() == dense[order][:, order].tolist()
    assert crop.binary


def test_the_adjacency_of_a_large_graph_counts_edges(found):
    n = 401
    ring = torch.arange(n)
    reference = Data(x=torch.eye(n), edge_index=torch.stack([ring, (ring + 1) % n]))
    graph = reference.clone()
    graph.edge_index = torch.stack([ring, (ring + 2) % n])
    m = replace(found.metamers[0], reference=reference, data=graph)
    crop = adjacency(m)
    assert crop.reference.shape == (structure.CELLS, structure.CELLS)
    assert crop.reference.sum() == crop.metamer.sum() == n
    assert not crop.binary
    assert crop.classes is None
    assert plot_adjacency(m).get_xlabel() == "401 nodes, by degree"
    plt.close("all")


def test_the_neighbours_of_a_node(rewired):
    near = Neighbours.of(rewired, 0)
    assert (near.kept, near.removed, near.added) == ([1], [2], [3, 4])
    assert near.count == 4
    assert near.drawn() == [1, 2, 3, 4]


def test_at_most_twelve_neighbours_some_of_each_kind():
    near = Neighbours(kept=[1], removed=list(range(10, 60)), added=list(range(100, 103)))
    drawn = near.drawn()
    assert len(drawn) == 12
    assert drawn[0] == 1
    assert drawn[-3:] == [100, 101, 102]


def test_neighbours_have_the_same_places_in_both_graphs(rewired):
    axes = [plot_neighbours(rewired, 0, show) for show in ("reference", "metamer")]
    before, after = (
        {
            tuple(np.ravel(line.get_xydata()))
            for line in ax.get_lines()
            if len(line.get_xdata()) == 1
        }
        for ax in axes
    )
    assert before == after
    assert len(before) == 5
    titles = [ax.get_title(loc="left") for ax in axes]
    assert titles == ["Reference, node 0: 1 kept, 1 removed", "Metamer, node 0: 1 kept, 2 added"]
    # 3 and 4 are joined in the reference, where neither is a neighbour of 0.
    lines = [sum(len(line.get_xdata()) == 2 for line in ax.get_lines()) for ax in axes]
    assert lines == [2, 3]
    plt.close("all")


@pytest.mark.parametrize("node", [-1, 60])
def test_neighbours_of_no_node(found, node):
    with pytest.raises(
        gm.InputError, match=rf"node must be one of the graph's, 0 to 59; got {node}"
    ):
        plot_neighbours(found.metamers[0], node)


def test_pictures_of_edges_need_edges(found):
    m = replace(found.metamers[0], reference=Data(x=torch.eye(3)))
    with pytest.raises(gm.InputError, match=r"data\.edge_index must hold the edges.*has none"):
        plot_adjacency(m)
    plt.close("all")


def test_degrees(rewired):
    ax = plot_degrees(rewired)
    reference, graph = (line.get_xydata().tolist() for line in ax.get_lines()[:2])
    assert reference == [[0, 1], [1, 1], [2, 1 / 7], [2, 0]]
    assert graph == [[0, 1], [1, 6 / 7], [3, 1 / 7], [3, 0]]
    assert "n = 7 nodes" in ax.get_title(loc="left")
    plt.close("all")


def test_heavy_tails_are_logarithmic(found):
    star = undirected(*((0, node) for node in range(1, 40)))
    data = Data(x=torch.eye(40), edge_index=star)
    ax = plot_degrees(replace(found.metamers[0], reference=data, data=data))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "every node keeps its own" in ax.get_title(loc="left")
    plt.close("all")


def test_the_trail_is_that_of_the_edges_kept(found):
    m = found.metamers[0]
    ax = plot_trail([m, unmatched(found.metamers[1])])
    assert ax.get_ylabel() == "share of edges kept (1 = all)"
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert [float(dot.get_ydata()[0]) for dot in dots] == [
        m.scores["edges_kept"] for m in found.metamers
    ]
    assert [dot.get_markerfacecolor() == "none" for dot in dots] == [False, True]
    starts = [line for line in ax.get_lines() if line.get_marker() == "D"]
    assert [float(start.get_xdata()[0]) for start in starts] == pytest.approx(
        [m.scores["start_activation_error"] for m in found.metamers], rel=1e-4
    )
    assert [note.get_text() for note in ax.texts] == [f"{m.scores['edges_kept']:.3f}"]
    plt.close("all")
