"""One self-contained page for an audit: no request leaves it, and no name in it can run."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from graph_metamers.report import plots
from graph_metamers.report.figures import inline_svg
from graph_metamers.report.numbers import error_text, p_text, score_text, shorten
from graph_metamers.report.page import rendered
from graph_metamers.report.section import section
from graph_metamers.report.snippet import snippet
from graph_metamers.report.words import Score, explained, kinds_of
from graph_metamers.result import Metamer
from graph_metamers.storage import write_text

if TYPE_CHECKING:
    from graph_metamers.audits import Audit

Groups = list[list[Metamer]]


def write_report(audit: "Audit", path: str | Path) -> None:
    """Write the report of an audit: one page, whole or not at all.

    Args:
        audit: A finished audit, or one that has come part of the way.
        path: The HTML file.

    Raises:
        InputError: The place cannot be written to.
    """
    write_text(Path(path), rendered("report.html", **_context(audit)))


def _context(audit: "Audit") -> dict[str, Any]:
    groups, summary = audit.groups(), audit.summary()
    several = len({group[0].vary for group in groups}) > 1
    theories, varied = audit.theory, [s for s in summary if "feature_similarity" in s]
    return {
        "question": audit.question,
        "environment": audit.environment,
        "runs": audit.metamers,
        "found": [[m for m in group if m.matched] for group in groups],
        "overview": _overview(groups) if groups else None,
        "asked": _asked(audit),
        "quality": audit.quality,
        "sections": [
            section(place, group, s, _baselines(audit, group[0]), several=several)
            for place, (group, s) in enumerate(zip(groups, summary, strict=True))
        ],
        "theory": [(s, theories[s["layer"]]) for s in varied if s["layer"] in theories],
        "spectrum": inline_svg(
            lambda ax: plots.plot_spectrum(theories, ax),
            "Relative singular values, largest first, a line a layer; the table has their ranks.",
            "spectrum",
            width=4.1,
        )
        if theories
        else None,
        "several": several,
        "scores": _glossary(groups),
        "kinds": kinds_of(audit.metamers),
        "snippet": snippet(audit.question),
        "score_text": score_text,
        "error_text": error_text,
        "p_text": p_text,
    }


def _baselines(audit: "Audit", m: Metamer) -> list[dict[str, Any]]:
    return [b for b in audit.baselines if (b["layer"], b["vary"]) == (m.layer, m.vary)]


def _glossary(groups: Groups) -> list[Score]:
    """All that was measured, explained."""
    first = {name: group[0] for group in reversed(groups) for name in group[0].scores}
    errors = {name: groups[0][0] for name in ("fvu", "activation_error", "null_error") if groups}
    named = errors | {name: m for name, m in first.items() if not name.startswith("start_")}
    return [explained(name, m) for name, m in named.items()]


def _overview(groups: Groups) -> Markup:
    lines = sum(len(group[0].symbols) for group in groups)
    return inline_svg(
        lambda ax: plots.plot_similarity(groups, ax),
        "Similarity of each metamer and of its random start, for each layer. The same figures "
        "stand in the tables of scores.",
        "overview",
        width=4.1,
        height=0.95 + 0.34 * lines,
    )


def _asked(audit: "Audit") -> dict[str, str]:
    """The question, as terms and their values."""
    question, kinds = audit.question, kinds_of(audit.metamers)
    ways = (", ".join(f"{at}: {way}" for at, way in each.items()) for each in question["vary"])
    stays = f". {kinds[0].stays}" if len(kinds) == 1 else ""
    return {
        "Model": str(question["model"]),
        "Call": _call(question),
        "Task": str(question["task"]),
        "Data": f"{question['dataset']}: {_size(audit)}",
        **({"Called with": type(audit.metamers[0].reference).__name__} if audit.metamers else {}),
        "Layers": _listed(question["layers"]),
        "What varies": "; ".join(ways) + stays,
        "Search": audit.search,
        "Seeds": _listed(question["seeds"]),
        "Matched if": f"FVU at most {question['tol']:g}, below that of unrelated graphs",
    }


def _call(question: dict[str, Any]) -> str:
    defaults = ", ".join(question["defaults"])
    return question["call"] + (f"; at their default: {defaults}" if defaults else "")


def _size(audit: "Audit") -> str:
    """How many graphs, nodes and edges there are, by type."""
    if not audit.metamers:
        return f"{audit.question['nodes']:,} nodes, {audit.question['edges']:,} edges"
    inputs = audit.metamers[0].original
    edges = {inputs.kind_of(key): inputs[key].shape[1] for key in inputs.edge_keys}
    parts = [f"{inputs.graphs:,} graphs"] * (inputs.graphs > 1)
    parts += [f"{inputs.nodes(kind):,} {kind} nodes" for kind in inputs.node_types]
    parts += [f"{count:,} {kind} edges" for kind, count in edges.items()]
    return ", ".join(" ".join(part.split()) for part in parts)


def _listed(values: Sequence[Any], most: int = 12) -> str:
    shown = [shorten(str(value), 60) for value in values[:most]]
    return ", ".join(shown) + (f" and {len(values) - most} more" if len(values) > most else "")
