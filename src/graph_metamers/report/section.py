"""One section of the report: all that is said and shown of one layer."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from graph_metamers.measure import Outcome
from graph_metamers.report import plots, rows, structure
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.glossary import explained, plot_words
from graph_metamers.report.kinds import KINDS, compared_units, first_kind
from graph_metamers.report.numbers import ABSENT, error_text, score_text
from graph_metamers.report.pictures import Picture, node_classes, pair_of
from graph_metamers.report.scores import score_tables
from graph_metamers.report.words import (
    error,
    error_name,
    outcome_of,
    similarity_name,
)
from graph_metamers.result import Metamer

OPEN_SECTIONS = 4
ROWS_LISTED, NODES_DRAWN = 10, 3
INPUTS_DRAWN = 4
ITEMS_LISTED = 5  # graphs of a batch, of the best and of the worst
ITEM_SCORES = ("fvu", "activation_error", "node_match", "similarity", "prediction_match")
PICTURES: tuple[Picture, ...] = ("reference", "metamer", "difference")

Drawn = dict[str, Any]  # a heading, figures, and what they show


def section(
    place: int,
    group: list[Metamer],
    summary: dict[str, Any],
    baselines: list[dict[str, Any]],
    *,
    several: bool,
) -> dict[str, Any]:
    """What the template needs to know of the runs that differ only in the seed.

    `several` says whether other sections differ in what varies.
    """
    shown = min(group, key=lambda m: (not m.matched, _or_infinity(error(m))))
    scores, distances = score_tables(group, summary)
    id_, batch = f"layer-{place}", len(shown.items) > 1
    return {
        "id": id_,
        "title": group[0].layer + (f", {group[0].vary}" if several else ""),
        "badge": badge(group),
        "reasons": Counter((m.outcome, m.reason) for m in group),
        "claims": _claims(group),
        "difference": _difference(group),
        "summary": summary,
        "error": error_text(statistics.fmean(error(m) for m in group)),
        "error_name": error_name(group),
        "scores": scores,
        "distances": distances,
        "baselines": baselines,
        "symbols": shown.symbols,
        "classed": "consistency" in shown.scores,
        "shown": shown,
        "pictures": _of_batch(shown, id_) if batch else _of_graph(shown, None, id_),
        "curves": _curves(group, shown, id_),
        "items": _items(shown) if batch else [],
        "group": group,
        "kind": first_kind(shown),
        "rows": [] if batch else [_row(shown, row) for row in _telling_rows(shown)[:ROWS_LISTED]],
        "impossible": all(m.outcome is Outcome.IMPOSSIBLE for m in group),
        "folded": place >= OPEN_SECTIONS,
    }


def badge(group: list[Metamer]) -> tuple[str, str]:
    """How the runs ended, as a class of the style sheet and in words."""
    ended = [m.outcome for m in group]
    counts = {each: ended.count(each) for each in Outcome if each in ended}
    sort = "partly" if Outcome.MATCHED in counts else "none"
    if len(counts) == 1 and ended[0] in (Outcome.MATCHED, Outcome.IMPOSSIBLE):
        sort = str(ended[0])
    if len(group) == 1:
        return sort, ended[0].text
    return sort, ", ".join(f"{count} {outcome.text}" for outcome, count in counts.items())


def _claims(group: list[Metamer]) -> list[tuple[str, str, str]]:
    """Title, mean over the runs that matched and mean of their starts, of what is said first."""
    matched = [m for m in group if m.matched]
    names = [*group[0].symbols, "prediction_match", "prediction_change"]
    if not matched:
        return []
    found = [name for name in names if name in group[0].scores]
    texts = [
        [score_text(_mean(matched, f"{part}{n}"), n) for part in ("", "start_")] for n in found
    ]
    return [
        (explained(name, group[0]).title, mean, start)
        for name, (mean, start) in zip(found, texts, strict=True)
    ]


def _mean(group: list[Metamer], name: str) -> float:
    return statistics.fmean(m.scores.get(name, math.nan) for m in group)


def _difference(group: list[Metamer]) -> str:
    """How different the metamers are: "blunt", "far", "near" or "same"; empty if that is unknown.

    "blunt" where random starts are nearly as similar, so that the score tells little.
    """
    matched = [m for m in group if m.matched]
    if not matched:
        return ""
    name = similarity_name(group[0])
    found, start = _mean(matched, name), _mean(matched, f"start_{name}")
    if not (math.isfinite(found) and math.isfinite(start)):
        return ""
    if start > 0.8:
        return "blunt"
    share = (found - start) / (1 - start)
    return "far" if share < 0.5 else "near" if share < 0.9 else "same"


def _of_graph(shown: Metamer, graph: int | None, id_: str) -> list[Drawn]:
    """The reference beside what was found: as a drawing if it is small, and what varied."""
    name = id_ if graph is None else f"{id_}-g{graph}"
    before, after, _ = pair_of(shown, None, graph)
    found: list[Drawn] = []
    if structure.is_drawable(before):
        alt, text = plot_words("graph", shown)
        draw = partial(structure.plot_graph, shown, graph=graph)
        figures = _figures(draw, PICTURES[:2], alt, f"{name}-graph")
        found.append({"title": "", "figures": figures, "text": text, "crop": None})
    for place, at in enumerate(list(shown.varied)[:INPUTS_DRAWN]):
        if not before[at].equal(after[at]):
            kind = KINDS[shown.varied[at]]
            draw = partial(kind.plot, shown, at=at, graph=graph)
            pictures = PICTURES if graph is None else PICTURES[2:]
            figures = _figures(draw, pictures, f"the {kind.noun} {at}.", f"{name}-{place}")
            title = at if len(shown.varied) > 1 or "." in at else ""
            crop = kind.crop(shown, at, graph)
            found.append({"title": title, "figures": figures, "text": kind.picture, "crop": crop})
    return found


def _figures(
    draw: Callable[..., object], pictures: Sequence[Picture], alt: str, name: str
) -> list[Markup]:
    return [
        inline_svg(lambda ax, s=show: draw(s, ax), f"{show}: {alt}", f"{name}-{show}", height=3.5)
        for show in pictures
    ]


def _of_batch(shown: Metamer, id_: str) -> list[Drawn]:
    """The best and the worst graph of a batch, or where it cannot be divided the whole."""
    if not shown.inputs.divisible:
        return _of_graph(shown, None, id_)
    ranked = _ranked(shown)
    found: list[Drawn] = []
    for which, item in (("Best", ranked[0]), ("Worst", ranked[-1])):
        drawn = _of_graph(shown, item["graph"], id_)
        outcome = outcome_of(shown, item["graph"]).text
        title = f"{which} graph, number {item['graph']}: {outcome}"
        if drawn:
            figures = [figure for each in drawn for figure in each["figures"]]
            texts = " ".join(each["text"] for each in drawn)
            found.append(drawn[-1] | {"title": title, "figures": figures, "text": texts})
    return found


def _items(shown: Metamer) -> list[dict[str, Any]]:
    """Graphs of a batch: some of the best, then some of the worst, as they are written."""
    ranked = _ranked(shown)
    best, rest = ranked[:ITEMS_LISTED], ranked[ITEMS_LISTED:]
    return [
        {name: score_text(value, name) for name, value in item.items() if name in ITEM_SCORES}
        | {
            "graph": item["graph"],
            "outcome": outcome_of(shown, item["graph"]).text,
            "reason": item["reason"],
            "last_best": item is best[-1] and bool(rest),
        }
        for item in (*best, *rest[-ITEMS_LISTED:])
    ]


def _ranked(shown: Metamer) -> list[dict[str, Any]]:
    """Those that matched first, and the least error first."""
    name = "fvu" if math.isfinite(shown.fvu) else "activation_error"
    return sorted(
        shown.items, key=lambda item: (item["outcome"] != "matched", _or_infinity(item[name]))
    )


def _curves(group: list[Metamer], shown: Metamer, id_: str) -> list[tuple[Markup, str]]:
    """Plots with their captions."""
    kind = first_kind(shown)
    found: list[tuple[str, Callable[[Axes], object]]] = [
        ("null", partial(plots.plot_null, group)),
        ("trail", partial(plots.plot_trail, group)),
    ]
    if any(len(m.history) > 1 for m in group):  # a search in closed form has no steps
        found.append(("loss", partial(plots.plot_loss, group)))
    if len(shown.items) > 1:
        found.append(("items", partial(rows.plot_graph_errors, shown)))
    if kind.row:
        found.append(("similarity", partial(rows.plot_row_similarity, shown)))
    if shown.row_errors is not None:
        found.append(("errors", partial(rows.plot_row_errors, shown)))
    found += [(name, partial(draw, shown)) for name, draw in kind.curves]
    if list(shown.varied) == ["edge_index"] and len(shown.items) == 1:
        around = partial(structure.plot_graph, shown, "difference")
        telling = _telling_rows(shown)[:NODES_DRAWN]
        found += [("node", partial(around, node=node)) for node in telling]
    pictures: list[tuple[Markup, str]] = []
    for place, (name, draw) in enumerate(found):
        alt, caption = plot_words(name, shown)
        pictures.append((inline_svg(draw, alt, f"{id_}-{place}-{name}"), caption))
    return pictures


def _telling_rows(m: Metamer) -> list[int]:
    """Nodes that match on their own and keep their answer, the least similar first."""
    if m.row_errors is None or len(m.row_errors) != len(m.row_similarity):
        return []
    if not first_kind(m).row or compared_units(m) != m.units:
        return []
    similarity, errors = m.row_similarity.double(), m.row_errors.double()
    telling = similarity.isfinite() & (similarity < 1 - 1e-9) & (errors <= m.tol)
    if len(m.row_agreement) == len(similarity):
        telling &= m.row_agreement > 1 - 1e-9
    places = telling.nonzero().view(-1)
    order = errors[places].argsort(stable=True)
    order = order[similarity[places][order].argsort(stable=True)]
    return places[order].tolist()


def _row(m: Metamer, row: int) -> dict[str, Any]:
    assigned = node_classes(m.original, m.original.kind_of(next(iter(m.varied))))
    known = assigned is not None and len(assigned) == len(m.row_similarity)
    return {
        "row": row,
        "class": int(assigned[row]) if assigned is not None and known else ABSENT,
        "similarity": score_text(float(m.row_similarity[row])),
        "error": ABSENT if m.row_errors is None else error_text(float(m.row_errors[row])),
    }


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf
