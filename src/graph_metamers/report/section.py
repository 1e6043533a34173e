"""One section of the report: all that is said and shown of one layer."""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from markupsafe import Markup
from matplotlib.axes import Axes
from torch import Tensor
from torch_geometric.data import Data

from graph_metamers.report import nodes, plots, structure
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.numbers import ABSENT, error_text, score_text
from graph_metamers.report.pictures import Crop, Picture, node_classes, plot_features
from graph_metamers.report.scores import score_tables
from graph_metamers.report.words import finding, kind_of, noun, nulls_text
from graph_metamers.result import Metamer

OPEN_SECTIONS = 4
NODES_LISTED, NODES_DRAWN = 10, 3
LOOKED_AT = 200  # nodes among which to choose those drawn

Graph = Literal["reference", "metamer"]
# What is drawn of which graph: a name, the drawing, what it shows in words, its caption.
Drawing = tuple[str, Callable[[Axes], object], str, str]


def section(
    place: int,
    group: list[Metamer],
    summary: dict[str, Any],
    baselines: list[dict[str, Any]],
    *,
    several: bool,
) -> dict[str, Any]:
    """What the template needs to know of the runs that differ only in the seed.

    Args:
        place: Of this section among all.
        group: The runs.
        summary: Their means and spreads.
        baselines: Rows of the graphs that a metamer must beat here.
        several: Whether other sections differ in what varies.
    """
    shown = min(group, key=lambda m: (not m.matched, _or_infinity(m.activation_error)))
    kind = kind_of(shown)
    scores, distances = score_tables(group, summary)
    crop = structure.adjacency(shown) if kind == "structure" else Crop.of(shown)
    return {
        "id": f"layer-{place}",
        "title": group[0].layer + (f", {group[0].vary}" if several else ""),
        "finding": finding(group),
        "summary": summary,
        "scores": scores,
        "distances": distances,
        "baselines": baselines,
        "symbols": shown.symbols,
        "kind": kind,
        "shown": shown,
        "noun": noun(shown),
        "pictures": _pictures(shown, place),
        "classed": crop.classes is not None,
        "binary": crop.binary,
        "neighbours": _neighbours(shown, place) if kind == "structure" else [],
        "curves": _curves(group, shown, place),
        "group": group,
        "nodes": [_node(shown, node) for node in _telling_nodes(shown)[:NODES_LISTED]],
        "folded": place >= OPEN_SECTIONS,
    }


def _pictures(shown: Metamer, place: int) -> list[Markup]:
    """Reference, metamer and difference; none where these are the same."""
    edges = kind_of(shown) == "structure"
    if edges:
        same, plot = shown.scores["edges_kept"] == 1, structure.plot_adjacency
    else:
        x, y = shown.reference.x, shown.data.x
        same = x is None or y is None or x.shape != y.shape or x.equal(y)
        plot = plot_features
    if same:
        return []
    what, axes = (
        ("Edges", "rows and columns are nodes")
        if edges
        else ("Features", "rows are nodes, columns features")
    )
    alts: dict[Picture, str] = {
        "reference": f"{what} of the reference as a picture, {axes}.",
        "metamer": f"{what} of the {noun(shown)}, the same nodes{'' if edges else ' and features'}"
        ".",
        "difference": "Difference of the two: blue where the reference has more, orange where "
        f"the {noun(shown)} has more.",
    }
    return [
        inline_svg(
            lambda ax, which=which: plot(shown, which, ax),
            alt,
            f"p{place}-{which}",
            height=3.6 if edges else 3.4,
        )
        for which, alt in alts.items()
    ]


def _neighbours(shown: Metamer, place: int) -> list[list[Markup]]:
    """A few nodes with their neighbours before and after, if possible such that fit whole."""
    telling = _telling_nodes(shown)[:LOOKED_AT]
    around = {node: structure.Neighbours.of(shown, node) for node in telling}
    changed = [node for node, near in around.items() if near.removed or near.added]
    changed.sort(key=lambda node: around[node].count > structure.NEIGHBOURS)
    pictures: list[list[Markup]] = []
    for node in changed[:NODES_DRAWN]:
        near = around[node]
        alts: dict[Graph, str] = {
            "reference": f"Node {node} of the reference and its neighbours, {len(near.kept)} of "
            f"which it keeps and {len(near.removed)} of which it loses.",
            "metamer": f"The same node of the {noun(shown)}, with {len(near.kept)} neighbours kept "
            f"and {len(near.added)} new ones.",
        }
        pictures.append(
            [
                inline_svg(
                    lambda ax, node=node, which=which: structure.plot_neighbours(
                        shown, node, which, ax
                    ),
                    alt,
                    f"p{place}-n{node}-{which}",
                )
                for which, alt in alts.items()
            ]
        )
    return pictures


def _curves(group: list[Metamer], shown: Metamer, place: int) -> list[tuple[Markup, str]]:
    """Plots with their captions."""
    kind = kind_of(shown)
    drawn: list[Drawing] = [
        (
            "null",
            lambda ax: plots.plot_null(group, ax),
            f"Activation error of each run beside those of {nulls_text(shown)}. The least of the "
            f"runs is {error_text(shown.activation_error)}, the least of the others "
            f"{error_text(shown.null_activation_error)}.",
            "What makes it a match: a run left of the dashed line and of every unrelated graph, "
            "one grey stroke each.",
        ),
        (
            "trail",
            lambda ax: plots.plot_trail(group, ax),
            "How similar the graph still was at which activation error, one line a seed. The seed "
            f"shown above goes from {_point(shown, 0)} to {_point(shown, -1)}.",
            "How much likeness a closer match takes: from the random start at the right to the "
            "graph that was kept. A line that stays low ends at a graph unlike the original.",
        ),
    ]
    if any(len(m.history) > 1 for m in group):  # a search in closed form has no steps
        drawn.append(
            (
                "loss",
                lambda ax: plots.plot_loss(group, ax),
                f"Activation error against the step, one line a seed, n = {len(group)}. The seed "
                f"shown above goes from {error_text(shown.history[0])} to "
                f"{error_text(shown.activation_error)} in {shown.best_step} steps.",
                "How the search went: one line a seed, the dot is the step whose graph was kept.",
            )
        )
    if kind != "weights":  # a node has no weights of its own
        edges = kind == "structure"
        what = "overlap of neighbours" if edges else "feature similarity"
        drawn.append(
            (
                "similarity",
                lambda ax: nodes.plot_node_similarity(shown, ax),
                f"Histogram of the {what} of each node; the median is "
                f"{score_text(_median(shown.node_similarity))}.",
                "Of the neighbours that a node has in either graph, the share that it has in both."
                if edges
                else "How similar each node’s features are to its own in the reference.",
            )
        )
    if shown.node_errors is not None:
        drawn.append(
            (
                "errors",
                lambda ax: nodes.plot_node_errors(shown, ax),
                "Histogram of the activation error of each node; the median is "
                f"{error_text(_median(shown.node_errors))}.",
                "How well each node’s response is matched; the mean over all nodes is the "
                "activation error.",
            )
        )
    if kind == "structure":
        drawn += _structure_curves(shown)
    return [(inline_svg(draw, alt, f"p{place}-{name}"), text) for name, draw, alt, text in drawn]


def _structure_curves(shown: Metamer) -> list[Drawing]:
    return [
        (
            "degrees",
            lambda ax: structure.plot_degrees(shown, ax),
            f"Share of nodes with at least each degree, in the reference and the {noun(shown)}; "
            f"the degree distance is {score_text(shown.scores.get('degree_distance'))}.",
            "How many nodes have many neighbours, in both graphs. A line that ends farther right "
            "has a larger hub.",
        ),
    ]


def _point(m: Metamer, place: int) -> str:
    error, similarity = plots.way(m)[place]
    return f"similarity {score_text(similarity)} at an activation error of {error_text(error)}"


def _median(values: Tensor) -> float:
    return float(values.double().nanmedian())


def _telling_nodes(m: Metamer) -> list[int]:
    """Nodes that match on their own and keep their class, the least similar first."""
    if kind_of(m) == "weights":
        return []
    similarity = m.node_similarity.double()
    telling = similarity.isfinite()
    error = torch.zeros_like(similarity)
    if m.node_errors is not None:
        error = m.node_errors.double()
        telling &= error <= m.tol
    if m.predictions_agree is not None:
        telling &= m.predictions_agree
    telling &= similarity < 1 - 1e-9  # others tell nothing
    places = telling.nonzero().view(-1)
    order = error[places].argsort(stable=True)
    if kind_of(m) == "structure":  # of nodes that lose all neighbours, those that lose most
        degrees = torch.bincount(m.reference["edge_index"][1].cpu(), minlength=len(error))
        order = order[degrees[places][order].argsort(descending=True, stable=True)]
    return places[order[similarity[places][order].argsort(stable=True)]].tolist()


def _node(m: Metamer, node: int) -> dict[str, Any]:
    before, after = (_possessions(graph, node, m) for graph in (m.reference, m.data))
    classes = node_classes(m.reference)
    return {
        "node": node,
        "class": ABSENT if classes is None else int(classes[node]),
        "similarity": score_text(float(m.node_similarity[node])),
        "error": ABSENT if m.node_errors is None else error_text(float(m.node_errors[node])),
        "agree": ABSENT
        if m.predictions_agree is None
        else ("yes" if bool(m.predictions_agree[node]) else "no"),
        "kept": int((before & after).sum()),
        "removed": int((before & ~after).sum()),
        "added": int((after & ~before).sum()),
    }


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _possessions(graph: Data, node: int, m: Metamer) -> Tensor:
    """Which features a node has, or which neighbours, as a mask."""
    if kind_of(m) == "features":
        return graph["x"][node] != 0
    source, target = graph["edge_index"]
    mask = torch.zeros(m.node_similarity.numel(), dtype=torch.bool, device=source.device)
    mask[source[target == node]] = True
    return mask
