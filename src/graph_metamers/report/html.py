"""One self-contained page for an audit: no request leaves it, and no name in it can run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.axes import Axes

from graph_metamers import datasets, zoo
from graph_metamers.report import plots
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.pictures import Crop, Picture, node_classes, plot_features
from graph_metamers.report.words import (
    ABSENT,
    LIMITATIONS,
    SCORES,
    VARIES,
    error_text,
    headline,
    noun,
    remedies,
    score_text,
    shorten,
    spread_text,
    status_text,
    verdict,
)
from graph_metamers.result import Metamer
from graph_metamers.storage import write_text

if TYPE_CHECKING:
    from graph_metamers.audit import Audit

TEMPLATES = Path(__file__).parent / "templates"
OPEN_SECTIONS = 4
NODES_LISTED = 10


def write_report(audit: "Audit", path: Path) -> None:
    """Write the report of an audit: one page, whole or not at all.

    Args:
        audit: A finished audit, or one that has come part of the way.
        path: The HTML file.

    Raises:
        InputError: The place cannot be written to.
    """
    page = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")
    write_text(path, page.render(_context(audit)))


def _context(audit: "Audit") -> dict[str, Any]:
    groups, summary = audit.groups(), audit.summary()
    several = len({group[0].vary for group in groups}) > 1
    used = {name for s in summary for name in s}
    return {
        "question": audit.question,
        "environment": audit.environment,
        "headline": headline(groups),
        "advice": [] if any(m.matched for m in audit.metamers) else remedies(audit.metamers),
        "overview": _overview(groups) if groups else None,
        "asked": _asked(audit),
        "sections": [
            _section(place, group, s, several)
            for place, (group, s) in enumerate(zip(groups, summary, strict=True))
        ],
        "scores": [score for name, score in SCORES.items() if name in used],
        "limitations": LIMITATIONS,
        "snippet": _snippet(audit.question),
        "score_text": score_text,
        "error_text": error_text,
        "status_text": status_text,
    }


def _overview(groups: list[list[Metamer]]) -> Markup:
    return inline_svg(
        lambda ax: plots.plot_similarity(groups, ax),
        "Feature similarity of each metamer and of its random start, for each layer. "
        "The same figures stand in the tables of scores.",
        "overview",
        width=4.1,
        height=0.95 + 0.34 * len(groups),
    )


def _asked(audit: "Audit") -> list[tuple[str, str]]:
    """The question, as terms and their values."""
    question = audit.question
    asked = [
        ("Model", str(question["model"])),
        ("Graph", f"{question['dataset']}: {_size(question)}"),
        ("Layers", _listed(question["layers"])),
        *([("Left out", _listed(list(question["skipped"])))] if question.get("skipped") else []),
        ("What varies", "; ".join(_varies(way) for way in question["vary"])),
        ("Search", audit.search),
        ("Random starts", _starts(question["seeds"])),
        ("Matched if", f"activation error is at most {question['tol']:g}"),
    ]
    if audit.accuracy:
        parts = (f"{value:.1%} {split}" for split, value in audit.accuracy.items())
        asked.insert(1, ("Its accuracy", ", ".join(parts)))
    return asked


def _section(
    place: int, group: list[Metamer], summary: dict[str, Any], several: bool
) -> dict[str, Any]:
    """All that is said and shown of one layer."""
    shown = min(group, key=lambda m: (not m.matched, _or_infinity(m.activation_error)))
    crop = Crop.of(shown)
    return {
        "id": f"layer-{place}",
        "title": group[0].layer + (f", {group[0].vary}" if several else ""),
        "verdict": verdict(group),
        "summary": summary,
        "scores": _score_table(group, summary),
        "shown": shown,
        "noun": noun(shown),
        "pictures": _pictures(shown, place),
        "classed": crop.classes is not None,
        "binary": crop.binary,
        "curves": _curves(group, shown, place),
        "group": group,
        "nodes": _telling_nodes(shown),
        "folded": place >= OPEN_SECTIONS,
    }


def _score_table(group: list[Metamer], summary: dict[str, Any]) -> list[dict[str, Any]]:
    names = ["activation_error", *(n for n in group[0].scores if not n.startswith("start_"))]
    return [
        {
            "name": name,
            "title": SCORES[name].title if name in SCORES else name.replace("_", " ").capitalize(),
            "symbol": SCORES[name].symbol if name in SCORES else "",
            "reading": SCORES[name].reading if name in SCORES else "",
            "metamer": _mean_and_spread(name, summary, name),
            "start": _mean_and_spread(f"start_{name}", summary, name),
        }
        for name in names
    ]


def _mean_and_spread(key: str, summary: dict[str, Any], name: str) -> dict[str, str]:
    text = error_text if name == "activation_error" else score_text
    mean, spread = summary.get(key, math.nan), summary.get(f"{key}_std", math.nan)
    if math.isfinite(mean):
        beside = spread_text(spread, mean) if text is error_text else score_text(spread)
        return {"mean": text(mean), "spread": beside if summary["runs"] > 1 else "", "reason": ""}
    reason = {
        "feature_similarity": "a graph without any feature",
        "activation_correlation": "a constant response",
        "activation_error": "the response became NaN or infinite",
    }.get(name, "undefined in at least one run")
    return {
        "mean": ABSENT,
        "spread": "",
        "reason": "not measured" if key not in summary else reason,
    }


def _pictures(shown: Metamer, place: int) -> list[Markup]:
    """Reference, metamer and difference; none where the features are the same."""
    x, y = shown.reference.x, shown.data.x
    if x is None or y is None or x.shape != y.shape or x.equal(y):
        return []
    alts: dict[Picture, str] = {
        "reference": "Features of the reference as a picture, rows are nodes, columns features.",
        "metamer": f"Features of the {noun(shown)}, the same nodes and features.",
        "difference": "Difference of the two: blue where the reference has more, orange where "
        f"the {noun(shown)} has more.",
    }
    return [
        inline_svg(
            lambda ax, which=which: plot_features(shown, which, ax),
            alt,
            f"p{place}-{which}",
            height=3.4,
        )
        for which, alt in alts.items()
    ]


def _curves(group: list[Metamer], shown: Metamer, place: int) -> list[tuple[Markup, str]]:
    """Plots with their captions."""
    similarity = shown.node_similarity
    drawn: list[tuple[str, Callable[[Axes], object], str, str]] = [
        (
            "loss",
            lambda ax: plots.plot_loss(group, ax),
            f"Activation error against the step, one line a seed, n = {len(group)}. The seed shown "
            f"above goes from {error_text(shown.history[0])} to "
            f"{error_text(shown.activation_error)} in {shown.best_step} steps.",
            "How the search went: one line a seed, the dot is the step whose graph was kept.",
        ),
        (
            "similarity",
            lambda ax: plots.plot_node_similarity(shown, ax),
            "Histogram of the feature similarity of each node; the median is "
            f"{score_text(_median(similarity))}.",
            "How similar each node’s features are to its own in the reference.",
        ),
    ]
    if shown.node_errors is not None:
        drawn.append(
            (
                "errors",
                lambda ax: plots.plot_node_errors(shown, ax),
                "Histogram of the activation error of each node; the median is "
                f"{error_text(_median(shown.node_errors))}.",
                "How well each node’s response is matched; the mean over all nodes is the "
                "activation error.",
            )
        )
    return [(inline_svg(draw, alt, f"p{place}-{name}"), text) for name, draw, alt, text in drawn]


def _median(values: torch.Tensor) -> float:
    return float(values.double().nanmedian())


def _telling_nodes(m: Metamer) -> list[dict[str, Any]]:
    """Nodes that match on their own and keep their class, the least similar first."""
    similarity = m.node_similarity.double()
    telling = similarity.isfinite()
    error = torch.zeros_like(similarity)
    if m.node_errors is not None:
        error = m.node_errors.double()
        telling &= error <= m.tol
    if m.predictions_agree is not None:
        telling &= m.predictions_agree
    nodes = telling.nonzero().view(-1)
    order = error[nodes].argsort(stable=True)
    order = order[similarity[nodes][order].argsort(stable=True)]
    classes = node_classes(m.reference)
    return [_node(m, node, classes) for node in nodes[order][:NODES_LISTED].tolist()]


def _node(m: Metamer, node: int, classes: torch.Tensor | None) -> dict[str, Any]:
    before = m.reference.x[node] != 0  # pyright: ignore[reportOptionalSubscript]
    after = m.data.x[node] != 0  # pyright: ignore[reportOptionalSubscript]
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


def _snippet(question: dict[str, Any]) -> str:
    """The audit as Python, as far as its settings say it."""
    model, dataset = question["model"], question["dataset"]
    if dataset in datasets.NAMES and model in zoo.MODELS:
        made = f"data = gm.datasets.load({dataset!r})\nmodel = gm.zoo.train({model!r}, data).model"
    else:
        made = "model, data = ...  # yours, with the digests below"
    layers = [part.split(" + ") if " + " in part else part for part in question["layers"]]
    ways = ", ".join(_constructor(way) for way in question["vary"])
    seeds = question["seeds"]
    seeds = len(seeds) if seeds == list(range(len(seeds))) else seeds
    return (
        f"import graph_metamers as gm\n\n{made}\n"
        "report = gm.audit(\n    model,\n    data,\n"
        f"    layers={layers!r},\n    vary=[{ways}],\n"
        f"    search={_constructor(question['search'])},\n"
        f"    seeds={seeds!r},\n    tol={question['tol']!r},\n"
        f"    dataset={dataset!r},\n    name={model!r},\n"
        ')\nreport.save("audit")\n'
    )


def _constructor(setting: str) -> str:
    """`gm.Adam(steps=200)` for "Adam(steps=200)"; a class of the user's own stays as it is.

    >>> _constructor("Adam"), _constructor("Mine(x=1)")
    ('gm.Adam()', 'Mine(x=1)')
    """
    import graph_metamers

    name = setting.partition("(")[0]
    call = setting if "(" in setting else f"{setting}()"
    return f"gm.{call}" if name in graph_metamers.__all__ else call


def _varies(setting: str) -> str:
    plain = VARIES.get(setting.partition("(")[0])
    return f"{setting}: {plain}" if plain else setting


def _size(question: dict[str, Any]) -> str:
    parts = ((question.get(name), name) for name in ("nodes", "features", "edges"))
    return ", ".join(f"{count:,} {name}" for count, name in parts if count is not None)


def _starts(seeds: list[int]) -> str:
    return f"{len(seeds)} ({'seed' if len(seeds) == 1 else 'seeds'} {_listed(seeds)})"


def _listed(values: Sequence[Any], most: int = 12) -> str:
    shown = [shorten(str(value), 60) for value in values[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf
