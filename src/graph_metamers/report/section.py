"""One section of the report: all that is said and shown of one layer."""

import math
import statistics
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from graph_metamers.audits import spread
from graph_metamers.measure import DISTANCES, Outcome
from graph_metamers.report import plots, structure
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.numbers import ABSENT, error_text, score_text, spread_text
from graph_metamers.report.pictures import Crop, Picture, both, node_classes, plot_matrix
from graph_metamers.report.words import (
    KINDS,
    compared_units,
    error,
    error_name,
    explained,
    first_kind,
    outcome_of,
    plot_words,
    similarity_name,
)
from graph_metamers.result import Metamer

OPEN_SECTIONS = 4
ROWS_LISTED, NODES_DRAWN = 10, 3
INPUTS_DRAWN = 4
ITEMS_LISTED = 5  # graphs of a batch, of the best and of the worst
PICTURES: tuple[Picture, ...] = ("reference", "metamer", "difference")
ERRORS = ("fvu", "activation_error")
PARTS = ("", "start_")  # of the names of scores: the metamer's, and the random start's

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
    id_, batch, names = f"layer-{place}", len(shown.items) > 1, list(shown.scores)
    names = [name for name in names if not name.startswith("start_")] if summary["matched"] else []
    further = [name for name in names if name in DISTANCES and name not in shown.symbols]
    always = [*ERRORS, "null_error"]
    main = always + [name for name in names if name not in (*always, *further)]
    return {
        "id": id_,
        "title": group[0].layer + (f", {group[0].vary}" if several else ""),
        "badge": badge(group),
        "reasons": Counter((m.outcome, m.reason) for m in group),
        "claims": _claims(shown, summary),
        "difference": _difference(shown, summary),
        "summary": summary,
        "error": error_text(statistics.fmean(error(m) for m in group)),
        "error_name": error_name(group),
        "tables": [[_score(n, group, summary) for n in each] for each in (main, further)],
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
    counts = Counter(m.outcome for m in group)
    sort = "partly" if Outcome.MATCHED in counts else "none"
    if len(counts) == 1 and group[0].outcome in (Outcome.MATCHED, Outcome.IMPOSSIBLE):
        sort = str(group[0].outcome)
    if len(group) == 1:
        return sort, group[0].outcome.text
    return sort, ", ".join(f"{counts[each]} {each.text}" for each in Outcome if each in counts)


def _claims(m: Metamer, summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Title, mean over the runs that matched and mean of their starts, of what is said first."""
    names = [*m.symbols, "prediction_match", "prediction_change"] if summary["matched"] else []
    return [
        (explained(name, m).title, *(score_text(summary.get(of + name), name) for of in PARTS))
        for name in names
        if name in m.scores
    ]


def _difference(m: Metamer, summary: dict[str, Any]) -> str:
    """How different the metamers are: "blunt", "far", "near" or "same"; empty if that is unknown.

    "blunt" where random starts are nearly as similar, so that the score tells little.
    """
    found, start = (summary.get(of + similarity_name(m), math.nan) for of in PARTS)
    if not (math.isfinite(found) and math.isfinite(start)):
        return ""
    if start > 0.8:
        return "blunt"
    share = (found - start) / (1 - start)
    return "far" if share < 0.5 else "near" if share < 0.9 else "same"


def _score(name: str, group: list[Metamer], summary: dict[str, Any]) -> dict[str, Any]:
    """A row of a table of scores: of the runs that matched, but errors are of all runs."""
    score, figures = explained(name, group[0]), summary
    if name in ERRORS:
        starts = [m.scores.get(f"start_{name}", math.nan) for m in group]
        figures = summary | spread(f"start_{name}", starts)

    def cell(key: str) -> dict[str, str]:
        """A mean with its spread, or why there is none."""
        mean = figures.get(key, math.nan)
        text, beside = score_text(mean, name), figures.get(f"{key}_std", math.nan)
        reason = score.undefined if key in figures else "not measured"
        beside = spread_text(beside, mean, name)
        return {
            "mean": text,
            "spread": "" if beside == ABSENT else beside,
            "reason": reason if text == ABSENT else "",
        }

    ends = [score_text(figures.get(f"{name}_{end}"), name) for end in ("low", "high")]
    unknown = "" if name in (*ERRORS, "null_error") else ABSENT
    return {
        "name": name,
        "score": score,
        "metamer": cell(name),
        "start": cell(name if name == "null_error" else f"start_{name}"),
        "interval": unknown if ABSENT in ends else " to ".join(ends),
    }


def _of_graph(shown: Metamer, graph: int | None, id_: str) -> list[Drawn]:
    """The reference beside what was found: as a drawing if it is small, and what varied."""
    name = id_ if graph is None else f"{id_}-g{graph}"
    before, after = both(shown, graph)
    found: list[Drawn] = []
    if structure.is_drawable(before):
        alt, text = plot_words("graph", shown)
        figures = [
            inline_svg(
                partial(structure.plot_graph, shown, show, graph=graph),
                f"{show}: {alt}",
                f"{name}-graph-{show}",
                height=3.5,
            )
            for show in PICTURES[:2]
        ]
        found.append({"title": "", "figures": figures, "text": text, "crop": None})
    for place, (at, sort) in enumerate(list(shown.varied.items())[:INPUTS_DRAWN]):
        if before[at].equal(after[at]):
            continue
        kind, crop = KINDS[sort], Crop.of(shown, at, graph)
        figures = [
            inline_svg(
                partial(plot_matrix, crop=crop, show=show, metamer=shown, graph=graph),
                f"{show}: the {kind.noun} {at}.",
                f"{name}-{place}-{show}",
                height=3.5,
            )
            for show in (PICTURES if graph is None else PICTURES[2:])
        ]
        title = at if len(shown.varied) > 1 or "." in at else ""
        found.append({"title": title, "figures": figures, "text": kind.picture, "crop": crop})
    return found


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
    """Graphs of a batch: some of the best, then some of the worst."""
    ranked = _ranked(shown)
    best, rest = ranked[:ITEMS_LISTED], ranked[ITEMS_LISTED:]
    return [
        item | {"outcome": Outcome(item["outcome"]).text, "gap": item is best[-1] and bool(rest)}
        for item in (*best, *rest[-ITEMS_LISTED:])
    ]


def _ranked(shown: Metamer) -> list[dict[str, Any]]:
    """Those that matched first, and the least error first."""
    key = _error_key(shown)
    return sorted(
        shown.items, key=lambda item: (item["outcome"] != "matched", _or_infinity(item[key]))
    )


def _error_key(m: Metamer) -> str:
    return "fvu" if math.isfinite(m.fvu) else "activation_error"


def _curves(group: list[Metamer], shown: Metamer, id_: str) -> list[tuple[Markup, str]]:
    """Plots with their captions."""
    found: list[tuple[str, Callable[[Axes], object]]] = [
        ("null", partial(plots.plot_null, group)),
        ("trail", partial(plots.plot_trail, group)),
    ]
    if any(len(m.history) > 1 for m in group):  # a search in closed form has no steps
        found.append(("loss", partial(plots.plot_loss, group)))
    if len(shown.items) > 1:
        errors = [item[_error_key(shown)] for item in shown.items]
        found.append(("items", partial(plots.plot_errors, shown, errors, "graphs")))
    if first_kind(shown).row:
        found.append(("similarity", partial(plots.plot_row_similarity, shown)))
    if shown.row_errors is not None:
        errors = shown.row_errors.tolist()
        found.append(("errors", partial(plots.plot_errors, shown, errors, shown.units)))
    if next(iter(shown.varied.values())) == "structure":
        found.append(("degrees", partial(structure.plot_degrees, shown)))
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
    places = telling.nonzero().view(-1).tolist()
    return sorted(places, key=lambda row: (float(similarity[row]), float(errors[row])))


def _row(m: Metamer, row: int) -> dict[str, Any]:
    assigned = node_classes(m.original, m.original.kind_of(next(iter(m.varied))))
    known = assigned is not None and len(assigned) == len(m.row_similarity)
    return {
        "row": row,
        "class": int(assigned[row]) if assigned is not None and known else ABSENT,
        "similarity": float(m.row_similarity[row]),
        "error": None if m.row_errors is None else float(m.row_errors[row]),
    }


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf
